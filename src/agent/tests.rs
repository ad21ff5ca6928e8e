//! Stories of whole agents in a fake room.

mod sockets;

use super::config::{Config, EndpointsConfig, RulesConfig, ThreadsConfig, ToolsConfig, WebSocketConfig};
use super::mail::MailConfig;
use super::{AgentChannel, AgentError, run};
use crate::client::room::fake::FakeRoom;
use crate::client::room::{Backoff, Options, RoomError, Token};
use crate::wire::Content;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

fn config(room: &FakeRoom, channels: &[&str]) -> Config {
    let quick = Backoff { first: Duration::from_millis(2), max: Duration::from_millis(10) };
    Config {
        agent_name: "bob".into(),
        room: Options::new(room.url.clone(), Token::new("good")).backoff(quick),
        channels: channels.iter().map(|c| c.parse::<AgentChannel>().unwrap()).collect(),
        models: vec!["builtin/echo".parse().unwrap()],
        rules: RulesConfig::default(),
        tools: ToolsConfig { storage: true, time: true, ..ToolsConfig::default() },
        endpoints: EndpointsConfig::default(),
        programs: super::config::ProgramsConfig::default(),
        threads: ThreadsConfig {
            dir: "dataset://agents/bob/threads".into(),
            single: false,
            stored: false,
            by_participant: false,
        },
        mail: MailConfig {
            host: "127.0.0.1".into(),
            port: 1,
            user: "bob".into(),
            password: Token::new("good"),
            hello: "localhost".into(),
        },
        voice: Default::default(),
        voicebot: None,
        websocket: WebSocketConfig::default(),
        decision_model: None,
        model_calls_max: 64,
        compaction_threshold: None,
        unsupported: vec!["--web-search".into()],
        stop_grace: Duration::from_millis(20),
    }
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), AgentError>>,
}

impl Running {
    fn start(config: Config) -> Self {
        let stop = CancellationToken::new();
        Self { task: tokio::spawn(run(config, stop.clone())), stop }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn spelled(tool: &str, arguments: Value) -> String {
    format!("Please.\n```tool\n{}\n```", json!({"tool": tool, "arguments": arguments}))
}

fn report() -> Value {
    json!({"prompt": spelled("write_file", json!({"path": "reports/r.md", "text": "all is well"}))})
}

#[tokio::test]
async fn a_queue_job_becomes_a_file_in_the_room_and_is_acknowledged() {
    let room = FakeRoom::start().await;
    room.enqueue("jobs", report());
    let agent = Running::start(config(&room, &["queue:jobs"]));
    room.until(|w| w.acked == [report()]).await;
    assert_eq!(room.with(|w| w.files["reports/r.md"].clone()), "all is well");
    assert_eq!(room.with(|w| w.attributes["meshagent.agent.unsupported"].clone()), json!(["--web-search"]));
    assert_eq!(room.with(|w| w.attributes["supports_chat"].clone()), json!(false));
    agent.stop().await;
}

#[tokio::test]
async fn a_job_that_fails_is_given_back_until_it_is_dead() {
    let room = FakeRoom::start().await;
    room.with(|w| w.no_delays = true);
    let poison = json!({"prompt": "x", "model": "unheard-of"});
    room.enqueue("jobs", poison.clone());
    room.enqueue("jobs", json!({"prompt": [{"type": "zap"}]}));
    let agent = Running::start(config(&room, &["queue:jobs"]));
    room.until(|w| w.dead.len() == 2 && w.nacked.len() == 6).await;
    let reasons: Vec<_> = room.with(|w| w.nacked.iter().map(|(_, r)| r.clone()).collect());
    assert!(reasons.iter().any(|r| r.contains("unheard-of")), "{reasons:?}");
    assert!(reasons.iter().any(|r| r.contains("type is unknown")), "{reasons:?}");
    assert_eq!(room.with(|w| w.acked.len()), 0);
    agent.stop().await;
}

#[tokio::test]
async fn a_server_without_leases_is_served_with_receive() {
    let room = FakeRoom::start().await;
    room.with(|w| w.plain_queues = true);
    room.enqueue("jobs", report());
    let agent = Running::start(config(&room, &["queue:jobs"]));
    room.until(|w| w.files.contains_key("reports/r.md")).await;
    assert!(room.with(|w| w.leased.is_empty() && w.acked.is_empty()));
    agent.stop().await;
}

#[tokio::test]
async fn an_agent_that_stops_gives_its_job_back() {
    let room = FakeRoom::start().await;
    let mut config = config(&room, &["queue:jobs"]);
    config.tools.room_toolkits = vec!["queues".into()];
    let hanging = json!({"prompt": spelled("lease", json!({"name": "other", "wait": true}))});
    room.enqueue("jobs", hanging.clone());
    let agent = Running::start(config);
    // The tool waits on a queue in which nothing ever comes.
    room.until(|w| w.calls.iter().filter(|c| *c == "queues.lease").count() == 3).await;
    agent.stop().await;
    assert_eq!(room.with(|w| w.nacked.clone()), [(hanging.clone(), "the agent is stopping".to_owned())]);
    assert_eq!(room.with(|w| w.delayed.clone()), [(1, hanging)]);
}

#[tokio::test]
async fn a_lost_connection_in_the_middle_of_a_job_loses_nothing() {
    let room = FakeRoom::start().await;
    let agent = Running::start(config(&room, &["queue:jobs", "toolkit:bob"]));
    room.until(|w| w.registered.len() == 1).await;
    for n in 0..10 {
        let write = spelled("write_file", json!({"path": format!("{n}"), "text": "x", "overwrite": true}));
        room.enqueue("jobs", json!({"prompt": write}));
        room.drop_connections(None);
    }
    // What was leased to a lost connection would come back when its lease ends; the fake does it at once.
    let returned = |w: &mut crate::client::room::fake::World| {
        for (_, (queue, attempt, message)) in std::mem::take(&mut w.leased) {
            w.queues.entry(queue).or_default().push_back((attempt, message));
        }
    };
    room.until(|w| w.registered.len() >= 2).await;
    room.with(returned);
    room.until(|w| w.files.len() == 10).await;
    let call = room.call_hosted("bob", "run_bob_task", Content::Json(json!({"prompt": "hi"}))).await;
    assert!(matches!(call, Content::Text(text) if text.contains("> hi")));
    agent.stop().await;
}

#[tokio::test]
async fn the_agent_is_a_tool_under_both_names_and_threads_remember() {
    let room = FakeRoom::start().await;
    let agent = Running::start(config(&room, &["toolkit:support-agent"]));
    room.until(|w| w.registered == ["support-agent"]).await;
    let call = async |tool: &str, arguments: Value| {
        room.call_hosted("support-agent", tool, Content::Json(arguments)).await
    };
    for tool in ["run_support-agent_task", "run_support_agent_task"] {
        let answer = call(tool, json!({"prompt": "hello", "path": null})).await;
        let Content::Text(text) = answer else { panic!("{answer:?}") };
        assert!(text.starts_with("This is builtin/echo") && text.contains("> hello"), "{text}");
    }
    let error = |content: Content| match content {
        Content::Error { text, code } => (text, code.unwrap_or(0)),
        other => panic!("no error: {other:?}"),
    };
    assert_eq!(error(call("run_x_task", json!({"prompt": "x"})).await).1, 1003);
    assert_eq!(error(call("run_support_agent_task", json!({})).await).1, 1002);
    let two = json!({"prompt": "x", "path": "a", "thread_id": "b"});
    assert!(error(call("run_support_agent_task", two).await).0.contains("different threads"));
    let model = json!({"prompt": "x", "model": "zap"});
    let (text, _) = error(call("run_support_agent_task", model).await);
    assert!(text.contains("none of this agent's; its models are builtin/echo"), "{text}");
    agent.stop().await;
}

#[tokio::test]
async fn files_named_in_a_job_reach_the_model() {
    let room = FakeRoom::start().await;
    room.with(|w| w.files.insert("in.md".into(), "from the file".into()));
    let write = spelled("write_file", json!({"path": "out.md", "text": "x"}));
    room.enqueue(
        "jobs",
        json!({"prompt": [write, {"type": "file", "url": "room:///in.md"}, {"type": "file", "url": "room:///gone"}]}),
    );
    let agent = Running::start(config(&room, &["queue:jobs"]));
    room.until(|w| w.acked.len() == 1 && w.calls.iter().filter(|c| *c == "storage.download").count() == 2)
        .await;
    assert!(room.with(|w| w.files.contains_key("out.md")));
    agent.stop().await;
}

#[tokio::test]
async fn a_room_that_refuses_or_ends_ends_the_agent() {
    let room = FakeRoom::start().await;
    let forged =
        Config { room: Options::new(room.url.clone(), Token::new("bad")), ..config(&room, &["queue:jobs"]) };
    let error = run(forged, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, AgentError::Room(RoomError::Refused { status: 403, .. })), "{error}");
    let none = run(config(&room, &[]), CancellationToken::new()).await.unwrap_err();
    assert_eq!(none.to_string(), "at least one channel is required for process agents");

    let agent = Running::start(config(&room, &["queue:jobs"]));
    room.until(|w| w.calls.contains(&"queues.lease".to_owned())).await;
    room.drop_connections(Some(1000));
    agent.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_file_is_shown_in_the_conversation_and_only_one_that_is_there() {
    let room = FakeRoom::start().await;
    room.with(|w| w.files.insert("in.md".into(), "from the file".into()));
    let agent = Running::start(config(&room, &["chat", "toolkit:bob"]));
    room.until(|w| w.registered == ["bob"]).await;
    for (path, answer) in [
        ("room:///in.md", "> shown"),
        ("https://example.org/a.png", "> shown"),
        ("gone.md", "could not find a room file at gone.md"),
        ("javascript:alert(1)", "could not find a room file"),
        ("../in.md", "is no path in the room"),
    ] {
        let prompt = spelled("attach_file", json!({"path": path}));
        let said = room.call_hosted("bob", "run_bob_task", Content::Json(json!({"prompt": prompt}))).await;
        assert!(matches!(&said, Content::Text(text) if text.contains(answer)), "{path}: {said:?}");
    }
    agent.stop().await;
}

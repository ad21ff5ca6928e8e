//! Agents whose turns a program does: `tests/conformance/acp_agent.py` does what its prompt says.

use super::joined::{Joined, client, command};
use super::{ROOM, text};
use crate::support::server::Server;
use crate::support::{clients, sandbox};
use meshagent::agent::message::Body;
use meshagent::agent::session::Session;
use meshagent::client::room::{RoomClient, Target};
use meshagent::wire::Content;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_mins(2);
const CHANNELS: [&str; 4] = ["--channel", "chat", "--channel", "toolkit:support-agent"];

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

struct Desk {
    folder: tempfile::TempDir,
    flags: Vec<String>,
    env: Vec<(&'static str, String)>,
    agent: Joined,
    room: RoomClient,
    server: Server,
}

impl Desk {
    async fn start(python: &str, flags: &[&str]) -> Self {
        let program = format!("{python} {}", scripts().join("acp_agent.py").display());
        Self::with(&program, flags, Vec::new()).await
    }

    async fn with(program: &str, flags: &[&str], more: Vec<(&'static str, String)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let working = folder.path().display().to_string();
        let own = ["--backend", "acp", "--acp-command", program, "--working-dir", &working];
        let flags: Vec<String> =
            [&CHANNELS, &own[..], flags].concat().iter().map(|flag| (*flag).to_owned()).collect();
        let path = std::env::var("PATH").unwrap();
        let mut env = vec![("PATH", path), ("OPENAI_API_KEY", "s3cret-key".to_owned())];
        env.extend(more);
        let server = Server::start(&[]);
        let room = client(&server, "ann", ROOM).await;
        let agent = Self::joined(&server, &flags, &env);
        let mut desk = Self { folder, flags, env, agent, room, server };
        desk.agent.until(&desk.room).await;
        desk
    }

    fn joined(server: &Server, flags: &[String], env: &[(&str, String)]) -> Joined {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Joined::start(server, ROOM, &flags, &env)
    }

    async fn ask(&self, prompt: &str) -> String {
        let target = Target::new("support-agent", "run_support-agent_task");
        text(self.room.invoke(&target, Content::Json(json!({"prompt": prompt}))).await.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_is_kept_in_its_folder_and_sees_no_keys() {
    if !sandbox::is_here() {
        return;
    }
    let outside = tempfile::tempdir().unwrap();
    let key = outside.path().join("key");
    std::fs::write(&key, "s3cret").unwrap();
    let reads = scripts().display().to_string();
    let desk = Desk::start("/usr/bin/python3", &["--program-read", &reads]).await;
    std::fs::write(desk.folder.path().join("a.txt"), "hello").unwrap();
    assert_eq!(desk.ask("say hi\nopen a.txt").await, "hi[hello]");
    assert_eq!(desk.ask(&format!("open {}", key.display())).await, "cannot: Permission denied");
    assert_eq!(desk.ask("env OPENAI_API_KEY\nsay , \nenv MESHAGENT_TOKEN").await.matches("unset").count(), 2);
    assert_eq!(desk.ask("write made.txt new").await, "[written]");
    assert_eq!(std::fs::read_to_string(desk.folder.path().join("made.txt")).unwrap(), "new");
    assert_eq!(desk.ask("ask rm").await, "may not rm: selected", "nobody is there to approve it");
}

/// Reads until a message of this kind; all that was said.
async fn until(session: &mut Session, last: &str) -> Vec<Map<String, Value>> {
    let mut heard = Vec::new();
    let kind = format!("meshagent.agent.{last}");
    let all = async {
        loop {
            let message = session.hear().await.unwrap();
            let done = message["type"] == json!(kind);
            heard.push(message);
            if done {
                return;
            }
        }
    };
    let in_time = tokio::time::timeout(LIMIT, all).await.is_ok();
    assert!(in_time, "`{last}` was never said; what was: {heard:?}");
    heard
}

async fn say(session: &Session, kind: &str, mut body: Value) {
    body["type"] = json!(format!("meshagent.agent.{kind}"));
    let body: Body = serde_json::from_value(body).unwrap();
    session.say(body).await.unwrap();
}

fn kinds(heard: &[Map<String, Value>]) -> Vec<&str> {
    let kinds = heard.iter().filter_map(|message| message["type"].as_str());
    let kinds = kinds.filter_map(|kind| kind.strip_prefix("meshagent.agent."));
    kinds.filter(|kind| !matches!(*kind, "thread.status" | "thread.created" | "thread.updated")).collect()
}

fn said(heard: &[Map<String, Value>]) -> String {
    let deltas = heard.iter().filter(|m| m["type"] == "meshagent.agent.text_content.delta");
    deltas.filter_map(|m| m["text"].as_str()).collect()
}

async fn history(session: &mut Session, thread: &str) -> Vec<Map<String, Value>> {
    say(session, "thread.open", json!({"thread_id": thread, "load": true})).await;
    let mut all = until(session, "thread.loaded").await;
    // What is told of the thread as it is now is no history.
    all.retain(|message| !matches!(message["type"].as_str(), Some("meshagent.agent.thread.loaded")));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_with_a_program_is_approved_steered_stored_and_goes_on_after_a_restart() {
    let mut desk = Desk::start("python3", &["--program-host"]).await;
    let mut session = Session::in_room(desk.room.clone(), "support-agent").await.unwrap();
    let content = |text: &str| json!([{"type": "text", "text": text}]);
    say(&session, "thread.start", json!({"content": content("think hm\nask rm\nsay done")})).await;
    let mut heard = until(&mut session, "tool_call.approval_requested").await;
    let asked = heard.last().unwrap().clone();
    assert_eq!((&asked["tool"], &asked["arguments"]["title"]), (&json!("execute"), &json!("rm")));
    let (thread, turn) = (asked["thread_id"].as_str().unwrap().to_owned(), asked["turn_id"].clone());
    let of_turn = json!({"thread_id": thread, "turn_id": turn});
    let mut steer = of_turn.clone();
    steer["content"] = content("say and more");
    say(&session, "turn.steer", steer).await;
    let mut approve = of_turn.clone();
    approve["item_id"] = asked["item_id"].clone();
    say(&session, "tool_call.approve", approve).await;
    heard.extend(until(&mut session, "turn.ended").await);
    assert_eq!(said(&heard), "did rmdoneand more");
    let expected = [
        "tool_call.pending",
        "tool_call.approval_requested",
        "turn.steer.accepted",
        "tool_call.started",
        "tool_call.ended",
        "turn.steered",
        "turn.ended",
    ];
    let told = kinds(&heard);
    let in_order: Vec<_> = told.iter().copied().filter(|kind| expected.contains(kind)).collect();
    assert_eq!(in_order, expected, "{told:?}");
    let before = history(&mut session, &thread).await;
    drop(session);
    assert_eq!(desk.agent.terminate().code, Some(0));
    desk.room = client(&desk.server, "ann", ROOM).await;
    desk.agent = Desk::joined(&desk.server, &desk.flags, &desk.env);
    desk.agent.until(&desk.room).await;
    let mut session = Session::in_room(desk.room.clone(), "support-agent").await.unwrap();
    let after = history(&mut session, &thread).await;
    assert!(!stored(&before).is_empty(), "{before:?}");
    assert_eq!(stored(&before), stored(&after), "the thread reads the same");
    say(&session, "turn.start", json!({"thread_id": thread, "content": content("count\nask x\nhang")})).await;
    until(&mut session, "tool_call.approval_requested").await;
    let heard = {
        let turn = json!({"thread_id": thread, "turn_id": desk_turn(&mut session, &thread).await});
        say(&session, "turn.interrupt", turn).await;
        until(&mut session, "turn.ended").await
    };
    assert_eq!(heard.last().unwrap()["error"]["code"], "cancelled");
    say(&session, "turn.start", json!({"thread_id": thread, "content": content("die")})).await;
    let heard = until(&mut session, "turn.ended").await;
    let why = heard.last().unwrap()["error"]["message"].as_str().unwrap().to_owned();
    assert!(why.contains("exit status: 3"), "{why}");
    say(&session, "turn.start", json!({"thread_id": thread, "content": content("count")})).await;
    assert_eq!(said(&until(&mut session, "turn.ended").await), "3 before; told: false");
}

/// The turn that runs, as the thread's status has it.
async fn desk_turn(session: &mut Session, thread: &str) -> Value {
    say(session, "thread.open", json!({"thread_id": thread})).await;
    let status = async {
        loop {
            let message = session.hear().await.unwrap();
            if message["type"] == "meshagent.agent.thread.status" && message["turn_id"].is_string() {
                return message["turn_id"].clone();
            }
        }
    };
    tokio::time::timeout(LIMIT, status).await.expect("no turn runs")
}

/// What of a replay is stored, byte for byte.
fn stored(replay: &[Map<String, Value>]) -> Vec<String> {
    let of_thread = |message: &&Map<String, Value>| {
        let kind = message["type"].as_str().unwrap_or_default();
        ["turn.", "text_content.", "reasoning_content.", "tool_call.", "thread.event"]
            .iter()
            .any(|of| kind.starts_with(&format!("meshagent.agent.{of}")))
    };
    replay.iter().filter(of_thread).map(|message| Value::Object(message.clone()).to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_of_the_official_sdk_is_a_backend() {
    let Some(acp) = clients::acp() else { return };
    let program = format!("{} {}", acp.node.display(), scripts().join("acp-agent.mjs").display());
    let modules = acp.folder.join("node_modules").display().to_string();
    let flags = ["--program-host", "--program-env", "NODE_MODULES"];
    let desk = Desk::with(&program, &flags, vec![("NODE_MODULES", modules)]).await;
    assert_eq!(desk.ask("hello").await, "not allowed: selected", "nobody is there");
    let mut session = Session::in_room(desk.room.clone(), "support-agent").await.unwrap();
    let content = |text: &str| json!([{"type": "text", "text": text}]);
    say(&session, "thread.start", json!({"content": content("hello")})).await;
    let mut heard = until(&mut session, "tool_call.approval_requested").await;
    let asked = heard.last().unwrap().clone();
    let of_turn = json!({"thread_id": asked["thread_id"], "turn_id": asked["turn_id"]});
    let mut approve = of_turn.clone();
    approve["item_id"] = asked["item_id"].clone();
    say(&session, "tool_call.approve", approve).await;
    heard.extend(until(&mut session, "turn.ended").await);
    assert_eq!(said(&heard), "heard hello; outside refused");
    assert_eq!(std::fs::read_to_string(desk.folder.path().join("note.txt")).unwrap(), "heard hello");
    let next = json!({"thread_id": asked["thread_id"], "content": content("wait")});
    say(&session, "turn.start", next).await;
    let heard = until(&mut session, "text_content.delta").await;
    let turn = json!({"thread_id": asked["thread_id"], "turn_id": heard.last().unwrap()["turn_id"]});
    say(&session, "turn.interrupt", turn).await;
    let heard = until(&mut session, "turn.ended").await;
    assert_eq!(heard.last().unwrap()["error"]["code"], "cancelled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_program_started_ends_when_the_agent_is_killed() {
    let desk = Desk::start("python3", &["--program-host"]).await;
    let (room, file) = (desk.room.clone(), desk.folder.path().join("orphan.pid"));
    let asked = tokio::spawn(async move {
        let target = Target::new("support-agent", "run_support-agent_task");
        let prompt = json!({"prompt": "orphan\nhang hard"});
        // The agent is killed meanwhile.
        let _ = room.invoke(&target, Content::Json(prompt)).await;
    });
    let begin = Instant::now();
    let pid = loop {
        if let Ok(pid) = std::fs::read_to_string(&file) {
            break pid;
        }
        assert!(begin.elapsed() < LIMIT, "the program never began");
        tokio::task::yield_now().await;
    };
    let runs = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !status.is_empty() && !status.contains(") Z ")
    };
    assert!(runs());
    // Killed without a chance to clean up.
    drop(desk.agent);
    let begin = Instant::now();
    while runs() {
        assert!(begin.elapsed() < LIMIT, "process {pid} outlives the agent");
        tokio::task::yield_now().await;
    }
    asked.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_told_before_the_agent_joins() {
    let server = Server::start(&[]);
    let joined = |flags: &[&str]| {
        let join = ["process", "join", "--room", ROOM, "--agent-name", "support-agent", "--channel", "chat"];
        let path = std::env::var("PATH").unwrap();
        command(&server, &[&join, flags].concat(), &[("PATH", &path)])
    };
    for (flags, why) in [
        (&["--backend", "acp"][..], "needs --acp-command"),
        (&["--backend", "acp", "--acp-command", "no-such-program-here x"], "is not there"),
        (&["--backend", "acp", "--acp-command", "'"], "no command line"),
        (&["--acp-command", "true"], "needs --backend acp"),
        (&["--backend", "acp", "--acp-command", "true", "--working-dir", "/"], "name a folder of its own"),
        (&["--backend", "acp", "--acp-command", "true", "--program-env", "NO_SUCH_THING"], "is not set"),
        (&["--backend", "zap"], "unknown backend"),
    ] {
        let ended = joined(flags);
        assert!(ended.code != Some(0) && ended.said.contains(why), "{flags:?}: {}", ended.said);
    }
}

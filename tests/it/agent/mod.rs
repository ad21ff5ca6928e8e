//! Agents as a person runs them: `meshagent process join` as a process, beside a real server.

mod computer;
mod crash;
mod documents;
mod endpoint;
pub mod joined;
mod mcp;
mod no_room;
mod programs;
mod terminal;
mod threads;
mod tools;
mod voice;

use crate::support::server::Server;
use endpoint::Endpoint;
use joined::{Joined, client, command, echo_call};
use meshagent::client::room::{RoomClient, Target};
use meshagent::wire::Content;
use serde_json::{Value, json};

const ROOM: &str = "support";
const ECHO: [&str; 7] = [
    "--channel",
    "queue:jobs",
    "--channel",
    "toolkit:support-agent",
    "--model",
    "builtin/echo",
    "--require-storage",
];

async fn send(room: &RoomClient, message: Value) {
    room.queues().send("jobs", true, message).await.unwrap();
}

fn text(content: Content) -> String {
    match content {
        Content::Text(text) => text,
        other => panic!("no text: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_takes_jobs_and_is_a_tool() {
    let server = Server::start(&[]);
    let room = client(&server, "tester", ROOM).await;
    let mut agent = Joined::start(&server, ROOM, &ECHO, &[]);
    agent.until(&room).await;
    send(&room, json!({"prompt": echo_call("reports/a.md", "all is well")})).await;
    joined::file(&room, "reports/a.md", "all is well").await;
    for tool in ["run_support-agent_task", "run_support_agent_task"] {
        let arguments = Content::Json(json!({"prompt": "say forty-two"}));
        let answer = room.invoke(&Target::new("support-agent", tool), arguments).await.unwrap();
        assert!(text(answer).contains("> say forty-two"));
    }
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(ended.said.contains("job done") && ended.said.contains("stopping"), "{}", ended.said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployed_agent_is_run_by_the_server() {
    let server = Server::start(&[]);
    let deploy =
        [&["process", "deploy", "--room", ROOM, "--agent-name", "support-agent"], &ECHO[..]].concat();
    assert_eq!(command(&server, &["rooms", "create", ROOM], &[]).code, Some(0));
    for _ in 0..2 {
        let deployed = command(&server, &deploy, &[]);
        assert_eq!(deployed.code, Some(0), "{}", deployed.said);
        assert!(deployed.said.contains("Deployed service: "), "{}", deployed.said);
    }
    let room = client(&server, "tester", ROOM).await;
    send(&room, json!({"prompt": echo_call("deployed.md", "by a service")})).await;
    joined::file(&room, "deployed.md", "by a service").await;
    let listed = command(&server, &["service", "list", "--room", ROOM, "-o", "json"], &[]);
    assert_eq!(listed.said.matches("\"meshagent.service.id\"").count(), 1, "{}", listed.said);
}

/// Every job is acknowledged by the server before the kill; each must leave its file, whenever the kill comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_no_job_and_its_agent_comes_back() {
    let mut server = Server::start(&[]);
    let room = client(&server, "tester", ROOM).await;
    let mut agent = Joined::start(&server, ROOM, &ECHO, &[]);
    agent.until(&room).await;
    for n in 0..30 {
        send(&room, json!({"prompt": echo_call(&format!("out/{n}.md"), "done")})).await;
    }
    server.kill_9();
    server.restart();
    let room = client(&server, "tester", ROOM).await;
    for n in 0..30 {
        joined::file(&room, &format!("out/{n}.md"), "done").await;
    }
    assert_eq!(agent.terminate().code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_behind_an_openai_compatible_endpoint_uses_the_tools() {
    let endpoint = Endpoint::start(vec![
        json!({"type": "function_call", "call_id": "c1", "name": "storage__write_file",
            "arguments": json!({"path": "m.md", "text": "by the model", "overwrite": null}).to_string()}),
        json!({"type": "message", "phase": "final_answer", "content": [{"type": "output_text", "text": "It is written."}]}),
    ])
    .await;
    let server = Server::start(&[]);
    let room = client(&server, "tester", ROOM).await;
    let flags = ["--channel", "toolkit:support-agent", "--storage", "--rule", "Be brief.", "--web-search"];
    let env = [("OPENAI_BASE_URL", endpoint.url.as_str()), ("OPENAI_API_KEY", "s3cret-model-key")];
    let mut agent = Joined::start(&server, ROOM, &flags, &env);
    agent.until(&room).await;
    let arguments = Content::Json(json!({"prompt": "write it"}));
    let answer =
        room.invoke(&Target::new("support-agent", "run_support_agent_task"), arguments).await.unwrap();
    assert_eq!(text(answer), "It is written.");
    joined::file(&room, "m.md", "by the model").await;

    let asked = endpoint.asked();
    assert_eq!(asked[0]["model"], "gpt-6.1-sol");
    assert!(asked[0]["instructions"].as_str().unwrap().starts_with("Be brief.\n"));
    let output = asked[1]["input"].as_array().unwrap().last().unwrap();
    assert_eq!((&output["call_id"], &output["output"]), (&json!("c1"), &json!("wrote 12 bytes to m.md")));
    let ended = agent.terminate();
    assert!(asked[0]["tools"].as_array().unwrap().contains(&json!({"type": "web_search"})));
    assert!(!ended.said.contains("web-search"), "{}", ended.said);
    assert!(!ended.said.contains("s3cret"), "{}", ended.said);
}

#[tokio::test]
async fn every_language_of_models_uses_the_tools() {
    for (model, variable, path) in
        [("claude-x", "ANTHROPIC", ""), ("openai-chat/llama3.2", "OPENAI", "/v1"), ("grok-x", "XAI", "/v1")]
    {
        let endpoint = Endpoint::start(vec![
            json!({"type": "function_call", "call_id": "c1", "name": "storage__write_file",
                "arguments": r#"{"path": "m.md", "text": "by the model"}"#}),
            json!({"type": "message", "content": [{"type": "output_text", "text": "It is written."}]}),
        ])
        .await;
        let server = Server::start(&[]);
        let room = client(&server, "tester", ROOM).await;
        let flags =
            ["--channel", "toolkit:support-agent", "--storage", "--rule", "Be brief.", "--model", model];
        let url = format!("{}{path}", endpoint.url.trim_end_matches("/v1"));
        let (base, key) = (format!("{variable}_BASE_URL"), format!("{variable}_API_KEY"));
        let env = [(base.as_str(), url.as_str()), (key.as_str(), "s3cret-model-key")];
        let mut agent = Joined::start(&server, ROOM, &flags, &env);
        agent.until(&room).await;
        let arguments = Content::Json(json!({"prompt": "write it"}));
        let answer =
            room.invoke(&Target::new("support-agent", "run_support_agent_task"), arguments).await.unwrap();
        assert_eq!(text(answer), "It is written.", "{model}");
        joined::file(&room, "m.md", "by the model").await;
        let asked = endpoint.asked();
        assert_eq!(asked.len(), 2, "{model}");
        assert!(asked[1].to_string().contains("wrote 12 bytes to m.md"), "{model}: {}", asked[1]);
        let ended = agent.terminate();
        assert!(!ended.said.contains("s3cret"), "{}", ended.said);
    }
}

#[test]
fn a_command_line_that_cannot_be_is_refused_with_the_next_step() {
    let server = Server::start(&["--auto-create-rooms=false"]);
    let no_channel = command(&server, &["process", "join", "--room", "r", "--agent-name", "a"], &[]);
    assert_eq!(no_channel.code, Some(1));
    assert!(
        no_channel.said.contains("at least one channel is required for process agents"),
        "{}",
        no_channel.said
    );
    let join = |more: &[&str]| {
        let all = [&["process", "join", "--agent-name", "a", "--channel", "queue:q"], more].concat();
        command(&server, &all, &[("OPENAI_API_KEY", "k")])
    };
    for (flags, code, said) in [
        (&["--room", "r", "--channel", "zap:x"][..], 2, "there is no such kind"),
        (&["--room", "r", "--model", "zap/x"], 2, "its provider is unknown"),
        (&["--room", "r", "--model", "chat/none"], 1, "has no provider for --model chat/none"),
        (&["--room", "r", "--backend", "zap"], 2, "want llm, acp, codex or chat"),
        (&["--room", "r", "--thread-storage", "zap"], 2, "unsupported thread storage backend"),
        (&["--room", "r", "--threading-mode", "auto"], 2, "default-new"),
        (&[], 2, "pass --room ROOM"),
        (&["--room", "r", "--token-from-env", "NO_SUCH"], 1, "NO_SUCH"),
        (&["--room", "r", "--key", "ma-bad"], 1, "not of the form"),
        (&["--room", "r"], 1, "create the room first"),
    ] {
        let ended = join(flags);
        assert!(ended.said.contains(said), "{flags:?}: {}", ended.said);
        assert_eq!(ended.code, Some(code), "{flags:?}: {}", ended.said);
    }
}

//! A real model, small enough for any machine, in a thread of our agent. What serves it is
//! `tests/conformance/small-model.mjs`.

use super::llm::script;
use crate::agent::joined::{self, Joined};
use crate::support::clients;
use crate::support::script::Script;
use crate::support::server::Server;
use meshagent::client::room::Target;
use meshagent::wire::Content;
use serde_json::json;
use std::process::Command;

const ROOM: &str = "conformance";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_model_answers_in_a_thread() {
    let Some((npm, weights)) = clients::small_model() else { return };
    let mut command = Command::new(&npm.node);
    command.arg(script("small-model.mjs")).arg(weights).arg(&npm.folder);
    let mut model = Script::start(command);
    let url = format!("{}/v1", model.must_tell("listens on "));
    let server = Server::start(&[]);
    let room = joined::client(&server, "tester", ROOM).await;
    let flags = ["--channel", "toolkit:support-agent", "--model", "openai-chat/smollm2", "--no-time"];
    let env = [("OPENAI_BASE_URL", url.as_str()), ("OPENAI_API_KEY", "none")];
    let mut agent = Joined::start(&server, ROOM, &flags, &env);
    agent.until(&room).await;
    let path = "dataset://agents/support-agent/threads/france";
    let ask = Content::Json(json!({"prompt": "What is the capital of France?", "path": path}));
    let target = Target::new("support-agent", "run_support-agent_task");
    let Content::Text(answer) = room.invoke(&target, ask).await.unwrap() else { panic!("no text") };
    assert!(answer.contains("Paris"), "{answer}");
    let read = ["process", "messages", "--room", ROOM, "--agent-name", "support-agent", "--thread-id", path];
    let kept = joined::command(&server, &read, &[]);
    assert!(kept.said.contains("capital of France") && kept.said.contains("Paris"), "{}", kept.said);
}

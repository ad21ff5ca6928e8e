//! What an agent remembers: in its thread, in short when that grows too long, and when it is asked to look.

use super::endpoint::Endpoint;
use super::joined::{Joined, client, command};
use super::{ROOM, text};
use crate::support::server::Server;
use meshagent::client::room::{RoomClient, Target};
use meshagent::wire::Content;
use serde_json::json;

const THREAD: &str = "dataset://agents/support-agent/threads/memory";

async fn ask(room: &RoomClient, prompt: &str) -> String {
    let arguments = Content::Json(json!({"prompt": prompt, "path": THREAD}));
    text(room.invoke(&Target::new("support-agent", "run_support_agent_task"), arguments).await.unwrap())
}

fn says(text: &str) -> serde_json::Value {
    json!({"type": "message", "phase": "final_answer", "content": [{"type": "output_text", "text": text}]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_grows_too_long_is_shortened_and_stays_so_after_a_restart() {
    // Each answer counts as 8 tokens.
    let script =
        ["first answer", "in short: it was the first", "second answer", "in short: two now", "third answer"];
    let endpoint = Endpoint::start(script.map(says).to_vec()).await;
    let server = Server::start(&[]);
    let room = client(&server, "tester", ROOM).await;
    let flags = ["--channel", "toolkit:support-agent", "--model", "gpt-x", "--compaction-threshold", "5"];
    let env = [("OPENAI_BASE_URL", endpoint.url.as_str()), ("OPENAI_API_KEY", "key")];
    let mut agent = Joined::start(&server, ROOM, &flags, &env);
    agent.until(&room).await;
    assert_eq!(ask(&room, "one").await, "first answer");
    assert_eq!(ask(&room, "two").await, "second answer");
    assert_eq!(agent.terminate().code, Some(0));
    let mut agent = Joined::start(&server, ROOM, &flags, &env);
    agent.until(&room).await;
    assert_eq!(ask(&room, "three").await, "third answer");
    let asked = endpoint.asked();
    assert_eq!(asked.len(), 5);
    let input = |n: usize| asked[n]["input"].to_string();
    assert!(input(1).contains("first answer") && !input(1).contains("two"), "{}", input(1));
    assert!(
        input(2).contains("in short: it was the first") && !input(2).contains("first answer"),
        "{}",
        input(2)
    );
    assert!(
        input(3).contains("in short: it was the first")
            && input(3).contains("\"two\"")
            && input(3).contains("second answer"),
        "{}",
        input(3)
    );
    assert!(input(4).contains("in short: two now") && !input(4).contains("second answer"), "{}", input(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_looks_into_its_threads() {
    let server = Server::start(&[]);
    let room = client(&server, "tester", ROOM).await;
    let flags = ["--channel", "toolkit:support-agent", "--model", "builtin/echo"];
    let mut agent = Joined::start(&server, ROOM, &flags, &[]);
    agent.until(&room).await;
    ask(&room, "the word is heron").await;
    let call = |toolkit: &str, tool: &str, arguments: serde_json::Value| {
        format!(
            "Look.\n```tool\n{}\n```\n",
            json!({"toolkit": toolkit, "tool": tool, "arguments": arguments})
        )
    };
    let found = ask(&room, &call("search", "grep_current_thread", json!({"pattern": "HERON"}))).await;
    assert!(
        found.contains("meshagent.agent.turn.start at") && found.contains("the word is heron"),
        "{found}"
    );
    let none = ask(&room, &call("search", "grep_current_thread", json!({"pattern": "flam[i]ngo"}))).await;
    assert!(none.contains("no messages were found"), "{none}");
    let bad = ask(&room, &call("search", "grep_current_thread", json!({"pattern": "("}))).await;
    assert!(bad.contains("is no regular expression"), "{bad}");
    let listed = ask(&room, &call("chat", "grep_thread_list", json!({"pattern": "memory"}))).await;
    assert!(listed.contains("\"total_matches\":1"), "{listed}");
    let first = ask(&room, &call("search", "get_message_range", json!({"start": 0, "end": 1}))).await;
    assert!(first.contains("the word is heron"), "{first}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_runs_where_one_talks_to_it() {
    let server = Server::start(&[]);
    let run = |message: &str, thread: &str| {
        let flags =
            ["--room", ROOM, "--agent-name", "helper", "--model", "builtin/echo", "--thread-id", thread];
        command(&server, &[&["process", "run", "--message", message], &flags[..]].concat(), &[])
    };
    let asked = run("hello there", "talk");
    assert_eq!(asked.code, Some(0), "{}", asked.said);
    assert!(asked.said.contains("> hello there"), "{}", asked.said);
    let again = run("and again", "talk");
    assert!(again.said.contains("> and again"), "{}", again.said);
    let inspect = ["process", "messages", "--room", ROOM, "--agent-name", "helper", "--thread-id", "talk"];
    let said = command(&server, &inspect, &[]).said;
    assert!(said.contains("you [") && said.contains("hello there") && said.contains("and again"), "{said}");
    let refused = run("x", "../elsewhere");
    assert_eq!(refused.code, Some(1), "{}", refused.said);
    assert!(refused.said.contains("is no thread of the agent"), "{}", refused.said);
}

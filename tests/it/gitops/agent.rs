//! The whole story: an agent that comes of a push, changes by a push, and goes by a push, without losing a job.

use super::*;
use crate::agent::joined::{client, echo_call, file};
use meshagent::client::room::RoomClient;
use serde_json::json;

const ROOM: &str = "desk";
const JOBS: usize = 12;

/// Writes what `meshagent process spec` prints for an agent with this rule.
fn spec(person: &Person, forge: &Forge, rule: &str) {
    let words =
        ["process", "spec", "--service-name", "worker", "--agent-name", "worker", "--channel", "queue:jobs"];
    let more = ["--model", "builtin/echo", "--require-storage", "--rule", rule];
    let printed = person.run(&[&words[..], &more[..]].concat()).ok();
    forge.write("specs/agent.yaml", &printed.stdout);
}

async fn send(room: &RoomClient, path: &str) {
    let job = json!({"prompt": echo_call(path, "done")});
    room.queues().send("jobs", true, job).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_comes_changes_and_goes_by_pushes() {
    let (server, person) = server();
    let forge = Forge::start();
    forge.write("README.md", "the shop\n");
    spec(&person, &forge, "Be brief.");
    forge.push("an agent");
    person.run(&["rooms", "create", ROOM]).ok();
    apply(&person, &source("shop", &forge.url(), "path: specs\nroom: desk\nhealth_timeout_seconds: 60"));
    person.run(&["wait", "git-source/shop", "--timeout", "60s"]).ok();
    let room = client(&server, "tester", ROOM).await;
    send(&room, "first.md").await;
    file(&room, "first.md", "done").await;

    // The agent is replaced while jobs wait.
    for n in 0..JOBS {
        send(&room, &format!("out/{n}.md")).await;
    }
    spec(&person, &forge, "Be polite.");
    let second = forge.push("a new rule");
    reconcile(&person, "shop");
    for n in JOBS..2 * JOBS {
        send(&room, &format!("out/{n}.md")).await;
    }
    for n in 0..2 * JOBS {
        file(&room, &format!("out/{n}.md"), "done").await;
    }
    let history = person.run(&["history", "service/worker", "--room", ROOM]).ok().stdout;
    assert!(history.contains("Be polit") && history.contains(&format!("git:shop@{second}")), "{history}");
    let events = person.run(&["events", "-o", "json"]).ok().stdout;
    assert!(events.matches("instance.started").count() >= 2, "the process was replaced");

    // A bad commit leaves the agent as it is.
    let good = std::fs::read_to_string(forge.work().join("specs/agent.yaml")).unwrap();
    forge.write("specs/agent.yaml", &good.replacen("container:", "contaner:", 1));
    forge.push("a typing error");
    refused(&person, "shop", &["specs/agent.yaml:", "contaner"]);
    send(&room, "still.md").await;
    file(&room, "still.md", "done").await;
    let why = person.run(&["why", "git-source/shop"]).ok().stdout;
    assert!(why.contains("DocumentsInvalid") && why.contains("contaner"), "{why}");

    forge.remove("specs/agent.yaml");
    let third = forge.push("the agent goes");
    reconcile(&person, "shop");
    let services = person.run(&["service", "list", "--room", ROOM, "-o", "json"]).ok().stdout;
    assert!(!services.contains("worker"), "{services}");
    let gone = person.run(&["history", "service/worker"]).ok().stdout;
    assert!(gone.contains("service.deleted") && gone.contains(&third), "{gone}");
    let why = person.run(&["why", "git-source/shop"]).ok().stdout;
    assert!(why.contains("ready") && why.contains("the agent goes"), "{why}");
}

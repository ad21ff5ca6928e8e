//! Agents that are killed in the middle of their turns: every job ends exactly once in its thread, and threads read the same
//! each time.

use super::joined::{Joined, client, echo_call};
use super::{ECHO, ROOM, send};
use crate::support::server::Server;
use meshagent::agent::storage::{Index, Place, Stored, read_thread};
use meshagent::client::room::RoomClient;
use serde_json::{Value, json};
use std::time::Duration;

const JOBS: usize = 30;
const KILLS: usize = 6;
const DIR: &str = "dataset://agents/support-agent/threads";
const LIMIT: Duration = Duration::from_mins(3);

fn kind(row: &Stored) -> &str {
    row.message["type"].as_str().unwrap().strip_prefix("meshagent.agent.").unwrap()
}

async fn threads(room: &RoomClient) -> Vec<(String, Vec<Stored>)> {
    let mut all = Vec::new();
    for entry in Index::new(room.clone(), DIR).unwrap().all().await.unwrap() {
        let rows = read_thread(room, &Place::parse(&entry.path).unwrap()).await.unwrap();
        all.push((entry.path, rows));
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn done(rows: &[Stored]) -> usize {
    rows.iter().filter(|row| kind(row) == "turn.ended" && row.message["error"].is_null()).count()
}

async fn done_jobs(room: &RoomClient) -> usize {
    threads(room).await.iter().map(|(_, rows)| done(rows)).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_killed_does_every_job_exactly_once() {
    let server = Server::start(&[]);
    let room = client(&server, "tester", ROOM).await;
    let mut agent = Joined::start(&server, ROOM, &ECHO, &[]);
    agent.until(&room).await;
    for n in 0..JOBS {
        send(&room, json!({"prompt": echo_call(&format!("out/{n}.md"), "done")})).await;
    }
    let all_done = async {
        for kill in 1..=KILLS {
            while done_jobs(&room).await < kill * JOBS / (KILLS + 2) {}
            // Dropped: killed with -9, wherever its turns are.
            drop(std::mem::replace(&mut agent, Joined::start(&server, ROOM, &ECHO, &[])));
        }
        while done_jobs(&room).await < JOBS {}
    };
    tokio::time::timeout(LIMIT, all_done).await.expect("the jobs were never all done");
    // A job that was done when its agent was killed comes again, and is not done again.
    let settled = async {
        let left = |listed: &Value| {
            listed.to_string().contains("\"jobs\"") && !listed.to_string().contains("\"size\":0")
        };
        while left(&room.queues().list().await.unwrap()) {}
    };
    tokio::time::timeout(LIMIT, settled).await.expect("the queue was never empty");
    let first = threads(&room).await;
    assert_eq!(first.len(), JOBS);
    for (path, rows) in &first {
        assert_eq!(done(rows), 1, "{path}: {rows:#?}");
        let began = rows.iter().filter(|row| kind(row) == "turn.start.accepted").count();
        let ended = rows.iter().filter(|row| kind(row) == "turn.ended").count();
        assert_eq!(began, ended, "every turn that was accepted ends: {path}");
    }
    assert_eq!(first, threads(&room).await, "a thread reads the same each time");
    assert_eq!(agent.terminate().code, Some(0));
}

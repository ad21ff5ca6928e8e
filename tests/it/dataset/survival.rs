//! What is acknowledged is there after the process is gone; a folder has one server.

use super::rig::{create, ids, insert, make, on_branch, open, place, rows, table, write};
use meshagent::dataset::{CreateMode, DatasetStore, WriteKind};
use meshagent::error_code::RoomCode;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Where a child of this test writes until it is killed.
const FOLDER_VARIABLE: &str = "MESHAGENT_TEST_DATASET_FOLDER";
/// Acknowledged writes after which the child is killed.
const ACKNOWLEDGED: usize = 60;

#[tokio::test]
async fn a_store_that_was_closed_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let t = table("t");
    make(&store, &t, [1]).await;
    store.create_branch(&place(), "b", None).await.unwrap();
    insert(&store, &on_branch("t", "b"), [2]).await;
    store.close_room(super::rig::room()).await;
    insert(&store, &t, [3]).await;
    store.close().await;
    let store = open(folder.path());
    assert_eq!(ids(&store, &t).await, [1, 3]);
    assert_eq!(ids(&store, &on_branch("t", "b")).await, [1, 2]);
}

#[tokio::test]
async fn two_servers_cannot_share_a_namespace() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    make(&first, &table("t"), [1]).await;
    let second = open(folder.path());
    let error = second.list_tables(&place()).await.unwrap_err();
    assert_eq!(error.code, RoomCode::InvalidState);
    assert!(error.text.contains("in use by another server"), "{}", error.text);
    first.close().await;
    assert_eq!(ids(&second, &table("t")).await, [1]);
}

/// The child: appends and says so, for ever. Runs only when it is given a folder.
#[tokio::test]
async fn child_that_is_killed() {
    let Some(folder) = std::env::vars().find(|(name, _)| name == FOLDER_VARIABLE).map(|(_, value)| value)
    else {
        return;
    };
    let store = open(folder.as_ref());
    let t = table("t");
    write(&store, &t, create(CreateMode::CreateIfNotExists), []).await.unwrap();
    let start = ids(&store, &t).await.last().map_or(0, |last| last + 1);
    for id in start.. {
        if id % 10 == 9 {
            let batches = [rows([id]), rows([])];
            write(&store, &t, WriteKind::Merge { on: "id".into() }, batches).await.unwrap();
        } else {
            insert(&store, &t, [id]).await;
        }
        println!("\nacknowledged {id}");
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for _ in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "dataset::survival::child_that_is_killed", "--nocapture", "--test-threads=1"])
            .env(FOLDER_VARIABLE, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said =
            lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok());
        acknowledged.extend(said.take(ACKNOWLEDGED).collect::<Vec<i64>>());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let found = runtime.block_on(async { ids(&open(folder.path()), &table("t")).await });
    assert_eq!(acknowledged.len(), 3 * ACKNOWLEDGED);
    assert!(acknowledged.iter().all(|id| found.contains(id)), "an acknowledged row is lost");
    let expected: Vec<i64> = (0..found.len() as i64).collect();
    assert_eq!(found, expected, "no row twice, none invented");
}

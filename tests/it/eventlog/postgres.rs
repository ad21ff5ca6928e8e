//! What only the Postgres engine can show: several servers, lost connections, versions.

use super::{clock, write};
use crate::support::postgres::database;
use meshagent::eventlog::postgres::PostgresLog;
use meshagent::eventlog::{EventLog, Expected, Filter, Recorded, StreamWrite, Tail};
use meshagent::id::Position;
use meshagent::store::StoreError;
use meshagent::store::postgres::Postgres;
use std::sync::Arc;
use tokio_postgres::NoTls;

async fn open(url: &str) -> Arc<PostgresLog> {
    let store = Arc::new(Postgres::open(url).await.unwrap());
    Arc::new(PostgresLog::open(store, clock()).await.unwrap())
}

async fn with_tool(url: &str, sql: &str) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute(sql).await
}

/// Appends large enough that the next is launched before the last has landed, from two servers that guess wrong about
/// each other, over connections that are cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_in_flight_stay_in_order_and_are_recorded_once() {
    const APPENDS: u128 = 12;
    const EVENTS: u128 = 120;
    let Some(url) = database().await else { return };
    let servers = [open(&url).await, open(&url).await];
    let writers: Vec<_> = (0..10_u128)
        .map(|w| {
            let log = Arc::clone(&servers[usize::from(w % 5 == 4)]);
            tokio::spawn(async move {
                for n in 0..APPENDS {
                    let first = w * 1_000_000 + n * 1000;
                    let version = Expected::Exact(u64::try_from(n * EVENTS).unwrap());
                    let writes = || {
                        let own = write(&format!("room-{w}"), version, first..first + EVENTS);
                        vec![own, write("shared-all", Expected::Any, [first + 999])]
                    };
                    let recorded = until_available(&log, writes).await;
                    if n % 4 == 0 {
                        assert_eq!(until_available(&log, writes).await, recorded);
                    }
                }
            })
        })
        .collect();
    let total = u64::try_from(10 * APPENDS * (EVENTS + 1)).unwrap();
    let mut changes = servers[0].changes();
    for cut in 1..=3 {
        changes.wait_for(|head| head.0 >= cut * total / 4).await.unwrap();
        with_tool(&url, CUT).await.unwrap();
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let report = servers[1].verify().await.unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
    assert_eq!(report.events, total);
}

/// What is unknown to the caller is settled by trying again with the same ids.
async fn until_available(log: &PostgresLog, writes: impl Fn() -> Vec<StreamWrite>) -> Vec<Recorded> {
    loop {
        match log.append(writes()).await {
            Ok(appended) => return appended.events,
            Err(error) => assert!(error.to_string().contains("not available"), "{error}"),
        }
    }
}

/// Every connection of the database but the tool's own is cut.
const CUT: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_share_one_order() {
    let Some(url) = database().await else { return };
    let servers = [open(&url).await, open(&url).await];
    let follow = servers.clone().map(|log| {
        let mut tail = Tail::new(log, Position(0), Filter::all());
        tokio::spawn(async move {
            let mut seen = Vec::new();
            while seen.len() < 160 {
                seen.extend(tail.next().await.unwrap());
            }
            seen
        })
    });
    let write = |server: usize| {
        let log = Arc::clone(&servers[server]);
        tokio::spawn(async move {
            for n in 0..40_u128 {
                let id = server as u128 * 1000 + n * 2 + 1;
                let own = write(&format!("room-{server}"), Expected::Exact(u64::try_from(n).unwrap()), [id]);
                log.append(vec![own, write("shared-all", Expected::Any, [id + 1])]).await.unwrap();
            }
        })
    };
    for writer in [write(0), write(1)] {
        writer.await.unwrap();
    }
    let [first, second] = follow;
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(first, second);
    assert!(first.iter().zip(1..).all(|(event, n)| event.position == Position(n)));
    assert!(servers[0].verify().await.unwrap().is_sound());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_connections_lose_nothing() {
    let Some(url) = database().await else { return };
    let log = open(&url).await;
    let other = open(&url).await;
    let mut tail = Tail::new(log.clone(), Position(0), Filter::all());
    for round in 0..5_u64 {
        let id = u128::from(round) * 2 + 1;
        log.append(vec![write("room-a", Expected::Exact(round * 2), [id])]).await.unwrap();
        assert_eq!(tail.next().await.unwrap().len(), 1);
        with_tool(&url, CUT).await.unwrap();
        // The other server's append is seen although its notice was lost or late.
        other.append(vec![write("room-a", Expected::Exact(round * 2 + 1), [id + 1])]).await.unwrap();
        let seen = loop {
            // The first reads after the cut may find a dead connection.
            if let Ok(seen) = tail.next().await {
                break seen;
            }
        };
        assert_eq!(seen[0].event_id.as_u128(), id + 1);
    }
    assert!(log.verify().await.unwrap().is_sound());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_go_on_while_connections_are_cut() {
    let Some(url) = database().await else { return };
    let log = open(&url).await;
    let writers: Vec<_> = (0..8_u128)
        .map(|w| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                for n in 0..60_u128 {
                    let writes = vec![write(
                        &format!("room-{w}"),
                        Expected::Exact(u64::try_from(n).unwrap()),
                        [w * 1000 + n],
                    )];
                    until_available(&log, || writes.clone()).await;
                }
            })
        })
        .collect();
    let mut changes = log.changes();
    for cut in 1..=5 {
        changes.wait_for(|head| head.0 >= cut * 80).await.unwrap();
        with_tool(&url, CUT).await.unwrap();
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let report = log.verify().await.unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
    assert_eq!(report.events, 480);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_of_postgres_loses_nothing_that_was_acknowledged() {
    let Some(server) = crate::support::postgres::server().await else { return };
    let log = open(&server.url("postgres")).await;
    let mut tail = Tail::new(log.clone(), Position(0), Filter::all());
    let mut acknowledged = 0;
    for crash in 0..3_u64 {
        for n in 0..5_u64 {
            let writes =
                || vec![write("room-a", Expected::Exact(crash * 5 + n), [u128::from(crash * 5 + n) + 1])];
            until_available(&log, writes).await;
            acknowledged += 1;
        }
        tokio::task::block_in_place(|| server.crash());
    }
    let seen = loop {
        // The first read after the crash may find a dead connection.
        if let Ok(seen) = tail.next().await {
            break seen;
        }
    };
    assert_eq!(seen.len(), acknowledged);
    assert!(log.verify().await.unwrap().is_sound());
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let Some(url) = database().await else { return };
    drop(open(&url).await);
    with_tool(&url, "INSERT INTO meshagent_schema VALUES (999)").await.unwrap();
    let error = Postgres::open(&url).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 999, .. }), "{error}");
}

/// A plan that was made while the table was empty is kept; it must be good for a full one.
#[tokio::test]
async fn plans_use_the_indices_from_the_first_event_on() {
    let Some(url) = database().await else { return };
    let store = Postgres::open(&url).await.unwrap();
    let client = store.client().await.unwrap();
    for sql in [
        "SELECT event_id FROM events ORDER BY position DESC LIMIT 1",
        "SELECT * FROM events WHERE position > 5 ORDER BY position LIMIT 10",
        "SELECT version FROM events WHERE stream = 'room-a' ORDER BY version DESC LIMIT 1",
    ] {
        let plan = client.query(&format!("EXPLAIN {sql}"), &[]).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        assert!(
            plan.iter().any(|line| line.contains("Index")) && !plan.concat().contains("Seq Scan"),
            "{plan:?}"
        );
    }
}

#[tokio::test]
async fn a_database_that_does_not_promise_durability_is_refused() {
    let Some(url) = database().await else { return };
    let error = Postgres::open(&format!("{url} options='-c synchronous_commit=off'")).await.unwrap_err();
    assert!(error.to_string().contains("set synchronous_commit = on"), "{error}");
}

#[tokio::test]
async fn facts_cannot_be_changed_with_a_tool_and_damage_is_found() {
    let Some(url) = database().await else { return };
    let log = open(&url).await;
    log.append(vec![write("room-a", Expected::Any, 1..=3)]).await.unwrap();
    for sql in ["UPDATE events SET version = 9", "DELETE FROM events", "TRUNCATE events"] {
        let error = with_tool(&url, sql).await.unwrap_err();
        assert!(error.as_db_error().unwrap().message().contains("never changed"), "{error}");
    }
    let lie = "ALTER TABLE events DISABLE TRIGGER ALL; UPDATE events SET data = '{}' WHERE position = 2; \
               DELETE FROM events WHERE position = 3; UPDATE events SET position = 3 WHERE position = 1";
    with_tool(&url, lie).await.unwrap();
    let report = log.verify().await.unwrap();
    assert!(!report.is_sound());
    assert!(report.problems.iter().any(|p| p.what.contains("checksum")), "{:?}", report.problems);
}

/// Postgres is closed to an unknown server: the error names the place, not the password.
#[tokio::test]
async fn a_missing_database_is_named() {
    let Some(url) = database().await else { return };
    let error =
        Postgres::open(&format!("{url} dbname=nowhere password=hunter2")).await.unwrap_err().to_string();
    assert!(error.contains("\"nowhere\" does not exist") && !error.contains("hunter2"), "{error}");
}

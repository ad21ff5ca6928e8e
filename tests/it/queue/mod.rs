//! One conformance suite for the durable queues, run over every engine.

mod contract;
mod crowd;

use meshagent::clock::System;
use meshagent::id::{ProjectId, RoomId};
use meshagent::name::QueueName;
use meshagent::queue::{Limits, MemoryQueues, NewItem, PostgresQueues, QueueKey, QueueStore, SqliteQueues};
use meshagent::store::postgres::Postgres;
use meshagent::store::sqlite::Sqlite;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);
/// Lease for items that are meant to be acknowledged.
const LONG: u64 = 60_000;
/// Lease for items that are meant to come back.
const SHORT: u64 = 20;

type Store = Arc<dyn QueueStore>;

/// A fresh store, and what must live as long as it does.
struct Engine {
    store: Store,
    directory: Option<tempfile::TempDir>,
}

async fn memory(limits: Limits) -> Engine {
    Engine { store: MemoryQueues::new(limits, Arc::new(System), Arc::new(System)), directory: None }
}

async fn sqlite(limits: Limits) -> Engine {
    let directory = tempfile::tempdir().unwrap();
    let store = open_sqlite(directory.path(), limits).await;
    Engine { store, directory: Some(directory) }
}

async fn postgres(url: String, limits: Limits) -> Engine {
    let database = Arc::new(Postgres::open(&url).await.unwrap());
    let store = PostgresQueues::open(database, limits, Arc::new(System)).await.unwrap();
    Engine { store, directory: None }
}

async fn open_sqlite(directory: &std::path::Path, limits: Limits) -> Store {
    let database = Arc::new(Sqlite::open(directory).unwrap());
    SqliteQueues::open(database, limits, Arc::new(System), Arc::new(System)).await.unwrap()
}

fn room(n: u128) -> RoomId {
    RoomId::new(ProjectId::new(Uuid::from_u128(1)), Uuid::from_u128(n))
}

fn key(name: &str) -> QueueKey {
    QueueKey::new(room(1), QueueName::new(name).unwrap())
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it did not happen in time")
}

macro_rules! on_every_engine {
    ($($suite:ident :: $test:ident,)*) => {
        mod on_memory { $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() { super::$suite::$test(super::memory).await; }
        )* }
        mod on_postgres { $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let Some(url) = crate::support::postgres::database().await else { return };
                super::$suite::$test(|limits| super::postgres(url.clone(), limits)).await;
            }
        )* }
        mod on_sqlite { $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() { super::$suite::$test(super::sqlite).await; }
        )* }
    };
}

on_every_engine! {
    contract::items_leave_in_the_order_they_came,
    contract::a_queue_must_be_made_first,
    contract::rooms_and_projects_do_not_see_each_other,
    contract::a_chosen_id_is_one_item,
    contract::every_bound_has_its_error,
    contract::an_acknowledged_item_is_gone_and_its_lease_over,
    contract::a_lease_that_runs_out_gives_the_item_back_in_its_place,
    contract::an_extended_lease_lasts,
    contract::an_item_that_fails_too_often_is_a_dead_letter,
    contract::an_item_whose_consumer_went_away_is_offered_more_often,
    contract::dead_letters_are_paged_replayed_and_deleted,
    contract::a_holder_that_goes_away_gives_all_back,
    contract::a_delayed_item_waits_and_then_wakes,
    contract::draining_and_closing,
    crowd::no_item_is_lost_or_given_twice_in_a_crowd,
    crowd::waiters_are_served_in_turn,
    crowd::a_cancelled_receiver_loses_nothing,
    crowd::receivers_that_leave_at_any_moment_lose_nothing,
    crowd::a_closed_queue_tells_those_who_wait,
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_items_and_leases_over_a_restart() {
    let Engine { store, directory } = sqlite(Limits::default()).await;
    let directory = directory.unwrap();
    for n in 1..=3 {
        store.send(&key("q"), NewItem::new(n.to_string()), true).await.unwrap();
    }
    let kept = store.lease(&key("q"), "keeper", LONG).await.unwrap().unwrap();
    store.lease(&key("q"), "dead", SHORT).await.unwrap().unwrap();
    drop(store);
    let store = soon(reopened(directory.path())).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let taken = soon(meshagent::queue::take(&store, &key("q"), true)).await.unwrap().unwrap();
        seen.push(taken.accept().unwrap().body);
    }
    seen.sort();
    assert_eq!(seen, ["2", "3"]);
    store.ack(&key("q"), kept.token).await.unwrap();
    assert_eq!(store.list(room(1)).await.unwrap()[0].size, 0);
}

/// Two servers on one database: what one sends wakes who waits on the other, and what one held when it went away
/// comes back on the other.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_wakes_across_servers() {
    let Some(url) = crate::support::postgres::database().await else { return };
    let one = postgres(url.clone(), Limits::default()).await.store;
    let two = postgres(url, Limits::default()).await.store;
    one.create(&key("q")).await.unwrap();
    let own = Arc::clone(&two);
    let waiting = tokio::spawn(async move { meshagent::queue::take(&own, &key("q"), true).await });
    for n in 0..20 {
        one.send(&key("q"), NewItem::new(n.to_string()), false).await.unwrap();
    }
    let first = soon(waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(first.accept().unwrap().body, "0");

    let rest = one.lease_many(&key("q"), "on one", 200, 100).await.unwrap();
    assert_eq!(rest.len(), 19);
    let own = Arc::clone(&two);
    let waiting =
        tokio::spawn(async move { meshagent::queue::lease_wait(&own, &key("q"), "on two", LONG, 100).await });
    tokio::task::yield_now().await;
    drop(one);
    let back = soon(waiting).await.unwrap().unwrap();
    assert_eq!(back[0].attempt, 2, "the lease of the dead server ran out");
}

/// The directory is free again when the former database was closed, which happens in the background.
async fn reopened(directory: &std::path::Path) -> Store {
    loop {
        match Sqlite::open(directory) {
            Ok(database) => {
                let (clock, ids) = (Arc::new(System), Arc::new(System));
                return SqliteQueues::open(Arc::new(database), Limits::default(), clock, ids).await.unwrap();
            }
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

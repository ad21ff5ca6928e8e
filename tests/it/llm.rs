//! The usage of models over every store: what is added adds up, whoever asks and however it is narrowed.

use crate::support::postgres;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use meshagent::clock::Fixed;
use meshagent::id::ProjectId;
use meshagent::llm::usage::{
    Account, Filter, HOUR_MS, Ledger, MemoryUsage, PostgresUsage, SqliteUsage, Sums, UsageError, UsageStore,
};
use meshagent::llm::{Provider, Tokens};
use meshagent::store::postgres::Postgres;
use meshagent::store::sqlite::Sqlite;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;
use uuid::Uuid;

fn project(n: u128) -> ProjectId {
    ProjectId::new(Uuid::from_u128(n))
}

fn account(hour: i64, model: &str, user: &str) -> Account {
    Account {
        project: project(1),
        hour_ms: hour * HOUR_MS,
        provider: Provider::OpenAi,
        model: model.to_owned(),
        room: "den".to_owned(),
        user: user.to_owned(),
        delegation: None,
        annotations: BTreeMap::new(),
    }
}

fn sums(n: u64) -> Sums {
    let tokens = Tokens { input: 10 * n, cached: 2 * n, cache_write: n, output: 5 * n, reasoning: 3 * n };
    Sums { requests: n, estimated: 0, tokens, cost_nanos: 7 * n }
}

async fn what_is_added_adds_up(store: Arc<dyn UsageStore>) {
    let all = Filter::all(project(1));
    assert_eq!(store.sum(&all).await.unwrap(), Sums::default());
    let noted = Account {
        delegation: Some(Uuid::from_u128(9)),
        annotations: BTreeMap::from([("job".to_owned(), "\"ü\"".to_owned())]),
        ..account(500_000, "m1", "ann")
    };
    let elsewhere = Account { project: project(2), ..account(500_000, "m1", "ann") };
    let first = vec![
        (account(500_000, "m1", "ann"), sums(1)),
        (account(500_000, "m2", "bob"), sums(2)),
        (noted.clone(), sums(3)),
        (elsewhere, sums(100)),
    ];
    store.add(first).await.unwrap();
    let second = vec![(account(500_000, "m1", "ann"), sums(4)), (account(500_025, "m1", "ann"), sums(5))];
    store.add(second).await.unwrap();

    assert_eq!(store.sum(&all).await.unwrap(), sums(15));
    let some = |narrow: fn(&mut Filter)| {
        let mut filter = all.clone();
        narrow(&mut filter);
        filter
    };
    for (filter, want) in [
        (some(|f| f.user = Some("bob".to_owned())), 2),
        (some(|f| f.model = Some("m1".to_owned())), 13),
        (some(|f| f.model = Some("m*".to_owned())), 15),
        (some(|f| f.model = Some("%".to_owned())), 0),
        (some(|f| f.room = Some("hall".to_owned())), 0),
        (some(|f| f.provider = Some(Provider::Grok)), 0),
        (some(|f| f.delegation = Some(Uuid::from_u128(9))), 3),
        (some(|f| f.from_ms = 500_001 * HOUR_MS), 5),
        (some(|f| f.to_ms = 500_001 * HOUR_MS), 10),
    ] {
        assert_eq!(store.sum(&filter).await.unwrap(), sums(want), "{filter:?}");
    }
    let rows = store.rows(&all, HOUR_MS).await.unwrap();
    assert_eq!(rows.len(), 4);
    assert!(rows.contains(&(account(500_000, "m1", "ann"), sums(5))), "{rows:?}");
    assert!(rows.contains(&(noted, sums(3))), "{rows:?}");
    let whole = store.rows(&all, i64::MAX).await.unwrap();
    assert_eq!(whole.len(), 3, "hours are put together: {whole:?}");

    assert_eq!(store.forget(500_001 * HOUR_MS).await.unwrap(), 4);
    assert_eq!(store.sum(&all).await.unwrap(), sums(5));
}

#[tokio::test]
async fn in_memory() {
    what_is_added_adds_up(Arc::new(MemoryUsage::default())).await;
}

#[tokio::test]
async fn in_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Sqlite::open(dir.path()).unwrap());
    what_is_added_adds_up(Arc::new(SqliteUsage::new(store))).await;
}

#[tokio::test]
async fn in_postgres() {
    let Some(url) = postgres::database().await else { return };
    let store = Arc::new(Postgres::open(&url).await.unwrap());
    what_is_added_adds_up(Arc::new(PostgresUsage::new(store))).await;
}

#[tokio::test]
async fn what_waits_in_the_ledger_counts_at_once_and_is_written_once() {
    let store = Arc::new(MemoryUsage::default());
    let clock = Arc::new(Fixed::at(DateTime::<Utc>::UNIX_EPOCH));
    let ledger = Ledger::new(store.clone(), clock);
    let all = Filter::all(project(1));
    for n in 1..=3 {
        ledger.add(account(1, "m", "ann"), sums(n));
    }
    assert_eq!(ledger.sum(&all).await.unwrap(), sums(6));
    assert_eq!(store.sum(&all).await.unwrap(), Sums::default());
    ledger.flush().await.unwrap();
    ledger.flush().await.unwrap();
    assert_eq!((ledger.sum(&all).await.unwrap(), store.sum(&all).await.unwrap()), (sums(6), sums(6)));
}

/// A store whose writes wait until they are let go.
#[derive(Debug, Default)]
struct Slow {
    inner: MemoryUsage,
    begun: Notify,
    go: Notify,
}

#[async_trait]
impl UsageStore for Slow {
    async fn add(&self, rows: Vec<(Account, Sums)>) -> Result<(), UsageError> {
        self.begun.notify_one();
        self.go.notified().await;
        self.inner.add(rows).await
    }
    async fn rows(&self, filter: &Filter, span_ms: i64) -> Result<Vec<(Account, Sums)>, UsageError> {
        UsageStore::rows(&self.inner, filter, span_ms).await
    }
    async fn sum(&self, filter: &Filter) -> Result<Sums, UsageError> {
        self.inner.sum(filter).await
    }
    async fn forget(&self, before_ms: i64) -> Result<u64, UsageError> {
        self.inner.forget(before_ms).await
    }
}

#[tokio::test]
async fn a_write_that_nobody_waits_for_any_more_is_neither_lost_nor_doubled() {
    let store = Arc::new(Slow::default());
    let clock = Arc::new(Fixed::at(DateTime::<Utc>::UNIX_EPOCH));
    let ledger = Arc::new(Ledger::new(store.clone(), clock));
    let all = Filter::all(project(1));
    ledger.add(account(1, "m", "ann"), sums(1));
    let left = tokio::spawn({
        let ledger = Arc::clone(&ledger);
        async move { ledger.flush().await }
    });
    store.begun.notified().await;
    left.abort();
    assert!(left.await.is_err());
    assert_eq!(ledger.sum(&all).await.unwrap(), sums(1));
    ledger.add(account(1, "m", "ann"), sums(2));
    store.go.notify_one();
    let rest = tokio::spawn({
        let ledger = Arc::clone(&ledger);
        async move { ledger.flush().await }
    });
    store.begun.notified().await;
    store.go.notify_one();
    rest.await.unwrap().unwrap();
    assert_eq!(store.sum(&all).await.unwrap(), sums(3));
}

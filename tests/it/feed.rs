//! Messages of feeds over every store: in order, each subscription at its own place, gone when all have them.

use crate::support::postgres;
use chrono::{DateTime, Utc};
use meshagent::feed::{
    BATCH_BYTES_MAX, Failure, FeedError, FeedStore, MemoryFeeds, PostgresFeeds, SqliteFeeds,
    WAITING_BYTES_MAX,
};
use meshagent::id::{FeedId, FeedSubscriptionId, ProjectId};
use meshagent::store::postgres::Postgres;
use meshagent::store::sqlite::Sqlite;
use std::sync::Arc;
use uuid::Uuid;

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap()
}

fn bodies(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

async fn held_to_the_contract(store: Arc<dyn FeedStore>) {
    let project = ProjectId::new(Uuid::from_u128(1));
    let feed = FeedId::new(project, Uuid::from_u128(2));
    let other = FeedId::new(ProjectId::new(Uuid::from_u128(7)), Uuid::from_u128(2));
    let (a, b) = (
        FeedSubscriptionId::new(project, Uuid::from_u128(3)),
        FeedSubscriptionId::new(project, Uuid::from_u128(4)),
    );
    let texts = async |of: FeedSubscriptionId, since: i64| -> Vec<String> {
        store.batch(of, feed, at(since)).await.unwrap().into_iter().map(|one| one.body).collect()
    };
    store.publish(feed, bodies(&["1", "2"]), at(1_000)).await.unwrap();
    store.publish(other, bodies(&["elsewhere"]), at(1_000)).await.unwrap();
    store.publish(feed, bodies(&["\"\\u0000ü\""]), at(2_000)).await.unwrap();
    assert_eq!(texts(a, 0).await, ["1", "2", "\"\\u0000ü\""]);
    assert_eq!(texts(b, 2_000).await, ["\"\\u0000ü\""], "from its beginning on");
    let batch = store.batch(a, feed, at(0)).await.unwrap();
    assert!(batch.windows(2).all(|two| two[0].place < two[1].place) && batch[2].published_at == at(2_000));

    store.delivered(a, batch[1].place).await.unwrap();
    assert_eq!(texts(a, 0).await, ["\"\\u0000ü\""]);
    store.delivered(a, batch[0].place).await.unwrap();
    assert_eq!(texts(a, 0).await.len(), 1, "nothing is delivered twice");
    assert_eq!(store.trim(feed, &[a, b], i64::MAX).await.unwrap(), 0, "b has nothing yet");
    let failure = Failure { reason: "full".to_owned(), again_at: at(9_000) };
    store.failed(b, &failure).await.unwrap();
    assert_eq!(store.failure(b).await.unwrap(), Some(failure.clone()));
    store.recovered(b).await.unwrap();
    assert_eq!(store.failure(b).await.unwrap(), None, "all is well though nothing was delivered");
    store.failed(b, &failure).await.unwrap();
    assert_eq!(texts(b, 0).await.len(), 3);
    store.delivered(b, batch[2].place).await.unwrap();
    assert_eq!(store.failure(b).await.unwrap(), None);
    assert_eq!(store.last(feed).await.unwrap(), Some(batch[2].place));
    assert_eq!(store.trim(feed, &[], batch[0].place).await.unwrap(), 1, "none behind the bound");
    assert_eq!(store.trim(feed, &[a, b], i64::MAX).await.unwrap(), 1);
    let (feeds, mut known) = store.known().await.unwrap();
    known.sort_unstable();
    assert_eq!((feeds.len(), known), (2, vec![a, b]));
    store.forget(a).await.unwrap();
    assert_eq!(store.trim(feed, &[], i64::MAX).await.unwrap(), 1, "nobody is left");
    assert_eq!(store.known().await.unwrap(), (vec![other], vec![b]));
    assert_eq!(store.last(feed).await.unwrap(), None);
    assert_eq!(store.batch(a, other, at(0)).await.unwrap().len(), 1, "another project's feed is another");

    let long = "x".repeat(BATCH_BYTES_MAX / 2 + 1);
    store.publish(feed, vec![long.clone(), long.clone(), "3".to_owned()], at(3_000)).await.unwrap();
    assert_eq!(texts(a, 0).await.len(), 1, "a batch has a bound");
    let huge = "x".repeat(usize::try_from(WAITING_BYTES_MAX).unwrap() / 8);
    let refused = store.publish(feed, vec![huge; 8], at(4_000)).await;
    assert!(matches!(refused, Err(FeedError::Full { .. })), "a feed has a bound");
    let place = store.batch(a, feed, at(0)).await.unwrap()[0].place;
    store.delivered(a, place).await.unwrap();
    store.delivered(a, store.batch(a, feed, at(0)).await.unwrap().last().unwrap().place).await.unwrap();
    assert_eq!(texts(a, 0).await, Vec::<String>::new(), "of what was refused nothing is kept");
    late_subscriptions_hold_nothing_up(&store, project).await;
}

/// Who subscribes while older messages wait for others does not keep those.
async fn late_subscriptions_hold_nothing_up(store: &Arc<dyn FeedStore>, project: ProjectId) {
    let feed = FeedId::new(project, Uuid::from_u128(20));
    let (early, late) = (
        FeedSubscriptionId::new(project, Uuid::from_u128(21)),
        FeedSubscriptionId::new(project, Uuid::from_u128(22)),
    );
    store.publish(feed, bodies(&["1", "2"]), at(1_000)).await.unwrap();
    let last = store.batch(early, feed, at(0)).await.unwrap()[1].place;
    store.delivered(early, last).await.unwrap();
    store.skip(late, feed, at(1_000)).await.unwrap();
    assert_eq!(store.trim(feed, &[early, late], i64::MAX).await.unwrap(), 0, "these are for the late one");
    store.skip(late, feed, at(1_001)).await.unwrap();
    assert_eq!(store.trim(feed, &[early, late], i64::MAX).await.unwrap(), 2);
    store.publish(feed, bodies(&["3"]), at(2_000)).await.unwrap();
    store.skip(early, feed, at(9_000)).await.unwrap();
    assert_eq!(store.batch(early, feed, at(0)).await.unwrap().len(), 1, "who has something skips nothing");
    assert_eq!(store.batch(late, feed, at(1_001)).await.unwrap().len(), 1);
    store.skip(FeedSubscriptionId::new(project, Uuid::from_u128(23)), feed, at(0)).await.unwrap();
    let known = store.known().await.unwrap().1;
    assert!(!known.contains(&FeedSubscriptionId::new(project, Uuid::from_u128(23))));
}

#[tokio::test]
async fn in_memory() {
    held_to_the_contract(Arc::new(MemoryFeeds::default())).await;
}

#[tokio::test]
async fn in_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    held_to_the_contract(Arc::new(SqliteFeeds::new(Arc::new(Sqlite::open(dir.path()).unwrap())))).await;
}

#[tokio::test]
async fn in_postgres() {
    let Some(url) = postgres::database().await else { return };
    held_to_the_contract(Arc::new(PostgresFeeds::new(Arc::new(Postgres::open(&url).await.unwrap())))).await;
}

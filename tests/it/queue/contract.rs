//! What each call does, seen by one caller.

use super::{Engine, LONG, SHORT, key, room, soon};
use meshagent::id::{ProjectId, RoomId};
use meshagent::name::QueueName;
use meshagent::queue::{
    ItemId, LeasedItem, Limits, NewItem, QueueError, QueueKey, QueueStore, Sent, lease_wait, take,
};
use std::sync::Arc;
use uuid::Uuid;

async fn fill(store: &Arc<dyn QueueStore>, name: &str, bodies: std::ops::RangeInclusive<u32>) {
    let items = bodies.map(|n| NewItem::new(n.to_string())).collect();
    store.send_many(&key(name), items, true).await.unwrap();
}

async fn all(store: &Arc<dyn QueueStore>, name: &str) -> Vec<String> {
    let items = store.receive_many(&key(name), 100).await.unwrap();
    items.into_iter().map(|item| item.body).collect()
}

async fn leased(store: &Arc<dyn QueueStore>, name: &str, lease_ms: u64) -> LeasedItem {
    soon(lease_wait(store, &key(name), "worker", lease_ms, 1)).await.unwrap().remove(0)
}

pub async fn items_leave_in_the_order_they_came<F: Future<Output = Engine>>(make: impl Fn(Limits) -> F) {
    let engine = make(Limits::default()).await;
    let store = &engine.store;
    fill(store, "q", 1..=3).await;
    store.send(&key("q"), NewItem::new("4"), false).await.unwrap();
    let first = store.receive(&key("q")).await.unwrap().unwrap();
    assert_eq!(first.body, "1");
    store.put_back(&key("q"), first).await.unwrap();
    let one = leased(store, "q", LONG).await;
    assert_eq!((one.body.as_str(), one.attempt), ("1", 1));
    store.release(&key("q"), one.token).await.unwrap();
    assert_eq!(all(store, "q").await, ["1", "2", "3", "4"]);
    assert!(store.receive(&key("q")).await.unwrap().is_none());
    assert!(take(store, &key("q"), false).await.unwrap().is_none());
}

pub async fn a_queue_must_be_made_first<F: Future<Output = Engine>>(make: impl Fn(Limits) -> F) {
    let engine = make(Limits::default()).await;
    let (store, q) = (&engine.store, key("q"));
    assert!(!store.exists(&q).await.unwrap());
    let sent = store.send(&q, NewItem::new("1"), false).await;
    assert!(matches!(sent, Err(QueueError::NotFound { .. })));
    assert!(matches!(store.receive(&q).await, Err(QueueError::NotFound { .. })));
    assert!(matches!(store.lease(&q, "w", LONG).await, Err(QueueError::NotFound { .. })));
    assert!(matches!(store.drain(&q).await, Err(QueueError::NotFound { .. })));
    assert!(matches!(store.close(&q).await, Err(QueueError::NotFound { .. })));
    store.create(&q).await.unwrap();
    assert!(matches!(store.create(&q).await, Err(QueueError::AlreadyExists { .. })));
    assert!(!store.ensure(&q).await.unwrap());
    assert!(store.ensure(&key("other")).await.unwrap());
    let names: Vec<_> =
        store.list(room(1)).await.unwrap().into_iter().map(|info| info.name.to_string()).collect();
    assert_eq!(names, ["other", "q"]);
}

pub async fn rooms_and_projects_do_not_see_each_other<F: Future<Output = Engine>>(
    make: impl Fn(Limits) -> F,
) {
    let engine = make(Limits::default()).await;
    let store = &engine.store;
    fill(store, "q", 1..=1).await;
    let name = QueueName::new("q").unwrap();
    let other_room = QueueKey::new(room(2), name.clone());
    let foreign = RoomId::new(ProjectId::new(Uuid::from_u128(2)), room(1).uuid());
    let other_project = QueueKey::new(foreign, name);
    for stranger in [&other_room, &other_project] {
        assert!(matches!(store.receive(stranger).await, Err(QueueError::NotFound { .. })));
        assert!(store.list(stranger.room).await.unwrap().is_empty());
        store.delete_room(stranger.room).await.unwrap();
    }
    store.create(&other_project).await.unwrap();
    let one = leased(store, "q", LONG).await;
    assert!(matches!(store.ack(&other_project, one.token).await, Err(QueueError::LeaseLost { .. })));
    store.delete_room(room(1)).await.unwrap();
    assert!(!store.exists(&key("q")).await.unwrap());
    assert!(store.exists(&other_project).await.unwrap());
}

pub async fn a_chosen_id_is_one_item<F: Future<Output = Engine>>(make: impl Fn(Limits) -> F) {
    let engine = make(Limits::default()).await;
    let store = &engine.store;
    let id = ItemId(Uuid::from_u128(77));
    let send = |body: &'static str| store.send_many(&QUEUE, vec![NewItem::with_id(id, body)], true);
    assert_eq!(send("1").await.unwrap(), [Sent::Stored(id)]);
    assert_eq!(send("2").await.unwrap(), [Sent::Duplicate(id)]);
    assert_eq!(store.receive(&key("q")).await.unwrap().unwrap().body, "1");
    assert_eq!(send("3").await.unwrap(), [Sent::Duplicate(id)], "also when it was consumed");
    let twice = vec![NewItem::with_id(ItemId(Uuid::from_u128(78)), "a"); 2];
    let sent = store.send_many(&key("q"), twice, true).await.unwrap();
    assert!(matches!(sent[..], [Sent::Stored(_), Sent::Duplicate(_)]));
    assert_eq!(all(store, "q").await, ["a"]);
    assert_eq!(store.list(room(1)).await.unwrap()[0].size, 0);
}

static QUEUE: std::sync::LazyLock<QueueKey> = std::sync::LazyLock::new(|| key("q"));

pub async fn every_bound_has_its_error<F: Future<Output = Engine>>(make: impl Fn(Limits) -> F) {
    let limits = Limits { items_per_queue: 3, item_bytes: 10, queues_per_room: 2, ..Limits::default() };
    let engine = make(limits).await;
    let store = &engine.store;
    fill(store, "q", 1..=2).await;
    let big = store.send(&key("q"), NewItem::new("x".repeat(11)), false).await.unwrap_err();
    assert!(matches!(big, QueueError::ItemTooLarge { bytes: 11, limit: 10, .. }), "{big}");
    let two = vec![NewItem::new("1"), NewItem::new("2")];
    let full = store.send_many(&key("q"), two, false).await.unwrap_err();
    assert!(matches!(full, QueueError::Full { limit: 3, .. }));
    let text = full.to_string();
    assert!(text.contains("`q`") && text.contains('3') && text.contains("drain"), "{text}");
    assert_eq!(all(store, "q").await.len(), 2, "all or none");
    fill(store, "q", 1..=3).await;
    leased(store, "q", LONG).await;
    assert!(store.send(&key("q"), NewItem::new("4"), false).await.is_err(), "leased items count");
    store.create(&key("second")).await.unwrap();
    let third = store.send(&key("third"), NewItem::new("1"), true).await.unwrap_err();
    assert!(matches!(third, QueueError::TooManyQueues { limit: 2, .. }));
    assert!(!store.exists(&key("third")).await.unwrap());
    let batch = vec![NewItem::new("1"); meshagent::queue::BATCH_MAX + 1];
    assert!(matches!(store.send_many(&key("q"), batch, false).await, Err(QueueError::BatchTooLarge { .. })));
    assert!(matches!(store.lease(&key("q"), "w", 0).await, Err(QueueError::LeaseLength { .. })));
}

pub async fn an_acknowledged_item_is_gone_and_its_lease_over<F: Future<Output = Engine>>(
    make: impl Fn(Limits) -> F,
) {
    let engine = make(Limits::default()).await;
    let store = &engine.store;
    fill(store, "q", 1..=3).await;
    let batch = store.lease_many(&key("q"), "w", LONG, 2).await.unwrap();
    assert_eq!(batch.iter().map(|item| item.body.as_str()).collect::<Vec<_>>(), ["1", "2"]);
    let info = store.list(room(1)).await.unwrap().remove(0);
    assert_eq!((info.size, info.leased, info.dead), (1, 2, 0));
    store.ack(&key("q"), batch[0].token).await.unwrap();
    let both = [batch[1].token, batch[0].token];
    assert!(matches!(store.ack_many(&key("q"), &both).await, Err(QueueError::LeaseLost { .. })));
    store.ack(&key("q"), batch[1].token).await.unwrap();
    for token in both {
        assert!(matches!(store.ack(&key("q"), token).await, Err(QueueError::LeaseLost { .. })));
        assert!(matches!(store.release(&key("q"), token).await, Err(QueueError::LeaseLost { .. })));
        assert!(matches!(store.extend(&key("q"), token, LONG).await, Err(QueueError::LeaseLost { .. })));
        assert!(matches!(store.nack(&key("q"), token, "late", 0).await, Err(QueueError::LeaseLost { .. })));
    }
    assert_eq!(all(store, "q").await, ["3"]);
}

pub async fn a_lease_that_runs_out_gives_the_item_back_in_its_place<F: Future<Output = Engine>>(
    make: impl Fn(Limits) -> F,
) {
    let engine = make(Limits::default()).await;
    let store = &engine.store;
    fill(store, "q", 1..=2).await;
    let first = leased(store, "q", SHORT).await;
    let second = leased(store, "q", LONG).await;
    let again = leased(store, "q", LONG).await;
    assert_eq!((again.id, again.attempt), (first.id, 2));
    assert!(matches!(store.ack(&key("q"), first.token).await, Err(QueueError::LeaseLost { .. })));
    store.ack(&key("q"), again.token).await.unwrap();
    store.ack(&key("q"), second.token).await.unwrap();
}

pub async fn an_extended_lease_lasts<F: Future<Output = Engine>>(make: impl Fn(Limits) -> F) {
    let engine = make(Limits::default()).await;
    let store = &engine.store;
    fill(store, "q", 1..=2).await;
    let long = leased(store, "q", 1_000).await;
    store.extend(&key("q"), long.token, LONG).await.unwrap();
    let short = leased(store, "q", SHORT).await;
    let back = leased(store, "q", LONG).await;
    assert_eq!(back.id, short.id, "only the short lease ran out");
    store.ack(&key("q"), long.token).await.unwrap();
}

pub async fn an_item_that_fails_too_often_is_a_dead_letter<F: Future<Output = Engine>>(
    make: impl Fn(Limits) -> F,
) {
    let engine = make(Limits { attempts: 2, losses: 2, ..Limits::default() }).await;
    let store = &engine.store;
    fill(store, "q", 1..=2).await;
    for last in [false, true] {
        let item = leased(store, "q", LONG).await;
        assert_eq!(item.body, "1");
        assert_eq!(store.nack(&key("q"), item.token, "tool failed", 0).await.unwrap(), last);
    }
    leased(store, "q", SHORT).await;
    assert_eq!(leased(store, "q", SHORT).await.attempt, 2);
    fill(store, "q", 3..=3).await;
    leased(store, "q", LONG).await;
    // The alarm gives the second up; a counter on the list is how a person would see it.
    let dead = soon(async {
        loop {
            let page = store.dead_letters(&key("q"), 0, 10).await.unwrap();
            if page.items.len() == 2 {
                return page;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((dead.items[0].body.as_str(), dead.items[0].reason.as_str()), ("1", "tool failed"));
    assert!(dead.items[1].reason.contains("`worker`"), "{}", dead.items[1].reason);
    let info = store.list(room(1)).await.unwrap().remove(0);
    assert_eq!((info.size, info.leased, info.dead), (0, 1, 2));
}

pub async fn an_item_whose_consumer_went_away_is_offered_more_often<F: Future<Output = Engine>>(
    make: impl Fn(Limits) -> F,
) {
    let engine = make(Limits { attempts: 1, losses: 2, ..Limits::default() }).await;
    let store = &engine.store;
    fill(store, "q", 1..=2).await;
    let first = leased(store, "q", LONG).await;
    assert_eq!(store.nack_holder(room(1), "worker", "it left").await.unwrap(), 1);
    let again = leased(store, "q", LONG).await;
    assert_eq!((again.id, again.attempt), (first.id, 2), "it may be done: somebody has to look");
    assert!(store.nack(&key("q"), again.token, "it is not done", 0).await.unwrap());
    for left in [1, 1] {
        leased(store, "q", LONG).await;
        assert_eq!(store.nack_holder(room(1), "worker", "it left").await.unwrap(), left);
    }
    let dead = store.dead_letters(&key("q"), 0, 10).await.unwrap();
    let reasons: Vec<&str> = dead.items.iter().map(|item| item.reason.as_str()).collect();
    assert_eq!(reasons, ["it is not done", "it left"]);
}

pub async fn dead_letters_are_paged_replayed_and_deleted<F: Future<Output = Engine>>(
    make: impl Fn(Limits) -> F,
) {
    let engine = make(Limits { attempts: 1, ..Limits::default() }).await;
    let (store, q) = (&engine.store, key("q"));
    fill(store, "q", 1..=5).await;
    for item in store.lease_many(&q, "w", LONG, 5).await.unwrap() {
        assert!(store.nack(&q, item.token, "no", 0).await.unwrap());
    }
    let first = store.dead_letters(&q, 0, 3).await.unwrap();
    let second = store.dead_letters(&q, first.next.unwrap(), 3).await.unwrap();
    let bodies: Vec<_> = first.items.iter().chain(&second.items).map(|item| item.body.as_str()).collect();
    assert_eq!(bodies, ["1", "2", "3", "4", "5"]);
    assert_eq!(second.next, None);
    assert_eq!(store.delete_dead(&q, &[first.items[0].id]).await.unwrap(), 1);
    assert_eq!(store.replay_dead(&q, &[second.items[0].id]).await.unwrap(), 1);
    let back = leased(store, "q", LONG).await;
    assert_eq!((back.body.as_str(), back.attempt), ("4", 1));
    assert_eq!(store.replay_dead(&q, &[]).await.unwrap(), 3);
    assert_eq!(all(store, "q").await, ["2", "3", "5"]);
    assert_eq!(store.delete_dead(&q, &[]).await.unwrap(), 0);
}

pub async fn a_holder_that_goes_away_gives_all_back<F: Future<Output = Engine>>(make: impl Fn(Limits) -> F) {
    let engine = make(Limits::default()).await;
    let store = &engine.store;
    fill(store, "a", 1..=2).await;
    fill(store, "b", 3..=3).await;
    store.lease_many(&key("a"), "gone", LONG, 2).await.unwrap();
    store.lease_many(&key("b"), "gone", LONG, 1).await.unwrap();
    assert_eq!(store.nack_holder(room(2), "gone", "it left").await.unwrap(), 0);
    assert_eq!(store.nack_holder(room(1), "here", "it left").await.unwrap(), 0);
    assert_eq!(store.nack_holder(room(1), "gone", "it left").await.unwrap(), 3);
    assert_eq!(all(store, "a").await, ["1", "2"]);
    assert_eq!(leased(store, "b", LONG).await.attempt, 2);
}

pub async fn a_delayed_item_waits_and_then_wakes<F: Future<Output = Engine>>(make: impl Fn(Limits) -> F) {
    let engine = make(Limits::default()).await;
    let (store, q) = (&engine.store, key("q"));
    fill(store, "q", 1..=2).await;
    let one = leased(store, "q", LONG).await;
    assert!(!store.nack(&q, one.token, "later", 50).await.unwrap());
    assert_eq!(leased(store, "q", LONG).await.body, "2", "the delayed one is passed over");
    let info = store.list(room(1)).await.unwrap().remove(0);
    assert_eq!((info.size, info.leased), (0, 2));
    let again = leased(store, "q", LONG).await;
    assert_eq!((again.id, again.attempt), (one.id, 2));
}

pub async fn draining_and_closing<F: Future<Output = Engine>>(make: impl Fn(Limits) -> F) {
    let engine = make(Limits { attempts: 1, ..Limits::default() }).await;
    let (store, q) = (&engine.store, key("q"));
    fill(store, "q", 1..=5).await;
    let dead = leased(store, "q", LONG).await;
    store.nack(&q, dead.token, "no", 0).await.unwrap();
    let held = leased(store, "q", LONG).await;
    assert_eq!(store.drain(&q).await.unwrap(), 4);
    let info = store.list(room(1)).await.unwrap().remove(0);
    assert_eq!((info.size, info.leased, info.dead), (0, 0, 1));
    assert!(matches!(store.ack(&q, held.token).await, Err(QueueError::LeaseLost { .. })));
    store.close(&q).await.unwrap();
    assert!(store.list(room(1)).await.unwrap().is_empty());
    store.create(&q).await.unwrap();
    assert!(store.dead_letters(&q, 0, 10).await.unwrap().items.is_empty());
}

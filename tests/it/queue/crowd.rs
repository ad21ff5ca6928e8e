//! Many callers at once, and callers that go away.

use super::{Engine, LONG, key, room, soon};
use meshagent::queue::{Limits, NewItem, QueueError, lease_wait, take};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

const SENDERS: usize = 4;
const CONSUMERS: usize = 8;
const ITEMS_EACH: usize = 150;

pub async fn no_item_is_lost_or_given_twice_in_a_crowd<F: Future<Output = Engine>>(
    make: impl Fn(Limits) -> F,
) {
    let engine = make(Limits::default()).await;
    let store = &engine.store;
    store.create(&key("q")).await.unwrap();
    let done = Arc::new(Mutex::new(Vec::new()));
    let mut consumers = tokio::task::JoinSet::new();
    for n in 0..CONSUMERS {
        let (store, done) = (Arc::clone(store), Arc::clone(&done));
        consumers.spawn(async move {
            let holder = format!("worker-{n}");
            loop {
                if n % 2 == 0 {
                    for item in lease_wait(&store, &key("q"), &holder, LONG, 3).await.unwrap() {
                        store.ack(&key("q"), item.token).await.unwrap();
                        done.lock().unwrap().push(item.body);
                    }
                } else {
                    let taken = take(&store, &key("q"), true).await.unwrap().unwrap();
                    done.lock().unwrap().push(taken.accept().unwrap().body);
                }
            }
        });
    }
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..SENDERS {
        let store = Arc::clone(store);
        senders.spawn(async move {
            for n in 0..ITEMS_EACH {
                store.send(&key("q"), NewItem::new(format!("{sender}.{n}")), false).await.unwrap();
            }
        });
    }
    soon(senders.join_all()).await;
    soon(async {
        while done.lock().unwrap().len() < SENDERS * ITEMS_EACH {
            tokio::task::yield_now().await;
        }
    })
    .await;
    consumers.shutdown().await;
    let done = done.lock().unwrap().clone();
    assert_eq!(done.len(), SENDERS * ITEMS_EACH);
    assert_eq!(done.iter().collect::<BTreeSet<_>>().len(), done.len(), "an item was given twice");
    let info = store.list(room(1)).await.unwrap().remove(0);
    assert_eq!((info.size, info.leased, info.dead), (0, 0, 0));
}

pub async fn waiters_are_served_in_turn<F: Future<Output = Engine>>(make: impl Fn(Limits) -> F) {
    let engine = make(Limits::default()).await;
    let store = &engine.store;
    store.create(&key("q")).await.unwrap();
    let mut waiters = Vec::new();
    for _ in 0..4 {
        let (joined, in_line) = tokio::sync::oneshot::channel();
        let own = Arc::clone(store);
        waiters.push(tokio::spawn(async move {
            let mut joined = Some(joined);
            let queue = key("q");
            let waiting = take(&own, &queue, true);
            tokio::pin!(waiting);
            std::future::poll_fn(|context| {
                let polled = waiting.as_mut().poll(context);
                joined.take().map(|joined| joined.send(()));
                polled
            })
            .await
            .unwrap()
            .unwrap()
            .accept()
            .unwrap()
            .body
        }));
        in_line.await.unwrap();
    }
    for (n, waiter) in waiters.into_iter().enumerate() {
        store.send(&key("q"), NewItem::new(n.to_string()), false).await.unwrap();
        let body = soon(waiter).await.unwrap();
        assert_eq!(body, n.to_string(), "waiter {n} was not served first");
    }
}

pub async fn a_cancelled_receiver_loses_nothing<F: Future<Output = Engine>>(make: impl Fn(Limits) -> F) {
    let engine = make(Limits::default()).await;
    let store = &engine.store;
    let items = (0..40).map(|n| NewItem::new(n.to_string())).collect();
    store.send_many(&key("q"), items, true).await.unwrap();
    for n in 0..40_usize {
        let own = Arc::clone(store);
        let receiver = tokio::spawn(async move { take(&own, &key("q"), true).await });
        // Cancelled at another point each time: before it began, while it waits for the store, after it has the item.
        for _ in 0..n {
            tokio::task::yield_now().await;
        }
        if n % 4 == 3 {
            drop(soon(receiver).await);
            continue;
        }
        receiver.abort();
        let _ = receiver.await;
    }
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        let taken = soon(take(store, &key("q"), true)).await.unwrap().unwrap();
        assert!(seen.insert(taken.accept().unwrap().body), "given twice");
    }
    assert!(take(store, &key("q"), false).await.unwrap().is_none());
}

/// Waits are cancelled while items come; half of them take, half lease.
pub async fn receivers_that_leave_at_any_moment_lose_nothing<F: Future<Output = Engine>>(
    make: impl Fn(Limits) -> F,
) {
    const ROUNDS: usize = 60;
    let engine = make(Limits::default()).await;
    let store = &engine.store;
    store.create(&key("q")).await.unwrap();
    let done = Arc::new(Mutex::new(Vec::new()));
    for n in 0..ROUNDS {
        let (own, done) = (Arc::clone(store), Arc::clone(&done));
        let receiver = tokio::spawn(async move {
            if n % 2 == 0 {
                let taken = take(&own, &key("q"), true).await.unwrap().unwrap();
                done.lock().unwrap().push(taken.accept().unwrap().body);
            } else {
                for item in lease_wait(&own, &key("q"), "worker", LONG, 1).await.unwrap() {
                    done.lock().unwrap().push(item.body);
                }
            }
        });
        let own = Arc::clone(store);
        let sender =
            tokio::spawn(
                async move { own.send(&key("q"), NewItem::new(n.to_string()), false).await.unwrap() },
            );
        for _ in 0..n * 3 {
            tokio::task::yield_now().await;
        }
        receiver.abort();
        let _ = receiver.await;
        sender.await.unwrap();
    }
    while done.lock().unwrap().len() < ROUNDS {
        let taken = soon(take(store, &key("q"), true)).await.unwrap().unwrap();
        done.lock().unwrap().push(taken.accept().unwrap().body);
    }
    let done = done.lock().unwrap().clone();
    assert_eq!(done.iter().collect::<BTreeSet<_>>().len(), ROUNDS, "an item was given twice");
    assert_eq!(store.list(room(1)).await.unwrap()[0].size, 0);
}

pub async fn a_closed_queue_tells_those_who_wait<F: Future<Output = Engine>>(make: impl Fn(Limits) -> F) {
    let engine = make(Limits::default()).await;
    let store = &engine.store;
    store.create(&key("q")).await.unwrap();
    let mut waiters = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let own = Arc::clone(store);
        waiters.spawn(async move { take(&own, &key("q"), true).await.map(|_| ()) });
    }
    tokio::task::yield_now().await;
    store.close(&key("q")).await.unwrap();
    while let Some(result) = soon(waiters.join_next()).await {
        assert!(matches!(result.unwrap(), Err(QueueError::NotFound { .. })));
    }
}

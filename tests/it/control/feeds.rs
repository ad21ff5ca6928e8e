use super::rig::{Rig, actor};
use bytes::Bytes;
use meshagent::blob::RoomFiles;
use meshagent::control::feed::BATCH_WAIT;
use meshagent::domain::feed::Wanted;
use meshagent::domain::feed_subscription;
use meshagent::feed::BATCH_MESSAGES_MAX;
use meshagent::id::{FeedId, FeedSubscriptionId, RoomId};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// More than a batch waits.
const WHILE: Duration = Duration::from_secs(30);

async fn feed(rig: &Rig, name: &str) -> FeedId {
    let wanted = Wanted { name: name.to_owned(), ..Wanted::default() };
    rig.app.create_feed(&actor(), rig.project, wanted).await.unwrap()
}

async fn subscribe(rig: &Rig, feed: FeedId, room: RoomId, path: &str) -> FeedSubscriptionId {
    let wanted = feed_subscription::Wanted {
        name: None,
        feed,
        room,
        path: path.to_owned(),
        filename_datetime_format: None,
        annotations: BTreeMap::new(),
    };
    rig.app.create_feed_subscription(&actor(), wanted).await.unwrap()
}

async fn publish(rig: &Rig, id: FeedId, messages: &[Value]) {
    let world = rig.app.world();
    let subscribed = rig.app.has_feed_subscribers(id).await.unwrap();
    let body = Bytes::from(json!(messages).to_string());
    let feed = world.feed(id).unwrap();
    let checked = rig.shared.feeds.check(id, feed, body, true).await.unwrap();
    rig.shared.feeds.publish(id, feed, subscribed, checked).await.unwrap();
}

/// Lines of each file of a folder, by name.
async fn files(files: &RoomFiles, folder: &str) -> Vec<Vec<String>> {
    let mut all = vec![];
    for file in files.list(folder).await.unwrap_or_default() {
        let mut read = files.open_read(&format!("{folder}/{}", file.name), None).await.unwrap();
        let mut text = Vec::new();
        loop {
            let part = read.read(1024 * 1024).await.unwrap();
            if part.is_empty() {
                break;
            }
            text.extend_from_slice(&part);
        }
        all.push(String::from_utf8(text).unwrap().lines().map(str::to_owned).collect());
    }
    all
}

#[tokio::test(start_paused = true)]
async fn messages_are_written_together_and_once() {
    let rig = Rig::new().await;
    let (room, id) = (rig.room("den").await, feed(&rig, "orders").await);
    publish(&rig, id, &[json!("before anybody subscribed")]).await;
    subscribe(&rig, id, room, "logs").await;
    rig.pass(WHILE).await;
    publish(&rig, id, &[json!({"n": 1})]).await;
    rig.pass(BATCH_WAIT / 2).await;
    publish(&rig, id, &[json!({"n": 2}), json!("ü\n")]).await;
    assert!(files(&rig.blobs.room(room), "logs").await.is_empty(), "they wait for others");
    rig.pass(WHILE).await;
    let written = files(&rig.blobs.room(room), "logs").await;
    assert_eq!(written, [[r#"{"n":1}"#, r#"{"n":2}"#, r#""ü\n""#]]);
    let name = rig.blobs.room(room).list("logs").await.unwrap().remove(0).name;
    assert!(name.starts_with("2026-01-01T00_00_3") && name.ends_with(".jsonl"), "{name}");
    publish(&rig, id, &[json!(3)]).await;
    rig.pass(WHILE).await;
    assert_eq!(files(&rig.blobs.room(room), "logs").await.len(), 2);
    let (feeds, _) = rig.shared.feeds.store.known().await.unwrap();
    assert!(feeds.is_empty(), "what all have is not kept");
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait() {
    let rig = Rig::new().await;
    let (room, id) = (rig.room("den").await, feed(&rig, "orders").await);
    subscribe(&rig, id, room, "logs").await;
    rig.pass(WHILE).await;
    let all: Vec<Value> = (0..BATCH_MESSAGES_MAX).map(|n| json!(n)).collect();
    publish(&rig, id, &all).await;
    publish(&rig, id, &[json!("one more")]).await;
    rig.pass(BATCH_WAIT / 2).await;
    let written = files(&rig.blobs.room(room), "logs").await;
    let lines: usize = written.iter().map(Vec::len).sum();
    assert!(written.len() <= 2 && lines >= BATCH_MESSAGES_MAX, "{} files, {lines} lines", written.len());
    rig.pass(WHILE).await;
    let lines: usize = files(&rig.blobs.room(room), "logs").await.iter().map(Vec::len).sum();
    assert_eq!(lines, BATCH_MESSAGES_MAX + 1);
}

#[tokio::test(start_paused = true)]
async fn each_subscription_gets_all_and_a_deleted_room_holds_nobody_up() {
    let rig = Rig::new().await;
    let (den, hall, id) = (rig.room("den").await, rig.room("hall").await, feed(&rig, "orders").await);
    subscribe(&rig, id, den, "a").await;
    subscribe(&rig, id, den, "b").await;
    subscribe(&rig, id, hall, "a").await;
    publish(&rig, id, &[json!(1)]).await;
    rig.app.delete_room(&actor(), hall).await.unwrap();
    rig.pass(WHILE).await;
    for folder in ["a", "b"] {
        assert_eq!(files(&rig.blobs.room(den), folder).await, [["1"]], "{folder}");
    }
    let (feeds, known) = rig.shared.feeds.store.known().await.unwrap();
    assert!(feeds.is_empty() && known.len() == 2, "{feeds:?} {known:?}");
    rig.app.delete_feed(&actor(), id).await.unwrap();
    rig.pass(WHILE).await;
    assert_eq!(rig.shared.feeds.store.known().await.unwrap(), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn who_subscribes_late_does_not_keep_what_others_have() {
    let rig = Rig::new().await;
    let (room, id) = (rig.room("den").await, feed(&rig, "orders").await);
    subscribe(&rig, id, room, "early").await;
    rig.pass(WHILE).await;
    publish(&rig, id, &[json!(1)]).await;
    rig.pass(BATCH_WAIT / 2).await;
    subscribe(&rig, id, room, "late").await;
    rig.pass(WHILE).await;
    assert_eq!(files(&rig.blobs.room(room), "early").await, [["1"]]);
    assert!(files(&rig.blobs.room(room), "late").await.is_empty());
    rig.pass(WHILE).await;
    publish(&rig, id, &[json!(2)]).await;
    rig.pass(WHILE).await;
    assert_eq!(files(&rig.blobs.room(room), "late").await, [["2"]]);
    assert!(rig.shared.feeds.store.known().await.unwrap().0.is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_get_on_holds_nobody_up_and_leaves_nothing_behind() {
    let rig = Rig::new().await;
    let (room, id) = (rig.room("den").await, feed(&rig, "orders").await);
    let file = Bytes::from_static(b"in the way");
    rig.blobs.room(room).write("blocked", file, false).await.unwrap();
    subscribe(&rig, id, room, "fine").await;
    let stuck = subscribe(&rig, id, room, "blocked").await;
    publish(&rig, id, &[json!(1)]).await;
    rig.pass(WHILE).await;
    assert_eq!(files(&rig.blobs.room(room), "fine").await, [["1"]]);
    let failure = rig.shared.feeds.store.failure(stuck).await.unwrap();
    assert!(failure.is_some_and(|failure| !failure.reason.is_empty()), "why is told");
    assert_eq!(rig.shared.feeds.store.known().await.unwrap().0, [id], "it is kept for the one");
    rig.blobs.room(room).delete("blocked", false).await.unwrap();
    rig.pass(WHILE * 20).await;
    assert_eq!(files(&rig.blobs.room(room), "blocked").await, [["1"]], "it gets on by itself");
    assert!(rig.shared.feeds.store.failure(stuck).await.unwrap().is_none());

    let file = Bytes::from_static(b"in the way");
    rig.blobs.room(room).write("again", file, false).await.unwrap();
    let stuck = subscribe(&rig, id, room, "again").await;
    publish(&rig, id, &[json!(2)]).await;
    rig.pass(WHILE).await;
    rig.app.delete_feed_subscription(&actor(), stuck).await.unwrap();
    rig.pass(WHILE).await;
    let (feeds, known) = rig.shared.feeds.store.known().await.unwrap();
    assert!(feeds.is_empty() && !known.contains(&stuck), "{feeds:?} {known:?}");
}

#[tokio::test(start_paused = true)]
async fn many_subscriptions_all_get_on() {
    let rig = Rig::new().await;
    let (room, id) = (rig.room("den").await, feed(&rig, "orders").await);
    for n in 0..60 {
        subscribe(&rig, id, room, &format!("f{n}")).await;
    }
    rig.pass(WHILE).await;
    publish(&rig, id, &[json!(1)]).await;
    rig.pass(WHILE).await;
    rig.pass(WHILE).await;
    for n in 0..60 {
        assert_eq!(files(&rig.blobs.room(room), &format!("f{n}")).await, [["1"]], "{n}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_takes_over_what_another_left() {
    let first = Rig::new().await;
    let (room, id) = (first.room("den").await, feed(&first, "orders").await);
    subscribe(&first, id, room, "logs").await;
    first.pass(WHILE).await;
    publish(&first, id, &[json!(1), json!(2)]).await;
    first.control.stop().await;
    let second = Rig::on(&first.shared, "two").await;
    second.pass(WHILE).await;
    assert_eq!(files(&second.blobs.room(room), "logs").await, [["1", "2"]]);
}

use super::rig::{Rig, Shared};
use meshagent::app::host::RoomHost;
use meshagent::control::subscription::item_id;
use meshagent::name::QueueName;
use meshagent::queue::{ItemId, NewItem, QueueKey, QueueStore};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// A service whose agent puts these events into the queue `news`.
fn listener(events: &[&str]) -> Value {
    let annotations: serde_json::Map<String, Value> =
        events.iter().map(|event| (format!("meshagent.events.{event}"), json!("news"))).collect();
    json!({"agents": [{"name": "clerk", "annotations": annotations}]})
}

/// `event service` of each item.
fn told(items: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    items
        .iter()
        .map(|item| {
            format!("{} {}", text(&item["event"]), text(&item["data"]["service"]["metadata"]["name"]))
        })
        .collect()
}

async fn delivered(rig: &Rig, facts: u64) {
    let project = rig.project;
    rig.until("all is delivered", |world| {
        let view = world.project(project).unwrap();
        view.notices.version >= facts && view.notices.state.waiting.is_empty()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_is_told_of_the_services_of_its_room_from_its_own_on() {
    let rig = Rig::new().await;
    let (room, other) = (rig.room("desk").await, rig.room("attic").await);
    rig.service(Some(room), "before", json!({})).await;
    rig.service(Some(room), "clerk", listener(&["service.created", "service.updated"])).await;
    let worker = rig.service(Some(room), "worker", json!({"enabled": false})).await;
    rig.service(Some(other), "elsewhere", json!({})).await;
    rig.update_service(worker, "worker", json!({"enabled": true})).await;
    rig.service(None, "everywhere", json!({})).await;
    let wanted = [
        "service.created clerk",
        "service.created worker",
        "service.updated worker",
        "service.created everywhere",
    ];
    delivered(&rig, 1).await;
    let items = rig.drain(room, "news").await;
    assert_eq!(told(&items), wanted);
    assert_eq!(items[1]["data"]["room_name"], "desk");
    assert_eq!(items[1]["data"]["by"], "service-account:test");
    assert_eq!(items[1]["data"]["service"]["id"], worker.to_string());
    assert!(items[1]["data"]["service"].get("container").is_none(), "what may be secret stays out");
    assert!(rig.drain(other, "news").await.is_empty());
    let live: Vec<_> = rig.host.live().into_iter().map(|(live, _)| live).collect();
    assert!(live.contains(&room), "the room is open, so that somebody takes them");
}

/// Killed after the item was sent and before its delivery was recorded.
#[tokio::test(start_paused = true)]
async fn a_delivery_that_was_cut_off_halfway_is_not_doubled() {
    let shared = Shared::new();
    let before = Rig::on(&shared, "one").await;
    let room = before.room("desk").await;
    before.control.stop().await;
    before.service(Some(room), "clerk", listener(&["service.created"])).await;
    before.service(Some(room), "worker", json!({})).await;
    let world = before.app.world();
    let first = world.notices(before.project).next().unwrap();
    let item = NewItem::with_id(ItemId(item_id(first)), r#"{"event": "sent before"}"#);
    let key = QueueKey::new(room, QueueName::new("news").unwrap());
    shared.queues.send(&key, item, true).await.unwrap();
    drop(before);

    let rig = Rig::on(&shared, "one").await;
    delivered(&rig, 1).await;
    assert_eq!(told(&rig.drain(room, "news").await), ["sent before ", "service.created worker"]);
}

#[tokio::test(start_paused = true)]
async fn two_servers_tell_once_and_a_queue_is_told_once() {
    let shared = Shared::new();
    let one = Rig::on(&shared, "one").await;
    let two = Rig::on(&shared, "two").await;
    let room = one.room("desk").await;
    let twice = json!({"agents": [
        {"name": "a", "annotations": {"meshagent.events.service.created": "news"}},
        {"name": "b", "annotations": {"meshagent.events.service.created": "news"}},
    ]});
    one.service(Some(room), "clerk", twice).await;
    for n in 0..300 {
        one.service(Some(room), &format!("s{n}"), json!({"enabled": false})).await;
    }
    delivered(&one, 1).await;
    delivered(&two, 1).await;
    assert_eq!(one.drain(room, "news").await.len(), 301);
}

#[tokio::test(start_paused = true)]
async fn an_event_outlasts_a_database_that_is_away() {
    let rig = Rig::new().await;
    let room = rig.room("desk").await;
    rig.shared.queues.failing.store(3, Ordering::SeqCst);
    rig.service(Some(room), "clerk", listener(&["service.created"])).await;
    delivered(&rig, 1).await;
    assert_eq!(rig.shared.queues.failing.load(Ordering::SeqCst), 0, "it failed three times");
    assert_eq!(told(&rig.drain(room, "news").await), ["service.created clerk"]);
}

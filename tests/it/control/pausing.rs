//! Services that controllers leave alone, and how often they look at those they do not.

use super::rig::{Rig, actor};
use meshagent::app::host::RoomHost;
use meshagent::domain::instance::Phase;
use meshagent::domain::room::Updated;
use meshagent::runtime::Observed;
use serde_json::{Value, json};
use std::time::Duration;

fn document(image: &str, notes: Value) -> Value {
    json!({"metadata": {"name": "agent", "annotations": notes},
        "container": {"image": "meshagent/cli:default", "command": image}})
}

fn held() -> Value {
    json!({"meshagent.dev/paused": "true"})
}

#[tokio::test(start_paused = true)]
async fn what_runs_goes_on_and_what_is_wanted_waits() {
    let rig = Rig::new().await;
    let room = rig.room("support").await;
    let service = rig.service(Some(room), "agent", document("a", json!({}))).await;
    rig.until_instance(service, "it runs", |i| i.phase == Phase::Running).await;
    rig.update_service(service, "agent", document("a", held())).await;
    rig.pass(Duration::from_mins(1)).await;
    rig.update_service(service, "agent", document("b", held())).await;
    rig.pass(Duration::from_mins(1)).await;
    assert_eq!((rig.runtime.started().len(), rig.runtime.stopped().len()), (1, 0), "neither is a new run");
    // Its end is seen, and it stays ended.
    rig.runtime.exit(&Rig::key(room, service), 3);
    rig.until_instance(service, "its end is seen", |i| i.phase == Phase::Exited).await;
    rig.pass(Duration::from_mins(30)).await;
    assert_eq!(rig.runtime.started().len(), 1);
    rig.update_service(service, "agent", document("b", json!({}))).await;
    rig.until_instance(service, "the new one runs", |i| i.phase == Phase::Running).await;
    assert_eq!(rig.runtime.started().len(), 2);
    assert_eq!(rig.runtime.started()[1].request.command, "b");
    // The end of a pause in which nothing changed is no new run.
    rig.update_service(service, "agent", document("b", held())).await;
    rig.pass(Duration::from_mins(1)).await;
    rig.update_service(service, "agent", document("b", json!({}))).await;
    rig.pass(Duration::from_mins(1)).await;
    assert_eq!(rig.runtime.started().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_paused_service_opens_no_room_and_ends_with_it() {
    let rig = Rig::new().await;
    let room = rig.room("support").await;
    let service = rig.service(Some(room), "agent", document("a", held())).await;
    rig.pass(Duration::from_mins(2)).await;
    assert_eq!(rig.host.live().len(), 0, "nothing would run there");
    rig.update_service(service, "agent", document("a", json!({}))).await;
    rig.until_instance(service, "it runs", |i| i.phase == Phase::Running).await;
    rig.update_service(service, "agent", document("a", held())).await;
    let off = Updated { enabled: Some(false), ..Updated::default() };
    rig.app.update_room(&actor(), room, off).await.unwrap();
    rig.pass(Duration::from_mins(2)).await;
    assert_eq!(rig.runtime.stopped(), [Rig::key(room, service)], "a room that closes takes it along");
}

#[tokio::test(start_paused = true)]
async fn what_nothing_tells_of_is_seen_within_the_interval() {
    let notes = json!({"meshagent.dev/reconcile-interval": "30s"});
    for (notes, seen) in [(json!({}), false), (notes, true)] {
        let rig = Rig::new().await;
        let room = rig.room("support").await;
        let service = rig.service(Some(room), "agent", document("a", notes)).await;
        rig.until_instance(service, "it runs", |i| i.phase == Phase::Running).await;
        rig.pass(Duration::from_secs(5)).await;
        let key = Rig::key(room, service);
        rig.runtime.show(&key, Observed::Absent);
        rig.pass(Duration::from_secs(40)).await;
        assert_eq!(rig.runtime.started().len() > 1, seen, "the process went without a word");
    }
}

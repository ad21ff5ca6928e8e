use super::rig::{Rig, Shared};
use meshagent::app::host::RoomHost;
use meshagent::app::wake::Wake;
use meshagent::domain::instance::Phase;
use meshagent::domain::session::Reason;
use meshagent::eventlog::Filter;
use meshagent::name::QueueName;
use meshagent::queue::{NewItem, QueueKey, QueueStore};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn an_idle_session_ends_after_the_rooms_time() {
    let rig = Rig::new().await;
    let room = rig.room_with("quiet", &[("meshagent.room.empty-room-timeout", "60")]).await;
    let hosted = rig.host.open(room).await.unwrap();
    rig.pass(Duration::from_hours(1)).await;
    assert_eq!(rig.host.live().len(), 1, "somebody is there");
    let idle = rig.shared.clock.now();
    rig.host.set_idle(room, Some(idle));
    rig.control.wake();
    rig.until("it ended", |w| w.session(hosted.session).is_some_and(|s| !s.is_active())).await;
    let (ended, reason) = rig.app.world().session(hosted.session).unwrap().ended.unwrap();
    assert_eq!(reason, Reason::Idle);
    assert!((60..62).contains(&(ended - idle).num_seconds()), "{ended} {idle}");
    rig.pass(Duration::from_hours(1)).await;
    assert!(rig.host.live().is_empty(), "idle rooms are not opened again");
}

#[tokio::test(start_paused = true)]
async fn a_session_with_leased_work_is_not_idle() {
    let rig = Rig::new().await;
    let room = rig.room_with("busy", &[("meshagent.room.empty-room-timeout", "60")]).await;
    let hosted = rig.host.open(room).await.unwrap();
    let key = QueueKey::new(room, QueueName::new("jobs").unwrap());
    rig.shared.queues.send(&key, NewItem::new("1"), true).await.unwrap();
    let leased = rig.shared.queues.lease(&key, "agent", 3_600_000).await.unwrap().unwrap();
    rig.host.set_idle(room, Some(rig.shared.clock.now()));
    rig.pass(Duration::from_mins(10)).await;
    assert_eq!(rig.host.live().len(), 1);
    rig.shared.queues.ack(&key, leased.token).await.unwrap();
    rig.until("it ended", |w| w.session(hosted.session).is_some_and(|s| !s.is_active())).await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_an_idle_session_ends_opens_the_room_again() {
    let rig = Rig::new().await;
    let room = rig.room_with("quick", &[("meshagent.room.empty-room-timeout", "60")]).await;
    rig.service(None, "agent", json!({})).await;
    let key = |name| QueueKey::new(room, QueueName::new(name).unwrap());
    rig.shared.queues.send(&key("nobodys"), NewItem::new("1"), true).await.unwrap();
    let first = rig.host.open(room).await.unwrap().session;
    let (queues, jobs) = (Arc::clone(&rig.shared.queues), key("jobs"));
    *rig.host.meanwhile.lock().unwrap() = Some(Box::pin(async move {
        queues.send(&jobs, NewItem::new("2"), true).await.unwrap();
    }));
    rig.host.set_idle(room, Some(rig.shared.clock.now()));
    rig.control.wake();
    rig.until("it is open again", |w| w.active_session(room).is_some_and(|(id, _)| id != first)).await;
    // Nobody took either; the next time nothing came.
    rig.host.set_idle(room, Some(rig.shared.clock.now()));
    rig.control.wake();
    rig.until("it ended", |w| w.active_session(room).is_none()).await;
    rig.pass(Duration::from_hours(1)).await;
    assert!(rig.host.live().is_empty(), "what lies in a queue that nobody reads keeps no room open");
}

#[tokio::test(start_paused = true)]
async fn a_room_is_woken_though_it_cannot_open_at_once() {
    let rig = Rig::new().await;
    let (room, empty) = (rig.room("late").await, rig.room("empty").await);
    let wake = Wake::new(Arc::clone(&rig.app), Arc::clone(&rig.host) as Arc<dyn RoomHost>);
    wake.wake(empty);
    rig.service(None, "agent", json!({})).await;
    *rig.host.refuse.lock().unwrap() = 3;
    wake.wake(room);
    wake.wake(room);
    rig.until("it is open", |w| w.active_session(room).is_some()).await;
    rig.pass(Duration::from_mins(10)).await;
    assert_eq!(
        (*rig.host.refuse.lock().unwrap(), rig.host.live().len()),
        (0, 1),
        "nothing runs in the other"
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_at_its_longest_life() {
    let rig = Rig::new().await;
    let room = rig.room_with("short", &[("meshagent.room.max-runtime-seconds", "600")]).await;
    let hosted = rig.host.open(room).await.unwrap();
    rig.until("it ended", |w| w.session(hosted.session).is_some_and(|s| !s.is_active())).await;
    let world = rig.app.world();
    let session = world.session(hosted.session).unwrap();
    let (ended, reason) = session.ended.unwrap();
    assert_eq!((reason, (ended - session.started_at).num_seconds()), (Reason::Terminated, 600));
}

/// A server that was killed left an active session; what a new one makes of it.
#[tokio::test(start_paused = true)]
async fn after_a_kill_the_rooms_open_again_with_their_services() {
    let shared = Shared::new();
    let killed = Rig::on(&shared, "one").await;
    let room = killed.room("support").await;
    let quiet = killed.room("quiet").await;
    let service = killed.service(None, "agent", json!({})).await;
    let old = killed.host.open(room).await.unwrap().session;
    killed.until_instance(service, "it runs", |i| i.phase == Phase::Running).await;
    drop(killed);

    let rig = Rig::on(&shared, "one").await;
    rig.until_instance(service, "it runs again", |i| i.phase == Phase::Running && i.key.session != old).await;
    let world = rig.app.world();
    assert_eq!(world.session(old).unwrap().ended.unwrap().1, Reason::HostGone);
    assert_eq!(rig.host.live().iter().map(|(room, _)| *room).collect::<Vec<_>>(), [room]);
    assert!(world.active_session(quiet).is_none());
    assert_eq!(rig.runtime.started().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn rooms_with_work_waiting_open_at_the_start_and_again_when_refused() {
    let shared = Shared::new();
    let before = Rig::on(&shared, "one").await;
    let room = before.room("jobs").await;
    let empty = before.room("empty").await;
    before.service(None, "agent", json!({})).await;
    let key = QueueKey::new(room, QueueName::new("jobs").unwrap());
    shared.queues.send(&key, NewItem::new("1"), true).await.unwrap();
    before.control.stop().await;
    drop(before);

    let rig = Rig::on(&shared, "one").await;
    *rig.host.refuse.lock().unwrap() = 3;
    rig.until("the room is open", |w| w.active_session(room).is_some()).await;
    assert!(rig.app.world().active_session(empty).is_none());
    assert_eq!(*rig.host.refuse.lock().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_of_a_server_whose_lease_is_gone_is_taken_over() {
    let shared = Shared::new();
    let other = Rig::on(&shared, "two").await;
    let room = other.room("shared").await;
    let name = meshagent::app::host::lease_name(room);
    let ttl = Duration::from_secs(30);
    let lease = shared.leases.acquire(&name, "two", "http://two", ttl).await.unwrap();
    assert_eq!(lease.epoch, 1);
    let old = other.host.open(room).await.unwrap().session;
    drop(other);

    let rig = Rig::on(&shared, "one").await;
    rig.pass(Duration::from_secs(15)).await;
    assert!(rig.app.world().session(old).unwrap().is_active(), "its lease still runs");
    rig.until("it is closed", |w| w.session(old).is_some_and(|s| !s.is_active())).await;
    rig.until("the room runs here", |w| w.active_session(room).is_some_and(|(_, s)| s.host == "one")).await;
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_stalls_is_recorded_and_goes_on() {
    let rig = Rig::new().await;
    *rig.host.slow.lock().unwrap() = Duration::from_mins(3);
    let room = rig.room("slow").await;
    let service = rig.service(Some(room), "agent", json!({})).await;
    rig.until_instance(service, "it runs after all", |i| i.phase == Phase::Running).await;
    let all = rig.app.log.read(meshagent::id::Position(0), &Filter::default(), 100).await.unwrap();
    let stalls: Vec<_> = all.iter().filter(|event| event.kind == "controller.stalled").collect();
    assert_eq!(stalls.len(), 1, "{stalls:?}");
    assert!(stalls[0].data.contains(r#""controller":"session""#), "{}", stalls[0].data);
}

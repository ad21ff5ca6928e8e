use super::rig::{Rig, Shared, actor};
use meshagent::app::host::RoomHost;
use meshagent::domain::room::Updated;
use meshagent::domain::scheduled_task::{Outcome, ScheduledTask};
use meshagent::domain::session::Reason;
use meshagent::id::{RoomId, ScheduledTaskId};
use meshagent::projection::World;
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// `HH:MM:SS outcome` of the runs of a task.
fn runs(rig: &Rig, id: ScheduledTaskId) -> Vec<String> {
    let world = rig.app.world();
    let shown = |run: &meshagent::domain::scheduled_task::Run| {
        format!("{} {:?}", run.fired.scheduled_at.format("%H:%M:%S"), run.fired.outcome)
    };
    world.task(id).unwrap().runs.iter().map(shown).collect()
}

#[tokio::test(start_paused = true)]
async fn a_task_fires_at_its_instants_and_opens_the_room() {
    let rig = Rig::new().await;
    let room = rig.room("jobs").await;
    rig.service(None, "worker", json!({})).await;
    let id = rig
        .task(room, json!({"schedule": "*/15 * * * *", "queue": {"name": "q", "payload": {"n": 1}}}))
        .await;
    rig.until("it fired twice", |w| w.task(id).unwrap().fired == 2).await;
    assert_eq!(runs(&rig, id), ["00:15:00 Submitted", "00:30:00 Submitted"]);
    assert_eq!(rig.drain(room, "q").await, [json!({"n": 1}), json!({"n": 1})]);
    assert_eq!(rig.host.live().len(), 1);
    let run = rig.app.world().task(id).unwrap().runs[0].fired.clone();
    assert_eq!(run.run, ScheduledTask::run_id(id.uuid(), run.scheduled_at));
    assert_eq!(run.item, Some(run.run));
}

#[tokio::test(start_paused = true)]
async fn a_room_without_services_is_not_opened() {
    let rig = Rig::new().await;
    let room = rig.room("jobs").await;
    let id = rig.task(room, json!({"schedule": "1 minute", "queue": {"name": "q"}})).await;
    rig.until("it fired", |w| w.task(id).unwrap().fired == 1).await;
    rig.pass(Duration::from_secs(10)).await;
    assert!(rig.host.live().is_empty());
}

#[tokio::test(start_paused = true)]
async fn two_servers_fire_each_instant_once() {
    let shared = Shared::new();
    let one = Rig::on(&shared, "one").await;
    let two = Rig::on(&shared, "two").await;
    let room = one.room("jobs").await;
    let id = one.task(room, json!({"schedule": "1 minute", "queue": {"name": "q"}})).await;
    one.until("it fired ten times", |w| w.task(id).unwrap().fired >= 10).await;
    two.until("the other sees it", |w| w.task(id).is_some_and(|t| t.fired >= 10)).await;
    assert_eq!(one.drain(room, "q").await.len(), 10);
    let world = one.app.world();
    assert!(world.task(id).unwrap().runs.iter().all(|run| run.fired.outcome == Outcome::Submitted));
    let instants: std::collections::BTreeSet<_> =
        world.task(id).unwrap().runs.iter().map(|run| run.fired.scheduled_at).collect();
    assert_eq!(instants.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_rival_holds_the_lease_waits_and_then_fires() {
    let shared = Shared::new();
    let rig = Rig::on(&shared, "one").await;
    let room = rig.room("jobs").await;
    let ttl = Duration::from_secs(200);
    shared.leases.acquire(meshagent::control::schedule::LEASE, "two", "http://two", ttl).await.unwrap();
    let id = rig.task(room, json!({"schedule": "1 minute", "once": true, "queue": {"name": "q"}})).await;
    rig.pass(Duration::from_secs(190)).await;
    assert_eq!(runs(&rig, id), Vec::<String>::new());
    rig.until("it fired", |w| w.task(id).unwrap().fired == 1).await;
    assert_eq!(rig.drain(room, "q").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn instants_missed_while_no_server_ran_follow_the_policy() {
    let shared = Shared::new();
    let before = Rig::on(&shared, "one").await;
    let room = before.room("jobs").await;
    let task = async |policy: &str| {
        let notes = json!({"annotations": {"meshagent.schedule.catchup": policy}});
        before.task(room, json!({"schedule": "1 hour", "metadata": notes, "queue": {"name": policy}})).await
    };
    let [latest, none, all] = [task("latest").await, task("none").await, task("all").await];
    before.control.stop().await;
    before.pass(Duration::from_mins(190)).await;
    drop(before);

    let rig = Rig::on(&shared, "one").await;
    for (id, count) in [(latest, 3), (none, 3), (all, 3)] {
        rig.until("all is dealt with", |w| w.task(id).unwrap().fired == count).await;
    }
    assert_eq!(runs(&rig, latest), ["01:00:00 Missed", "02:00:00 Missed", "03:00:00 Submitted"]);
    assert_eq!(runs(&rig, none), ["01:00:00 Missed", "02:00:00 Missed", "03:00:00 Missed"]);
    assert_eq!(runs(&rig, all), ["01:00:00 Submitted", "02:00:00 Submitted", "03:00:00 Submitted"]);
    let reasons = rig.app.world().task(none).unwrap().runs[0].fired.reason.clone().unwrap();
    assert!(reasons.contains("no server was there"), "{reasons}");
}

/// Killed after the item was sent and before the firing was recorded.
#[tokio::test(start_paused = true)]
async fn a_firing_that_was_cut_off_halfway_is_not_doubled() {
    use meshagent::name::QueueName;
    use meshagent::queue::{ItemId, NewItem, QueueKey, QueueStore};
    let rig = Rig::new().await;
    let room = rig.room("jobs").await;
    let id = rig.task(room, json!({"schedule": "1 minute", "queue": {"name": "q"}})).await;
    let at = rig.app.world().task(id).unwrap().updated_at + chrono::TimeDelta::minutes(1);
    let item = NewItem::with_id(ItemId(ScheduledTask::run_id(id.uuid(), at)), "{}");
    rig.shared.queues.send(&QueueKey::new(room, QueueName::new("q").unwrap()), item, true).await.unwrap();
    rig.until("it is recorded", |w| w.task(id).unwrap().fired == 1).await;
    assert_eq!(rig.drain(room, "q").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_firing_outlasts_a_database_that_is_away() {
    let rig = Rig::new().await;
    let room = rig.room("jobs").await;
    rig.shared.queues.failing.store(2, Ordering::SeqCst);
    let id = rig.task(room, json!({"schedule": "1 hour", "queue": {"name": "q"}})).await;
    rig.until("it fired", |w| w.task(id).unwrap().fired == 1).await;
    assert_eq!(runs(&rig, id), ["01:00:00 Submitted"]);
    assert_eq!(rig.shared.queues.failing.load(Ordering::SeqCst), 0, "it failed twice");
    assert_eq!(rig.drain(room, "q").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_fire_says_why() {
    let rig = Rig::new().await;
    let room = rig.room("jobs").await;
    let container = json!({"schedule": "1 minute", "container": {"image": "meshagent/cli:default"}});
    let container = rig.task(room, container).await;
    let off =
        rig.task(room, json!({"schedule": "1 minute", "active": false, "queue": {"name": "off"}})).await;
    rig.until("it failed", |w| w.task(container).unwrap().fired == 1).await;
    let failed = rig.app.world().task(container).unwrap().runs[0].fired.clone();
    assert_eq!(failed.outcome, Outcome::Failed);
    assert!(failed.reason.unwrap().contains("container"));
    let disabled = Updated { enabled: Some(false), ..Updated::default() };
    rig.app.update_room(&actor(), room, disabled).await.unwrap();
    rig.until("it is suppressed", |w| w.task(container).unwrap().fired == 2).await;
    let suppressed = rig.app.world().task(container).unwrap().runs[1].fired.clone();
    assert_eq!(
        (suppressed.outcome, suppressed.reason.as_deref()),
        (Outcome::Suppressed, Some("the room is disabled"))
    );
    assert_eq!(runs(&rig, off), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn once_and_immediately_fire_at_once_and_never_again() {
    let rig = Rig::new().await;
    let room = rig.room("jobs").await;
    let notes = json!({"annotations": {"meshagent.schedule.start": "immediately"}});
    let document = json!({"schedule": "@daily", "once": true, "metadata": notes, "queue": {"name": "q"}});
    let id = rig.task(room, document).await;
    let asked = rig.shared.clock.now();
    rig.until("it fired", |w| w.task(id).unwrap().fired == 1).await;
    assert!((rig.shared.clock.now() - asked).num_seconds() < 1);
    rig.pass(Duration::from_hours(72)).await;
    assert_eq!(rig.drain(room, "q").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cron_line_is_read_in_its_zone_across_the_change_of_clocks() {
    let shared = Shared::at("2026-10-24T12:00:00Z");
    let rig = Rig::on(&shared, "one").await;
    let room = rig.room("jobs").await;
    let notes = json!({"annotations": {"meshagent.schedule.timezone": "Europe/Berlin"}});
    let id =
        rig.task(room, json!({"schedule": "30 2 * * *", "metadata": notes, "queue": {"name": "q"}})).await;
    rig.until("it fired twice", |w| w.task(id).unwrap().fired == 2).await;
    let world = rig.app.world();
    let fired: Vec<String> =
        world.task(id).unwrap().runs.iter().map(|run| run.fired.scheduled_at.to_rfc3339()).collect();
    assert_eq!(fired, ["2026-10-25T00:30:00+00:00", "2026-10-26T01:30:00+00:00"]);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_put_the_prompt_into_the_queue_and_open_the_room() {
    let rig = Rig::new().await;
    let room = rig.room("beat").await;
    let heartbeat = json!({
        "queue": "pulse", "minutes": 5, "thread_id": "{hour}{minute}",
        "prompt": [{"type": "text", "text": "look around"}],
    });
    let agents = json!([{"name": "guard", "heartbeat": heartbeat}]);
    rig.service(Some(room), "guard", json!({"agents": agents})).await;
    rig.pass(Duration::from_mins(11)).await;
    let prompt = json!([{"type": "text", "text": "look around"}]);
    let beats = rig.drain(room, "pulse").await;
    assert_eq!(beats, [json!({"path": "0005", "prompt": prompt}), json!({"path": "0010", "prompt": prompt})]);
    assert_eq!(rig.host.live().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn with_nothing_due_nobody_works() {
    let rig = Rig::new().await;
    let room = rig.room("quiet").await;
    rig.task(room, json!({"schedule": "@daily", "active": false, "queue": {"name": "q"}})).await;
    rig.pass(Duration::from_secs(1)).await;
    let before = rig.app.log.head().await.unwrap();
    rig.pass(Duration::from_hours(24)).await;
    assert_eq!(rig.app.log.head().await.unwrap(), before);
    let lease = rig.shared.leases.current(meshagent::control::schedule::LEASE).await.unwrap();
    assert_eq!(lease, None, "the lease is held only while something fires");
}

/// The tasks of a rig's project, as `schedule active`.
fn tasks(rig: &Rig) -> Vec<String> {
    let world = rig.app.world();
    let all = world.tasks(rig.project);
    all.map(|(_, task)| format!("{} {}", task.spec.schedule, task.spec.active)).collect()
}

fn scheduled(schedule: &str) -> serde_json::Value {
    let task = json!({"schedule": schedule, "queue": {"name": "q", "payload": {"n": 1}}}).to_string();
    json!({"agents": [{"name": "bob", "annotations": {"meshagent.agent.schedule": task}}]})
}

#[tokio::test(start_paused = true)]
async fn an_agent_has_the_task_that_its_service_asks_for() {
    let rig = Rig::new().await;
    let room = rig.room("jobs").await;
    let service = rig.service(Some(room), "worker", scheduled("*/15 * * * *")).await;
    let count = |n: usize| move |w: &World| w.projects().flat_map(|(p, _)| w.tasks(p)).count() == n;
    rig.until("the task is there", count(1)).await;
    assert_eq!(tasks(&rig), ["*/15 * * * * true"]);
    let id = rig.app.world().tasks(rig.project).next().unwrap().0;
    rig.until("it fired", |w| w.task(id).unwrap().fired == 1).await;
    assert_eq!(rig.drain(room, "q").await, [json!({"n": 1})]);
    rig.update_service(service, "worker", scheduled("1 hour")).await;
    rig.until("it follows the service", |w| w.task(id).is_some_and(|t| t.spec.schedule == "1 hour")).await;
    for _ in 0..2 {
        let id = rig.app.world().tasks(rig.project).next().unwrap().0;
        rig.app.delete_task(&actor(), id).await.unwrap();
        rig.until("it is back: the service asks for it", move |w| count(1)(w) && w.task(id).is_none()).await;
    }
    let id = rig.app.world().tasks(rig.project).next().unwrap().0;
    rig.update_service(service, "worker", json!({})).await;
    rig.until("it goes with the annotation", |w| w.task(id).is_none()).await;
    rig.update_service(service, "worker", scheduled("2 hours")).await;
    rig.until("and comes with it", count(1)).await;
    let id = rig.app.world().tasks(rig.project).next().unwrap().0;
    let mut off = scheduled("2 hours");
    off["enabled"] = json!(false);
    rig.update_service(service, "worker", off).await;
    rig.until("it rests with the service", |w| w.task(id).is_some_and(|t| !t.spec.active)).await;
    let own = json!({"schedule": "1 hour", "queue": {"name": "q"}, "metadata": {"annotations": {
        "meshagent.owner.service": service.uuid().to_string(), "meshagent.owner.agent": "bob",
        "meshagent.owner.number": "0"}}});
    rig.task(room, own).await;
    rig.update_service(service, "worker", json!({})).await;
    rig.until("it goes with the annotation", |w| w.task(id).is_none()).await;
    assert_eq!(tasks(&rig), ["1 hour true"], "what a person made stays, whatever it says of its owner");
}

#[tokio::test(start_paused = true)]
async fn a_task_of_a_projects_service_rests_while_its_room_does_not_run() {
    let rig = Rig::new().await;
    let (once, hourly) = (rig.room("once").await, rig.room("hourly").await);
    let task = |more: serde_json::Value| {
        let mut task = json!({"schedule": "1 hour", "queue": {"name": "q", "payload": {"n": 1}}});
        task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"agents": [{"name": "bob", "annotations": {"meshagent.agent.schedule": task.to_string()}}]})
    };
    let at_once = json!({"annotations": {"meshagent.schedule.start": "immediately"}});
    let service = rig.service(None, "worker", task(json!({"once": true, "metadata": at_once}))).await;
    let of =
        |w: &World, room: RoomId| w.tasks(rig.project).find(|(_, task)| task.room == room).map(|(id, _)| id);
    let session = rig.host.open(once).await.unwrap();
    rig.until("it fired", |w| of(w, once).is_some_and(|id| w.task(id).unwrap().fired == 1)).await;
    let id = of(&rig.app.world(), once).unwrap();
    rig.host.end(once, session.session, Reason::Terminated).await;
    rig.pass(Duration::from_mins(1)).await;
    assert!(rig.app.world().task(id).is_some(), "it stays while its room does not run");
    rig.host.open(once).await.unwrap();
    rig.pass(Duration::from_hours(2)).await;
    assert_eq!(rig.app.world().task(id).unwrap().fired, 1, "once is once over all sessions");
    rig.app.delete_service(&actor(), service).await.unwrap();
    rig.until("it goes with its service", |w| w.task(id).is_none()).await;

    rig.service(None, "other", task(json!({}))).await;
    let session = rig.host.open(hourly).await.unwrap();
    rig.until("the task is there", |w| of(w, hourly).is_some()).await;
    let id = of(&rig.app.world(), hourly).unwrap();
    rig.pass(Duration::from_mins(40)).await;
    rig.host.end(hourly, session.session, Reason::Terminated).await;
    rig.pass(Duration::from_mins(40)).await;
    assert_eq!(rig.app.world().task(id).unwrap().fired, 0, "nothing fires without its room");
    rig.host.open(hourly).await.unwrap();
    rig.until("the interval goes on over sessions", |w| w.task(id).unwrap().fired == 1).await;
}

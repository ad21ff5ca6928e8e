use super::*;
use crate::domain::Entity;
use crate::domain::event::Event;
use crate::domain::scheduled_task::{Created, Fired, Updated};
use crate::id::{ProjectId, RoomId};
use serde_json::json;
use uuid::Uuid;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600 + seconds, 0).unwrap()
}

fn spec(schedule: &str, more: serde_json::Value) -> Spec {
    let mut value = json!({"schedule": schedule, "queue": {"name": "jobs"}});
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(value).unwrap()
}

fn annotated(schedule: &str, key: &str, value: &str) -> Spec {
    spec(schedule, json!({"metadata": {"annotations": {key: value}}}))
}

/// A task made at second 0.
fn task(spec: Spec) -> ScheduledTask {
    let room = RoomId::new(ProjectId::new(Uuid::from_u128(1)), Uuid::from_u128(2));
    ScheduledTask::evolve(None, &Event::TaskCreated(Created { room, spec }), at(0)).unwrap()
}

fn done(task: ScheduledTask, until: i64) -> ScheduledTask {
    let outcome = Outcome::Submitted;
    let fired = Fired { run: Uuid::nil(), scheduled_at: at(until), outcome, item: None, reason: None };
    ScheduledTask::evolve(Some(task), &Event::TaskFired(fired), at(until)).unwrap()
}

/// Seconds with `!` for fired, `m` for missed, `s` for suppressed; then the next.
fn shown(task: &ScheduledTask, room_enabled: bool, now: i64) -> String {
    let schedule = Schedule::parse(&task.spec.schedule, task.spec.timezone()).unwrap();
    let plan = plan(task, &schedule, room_enabled, at(now));
    let word = |due: &Due| {
        let mark = match &due.act {
            Act::Fire => "!",
            Act::Leave { outcome: Outcome::Missed, .. } => "m",
            Act::Leave { outcome: Outcome::Suppressed, .. } => "s",
            Act::Leave { .. } => "?",
        };
        format!("{}{mark}", (due.at - at(0)).num_seconds())
    };
    let mut words: Vec<String> = plan.due.iter().map(word).collect();
    words.push(plan.next.map_or("never".to_owned(), |next| format!("next {}", (next - at(0)).num_seconds())));
    words.join(" ")
}

#[test]
fn an_interval_fires_each_period_and_nothing_between() {
    let fresh = task(spec("5 minutes", json!({})));
    let table = [
        (fresh.clone(), 0, "next 300"),
        (fresh.clone(), 299, "next 300"),
        (fresh.clone(), 300, "300! next 600"),
        (done(fresh.clone(), 300), 300, "next 600"),
        (done(fresh.clone(), 300), 601, "600! next 900"),
    ];
    for (task, now, expected) in table {
        assert_eq!(shown(&task, true, now), expected, "at {now}");
    }
}

#[test]
fn missed_instants_follow_the_policy() {
    let with = |policy: &str| done(task(annotated("5 minutes", CATCH_UP, policy)), 300);
    let table = [
        ("latest", 1_450, "600m 900m 1200! next 1500"),
        ("nonsense", 1_450, "600m 900m 1200! next 1500"),
        ("none", 1_450, "600m 900m 1200m next 1500"),
        ("none", 1_210, "600m 900m 1200! next 1500"),
        ("all", 1_450, "600! 900! 1200! next 1500"),
    ];
    for (policy, now, expected) in table {
        assert_eq!(shown(&with(policy), true, now), expected, "{policy} at {now}");
    }
}

#[test]
fn a_long_absence_is_bounded() {
    let year = 365 * 24 * 3600;
    for (policy, count) in
        [("latest", MISSED_MAX + 1), ("none", MISSED_MAX + 1), ("all", CATCH_UP_MAX + MISSED_MAX)]
    {
        let task = task(annotated("1 minute", CATCH_UP, policy));
        let schedule = Schedule::parse(&task.spec.schedule, "UTC").unwrap();
        let plan = plan(&task, &schedule, true, at(year + 30));
        assert!(plan.due.len() <= count && plan.due.len() >= MISSED_MAX, "{policy}: {}", plan.due.len());
        assert_eq!(plan.due.last().unwrap().at, at(year), "{policy}: the newest is among them");
        assert!(plan.due.is_sorted_by_key(|due| due.at));
        let first = format!("{:?}", plan.due[0].act);
        assert!(policy == "all" || first.contains("before it likewise"), "{first}");
    }
}

#[test]
fn once_fires_once() {
    let once = || spec("5 minutes", json!({"once": true}));
    assert_eq!(shown(&task(once()), true, 299), "next 300");
    assert_eq!(shown(&task(once()), true, 301), "300! never");
    assert_eq!(shown(&task(once()), true, 2_000), "1800! never", "a missed record is not the one firing");
    assert_eq!(shown(&done(task(once()), 300), true, 2_000), "never");
    let changed = Event::TaskUpdated(Updated { spec: spec("10 minutes", json!({"once": true})) });
    let again = ScheduledTask::evolve(Some(done(task(once()), 300)), &changed, at(1_000)).unwrap();
    assert_eq!(shown(&again, true, 1_600), "1600! never", "a change makes it fire once more");
}

#[test]
fn immediately_makes_the_creation_the_first_instant() {
    let eager = task(annotated("5 minutes", START, "immediately"));
    assert_eq!(shown(&eager, true, 0), "0! next 300");
    assert_eq!(shown(&done(eager.clone(), 0), true, 1), "next 300");
    assert_eq!(shown(&done(eager, 0), true, 300), "300! next 600");
}

#[test]
fn inactive_tasks_rest_and_disabled_rooms_suppress() {
    assert_eq!(shown(&task(spec("5 minutes", json!({"active": false}))), true, 1_000), "never");
    assert_eq!(shown(&task(spec("5 minutes", json!({}))), false, 650), "600s next 900");
}

#[test]
fn a_change_counts_from_itself() {
    let changed = Event::TaskUpdated(Updated { spec: spec("10 minutes", json!({})) });
    let task =
        ScheduledTask::evolve(Some(done(task(spec("5 minutes", json!({}))), 300)), &changed, at(1_000));
    assert_eq!(shown(&task.unwrap(), true, 1_000), "next 1600");
}

#[test]
fn clocks_that_change_skip_and_double_nothing() {
    let zone = "meshagent.schedule.timezone";
    let berlin = |text: &str, from: i64| {
        let mut task = task(annotated(text, zone, "Europe/Berlin"));
        task.updated_at = DateTime::from_timestamp(from, 0).unwrap();
        task
    };
    let daily = |day: &str, hour: u32| -> Vec<String> {
        // Two days from noon before the change.
        let from: DateTime<Utc> = format!("{day}T11:00:00Z").parse().unwrap();
        let task = berlin(&format!("30 {hour} * * *"), from.timestamp());
        let schedule = Schedule::parse(&task.spec.schedule, task.spec.timezone()).unwrap();
        let mut fired = Vec::new();
        let mut now = from;
        let mut task = task;
        while now < from + TimeDelta::days(2) {
            for due in plan(&task, &schedule, true, now).due {
                assert_eq!(due.act, Act::Fire);
                fired.push(due.at.to_rfc3339());
                task.done_until = Some(due.at);
            }
            now += TimeDelta::seconds(30);
        }
        fired
    };
    // 02:30 is doubled on the 25th and must fire once; on the 29th of March it does not exist.
    assert_eq!(daily("2026-10-24", 2).len(), 2, "{:?}", daily("2026-10-24", 2));
    let spring = daily("2026-03-28", 2);
    assert_eq!(spring, ["2026-03-29T01:00:00+00:00", "2026-03-30T00:30:00+00:00"]);
}

#[test]
fn a_pause_is_not_made_up_for_and_moves_no_interval() {
    let paused = "meshagent.dev/paused";
    let updated = |task: ScheduledTask, spec: Spec, second: i64| {
        ScheduledTask::evolve(Some(task), &Event::TaskUpdated(Updated { spec }), at(second)).unwrap()
    };
    let plain = || annotated("5 minutes", CATCH_UP, "all");
    let held = || spec("5 minutes", json!({"metadata": {"annotations": {CATCH_UP: "all", paused: "true"}}}));
    let waits = updated(done(task(plain()), 300), held(), 400);
    assert_eq!(shown(&waits, true, 2000), "never");
    let resumed = updated(waits, plain(), 2000);
    assert_eq!(shown(&resumed, true, 2000), "next 2100");
    assert_eq!(shown(&resumed, true, 2100), "2100! next 2400");
    // Nor does it begin anew.
    let at_once = |more: Option<&str>| {
        let mut notes = json!({START: "immediately"});
        more.into_iter().for_each(|key| notes[key] = "true".into());
        spec("5 minutes", json!({"metadata": {"annotations": notes}}))
    };
    let began = done(task(at_once(None)), 0);
    let resumed = updated(updated(began, at_once(Some(paused)), 10), at_once(None), 20);
    assert_eq!(shown(&resumed, true, 20), "next 300");
    // One that was made paused begins when it may.
    let once = |more: Option<&str>| Spec { once: true, ..at_once(more) };
    let resumed = updated(task(once(Some(paused))), once(None), 20);
    assert_eq!(shown(&resumed, true, 20), "0! never");
}

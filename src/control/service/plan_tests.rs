use super::*;
use crate::domain::Entity;
use crate::domain::event::Event;
use crate::domain::instance::{Exited, Failed, Started, Stopped};
use crate::id::{ProjectId, RoomId, ServiceId};
use uuid::Uuid;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap()
}

fn project() -> ProjectId {
    ProjectId::new(Uuid::from_u128(1))
}

fn session(n: u128) -> SessionId {
    SessionId::new(project(), Uuid::from_u128(n))
}

fn key() -> InstanceKey {
    let room = RoomId::new(project(), Uuid::from_u128(2));
    InstanceKey { room, service: ServiceId::new(project(), Uuid::from_u128(3)), container: 0 }
}

fn instance_key(n: u128) -> instance::Key {
    instance::Key { session: session(n), service: key().service }
}

fn started(generation: u64) -> Event {
    let (handle, runtime) = ("7".to_owned(), "fake".to_owned());
    Event::InstanceStarted(Started { key: instance_key(10), generation, handle, runtime, notes: vec![] })
}

fn exited() -> Event {
    Event::InstanceExited(Exited { key: instance_key(10), code: Some(1), signal: None })
}

fn failed(generation: u64, reason: &str) -> Event {
    let (reason, message) = (reason.to_owned(), "text".to_owned());
    Event::InstanceFailed(Failed { key: instance_key(10), generation, reason, message })
}

fn stopped() -> Event {
    Event::InstanceStopped(Stopped { key: instance_key(10), reason: "text".to_owned() })
}

/// The fold of these events, all recorded at second 0.
fn recorded(events: &[Event]) -> Option<Instance> {
    events.iter().fold(None, |state, event| Instance::evolve(state, event, at(0)))
}

fn present(state: RunState) -> Observed {
    Observed::Present { handle: Some("7".to_owned()), state, started_at: at(0) }
}

const RUNNING: RunState = RunState::Running;
const EXITED: RunState = RunState::Exited { code: Some(1), signal: None };

fn wanted(generation: u64) -> Result<Wanted, &'static str> {
    Ok(Wanted { session: session(10), generation, runs: true, invoked: false, seeded: true })
}

fn mark(n: u128, generation: u64) -> Option<Mark> {
    Some(Mark { session: session(n), generation })
}

/// A word per step.
fn shown(facts: Facts, now: i64) -> String {
    match plan(&[facts], at(now)).pop().map(|step| step.act) {
        None => "keep".to_owned(),
        Some(Act::Seed { .. }) => "seed".to_owned(),
        Some(Act::Start { generation, .. }) => format!("start {generation}"),
        Some(Act::Stop { record: Some(_), reason }) => format!("stop and record: {reason}"),
        Some(Act::Stop { record: None, reason }) => format!("stop: {reason}"),
        Some(Act::RecordExit { code, .. }) => format!("exited {code:?}"),
        Some(Act::Adopt { generation, .. }) => format!("adopt {generation}"),
        Some(Act::Wait { until }) => format!("wait {}", (until - at(now)).num_seconds()),
    }
}

fn facts(
    wanted: Result<Wanted, &'static str>,
    events: &[Event],
    observed: Observed,
    mark: Option<Mark>,
) -> Facts {
    Facts { key: key(), wanted, recorded: recorded(events), observed, mark, paused: false }
}

#[test]
fn what_is_wanted_and_absent_starts_once() {
    let absent = || Observed::Absent;
    let table = [
        (facts(wanted(1), &[], absent(), None), "start 1"),
        (facts(wanted(1), &[started(1), stopped()], absent(), mark(10, 1)), "start 1"),
        (facts(wanted(1), &[], Observed::Unknown, None), "wait 2"),
        (facts(wanted(1), &[started(1)], Observed::Unknown, mark(10, 1)), "wait 2"),
        (facts(wanted(1), &[], present(RUNNING), mark(10, 1)), "adopt 1"),
        (facts(wanted(1), &[started(1)], present(RUNNING), mark(10, 1)), "keep"),
        (facts(wanted(1), &[started(1)], absent(), mark(10, 1)), "exited None"),
    ];
    for (facts, expected) in table {
        assert_eq!(shown(facts.clone(), 1), expected, "{facts:?}");
    }
}

#[test]
fn files_come_before_the_process() {
    let bare =
        |seeded, runs| Ok(Wanted { session: session(10), generation: 1, runs, invoked: false, seeded });
    assert_eq!(shown(facts(bare(false, true), &[], Observed::Absent, None), 0), "seed");
    assert_eq!(shown(facts(bare(false, false), &[], Observed::Absent, None), 0), "seed");
    assert_eq!(shown(facts(bare(true, false), &[], Observed::Absent, None), 0), "keep");
    assert_eq!(shown(facts(bare(true, true), &[], Observed::Absent, None), 0), "start 1");
}

#[test]
fn what_ended_comes_back_after_a_growing_wait() {
    let seen = |events: &[Event]| facts(wanted(1), events, present(EXITED), mark(10, 1));
    assert_eq!(shown(seen(&[started(1)]), 0), "exited Some(1)");
    let once = [started(1), exited()];
    assert_eq!(shown(seen(&once), 0), "wait 1");
    assert_eq!(shown(seen(&once), 2), "start 1");
    let often: Vec<Event> = std::iter::repeat_n([started(1), exited()], 5).flatten().collect();
    let wait: i64 = shown(seen(&often), 0).trim_start_matches("wait ").parse().unwrap();
    assert!((16..=20).contains(&wait), "{wait}");
    assert_eq!(shown(seen(&often), wait + 1), "start 1");
}

#[test]
fn a_new_generation_replaces_and_waits_for_nothing() {
    let table = [
        (
            facts(wanted(2), &[started(1)], present(RUNNING), mark(10, 1)),
            "stop and record: replaced by a newer generation",
        ),
        (facts(wanted(2), &[started(1), stopped()], Observed::Absent, None), "start 2"),
        (facts(wanted(2), &[started(1), exited()], present(EXITED), mark(10, 1)), "start 2"),
        (facts(wanted(2), &[failed(1, reason::BAD_COMMAND)], Observed::Absent, None), "start 2"),
    ];
    for (facts, expected) in table {
        assert_eq!(shown(facts.clone(), 0), expected, "{facts:?}");
    }
}

#[test]
fn a_lasting_failure_is_not_tried_again_and_a_passing_one_is() {
    for lasting in LASTING_REASONS {
        assert_eq!(shown(facts(wanted(1), &[failed(1, lasting)], Observed::Absent, None), 10_000), "keep");
    }
    let passing = || facts(wanted(1), &[failed(1, reason::START_FAILED)], Observed::Absent, None);
    assert_eq!(shown(passing(), 0), "wait 1");
    assert_eq!(shown(passing(), 2), "start 1");
}

#[test]
fn what_is_not_wanted_stops() {
    let off = || Err("the service is disabled");
    let table = [
        (
            facts(off(), &[started(1)], present(RUNNING), mark(10, 1)),
            "stop and record: the service is disabled",
        ),
        (facts(off(), &[], present(RUNNING), None), "stop: the service is disabled"),
        (
            facts(off(), &[started(1), exited()], present(EXITED), mark(10, 1)),
            "stop: the service is disabled",
        ),
        (facts(off(), &[started(1)], Observed::Absent, None), "stop and record: the service is disabled"),
        (facts(off(), &[started(1), stopped()], Observed::Absent, None), "keep"),
        (
            facts(off(), &[started(1)], Observed::Unknown, mark(10, 1)),
            "stop and record: the service is disabled",
        ),
    ];
    for (facts, expected) in table {
        assert_eq!(shown(facts.clone(), 0), expected, "{facts:?}");
    }
}

#[test]
fn a_run_of_an_earlier_session_is_not_taken_over() {
    let left = facts(wanted(1), &[], present(RUNNING), mark(9, 1));
    assert_eq!(shown(left, 0), "stop: left over from an earlier session");
    let unknown_to_us = facts(wanted(1), &[started(1)], present(RUNNING), None);
    assert_eq!(shown(unknown_to_us, 0), "stop and record: left over from an earlier session");
}

#[test]
fn what_is_paused_goes_on_and_nothing_is_begun() {
    let off = || Err("the service is disabled");
    let table = [
        (facts(wanted(2), &[started(1)], present(RUNNING), mark(10, 1)), "keep"),
        (facts(off(), &[started(1)], present(RUNNING), mark(10, 1)), "keep"),
        (facts(wanted(1), &[started(1)], present(RUNNING), None), "keep"),
        (facts(wanted(1), &[], Observed::Absent, None), "keep"),
        (facts(wanted(1), &[started(1), exited()], Observed::Absent, None), "wait 1"),
        // What is seen is still recorded.
        (facts(wanted(1), &[], present(RUNNING), mark(10, 1)), "adopt 1"),
        (facts(wanted(1), &[started(1)], present(EXITED), mark(10, 1)), "exited Some(1)"),
        (facts(off(), &[started(1)], Observed::Absent, None), "exited None"),
        (facts(wanted(1), &[started(1)], Observed::Unknown, mark(10, 1)), "wait 2"),
    ];
    for (facts, expected) in table {
        assert_eq!(shown(Facts { paused: true, ..facts.clone() }, 0), expected, "{facts:?}");
    }
    let ended = facts(wanted(1), &[started(1), exited()], Observed::Absent, None);
    assert_eq!(shown(Facts { paused: true, ..ended.clone() }, 60), "keep");
    assert_eq!(shown(ended, 60), "start 1", "so it could not fail otherwise");
}

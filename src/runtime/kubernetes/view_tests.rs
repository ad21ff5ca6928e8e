use super::super::names;
use super::super::pod::tests::request;
use super::super::state::Trouble;
use super::*;
use chrono::DateTime;
use std::sync::Arc;

fn seen(uid: &str, version: u64, stage: Stage) -> Seen {
    let key = request("x", "").key;
    Seen {
        name: names::pod_name(&key),
        key,
        uid: uid.to_owned(),
        version,
        stage,
        trouble: None,
        ip: None,
        started_at: DateTime::UNIX_EPOCH,
        is_going: false,
        secrets: Vec::new(),
    }
}

const ENDED: Stage = Stage::Ended { code: Some(3), signal: None };

fn name() -> String {
    names::pod_name(&request("x", "").key)
}

fn state(view: &View) -> Option<RunState> {
    match view.observed_one(&name()) {
        Observed::Present { state, .. } => Some(state),
        Observed::Absent | Observed::Unknown => None,
    }
}

#[test]
fn absent_is_said_only_while_the_list_is_followed() {
    let view = View::new();
    assert_eq!(view.observed_one(&name()), Observed::Unknown, "never listed");
    view.set_link(Link::Down("refused".into()));
    assert!(!view.was_listed() && view.link() == Err("refused".into()), "a first try that failed is no list");
    view.set_link(Link::Up);
    assert_eq!(view.observed_one(&name()), Observed::Absent);
    view.put(seen("a", 1, Stage::Running), None);
    assert_eq!(state(&view), Some(RunState::Running));
    let mut exits = view.exits();
    view.set_link(Link::Down("cut".into()));
    assert!(exits.has_changed().unwrap(), "whoever plans looks again");
    exits.borrow_and_update();
    assert_eq!(view.observed(), [(seen("a", 1, Stage::Running).key, Observed::Unknown)]);
    assert_eq!(view.observed_one(&name()), Observed::Unknown);
    view.set_link(Link::Up);
    assert!(exits.has_changed().unwrap() && state(&view) == Some(RunState::Running));
}

#[test]
fn what_is_older_changes_nothing_and_what_went_does_not_come_back() {
    let view = View::new();
    view.set_link(Link::Up);
    view.put(seen("a", 5, ENDED), None);
    view.put(seen("a", 4, Stage::Running), None);
    assert_eq!(state(&view), Some(RunState::Exited { code: Some(3), signal: None }));
    view.forget(&name(), "another", None);
    assert!(state(&view).is_some(), "another pod of the same name went");
    view.forget(&name(), "a", None);
    assert_eq!(view.observed_one(&name()), Observed::Absent);
    view.put(seen("a", 6, Stage::Running), None);
    assert_eq!(view.observed_one(&name()), Observed::Absent, "an answer that came late");
    assert_eq!(view.last_of("a").map(|seen| seen.stage), Some(ENDED));
    view.put(seen("b", 1, Stage::Running), None);
    assert_eq!(state(&view), Some(RunState::Running), "the next of the same name");
}

#[test]
fn each_end_is_counted_and_each_trouble_told_once() {
    let view = View::new();
    view.set_link(Link::Up);
    let lines = Arc::new(Mutex::new(Vec::new()));
    let own = Arc::clone(&lines);
    let sink: LogSink = Arc::new(move |line: OutputLine| own.lock().unwrap().push(line));
    view.put(seen("a", 1, Stage::Preparing), Some(sink));
    let mut exits = view.exits();
    exits.borrow_and_update();
    let troubled = |version, stage, reason: &str| {
        let trouble = Trouble { reason: reason.into(), message: format!("at {version}") };
        Seen { trouble: Some(trouble), ..seen("a", version, stage) }
    };
    view.put(troubled(2, Stage::Unschedulable, "Unschedulable"), None);
    exits.borrow_and_update();
    view.put(troubled(3, Stage::Unschedulable, "Unschedulable"), None);
    assert!(!exits.has_changed().unwrap());
    view.put(troubled(4, ENDED, "OOMKilled"), None);
    assert!(exits.has_changed().unwrap());
    exits.borrow_and_update();
    view.put(troubled(5, ENDED, "OOMKilled"), None);
    assert!(!exits.has_changed().unwrap(), "it ended before");
    view.forget(&name(), "a", None);
    assert!(exits.has_changed().unwrap());
    let texts: Vec<String> = lines.lock().unwrap().iter().map(|line| line.text.clone()).collect();
    assert_eq!(texts, ["the pod: Unschedulable: at 2", "the pod: OOMKilled: at 4"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_stays_is_known_for_as_long_as_it_does() {
    let view = View::new();
    view.set_link(Link::Up);
    view.put(seen("a", 1, Stage::Unschedulable), None);
    assert_eq!(view.observed_one(&name()), Observed::Unknown);
    assert_eq!(view.run(&name()), Some(None));
    tokio::time::advance(super::super::state::TROUBLED_LIMIT).await;
    view.put(seen("a", 2, Stage::Unschedulable), None);
    assert_eq!(state(&view), Some(RunState::Exited { code: None, signal: None }));
    let going = Seen { is_going: true, ..seen("a", 3, Stage::Running) };
    view.put(going.clone(), None);
    assert_eq!((view.observed_one(&name()), view.going(&going)), (Observed::Unknown, Duration::ZERO));
    tokio::time::advance(super::super::state::GOING_LIMIT).await;
    assert_eq!(state(&view), Some(RunState::Exited { code: None, signal: None }));
    view.put(seen("b", 1, Stage::Preparing), None);
    assert_eq!(view.observed_one(&name()), Observed::Unknown, "another pod begins anew");
    assert_eq!(view.going(&going), Duration::ZERO, "one that is not followed counts from the first question");
    tokio::time::advance(super::super::state::GOING_LIMIT).await;
    assert_eq!(view.going(&going), super::super::state::GOING_LIMIT);
}

#[tokio::test]
async fn a_wait_ends_with_the_pod_it_is_for() {
    let view = Arc::new(View::new());
    view.set_link(Link::Up);
    view.put(seen("a", 1, Stage::Preparing), None);
    assert!(!view.until(&name(), "a", Duration::ZERO, is_settled).await);
    assert!(view.until(&name(), "before", Duration::ZERO, is_settled).await, "that one is gone");
    let own = Arc::clone(&view);
    let wait =
        tokio::spawn(async move { own.until(&name(), "a", Duration::from_secs(60), is_settled).await });
    view.put(seen("a", 2, Stage::Running), None);
    assert!(wait.await.unwrap());
}

//! Stories of programs that make calls of their own, and ask before some.

use super::*;
use crate::agent::backend::{SessionRef, session_of};
use crate::agent::model::Backend;
use crate::agent::provider::ForeignCall;
use crate::agent::thread::project::restore;
use crate::agent::thread::record::Recorder;

fn foreign(item: &str) -> ForeignCall {
    ForeignCall {
        namespace: "acp",
        item_id: item.into(),
        call_id: format!("call-{item}"),
        toolkit: "acp".into(),
        tool: "execute".into(),
        arguments: json!({"title": "rm"}).as_object().cloned().unwrap(),
    }
}

fn said(said: Said) -> Input {
    Input::Said(said)
}

#[test]
fn who_began_the_turn_says_whether_a_program_goes_on() {
    let mut story = Story::new(Limits::default());
    story.start("m", "t1");
    story.prepared("t1", Vec::new());
    let pending = said(Said::ForeignPending(foreign("c")));
    assert_eq!(story.on(pending), ["(Preparing execute)", "tool_call.pending"]);
    let asked = |item: &str| said(Said::Asked(foreign(item)));
    let waiting = ["tool_call.approval_requested", "(Waiting for approval)", "wait"];
    assert_eq!(story.on(asked("c")), waiting);
    assert_eq!(story.emitted("tool_call.approval_requested")["arguments"]["title"], "rm");
    let judged = |who: &str, item: &str, approved| Input::Judged {
        by: by(who),
        turn_id: "t1".into(),
        item_id: item.into(),
        approved,
    };
    assert_eq!(story.on(judged("bob", "c", true)), [""; 0], "only who started the turn approves");
    assert_eq!(story.on(judged("ann", "other", true)), [""; 0]);
    assert_eq!(story.on(judged("ann", "c", true)), ["permit c true", "(Thinking)"]);
    assert_eq!(story.on(judged("ann", "c", false)), [""; 0], "it is judged once");
    assert_eq!(story.on(Input::ApprovalTimedOut("c".into())), [""; 0]);
    story.on(asked("d"));
    assert_eq!(story.on(Input::ApprovalTimedOut("d".into())), ["permit d false", "(Thinking)"]);
    story.on(asked("e"));
    story.interrupt("t1");
    assert_eq!(story.on(judged("ann", "e", true)), [""; 0], "the turn is over");
}

#[test]
fn nobody_is_asked_where_nobody_is_there() {
    let mut story = Story::new(Limits::default());
    let start = TurnStart {
        thread_id: "dataset://t/1".into(),
        turn_id: None,
        content: Vec::new(),
        options: Options::default(),
    };
    let by = By { unattended: true, ..By::default() };
    let (message, turn_id, earlier) = (message("m", Body::TurnStart(start)), "t1".into(), Earlier::default());
    story.on(Input::Start { message, turn_id, by, earlier });
    story.prepared("t1", Vec::new());
    assert_eq!(story.on(said(Said::Asked(foreign("c")))), ["permit c false"]);
}

#[test]
fn calls_of_a_program_are_stored_as_they_end_and_its_session_is_remembered() {
    let mut story = Story::new(Limits::default());
    let mut recorder = Recorder::new(Arc::new(Fixed::at(DateTime::UNIX_EPOCH)));
    let mut rows = Vec::new();
    let mut take = |story: &Story| {
        for effect in &story.last {
            if let Effect::Emit(message) | Effect::Store(message) = effect {
                rows.extend(recorder.on(message));
            }
        }
        rows.iter().map(|row| row.kind.clone()).collect::<Vec<_>>()
    };
    story.start("m", "t1");
    take(&story);
    story.prepared("t1", Vec::new());
    let event = json!({"type": "agent.session", "backend": "acp", "session_id": "s-1"});
    story.on(said(Said::Notice(event.as_object().cloned().unwrap())));
    take(&story);
    story.on(said(Said::ForeignStarted(foreign("c"))));
    take(&story);
    story.on(said(Said::ForeignLog { item_id: "c".into(), source: "stdout", text: "out".into() }));
    take(&story);
    let result = Some(json!({"type": "text", "text": "done"}));
    story.on(said(Said::ForeignEnded { item_id: "c".into(), result, error: None }));
    let kinds = take(&story);
    let ends = ["tool_call.started", "tool_call.log_delta", "tool_call.ended"];
    let ends = ends.map(|kind| format!("meshagent.agent.{kind}"));
    assert!(kinds.ends_with(&ends), "a crash loses nothing that has ended: {kinds:?}");
    let unknown = said(Said::ForeignEnded { item_id: "x".into(), result: None, error: None });
    assert_eq!(story.on(unknown), [""; 0]);
    let rows: Vec<_> = rows.into_iter().map(|row| row.data).collect();
    let restored = restore(&rows);
    assert_eq!(restored.session, Some(SessionRef { backend: Backend::Acp, id: "s-1".into() }));
    assert_eq!(restored.items.len(), 1, "what was said; its calls are no model's: {:?}", restored.items);
    assert_eq!(session_of(&json!({"type": "other", "backend": "acp", "session_id": "s"})), None);
}

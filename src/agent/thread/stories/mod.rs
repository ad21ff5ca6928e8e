//! Stories: what happens to a thread, line by line, and what it says.

mod aloud;
mod foreign;
mod steered;
mod stored;

use crate::agent::history::{Item, Part, ToolCall};
use crate::agent::message::{Body, InputContent, Message, Options, Steer, TurnStart};
use crate::agent::provider::Said;
use crate::agent::thread::Earlier;
use crate::agent::thread::machine::{
    Begin, By, Effect, Input, Prepared, STEERS_WAITING_MAX, TURNS_WAITING_MAX, Thread,
};
use crate::agent::tools::{ToolResult, ToolSpec};
use crate::agent::turn::{Failure, Limits, Outcome, Response, Usage};
use crate::agent::voice::VoiceConfig;
use crate::clock::Fixed;
use chrono::DateTime;
use serde_json::{Value, json};
use std::sync::Arc;

struct Story {
    thread: Thread,
    last: Vec<Effect>,
}

fn message(id: &str, body: Body) -> Box<Message> {
    Box::new(Message::new(id.into(), DateTime::UNIX_EPOCH, body))
}

fn by(participant: &str) -> By {
    By { participant: Some(participant.into()), name: Some(participant.into()), unattended: false }
}

fn spec(toolkit: &str, tool: &str, approval: bool) -> ToolSpec {
    ToolSpec {
        toolkit: toolkit.into(),
        tool: tool.into(),
        description: String::new(),
        parameters: json!({"type": "object"}),
        strict: false,
        approval,
    }
}

fn call(id: &str, toolkit: &str, tool: &str) -> Item {
    Item::Call(ToolCall {
        id: id.into(),
        item_id: id.into(),
        toolkit: toolkit.into(),
        tool: tool.into(),
        arguments: "{}".into(),
    })
}

fn answer(text: &str) -> Item {
    Item::Answer { text: text.into(), phase: None }
}

impl Story {
    fn new(limits: Limits) -> Self {
        Self::with(limits, Arc::default(), &["builtin/echo", "gpt-x"])
    }

    fn with(limits: Limits, voices: Arc<VoiceConfig>, models: &[&str]) -> Self {
        let clock = Arc::new(Fixed::at(DateTime::UNIX_EPOCH));
        let begin = Begin {
            path: "dataset://t/1".into(),
            agent: "bob".into(),
            models: models.iter().map(|model| model.parse().unwrap()).collect(),
            model: None,
            history: Vec::new(),
            done: Default::default(),
            limits,
            voices,
            manner: (None, None),
        };
        Self { thread: Thread::new(begin, clock.clone(), clock).unwrap(), last: Vec::new() }
    }

    /// What follows, in short: kinds of messages, and other effects by name.
    fn on(&mut self, input: Input) -> Vec<String> {
        self.last = self.thread.on(input);
        let kind = |m: &Message| m.body.kind().strip_prefix("meshagent.agent.").unwrap().to_owned();
        let told = |effect: &Effect| match effect {
            Effect::Emit(m) => kind(m),
            Effect::Show(m) => match &m.body {
                Body::ThreadStatus(status) => format!("({})", status.status.as_deref().unwrap_or("idle")),
                _ => format!("({})", kind(m)),
            },
            Effect::Tell { to, message } => format!("{} to {to}", kind(message)),
            Effect::Store(m) => format!("store {}", kind(m)),
            Effect::Prepare { .. } => "prepare".into(),
            Effect::Load { .. } => "load".into(),
            Effect::Ask { .. } => "ask".into(),
            Effect::Run { call } => format!("run {}", call.tool),
            Effect::Wait { .. } | Effect::WaitApproval(_) => "wait".into(),
            Effect::Permit { item_id, approved } => format!("permit {item_id} {approved}"),
            Effect::Cancel => "cancel".into(),
            Effect::Hear(data) => format!("hear {}", data.len()),
            Effect::Heard => "heard".into(),
            Effect::Done { outcome: Outcome::Done { text, .. }, .. } => format!("done {text}"),
            Effect::Done { outcome: Outcome::Failed(failure), .. } => format!("failed {}", failure.code),
        };
        self.last.iter().map(told).collect()
    }

    fn start(&mut self, id: &str, turn: &str) -> Vec<String> {
        self.start_with(id, turn, Options::default())
    }

    fn start_with(&mut self, id: &str, turn: &str, options: Options) -> Vec<String> {
        let content = vec![InputContent::text("hi")];
        let start = TurnStart { thread_id: "dataset://t/1".into(), turn_id: None, content, options };
        self.on(Input::Start {
            message: message(id, Body::TurnStart(start)),
            turn_id: turn.into(),
            by: by("ann"),
            earlier: Earlier::default(),
        })
    }

    /// Another attempt at what `before` tried.
    fn attempt(&mut self, turn: &str, before: &[&str]) -> Vec<String> {
        self.attempt_as(turn, before, false)
    }

    fn attempt_as(&mut self, turn: &str, before: &[&str], look_only: bool) -> Vec<String> {
        let start = TurnStart {
            thread_id: "dataset://t/1".into(),
            turn_id: None,
            content: vec![InputContent::text("hi")],
            options: Options::default(),
        };
        let turns = before.iter().map(|turn| (*turn).to_owned()).collect();
        let earlier = Earlier { turns, look_only };
        let message = message(turn, Body::TurnStart(start));
        self.on(Input::Start { message, turn_id: turn.into(), by: by("ann"), earlier })
    }

    fn prepared(&mut self, turn: &str, tools: Vec<ToolSpec>) -> Vec<String> {
        let input = Some(Item::User(vec![Part::Text("hi".into())]));
        let prepared = Prepared { input, tools: Arc::new(tools), context_window: Some(9) };
        self.on(Input::Prepared { turn_id: turn.into(), result: Ok(prepared) })
    }

    fn answered(&mut self, items: Vec<Item>) -> Vec<String> {
        let usage = Usage { input_tokens: 5, output_tokens: 2 };
        self.on(Input::Answered(Ok(Response { items, usage, ..Response::default() })))
    }

    fn ran(&mut self, call: &str) -> Vec<String> {
        self.on(Input::ToolFinished { call_id: call.into(), result: Ok(ToolResult::Done("ok".into())) })
    }

    fn steer(&mut self, id: &str, turn: &str, from: &str) -> Vec<String> {
        let steer = Steer {
            thread_id: "dataset://t/1".into(),
            turn_id: turn.into(),
            content: vec![InputContent::text("also")],
        };
        self.on(Input::Steer { message: message(id, Body::TurnSteer(steer)), participant: Some(from.into()) })
    }

    fn loaded(&mut self, id: &str) -> Vec<String> {
        self.on(Input::Loaded { message_id: id.into(), item: Item::User(vec![Part::Text("also".into())]) })
    }

    fn interrupt(&mut self, turn: &str) -> Vec<String> {
        self.on(Input::Interrupt { message_id: "i".into(), turn_id: turn.into() })
    }

    fn emitted(&self, kind: &str) -> Value {
        let full = |effect: &Effect| match effect {
            Effect::Emit(m) | Effect::Show(m) | Effect::Store(m) | Effect::Tell { message: m, .. } => {
                Some(m.full())
            }
            _ => None,
        };
        let found =
            self.last.iter().filter_map(full).find(|m| m["type"] == format!("meshagent.agent.{kind}"));
        Value::Object(found.unwrap_or_else(|| panic!("no {kind} in {:?}", self.last)))
    }
}

#[test]
fn a_turn_that_nobody_waits_for_is_cancelled_where_it_is() {
    let cancel = |turn: &str| Input::CancelTurn { turn_id: turn.into() };
    let mut story = Story::new(Limits::default());
    story.start("m1", "u1");
    story.start("m2", "u2");
    assert_eq!(story.on(cancel("u2")), ["turn.ended", "failed cancelled"], "it left the line");
    assert_eq!(story.on(cancel("u2")), [""; 0]);
    story.prepared("u1", Vec::new());
    let ended = story.on(cancel("u1"));
    assert!(
        ended.starts_with(&["cancel".to_owned()]) && ended.ends_with(&["failed cancelled".to_owned()]),
        "{ended:?}"
    );
    assert!(!story.thread.is_busy(), "the turn that was cancelled in the line does not begin");
}

#[test]
fn a_plain_turn_is_told_in_order() {
    let mut story = Story::new(Limits::default());
    assert_eq!(
        story.start("m", "t1"),
        ["store turn.start", "turn.start.accepted", "(Thinking)", "turn.started", "prepare"]
    );
    let accepted = story.emitted("turn.start.accepted");
    assert_eq!((&accepted["source_message_id"], &accepted["turn_id"]), (&json!("m"), &json!("t1")));
    assert_eq!((&accepted["sender_name"], &accepted["content"][0]["text"]), (&json!("ann"), &json!("hi")));
    assert_eq!(story.emitted("turn.start")["turn_id"], "t1", "what is stored names its turn");
    assert_eq!(story.emitted("turn.started")["sender_name"], "bob");
    assert_eq!(story.prepared("t1", Vec::new()), ["ask"]);
    assert_eq!(
        story.answered(vec![answer("hello")]),
        [
            "(Writing)",
            "text_content.started",
            "text_content.delta",
            "text_content.ended",
            "usage.updated",
            "turn.ended",
            "(idle)",
            "done hello"
        ]
    );
    assert_eq!(
        story.emitted("usage.updated")["usage"],
        json!({"echo.input_tokens": 5, "echo.output_tokens": 2})
    );
    assert!(story.emitted("turn.ended")["error"].is_null());
    assert_eq!(story.thread.history().len(), 2);
    assert!(!story.thread.is_busy());
}

#[test]
fn what_is_streamed_is_told_as_it_comes_and_not_twice() {
    let mut story = Story::new(Limits::default());
    story.start("m", "t1");
    story.prepared("t1", Vec::new());
    let text = |delta: &str| {
        Input::Said(Said::Text {
            item_id: "x".into(),
            phase: Some("final_answer".into()),
            delta: delta.into(),
        })
    };
    assert_eq!(story.on(text("1")), ["(Writing)", "text_content.started", "text_content.delta"]);
    assert_eq!(story.on(text("1")), ["text_content.delta"], "a piece that repeats is a piece");
    let response = Response { items: vec![answer("11")], said: true, ..Response::default() };
    let told = story.on(Input::Answered(Ok(response)));
    assert_eq!(told, ["text_content.ended", "usage.updated", "turn.ended", "(idle)", "done 11"]);
}

#[test]
fn turns_wait_in_line_and_only_so_many() {
    let mut story = Story::new(Limits::default());
    story.start("m1", "t1");
    assert_eq!(story.start("m2", "t2"), ["store turn.start", "turn.start.accepted"]);
    story.prepared("t1", Vec::new());
    let told = story.answered(vec![answer("one")]);
    assert_eq!(told[told.len() - 4..], ["done one", "(Thinking)", "turn.started", "prepare"]);
    for n in 0..TURNS_WAITING_MAX {
        story.start(&format!("w{n}"), &format!("w{n}"));
    }
    assert_eq!(story.start("x", "x"), ["turn.start.rejected", "failed thread_busy"]);
}

#[test]
fn a_tool_runs_and_what_fails_is_told_to_the_model() {
    let mut story = Story::new(Limits::default());
    story.start("m", "t1");
    story.prepared("t1", vec![spec("crm", "look_up", false)]);
    assert_eq!(
        story.answered(vec![call("c", "", "look_up")]),
        ["(Calling look up)", "tool_call.started", "run look_up", "usage.updated"]
    );
    let started = story.emitted("tool_call.started");
    assert_eq!(
        (&started["toolkit"], &started["call_id"], &started["arguments"]),
        (&json!("crm"), &json!("c"), &json!({}))
    );
    let failed = Input::ToolFinished {
        call_id: "c".into(),
        result: Ok(ToolResult::Failed("no such customer".into())),
    };
    assert_eq!(story.on(failed), ["tool_call.ended", "(Thinking)", "ask"]);
    assert_eq!(story.emitted("tool_call.ended")["error"]["message"], "no such customer");
    let Some(Effect::Ask { items, .. }) = story.last.last() else { panic!() };
    assert!(matches!(items.last(), Some(Item::Output { text, .. }) if text.contains("no such customer")));
}

#[test]
fn steering_waits_for_a_tool_and_a_wrong_turn_is_refused() {
    let mut story = Story::new(Limits::default());
    story.start("m", "t1");
    assert_eq!(story.steer("s0", "other", "ann"), ["turn.steer.rejected"]);
    assert_eq!(story.emitted("turn.steer.rejected")["error"]["code"], "turn_not_in_progress");
    story.prepared("t1", vec![spec("crm", "look_up", false)]);
    story.answered(vec![call("c", "crm", "look_up"), call("d", "crm", "look_up")]);
    assert_eq!(story.steer("s", "t1", "carl"), ["store turn.steer", "turn.steer.accepted", "load"]);
    assert_eq!(story.loaded("s"), [""; 0]);
    assert_eq!(story.ran("c"), ["tool_call.ended", "tool_call.ended", "turn.steered", "(Thinking)", "ask"]);
    assert_eq!(story.emitted("turn.steered")["source_message_id"], "s");
    story.steer("late", "t1", "ann");
    let told = story.answered(vec![answer("done")]);
    assert!(told.contains(&"turn.steer.rejected".to_owned()), "not loaded before the end: {told:?}");
    for n in 0..=STEERS_WAITING_MAX {
        if n == 0 {
            story.start("m2", "t2");
        }
        story.steer(&n.to_string(), "t2", "ann");
    }
    assert_eq!(story.emitted("turn.steer.rejected")["error"]["code"], "turn_busy");
}

#[test]
fn an_interrupt_ends_the_turn_unless_more_was_said() {
    let mut story = Story::new(Limits::default());
    story.start("m", "t1");
    assert_eq!(story.interrupt("other"), [""; 0]);
    story.prepared("t1", Vec::new());
    story.on(Input::Said(Said::Text { item_id: "x".into(), phase: None, delta: "half".into() }));
    assert_eq!(
        story.interrupt("t1"),
        [
            "turn.interrupt.accepted",
            "cancel",
            "text_content.ended",
            "turn.interrupted",
            "turn.ended",
            "(idle)",
            "failed cancelled"
        ]
    );
    assert_eq!(
        story.emitted("turn.ended")["error"],
        json!({"message": "turn cancelled", "code": "cancelled"})
    );
    assert_eq!(story.thread.history().last(), Some(&answer("half")));

    story.start("m2", "t2");
    story.prepared("t2", Vec::new());
    story.steer("s", "t2", "ann");
    story.loaded("s");
    assert_eq!(
        story.interrupt("t2"),
        ["turn.interrupt.accepted", "cancel", "turn.interrupted", "turn.steered", "ask"]
    );
    assert_eq!(story.thread.turn_id(), Some("t2"), "the same turn goes on");
    story.start("m3", "t3");
    let told = story.on(Input::Cancelled);
    assert!(told.contains(&"failed cancelled".to_owned()) && !story.thread.is_busy(), "{told:?}");
}

#[test]
fn an_approval_is_waited_for_and_nobody_is_asked_where_nobody_is() {
    let mut story = Story::new(Limits::default());
    story.start("m", "t1");
    story.prepared("t1", vec![spec("mail", "send", true)]);
    let told = story.answered(vec![call("c", "mail", "send")]);
    assert_eq!(told, ["tool_call.approval_requested", "(Waiting for approval)", "wait", "usage.updated"]);
    let judged_by = |who: &str, item: &str, approved| Input::Judged {
        by: by(who),
        turn_id: "t1".into(),
        item_id: item.into(),
        approved,
    };
    let judged = |item: &str, approved| judged_by("ann", item, approved);
    assert_eq!(story.on(judged("other", true)), [""; 0]);
    assert_eq!(story.on(judged_by("bob", "c", true)), [""; 0], "only who started the turn approves");
    assert_eq!(story.on(judged("c", true)), ["(Calling send)", "tool_call.started", "run send"]);
    assert_eq!(story.on(judged("c", false)), [""; 0], "it is judged once");
    story.ran("c");
    story.answered(vec![call("d", "mail", "send")]);
    let told = story.on(judged("d", false));
    assert_eq!(told, ["(Calling send)", "tool_call.started", "tool_call.ended", "(Thinking)", "ask"]);
    let late = |item: &str| Input::ApprovalTimedOut(item.into());
    assert_eq!(story.on(late("d")), [""; 0], "it was judged in time");
    story.answered(vec![call("e", "mail", "send")]);
    let told = story.on(late("e"));
    assert_eq!(told, ["(Calling send)", "tool_call.started", "tool_call.ended", "(Thinking)", "ask"]);
    assert_eq!(
        story.emitted("tool_call.ended")["error"]["message"],
        "nobody approved the call in time",
        "the line does not wait for ever"
    );
    assert_eq!(story.on(judged("e", true)), [""; 0], "it is judged once");

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
    story.prepared("t1", vec![spec("mail", "send", true)]);
    assert!(story.answered(vec![call("c", "mail", "send")]).contains(&"ask".to_owned()));
}

#[test]
fn a_clients_own_tool_is_called_there_and_only_they_answer() {
    let mut story = Story::new(Limits::default());
    story.start("m", "t1");
    story.prepared("t1", vec![spec("client", "pick", false)]);
    let told = story.answered(vec![call("c", "client", "pick")]);
    assert_eq!(
        told,
        ["(Calling pick)", "tool_call.started", "client_tool_call.requested to ann", "wait", "usage.updated"]
    );
    assert_eq!(story.steer("s", "t1", "carl"), ["turn.steer.rejected"]);
    assert_eq!(story.emitted("turn.steer.rejected")["error"]["code"], "turn_owned_by_participant");
    let response = |from: &str| Input::ClientAnswered {
        turn_id: "t1".into(),
        request_id: "c".into(),
        participant: from.into(),
        response: json!({"type": "json", "json": {"picked": 1}}),
    };
    assert_eq!(story.on(response("carl")), [""; 0]);
    assert_eq!(story.on(response("ann")), ["tool_call.ended", "(Thinking)", "ask"]);
    story.answered(vec![call("d", "client", "pick")]);
    let told = story.on(Input::ParticipantGone("ann".into()));
    assert_eq!(told, ["client_tool_call.cancelled to ann", "tool_call.ended", "(Thinking)", "ask"]);
    assert_eq!(story.emitted("client_tool_call.cancelled")["reason"], "participant_disconnected");
    story.answered(vec![call("e", "client", "pick")]);
    let told = story.on(Input::ClientTimedOut { request_id: "e".into() });
    assert!(told.contains(&"client_tool_call.cancelled to ann".to_owned()), "{told:?}");
}

#[test]
fn a_model_is_chosen_and_an_unknown_one_rejects_the_turn() {
    let mut story = Story::new(Limits::default());
    let model = |name: &str| Options { model: Some(name.into()), ..Options::default() };
    assert_eq!(story.start_with("m", "t", model("zap")), ["turn.start.rejected", "failed unknown_model"]);
    let told = story.start_with("m2", "t2", model("gpt-x"));
    assert_eq!(told[told.len() - 2..], ["model.changed", "prepare"]);
    assert_eq!(story.emitted("model.changed")["provider"], "openai");
    let failure = Failure { message: "no".into(), code: "model_error" };
    story.on(Input::Prepared { turn_id: "t2".into(), result: Err(failure) });
    assert_eq!(story.emitted("turn.ended")["error"]["code"], "model_error");
    let told = story.start("m3", "t3");
    assert!(!told.contains(&"model.changed".to_owned()), "it stays: {told:?}");
}

#[test]
fn a_model_that_never_ends_is_stopped_and_the_thread_says_so() {
    let mut story = Story::new(Limits { model_calls_max: 2, ..Limits::default() });
    story.start("m", "t1");
    story.prepared("t1", vec![spec("crm", "look_up", false)]);
    story.answered(vec![call("c", "crm", "look_up")]);
    story.ran("c");
    story.answered(vec![call("d", "crm", "look_up")]);
    assert!(story.ran("d").contains(&"failed too_many_model_calls".to_owned()));
    assert_eq!(story.emitted("turn.ended")["error"]["code"], "too_many_model_calls");
}

#[test]
fn another_attempt_is_not_run_where_an_earlier_one_is_done_meanwhile() {
    let mut story = Story::new(Limits::default());
    story.attempt("t1", &[]);
    story.attempt("t2", &["t1"]);
    story.attempt("t3", &["t9"]);
    story.prepared("t1", Vec::new());
    let told = story.answered(vec![answer("one")]);
    let at = told.iter().position(|told| told == "done one").unwrap();
    assert_eq!(told[at + 1..at + 3], ["turn.ended", "done one"], "it left the line without running");
    assert_eq!(told[at + 3..], ["(Thinking)", "turn.started", "prepare"], "the next one runs");
    assert_eq!(story.thread.turn_id(), Some("t3"));
    let ended: Vec<_> = story
        .last
        .iter()
        .filter_map(|effect| match effect {
            Effect::Emit(Message { body: Body::TurnEnded(ended), .. }) => {
                Some((ended.turn_id.clone(), ended.error.as_ref().and_then(|error| error.code.clone())))
            }
            _ => None,
        })
        .collect();
    assert_eq!(ended, [("t1".to_owned(), None), ("t2".to_owned(), Some("already_done".to_owned()))]);
    assert_eq!(story.attempt("t4", &["t1"]), ["done one"], "nor is it accepted afterwards");
    assert_eq!(story.attempt_as("t6", &["t9", "t1"], true), ["done one"], "it is found");
    let refused = story.attempt_as("t7", &["t2"], true);
    assert!(refused.len() == 1 && refused[0].contains("attempts"), "it is not run again: {refused:?}");
    assert_eq!(story.attempt("t5", &["t2"]), ["store turn.start", "turn.start.accepted"], "t2 was not done");
}

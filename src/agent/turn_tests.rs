use super::*;

fn user() -> Item {
    Item::User(vec![Part::Text("go".into())])
}

fn call(id: &str) -> ToolCall {
    ToolCall {
        id: id.into(),
        item_id: id.into(),
        toolkit: "t".into(),
        tool: "x".into(),
        arguments: "{}".into(),
    }
}

fn answer(text: &str, phase: Option<&str>) -> Item {
    Item::Answer { text: text.into(), phase: phase.map(str::to_owned) }
}

fn answered(items: Vec<Item>) -> Event {
    let usage = Usage { input_tokens: 10, output_tokens: 1 };
    Event::Answered(Response { items, usage, ..Response::default() })
}

fn finished(id: &str) -> Event {
    Event::ToolFinished { call_id: id.into(), text: "ok".into(), files: Vec::new() }
}

fn start(limits: Limits) -> Turn {
    let (turn, effects) = Turn::start(limits, user());
    assert_eq!(effects, [Effect::AskModel]);
    turn
}

#[test]
fn a_plain_answer_ends_the_turn() {
    let mut turn = start(Limits::default());
    let effects = turn.on(answered(vec![answer("hello", None)]));
    let usage = Usage { input_tokens: 10, output_tokens: 1 };
    assert_eq!(effects, [Effect::Finish(Outcome::Done { text: "hello".into(), usage })]);
    assert_eq!(turn.on(Event::Cancelled), [], "nothing follows the end");
    assert_eq!(turn.into_items(), [user(), answer("hello", None)]);
}

#[test]
fn tools_run_one_after_another_and_then_the_model_is_asked_again() {
    let mut turn = start(Limits::default());
    let say = answer("I will look", Some("commentary"));
    let effects = turn.on(answered(vec![say, Item::Call(call("1")), Item::Call(call("2"))]));
    assert_eq!(effects, [Effect::RunTool(call("1"))]);
    assert_eq!(turn.on(finished("2")), [], "an output of a call that does not run is ignored");
    assert_eq!(turn.on(finished("1")), [Effect::RunTool(call("2"))]);
    assert_eq!(turn.on(finished("2")), [Effect::AskModel]);
    let Effect::Finish(Outcome::Done { text, usage }) =
        &turn.on(answered(vec![answer("found", Some("final_answer"))]))[0]
    else {
        panic!("not done")
    };
    assert_eq!((text.as_str(), usage.input_tokens), ("I will look\n\nfound", 20));
    assert_eq!(turn.items().len(), 7);
}

#[test]
fn as_many_tools_run_at_once_as_the_bound_says() {
    let mut turn = start(Limits { tools_at_once: 2, ..Limits::default() });
    let calls = ["1", "2", "3"].map(|id| Item::Call(call(id))).to_vec();
    assert_eq!(turn.on(answered(calls)), ["1", "2"].map(|id| Effect::RunTool(call(id))));
    assert_eq!(turn.on(finished("2")), [Effect::RunTool(call("3"))]);
    assert_eq!(turn.on(finished("3")), []);
    assert_eq!(turn.on(finished("1")), [Effect::AskModel]);
}

#[test]
fn commentary_alone_does_not_end_a_turn_and_an_incomplete_answer_does() {
    let mut turn = start(Limits::default());
    assert_eq!(turn.on(answered(vec![answer("hm", Some("commentary"))])), [Effect::AskModel]);
    let cut = Response {
        items: vec![answer("half", None), Item::Call(call("1"))],
        incomplete: true,
        ..Response::default()
    };
    let effects = turn.on(Event::Answered(cut));
    assert!(matches!(&effects[..], [Effect::Finish(Outcome::Done { text, .. })] if text == "hm\n\nhalf"));
    assert!(!turn.items().iter().any(|i| matches!(i, Item::Call(_))), "no call is left without its output");
}

#[test]
fn a_model_that_never_ends_is_stopped() {
    let mut turn = start(Limits { model_calls_max: 3, ..Limits::default() });
    for _ in 0..2 {
        assert_eq!(turn.on(answered(vec![Item::Call(call("1"))])), [Effect::RunTool(call("1"))]);
        assert_eq!(turn.on(finished("1")), [Effect::AskModel]);
    }
    turn.on(answered(vec![Item::Call(call("1"))]));
    let effects = turn.on(finished("1"));
    assert!(matches!(&effects[..], [Effect::Finish(Outcome::Failed(f))] if f.code == "too_many_model_calls"));
}

#[test]
fn too_many_calls_in_one_answer_are_refused_to_the_model() {
    let mut turn = start(Limits { tool_calls_max: 1, ..Limits::default() });
    let effects = turn.on(answered(vec![Item::Call(call("1")), Item::Call(call("2"))]));
    assert_eq!(effects, [Effect::RunTool(call("1"))]);
    assert_eq!(turn.on(finished("1")), [Effect::AskModel]);
    let refused = |i: &Item| matches!(i, Item::Output { call_id, text, .. } if call_id == "2" && text.contains("more than 1"));
    assert!(turn.items().iter().any(refused));
}

#[test]
fn failure_and_cancel_end_it() {
    let failure = Failure { message: "no".into(), code: "model_error" };
    let failed = start(Limits::default()).on(Event::Failed(failure.clone()));
    assert_eq!(failed, [Effect::Finish(Outcome::Failed(failure))]);
    let cancelled = start(Limits::default()).on(Event::Cancelled);
    assert!(matches!(&cancelled[..], [Effect::Finish(Outcome::Failed(f))] if f.code == "cancelled"));
}

#[test]
fn what_a_model_refused_at_once_is_not_kept() {
    let failure = Failure { message: "no".into(), code: MODEL_ERROR };
    let mut turn = start(Limits::default());
    turn.on(Event::Failed(failure.clone()));
    assert_eq!(turn.into_items(), []);
    let mut turn = start(Limits::default());
    turn.on(answered(vec![answer("hm", Some("commentary"))]));
    turn.on(Event::Failed(failure));
    assert_eq!(turn.into_items().len(), 2);
}

#[test]
fn a_paused_answer_goes_on_where_it_was_and_only_so_often() {
    let search = || Item::opaque("anthropic", serde_json::json!({"type": "server_tool_use", "id": "s"}));
    let paused = || Event::Answered(Response { items: vec![search()], paused: true, ..Response::default() });
    let mut turn = start(Limits::default());
    for n in 1..=PAUSES_MAX {
        assert_eq!(turn.on(paused()), [Effect::AskModel]);
        assert_eq!(turn.items().len(), n + 1, "the provider is shown what it paused at");
    }
    let effects = turn.on(paused());
    assert!(matches!(&effects[..], [Effect::Finish(Outcome::Failed(f))] if f.code == "too_many_pauses"));
    let mut turn = start(Limits::default());
    turn.on(paused());
    let done = turn.on(answered(vec![answer("found", None)]));
    assert!(matches!(&done[..], [Effect::Finish(Outcome::Done { text, .. })] if text == "found"));
    let mut turn = start(Limits::default());
    turn.steer("s".into(), user());
    assert_eq!(turn.on(paused()), [Effect::Steered(vec!["s".into()]), Effect::AskModel]);
    assert_eq!(turn.into_items(), [user(), user()], "what it paused at leads to nothing now");
}

#[test]
fn reasoning_that_led_to_nothing_is_not_kept() {
    let mut turn = start(Limits::default());
    let thought = || Item::opaque("openai", serde_json::json!({"type": "reasoning"}));
    let items = vec![thought(), answer("half", None), thought(), Item::Call(call("1"))];
    turn.on(Event::Answered(Response { items, incomplete: true, ..Response::default() }));
    assert_eq!(turn.into_items(), [user(), thought(), answer("half", None)]);
}

#[test]
fn what_is_said_meanwhile_is_heard_at_the_next_boundary() {
    let mut turn = start(Limits::default());
    turn.on(answered(vec![Item::Call(call("1")), Item::Call(call("2"))]));
    let steered = |id: &str| Effect::Steered(vec![id.to_owned()]);
    turn.steer("a".into(), user());
    let effects = turn.on(finished("1"));
    assert_eq!(effects, [Effect::Dropped(call("2")), steered("a"), Effect::AskModel]);
    let outputs = turn.items().iter().filter(|item| matches!(item, Item::Output { .. })).count();
    assert_eq!((outputs, turn.items().last()), (2, Some(&user())), "every call has its output");
    turn.steer("b".into(), user());
    let effects = turn.on(answered(vec![answer("done", None)]));
    assert_eq!(effects, [steered("b"), Effect::AskModel], "it is not over while more was said");
    turn.steer("c".into(), user());
    let partial = vec![answer("I am", None)];
    assert_eq!(turn.on(Event::Interrupted(partial)), [steered("c"), Effect::AskModel]);
    let effects = turn.on(Event::Interrupted(vec![answer("half", None)]));
    assert!(matches!(&effects[..], [Effect::Finish(Outcome::Failed(f))] if f.code == "cancelled"));
    assert_eq!(turn.items().last(), Some(&answer("half", None)), "what was said is kept");
}

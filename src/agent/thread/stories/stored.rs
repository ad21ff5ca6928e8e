//! Stories of what is stored: it reads back as what the thread remembers.

use super::*;
use crate::agent::message::{Compacted, REPEATS_INPUT};
use crate::agent::thread::project::restore;
use crate::agent::thread::record::Recorder;

#[test]
fn an_answer_that_begins_anew_is_stored_once() {
    let mut story = Story::new(Limits::default());
    let mut recorder = Recorder::new(Arc::new(Fixed::at(DateTime::UNIX_EPOCH)));
    let mut rows = Vec::new();
    let text = |item: &str, delta: &str| {
        Input::Said(Said::Text { item_id: item.into(), phase: None, delta: delta.into() })
    };
    let ended = |item: &str| Input::Said(Said::TextEnded { item_id: item.into(), phase: None });
    let searched = |ended| {
        Input::Said(Said::ProviderTool {
            namespace: "openai.responses",
            item_id: "w1".into(),
            toolkit: "openai".into(),
            tool: "web_search".into(),
            arguments: None,
            ended,
        })
    };
    let pending = Input::Said(Said::CallPending {
        item_id: "p1".into(),
        call_id: "p1".into(),
        toolkit: "crm".into(),
        tool: "look_up".into(),
    });
    story.start("m", "t1");
    rows.extend(stored(&mut recorder, &story.last));
    story.prepared("t1", Vec::new());
    for input in
        [text("a1", "whole"), ended("a1"), searched(false), searched(true), pending, text("b1", "ha")]
    {
        story.on(input);
        rows.extend(stored(&mut recorder, &story.last));
    }
    let told = story.on(Input::Said(Said::Restart));
    rows.extend(stored(&mut recorder, &story.last));
    let void: Vec<_> = story
        .last
        .iter()
        .filter_map(|effect| match effect {
            Effect::Emit(message) if message.is_discard() => {
                message.full()["item_id"].as_str().map(str::to_owned)
            }
            _ => None,
        })
        .collect();
    assert_eq!(void, ["a1", "b1", "p1", "w1"], "everything that was told of it: {told:?}");
    for input in [text("a2", "whole"), ended("a2"), text("b2", "half")] {
        story.on(input);
        rows.extend(stored(&mut recorder, &story.last));
    }
    let items = vec![answer("whole"), answer("half")];
    story.on(Input::Answered(Ok(Response { items, said: true, ..Response::default() })));
    rows.extend(stored(&mut recorder, &story.last));
    assert_eq!(restore(&rows).items, *story.thread.history());
    let of = |item: &str| rows.iter().filter(|row| row.get("item_id").is_some_and(|id| id == item)).count();
    assert_eq!(["a1", "b1", "p1", "w1"].map(of), [0; 4], "{rows:#?}");
    assert_eq!(["a2", "b2"].map(of), [2; 2]);
    assert_eq!(story.on(Input::Said(Said::Restart)), [""; 0], "nothing runs any more");
}

/// What is stored of the effects, as it would be read back.
fn stored(recorder: &mut Recorder, effects: &[Effect]) -> Vec<serde_json::Map<String, Value>> {
    let messages = effects.iter().filter_map(|effect| match effect {
        Effect::Emit(message) | Effect::Store(message) => Some(message),
        _ => None,
    });
    messages.flat_map(|message| recorder.on(message)).map(|row| row.data).collect()
}

#[test]
fn what_is_stored_reads_back_as_what_the_thread_remembers() {
    let mut story = Story::new(Limits::default());
    let mut recorder = Recorder::new(Arc::new(Fixed::at(DateTime::UNIX_EPOCH)));
    let mut rows = Vec::new();
    let text = |delta: &str| {
        Input::Said(Said::Text { item_id: "x".into(), phase: Some("commentary".into()), delta: delta.into() })
    };
    let say = Item::Answer { text: "I look, I look".into(), phase: Some("commentary".into()) };
    story.start("m", "t1");
    rows.extend(stored(&mut recorder, &story.last));
    story.start("m2", "t2");
    rows.extend(stored(&mut recorder, &story.last));
    story.prepared("t1", vec![spec("crm", "look_up", false)]);
    rows.extend(stored(&mut recorder, &story.last));
    for piece in ["I look", ", ", "I look"] {
        story.on(text(piece));
        rows.extend(stored(&mut recorder, &story.last));
    }
    let items = vec![say, call("c", "crm", "look_up")];
    story.on(Input::Answered(Ok(Response { items, said: true, ..Response::default() })));
    rows.extend(stored(&mut recorder, &story.last));
    story.ran("c");
    rows.extend(stored(&mut recorder, &story.last));
    story.answered(vec![answer("found")]);
    rows.extend(stored(&mut recorder, &story.last));
    let read = restore(&rows);
    let mut remembered = story.thread.history().to_vec();
    // The next turn has begun; its input is no past yet.
    remembered.push(Item::User(vec![Part::Text("hi".into())]));
    assert_eq!(read.items, remembered);
    assert_eq!(
        read.done_turns.text_of(&["t2".into(), "t1".into()]).as_deref(),
        Some("I look, I look\n\nfound")
    );
    assert!(!read.done_turns.contains("t2"));
    assert_eq!(read.open_turns, ["t2"], "it began, and nobody is left to end it");
    assert_eq!(read.used_tokens, 7);
    story.prepared("t2", Vec::new());
    rows.extend(stored(&mut recorder, &story.last));
    story.on(Input::Said(Said::Text { item_id: "y".into(), phase: None, delta: "half".into() }));
    rows.extend(stored(&mut recorder, &story.last));
    story.interrupt("t2");
    rows.extend(stored(&mut recorder, &story.last));
    let read = restore(&rows);
    assert_eq!(read.items, *story.thread.history());
    assert_eq!(read.open_turns, [""; 0]);
    let kinds: Vec<_> =
        rows.iter().map(|row| row["type"].as_str().unwrap().replace("meshagent.agent.", "")).collect();
    assert!(!kinds.contains(&"thread.status".to_owned()), "{kinds:?}");
    assert_eq!(
        kinds.iter().filter(|kind| *kind == "text_content.delta").count(),
        3,
        "a text is one piece: {kinds:?}"
    );
    assert_eq!(kinds[kinds.len() - 2..], ["thread.event", "turn.ended"]);
}

#[test]
fn what_is_said_while_a_thread_is_shortened_is_there_afterwards_files_included() {
    let mut story = Story::new(Limits::default());
    let mut recorder = Recorder::new(Arc::new(Fixed::at(DateTime::UNIX_EPOCH)));
    let mut rows = Vec::new();
    story.start("m", "t1");
    rows.extend(stored(&mut recorder, &story.last));
    story.prepared("t1", Vec::new());
    rows.extend(stored(&mut recorder, &story.last));
    story.answered(vec![answer("before")]);
    rows.extend(stored(&mut recorder, &story.last));

    let file = InputContent::File { url: "data:image/png;base64,AAEC".into(), name: Some("p.png".into()) };
    let content = vec![InputContent::text("look"), file];
    let input = Item::User(content.iter().map(crate::agent::thread::project::part).collect());
    let start =
        TurnStart { thread_id: "dataset://t/1".into(), turn_id: None, content, options: Options::default() };
    story.on(Input::Start {
        message: message("m2", Body::TurnStart(start)),
        turn_id: "t2".into(),
        by: by("ann"),
        earlier: Earlier::default(),
    });
    rows.extend(stored(&mut recorder, &story.last));
    // The summary is made; meanwhile somebody says more.
    story.steer("s", "t2", "ann");
    rows.extend(stored(&mut recorder, &story.last));
    story.loaded("s");
    rows.extend(stored(&mut recorder, &story.last));
    story.thread.compact(vec![Item::User(vec![Part::Text("in short".into())])]);
    let user = |text: String| json!({"role": "user", "content": text});
    let body = Body::Compacted(Compacted {
        thread_id: "dataset://t/1".into(),
        provider: None,
        model: None,
        checkpoint_id: "c".into(),
        path: "dataset://t/1".into(),
        through_sequence: 0,
        messages: Some(vec![user("in short".into()), user(input.user_text().unwrap())]),
    });
    let mut compacted = *message("c", body);
    compacted.metadata.insert(REPEATS_INPUT.into(), json!(true));
    rows.extend(recorder.on(&compacted).into_iter().map(|row| row.data));
    let prepared = Prepared { input: Some(input.clone()), ..Prepared::default() };
    story.on(Input::Prepared { turn_id: "t2".into(), result: Ok(prepared) });
    rows.extend(stored(&mut recorder, &story.last));
    story.answered(vec![answer("seen")]);
    rows.extend(stored(&mut recorder, &story.last));
    story.answered(vec![answer("also seen")]);
    rows.extend(stored(&mut recorder, &story.last));

    let text = |text: &str| Item::User(vec![Part::Text(text.into())]);
    let expected = [text("in short"), input, answer("seen"), text("also"), answer("also seen")];
    assert_eq!(*story.thread.history(), expected);
    assert_eq!(restore(&rows).items, expected);
}

//! Stories of what is said aloud.

use super::{Story, answer, by, message};
use crate::agent::history::{Item, Part, written};
use crate::agent::message::{
    AudioChunk, AudioCommit, AudioFormat, Body, ModelChange, Options, PREFIX, Sound, TurnStart,
};
use crate::agent::provider::Said;
use crate::agent::thread::hearing::SPEECH_BYTES_MAX;
use crate::agent::thread::machine::{Effect, Input, Prepared};
use crate::agent::thread::project::restore;
use crate::agent::thread::record::Recorder;
use crate::agent::thread::{Earlier, transcript};
use crate::agent::turn::{Limits, Response};
use crate::agent::voice::{At, Noticed, Speaker, Speech, VoiceConfig};
use crate::clock::Fixed;
use chrono::DateTime;
use serde_json::{Map, Value};
use std::sync::Arc;

const PATH: &str = "dataset://t/1";

fn story(voices: VoiceConfig) -> Story {
    Story::with(Limits::default(), Arc::new(voices), &["gpt-realtime", "gpt-x"])
}

fn speech(speech: Speech) -> Input {
    Input::Said(Said::Speech(speech))
}

fn written_down(by: Speaker, item: &str, text: &str) -> Input {
    speech(Speech::WrittenEnded { item_id: item.into(), at: At::default(), by, text: Some(text.into()) })
}

fn audio(bytes: usize) -> Input {
    let (item_id, at, format) = ("a".into(), At::default(), AudioFormat::default());
    speech(Speech::Audio { item_id, at, data: vec![0; bytes].into(), format })
}

impl Story {
    fn chunk(&mut self, bytes: usize, format: Option<AudioFormat>) -> Vec<String> {
        let data = Sound(vec![1; bytes].into());
        let chunk = Box::new(AudioChunk { thread_id: PATH.into(), data, format });
        self.on(Input::Chunk { message_id: "c".into(), chunk, by: by("ann") })
    }

    fn commit(&mut self, id: &str, turn: Option<&str>) -> Vec<String> {
        let turn_id = turn.map(str::to_owned);
        let commit = AudioCommit { thread_id: PATH.into(), turn_id, ..AudioCommit::default() };
        self.on(Input::Commit { message: message(id, Body::AudioCommit(commit)), by: by("ann") })
    }

    /// A turn without words.
    fn begin(&mut self, turn: &str) -> Vec<String> {
        let start = TurnStart {
            thread_id: PATH.into(),
            turn_id: None,
            content: Vec::new(),
            options: Options::default(),
        };
        let (turn_id, earlier) = (turn.to_owned(), Earlier::default());
        self.on(Input::Start {
            message: message("m", Body::TurnStart(start)),
            turn_id,
            by: by("ann"),
            earlier,
        })
    }

    fn ready(&mut self, turn: &str) -> Vec<String> {
        let prepared = Prepared { input: Some(Item::User(Vec::new())), ..Prepared::default() };
        self.on(Input::Prepared { turn_id: turn.into(), result: Ok(prepared) })
    }

    /// What the model is asked with.
    fn asked(&self) -> Vec<Item> {
        let asked = self.last.iter().find_map(|effect| match effect {
            Effect::Ask { items, .. } => Some(items.clone()),
            _ => None,
        });
        asked.expect("the model is asked")
    }

    /// The code of the error that is told.
    fn refusal(&self) -> String {
        let told = self.last.iter().find_map(|effect| match effect {
            Effect::Tell { message, .. } | Effect::Emit(message) => {
                let full = Value::Object(message.full());
                let error = full.pointer("/event/error/code").or_else(|| full.pointer("/error/code"));
                error.and_then(Value::as_str).map(str::to_owned)
            }
            _ => None,
        });
        told.expect("something is refused")
    }
}

#[test]
fn what_was_committed_begins_the_turn_it_names() {
    let mut story = story(VoiceConfig::default());
    assert_eq!(story.chunk(2, None), ["(Listening)"]);
    assert_eq!(story.chunk(3, Some(AudioFormat::default())), [""; 0]);
    assert_eq!(story.commit("k", Some("turn")), ["(Processing audio)"]);
    assert_eq!(
        story.begin("turn"),
        [
            "store realtime_audio.commit",
            "store turn.start",
            "turn.start.accepted",
            "(Thinking)",
            "turn.started",
            "prepare"
        ]
    );
    assert_eq!(story.ready("turn"), ["ask"]);
    assert_eq!(story.asked(), [Item::User(vec![Part::Sound { data: vec![1; 5].into(), text: None }])]);
    assert_eq!(
        story.on(written_down(Speaker::User, "u", "Hello.")),
        ["audio_transcription.started", "audio_transcription.completed"]
    );
    assert_eq!(story.on(audio(4)), ["(Speaking)", "(audio_generation.started)", "(audio_generation.delta)"]);
    story.on(written_down(Speaker::Agent, "a", "Hi."));
    let end = Response { items: vec![answer("Hi.")], said: true, ..Response::default() };
    let ended = story.on(Input::Answered(Ok(end)));
    assert!(ended.contains(&"done Hi.".to_owned()), "{ended:?}");
    let history = story.thread.history();
    assert_eq!(
        history[..],
        [Item::User(vec![Part::Text("Hello.".into())]), answer("Hi.")],
        "no audio is kept"
    );
}

#[test]
fn a_commit_without_a_turn_begins_one_by_itself() {
    let mut story = story(VoiceConfig::default());
    story.chunk(2, None);
    let began = story.commit("k", None);
    assert_eq!(
        began[1..3],
        ["store realtime_audio.commit", "turn.start.accepted"],
        "its words are its commit"
    );
    assert!(story.thread.is_busy());
}

#[test]
fn what_cannot_be_heard_is_said_once_and_its_turn_is_refused() {
    let wrong = || Some(AudioFormat { kind: "audio/wav".into(), ..AudioFormat::default() });
    let mut story = story(VoiceConfig::default());
    assert_eq!(story.chunk(2, wrong()), ["thread.event to ann"]);
    assert_eq!(story.refusal(), "unsupported_audio_format");
    assert_eq!(story.chunk(2, wrong()), [""; 0], "once");
    story.commit("k", Some("turn"));
    assert_eq!(story.begin("turn"), ["turn.start.rejected", "failed unsupported_audio_format"]);

    story.commit("k", Some("turn"));
    assert_eq!(story.begin("turn"), ["turn.start.rejected", "failed no_audio"]);

    let piece = 1024 * 1024;
    for _ in 0..SPEECH_BYTES_MAX / piece {
        story.chunk(piece, None);
    }
    assert_eq!(story.chunk(piece, None), ["thread.event to ann"]);
    assert_eq!(story.refusal(), "audio_too_long");
    for _ in 0..100 {
        assert_eq!(story.chunk(piece, None), [""; 0], "the rest is not kept");
    }
    story.commit("k", Some("turn"));
    assert_eq!(story.begin("turn"), ["turn.start.rejected", "failed audio_too_long"]);
    story.chunk(2, None);
    story.commit("k", Some("turn"));
    assert!(story.begin("turn").contains(&"prepare".to_owned()), "it hears again");
}

#[test]
fn speech_for_turns_that_never_begin_does_not_pile_up() {
    let mut story = story(VoiceConfig::default());
    for n in 0..100 {
        story.chunk(SPEECH_BYTES_MAX / 16, None);
        let told = story.commit("k", Some(&format!("turn-{n}")));
        assert_eq!(told.contains(&"thread.event to ann".to_owned()), n >= 4, "{n}: {told:?}");
    }
    story.chunk(2, None);
    story.commit("k", Some("last"));
    assert!(story.begin("last").contains(&"prepare".to_owned()));
}

#[test]
fn a_model_that_hears_nothing_says_so() {
    let mut story = Story::new(Limits::default());
    assert_eq!(story.chunk(2, None), ["thread.event to ann"]);
    assert_eq!(story.refusal(), "unsupported_modality");
    let aloud =
        |modality: &str| Options { output_modalities: Some(vec![modality.into()]), ..Options::default() };
    assert_eq!(
        story.start_with("a", "a", aloud("audio")),
        ["turn.start.rejected", "failed unsupported_modality"]
    );
    assert!(story.start_with("b", "b", aloud("text")).contains(&"prepare".to_owned()));
}

#[test]
fn voice_and_kind_of_answer_are_chosen_and_told() {
    let mut story = story(VoiceConfig::default());
    let voice = |voice: &str| Input::ModelChange {
        message_id: "v".into(),
        change: ModelChange {
            thread_id: PATH.into(),
            provider: None,
            backend: None,
            model: None,
            voice: Some(voice.into()),
        },
    };
    assert_eq!(story.on(voice("ash")), ["model.changed"]);
    assert_eq!(story.thread.manner().voice, "ash");
    assert_eq!(story.on(voice("zap")), ["thread.event"]);
    assert_eq!(story.refusal(), "unknown_voice");
    let asked = Options {
        output_modalities: Some(vec!["audio".into()]),
        voice: Some("coral".into()),
        ..Options::default()
    };
    assert!(story.start_with("a", "a", asked).contains(&"model.changed".to_owned()));
    let told = Value::Object(story.thread.model_changed(None).full());
    assert_eq!((&told["voice"], &told["output_modalities"][0]), (&"coral".into(), &"audio".into()));
    assert_eq!(
        (&told["turn_detection"], &told["input_format"]["sample_rate"]),
        (&"none".into(), &24_000.into())
    );
    let unknown = Options { voice: Some("zap".into()), ..Options::default() };
    assert_eq!(story.start_with("b", "b", unknown), ["turn.start.rejected", "failed unknown_voice"]);
}

#[test]
fn where_the_model_listens_itself_speech_interrupts_and_begins_turns() {
    let mut story = story(VoiceConfig { automatic: true, ..VoiceConfig::default() });
    assert_eq!(story.chunk(2, None), ["(Listening)", "hear 2"]);
    assert_eq!(story.chunk(2 * 1024 * 1024, None), ["thread.event to ann"]);
    assert_eq!(story.refusal(), "audio_too_long");
    assert_eq!(story.chunk(2, None), ["hear 2"], "it hears on");
    let item_id = || Some("i".to_owned());
    assert_eq!(
        story.on(Input::Noticed(Noticed::Began { item_id: item_id(), at_ms: Some(1) })),
        ["(audio_input.speech_started)"]
    );
    assert_eq!(
        story.on(Input::Noticed(Noticed::Ended { item_id: item_id(), at_ms: Some(2) })),
        ["(audio_input.speech_ended)"]
    );
    let began = story.on(Input::Noticed(Noticed::Heard { item_id: item_id() }));
    assert_eq!(began[..2], ["store realtime_audio.commit", "turn.start.accepted"]);
    let turn = story.thread.turn_id().unwrap().to_owned();
    story.ready(&turn);
    assert_eq!(story.asked(), [Item::User(vec![Part::Sound { data: Vec::new().into(), text: None }])]);
    story.on(audio(4));
    story.on(written_down(Speaker::Agent, "a", "I was about to"));
    let stopped = story.on(Input::Noticed(Noticed::Began { item_id: item_id(), at_ms: Some(9) }));
    assert!(
        stopped.contains(&"cancel".to_owned()) && stopped.contains(&"turn.interrupted".to_owned()),
        "{stopped:?}"
    );
    let history = story.thread.history();
    assert_eq!(history.last(), Some(&answer("I was about to")), "what was said is remembered");
    assert_eq!(story.on(Input::Noticed(Noticed::Lost { message: "gone".into() })), ["thread.event to ann"]);
}

/// Plays an audio turn, stored; `cut` leaves before its end.
fn stored(cut: bool) -> Vec<Map<String, Value>> {
    let mut story = story(VoiceConfig::default());
    let mut recorder = Recorder::new(Arc::new(Fixed::at(DateTime::UNIX_EPOCH)));
    let mut rows = Vec::new();
    let mut keep = |story: &Story| {
        for effect in &story.last {
            if let Effect::Emit(message) | Effect::Store(message) = effect {
                rows.extend(recorder.on(message).into_iter().map(|row| row.data));
            }
        }
    };
    story.chunk(2, None);
    story.commit("k", Some("turn"));
    story.begin("turn");
    keep(&story);
    story.ready("turn");
    keep(&story);
    story.on(written_down(Speaker::User, "u", "Hello."));
    keep(&story);
    if !cut {
        story.on(audio(4));
        keep(&story);
        story.on(written_down(Speaker::Agent, "a", "Hi."));
        keep(&story);
        let end = Response { items: vec![answer("Hi.")], said: true, ..Response::default() };
        story.on(Input::Answered(Ok(end)));
        keep(&story);
    }
    rows
}

#[test]
fn words_are_stored_and_read_back_and_audio_is_not() {
    let rows = stored(false);
    let kinds: Vec<_> =
        rows.iter().map(|row| row["type"].as_str().unwrap().strip_prefix(PREFIX).unwrap()).collect();
    assert!(!kinds.iter().any(|kind| kind.starts_with("audio_generation")), "{kinds:?}");
    let commit = rows.iter().find(|row| row["type"] == "meshagent.agent.realtime_audio.commit").unwrap();
    assert_eq!((&commit["text"], &commit["status"]), (&"Hello.".into(), &"completed".into()));
    assert_eq!((&commit["turn_id"], &commit["transcription_item_id"]), (&"turn".into(), &"u".into()));
    let restored = restore(&rows);
    assert_eq!(restored.items, [Item::User(vec![Part::Text("Hello.".into())]), answer("Hi.")]);
    assert!(restored.open_turns.is_empty());
    let lines: Vec<_> =
        transcript::lines(&rows).iter().map(|line| format!("{}: {}", line.role, line.text)).collect();
    assert_eq!(lines, ["ann: Hello.", "bob: Hi."]);
}

#[test]
fn an_agent_that_is_killed_has_stored_what_was_said_to_it() {
    let restored = restore(&stored(true));
    assert_eq!(restored.items, [Item::User(vec![Part::Text("Hello.".into())])]);
    assert_eq!(restored.open_turns, ["turn"]);
    let mut nothing = story(VoiceConfig::default());
    nothing.chunk(2, None);
    nothing.commit("k", None);
    let turn = nothing.thread.turn_id().unwrap().to_owned();
    nothing.ready(&turn);
    nothing.on(Input::Cancelled);
    assert_eq!(nothing.thread.history()[..], [Item::User(vec![Part::Text(written(None).into())])]);
}

//! The language of the realtime protocol, as far as it is said to the provider. Pure.

use super::Ask;
use crate::agent::history::{Item, Part};
use crate::agent::provider::names::{Names, function_name};
use crate::agent::provider::parts::{Shown, shown};
use crate::agent::voice::{VoiceConfig, wire_format};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

/// Bytes of audio in one message to the provider.
const PIECE_BYTES: usize = 192 * 1024;
/// Bytes of an earlier conversation that a new one is told, the newest whole turns. It fits the smallest model.
const PAST_BYTES_MAX: usize = 48 * 1024;

/// How the conversation is held, and by which names the model calls the tools.
pub(super) fn session(voices: &VoiceConfig, ask: &Ask) -> (Value, Names) {
    let mut names = Names::default();
    let tools: Vec<Value> = ask
        .tools
        .iter()
        .map(|spec| {
            json!({"type": "function", "name": names.add(spec), "description": spec.description,
                "parameters": spec.parameters})
        })
        .collect();
    // Whether and when it answers is said by request: each belongs to a turn.
    let detection = voices
        .automatic
        .then(|| json!({"type": "server_vad", "create_response": false, "interrupt_response": false}));
    let mut input = json!({"format": wire_format(&voices.input), "turn_detection": detection});
    if let Some(model) = &voices.transcription_model {
        input["transcription"] = json!({"model": model});
    }
    let session = json!({
        "type": "realtime",
        "output_modalities": [ask.answers.name()],
        "instructions": ask.instructions,
        "tools": tools,
        "audio": {"input": input, "output": {"format": wire_format(&voices.output), "voice": ask.voice}},
    });
    (session, names)
}

/// Audio for the provider, in pieces.
pub(super) fn append(data: &Bytes) -> impl Iterator<Item = Value> {
    data.chunks(PIECE_BYTES)
        .map(|piece| json!({"type": "input_audio_buffer.append", "audio": STANDARD.encode(piece)}))
}

/// What tells the provider of an item; nothing where there is nothing to tell.
pub(super) fn tell(item: &Item) -> Vec<Value> {
    let create = |item: Value| json!({"type": "conversation.item.create", "item": item});
    match item {
        Item::User(parts) => {
            let mut told = Vec::new();
            let texts: Vec<Value> = parts.iter().filter_map(text).collect();
            if !texts.is_empty() {
                told.push(create(json!({"type": "message", "role": "user", "content": texts})));
            }
            for data in parts.iter().filter_map(sound) {
                told.extend(append(data));
                told.push(json!({"type": "input_audio_buffer.commit"}));
            }
            told
        }
        Item::Answer { text, .. } if text.trim().is_empty() => Vec::new(),
        Item::Answer { text, .. } => vec![create(json!({"type": "message", "role": "assistant",
            "content": [{"type": "output_text", "text": text}]}))],
        Item::Call(call) => vec![create(json!({"type": "function_call", "call_id": call.id,
            "name": function_name(&call.toolkit, &call.tool), "arguments": call.arguments}))],
        Item::Output { call_id, text: said, files } => {
            let mut output = said.clone();
            for part in files {
                output.push('\n');
                output.push_str(&note(part));
            }
            vec![create(json!({"type": "function_call_output", "call_id": call_id, "output": output}))]
        }
        // Only another provider understands it.
        Item::Opaque { .. } => Vec::new(),
    }
}

fn sound(part: &Part) -> Option<&Bytes> {
    match part {
        Part::Sound { data, .. } if !data.is_empty() => Some(data),
        _ => None,
    }
}

fn text(part: &Part) -> Option<Value> {
    if sound(part).is_some() {
        return None;
    }
    Some(note(part))
        .filter(|text| !text.trim().is_empty())
        .map(|text| json!({"type": "input_text", "text": text}))
}

/// A part in words: such models read and hear, but files are not shown to them.
fn note(part: &Part) -> String {
    match shown(part) {
        Shown::Text(text) => text,
        Shown::Image { mime_type, .. } => {
            format!("[a picture, {mime_type}, which this model cannot be shown]")
        }
        Shown::Pdf { name, .. } => format!("[file {name}, which this model cannot be shown]"),
        Shown::ImageLink(url) | Shown::FileLink(url) => format!("[file {url}]"),
    }
}

/// How many of the oldest items a new conversation is not told: it begins with a turn, and is no longer than a model takes.
/// The newest turn is told whatever its size.
pub(super) fn left_out(items: &[Item]) -> usize {
    let size = |item: &Item| match item {
        Item::User(parts) => {
            parts.iter().map(|part| if sound(part).is_some() { 0 } else { note(part).len() }).sum()
        }
        other => other.bytes(),
    };
    let begins = |at: usize| items.get(at).is_some_and(|item| matches!(item, Item::User(_)));
    let (mut from, mut total) = (items.len(), 0);
    for at in (0..items.len()).rev() {
        total += items.get(at).map_or(0, size);
        if total > PAST_BYTES_MAX && from < items.len() {
            break;
        }
        if begins(at) {
            from = at;
        }
    }
    if from == items.len() { 0 } else { from }
}

/// What the provider has of a conversation: enough to see whether items are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Something that a person said aloud; how it was written down may be found out later.
    Aloud,
    /// What an answer that was broken off came to, if anything.
    Broken,
    User(String),
    Answer(String),
    Call(String),
    Output(String),
    Opaque,
}

impl Known {
    pub fn of(item: &Item) -> Self {
        match item {
            Item::User(parts) if parts.iter().any(|part| matches!(part, Part::Sound { .. })) => Self::Aloud,
            Item::User(_) => Self::User(item.user_text().unwrap_or_default()),
            Item::Answer { text, .. } => Self::Answer(text.clone()),
            Item::Call(call) => Self::Call(call.id.clone()),
            Item::Output { call_id, .. } => Self::Output(call_id.clone()),
            Item::Opaque { .. } => Self::Opaque,
        }
    }

    fn is(&self, item: &Item) -> bool {
        match (self, item) {
            (Self::Aloud, Item::User(_)) | (Self::Opaque, Item::Opaque { .. }) => true,
            (known, item) => *known == Self::of(item),
        }
    }
}

/// How many of `items` the provider has; `None` where it has others.
pub(super) fn matched(known: &[Known], items: &[Item]) -> Option<usize> {
    let mut rest = items;
    for known in known {
        match (known, rest) {
            (Known::Broken, _) => {
                while let [Item::Answer { .. }, more @ ..] = rest {
                    rest = more;
                }
            }
            (known, [item, more @ ..]) if known.is(item) => rest = more,
            _ => return None,
        }
    }
    Some(items.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> Item {
        Item::User(vec![Part::Text(text.into())])
    }

    fn answer(text: &str) -> Item {
        Item::Answer { text: text.into(), phase: None }
    }

    #[test]
    fn a_conversation_goes_on_where_what_is_known_is_the_beginning() {
        let items = [user("a"), answer("b"), user("c")];
        let known: Vec<_> = items[..2].iter().map(Known::of).collect();
        assert_eq!(matched(&known, &items), Some(2));
        assert_eq!(matched(&known, &items[1..]), None, "the beginning was forgotten");
        assert_eq!(
            matched(&[Known::Aloud, Known::Answer("b".into())], &items),
            Some(2),
            "it is written down now"
        );
        let broken = [Known::of(&items[0]), Known::Broken];
        assert_eq!(matched(&broken, &items), Some(2));
        assert_eq!(matched(&broken, &[user("a"), user("c")]), Some(1), "nothing came of it");
    }

    #[test]
    fn only_so_much_of_the_past_is_told_and_turns_stay_whole() {
        let long = "x".repeat(PAST_BYTES_MAX / 2);
        let items = [user("1"), answer(&long), user("2"), answer(&long), user("3")];
        assert_eq!(left_out(&items), 2);
        assert_eq!(left_out(&items[2..]), 0);
        let newest = [user("1"), user(&"x".repeat(2 * PAST_BYTES_MAX))];
        assert_eq!(left_out(&newest), 1);
        assert_eq!(left_out(&[]), 0);
    }

    #[test]
    fn what_was_said_aloud_is_sent_in_pieces_and_files_become_notes() {
        let data: Bytes = vec![7; PIECE_BYTES + 1].into();
        let item = Item::User(vec![
            Part::Text("listen".into()),
            Part::Sound { data, text: None },
            Part::File { name: "p.png".into(), mime_type: "image/png".into(), data: vec![1].into() },
        ]);
        let told = tell(&item);
        let kinds: Vec<_> = told.iter().map(|message| message["type"].as_str().unwrap()).collect();
        let append = "input_audio_buffer.append";
        assert_eq!(kinds, ["conversation.item.create", append, append, "input_audio_buffer.commit"]);
        assert_eq!(told[2]["audio"], STANDARD.encode([7]));
        assert!(told[0]["item"]["content"][1]["text"].as_str().unwrap().contains("image/png"));
        let noticed = Item::User(vec![Part::Sound { data: Bytes::new(), text: None }]);
        assert!(
            tell(&noticed)[0].to_string().contains("not written down"),
            "a new conversation never heard it"
        );
    }
}

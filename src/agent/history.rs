//! What a thread remembers, in no provider's own form.

use bytes::Bytes;
use serde_json::Value;

/// One piece of what a person or a job said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Text(String),
    File {
        name: String,
        mime_type: String,
        data: Bytes,
    },
    Link {
        name: Option<String>,
        url: String,
    },
    /// Something that was said aloud in the present turn, and what of it is written down. Empty where the provider heard
    /// it as it was said.
    Sound {
        data: Bytes,
        text: Option<String>,
    },
}

/// What was said aloud, as far as it is written down.
#[must_use]
pub fn written(text: Option<&str>) -> &str {
    text.unwrap_or("[something was said aloud here, which is not written down]")
}

impl Part {
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::File { data, .. } => data.len(),
            Self::Link { url, .. } => url.len(),
            Self::Sound { data, text } => data.len() + text.as_ref().map_or(0, String::len),
        }
    }
}

/// A tool call the model made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// What the provider calls the call; its output names it.
    pub id: String,
    /// Names the call in the thread; often the same.
    pub item_id: String,
    pub toolkit: String,
    pub tool: String,
    /// JSON text, as the model wrote it.
    pub arguments: String,
}

/// One entry of a thread.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    User(Vec<Part>),
    /// Text of the model; `phase` is `commentary` for notes before the end, `final_answer` for the end.
    Answer {
        text: String,
        phase: Option<String>,
    },
    Call(ToolCall),
    Output {
        call_id: String,
        text: String,
        /// Images and other files that the tool gave beside the text.
        files: Vec<Part>,
    },
    /// Something only `provider` understands (encrypted reasoning); given back to it unchanged, and never to another.
    Opaque {
        provider: String,
        value: Value,
    },
}

impl Item {
    /// What a tool call came to, in words.
    #[must_use]
    pub fn output(call_id: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Output { call_id: call_id.into(), text: text.into(), files: Vec::new() }
    }

    /// Something that only `provider` understands.
    #[must_use]
    pub fn opaque(provider: &str, value: Value) -> Self {
        Self::Opaque { provider: provider.to_owned(), value }
    }

    /// What `provider` alone understands, where it is its own.
    #[must_use]
    pub fn own(&self, of: &str) -> Option<&Value> {
        match self {
            Self::Opaque { provider, value } if provider == of => Some(value),
            _ => None,
        }
    }

    /// Roughly what it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::User(parts) => parts.iter().map(Part::bytes).sum(),
            Self::Answer { text, .. } => text.len(),
            Self::Output { text, files, .. } => text.len() + files.iter().map(Part::bytes).sum::<usize>(),
            Self::Call(call) => call.arguments.len(),
            Self::Opaque { value, .. } => value.to_string().len(),
        }
    }

    /// What was said aloud becomes what is written down of it.
    pub fn settle(&mut self) {
        let Self::User(parts) = self else { return };
        for part in parts {
            if let Part::Sound { text, .. } = part {
                *part = Part::Text(written(text.as_deref()).to_owned());
            }
        }
    }

    /// Replaces files by notes that they were there.
    fn note_files(&mut self) {
        let (Self::User(parts) | Self::Output { files: parts, .. }) = self else { return };
        for part in parts {
            if let Part::File { name, mime_type, data } = part {
                let size = data.len();
                *part =
                    Part::Text(format!("[file {name}, {mime_type}, {size} bytes, was here and is left out]"));
            }
        }
    }

    /// The text of a user item.
    #[must_use]
    pub fn user_text(&self) -> Option<String> {
        let Self::User(parts) = self else { return None };
        let texts = parts.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::File { name, data, .. } => format!("[file {name}, {} bytes]", data.len()),
            Part::Link { url, .. } => format!("[file {url}]"),
            Part::Sound { text, .. } => written(text.as_deref()).to_owned(),
        });
        Some(texts.collect::<Vec<_>>().join("\n"))
    }
}

/// Bytes of one thread that are kept; older turns are forgotten first.
pub const THREAD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Brings a thread within [`THREAD_BYTES_MAX`]: first the files before the newest turn become notes, the oldest first, then the
/// oldest turns are forgotten. A turn begins with a user item and goes as a whole; the newest is kept whatever its size.
pub fn trim(items: &mut Vec<Item>) {
    let mut total: usize = items.iter().map(Item::bytes).sum();
    let newest = items.iter().rposition(|item| matches!(item, Item::User(_))).unwrap_or(0);
    for item in items.iter_mut().take(newest) {
        if total <= THREAD_BYTES_MAX {
            return;
        }
        total -= item.bytes();
        item.note_files();
        total += item.bytes();
    }
    let mut newest = newest;
    while total > THREAD_BYTES_MAX && newest > 0 {
        let next = items.iter().skip(1).position(|item| matches!(item, Item::User(_)));
        let end = next.map_or(newest, |n| n + 1).min(newest);
        total -= items.drain(..end).map(|item| item.bytes()).sum::<usize>();
        newest -= end;
    }
}

/// Drops what only its provider understands where no answer or call follows it, from item `begin` on: providers refuse
/// reasoning that led to nothing.
pub fn drop_stray(items: &mut Vec<Item>, begin: usize) {
    let mut led_somewhere = false;
    for at in (begin..items.len()).rev() {
        match items.get(at) {
            Some(Item::Opaque { .. }) if !led_somewhere => {
                items.remove(at);
            }
            Some(Item::Opaque { .. }) => {}
            Some(item) => led_somewhere = matches!(item, Item::Answer { .. } | Item::Call(_)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_old_turns_are_forgotten_first() {
        let turn = |n: usize| {
            [
                Item::User(vec![Part::Text(n.to_string())]),
                Item::Answer { text: "x".repeat(THREAD_BYTES_MAX / 3), phase: None },
            ]
        };
        let mut items: Vec<_> = (0..4).flat_map(turn).collect();
        trim(&mut items);
        assert_eq!(items.len(), 4);
        assert_eq!(items[0].user_text().as_deref(), Some("2"));
    }

    #[test]
    fn a_large_file_does_not_make_a_thread_forget() {
        let data = vec![0; THREAD_BYTES_MAX + 1];
        let file = Part::File { name: "f.bin".into(), mime_type: "x/y".into(), data: data.into() };
        let answer = Item::Answer { text: "seen".into(), phase: None };
        let mut items = vec![Item::User(vec![file.clone()]), answer.clone()];
        trim(&mut items);
        assert_eq!(items, [Item::User(vec![file]), answer.clone()], "the newest turn stays whole");
        items.extend([Item::User(vec![Part::Text("more".into())]), answer]);
        trim(&mut items);
        assert_eq!(items.len(), 4);
        let noted = items[0].user_text().unwrap();
        assert!(noted.contains("f.bin") && noted.contains("left out"), "{noted}");
    }
}

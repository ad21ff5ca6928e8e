//! What a protocol makes of what is said to a program and heard from it. Pure: messages in, acts out.

use super::rpc::Heard;
use crate::agent::history::{Item, Part};
use crate::agent::provider::{ForeignCall, Said};
use crate::agent::tools::clip;
use crate::agent::turn::{Failure, Response};
use serde_json::{Map, Value, json};

/// Bytes of a call's arguments that are shown; of longer ones only that they are long.
const ARGUMENTS_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an earlier conversation that a program which does not know it is told.
const PAST_BYTES_MAX: usize = 64 * 1024;

/// Something to do for a program.
#[derive(Debug, PartialEq)]
pub enum Act {
    /// Write this message to it.
    Send(Value),
    Say(Said),
    /// It waits for [`Dialect::permit`].
    Ask(ForeignCall),
    /// It wants a file of its folder.
    File {
        id: Value,
        path: String,
        wanted: Wanted,
    },
    /// It is ready for turns, in this session, and remembers what was said there before where `resumed`.
    Opened {
        session: String,
        resumed: bool,
    },
    /// The turn is done.
    End(Result<Response, Failure>),
}

/// What is wanted of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Its text, from this line on (the first is 1), so many lines.
    Read {
        line: Option<u64>,
        limit: Option<u64>,
    },
    Write {
        text: String,
    },
}

/// A protocol. It has at most one turn at a time.
pub trait Dialect: Send {
    /// What the backend is called in events.
    fn name(&self) -> &'static str;

    /// A new program: begins the handshake, to go on with `session` where the program can.
    fn open(&mut self, session: Option<&str>) -> Vec<Act>;

    /// Begins a turn, after [`Act::Opened`].
    fn prompt(&mut self, parts: &[Part]) -> Vec<Act>;

    fn hear(&mut self, heard: Heard) -> Vec<Act>;

    /// What was asked is approved, or not. Nothing where it is not asked any more.
    fn permit(&mut self, item_id: &str, approved: bool) -> Vec<Act>;

    /// Stops the turn; [`Act::End`] follows when the program has stopped.
    fn cancel(&mut self) -> Vec<Act>;
}

/// Arguments as they are shown.
pub fn arguments(fields: &[(&str, Value)]) -> Map<String, Value> {
    let given = fields.iter().filter(|(_, value)| !value.is_null());
    let all: Map<String, Value> = given.map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let size = Value::Object(all.clone()).to_string().len();
    if size <= ARGUMENTS_BYTES_MAX {
        return all;
    }
    let left_out = json!(format!("[{size} bytes, left out]"));
    Map::from_iter([("input".to_owned(), left_out)])
}

/// Text as the result of a call.
pub fn result(text: String) -> Value {
    json!({"type": "text", "text": clip(text)})
}

/// What was said before, for a program that was not there.
pub fn past(history: &[Item]) -> Option<String> {
    let line = |item: &Item| match item {
        Item::User(_) => item.user_text().map(|text| format!("User: {text}")),
        Item::Answer { text, .. } => Some(format!("You: {text}")),
        Item::Call(_) | Item::Output { .. } | Item::Opaque { .. } => None,
    };
    let (mut lines, mut size) = (Vec::new(), 0);
    for text in history.iter().rev().filter_map(line) {
        size += text.len();
        if size > PAST_BYTES_MAX {
            lines.push("[what was said before that is left out]".to_owned());
            break;
        }
        lines.push(text);
    }
    lines.reverse();
    (!lines.is_empty()).then(|| {
        format!(
            "This conversation began earlier. What was said so far:\n\n{}\n\nIt goes on:",
            lines.join("\n\n")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_the_past_is_told() {
        assert_eq!(past(&[]), None);
        let user = |text: &str| Item::User(vec![Part::Text(text.into())]);
        let told = past(&[user("hello"), Item::Answer { text: "hi".into(), phase: None }]).unwrap();
        assert!(told.contains("User: hello\n\nYou: hi"), "{told}");
        let long = past(&[user(&"x".repeat(PAST_BYTES_MAX)), user("new")]).unwrap();
        assert!(
            long.contains("left out") && long.contains("User: new") && long.len() < 1000,
            "{}",
            long.len()
        );
    }

    #[test]
    fn long_arguments_are_left_out() {
        let short = arguments(&[("a", json!(1)), ("b", Value::Null)]);
        assert_eq!(Value::Object(short), json!({"a": 1}));
        let long = arguments(&[("a", json!("x".repeat(ARGUMENTS_BYTES_MAX)))]);
        assert!(long["input"].as_str().unwrap().contains("left out"));
    }
}

//! What a queue message asks for (process agents §8). Pure.

use super::path;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

/// Content items of one job.
const PARTS_MAX: usize = 64;

/// One piece of a turn's input, before files are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobPart {
    Text(String),
    /// A file of the room; `inline` puts its text in place, else it goes to the model as a file.
    RoomFile {
        path: String,
        inline: bool,
    },
    /// A file elsewhere, passed on by its address.
    Link {
        name: Option<String>,
        url: String,
    },
}

/// A job, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    pub parts: Vec<JobPart>,
    /// Thread to continue; a new one where absent.
    pub thread: Option<String>,
    pub model: Option<String>,
    pub instructions: Option<String>,
    pub sender_name: Option<String>,
}

/// Why a message is no job.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidJob {
    #[error(
        "content item {index} of the job is not valid: {reason}; want {{type:\"text\",text}} or {{type:\"file\",url}}"
    )]
    Item { index: usize, reason: &'static str },
    #[error("the job has more than {PARTS_MAX} content items; send fewer")]
    TooMany,
}

impl Job {
    /// Reads a message: an object with `prompt` or `content`, a text, or any other JSON, which becomes the text itself.
    pub fn read(message: &Value, now: DateTime<Utc>) -> Result<Self, InvalidJob> {
        let Value::Object(fields) = message else {
            let text = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
            return Ok(Self { parts: vec![JobPart::Text(text)], ..Self::default() });
        };
        let text = |key: &str| {
            fields.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty()).map(str::to_owned)
        };
        let mut parts = parts(fields)?;
        if let Some(file) = text("prompt_file") {
            let file = path::room_path(&path::expand(&file, now));
            parts.splice(0..0, file.map(|path| JobPart::RoomFile { path, inline: true }));
        }
        if parts.is_empty() {
            parts.push(JobPart::Text(message.to_string()));
        }
        Ok(Self {
            parts,
            thread: text("path").map(|p| path::expand(&p, now)),
            model: text("model"),
            instructions: text("instructions"),
            sender_name: text("sender_name").or_else(|| text("from")),
        })
    }
}

fn parts(fields: &Map<String, Value>) -> Result<Vec<JobPart>, InvalidJob> {
    let present = |key: &str| fields.get(key).filter(|v| !v.is_null());
    let (value, inline) = match (present("content"), present("prompt")) {
        (Some(content), _) => (content, false),
        (None, Some(prompt)) => (prompt, true),
        (None, None) => return Ok(Vec::new()),
    };
    if let Value::String(text) = value {
        return Ok(vec![JobPart::Text(text.clone())]);
    }
    let items = match value {
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    if items.len() > PARTS_MAX {
        return Err(InvalidJob::TooMany);
    }
    let mut parts = Vec::new();
    for (index, item) in items.iter().enumerate() {
        parts.extend(part(item, inline).map_err(|reason| InvalidJob::Item { index, reason })?);
    }
    Ok(parts)
}

/// One content item; none for a room file whose path is not allowed.
fn part(item: &Value, inline: bool) -> Result<Option<JobPart>, &'static str> {
    if let Value::String(text) = item {
        return Ok(Some(JobPart::Text(text.clone())));
    }
    let field = |key: &str| item.get(key).and_then(Value::as_str);
    match field("type").ok_or("it has no type")? {
        "text" => Ok(Some(JobPart::Text(field("text").ok_or("it has no text")?.to_owned()))),
        "file" | "audio" => {
            let url = field("url").ok_or("it has no url")?;
            if url.starts_with("room:") || !url.contains(':') {
                return Ok(path::room_path(url).map(|path| JobPart::RoomFile { path, inline }));
            }
            let name = field("name").map(str::to_owned);
            Ok(Some(JobPart::Link { name, url: url.to_owned() }))
        }
        _ => Err("its type is unknown"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use serde_json::json;

    fn read(message: Value) -> Job {
        Job::read(&message, Utc.with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap()).unwrap()
    }

    fn text(text: &str) -> JobPart {
        JobPart::Text(text.into())
    }

    #[test]
    fn all_payload_forms_of_the_reference_read() {
        assert_eq!(read(json!({"prompt": "hi"})).parts, [text("hi")]);
        assert_eq!(read(json!("hi")).parts, [text("hi")]);
        assert_eq!(read(json!([1, 2])).parts, [text("[1,2]")]);
        assert_eq!(read(json!({"other": 1})).parts, [text(r#"{"other":1}"#)]);
        let both = read(json!({"prompt": "p", "content": {"type": "text", "text": "c"}}));
        assert_eq!(both.parts, [text("c")], "content wins");
        let file = json!({"type": "file", "url": "room:///a/b.md"});
        let room = |inline| JobPart::RoomFile { path: "a/b.md".into(), inline };
        assert_eq!(read(json!({"prompt": ["x", file]})).parts, [text("x"), room(true)]);
        assert_eq!(read(json!({"content": [file]})).parts, [room(false)]);
        let link = json!({"type": "file", "url": "https://h/f", "name": "n"});
        let want = JobPart::Link { name: Some("n".into()), url: "https://h/f".into() };
        assert_eq!(read(json!({"prompt": link})).parts, [want]);
        assert_eq!(
            read(json!({"prompt": "p", "prompt_file": "{YYYY}/p.md"})).parts,
            [JobPart::RoomFile { path: "2026/p.md".into(), inline: true }, text("p")]
        );
    }

    #[test]
    fn thread_model_and_sender_are_taken_and_thread_id_is_not() {
        let job = read(json!({"prompt": "p", "path": "dataset://t/{MM}/{mm}", "model": "m",
            "instructions": "i", "from": "f", "thread_id": "no"}));
        assert_eq!(job.thread.as_deref(), Some("dataset://t/01/04"));
        assert_eq!((job.model.as_deref(), job.instructions.as_deref()), (Some("m"), Some("i")));
        assert_eq!(job.sender_name.as_deref(), Some("f"));
        let named = read(json!({"prompt": "p", "sender_name": "s", "from": "f", "model": " "}));
        assert_eq!((named.sender_name.as_deref(), named.model), (Some("s"), None));
        assert_eq!(read(json!({"prompt": "p", "thread_id": "x"})).thread, None);
    }

    #[test]
    fn bad_items_are_named_and_bad_paths_are_left_out() {
        let error = Job::read(&json!({"prompt": ["ok", {"type": "zap"}]}), DateTime::UNIX_EPOCH).unwrap_err();
        assert_eq!(error, InvalidJob::Item { index: 1, reason: "its type is unknown" });
        let escape = json!({"prompt": ["ok", {"type": "file", "url": "room:///../../etc"}]});
        assert_eq!(read(escape).parts, [text("ok")]);
    }
}

//! What a tool of a server gave: as text and files for a model, or as a content of a room.

use crate::error_code::RoomCode;
use crate::wire::Content;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};

/// Files that one result may have.
const FILES_MAX: usize = 16;
/// Bytes that the files of one result may have.
const FILES_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A result, for a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    pub text: String,
    /// Name, media type, content.
    pub files: Vec<(String, String, Bytes)>,
}

/// Texts joined by line ends, files apart; a structured result is its JSON. What cannot be shown is named in the text.
///
/// Error: the tool says that it failed, and what it says of that.
pub fn shown(result: &CallToolResult) -> Result<Shown, String> {
    let (mut texts, mut files, mut bytes) = (Vec::new(), Vec::new(), 0);
    for block in &result.content {
        let (kind, mime_type, data) = match block {
            ContentBlock::Text(text) => {
                texts.push(text.text.clone());
                continue;
            }
            ContentBlock::ResourceLink(link) => {
                texts.push(format!("[{}]({})", link.name, link.uri));
                continue;
            }
            ContentBlock::Resource(inside) => match &inside.resource {
                ResourceContents::TextResourceContents { text, .. } => {
                    texts.push(text.clone());
                    continue;
                }
                ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
                    let mime_type = mime_type.clone().unwrap_or_else(|| "application/octet-stream".into());
                    (uri.rsplit('/').next().unwrap_or("file"), mime_type, blob)
                }
                _ => continue,
            },
            ContentBlock::Image(image) => ("image", image.mime_type.clone(), &image.data),
            ContentBlock::Audio(audio) => ("audio", audio.mime_type.clone(), &audio.data),
            _ => continue,
        };
        let note = |why: &str| format!("[{kind} of type {mime_type} is left out: {why}]");
        match BASE64_STANDARD.decode(data.trim()) {
            Err(_) => texts.push(note("it is not valid Base64")),
            Ok(data) if files.len() >= FILES_MAX || bytes + data.len() > FILES_BYTES_MAX => {
                texts.push(note(&format!("it has {} bytes and is too much", data.len())));
            }
            Ok(data) => {
                bytes += data.len();
                files.push((kind.to_owned(), mime_type, Bytes::from(data)));
            }
        }
    }
    let text = texts.join("\n");
    if result.is_error == Some(true) {
        return Err(if text.is_empty() { "the tool failed and does not say why".into() } else { text });
    }
    let text = match &result.structured_content {
        Some(value) if text.is_empty() => value.to_string(),
        _ => text,
    };
    Ok(Shown { text, files })
}

/// Structured results are JSON, texts are text, anything else is the whole result as JSON.
#[must_use]
pub fn room_content(result: &CallToolResult) -> Content {
    if result.is_error == Some(true) {
        return Content::error(RoomCode::OperationFailed, shown(result).err().unwrap_or_default());
    }
    if let Some(value) = &result.structured_content {
        return Content::Json(value.clone());
    }
    let texts: Option<Vec<&str>> =
        result.content.iter().map(|block| block.as_text().map(|text| text.text.as_str())).collect();
    match texts {
        Some(texts) if texts.is_empty() => Content::Empty,
        Some(texts) => Content::Text(texts.join("\n")),
        None => Content::Json(serde_json::to_value(result).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn result(value: Value) -> CallToolResult {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn texts_files_and_structured_results_are_shown() {
        let image = json!({"type": "image", "data": "aGk=", "mimeType": "image/png"});
        let text = json!({"type": "text", "text": "hello"});
        let link = json!({"type": "resource_link", "uri": "https://x.test/a", "name": "a"});
        let inside = json!({"type": "resource", "resource": {"uri": "file:///t", "text": "inside"}});
        let given = shown(&result(json!({"content": [text, image, link, inside]}))).unwrap();
        assert_eq!(given.text, "hello\n[a](https://x.test/a)\ninside");
        assert_eq!(given.files, [("image".into(), "image/png".into(), Bytes::from_static(b"hi"))]);
        let given = shown(&result(json!({"content": [], "structuredContent": {"n": 1}}))).unwrap();
        assert_eq!(given.text, r#"{"n":1}"#);
    }

    #[test]
    fn what_cannot_be_shown_is_named_and_a_failure_is_one() {
        let bad = json!({"type": "image", "data": "%%%", "mimeType": "image/png"});
        let given = shown(&result(json!({"content": [bad]}))).unwrap();
        assert!(given.text.contains("not valid Base64") && given.files.is_empty(), "{}", given.text);
        let data = BASE64_STANDARD.encode(vec![0; FILES_BYTES_MAX + 1]);
        let big = json!({"type": "audio", "data": data, "mimeType": "audio/wav"});
        let given = shown(&result(json!({"content": [big]}))).unwrap();
        assert!(given.text.contains("too much") && given.files.is_empty(), "{}", given.text);
        let failed = result(json!({"isError": true, "content": [{"type": "text", "text": "broke"}]}));
        assert_eq!(shown(&failed).unwrap_err(), "broke");
        let silent = shown(&result(json!({"isError": true, "content": []})));
        assert!(silent.unwrap_err().contains("does not say why"));
    }

    #[test]
    fn a_room_gets_json_text_or_the_whole_result() {
        let of = |value| room_content(&result(value));
        assert_eq!(of(json!({"content": []})), Content::Empty);
        assert_eq!(of(json!({"content": [], "structuredContent": [1]})), Content::Json(json!([1])));
        assert_eq!(of(json!({"content": [{"type": "text", "text": "a"}]})), Content::Text("a".into()));
        let image = json!({"type": "image", "data": "aGk=", "mimeType": "image/png"});
        assert!(matches!(of(json!({"content": [image]})), Content::Json(_)));
        assert!(matches!(of(json!({"isError": true, "content": []})), Content::Error { .. }));
    }
}

//! Contents: what tool calls take and give. A JSON header with a `type`, and bytes for some types.

use crate::error_code::RoomCode;
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// Close status of a stream that ended well.
pub const STATUS_NORMAL: u16 = 1000;
/// Close status of a stream whose data were refused.
pub const STATUS_INVALID_DATA: u16 = 1007;

/// One input or output item of a tool call.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Json(Value),
    Text(String),
    Empty,
    File { name: String, mime_type: String, data: Bytes },
    Binary { headers: Map<String, Value>, data: Bytes },
    Link { name: String, url: String },
    Error { text: String, code: Option<u16> },
    Control(Control),
    Raw(Vec<Value>),
}

/// Marks where a stream begins and ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    Open,
    Close { status: u16, message: Option<String> },
}

impl Control {
    pub const END: Control = Control::Close { status: STATUS_NORMAL, message: None };
}

/// Why a header is no content; `INVALID_REQUEST` (1002) on the wire.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    #[error("content is missing its `type`")]
    NoType,
    #[error("unknown content type `{0}`")]
    UnknownType(String),
    #[error("{kind} content is missing required field '{field}'")]
    MissingField { kind: &'static str, field: &'static str },
}

impl Content {
    #[must_use]
    pub fn error(code: RoomCode, text: impl Into<String>) -> Self {
        Self::Error { text: text.into(), code: Some(code.number()) }
    }

    /// A `binary` content whose headers are the fields of `headers`, which must be a JSON object.
    #[must_use]
    pub fn binary(headers: Value, data: Bytes) -> Self {
        let Value::Object(headers) = headers else {
            return Self::Binary { headers: Map::new(), data };
        };
        Self::Binary { headers, data }
    }

    /// The `kind` field of a `binary` content's headers, by which streaming tools tell items apart.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        match self {
            Self::Binary { headers, .. } => headers.get("kind")?.as_str(),
            Self::Json(value) => value.get("kind")?.as_str(),
            _ => None,
        }
    }

    /// Reads a content from its header and bytes.
    pub fn from_parts(header: &Map<String, Value>, data: Bytes) -> Result<Self, ContentError> {
        let kind = header.get("type").and_then(Value::as_str).ok_or(ContentError::NoType)?;
        Ok(match kind {
            "json" => Self::Json(header.get("json").cloned().ok_or(missing("json", "json"))?),
            "text" => Self::Text(text(header, "text", "text")?),
            "empty" => Self::Empty,
            "file" => Self::File {
                name: text(header, "file", "name")?,
                mime_type: text(header, "file", "mime_type")?,
                data,
            },
            "binary" => match header.get("headers") {
                Some(Value::Object(headers)) => Self::Binary { headers: headers.clone(), data },
                _ => return Err(missing("binary", "headers")),
            },
            "link" => Self::Link { name: text(header, "link", "name")?, url: text(header, "link", "url")? },
            "error" => Self::Error {
                text: text(header, "error", "text")?,
                code: header.get("code").and_then(Value::as_u64).and_then(|c| u16::try_from(c).ok()),
            },
            "control" => Self::Control(control(header)?),
            "raw" => match header.get("outputs") {
                Some(Value::Array(outputs)) => Self::Raw(outputs.clone()),
                _ => return Err(missing("raw", "outputs")),
            },
            other => return Err(ContentError::UnknownType(other.to_owned())),
        })
    }

    /// Splits a content into its header and bytes.
    #[must_use]
    pub fn into_parts(self) -> (Map<String, Value>, Bytes) {
        let mut bytes = Bytes::new();
        let header = match self {
            Self::Json(value) => json!({"type": "json", "json": value}),
            Self::Text(text) => json!({"type": "text", "text": text}),
            Self::Empty => json!({"type": "empty"}),
            Self::File { name, mime_type, data } => {
                bytes = data;
                json!({"type": "file", "name": name, "mime_type": mime_type})
            }
            Self::Binary { headers, data } => {
                bytes = data;
                json!({"type": "binary", "headers": headers})
            }
            Self::Link { name, url } => json!({"type": "link", "name": name, "url": url}),
            Self::Error { text, code: None } => json!({"type": "error", "text": text}),
            Self::Error { text, code: Some(code) } => {
                json!({"type": "error", "text": text, "code": code})
            }
            Self::Control(Control::Open) => json!({"type": "control", "method": "open"}),
            Self::Control(Control::Close { status, message: None }) => {
                json!({"type": "control", "method": "close", "status_code": status})
            }
            Self::Control(Control::Close { status, message: Some(message) }) => {
                json!({"type": "control", "method": "close", "status_code": status, "message": message})
            }
            Self::Raw(outputs) => json!({"type": "raw", "outputs": outputs}),
        };
        match header {
            Value::Object(map) => (map, bytes),
            _ => (Map::new(), bytes),
        }
    }

    /// Packs this content as a whole payload (`__response__`, `room.tool_call_response`).
    #[must_use]
    pub fn pack(self) -> Bytes {
        let (header, data) = self.into_parts();
        super::pack_map(&header, &data)
    }
}

fn missing(kind: &'static str, field: &'static str) -> ContentError {
    ContentError::MissingField { kind, field }
}

fn text(
    header: &Map<String, Value>,
    kind: &'static str,
    field: &'static str,
) -> Result<String, ContentError> {
    header.get(field).and_then(Value::as_str).map(str::to_owned).ok_or(missing(kind, field))
}

fn control(header: &Map<String, Value>) -> Result<Control, ContentError> {
    match header.get("method").and_then(Value::as_str) {
        Some("open") => Ok(Control::Open),
        Some("close") => {
            let status = header
                .get("status_code")
                .and_then(Value::as_u64)
                .and_then(|s| u16::try_from(s).ok())
                .unwrap_or(STATUS_NORMAL);
            let message = header.get("message").and_then(Value::as_str).map(str::to_owned);
            Ok(Control::Close { status, message })
        }
        _ => Err(missing("control", "method")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(content: &Content) {
        let (header, data) = content.clone().into_parts();
        assert_eq!(&Content::from_parts(&header, data).unwrap(), content);
    }

    #[test]
    fn every_type_round_trips() {
        let data = Bytes::from_static(b"data");
        for content in [
            Content::Json(json!({"a": [1, null]})),
            Content::Text("hello".into()),
            Content::Empty,
            Content::File { name: "f".into(), mime_type: "a/b".into(), data: data.clone() },
            Content::binary(json!({"kind": "data"}), data),
            Content::Link { name: "n".into(), url: "u".into() },
            Content::Error { text: "no".into(), code: None },
            Content::error(RoomCode::NotFound, "nope"),
            Content::Control(Control::Open),
            Content::Control(Control::END),
            Content::Control(Control::Close { status: 1007, message: Some("bad".into()) }),
            Content::Raw(vec![json!({})]),
        ] {
            round_trip(&content);
        }
    }

    #[test]
    fn headers_read_as_the_reference_prints_them() {
        let (header, _) = Content::Control(Control::END).into_parts();
        assert_eq!(Value::Object(header), json!({"type": "control", "method": "close", "status_code": 1000}));
    }

    #[test]
    fn what_is_wrong_with_a_header_is_said() {
        let read =
            |v: Value| Content::from_parts(v.as_object().unwrap(), Bytes::new()).unwrap_err().to_string();
        assert_eq!(read(json!({})), "content is missing its `type`");
        assert_eq!(read(json!({"type": "json"})), "json content is missing required field 'json'");
        assert_eq!(read(json!({"type": "zap"})), "unknown content type `zap`");
    }
}

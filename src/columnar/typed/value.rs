//! One value, and its two forms in JSON.

use super::{DEPTH_MAX, Form};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Typed {
    Null,
    Bool(bool),
    Int(i64),
    /// Only for what no `i64` holds.
    UInt(u64),
    Float(f64),
    Text(String),
    Binary(Vec<u8>),
    Uuid(Uuid),
    Date(NaiveDate),
    /// Wall time; of UTC where `utc` is set.
    Timestamp {
        at: NaiveDateTime,
        utc: bool,
    },
    List(Vec<Typed>),
    Struct(Vec<(String, Typed)>),
    Json(Value),
}

impl Typed {
    /// Reads a value; the error says what is wrong with it.
    pub fn read(value: &Value, form: Form) -> Result<Self, String> {
        Self::read_at(value, form, 0)
    }

    fn read_at(value: &Value, form: Form, depth: usize) -> Result<Self, String> {
        if depth > DEPTH_MAX {
            return Err(format!("values are nested more than {DEPTH_MAX} deep"));
        }
        let inner = |value: &Value| Self::read_at(value, form, depth + 1);
        Ok(match (value, form) {
            (Value::Null, _) => Self::Null,
            (Value::Bool(b), _) => Self::Bool(*b),
            (Value::Number(n), _) => n
                .as_i64()
                .map(Self::Int)
                .or_else(|| n.as_u64().map(Self::UInt))
                .or_else(|| n.as_f64().map(Self::Float))
                .ok_or_else(|| format!("the number {n} is out of range"))?,
            (Value::String(text), _) => Self::Text(text.clone()),
            (Value::Array(items), Form::Plain) => {
                Self::List(items.iter().map(inner).collect::<Result<_, _>>()?)
            }
            (Value::Array(_), Form::Wrapped) => {
                return Err("a list is written {\"list\": […]}, not as a bare array".into());
            }
            (Value::Object(fields), Form::Plain) => Self::Struct(pairs(fields, inner)?),
            (Value::Object(fields), Form::Wrapped) => {
                let mut entries = fields.iter();
                let (Some((wrapper, payload)), None) = (entries.next(), entries.next()) else {
                    return Err("an object must have one key, the name of the value's type".into());
                };
                wrapped(wrapper, payload, inner)?
            }
        })
    }

    /// Writes the value.
    #[must_use]
    pub fn json(&self, form: Form) -> Value {
        let wrap = |wrapper: &str, payload: Value| match form {
            Form::Wrapped => json!({ wrapper: payload }),
            Form::Plain => payload,
        };
        match self {
            Self::Null => Value::Null,
            Self::Bool(b) => (*b).into(),
            Self::Int(n) => (*n).into(),
            Self::UInt(n) => (*n).into(),
            // JSON has no NaN and no infinity.
            Self::Float(n) => (*n).into(),
            Self::Text(text) => text.clone().into(),
            Self::Binary(bytes) => wrap("binary", BASE64.encode(bytes).into()),
            Self::Uuid(id) => wrap("uuid", id.to_string().into()),
            Self::Date(date) => wrap("date", date.format("%Y-%m-%d").to_string().into()),
            Self::Timestamp { at, utc } => wrap("timestamp", timestamp_text(*at, *utc).into()),
            Self::List(items) => wrap("list", items.iter().map(|item| item.json(form)).collect()),
            Self::Struct(fields) => {
                let fields = fields.iter().map(|(name, value)| (name.clone(), value.json(form)));
                wrap("struct", Value::Object(fields.collect()))
            }
            Self::Json(value) => wrap("json", value.clone()),
        }
    }

    /// What it is, for errors and for what types go together.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a bool",
            Self::Int(_) | Self::UInt(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::Binary(_) => "binary",
            Self::Uuid(_) => "a uuid",
            Self::Date(_) => "a date",
            Self::Timestamp { .. } => "a timestamp",
            Self::List(_) => "a list",
            Self::Struct(_) => "a struct",
            Self::Json(_) => "json",
        }
    }
}

fn pairs(
    fields: &Map<String, Value>,
    inner: impl Fn(&Value) -> Result<Typed, String>,
) -> Result<Vec<(String, Typed)>, String> {
    fields.iter().map(|(name, value)| Ok((name.clone(), inner(value)?))).collect()
}

fn wrapped(
    wrapper: &str,
    payload: &Value,
    inner: impl Fn(&Value) -> Result<Typed, String>,
) -> Result<Typed, String> {
    let text = || payload.as_str().ok_or_else(|| format!("the payload of `{wrapper}` must be text"));
    Ok(match wrapper {
        "binary" => {
            let bytes = BASE64.decode(text()?).map_err(|error| format!("`binary` is not base64: {error}"))?;
            Typed::Binary(bytes)
        }
        "uuid" => Typed::Uuid(Uuid::parse_str(text()?).map_err(|error| format!("`uuid` is none: {error}"))?),
        "date" => Typed::Date(read_date(text()?)?),
        "timestamp" => {
            let (at, utc) = read_timestamp(text()?)?;
            Typed::Timestamp { at, utc }
        }
        "list" => {
            let items = payload.as_array().ok_or("the payload of `list` must be an array")?;
            Typed::List(items.iter().map(inner).collect::<Result<_, _>>()?)
        }
        "struct" => {
            let fields = payload.as_object().ok_or("the payload of `struct` must be an object")?;
            Typed::Struct(pairs(fields, inner)?)
        }
        "json" => Typed::Json(payload.clone()),
        "expression" => return Err("an `expression` stands only in the values of an update".into()),
        other => return Err(format!("there is no value type `{other}`")),
    })
}

pub(super) fn read_date(text: &str) -> Result<NaiveDate, String> {
    text.parse().map_err(|_| format!("`{text}` is no date; write YYYY-MM-DD"))
}

/// An ISO time, and whether it tells its distance from UTC; with it, the time is UTC's.
pub(super) fn read_timestamp(text: &str) -> Result<(NaiveDateTime, bool), String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok((at.naive_utc(), true));
    }
    let naive = text.replacen(' ', "T", 1).parse::<NaiveDateTime>().ok();
    let naive = naive.or_else(|| read_date(text).ok().and_then(|date| date.and_hms_opt(0, 0, 0)));
    naive.map(|at| (at, false)).ok_or_else(|| format!("`{text}` is no ISO timestamp"))
}

fn timestamp_text(at: NaiveDateTime, utc: bool) -> String {
    let text = at.and_utc().to_rfc3339_opts(SecondsFormat::AutoSi, true);
    if utc { text } else { text.trim_end_matches('Z').to_owned() }
}

//! Bodies of requests: which models they name, and their outermost members to change without touching the rest.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::fmt;

/// Most models that one body may name.
pub const MODELS_MAX: usize = 100;

/// Why a body is not passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the body is no JSON object: {0}")]
    NotJson(String),
    /// Two parsers may read two different requests out of it.
    #[error("the body has `{0}` twice; give it once")]
    Twice(String),
    #[error("the body's `{0}` is not text")]
    NotText(&'static str),
    #[error("the multipart body cannot be read: {0}")]
    Multipart(&'static str),
    #[error("the body has the content type `{0}`; send JSON or multipart/form-data")]
    Type(String),
    #[error("the body names more than {MODELS_MAX} models")]
    Many,
}

/// The members of a JSON object in their order, each as it was written.
#[derive(Debug, Clone)]
pub struct Fields(Vec<(String, Box<RawValue>)>);

impl Fields {
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let fields: Self =
            serde_json::from_slice(bytes).map_err(|error| Malformed::NotJson(error.to_string()))?;
        let mut seen = BTreeSet::new();
        match fields.0.iter().find(|(name, _)| !seen.insert(name.as_str())) {
            Some((twice, _)) => Err(Malformed::Twice(twice.chars().take(64).collect())),
            None => Ok(fields),
        }
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// A member as a value; `None` where it is absent or null.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Value> {
        let value: Value = serde_json::from_str(self.get(name)?.get()).ok()?;
        (!value.is_null()).then_some(value)
    }

    /// A member that must be text, where it is there.
    pub fn text(&self, name: &'static str) -> Result<Option<String>, Malformed> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Malformed::NotText(name)),
        }
    }

    /// Changes a member, or adds it at the end.
    pub fn set(&mut self, name: &str, value: &Value) {
        let Ok(raw) = serde_json::value::to_raw_value(value) else { return };
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = raw,
            None => self.0.push((name.to_owned(), raw)),
        }
    }

    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.iter().map(|(n, v)| n.len() + v.get().len() + 4).sum());
        out.push(b'{');
        for (n, (name, value)) in self.0.iter().enumerate() {
            out.extend_from_slice(if n == 0 { b"" } else { b"," });
            out.extend_from_slice(Value::from(name.as_str()).to_string().as_bytes());
            out.push(b':');
            out.extend_from_slice(value.get().as_bytes());
        }
        out.push(b'}');
        out
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut all = Vec::new();
                while let Some(member) = map.next_entry::<String, Box<RawValue>>()? {
                    all.push(member);
                }
                Ok(Fields(all))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// Every text under the name `model`, however deep.
pub fn nested_models(value: &Value) -> Result<BTreeSet<String>, Malformed> {
    let (mut found, mut open) = (BTreeSet::new(), vec![value]);
    while let Some(value) = open.pop() {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(model)) = map.get("model") {
                    found.insert(model.clone());
                }
                open.extend(map.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    if found.len() > MODELS_MAX { Err(Malformed::Many) } else { Ok(found) }
}

/// The field `model` of a form.
pub fn form_model(content_type: &str, body: &[u8]) -> Result<Option<String>, Malformed> {
    let boundary = content_type
        .split(';')
        .filter_map(|part| part.trim().split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("boundary"))
        .map(|(_, value)| value.trim_matches('"'))
        .filter(|boundary| (1..=70).contains(&boundary.len()))
        .ok_or(Malformed::Multipart("the content type names no boundary"))?;
    let delimiter = format!("--{boundary}");
    let mut model = None;
    for part in split(body, delimiter.as_bytes()).into_iter().skip(1) {
        let Some(part) = part.strip_prefix(b"\r\n") else { continue };
        let at = find(part, b"\r\n\r\n").ok_or(Malformed::Multipart("a part has no end of its headers"))?;
        let (head, rest) = part.split_at(at);
        let head = std::str::from_utf8(head).map_err(|_| Malformed::Multipart("a header is no text"))?;
        if !is_named_model(head) {
            continue;
        }
        let value = rest.strip_prefix(b"\r\n\r\n").unwrap_or(rest);
        let value = value.strip_suffix(b"\r\n").unwrap_or(value);
        let value = std::str::from_utf8(value).map_err(|_| Malformed::NotText("model"))?;
        if model.replace(value.trim().to_owned()).is_some() {
            return Err(Malformed::Twice("model".to_owned()));
        }
    }
    Ok(model)
}

fn is_named_model(head: &str) -> bool {
    head.split("\r\n").any(|line| {
        let Some((name, value)) = line.split_once(':') else { return false };
        name.trim().eq_ignore_ascii_case("content-disposition")
            && value.split(';').map(str::trim).any(|parameter| {
                let Some((name, value)) = parameter.split_once('=') else { return false };
                let name = name.trim();
                (name.eq_ignore_ascii_case("name") || name.eq_ignore_ascii_case("name*"))
                    && value.trim().trim_matches('"').trim().eq_ignore_ascii_case("model")
            })
    })
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn split<'a>(mut bytes: &'a [u8], by: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = find(bytes, by) {
        parts.push(&bytes[..at]);
        bytes = &bytes[at + by.len()..];
    }
    parts.push(bytes);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_changed_body_keeps_order_and_text_of_the_rest() {
        let text = r#"{"z": 1.10, "model":"m", "tools": [{"b": 1, "a": 2}], "input": "ü\u0041"}"#;
        let mut fields = Fields::parse(text.as_bytes()).unwrap();
        assert_eq!(fields.text("model").unwrap().as_deref(), Some("m"));
        fields.set("stream_options", &json!({"include_usage": true}));
        fields.set("model", &json!("n"));
        let out = String::from_utf8(fields.to_bytes()).unwrap();
        let want = r#"{"z":1.10,"model":"n","tools":[{"b": 1, "a": 2}],"input":"ü\u0041","stream_options":{"include_usage":true}}"#;
        assert_eq!(out, want);
    }

    #[test]
    fn bodies_that_two_parsers_may_read_differently_are_refused() {
        for (text, why) in [
            (r#"{"model": "a", "model": "b"}"#, "twice"),
            (r#"{"model": "a", "mod\u0065l": "b"}"#, "twice"),
            ("[1]", "no JSON object"),
            ("{", "no JSON object"),
            ("", "no JSON object"),
        ] {
            let error = Fields::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let fields = Fields::parse(br#"{"model": 1}"#).unwrap();
        assert_eq!(fields.text("model").unwrap_err(), Malformed::NotText("model"));
    }

    #[test]
    fn models_are_found_below_the_top() {
        let body =
            json!({"requests": [{"params": {"model": "a"}}, {"params": {"model": "b", "x": {"model": 1}}}]});
        assert_eq!(nested_models(&body).unwrap().into_iter().collect::<Vec<_>>(), ["a", "b"]);
        let many: Vec<Value> = (0..200).map(|n| json!({"model": n.to_string()})).collect();
        assert_eq!(nested_models(&json!(many)).unwrap_err(), Malformed::Many);
    }

    #[test]
    fn the_model_of_a_form_is_found() {
        let form = |parts: &str| parts.replace('\n', "\r\n");
        let kind = "multipart/form-data; boundary=\"b-1\"";
        let body = form(
            "--b-1\nContent-Disposition: form-data; name=\"file\"; filename=\"model\"\n\nname=\"model\"\n--b-1\ncontent-disposition: form-data; name=\"model\"\n\nwhisper-1\n--b-1--\n",
        );
        assert_eq!(form_model(kind, body.as_bytes()).unwrap().as_deref(), Some("whisper-1"));
        let twice = form(
            "--b-1\nContent-Disposition: form-data; name=model\n\na\n--b-1\nContent-Disposition: form-data; name=\"model\"\n\nb\n--b-1--",
        );
        assert!(matches!(form_model(kind, twice.as_bytes()), Err(Malformed::Twice(_))));
        assert!(form_model("multipart/form-data", b"").is_err());
        assert_eq!(form_model(kind, b"nonsense").unwrap(), None);
        assert!(form_model(kind, b"--b-1\r\nno end").is_err());
    }
}

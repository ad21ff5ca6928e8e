//! Bodies of requests: which models they name, and their outermost members to change without touching the rest.

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

/// Most models that one body may name.
pub const MODELS_MAX: usize = 100;
/// Most values of members that are read: each takes far more in memory than its text.
pub const VALUES_MAX: usize = 200_000;

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
    #[error("the body's `{0}` has too many values to be looked at: more than {VALUES_MAX}; send fewer")]
    Values(String),
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
        let mut left = VALUES_MAX;
        self.read(name, &mut left).ok()?.filter(|value| !value.is_null())
    }

    /// A member as a value, or an error where it cannot be read. What it has of values is taken from those that are `left`.
    pub fn read(&self, name: &str, left: &mut usize) -> Result<Option<Value>, Malformed> {
        let Some(raw) = self.get(name) else { return Ok(None) };
        take(raw, left, name)?;
        serde_json::from_str(raw.get()).map(Some).map_err(|error| Malformed::NotJson(error.to_string()))
    }

    /// Whether a member is there that is neither null nor false.
    #[must_use]
    pub fn is_asked_for(&self, name: &str) -> bool {
        self.get(name).is_some_and(|raw| !["null", "false"].contains(&raw.get()))
    }

    /// A member that must be text, where it is there.
    pub fn text(&self, name: &'static str) -> Result<Option<String>, Malformed> {
        let Some(raw) = self.get(name) else { return Ok(None) };
        serde_json::from_str(raw.get()).map_err(|_| Malformed::NotText(name))
    }

    /// Bytes of all members together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.get().len()).sum()
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

/// Every text under the name `model`, however deep, and however often it is there.
pub fn nested_models(json: &[u8]) -> Result<BTreeSet<String>, Malformed> {
    let mut found = BTreeSet::new();
    let mut reader = serde_json::Deserializer::from_slice(json);
    let read =
        Nested { found: &mut found, named: false }.deserialize(&mut reader).and_then(|()| reader.end());
    if found.len() > MODELS_MAX {
        return Err(Malformed::Many);
    }
    read.map(|()| found).map_err(|error| Malformed::NotJson(error.to_string()))
}

/// Reads one value without keeping it.
struct Nested<'a> {
    found: &'a mut BTreeSet<String>,
    /// It stands under the name `model`.
    named: bool,
}

impl<'de> DeserializeSeed<'de> for Nested<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        if self.named {
            self.found.insert(text.to_owned());
        }
        if self.found.len() > MODELS_MAX { Err(E::custom(Malformed::Many)) } else { Ok(()) }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'_, str>>()? {
            map.next_value_seed(Nested { found: &mut *self.found, named: name == "model" })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Nested { found: &mut *self.found, named: false })?.is_some() {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
}

/// How many values a text in JSON has, or some more; never more than its bytes without spaces.
#[must_use]
pub fn values(text: &[u8]) -> usize {
    let (mut values, mut within, mut escaped) = (1_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = within,
            b'"' => within = !within,
            // Each stands before one value at least, or is an empty list.
            b',' | b'[' | b'{' if !within => values += 1,
            _ => {}
        }
    }
    values
}

/// Takes the values that a member has from those that are left.
fn take(raw: &RawValue, left: &mut usize, name: &str) -> Result<(), Malformed> {
    let known = || name.chars().take(64).collect();
    *left = left.checked_sub(values(raw.get().as_bytes())).ok_or_else(|| Malformed::Values(known()))?;
    Ok(())
}

/// The models that a body's tools name.
pub fn tool_models(fields: &Fields) -> Result<BTreeSet<String>, Malformed> {
    #[derive(Deserialize)]
    struct Tool {
        #[serde(default)]
        model: Option<Value>,
    }
    let Some(tools) = fields.get("tools") else { return Ok(BTreeSet::new()) };
    let mut left = VALUES_MAX;
    take(tools, &mut left, "tools")?;
    let tools: Option<Vec<Tool>> =
        serde_json::from_str(tools.get()).map_err(|error| Malformed::NotJson(error.to_string()))?;
    let mut found = BTreeSet::new();
    for model in tools.into_iter().flatten().filter_map(|tool| tool.model) {
        let Value::String(model) = model else { return Err(Malformed::NotText("model")) };
        found.insert(model);
    }
    if found.len() > MODELS_MAX { Err(Malformed::Many) } else { Ok(found) }
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
    fn what_has_too_many_values_is_not_read() {
        let body =
            |count: usize| json!({"input": vec![0; count], "text": ",[{\"".repeat(VALUES_MAX)}).to_string();
        let few = Fields::parse(body(VALUES_MAX / 2).as_bytes()).unwrap();
        let mut left = VALUES_MAX;
        assert!(
            few.read("input", &mut left).unwrap().is_some() && few.read("text", &mut left).unwrap().is_some()
        );
        assert_eq!(few.read("input", &mut left).unwrap_err(), Malformed::Values("input".to_owned()));
        let many = Fields::parse(body(VALUES_MAX).as_bytes()).unwrap();
        assert!(many.value("input").is_none());
        let model = json!({"model": vec![0; VALUES_MAX], "tools": vec![json!({}); VALUES_MAX]}).to_string();
        let model = Fields::parse(model.as_bytes()).unwrap();
        assert_eq!(model.text("model").unwrap_err(), Malformed::NotText("model"), "it is no absent one");
        assert_eq!(tool_models(&model).unwrap_err(), Malformed::Values("tools".to_owned()));
    }

    #[test]
    fn models_are_found_below_the_top() {
        let body =
            json!({"requests": [{"params": {"model": "a"}}, {"params": {"model": "b", "x": {"model": 1}}}]});
        let found =
            |text: &str| nested_models(text.as_bytes()).map(|all| all.into_iter().collect::<Vec<_>>());
        assert_eq!(found(&body.to_string()).unwrap(), ["a", "b"]);
        assert_eq!(
            found(r#"[{"model": "a", "mod\u0065l": "b", "z": [null, 1.5, -1, true]}]"#).unwrap(),
            ["a", "b"]
        );
        let many: Vec<Value> = (0..200).map(|n| json!({"model": n.to_string()})).collect();
        assert_eq!(found(&json!(many).to_string()).unwrap_err(), Malformed::Many);
        assert!(found("{\"model\":").is_err() && found("{} {}").is_err());
    }

    #[test]
    fn the_models_of_tools_are_found() {
        let found = |text: &str| tool_models(&Fields::parse(text.as_bytes()).unwrap());
        let some = r#"{"tools": [{"type": "f", "parameters": {"model": "x"}}, {"type": "image", "model": "gpt-image-1"}]}"#;
        assert_eq!(found(some).unwrap().into_iter().collect::<Vec<_>>(), ["gpt-image-1"]);
        assert!(found("{}").unwrap().is_empty() && found(r#"{"tools": null}"#).unwrap().is_empty());
        for bad in [
            r#"{"tools": [{"model": 1}]}"#,
            r#"{"tools": [{"model": "a", "model": "b"}]}"#,
            r#"{"tools": {"model": "a"}}"#,
        ] {
            assert!(found(bad).is_err(), "{bad}");
        }
    }
}

//! Texts of the command line that are more than texts: JSON, key=value pairs, files or stdin.

use super::error::CliError;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// Largest file or stdin read as a document, bytes.
const DOCUMENT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A JSON value as an argument.
pub fn json_value(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| {
        format!("not JSON: {error}; quote it for the shell, for example '{{\"prompt\": \"hello\"}}'")
    })
}

/// A JSON object as an argument.
pub fn json_object(text: &str) -> Result<Map<String, Value>, String> {
    match json_value(text)? {
        Value::Object(object) => Ok(object),
        other => Err(format!("want a JSON object such as {{\"key\": \"value\"}}, not `{other}`")),
    }
}

/// A JSON object whose values are texts, as an argument.
pub fn annotations(text: &str) -> Result<BTreeMap<String, String>, String> {
    let texts = json_object(text)?.into_iter().map(|(key, value)| match value {
        Value::String(text) => Ok((key, text)),
        other => Err(format!("annotation values are texts; `{key}` is {other}")),
    });
    texts.collect()
}

/// `KEY=VALUE` as an argument.
pub fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("want KEY=VALUE".into()),
    }
}

/// Reads a text file; `-` is stdin.
pub fn read_text(path: &Path) -> Result<String, CliError> {
    let failed = |error: std::io::Error| {
        CliError::user(format!("cannot read {}: {error}", path.display()))
            .hint("check the path; `-` reads from stdin")
    };
    let mut text = String::new();
    let reader: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(failed)?)
    };
    let read = reader.take(DOCUMENT_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if read as u64 > DOCUMENT_BYTES_MAX {
        return Err(CliError::user(format!("{} is larger than 16 MiB", path.display())));
    }
    Ok(text)
}

/// The nearest of these names to what was written, if one is near enough to be meant.
pub fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const NEAR: f64 = 0.75;
    let score = |name: &str| match strsim::damerau_levenshtein(written, name) {
        // One slip of the finger, which weighs much in a short name.
        0 | 1 => 1.0,
        _ => strsim::jaro_winkler(written, name),
    };
    let scored = names.into_iter().map(|name| (score(name), name));
    scored.filter(|(score, _)| *score >= NEAR).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

/// `500ms`, `30s`, `2m`, `1h`, or seconds without a unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let wrong = || format!("`{text}` is not a time; want for example 500ms, 30s or 2m");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_json_is_answered_with_what_is_wanted() {
        assert!(json_value("{prompt: 1}").unwrap_err().contains("not JSON"));
        assert!(json_object("[1]").unwrap_err().contains("want a JSON object"));
        assert!(annotations(r#"{"a": 1}"#).unwrap_err().contains("`a` is 1"));
        assert_eq!(key_value("a=b=c").unwrap(), ("a".into(), "b=c".into()));
        assert!(key_value("=x").is_err());
    }

    #[test]
    fn the_nearest_name_is_suggested_only_when_near() {
        assert_eq!(nearest("support-jbos", ["support-jobs", "mail"]), Some("support-jobs"));
        assert_eq!(nearest("wbe", ["web", "mail"]), Some("web"));
        assert_eq!(nearest("zebra", ["support-jobs", "mail"]), None);
    }

    #[test]
    fn times_are_read_with_their_units() {
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("2m").unwrap(), Duration::from_mins(2));
        assert_eq!(duration("7").unwrap(), Duration::from_secs(7));
        assert!(duration("soon").is_err());
        assert!(duration("1d").is_err());
    }
}

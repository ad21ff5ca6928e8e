//! `kind: Feed`, a named place for messages in JSON, and `kind: Subscription`, by which they are written into files of a
//! room.

use super::common::{FeedKind, NamedMetadata, SubscriptionKind, Version};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, json};

/// Longest folder and longest pattern of file names, bytes.
pub const FOLDER_BYTES_MAX: usize = 1_024;
pub const STAMP_BYTES_MAX: usize = 128;
/// What stands for a part of the time in names of files, here and for programs that write times.
pub const STAMP_PARTS: [(&str, &str); 6] =
    [("YYYY", "%Y"), ("MM", "%m"), ("DD", "%d"), ("hh", "%H"), ("mm", "%M"), ("ss", "%S")];

/// A place for messages; what is published in it goes to its subscriptions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    #[serde(default)]
    pub version: Version,
    #[serde(default)]
    pub kind: FeedKind,
    pub metadata: NamedMetadata,
    /// What it is for, for people.
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub visibility: FeedVisibility,
    /// `true`: it takes no messages.
    #[serde(default)]
    pub paused: bool,
    /// JSON Schema that every message must fit.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "without_null")]
    pub message_schema: Option<Map<String, Value>>,
}

/// Who may know of a feed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FeedVisibility {
    Public,
    Project,
    #[default]
    Private,
}

/// Messages of `feed` are written into `.jsonl` files below `path` in `room`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    #[serde(default)]
    pub version: Version,
    #[serde(default)]
    pub kind: SubscriptionKind,
    pub metadata: NamedMetadata,
    /// Name of the feed.
    pub feed: String,
    /// Name of the room.
    pub room: String,
    /// Folder in the room's storage; `/` is all of it.
    #[serde(serialize_with = "folder")]
    pub path: String,
    /// How the time stands in names of files, with `YYYY MM DD hh mm ss`; slashes make folders. Without it
    /// `YYYY-MM-DDThh_mm_ssZ`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename_datetime_format: Option<String>,
}

impl Subscription {
    /// The folder without slashes at its ends; empty is the root.
    #[must_use]
    pub fn folder(&self) -> &str {
        plain_folder(&self.path)
    }
}

fn plain_folder(path: &str) -> &str {
    path.trim().trim_matches('/')
}

/// However it was written.
fn folder<S: Serializer>(path: &str, to: S) -> Result<S::Ok, S::Error> {
    let plain = plain_folder(path);
    to.serialize_str(if plain.is_empty() { "/" } else { plain })
}

/// Whether a text can name a feed: 1 to 63 lowercase letters, digits and hyphens, none at its ends.
#[must_use]
pub fn is_feed_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ends = text.starts_with('-') || text.ends_with('-');
    // In the place of a feed's name in addresses it is another word.
    (1..=63).contains(&text.len()) && text.bytes().all(plain) && !ends && text != "by-name"
}

/// Whether a text without slashes at its ends can be a folder of a room; empty is the root.
#[must_use]
pub fn is_folder(text: &str) -> bool {
    let odd = text.chars().any(|c| c.is_control() || c == '\\');
    !odd && text.len() <= FOLDER_BYTES_MAX && (text.is_empty() || text.split('/').all(is_segment))
}

/// Whether a text can say how the time stands in names of files.
#[must_use]
pub fn is_stamp(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let once = STAMP_PARTS.iter().all(|(part, _)| text.matches(part).count() <= 1);
    once && text.len() <= STAMP_BYTES_MAX && text.chars().all(plain) && text.split('/').all(is_segment)
}

fn is_segment(text: &str) -> bool {
    !text.is_empty() && text != "." && text != ".."
}

/// Documents have no nulls: `const: null` is the same as `enum: [null]`, and `default: null` says nothing.
#[allow(clippy::ref_option, reason = "as serde wants it")]
fn without_null<S: Serializer>(schema: &Option<Map<String, Value>>, to: S) -> Result<S::Ok, S::Error> {
    schema.clone().map(|schema| plain(Value::Object(schema))).serialize(to)
}

fn plain(schema: Value) -> Value {
    match schema {
        Value::Object(members) => {
            let plain = members.into_iter().map(|(name, member)| match (name.as_str(), member) {
                ("const", Value::Null) => ("enum".to_owned(), json!([null])),
                (_, member) => (name, plain(member)),
            });
            Value::Object(plain.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{document_from_json, parse, summary};

    fn refused(text: &str) -> String {
        summary(&parse("a", text).unwrap_err())
    }

    #[test]
    fn nulls_of_schemas_stay_what_they_say() {
        let schema = json!({"properties": {"a": {"const": null}, "b": {"enum": ["x", null]}, "const": {"type": "null"}}});
        let document =
            json!({"version": "v1", "kind": "Feed", "metadata": {"name": "a"}, "message_schema": schema});
        let read = serde_json::to_value(document_from_json(document).unwrap()).unwrap();
        let wanted = json!({"properties": {"a": {"enum": [null]}, "b": {"enum": ["x", null]}, "const": {"type": "null"}}});
        assert_eq!(read["message_schema"], wanted);
    }

    #[test]
    fn documents_that_are_not_as_wanted_are_refused() {
        let feed = |more: &str| refused(&format!("version: v1\nkind: Feed\n{more}"));
        assert!(feed("metadata: {name: A_b}").contains("lowercase"), "{}", feed("metadata: {name: A_b}"));
        assert!(feed("metadata: {name: a}\nvisibility: secret").contains("visibility"));
        assert!(feed("metadata: {name: a}\nmessage_schema: 1").contains("message_schema"));
        let subscription = |more: &str| {
            refused(&format!(
                "version: v1\nkind: Subscription\nmetadata: {{name: a}}\nfeed: a\nroom: den\n{more}"
            ))
        };
        assert!(subscription("path: a/../b").contains("path"));
        assert!(
            subscription("path: a\nfilename_datetime_format: ../YYYY").contains("filename_datetime_format")
        );
        assert!(subscription("").contains("path"));
    }
}

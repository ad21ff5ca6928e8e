//! A feed: a named place for messages in JSON. What is published goes to its subscriptions; the messages themselves are
//! not facts. Its name is held by [`super::names`].

use super::event::Nothing;
use super::{Entity, Event, Refusal, Rejection};
use crate::spec::{FeedVisibility, is_feed_name};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Most feeds of one project.
pub const FEEDS_MAX: usize = 1_000;
/// Most bytes of a schema of messages, as JSON, and of a description.
pub const SCHEMA_BYTES_MAX: usize = 64 * 1024;
pub const DESCRIPTION_BYTES_MAX: usize = 4 * 1024;

/// What is wanted of a feed; the payload of `feed.created` and `feed.updated`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Wanted {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(default)]
    /// It is told, and not used for more: whoever may use the project may use its feeds.
    pub visibility: FeedVisibility,
    /// Nothing is taken while it is.
    #[serde(default)]
    pub paused: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// JSON Schema of messages: an object or a boolean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_schema: Option<Value>,
}

/// A feed as the events tell it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Feed {
    pub wanted: Wanted,
    pub created_at: DateTime<Utc>,
    /// Counts the changes, from 1.
    pub generation: u64,
}

#[derive(Clone, Debug)]
pub enum Command {
    Create(Wanted),
    Update(Wanted),
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the feed exists already; update it instead")]
    Exists,
    #[error("no such feed here; `meshagent feed list` shows those that exist")]
    NotFound,
    #[error(
        "`{0}` cannot name a feed; a name has 1 to 63 lowercase letters, digits or hyphens, no hyphen at its ends, and is not `by-name`"
    )]
    BadName(String),
    #[error("the message schema is not as wanted: {0}; give a JSON Schema, an object or a boolean")]
    BadSchema(String),
    #[error(
        "there are more than {NOTES_MAX} annotations, or one has more than {NOTE_BYTES_MAX} bytes; shorten them"
    )]
    LongNotes,
    #[error("the description has more than {DESCRIPTION_BYTES_MAX} bytes; shorten it")]
    LongDescription,
    #[error(
        "the logger of models `{0}` publishes in the feed; delete or change that first, with `meshagent llm logger`"
    )]
    InUse(String),
    #[error("the project has {FEEDS_MAX} feeds already; delete one first")]
    TooMany,
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Exists => Refusal::Exists,
            Self::NotFound => Refusal::NotFound,
            Self::TooMany | Self::InUse(_) => Refusal::State,
            Self::BadName(_) | Self::BadSchema(_) | Self::LongDescription | Self::LongNotes => {
                Refusal::Invalid
            }
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "feed-exists",
            Self::NotFound => "feed-not-found",
            Self::TooMany => "feed-limit",
            Self::InUse(_) => "feed-in-use",
            Self::BadName(_) | Self::BadSchema(_) | Self::LongDescription | Self::LongNotes => "feed-invalid",
        }
    }
}

/// Most annotations, and longest text of one and of its name, bytes.
pub const NOTES_MAX: usize = 100;
pub const NOTE_BYTES_MAX: usize = 4 * 1024;

/// Whether notes stay within their bounds.
pub(super) fn are_short(notes: &BTreeMap<String, String>) -> bool {
    notes.len() <= NOTES_MAX && notes.iter().all(|(name, text)| name.len().max(text.len()) <= NOTE_BYTES_MAX)
}

impl Wanted {
    /// What is wrong with it, besides what is in its schema.
    pub fn check(&self) -> Result<(), Refused> {
        check(self)
    }
}

fn check(wanted: &Wanted) -> Result<(), Refused> {
    let name = &wanted.name;
    if !is_feed_name(name) {
        return Err(Refused::BadName(name.chars().take(80).collect()));
    }
    if wanted.description.len() > DESCRIPTION_BYTES_MAX {
        return Err(Refused::LongDescription);
    }
    if !are_short(&wanted.annotations) {
        return Err(Refused::LongNotes);
    }
    match &wanted.message_schema {
        None | Some(Value::Bool(_)) => Ok(()),
        Some(schema @ Value::Object(_)) if schema.to_string().len() <= SCHEMA_BYTES_MAX => Ok(()),
        Some(Value::Object(_)) => {
            Err(Refused::BadSchema(format!("it has more than {SCHEMA_BYTES_MAX} bytes")))
        }
        Some(_) => Err(Refused::BadSchema("it is neither an object nor a boolean".to_owned())),
    }
}

impl Entity for Feed {
    type Command = Command;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, command: Command) -> Result<Vec<Event>, Refused> {
        match (state, command) {
            (None, Command::Create(wanted)) => {
                check(&wanted)?;
                Ok(vec![Event::FeedCreated(wanted)])
            }
            (Some(_), Command::Create(_)) => Err(Refused::Exists),
            (None, _) => Err(Refused::NotFound),
            (Some(old), Command::Update(wanted)) => {
                check(&wanted)?;
                Ok(if wanted == old.wanted { vec![] } else { vec![Event::FeedUpdated(wanted)] })
            }
            (Some(_), Command::Delete) => Ok(vec![Event::FeedDeleted(Nothing {})]),
        }
    }

    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self> {
        match event {
            Event::FeedCreated(wanted) => {
                Some(Self { wanted: wanted.clone(), created_at: at, generation: 1 })
            }
            Event::FeedUpdated(wanted) => state.map(|old| Self {
                wanted: wanted.clone(),
                generation: old.generation.saturating_add(1),
                ..old
            }),
            Event::FeedDeleted(_) => None,
            _ => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn named(name: &str) -> Wanted {
        Wanted { name: name.to_owned(), ..Wanted::default() }
    }

    #[test]
    fn a_feed_is_made_changed_and_deleted() {
        let at = DateTime::UNIX_EPOCH;
        let made = Feed::decide(None, Command::Create(named("news"))).unwrap();
        let feed = Feed::evolve(None, &made[0], at).unwrap();
        assert_eq!((feed.generation, feed.created_at), (1, at));
        assert_eq!(Feed::decide(Some(&feed), Command::Update(named("news"))), Ok(vec![]));
        let paused = Wanted { paused: true, ..named("news") };
        let changed = Feed::decide(Some(&feed), Command::Update(paused)).unwrap();
        let feed = Feed::evolve(Some(feed), &changed[0], at).unwrap();
        assert!(feed.wanted.paused && feed.generation == 2);
        assert_eq!(Feed::decide(Some(&feed), Command::Create(named("news"))), Err(Refused::Exists));
        let gone = Feed::decide(Some(&feed), Command::Delete).unwrap();
        assert_eq!(Feed::evolve(Some(feed), &gone[0], at), None);
        assert_eq!(Feed::decide(None, Command::Delete), Err(Refused::NotFound));
    }

    #[test]
    fn feeds_that_are_not_as_wanted_are_refused() {
        for name in ["", "-a", "a-", "A", "a b", "ü", "by-name", &"a".repeat(64)] {
            let refused = Feed::decide(None, Command::Create(named(name)));
            assert!(matches!(refused, Err(Refused::BadName(_))), "{name}");
        }
        for schema in [json!("x"), json!([1]), json!({"a": "b".repeat(SCHEMA_BYTES_MAX)})] {
            let wanted = Wanted { message_schema: Some(schema), ..named("a") };
            assert!(matches!(Feed::decide(None, Command::Create(wanted)), Err(Refused::BadSchema(_))));
        }
        let long = Wanted { description: "x".repeat(DESCRIPTION_BYTES_MAX + 1), ..named("a") };
        assert_eq!(Feed::decide(None, Command::Create(long)), Err(Refused::LongDescription));
        for notes in [
            ("a".to_owned(), "x".repeat(NOTE_BYTES_MAX + 1)),
            ("x".repeat(NOTE_BYTES_MAX + 1), String::new()),
        ] {
            let wanted = Wanted { annotations: [notes].into(), ..named("a") };
            assert_eq!(Feed::decide(None, Command::Create(wanted)), Err(Refused::LongNotes));
        }
    }
}

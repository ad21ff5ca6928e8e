//! A logger of requests to models: those that its filter lets through are published in a feed.

use super::event::Nothing;
use super::feed::are_short;
use super::{Entity, Event, Refusal, Rejection};
use crate::id::FeedId;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most loggers of one project.
pub const LOGGERS_MAX: usize = 32;
/// Longest filter, bytes.
pub const FILTER_BYTES_MAX: usize = 1_024;

/// What is wanted; the payload of `llmlogger.created` and `llmlogger.updated`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Wanted {
    pub destination_feed: FeedId,
    /// JMESPath over the record of a request; empty lets all through.
    pub filter_expression: String,
    #[serde(default)]
    pub paused: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A logger as the events tell it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LlmLogger {
    pub wanted: Wanted,
    pub created_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Create(Wanted),
    Update(Wanted),
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the logger exists already; update it instead")]
    Exists,
    #[error("no such logger here; `meshagent llm logger list` shows those that exist")]
    NotFound,
    #[error("the filter has more than {FILTER_BYTES_MAX} bytes; shorten it")]
    LongFilter,
    #[error("there are too many annotations, or one is too long; shorten them")]
    LongNotes,
    #[error("the project has {LOGGERS_MAX} loggers already; delete one first")]
    TooMany,
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Exists => Refusal::Exists,
            Self::NotFound => Refusal::NotFound,
            Self::LongFilter | Self::LongNotes => Refusal::Invalid,
            Self::TooMany => Refusal::State,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "llm-logger-exists",
            Self::NotFound => "llm-logger-not-found",
            Self::LongFilter | Self::LongNotes => "llm-logger-invalid",
            Self::TooMany => "llm-logger-limit",
        }
    }
}

fn check(wanted: &Wanted) -> Result<(), Refused> {
    if !are_short(&wanted.annotations) {
        return Err(Refused::LongNotes);
    }
    if wanted.filter_expression.len() > FILTER_BYTES_MAX { Err(Refused::LongFilter) } else { Ok(()) }
}

impl Entity for LlmLogger {
    type Command = Command;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, command: Command) -> Result<Vec<Event>, Refused> {
        match (state, command) {
            (None, Command::Create(wanted)) => {
                check(&wanted)?;
                Ok(vec![Event::LlmLoggerCreated(wanted)])
            }
            (Some(_), Command::Create(_)) => Err(Refused::Exists),
            (None, _) => Err(Refused::NotFound),
            (Some(old), Command::Update(wanted)) => {
                check(&wanted)?;
                Ok(if wanted == old.wanted { vec![] } else { vec![Event::LlmLoggerUpdated(wanted)] })
            }
            (Some(_), Command::Delete) => Ok(vec![Event::LlmLoggerDeleted(Nothing {})]),
        }
    }

    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self> {
        match event {
            Event::LlmLoggerCreated(wanted) => Some(Self { wanted: wanted.clone(), created_at: at }),
            Event::LlmLoggerUpdated(wanted) => state.map(|old| Self { wanted: wanted.clone(), ..old }),
            Event::LlmLoggerDeleted(_) => None,
            _ => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ProjectId;
    use uuid::Uuid;

    #[test]
    fn a_logger_is_made_changed_and_deleted() {
        let feed = FeedId::new(ProjectId::new(Uuid::from_u128(1)), Uuid::from_u128(2));
        let wanted = |filter: &str| Wanted {
            destination_feed: feed,
            filter_expression: filter.to_owned(),
            paused: false,
            annotations: BTreeMap::new(),
        };
        let made = LlmLogger::decide(None, Command::Create(wanted("a"))).unwrap();
        let one = LlmLogger::evolve(None, &made[0], DateTime::UNIX_EPOCH).unwrap();
        assert_eq!(LlmLogger::decide(Some(&one), Command::Update(wanted("a"))), Ok(vec![]));
        let changed = LlmLogger::decide(Some(&one), Command::Update(wanted("b"))).unwrap();
        let one = LlmLogger::evolve(Some(one), &changed[0], DateTime::UNIX_EPOCH).unwrap();
        assert_eq!(one.wanted.filter_expression, "b");
        let long = wanted(&"x".repeat(FILTER_BYTES_MAX + 1));
        assert_eq!(LlmLogger::decide(Some(&one), Command::Update(long)), Err(Refused::LongFilter));
        let gone = LlmLogger::decide(Some(&one), Command::Delete).unwrap();
        assert_eq!(LlmLogger::evolve(Some(one), &gone[0], DateTime::UNIX_EPOCH), None);
        assert_eq!(LlmLogger::decide(None, Command::Update(wanted("a"))), Err(Refused::NotFound));
    }
}

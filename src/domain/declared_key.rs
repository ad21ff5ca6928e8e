//! An API key that a document wants: which key it is now, and in which version of which secret its text is. The key itself is
//! an [`super::account::ApiKey`]; the text is in the vault only.

use super::event::Nothing;
use super::{Entity, Event, Refusal, Rejection};
use crate::spec::ApiKey as Spec;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Most keys of one project that documents want.
pub const KEYS_MAX: usize = 1_000;

/// What is wanted, and what was made; the payload of `declaredkey.created` and `declaredkey.updated`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Wanted {
    pub spec: Spec,
    /// The key.
    pub key: Uuid,
    /// The secret that has its text.
    pub secret: Uuid,
    /// The version of the secret that is the text.
    pub version: Uuid,
}

/// A key as the events tell it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeclaredKey {
    pub wanted: Wanted,
    /// Counts the changes, from 1.
    pub generation: u64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Create(Wanted),
    Update(Wanted),
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the API key exists already; update it instead")]
    Exists,
    #[error("no such API key here; `meshagent get api-keys` shows those that documents made")]
    NotFound,
    #[error("the project has {KEYS_MAX} API keys of documents, the most there may be; delete one first")]
    TooMany,
    #[error("service account `{0}` operates this server; documents make no keys of it")]
    OfOperator(String),
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Exists => Refusal::Exists,
            Self::NotFound => Refusal::NotFound,
            Self::TooMany => Refusal::State,
            Self::OfOperator(_) => Refusal::Invalid,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "api-key-exists",
            Self::NotFound => "api-key-not-found",
            Self::TooMany => "api-key-limit",
            Self::OfOperator(_) => "api-key-of-operator",
        }
    }
}

impl Entity for DeclaredKey {
    type Command = Command;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, command: Command) -> Result<Vec<Event>, Refused> {
        match (state, command) {
            (None, Command::Create(wanted)) => Ok(vec![Event::DeclaredKeyCreated(wanted)]),
            (Some(_), Command::Create(_)) => Err(Refused::Exists),
            (None, _) => Err(Refused::NotFound),
            (Some(old), Command::Update(wanted)) if old.wanted == wanted => Ok(vec![]),
            (Some(_), Command::Update(wanted)) => Ok(vec![Event::DeclaredKeyUpdated(wanted)]),
            (Some(_), Command::Delete) => Ok(vec![Event::DeclaredKeyDeleted(Nothing {})]),
        }
    }

    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self> {
        match event {
            Event::DeclaredKeyCreated(wanted) => {
                Some(Self { wanted: wanted.clone(), generation: 1, created_at: at, updated_at: at })
            }
            Event::DeclaredKeyUpdated(wanted) => state.map(|old| Self {
                wanted: wanted.clone(),
                generation: old.generation + 1,
                updated_at: at,
                ..old
            }),
            Event::DeclaredKeyDeleted(_) => None,
            _ => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_is_made_made_anew_and_ended() {
        let wanted = |rotation: u64| {
            let spec = json!({"metadata": {"name": "ci"}, "account": "ci", "secret": {"secret": "key"},
                "rotation": rotation});
            let (key, id) = (Uuid::from_u128(u128::from(rotation)), Uuid::from_u128(9));
            Wanted { spec: serde_json::from_value(spec).unwrap(), key, secret: id, version: key }
        };
        let mut state = None;
        assert_eq!(DeclaredKey::decide(None, Command::Update(wanted(1))), Err(Refused::NotFound));
        for command in [Command::Create(wanted(1)), Command::Update(wanted(2)), Command::Update(wanted(2))] {
            for event in DeclaredKey::decide(state.as_ref(), command).unwrap() {
                state = DeclaredKey::evolve(state, &event, DateTime::UNIX_EPOCH);
            }
        }
        assert_eq!(state.as_ref().unwrap().generation, 2);
        assert_eq!(DeclaredKey::decide(state.as_ref(), Command::Create(wanted(3))), Err(Refused::Exists));
        let gone = DeclaredKey::decide(state.as_ref(), Command::Delete).unwrap();
        assert_eq!(DeclaredKey::evolve(state, &gone[0], DateTime::UNIX_EPOCH), None);
    }
}

//! Service accounts and their API keys. The keys' secrets are in the vault, never here.

use super::event::Nothing;
use super::{Entity, Event, Refusal, Rejection};
use crate::id::ServiceAccountId;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Annotation of service accounts that may make projects and act in all of them. Only the server sets it.
pub const OPERATOR: &str = "meshagent.operator";

/// Fact: a service account exists, or is now like this.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Profile {
    pub name: String,
    #[serde(default)]
    pub key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(default)]
    pub description: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ServiceAccount {
    pub profile: Profile,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Create(Profile),
    /// The key stays what it is.
    Update(Profile),
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the service account exists already; update it instead")]
    Exists,
    #[error("the service account does not exist; `meshagent service-account list` shows those that do")]
    NotFound,
    #[error("a service account's name may not be empty; give one")]
    NoName,
    #[error("the API key does not exist or was revoked; make a new one")]
    NoKey,
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Exists => Refusal::Exists,
            Self::NotFound | Self::NoKey => Refusal::NotFound,
            Self::NoName => Refusal::Invalid,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "service-account-exists",
            Self::NotFound => "service-account-not-found",
            Self::NoName => "name-invalid",
            Self::NoKey => "api-key-not-found",
        }
    }
}

impl Entity for ServiceAccount {
    type Command = Command;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, command: Command) -> Result<Vec<Event>, Refused> {
        match (state, command) {
            (None, Command::Create(p)) if p.name.trim().is_empty() => Err(Refused::NoName),
            (None, Command::Create(p)) => Ok(vec![Event::AccountCreated(p)]),
            (Some(_), Command::Create(_)) => Err(Refused::Exists),
            (None, _) => Err(Refused::NotFound),
            (Some(_), Command::Update(p)) if p.name.trim().is_empty() => Err(Refused::NoName),
            (Some(old), Command::Update(p)) => {
                let new = Profile { key: old.profile.key.clone(), ..p };
                Ok(if new == old.profile { vec![] } else { vec![Event::AccountUpdated(new)] })
            }
            (Some(_), Command::Delete) => Ok(vec![Event::AccountDeleted(Nothing {})]),
        }
    }

    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self> {
        match event {
            Event::AccountCreated(p) => Some(Self { profile: p.clone(), created_at: at, updated_at: at }),
            Event::AccountUpdated(p) => {
                let old = state?;
                Some(Self { profile: p.clone(), created_at: old.created_at, updated_at: at })
            }
            Event::AccountDeleted(_) => None,
            _ => state,
        }
    }
}

/// Fact: a key may act as its service account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyCreated {
    pub account: ServiceAccountId,
    pub name: String,
    #[serde(default)]
    pub description: String,
}

/// One API key. Revoked keys are gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ApiKey {
    pub account: ServiceAccountId,
    pub name: String,
    pub description: String,
    pub created_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub enum KeyCommand {
    Create(KeyCreated),
    Revoke,
}

impl Entity for ApiKey {
    type Command = KeyCommand;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, command: KeyCommand) -> Result<Vec<Event>, Refused> {
        match (state, command) {
            (None, KeyCommand::Create(k)) => Ok(vec![Event::ApiKeyCreated(k)]),
            (Some(_), KeyCommand::Create(_)) => Err(Refused::Exists),
            (Some(_), KeyCommand::Revoke) => Ok(vec![Event::ApiKeyRevoked(Nothing {})]),
            (None, KeyCommand::Revoke) => Err(Refused::NoKey),
        }
    }

    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self> {
        match event {
            Event::ApiKeyCreated(k) => Some(Self {
                account: k.account,
                name: k.name.clone(),
                description: k.description.clone(),
                created_at: at,
            }),
            Event::ApiKeyRevoked(_) => None,
            _ => state,
        }
    }
}

//! A mailbox: an address whose mail goes to a room's queue. Its address is held by [`super::names`].

use super::event::Nothing;
use super::{Entity, Event, Refusal, Rejection};
use crate::id::RoomId;
use crate::name::QueueName;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// State and payload at once: updates replace the whole.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mailbox {
    pub address: String,
    pub room: RoomId,
    pub queue: QueueName,
    /// Whether mail from anybody is taken.
    #[serde(default)]
    pub public: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Create(Mailbox),
    /// The address stays what it is.
    Update(Mailbox),
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the mailbox exists already; update it instead")]
    Exists,
    #[error("the mailbox does not exist; `meshagent mailbox list` shows those that do")]
    NotFound,
    #[error("`{0}` is not a mail address; write it as name@domain")]
    BadAddress(String),
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Exists => Refusal::Exists,
            Self::NotFound => Refusal::NotFound,
            Self::BadAddress(_) => Refusal::Invalid,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "mailbox-exists",
            Self::NotFound => "mailbox-not-found",
            Self::BadAddress(_) => "mailbox-address-invalid",
        }
    }
}

fn is_address(text: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control() || c == '@')
    };
    text.len() <= crate::name::NAME_BYTES_MAX
        && text.split_once('@').is_some_and(|(name, domain)| plain(name) && plain(domain))
}

impl Entity for Mailbox {
    type Command = Command;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, command: Command) -> Result<Vec<Event>, Refused> {
        match (state, command) {
            (None, Command::Create(m)) if is_address(&m.address) => Ok(vec![Event::MailboxCreated(m)]),
            (None, Command::Create(m)) => Err(Refused::BadAddress(m.address)),
            (Some(_), Command::Create(_)) => Err(Refused::Exists),
            (None, _) => Err(Refused::NotFound),
            (Some(old), Command::Update(new)) => {
                let new = Self { address: old.address.clone(), ..new };
                Ok(if new == *old { vec![] } else { vec![Event::MailboxUpdated(new)] })
            }
            (Some(_), Command::Delete) => Ok(vec![Event::MailboxDeleted(Nothing {})]),
        }
    }

    fn evolve(state: Option<Self>, event: &Event, _at: DateTime<Utc>) -> Option<Self> {
        match event {
            Event::MailboxCreated(m) => Some(m.clone()),
            Event::MailboxUpdated(m) => state.map(|_| m.clone()),
            Event::MailboxDeleted(_) => None,
            _ => state,
        }
    }
}

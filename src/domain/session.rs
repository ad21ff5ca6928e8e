//! A session: one run of a room on one server.

use super::{Entity, Event, Refusal, Rejection};
use crate::id::RoomId;
use crate::name::RoomName;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Fact: a server runs the room. `epoch` is the lease's fencing number.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Started {
    pub room: RoomId,
    pub room_name: RoomName,
    pub host: String,
    pub epoch: u64,
}

/// Why a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Nobody was there for the room's time-out.
    Idle,
    /// Somebody asked for it.
    Terminated,
    /// Somebody asked for it at once: nobody was told, and nothing was given time to finish.
    Killed,
    /// The room was deleted or disabled.
    RoomGone,
    /// The server that ran it stopped or lost its lease.
    HostGone,
}

/// Fact: the run is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ended {
    pub reason: Reason,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Session {
    pub room: RoomId,
    pub room_name: RoomName,
    pub host: String,
    pub epoch: u64,
    pub started_at: DateTime<Utc>,
    pub ended: Option<(DateTime<Utc>, Reason)>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Start(Started),
    End(Reason),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the session exists already; sessions are started once")]
    Exists,
    #[error("the session does not exist; `meshagent session list` shows those that do")]
    NotFound,
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Exists => Refusal::Exists,
            Self::NotFound => Refusal::NotFound,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "session-exists",
            Self::NotFound => "session-not-found",
        }
    }
}

impl Session {
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.ended.is_none()
    }
}

impl Entity for Session {
    type Command = Command;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, command: Command) -> Result<Vec<Event>, Refused> {
        match (state, command) {
            (None, Command::Start(started)) => Ok(vec![Event::SessionStarted(started)]),
            (Some(_), Command::Start(_)) => Err(Refused::Exists),
            (None, Command::End(_)) => Err(Refused::NotFound),
            (Some(s), Command::End(_)) if !s.is_active() => Ok(vec![]),
            (Some(_), Command::End(reason)) => Ok(vec![Event::SessionEnded(Ended { reason })]),
        }
    }

    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self> {
        match event {
            Event::SessionStarted(s) => Some(Self {
                room: s.room,
                room_name: s.room_name.clone(),
                host: s.host.clone(),
                epoch: s.epoch,
                started_at: at,
                ended: None,
            }),
            Event::SessionEnded(e) => {
                let old = state?;
                Some(Self { ended: old.ended.or(Some((at, e.reason))), ..old })
            }
            _ => state,
        }
    }
}

//! Identifiers. Every identifier below a project carries its project, so that a look-up
//! across tenants does not compile: there is no way to make a `RoomId` without saying whose it is.
//!
//! Knows nothing of storage, time or randomness; new values come from [`crate::clock::IdSource`].

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// A tenant. Written as a UUID; packed into API key texts, so it must be one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ProjectId(Uuid);

impl ProjectId {
    /// The key under which names that are unique over the whole platform are kept.
    pub const PLATFORM: ProjectId = ProjectId(Uuid::nil());

    #[must_use]
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProjectId({})", self.0)
    }
}

impl FromStr for ProjectId {
    type Err = uuid::Error;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(s).map(Self)
    }
}

/// Why a text is not an identifier of the wanted kind.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a {kind} identifier (want `<project uuid>/<uuid>`)")]
pub struct InvalidId {
    pub kind: &'static str,
    pub text: String,
}

macro_rules! scoped_ids {
    ($($(#[$doc:meta])* $name:ident = $category:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// Displays as its own UUID; serialises as `<project>/<uuid>`.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name { project: ProjectId, uuid: Uuid }

        impl $name {
            /// Category of the event stream that holds this entity.
            pub const CATEGORY: &'static str = $category;
            #[must_use]
            pub const fn new(project: ProjectId, uuid: Uuid) -> Self { Self { project, uuid } }
            #[must_use]
            pub const fn project(self) -> ProjectId { self.project }
            #[must_use]
            pub const fn uuid(self) -> Uuid { self.uuid }
            #[must_use]
            pub fn stream(self) -> StreamId { StreamId::new(Self::CATEGORY, self.uuid) }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.uuid.fmt(f) }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({}/{})"), self.project, self.uuid)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.split_once('/')
                    .and_then(|(p, u)| Some(Self::new(p.parse().ok()?, Uuid::parse_str(u).ok()?)))
                    .ok_or_else(|| InvalidId { kind: stringify!($name), text: text.to_owned() })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(&format_args!("{}/{}", self.project, self.uuid))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

scoped_ids! {
    /// An API key that a document wants; which key it is changes.
    DeclaredKeyId = "declaredkey";
    /// One API key of a service account.
    ApiKeyId = "apikey";
    /// A named place for messages.
    FeedId = "feed";
    /// Where the messages of a feed are written.
    FeedSubscriptionId = "feedsubscription";
    /// What of the requests to models is published in a feed.
    LlmLoggerId = "llmlogger";
    /// A repository whose documents are kept applied.
    GitSourceId = "gitsource";
    /// An agent that the server runs; its room and its service have the same UUID.
    ManagedAgentId = "agent";
    /// A mailbox; its address is a name, this is its stream.
    MailboxId = "mailbox";
    /// A durable workspace.
    RoomId = "room";
    /// A route; its domain is a name, this is its stream.
    RouteId = "route";
    /// A secret of a user or a service account; its values are in the vault.
    OwnedSecretId = "secret";
    /// A cron line or interval that puts work in a room's queue.
    ScheduledTaskId = "task";
    /// A non-human identity that owns API keys.
    ServiceAccountId = "account";
    /// A service made of a template; its service has the same UUID.
    ServiceInstanceId = "serviceinstance";
    /// A template of services that a project keeps.
    ServiceTemplateId = "template";
    /// A deployable unit of a project or a room.
    ServiceId = "service";
    /// One run of a room.
    SessionId = "session";
    /// An address that is called when rooms start and end.
    WebhookId = "webhook";
}

/// Name of one event stream, `<category>-<key>`.
///
/// The category is everything before the first `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamId(String);

impl StreamId {
    pub fn new(category: &str, key: impl fmt::Display) -> Self {
        debug_assert!(!category.contains('-'), "category `{category}` contains `-`");
        Self(format!("{category}-{key}"))
    }

    /// Takes a stored name as it is.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn category(&self) -> &str {
        self.0.split_once('-').map_or(self.0.as_str(), |(c, _)| c)
    }

    #[must_use]
    pub fn key(&self) -> &str {
        self.0.split_once('-').map_or("", |(_, k)| k)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Place of an event in the one global order; 0 is before the first event. Gapless.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scoped_id_round_trips_with_its_project() {
        let project = ProjectId::new(Uuid::from_u128(1));
        let room = RoomId::new(project, Uuid::from_u128(2));
        let json = serde_json::to_string(&room).unwrap();
        assert_eq!(json, "\"00000000-0000-0000-0000-000000000001/00000000-0000-0000-0000-000000000002\"");
        assert_eq!(serde_json::from_str::<RoomId>(&json).unwrap(), room);
        assert!(serde_json::from_str::<RoomId>("\"nonsense\"").is_err());
        assert_eq!(room.stream().category(), "room");
        assert_eq!(room.stream().key(), room.uuid().to_string());
    }
}

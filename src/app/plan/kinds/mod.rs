//! The table of kinds that can be applied, planned, listed, watched and exported. To add one: a file here that
//! implements [`Resource`], and its line in [`KINDS`] (ARCHITECTURE.md, "How to add a kind").
//!
//! A resource of any kind is a document (JSON, without nulls), and that is all the planner sees of it.

mod account;
mod agent;
mod api_key;
mod feed;
pub(in crate::app) mod git_source;
mod mailbox;
mod project;
mod room;
mod room_roles;
mod route;
pub(super) mod secret;
mod service;
mod service_instance;
mod service_template;
mod subscription;
mod task;

use super::draft::Draft;
use super::fields::without_nulls;
use super::{Ground, Problem};
use crate::app::Error;
use crate::id::{ProjectId, StreamId};
use crate::projection::{ProjectView, Table, World};
use crate::spec::{self, Kind};
use chrono::{DateTime, Utc};
use imbl::ordmap::DiffItem;
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt;
use uuid::Uuid;

/// Every kind, in the order in which they depend on each other.
pub const KINDS: [&dyn Resource; 16] = [
    &project::Projects,
    &room_roles::RoomRoles,
    &room::Rooms,
    &account::Accounts,
    &secret::Secrets,
    &api_key::ApiKeys,
    &service::Services,
    &service_template::Templates,
    &service_instance::Instances,
    &task::Tasks,
    &mailbox::Mailboxes,
    &feed::Feeds,
    &subscription::Subscriptions,
    &agent::Agents,
    &route::Routes,
    &git_source::GitSources,
];

pub(super) use service_template::source as template_source;

/// The secret that a document gives a value, by its account and name.
pub(super) fn written_secret(key: &Key, wanted: &Value) -> Option<(String, String)> {
    let text = |pointer: &str| wanted.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    match key.kind {
        Kind::ApiKey => Some((text("/secret/account")?, text("/secret/secret")?)),
        Kind::Secret => text("/fingerprint").and_then(|_| Some((text("/account")?, key.name.clone()))),
        _ => None,
    }
}

/// The row of a kind; `None` for kinds that are no resources of a project.
#[must_use]
pub fn resource(kind: Kind) -> Option<&'static dyn Resource> {
    KINDS.into_iter().find(|resource| resource.kind() == kind)
}

/// What a resource is known by. Serialises as `kind`, `room`, `name`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct Key {
    #[serde(serialize_with = "as_text")]
    pub kind: Kind,
    /// Name of the room it lives in, where it lives in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    pub name: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn as_text<S: Serializer>(kind: &Kind, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(kind.as_str())
}

impl Key {
    pub fn new(kind: Kind, room: Option<String>, name: impl Into<String>) -> Self {
        Self { kind, room, name: name.into() }
    }
}

/// `service/web`, with the room where there is one.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.slug(), self.name)?;
        self.room.as_ref().map_or(Ok(()), |room| write!(f, " in room {room}"))
    }
}

/// A resource as it is.
#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    pub key: Key,
    /// Without what the server adds, and without its room: that is in the key.
    pub document: Value,
    /// Counts the changes of what is wanted.
    pub generation: u64,
    pub created_at: Option<DateTime<Utc>>,
}

/// Something a document needs to be there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reference {
    /// Field that says so.
    pub path: String,
    pub key: Key,
}

/// What is to be done to one resource.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    Create { id: Uuid, key: &'a Key, document: &'a Value },
    Update { id: Uuid, key: &'a Key, document: &'a Value },
    Delete { id: Uuid },
}

/// Where documents of a kind say their room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Home {
    /// They belong to the project.
    Project,
    /// To a room if they say one (annotation [`spec::ROOM`]), else to the project.
    RoomOrProject,
    /// To a room, always.
    Room,
}

/// One kind of resource. Everything here is pure: it looks at the world, and writes facts into a draft.
pub trait Resource: Sync {
    fn kind(&self) -> Kind;

    fn home(&self) -> Home;

    /// Pointer to the name in a document.
    fn name_at(&self) -> &'static str {
        "/metadata/name"
    }

    /// The name as it is looked up, where that differs from how it is written.
    fn canonical(&self, name: &str) -> String {
        name.to_owned()
    }

    /// The name by which a resource is known here, where it has several.
    fn named(&self, _: &World, _: ProjectId, name: &str) -> String {
        self.canonical(name)
    }

    /// Every resource of the kind.
    fn all(&self, world: &World, project: ProjectId) -> Vec<(Uuid, Key)>;

    /// One of them.
    fn read(&self, world: &World, project: ProjectId, id: Uuid) -> Option<Found>;

    /// How often what is wanted of it changed; as [`Found::generation`].
    fn generation(&self, world: &World, project: ProjectId, id: Uuid) -> Option<u64> {
        self.read(world, project, id).map(|found| found.generation)
    }

    /// Its stream in the log.
    fn stream(&self, project: ProjectId, id: Uuid) -> StreamId;

    /// Those that differ between two views of a project.
    fn changed(&self, old: &ProjectView, new: &ProjectView) -> Vec<Uuid>;

    /// What a document needs besides its room.
    fn references(&self, _document: &Value) -> Vec<Reference> {
        vec![]
    }

    /// Pointers of fields that cannot be changed in place.
    fn immutable(&self) -> &'static [&'static str] {
        &[]
    }

    /// A document as resources of the kind are kept.
    fn plain(&self, document: Value) -> Value {
        document
    }

    /// Has a document that is wanted say what it means here.
    fn settle(&self, _: &World, _: ProjectId, _wanted: &mut Value) {}

    /// Pointers of fields that stay as they are where a document does not say them.
    fn unsaid(&self) -> &'static [&'static str] {
        &[]
    }

    /// What the state has against a document that is good in itself.
    fn check(&self, _ground: &Ground<'_>, _key: &Key, _document: &Value, _old: Option<Uuid>) -> Vec<Problem> {
        vec![]
    }

    /// Why it is never pruned, where it is not.
    fn keep(&self, _key: &Key) -> Option<&'static str> {
        None
    }

    /// Whether pruning lets go of it, and never deletes it.
    fn outlives(&self) -> bool {
        false
    }

    /// Why it cannot be deleted, where something that stays is made of it; `going` goes too.
    fn in_use(&self, _: &World, _: ProjectId, _id: Uuid, _going: &HashSet<Uuid>) -> Option<String> {
        None
    }

    /// What goes when the resource goes.
    fn contents(&self, _world: &World, _project: ProjectId, _id: Uuid) -> Vec<(Kind, Uuid)> {
        vec![]
    }

    /// Writes the facts of a change.
    fn change(&self, draft: &mut Draft<'_>, change: Change<'_>) -> Result<(), Error>;
}

/// The keys that two tables do not share with the same value. What they have in common costs nothing.
pub(super) fn differing<T: PartialEq>(old: &Table<T>, new: &Table<T>) -> Vec<Uuid> {
    old.diff(new)
        .map(|item| match item {
            DiffItem::Add(id, _) | DiffItem::Remove(id, _) | DiffItem::Update { new: (id, _), .. } => *id,
        })
        .collect()
}

/// A typed spec as the document of a resource: without nulls, empty notes and the room, which the key has.
pub(super) fn document_of(spec: &impl Serialize) -> Value {
    tidy(serde_json::to_value(spec).unwrap_or_default())
}

/// The same for JSON.
pub(super) fn tidy(value: Value) -> Value {
    let mut value = without_nulls(value);
    if let Some(object) = value.as_object_mut() {
        object.remove("id");
        drop_notes(object);
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            drop_notes(metadata);
        }
    }
    value
}

fn drop_notes(of: &mut serde_json::Map<String, Value>) {
    if let Some(notes) = of.get_mut("annotations").and_then(Value::as_object_mut) {
        notes.remove(spec::ROOM);
        if notes.is_empty() {
            of.remove("annotations");
        }
    }
}

/// A document as its type.
pub(super) fn typed<T: DeserializeOwned>(key: &Key, document: &Value) -> Result<T, Error> {
    T::deserialize(document).map_err(|error| Error::Invalid {
        code: "spec-invalid",
        text: format!("{key} cannot be read: {error}; correct the document"),
    })
}

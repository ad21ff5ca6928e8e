//! Resources as objects: what one look at the state shows of a project.

use super::fields;
use super::namespaces::Namespace;
use crate::api::Api;
use crate::api::resources::applicable;
use crate::api::resources::versions::Versions;
use crate::app::plan::{Found, Key, Resource};
use crate::control::health::Health;
use crate::crd::{convert, names};
use crate::domain::object::Object;
use crate::id::Position;
use crate::projection::World;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use std::cell::OnceCell;
use uuid::Uuid;

/// One project at one moment.
pub(super) struct Seen<'a> {
    pub world: &'a World,
    pub namespace: &'a Namespace,
    health: Health<'a>,
    versions: OnceCell<Versions<'a>>,
}

impl<'a> Seen<'a> {
    pub fn of(api: &'a Api, world: &'a World, namespace: &'a Namespace) -> Self {
        let (now, floor) = (api.app.clock.now(), api.app.settings.schedule_floor_seconds);
        let health = Health::of(world, namespace.project, now, floor).with_attempts(&api.app.attempts);
        Self { world, namespace, health, versions: OnceCell::new() }
    }

    /// What clients of Kubernetes keep of a resource.
    pub fn note(&self, id: Uuid) -> Option<&'a Object> {
        note(self.world, self.namespace, id)
    }

    /// A resource as an object.
    pub fn object(&self, resource: &dyn Resource, id: Uuid, found: &Found) -> Value {
        let versions = self.versions.get_or_init(|| Versions::of(self.world, self.namespace.project));
        self.object_at(resource, id, found, versions.at(resource, id))
    }

    /// The same with a version that is known.
    pub fn object_at(&self, resource: &dyn Resource, id: Uuid, found: &Found, version: Position) -> Value {
        let kind = resource.kind();
        let document = applicable(found);
        let spec =
            convert::to_object(&document, None).map(|mut object| object["spec"].take()).unwrap_or_default();
        let mut status = json!(self.health.status(kind, id));
        whole_seconds(&mut status);
        status["id"] = json!(id);
        status["generation"] = json!(found.generation);
        json!({
            "apiVersion": names::api_version(), "kind": kind.as_str(),
            "metadata": self.metadata(id, found, version),
            "spec": spec, "status": status,
        })
    }

    fn metadata(&self, id: Uuid, found: &Found, version: Position) -> Value {
        let note = self.note(id);
        let mut metadata = Map::new();
        let mut put = |name: &str, value: Value| metadata.insert(name.to_owned(), value);
        put("name", json!(name(self.world, self.namespace, id, &found.key)));
        put("namespace", json!(self.namespace.name));
        put("uid", json!(id));
        put("resourceVersion", json!(version.0.to_string()));
        put("generation", json!(found.generation));
        put("creationTimestamp", json!(found.created_at.map(time)));
        if let Some(note) = note {
            for (name, values) in [("labels", &note.labels), ("annotations", &note.annotations)] {
                if !values.is_empty() {
                    put(name, json!(values));
                }
            }
        }
        let shares = self.world.inventory(self.namespace.project);
        let managers = shares.into_iter().flat_map(|inventory| inventory.sources(id));
        let managers: Vec<Value> =
            managers.filter_map(|(source, share)| fields::manager(source, &share.fields, note)).collect();
        if !managers.is_empty() {
            put("managedFields", json!(managers));
        }
        Value::Object(metadata)
    }

    /// The resource of an object.
    pub fn find(&self, resource: &dyn Resource, wanted: &str) -> Option<(Uuid, Found)> {
        find(self.world, self.namespace, resource, wanted)
    }

    /// An object by its name.
    pub fn shown(&self, resource: &dyn Resource, wanted: &str) -> Option<Value> {
        self.find(resource, wanted).map(|(id, found)| self.object(resource, id, &found))
    }

    /// Every resource of a kind with the name of its object, in the order of names.
    pub fn all(&self, resource: &dyn Resource) -> Vec<(String, Uuid)> {
        let named = resource.all(self.world, self.namespace.project).into_iter();
        let mut all: Vec<(String, Uuid)> =
            named.map(|(id, key)| (name(self.world, self.namespace, id, &key), id)).collect();
        all.sort();
        all
    }
}

/// What clients of Kubernetes keep of a resource.
pub(super) fn note<'a>(world: &'a World, namespace: &Namespace, id: Uuid) -> Option<&'a Object> {
    world.project(namespace.project)?.objects.get(&id)
}

/// Name of the object of a resource: its own, or that which follows from the resource's. Where another object was given that
/// one, it is told apart.
pub(super) fn name(world: &World, namespace: &Namespace, id: Uuid, key: &Key) -> String {
    let own = note(world, namespace, id).map(|note| note.name.clone()).filter(|name| !name.is_empty());
    own.unwrap_or_else(|| {
        let usual = names::object_name(key.kind, key.room.as_deref(), &key.name);
        let taken = world
            .project(namespace.project)
            .is_some_and(|view| view.object_names.contains_key(&Object::key(key.kind.as_str(), &usual)));
        if taken { format!("{usual}-{}", names::digest(&[&id.to_string()])) } else { usual }
    })
}

/// The resource of an object.
pub(super) fn find(
    world: &World,
    namespace: &Namespace,
    resource: &dyn Resource,
    wanted: &str,
) -> Option<(Uuid, Found)> {
    let project = namespace.project;
    let own = world.project(project)?.object_names.get(&Object::key(resource.kind().as_str(), wanted));
    if let Some(id) = own {
        return resource.read(world, project, *id).map(|found| (*id, found));
    }
    let mut all = resource.all(world, project).into_iter();
    let (id, _) = all.find(|(id, key)| name(world, namespace, *id, key) == wanted)?;
    resource.read(world, project, id).map(|found| (id, found))
}

/// A time as Kubernetes writes it: whole seconds.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn whole_seconds(status: &mut Value) {
    let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        let at = condition["lastTransitionTime"].as_str().and_then(|text| text.parse::<DateTime<Utc>>().ok());
        if let Some(at) = at {
            condition["lastTransitionTime"] = json!(time(at));
        }
    }
    for field in ["pausedSince", "lastAttempt", "nextAttempt"] {
        let Some(text) = status.pointer_mut(&format!("/reconcile/{field}")) else { continue };
        if let Some(at) = text.as_str().and_then(|text| text.parse::<DateTime<Utc>>().ok()) {
            *text = json!(time(at));
        }
    }
}

//! What a write asks for, made of the state as it is: the document that the resource is to be, the fields that the writer
//! then holds, and what is kept beside. Pure: it may be made several times.

use super::namespaces::Namespace;
use super::object::{find, name as name_of, note};
use super::patch;
use super::sent::{self, NOTES_BYTES_MAX, Sent};
use super::{Refusal, fields};
use crate::api::resources::applicable;
use crate::app::objects::Wish;
use crate::app::plan::{Found, Key, Request, Resource, at, own_fields, put};
use crate::crd::{convert, names};
use crate::domain::object::Object;
use crate::id::Position;
use crate::projection::World;
use crate::spec::Kind;
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Where `kubectl apply` keeps what it applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What is done to an object.
#[derive(Clone, Debug)]
pub(super) enum Verb {
    Create(Value),
    Replace(Value),
    Merge(Value),
    Steps(Value),
    /// Server-side apply.
    Apply {
        config: Value,
        force: bool,
    },
    /// With this id only, where one is named.
    Delete {
        uid: Option<String>,
        resource_version: Option<String>,
    },
}

/// A write.
#[derive(Clone)]
pub(super) struct Asking {
    pub resource: &'static dyn Resource,
    pub namespace: Namespace,
    pub name: String,
    pub source: String,
    pub verb: Verb,
    /// Renders the object that there is, for patches.
    pub render: std::sync::Arc<dyn Fn(&World, Uuid, &Found) -> Value + Send + Sync>,
}

/// Why resources of a kind are not written here; they are read and deleted.
fn only_elsewhere(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Secret => Some(
            "secrets are not written by way of this API, which would keep what is sent beside their documents; use \
             `meshagent apply` or `meshagent secret`",
        ),
        // What is kept is the text, of which the members of an object are made.
        Kind::ServiceTemplate => {
            Some("templates are not written by way of this API, which knows no text; use `meshagent apply`")
        }
        _ => None,
    }
}

impl Asking {
    pub fn wish(&self, world: &World) -> Result<Wish, Refusal> {
        if !matches!(self.verb, Verb::Delete { .. }) {
            only_elsewhere(self.resource.kind()).map_or(Ok(()), |why| Err(Refusal::forbidden(why)))?;
        }
        let current = find(world, &self.namespace, self.resource, &self.name);
        let missing = || Refusal::no_object(self.resource, &self.name);
        match (&self.verb, current) {
            (Verb::Create(_), Some(_)) => Err(Refusal::exists(self.resource, &self.name, "")),
            (Verb::Create(object), None) => self.create(world, object, false),
            (Verb::Apply { config, .. }, None) => self.create(world, config, true),
            (_, None) => Err(missing()),
            (Verb::Delete { uid, resource_version }, Some((id, _))) => {
                self.hold(world, id, uid.as_deref(), resource_version.as_deref())?;
                Ok(Wish::Delete { source: self.source.clone(), kind: self.resource.kind(), id })
            }
            (Verb::Apply { config, force }, Some((id, found))) => {
                self.apply(world, id, &found, config, *force)
            }
            (Verb::Replace(object), Some((id, found))) => self.update(world, id, &found, object),
            (Verb::Merge(patch), Some((id, found))) => {
                let mut object = (self.render)(world, id, &found);
                patch::merge(&mut object, patch);
                self.update(world, id, &found, &object)
            }
            (Verb::Steps(patch), Some((id, found))) => {
                let mut object = (self.render)(world, id, &found);
                patch::steps(&mut object, patch)
                    .map_err(|why| Refusal::invalid_at(self.resource, &self.name, "patch", why))?;
                self.update(world, id, &found, &object)
            }
        }
    }

    /// What is named as a condition holds.
    fn hold(&self, world: &World, id: Uuid, uid: Option<&str>, version: Option<&str>) -> Result<(), Refusal> {
        let stale = || Refusal::stale(self.resource, &self.name);
        if uid.is_some_and(|uid| !uid.is_empty() && uid != id.to_string()) {
            return Err(stale());
        }
        let Some(version) = version.filter(|version| !version.is_empty()) else { return Ok(()) };
        let read = version.parse().map(Position).map_err(|_| {
            let field = "metadata.resourceVersion";
            Refusal::invalid_at(
                self.resource,
                &self.name,
                field,
                format!("{version:?} is none of this server"),
            )
        })?;
        let stream = self.resource.stream(self.namespace.project, id);
        let now = world.position_of(self.namespace.project, &stream).unwrap_or_default();
        if read < now { Err(stale()) } else { Ok(()) }
    }

    fn sent(&self, object: &Value) -> Result<Sent, Refusal> {
        let sent = sent::object(self.resource, &self.name, object)?;
        if !sent.name.is_empty() && sent.name != self.name {
            let text =
                format!("the name of the object ({}) is not that of the request ({})", sent.name, self.name);
            return Err(Refusal::bad_request(text));
        }
        if !sent.namespace.is_empty() && sent.namespace != self.namespace.name {
            return Err(Refusal::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        Ok(sent)
    }

    fn document(&self, name: &str, spec: &Value) -> Result<Value, Refusal> {
        let spec = if spec.is_null() { &Value::Object(serde_json::Map::new()) } else { spec };
        convert::to_document(self.resource, name, spec)
            .map_err(|_| Refusal::invalid_at(self.resource, &self.name, "spec", "must be a mapping"))
    }

    fn create(&self, world: &World, object: &Value, is_apply: bool) -> Result<Wish, Refusal> {
        let sent = self.sent(object)?;
        if let Some(why) = sent::wrong_name(&self.name) {
            return Err(Refusal::invalid_at(self.resource, &self.name, "metadata.name", why));
        }
        let refused = |field: &str, given: &str| {
            let text = format!("{given:?} names an object that is there, and there is none");
            Err(Refusal::invalid_at(self.resource, &self.name, field, text))
        };
        if !sent.uid.is_empty() {
            return refused("metadata.uid", &sent.uid);
        }
        if !sent.resource_version.is_empty() {
            return refused("metadata.resourceVersion", &sent.resource_version);
        }
        let document = self.document(&self.name, &sent.spec)?;
        let (room, name) = convert::key_of(self.resource, &document);
        let key = Key::new(self.resource.kind(), room, name);
        let all = self.resource.all(world, self.namespace.project);
        if let Some((id, _)) = all.into_iter().find(|(_, known)| *known == key) {
            let found = self.resource.read(world, self.namespace.project, id);
            let called =
                found.map(|found| name_of(world, &self.namespace, id, &found.key)).unwrap_or_default();
            let why = format!(": the {key} is here as the object {called:?}; use that name");
            return Err(Refusal::exists(self.resource, &self.name, &why));
        }
        let usual = names::object_name(key.kind, key.room.as_deref(), &key.name);
        let own = if usual == self.name { String::new() } else { self.name.clone() };
        let mut note = if is_apply {
            self.applied_note(sent, object.clone(), None)
        } else {
            self.note(sent, false, None)
        };
        note.name = own;
        Ok(self.request(own_fields(&document), document, note, true))
    }

    /// The object is to be all that is sent.
    fn update(&self, world: &World, id: Uuid, found: &Found, object: &Value) -> Result<Wish, Refusal> {
        let sent = self.sent(object)?;
        self.hold(world, id, Some(&sent.uid), Some(&sent.resource_version))?;
        let document = self.document(&found.key.name, &sent.spec)?;
        self.same_key(found, &document)?;
        let current = applicable(found);
        let set = own_fields(&document);
        let held = self.held(world, id);
        let own: Vec<String> = set
            .into_iter()
            .filter(|field| held.contains(field) || at(&current, field) != at(&document, field))
            .collect();
        let mut note = self.note(sent, false, note(world, &self.namespace, id));
        let inventory = world.inventory(self.namespace.project);
        note.updaters.retain(|source| {
            *source == self.source || inventory.is_some_and(|known| known.share(id, source).is_some())
        });
        Ok(self.request(own, document, note, true))
    }

    /// The object is to have what is sent; fields that the source does not send any more go, where nobody else holds them.
    fn apply(
        &self,
        world: &World,
        id: Uuid,
        found: &Found,
        config: &Value,
        force: bool,
    ) -> Result<Wish, Refusal> {
        let mut sent = self.sent(config)?;
        self.hold(world, id, Some(&sent.uid), Some(&sent.resource_version))?;
        let mut document = applicable(found);
        if sent.spec.is_null() {
            sent.spec = Value::Object(serde_json::Map::new());
        }
        let spec = sent.spec.as_object_mut();
        if let (Some(spec), Some(room)) = (spec, &found.key.room)
            && crate::crd::definition::has_room_field(self.resource)
            && !spec.contains_key("room")
        {
            spec.insert("room".to_owned(), Value::String(room.clone()));
        }
        let mut applied = self.document(&found.key.name, &sent.spec)?;
        let name_at = self.resource.name_at();
        if applied.pointer(name_at).is_none()
            && let Some(name) = document.pointer(name_at)
        {
            put(&mut applied, name_at, name.clone());
        }
        self.same_key(found, &applied)?;
        let own = own_fields(&applied);
        for field in self.held(world, id).iter().filter(|field| !own.contains(field)) {
            if !self.is_held_by_others(world, id, field) {
                drop_field(&mut document, field);
            }
        }
        for field in &own {
            if let Some(value) = at(&applied, field) {
                put(&mut document, field, value.clone());
            }
        }
        let known = note(world, &self.namespace, id);
        let config = config.clone();
        let note = self.applied_note(sent, config, known);
        Ok(self.request(own, document, note, force))
    }

    fn held(&self, world: &World, id: Uuid) -> Vec<String> {
        let inventory = world.inventory(self.namespace.project);
        let share = inventory.and_then(|inventory| inventory.share(id, &self.source));
        share.map(|share| share.fields.clone()).unwrap_or_default()
    }

    fn is_held_by_others(&self, world: &World, id: Uuid, field: &String) -> bool {
        let inventory = world.inventory(self.namespace.project).into_iter();
        let mut others = inventory.flat_map(|inventory| inventory.sources(id));
        others.any(|(source, share)| *source != self.source && share.fields.contains(field))
    }

    /// A resource stays what it is called.
    fn same_key(&self, found: &Found, document: &Value) -> Result<(), Refusal> {
        let (room, name) = convert::key_of(self.resource, document);
        let fixed = |field: &str, is: &str| {
            let text = format!("it is {is:?} and cannot be changed; delete the object and make another");
            Err(Refusal::invalid_at(self.resource, &self.name, field, text))
        };
        if room != found.key.room {
            return fixed("spec.room", found.key.room.as_deref().unwrap_or_default());
        }
        if name != found.key.name {
            let field = format!("spec{}", self.resource.name_at().replace('/', "."));
            return fixed(&field, &found.key.name);
        }
        Ok(())
    }

    /// Labels and annotations after an apply: what it says, and what others said; what it said before and does not any more
    /// goes.
    fn applied_note(&self, mut sent: Sent, config: Value, known: Option<&Object>) -> Object {
        let said = Asking::said(&sent);
        let before = known.and_then(|note| note.applied.get(&self.source));
        let is_others = |key: &String| {
            let mut applied = known.into_iter().flat_map(|note| &note.applied);
            applied.any(|(source, keys)| *source != self.source && keys.contains(key))
        };
        for (letter, sent, known) in [
            ('l', &mut sent.labels, known.map(|note| &note.labels)),
            ('a', &mut sent.annotations, known.map(|note| &note.annotations)),
        ] {
            for (key, value) in known.into_iter().flatten() {
                let said = format!("{letter}/{key}");
                if is_others(&said) || !before.is_some_and(|before| before.contains(&said)) {
                    sent.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
        }
        // Whoever applies by the client next compares with what was applied last, in whatever way.
        if self.source == fields::APPLY
            && let Some(last) = sent.annotations.get_mut(LAST_APPLIED)
        {
            let text = format!("{}\n", without_last_applied(config));
            if text.len() <= NOTES_BYTES_MAX {
                *last = text;
            }
        }
        let mut note = self.note(sent, true, known);
        note.applied.remove(&self.source);
        if !said.is_empty() {
            note.applied.insert(self.source.clone(), said);
        }
        note
    }

    /// The labels and annotations that are said, as [`Object::applied`] keeps them.
    fn said(sent: &Sent) -> BTreeSet<String> {
        let labels = sent.labels.keys().map(|key| format!("l/{key}"));
        labels.chain(sent.annotations.keys().map(|key| format!("a/{key}"))).collect()
    }

    fn note(&self, sent: Sent, is_apply: bool, known: Option<&Object>) -> Object {
        let mut note = known.cloned().unwrap_or_default();
        self.resource.kind().as_str().clone_into(&mut note.kind);
        (note.labels, note.annotations) = (sent.labels, sent.annotations);
        if is_apply {
            note.updaters.remove(&self.source);
        } else {
            note.updaters.insert(self.source.clone());
        }
        note
    }

    fn request(&self, own: Vec<String>, document: Value, mut note: Object, force: bool) -> Wish {
        if own.is_empty() {
            note.updaters.remove(&self.source);
        }
        Wish::Write(Box::new(Request {
            source: self.source.clone(),
            documents: vec![document],
            force,
            exact: Some(own),
            object: Some(note),
            ..Request::default()
        }))
    }
}

/// A configuration as it is kept in its own annotation.
fn without_last_applied(mut config: Value) -> Value {
    let notes = config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    notes.and_then(|notes| notes.remove(LAST_APPLIED));
    config
}

/// Takes a field out of a document, with the mappings that are empty then.
fn drop_field(document: &mut Value, field: &str) {
    let mut pointer = field;
    if let Some(mapping) = field.strip_suffix('/') {
        // That it was there is all that was held of it.
        if at(document, field).and_then(Value::as_object).is_none_or(|object| !object.is_empty()) {
            return;
        }
        pointer = mapping;
    }
    while let Some((head, last)) = pointer.rsplit_once('/') {
        let Some(parent) = document.pointer_mut(head).and_then(Value::as_object_mut) else { return };
        parent.remove(&last.replace("~1", "/").replace("~0", "~"));
        if !parent.is_empty() || head.is_empty() {
            return;
        }
        pointer = head;
    }
}

/// The manager of a request, or why there is none.
pub(super) fn source(manager: Option<&str>, user_agent: &str) -> Result<String, Refusal> {
    fields::source(manager, user_agent).map_err(Refusal::bad_request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_field_goes_with_the_mappings_that_held_only_it() {
        let mut document = json!({"a": {"b": {"c~d": 1}}, "e": 2});
        drop_field(&mut document, "/a/b/c~0d");
        assert_eq!(document, json!({"e": 2}));
        let mut notes = json!({"notes": {"a": 1}});
        drop_field(&mut notes, "/notes/");
        assert_eq!(notes, json!({"notes": {"a": 1}}), "somebody put something there");
        drop_field(&mut document, "/x/y");
        drop_field(&mut document, "/e");
        assert_eq!(document, json!({}));
    }
}

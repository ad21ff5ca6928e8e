//! Who holds which fields: a document against what other sources hold of the same resource.

use super::fields::{at, leaves, overlap, put, shown};
use super::kinds::{Key, Resource};
use super::problem::{Code, Problem};
use crate::domain::inventory::{Holding, Inventory};
use crate::spec;
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Fields that name a resource and are nobody's.
const IDENTITY: [&str; 6] = ["/version", "/kind", "/id", "/metadata/name", "/address", "/room_name"];

/// The fields that a document sets.
#[must_use]
pub fn own_fields(document: &Value) -> Vec<String> {
    let room = format!("/annotations/{}", spec::ROOM);
    let mut fields = leaves(document);
    fields.retain(|field| !IDENTITY.contains(&field.as_str()) && !field.ends_with(&room));
    fields
}

/// Puts what a document does not say, of the fields that then stay as they are.
pub(super) fn keep_unsaid(resource: &dyn Resource, is: &Value, wanted: &mut Value) {
    for field in resource.unsaid() {
        if let (None, Some(value)) = (wanted.pointer(field), is.pointer(field)) {
            put(wanted, field, value.clone());
        }
    }
}

/// What follows from the other sources of a resource.
#[derive(Default)]
pub(super) struct Others {
    pub conflicts: Vec<Problem>,
    /// What they hold once their fields were taken.
    pub taken: BTreeMap<String, Holding>,
}

/// Holds a resource as it is exactly to be (`wanted`) against its other sources. A field of theirs that it leaves as it is
/// stays theirs; one that it changes is taken from them, but for those of `fields` (which the source is to hold) without
/// `force`: they are conflicts.
pub(super) fn reconcile_exact(
    inventory: &Inventory,
    (id, key, source): (Uuid, &Key, &str),
    current: &Value,
    wanted: &Value,
    (fields, force): (&[String], bool),
) -> Others {
    let mut others = Others::default();
    for (other, share) in inventory.sources(id).filter(|(other, _)| *other != source) {
        let (kept, changed): (Vec<&String>, Vec<&String>) =
            share.fields.iter().partition(|field| at(current, field) == at(wanted, field));
        let named = |field: &&&String| fields.iter().any(|own| overlap(own, field));
        for field in changed.iter().filter(named).filter(|_| !force) {
            let text = format!("the source `{other}` holds this field with another value");
            let hint = "agree with it, leave the field out, or take it with --force-conflicts";
            let problem = Problem::of(Code::Conflict, None, key, text).at(shown(field)).hint(hint);
            others.conflicts.push(problem.held_by(other));
        }
        if !changed.is_empty() {
            let (kind, fields) = (key.kind, kept.into_iter().cloned().collect());
            let holding = Holding { id, kind, fields, digest: String::new(), generation: 0 };
            others.taken.insert(other.clone(), holding);
        }
    }
    others
}

/// Holds a document (`wanted`, whose source sets `fields`) against the other sources of the resource `id` as it is now.
/// Fields of theirs that the document does not set are put into `wanted`; fields that it sets otherwise are conflicts, or
/// are taken from them by `force`.
pub(super) fn reconcile(
    inventory: &Inventory,
    (id, key, source): (Uuid, &Key, &str),
    current: &Value,
    wanted: &mut Value,
    (fields, force): (&[String], bool),
) -> Others {
    let mut others = Others::default();
    for (other, share) in inventory.sources(id).filter(|(other, _)| *other != source) {
        let mut kept = vec![];
        for field in &share.fields {
            let ours: Vec<&String> = fields.iter().filter(|own| overlap(own, field)).collect();
            let is = at(current, field);
            if ours.is_empty() {
                if let Some(value) = is {
                    put(wanted, field, value.clone());
                }
                kept.push(field.clone());
            } else if ours.iter().all(|own| current.pointer(own) == wanted.pointer(own)) {
                kept.push(field.clone());
            } else if !force {
                let text = format!("the source `{other}` holds this field with another value");
                let hint = "agree with it, leave the field out, or take it with --force-conflicts";
                let problem = Problem::of(Code::Conflict, None, key, text).at(shown(field)).hint(hint);
                others.conflicts.push(problem.held_by(other));
            }
        }
        if kept.len() < share.fields.len() {
            let kind = key.kind;
            let holding = Holding { id, kind, fields: kept, digest: String::new(), generation: 0 };
            others.taken.insert(other.clone(), holding);
        }
    }
    others
}

//! The inventory of a project: which source wants which resource, and which fields of it. Recorded by `apply`; by it a
//! source prunes only what it applied itself, and two sources do not overwrite each other unknowingly.

use super::Event;
use crate::id::{Position, ProjectId, StreamId};
use crate::spec::Kind;
use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Fact: a plan was carried out. What it did follows in the same transaction.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Applied {
    pub source: String,
    /// Hash of the plan, as `plan` and `diff` tell it.
    pub plan: String,
    /// The state that the plan was made on.
    pub base: Position,
    #[serde(default)]
    pub created: usize,
    #[serde(default)]
    pub updated: usize,
    #[serde(default)]
    pub replaced: usize,
    #[serde(default)]
    pub deleted: usize,
    #[serde(default)]
    pub unchanged: usize,
}

/// Fact: a source holds these resources, each like this from now on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Held {
    pub source: String,
    /// The commit of the documents, where they are of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    pub resources: Vec<Holding>,
}

/// One resource that a source holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Holding {
    pub id: Uuid,
    pub kind: Kind,
    /// Fields that the source's document sets, as JSON pointers, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Of the source's document; empty where fields were taken from the source since.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// Generation of the resource that came of the document.
    #[serde(default)]
    pub generation: u64,
}

/// Fact: a source does not hold these resources any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Dropped {
    pub source: String,
    pub resources: Vec<Uuid>,
}

/// What one source holds of a resource.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Share {
    pub fields: Vec<String>,
    pub digest: String,
    pub generation: u64,
    /// The commit that last changed the document, where it is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// One resource in the inventory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub kind: Kind,
    /// By source.
    pub shares: BTreeMap<String, Share>,
}

/// Everything that was applied in a project, and by whom.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Inventory {
    pub entries: OrdMap<Uuid, Entry>,
}

impl Inventory {
    pub const CATEGORY: &'static str = "inventory";

    #[must_use]
    pub fn stream(project: ProjectId) -> StreamId {
        StreamId::new(Self::CATEGORY, project)
    }

    /// What a source holds of a resource.
    #[must_use]
    pub fn share(&self, id: Uuid, source: &str) -> Option<&Share> {
        self.entries.get(&id)?.shares.get(source)
    }

    /// Everything that a source holds.
    pub fn of<'a>(&'a self, source: &'a str) -> impl Iterator<Item = (Uuid, Kind, &'a Share)> {
        self.entries.iter().filter_map(move |(id, entry)| Some((*id, entry.kind, entry.shares.get(source)?)))
    }

    /// The sources of a resource.
    pub fn sources(&self, id: Uuid) -> impl Iterator<Item = (&String, &Share)> {
        self.entries.get(&id).into_iter().flat_map(|entry| entry.shares.iter())
    }

    pub fn evolve(&mut self, event: &Event) {
        match event {
            Event::InventoryHeld(held) => {
                for holding in &held.resources {
                    let entry = self.entries.entry(holding.id);
                    let entry =
                        entry.or_insert_with(|| Entry { kind: holding.kind, shares: BTreeMap::new() });
                    // Fields that were taken from a source leave its document of the commit it was of.
                    let old = || entry.shares.get(&held.source)?.revision.clone();
                    let share = Share {
                        fields: holding.fields.clone(),
                        digest: holding.digest.clone(),
                        generation: holding.generation,
                        revision: held.revision.clone().or_else(old),
                    };
                    entry.shares.insert(held.source.clone(), share);
                }
            }
            Event::InventoryDropped(dropped) => {
                for id in &dropped.resources {
                    let Some(entry) = self.entries.get_mut(id) else { continue };
                    entry.shares.remove(&dropped.source);
                    if entry.shares.is_empty() {
                        self.entries.remove(id);
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_in_the_inventory_while_a_source_holds_it() {
        let mut inventory = Inventory::default();
        let id = Uuid::from_u128(1);
        let holding = Holding {
            id,
            kind: Kind::Room,
            fields: vec!["/enabled".into()],
            digest: "d".into(),
            generation: 1,
        };
        for source in ["a", "b"] {
            let held = Held { source: source.into(), revision: None, resources: vec![holding.clone()] };
            inventory.evolve(&Event::InventoryHeld(held));
        }
        assert_eq!(inventory.sources(id).count(), 2);
        let dropped = |source: &str| {
            Event::InventoryDropped(Dropped { source: source.into(), resources: vec![id, Uuid::nil()] })
        };
        inventory.evolve(&dropped("a"));
        assert_eq!(inventory.of("b").count(), 1);
        assert_eq!(inventory.share(id, "a"), None);
        inventory.evolve(&dropped("b"));
        assert_eq!(inventory, Inventory::default());
    }
}

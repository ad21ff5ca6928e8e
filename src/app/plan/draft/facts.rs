//! The facts of whole plans.

use super::{DROPPED_PER_FACT, Draft, Facts};
use crate::app::plan::{Action, Plan, Values};
use crate::app::{Change, Error};
use crate::clock::IdSource;
use crate::domain::Event;
use crate::domain::inventory::{Dropped, Holding, Inventory};
use crate::domain::template::Render;
use crate::id::ProjectId;
use crate::projection::World;
use crate::spec::Kind;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What facts are made with.
#[derive(Clone, Copy)]
pub struct With<'a> {
    pub ids: &'a dyn IdSource,
    /// Values of secrets that came with the documents.
    pub values: &'a Values,
    pub templates: &'a dyn Render,
}

impl std::fmt::Debug for With<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("With").finish_non_exhaustive()
    }
}

/// The facts of a plan that was made on this very world. None where nothing changes, not even who holds what.
pub fn changes(plan: &Plan, world: &World, project: ProjectId, with: With<'_>) -> Result<Facts, Error> {
    let mut draft = Draft::new(world, project, with);
    let changed = plan.steps.iter().filter(|step| step.action != Action::Unchanged);
    draft.changed = changed.filter_map(|step| step.id).collect();
    // What goes, goes first: in the reverse order of dependence.
    for step in plan.steps.iter().rev().filter(|step| matches!(step.action, Action::Delete | Action::Replace))
    {
        if let Some(id) = step.id {
            draft.delete(step.key.kind, id)?;
        }
    }
    let mut held = vec![];
    for step in &plan.steps {
        let id = draft.step(step)?;
        if matches!(step.action, Action::Create | Action::Replace | Action::Update) {
            draft.stands_on(step);
        }
        if let (Some(id), Some(object)) = (id, &plan.object) {
            draft.note(step.key.kind, id, object);
        }
        if let (Some(id), Some(holding)) = (id, &step.holding) {
            held.push(Holding { id, ..holding.clone() });
        }
    }
    let replaced = plan.steps.iter().filter(|step| step.action == Action::Replace).filter_map(|step| step.id);
    let dropped: Vec<Uuid> = plan.dropped.iter().copied().chain(replaced).collect();
    Ok(draft.finish(plan, held, &dropped))
}

/// The facts of the end of one resource, with what is in it. No source holds it any more: what applied it makes it again.
pub fn deletion(
    world: &World,
    project: ProjectId,
    with: With<'_>,
    (kind, id): (Kind, Uuid),
) -> Result<Facts, Error> {
    let mut draft = Draft::new(world, project, with);
    draft.delete(kind, id)?;
    draft.names_last();
    let let_go = let_go(world, project, &draft);
    if !let_go.is_empty() {
        draft.changes.insert(0, Change::new(project, Inventory::stream(project), let_go));
    }
    Ok(draft.facts())
}

/// What sources do not hold any more, of what is gone.
fn let_go(world: &World, project: ProjectId, draft: &Draft<'_>) -> Vec<Event> {
    let inventory = world.inventory(project).into_iter();
    let gone: BTreeSet<Uuid> = draft.gone.iter().copied().collect();
    let mut by_source: BTreeMap<&String, Vec<Uuid>> = BTreeMap::new();
    for inventory in inventory {
        for id in &gone {
            inventory.sources(*id).for_each(|(source, _)| by_source.entry(source).or_default().push(*id));
        }
    }
    let facts = by_source.iter().flat_map(|(source, ids)| {
        ids.chunks(DROPPED_PER_FACT).map(|chunk| {
            let (source, resources) = ((*source).clone(), chunk.to_vec());
            Event::InventoryDropped(Dropped { source, resources })
        })
    });
    facts.collect()
}

//! What a plan deletes: what its source applied before and has no document for any more.

use super::{Planner, Read};
use crate::app::plan::kinds::{self, Reference, Resource};
use crate::app::plan::problem::{Code, Problem};
use crate::app::plan::{Action, PAUSE, Step};
use crate::spec::{self, Kind};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use uuid::Uuid;

impl Planner<'_> {
    /// The other sources that keep a resource.
    fn others(&self, id: Uuid) -> impl Iterator<Item = &str> {
        let others = self.inventory.sources(id).map(|(source, _)| source.as_str());
        others.filter(|source| *source != self.request.source && *source != PAUSE)
    }

    /// What is deleted as its documents are gone, unless something is in the way.
    pub(super) fn going(&self, read: &[Read<'_>]) -> BTreeSet<Uuid> {
        if !self.request.prune {
            return BTreeSet::new();
        }
        let kept: HashSet<Uuid> = read.iter().filter_map(|one| self.known.get(&one.key).copied()).collect();
        let own = self.inventory.of(&self.request.source).map(|(id, ..)| id);
        let alone = |id: &Uuid| self.others(*id).next().is_none();
        own.filter(|id| !kept.contains(id) && !self.request.spared.contains(id) && alone(id)).collect()
    }

    /// Adds steps for what the source applied before and has no document for. Answers what it lets go of.
    pub(super) fn prune(&mut self, read: &[Read<'_>], steps: &mut Vec<Step>) -> Vec<Uuid> {
        let kept: HashSet<Uuid> = read.iter().filter_map(|one| self.known.get(&one.key).copied()).collect();
        let mut dropped = vec![];
        let mut gone: Vec<(Uuid, Kind)> = vec![];
        for (id, kind, _) in self.inventory.of(&self.request.source) {
            let there = kinds::resource(kind)
                .is_some_and(|resource| resource.read(self.ground.world, self.ground.project, id).is_some());
            if !there {
                dropped.push(id);
            } else if self.request.prune && !kept.contains(&id) {
                dropped.push(id);
                gone.push((id, kind));
            }
        }
        gone.sort_by_key(|(id, kind)| (*kind, *id));
        let going: HashSet<Uuid> =
            gone.iter().map(|(id, _)| *id).filter(|id| !self.request.spared.contains(id)).collect();
        let needed = if gone.is_empty() { HashMap::new() } else { self.needed(read) };
        // What has a document says there what it needs, and is not asked for what it needed before.
        let moved: HashSet<Uuid> = going.union(&kept).copied().collect();
        for (id, kind) in gone {
            let off = (kind == Kind::Secret).then(|| self.off(read, &going, id));
            let step = self.pruned(id, kind, &needed, (&going, off.as_ref().unwrap_or(&moved)));
            steps.extend(step);
        }
        dropped
    }

    /// What goes, and the services whose documents do not name a secret: that they do is no reference.
    fn off(&self, read: &[Read<'_>], going: &HashSet<Uuid>, secret: Uuid) -> HashSet<Uuid> {
        let name = self.known.iter().find(|(key, id)| key.kind == Kind::Secret && **id == secret);
        let names = [name.map(|(key, _)| key.name.clone()).unwrap_or_default(), secret.to_string()];
        let services = read.iter().filter(|one| one.key.kind == Kind::Service && !uses(one.value, &names));
        services.filter_map(|one| self.known.get(&one.key).copied()).chain(going.iter().copied()).collect()
    }

    /// What documents need, each with one that does.
    fn needed(&self, read: &[Read<'_>]) -> HashMap<Uuid, String> {
        let mut needed = HashMap::new();
        for one in read {
            for reference in self.all_references(one).iter() {
                if let Some(id) = self.known.get(&reference.key) {
                    needed.entry(*id).or_insert_with(|| one.key.to_string());
                }
            }
        }
        needed
    }

    /// What a document needs, one that is as it was applied too.
    fn all_references<'r>(&self, one: &'r Read<'_>) -> Cow<'r, [Reference]> {
        if one.wanted.is_some() {
            return Cow::Borrowed(&one.references);
        }
        let wanted =
            spec::document_from_json(one.value.clone()).map(|document| kinds::document_of(&document));
        // It was read and applied before.
        let found =
            wanted.ok().and_then(|wanted| self.references(one.index, one.resource, &one.key, &wanted).ok());
        Cow::Owned(found.unwrap_or_default())
    }

    fn pruned(
        &mut self,
        id: Uuid,
        kind: Kind,
        needed: &HashMap<Uuid, String>,
        (going, moved): (&HashSet<Uuid>, &HashSet<Uuid>),
    ) -> Option<Step> {
        let resource = kinds::resource(kind)?;
        let (world, project) = (self.ground.world, self.ground.project);
        let found = resource.read(world, project, id)?;
        let others: Vec<&str> = self.others(id).collect();
        let (action, note) = if self.request.spared.contains(&id) {
            (Action::Unchanged, Some("let go; it was there before this source held it".to_owned()))
        } else if resource.outlives() {
            (Action::Unchanged, Some("let go; documents do not delete it".to_owned()))
        } else if others.is_empty() {
            (Action::Delete, None)
        } else {
            (Action::Unchanged, Some(format!("let go; still held by `{}`", others.join("`, `"))))
        };
        if action == Action::Delete {
            let reason = resource.keep(&found.key);
            let used = || resource.in_use(world, project, id, moved);
            let reason = reason
                .map(str::to_owned)
                .or_else(used)
                .or_else(|| self.stays_for(resource, id, needed, going));
            if let Some(reason) = reason {
                let problem = Problem::of(Code::Prune, None, &found.key, reason);
                self.problems.push(problem.hint("keep its document, or delete what is in the way"));
            }
        }
        let (key, generation) = (found.key, found.generation);
        let (changes, wanted) = (vec![], Value::Null);
        let id = Some(id);
        Some(Step { action, key, document: None, changes, note, id, generation, wanted, holding: None })
    }

    /// Why something cannot be pruned: documents need it, or it holds what others made.
    fn stays_for(
        &self,
        resource: &dyn Resource,
        id: Uuid,
        needed: &HashMap<Uuid, String>,
        going: &HashSet<Uuid>,
    ) -> Option<String> {
        if let Some(by) = needed.get(&id) {
            return Some(format!("it has no document any more, but {by} needs it"));
        }
        let (world, project) = (self.ground.world, self.ground.project);
        let inside = resource.contents(world, project, id).into_iter();
        let kept = inside.filter(|(_, inner)| !going.contains(inner));
        for (kind, inner) in kept {
            let others = |(source, _): &(&String, _)| **source != self.request.source;
            let holder = self.inventory.sources(inner).find(others).map(|(source, _)| source.clone());
            let ours = self.inventory.share(inner, &self.request.source).is_some();
            if self.request.force && !ours {
                continue;
            }
            let key = kinds::resource(kind).and_then(|resource| resource.read(world, project, inner));
            let named = key.map(|found| found.key).filter(|key| !key.name.is_empty());
            let name =
                named.map_or_else(|| format!("a {} without a name", kind.slug()), |key| key.to_string());
            return Some(match holder {
                Some(source) => format!("it would be deleted with {name}, which `{source}` holds"),
                None if ours => format!("it would be deleted with {name}, which has a document"),
                None => format!("it would be deleted with {name}, which was not applied by this source"),
            });
        }
        None
    }
}

/// Whether a service's document has a secret of one of these names in its environment, or pulls its image with it.
fn uses(service: &Value, names: &[String]) -> bool {
    let is = |secret: Option<&Value>| {
        let id = secret.and_then(|secret| secret.get("id")).and_then(Value::as_str);
        id.is_some_and(|id| names.iter().any(|name| name == id))
    };
    let variables = service.pointer("/container/environment").and_then(Value::as_array);
    let mut variables = variables.into_iter().flatten();
    variables.any(|variable| is(variable.get("secret"))) || is(service.pointer("/container/pull_secret"))
}

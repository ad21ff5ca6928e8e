//! Looking back: the state as it was, what became of one resource, how two moments differ, and the way back.

use super::plan::{self, FieldChange, Found, KINDS, Key, Request, Resource};
use super::{App, Error};
use crate::domain::Event;
use crate::domain::inventory::Inventory;
use crate::domain::names::{self, Names};
use crate::domain::object::Object;
use crate::eventlog::{Filter, KindFilter, PAGE_EVENTS_MAX, Recorded};
use crate::id::{Position, ProjectId};
use crate::projection::World;
use crate::share::{Turn, Turns};
use crate::spec::{self, Kind};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, LazyLock};
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

/// Looks into the past at once, each of another project; each folds the project's log anew.
pub const LOOKS_MAX: usize = 2;
/// Changes of one resource that are told, the newest.
pub const HISTORY_CHANGES_MAX: usize = 10_000;

static LOOKS: Semaphore = Semaphore::const_new(LOOKS_MAX);
static LINES: LazyLock<Turns<ProjectId>> = LazyLock::new(Turns::default);

/// A moment of the past.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// After this event.
    At(Position),
    /// After the last event that was recorded until then.
    Until(DateTime<Utc>),
}

/// One change of a resource.
#[derive(Clone, Debug, Serialize)]
pub struct Past {
    pub position: Position,
    pub at: DateTime<Utc>,
    pub actor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// Kind of the event.
    pub event: String,
    pub generation: u64,
    pub changes: Vec<FieldChange>,
}

/// One resource that differs between two moments.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    pub action: plan::Action,
    #[serde(flatten)]
    pub key: Key,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FieldChange>,
}

/// A resource that is gone.
#[derive(Clone, Debug)]
pub struct Last {
    pub found: Found,
    /// What clients of Kubernetes kept of it.
    pub object: Option<Object>,
}

impl App {
    /// One project as it was at a moment. Nothing of other projects is in it.
    pub async fn world_at(&self, project: ProjectId, moment: Moment) -> Result<World, Error> {
        let _look = look(project).await?;
        let head = self.world().position;
        if let Moment::At(position) = moment
            && position > head
        {
            let text = format!("position {position} is not there yet; the newest is {head}");
            return Err(Error::Invalid { code: "invalid-request", text });
        }
        let is_later = |event: &Recorded| match moment {
            Moment::At(position) => event.position > position,
            Moment::Until(time) => event.recorded_at > time,
        };
        let filter = Filter { project: Some(project), ..Filter::all() };
        let mut world = World::default();
        loop {
            let page = self.log.read(world.position, &filter, PAGE_EVENTS_MAX).await.map_err(Error::Read)?;
            let was = world.position;
            for event in page {
                if is_later(&event) {
                    return Ok(at_position(world, moment));
                }
                world.fold(&event).map_err(crate::projection::OpenError::Apply)?;
            }
            if world.position == was {
                return Ok(at_position(world, moment));
            }
        }
    }

    /// A resource that is gone, as it was at the end.
    pub async fn last_of(
        &self,
        project: ProjectId,
        resource: &dyn Resource,
        id: Uuid,
    ) -> Result<Option<Last>, Error> {
        let _look = look(project).await?;
        let mut world = self.world().without(project, &resource.stream(project, id));
        let mut last: Option<Last> = None;
        self.each_fact(project, resource, id, |event| {
            world.fold(&event).map_err(crate::projection::OpenError::Apply)?;
            if let Some(found) = resource.read(&world, project, id) {
                let object = world.project(project).and_then(|view| view.objects.get(&id)).cloned();
                last = Some(Last { found, object });
            }
            Ok(())
        })
        .await?;
        Ok(last)
    }

    /// What became of a resource, oldest first: every fact that changed its document, the newest
    /// [`HISTORY_CHANGES_MAX`] of them.
    pub async fn history(
        &self,
        project: ProjectId,
        resource: &dyn Resource,
        id: Uuid,
    ) -> Result<VecDeque<Past>, Error> {
        let _look = look(project).await?;
        let mut world = self.world().without(project, &resource.stream(project, id));
        let mut before: Option<Found> = None;
        let mut past = VecDeque::new();
        self.each_fact(project, resource, id, |event| {
            world.fold(&event).map_err(crate::projection::OpenError::Apply)?;
            let after = resource.read(&world, project, id);
            let document =
                |found: &Option<Found>| found.as_ref().map_or(Value::Null, |found| found.document.clone());
            let first = event.version == 1;
            let (old, new) = (if first { Value::Null } else { document(&before) }, document(&after));
            let generation = after.as_ref().map_or(0, |found| found.generation);
            let restarted = !first && before.as_ref().is_some_and(|found| found.generation != generation);
            if old != new || restarted {
                if past.len() >= HISTORY_CHANGES_MAX {
                    past.pop_front();
                }
                past.push_back(Past {
                    position: event.position,
                    at: event.recorded_at,
                    actor: event.metadata.actor,
                    on_behalf_of: event.metadata.on_behalf_of,
                    event: event.kind,
                    generation,
                    changes: if first || new.is_null() { vec![] } else { plan::diff(&old, &new) },
                });
            }
            before = after;
            Ok(())
        })
        .await?;
        Ok(past)
    }

    /// Every fact of a resource, oldest first.
    pub(super) async fn each_fact(
        &self,
        project: ProjectId,
        resource: &dyn Resource,
        id: Uuid,
        mut each: impl FnMut(Recorded) -> Result<(), Error> + Send,
    ) -> Result<(), Error> {
        let stream = resource.stream(project, id);
        let mut after = 0;
        loop {
            let page = self.log.read_stream(&stream, after, PAGE_EVENTS_MAX).await.map_err(Error::Read)?;
            // An id says nothing of its project; the facts do.
            let own = page.iter().all(|event| event.metadata.project == Some(project));
            if page.is_empty() || !own {
                return Ok(());
            }
            for event in page {
                after = event.version;
                each(event)?;
            }
        }
    }

    /// The newest resource that had a name and is gone.
    pub async fn formerly(&self, project: ProjectId, kind: Kind, name: &str) -> Result<Option<Uuid>, Error> {
        let Some(wanted) = names::Kind::of(kind) else { return Ok(None) };
        let of = wanted.holder(project);
        let filter = Filter {
            categories: vec![Names::CATEGORY.to_owned()],
            kinds: vec![KindFilter::Exact("names.claimed".to_owned())],
            project: Some(of),
            ..Filter::all()
        };
        let (mut after, mut found) = (Position(0), None);
        loop {
            let page = self.log.read(after, &filter, PAGE_EVENTS_MAX).await.map_err(Error::Read)?;
            let Some(last) = page.last() else { return Ok(found) };
            after = last.position;
            for event in &page {
                if let Ok(Event::NameClaimed(claimed)) =
                    Event::decode(&event.kind, event.schema_version, &event.data)
                    && claimed.key.kind == wanted
                    && claimed.key.name == name
                {
                    found = Some(claimed.id);
                }
            }
        }
    }

    /// What differs between two moments, in the order of kinds.
    pub async fn differences(
        &self,
        project: ProjectId,
        from: Moment,
        to: Option<Moment>,
    ) -> Result<(Position, Position, Vec<Difference>), Error> {
        let old = self.world_at(project, from).await?;
        let new = match to {
            Some(to) => Arc::new(self.world_at(project, to).await?),
            None => self.world(),
        };
        Ok((old.position, new.position, compare(&old, &new, project)))
    }

    /// What a source applied, as it was at a moment: the request that brings it back.
    pub async fn request_of_then(
        &self,
        project: ProjectId,
        to: Moment,
        source: Option<String>,
    ) -> Result<Request, Error> {
        let then = self.world_at(project, to).await?;
        let now = self.world();
        let source = one_source(source, &then, &now, project)?;
        let documents = then.inventory(project).into_iter().flat_map(|inventory| inventory.of(&source));
        let documents = documents.filter_map(|(id, kind, share)| {
            let found = plan::resource(kind)?.read(&then, project, id)?;
            let mut document = restricted(&found, &share.fields);
            if kind == Kind::Secret {
                plan::without_lost_value(&now, project, id, &mut document);
            }
            Some(document)
        });
        let documents = documents.collect();
        let spared = older(&then, &now, project, &source);
        let request = Request { source, documents, spared, ..Request::default() };
        Ok(Request { prune: true, force: true, replace: true, ..request })
    }
}

/// One project's turn to look back, and a place for it, until it is dropped.
pub(super) async fn look(project: ProjectId) -> Result<(Turn, SemaphorePermit<'static>), Error> {
    let busy = || Error::Busy("the past".to_owned());
    let turn = LINES.take(project).await.ok_or_else(busy)?;
    Ok((turn, LOOKS.acquire().await.map_err(|_| busy())?))
}

fn at_position(mut world: World, moment: Moment) -> World {
    if let Moment::At(position) = moment {
        world.position = position;
    }
    world
}

fn compare(old: &World, new: &World, project: ProjectId) -> Vec<Difference> {
    let mut differences = vec![];
    for resource in KINDS {
        let read = |world: &World| -> BTreeMap<Uuid, Found> {
            let all = resource.all(world, project).into_iter();
            all.filter_map(|(id, _)| Some((id, resource.read(world, project, id)?))).collect()
        };
        let (was, is) = (read(old), read(new));
        for (id, found) in &is {
            let (action, changes) = match was.get(id) {
                None => (plan::Action::Create, vec![]),
                Some(before) => (plan::Action::Update, plan::diff(&before.document, &found.document)),
            };
            if action == plan::Action::Create || !changes.is_empty() {
                differences.push(Difference { action, key: found.key.clone(), changes });
            }
        }
        for (_, found) in was.iter().filter(|(id, _)| !is.contains_key(id)) {
            let (action, key) = (plan::Action::Delete, found.key.clone());
            differences.push(Difference { action, key, changes: vec![] });
        }
    }
    differences
}

/// What a source holds now that was there already: it was adopted since, not made, and is no source's to delete.
fn older(then: &World, now: &World, project: ProjectId, source: &str) -> BTreeSet<Uuid> {
    let there: HashMap<Key, Uuid> =
        KINDS.iter().flat_map(|resource| resource.all(then, project)).map(|(id, key)| (key, id)).collect();
    let ids: BTreeSet<Uuid> = there.values().copied().collect();
    let is_older = |id: &Uuid, kind: Kind| {
        let key = || Some(plan::resource(kind)?.read(now, project, *id)?.key);
        ids.contains(id) || key().is_some_and(|key| there.contains_key(&key))
    };
    let held = now.inventory(project).into_iter().flat_map(|inventory| inventory.of(source));
    held.filter(|(id, kind, _)| is_older(id, *kind)).map(|(id, ..)| id).collect()
}

/// The source that is asked for, or the only one.
fn one_source(asked: Option<String>, then: &World, now: &World, project: ProjectId) -> Result<String, Error> {
    let sources = |world: &World| -> BTreeSet<String> {
        let entries = world.inventory(project).map(|inventory: &Inventory| inventory.entries.clone());
        entries.unwrap_or_default().values().flat_map(|entry| entry.shares.keys().cloned()).collect()
    };
    let all: BTreeSet<String> = sources(then).into_iter().chain(sources(now)).collect();
    let refuse = |text: String| Error::Invalid { code: "invalid-request", text };
    let names = || all.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if let Some(source) = asked {
        let hint = "`meshagent explain drift` and `meshagent get KIND/NAME -o json` name sources";
        let missing = || Error::NotFound { kind: "source", name: source.clone(), hint };
        return if all.contains(&source) { Ok(source) } else { Err(missing()) };
    }
    match all.len() {
        1 => all.into_iter().next().ok_or_else(|| refuse("no source".to_owned())),
        0 => Err(refuse("nothing was applied in this project, so there is nothing to roll back".to_owned())),
        _ => Err(refuse(format!("several sources applied something: {}; name one with --source", names()))),
    }
}

/// The part of a resource's document that a source set, as the source would write it.
pub(super) fn restricted(found: &Found, fields: &[String]) -> Value {
    let mut document = Value::Object(Map::new());
    for at in ["/version", "/kind", "/metadata/name", "/address"]
        .into_iter()
        .chain(fields.iter().map(String::as_str))
    {
        if let Some(value) = plan::at(&found.document, at) {
            plan::put(&mut document, at, value.clone());
        }
    }
    if let Some(room) = &found.key.room {
        plan::put(&mut document, &format!("/metadata/annotations/{}", spec::ROOM), json!(room));
    }
    document
}

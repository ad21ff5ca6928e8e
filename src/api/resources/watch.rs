//! Following the resources of a kind: what there is, then every change, with bookmarks, resumed at any position that the
//! log can still tell cheaply. A watcher is told states and not each fact between two looks.

use super::{health, is_wanted, wire};
use crate::api::{Api, Problem};
use crate::app::Error;
use crate::app::plan::Resource;
use crate::domain::instance;
use crate::eventlog::{Filter, PAGE_EVENTS_MAX};
use crate::id::{Position, ProjectId};
use crate::projection::{ProjectView, World};
use crate::share::{Place, Places};
use crate::spec::Kind;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::fmt::Write;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

/// Watchers at once.
pub const WATCHERS_MAX: usize = 4096;
/// Of them, those of one project.
pub const WATCHERS_PER_PROJECT_MAX: usize = 1024;
/// Events of a kind that are looked through to resume; those who are further behind list again.
pub const RESUME_EVENTS_MAX: usize = 20_000;
/// How often those who hear nothing else are told how far they are.
pub const BOOKMARK_EVERY: Duration = Duration::from_secs(15);
/// Longest watch; its client resumes.
pub const WATCH_LIMIT: Duration = Duration::from_hours(1);
/// Objects told at once.
const BATCH: usize = 64;

static WATCHERS: LazyLock<Arc<Places<ProjectId>>> =
    LazyLock::new(|| Places::new(WATCHERS_MAX, WATCHERS_PER_PROJECT_MAX));

/// What is told of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Added,
    Modified,
    Deleted,
}

struct Watcher {
    api: Api,
    project: ProjectId,
    resource: &'static dyn Resource,
    room: Option<String>,
    /// As far as it was told, or is being told.
    world: Arc<World>,
    /// What there was before: those that are gone are read there.
    before: Arc<World>,
    waiting: VecDeque<(Told, Uuid, Option<Value>)>,
    /// A bookmark is due as soon as nothing waits.
    mark: bool,
    changes: watch::Receiver<Position>,
    ends: Instant,
    as_events: bool,
    _place: Place<ProjectId>,
}

/// The answer to a watch. Without a position it begins with everything there is.
pub(super) async fn stream(
    api: &Api,
    project: ProjectId,
    resource: &'static dyn Resource,
    room: Option<String>,
    from: Option<Position>,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let place = WATCHERS.take(project).ok_or_else(|| {
        let text = format!(
            "{WATCHERS_PER_PROJECT_MAX} watches of this project or {WATCHERS_MAX} of all are open; try again later"
        );
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text)
    })?;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let as_events = text("accept").is_some_and(|types| types.contains("text/event-stream"));
    let last = text("last-event-id").and_then(|id| id.parse().ok()).map(Position);
    let mut changes = api.app.projection.changes();
    changes.borrow_and_update();
    let world = api.app.world();
    let waiting = match last.or(from) {
        None => {
            let all = resource.all(&world, project).into_iter();
            all.map(|(id, _)| (Told::Added, id, None)).collect()
        }
        Some(from) => since(api, project, resource, &world, from).await?,
    };
    let watcher = Watcher {
        api: api.clone(),
        project,
        resource,
        room,
        before: Arc::clone(&world),
        world,
        waiting,
        mark: true,
        changes,
        ends: Instant::now() + WATCH_LIMIT,
        as_events,
        _place: place,
    };
    let body = Body::from_stream(stream::unfold(watcher, |mut watcher| async move {
        let bytes = watcher.next().await?;
        Some((Ok::<Bytes, Infallible>(bytes), watcher))
    }));
    let media = if as_events { "text/event-stream" } else { "application/x-ndjson" };
    Ok(([(header::CONTENT_TYPE, media), (header::CACHE_CONTROL, "no-store")], body).into_response())
}

/// What happened since a position: every resource that was touched, as it is now.
async fn since(
    api: &Api,
    project: ProjectId,
    resource: &dyn Resource,
    world: &World,
    from: Position,
) -> Result<VecDeque<(Told, Uuid, Option<Value>)>, Problem> {
    if from > world.position {
        let text = format!("position {from} is not there yet, the newest is {}; list again", world.position);
        return Err(Problem::bad_request(text));
    }
    let category = resource.stream(project, Uuid::nil()).category().to_owned();
    let filter = Filter { categories: vec![category], project: Some(project), ..Filter::all() };
    let mut touched: BTreeMap<Uuid, u64> = BTreeMap::new();
    let (mut after, mut seen) = (from, 0);
    loop {
        let page = api.app.log.read(after, &filter, PAGE_EVENTS_MAX).await.map_err(Error::Read)?;
        let Some(last) = page.last() else { break };
        after = last.position;
        seen += page.len();
        if seen > RESUME_EVENTS_MAX {
            let text = format!("too much happened since position {from}; list again, and watch from there");
            return Err(Problem { status: StatusCode::GONE, code: "watch-expired", message: text });
        }
        for event in page.iter().filter(|event| event.position <= world.position) {
            let Ok(id) = Uuid::parse_str(event.stream.key()) else { continue };
            touched
                .entry(id)
                .and_modify(|first| *first = (*first).min(event.version))
                .or_insert(event.version);
        }
    }
    let mut waiting = VecDeque::with_capacity(touched.len());
    for (id, first) in touched {
        if resource.read(world, project, id).is_some() {
            waiting.push_back((if first == 1 { Told::Added } else { Told::Modified }, id, None));
        } else if first > 1 {
            // One that came and went since was never told of.
            let gone = api.app.last_of(project, resource, id).await?;
            let key = gone.map(|found| found.key);
            let object = json!({"kind": resource.kind().as_str(), "id": id, "resource_version": world.position,
                "name": key.as_ref().map(|key| key.name.clone()), "room": key.and_then(|key| key.room)});
            waiting.push_back((Told::Deleted, id, Some(object)));
        }
    }
    Ok(waiting)
}

impl Watcher {
    /// The next bytes to send; `None` when the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let batch = self.batch();
            if !batch.is_empty() {
                return Some(Bytes::from(batch));
            }
            if std::mem::take(&mut self.mark) {
                let object =
                    json!({"kind": self.resource.kind().as_str(), "resource_version": self.world.position});
                return Some(Bytes::from(self.line("BOOKMARK", &object)));
            }
            let now = Instant::now();
            if now >= self.ends {
                return None;
            }
            let until = (now + BOOKMARK_EVERY).min(self.ends);
            match tokio::time::timeout_at(until, self.changes.changed()).await {
                Ok(Ok(())) => self.look(),
                Ok(Err(_)) => return None,
                Err(_) => {
                    self.look();
                    self.mark = true;
                }
            }
        }
    }

    /// Takes the newest world and notes what differs.
    fn look(&mut self) {
        self.changes.borrow_and_update();
        let world = self.api.app.world();
        let empty = ProjectView::default();
        let old = self.world.project(self.project).unwrap_or(&empty);
        let new = world.project(self.project).unwrap_or(&empty);
        let mut ids: BTreeSet<Uuid> = self.resource.changed(old, new).into_iter().collect();
        ids.extend(by_status(self.resource.kind(), old, new));
        let status = |world: &World, id| {
            let found = self.resource.read(world, self.project, id)?;
            let health = health(&self.api, world, self.project);
            Some(wire(&health, world, self.project, id, &found)["status"].take())
        };
        let standing = standing(self.resource.kind(), old, new).into_iter();
        let moved =
            standing.filter(|id| !ids.contains(id) && status(&self.world, *id) != status(&world, *id));
        ids.extend(moved.collect::<Vec<_>>());
        for id in ids {
            let was = self.resource.read(&self.world, self.project, id).is_some();
            let is = self.resource.read(&world, self.project, id).is_some();
            let told = match (was, is) {
                (false, true) => Told::Added,
                (true, true) => Told::Modified,
                (true, false) => Told::Deleted,
                (false, false) => continue,
            };
            self.waiting.push_back((told, id, None));
        }
        self.before = std::mem::replace(&mut self.world, world);
    }

    /// The next objects as text; empty when none waits.
    fn batch(&mut self) -> String {
        let mut text = String::new();
        while !self.waiting.is_empty() && text.is_empty() {
            for _ in 0..BATCH {
                let Some((told, id, known)) = self.waiting.pop_front() else { break };
                if let Some(object) = known.or_else(|| self.object(told, id)) {
                    let word = match told {
                        Told::Added => "ADDED",
                        Told::Modified => "MODIFIED",
                        Told::Deleted => "DELETED",
                    };
                    text.push_str(&self.line(word, &object));
                }
            }
        }
        text
    }

    fn object(&self, told: Told, id: Uuid) -> Option<Value> {
        let world = if told == Told::Deleted { &self.before } else { &self.world };
        let found = self.resource.read(world, self.project, id)?;
        if !is_wanted(self.room.as_deref(), found.key.room.as_deref()) {
            return None;
        }
        let mut object = wire(&health(&self.api, world, self.project), world, self.project, id, &found);
        object["resource_version"] = json!(self.world.position);
        Some(object)
    }

    fn line(&self, word: &str, object: &Value) -> String {
        let text = json!({"type": word, "object": object}).to_string();
        if !self.as_events {
            return format!("{text}\n");
        }
        let mut event = String::new();
        let _ = write!(event, "event: {word}\nid: {}\ndata: {text}\n\n", self.world.position);
        event
    }
}

/// Resources whose status may differ although they do not.
fn by_status(kind: Kind, old: &ProjectView, new: &ProjectView) -> Vec<Uuid> {
    use imbl::ordmap::DiffItem;
    let mut rooms = BTreeSet::new();
    for item in old.sessions.diff(&new.sessions) {
        let (DiffItem::Add(_, slot) | DiffItem::Remove(_, slot) | DiffItem::Update { new: (_, slot), .. }) =
            item;
        rooms.insert(slot.state.room);
    }
    match kind {
        Kind::Room => rooms.into_iter().map(|room| room.uuid()).collect(),
        Kind::Service => {
            let mut ids: Vec<Uuid> = vec![];
            for item in old.instances.diff(&new.instances) {
                let (DiffItem::Add(_, slot)
                | DiffItem::Remove(_, slot)
                | DiffItem::Update { new: (_, slot), .. }) = item;
                let key: instance::Key = slot.state.key;
                ids.push(key.service.uuid());
            }
            if !rooms.is_empty() {
                let here = new
                    .services
                    .iter()
                    .filter(|(_, slot)| slot.state.room.is_none_or(|room| rooms.contains(&room)));
                ids.extend(here.map(|(id, _)| *id));
            }
            ids
        }
        _ => vec![],
    }
}

/// Resources that stand on others: on a room, on services, on what a source applied.
fn standing(kind: Kind, old: &ProjectView, new: &ProjectView) -> Vec<Uuid> {
    let rooms = || !old.rooms.ptr_eq(&new.rooms);
    match kind {
        Kind::Route if rooms() => new.routes.keys().copied().collect(),
        Kind::Mailbox if rooms() => new.mailboxes.keys().copied().collect(),
        Kind::GitSource => {
            let all = new.git_sources.iter();
            all.filter(|(_, slot)| slot.state.spec.health_timeout_seconds.is_some())
                .map(|(id, _)| *id)
                .collect()
        }
        _ => vec![],
    }
}

//! Following the resources of a kind: what there is, then every change, with bookmarks, resumed at any position that the
//! log can still tell cheaply. A watcher is told states and not each fact between two looks. How it is written is up to a
//! [`Form`]: that of this API here, that of Kubernetes in [`crate::api::kubernetes`].

mod settings;

use super::versions::Versions;
use super::{health, is_wanted, wire};
use crate::api::{Api, Problem};
use crate::app::Error;
use crate::app::past::Last;
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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::api) enum Told {
    Added,
    Modified,
    Deleted,
}

impl Told {
    pub(in crate::api) fn word(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One resource of which something is told.
pub(in crate::api) struct News<'a> {
    pub told: Told,
    pub project: ProjectId,
    pub resource: &'static dyn Resource,
    pub id: Uuid,
    /// The state that is told of.
    pub world: &'a World,
    /// The state before; the same one where that is not known.
    pub before: &'a World,
    /// One that is gone since longer, as it was at the end.
    pub gone: Option<&'a Last>,
    /// How far it is: whoever heard of it has heard of all that is less far.
    pub version: Position,
    /// Everything up to here was told with it; none where more of the same state is to come.
    pub whole: Option<Position>,
    /// Everything up to here was told before it.
    pub since: Position,
}

/// How what a watch tells is written.
pub(in crate::api) trait Form: Send + 'static {
    /// The text of one resource; none where it is not wanted.
    fn news(&self, api: &Api, news: &News<'_>) -> Option<String>;

    /// The text of a bookmark; none where none is wanted.
    fn mark(&mut self, kind: Kind, position: Position) -> Option<String>;
}

/// What is followed, and how.
pub(in crate::api) struct Wish<F> {
    /// Whose place among the watches it takes.
    pub caller: ProjectId,
    pub projects: Vec<ProjectId>,
    pub resource: &'static dyn Resource,
    /// Without a position it begins with everything there is.
    pub from: Option<Position>,
    pub limit: Duration,
    pub form: F,
    pub media: &'static str,
}

/// One resource that is still to be told of.
struct Waiting {
    told: Told,
    project: ProjectId,
    id: Uuid,
    gone: Option<Last>,
    version: Position,
}

struct Watcher<F> {
    api: Api,
    projects: Vec<ProjectId>,
    resource: &'static dyn Resource,
    form: F,
    /// As far as it was told, or is being told.
    world: Arc<World>,
    /// What there was before: those that are gone are read there.
    before: Arc<World>,
    waiting: VecDeque<Waiting>,
    /// A bookmark is due as soon as nothing waits.
    mark: bool,
    /// Everything up to here was told.
    since: Position,
    changes: watch::Receiver<Position>,
    ends: Instant,
    _place: Place<ProjectId>,
}

/// This API's own form.
struct Own {
    room: Option<String>,
    as_events: bool,
}

impl Own {
    fn line(&self, word: &str, object: &Value, position: Position) -> String {
        let text = json!({"type": word, "object": object}).to_string();
        if !self.as_events {
            return format!("{text}\n");
        }
        let mut event = String::new();
        let _ = write!(event, "event: {word}\nid: {position}\ndata: {text}\n\n");
        event
    }
}

impl Form for Own {
    fn news(&self, api: &Api, news: &News<'_>) -> Option<String> {
        let (project, kind) = (news.project, news.resource.kind());
        let position = news.whole.unwrap_or(news.since);
        if let Some(last) = news.gone {
            let object = json!({"kind": kind.as_str(), "id": news.id, "resource_version": position,
                "name": last.found.key.name, "room": last.found.key.room});
            return Some(self.line(news.told.word(), &object, position));
        }
        let world = if news.told == Told::Deleted { news.before } else { news.world };
        let found = news.resource.read(world, project, news.id)?;
        if !is_wanted(self.room.as_deref(), found.key.room.as_deref()) {
            return None;
        }
        let mut object = wire(&health(api, world, project), world, project, news.id, &found);
        object["resource_version"] = json!(position);
        Some(self.line(news.told.word(), &object, position))
    }

    fn mark(&mut self, kind: Kind, position: Position) -> Option<String> {
        let object = json!({"kind": kind.as_str(), "resource_version": position});
        Some(self.line("BOOKMARK", &object, position))
    }
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
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let as_events = text("accept").is_some_and(|types| types.contains("text/event-stream"));
    let last = text("last-event-id").and_then(|id| id.parse().ok()).map(Position);
    let wish = Wish {
        caller: project,
        projects: vec![project],
        resource,
        from: last.or(from),
        limit: WATCH_LIMIT,
        form: Own { room, as_events },
        media: if as_events { "text/event-stream" } else { "application/x-ndjson" },
    };
    follow(api, wish).await
}

/// A watch as the body of an answer.
pub(in crate::api) async fn follow<F: Form>(api: &Api, wish: Wish<F>) -> Result<Response, Problem> {
    let place = WATCHERS.take(wish.caller).ok_or_else(|| {
        let text = format!(
            "{WATCHERS_PER_PROJECT_MAX} watches of this project or {WATCHERS_MAX} of all are open; try again later"
        );
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text)
    })?;
    let mut changes = api.app.projection.changes();
    changes.borrow_and_update();
    let world = api.app.world();
    let mut waiting = vec![];
    for project in wish.projects.iter().copied() {
        match wish.from {
            None => {
                let versions = Versions::of(&world, project);
                let all = wish.resource.all(&world, project).into_iter();
                let told = Told::Added;
                waiting.extend(all.map(|(id, _)| {
                    let version = versions.at(wish.resource, id);
                    Waiting { told, project, id, gone: None, version }
                }));
            }
            Some(from) => waiting.extend(since(api, project, wish.resource, &world, from).await?),
        }
    }
    in_order(&mut waiting);
    let watcher = Watcher {
        api: api.clone(),
        projects: wish.projects,
        resource: wish.resource,
        form: wish.form,
        before: Arc::clone(&world),
        since: wish.from.unwrap_or(world.position),
        world,
        waiting: waiting.into(),
        mark: true,
        changes,
        ends: Instant::now() + wish.limit.min(WATCH_LIMIT),
        _place: place,
    };
    let body = Body::from_stream(stream::unfold(watcher, |mut watcher| async move {
        let bytes = watcher.next().await?;
        Some((Ok::<Bytes, Infallible>(bytes), watcher))
    }));
    Ok(([(header::CONTENT_TYPE, wish.media), (header::CACHE_CONTROL, "no-store")], body).into_response())
}

/// Those that are gone first, so that what took the name of one comes after it; then those that changed longest ago: whoever
/// heard of one has heard of all before it.
fn in_order(waiting: &mut [Waiting]) {
    waiting.sort_by_key(|one| (one.told != Told::Deleted, one.version, one.project, one.id));
}

/// What happened since a position: every resource that was touched, as it is now.
async fn since(
    api: &Api,
    project: ProjectId,
    resource: &dyn Resource,
    world: &World,
    from: Position,
) -> Result<Vec<Waiting>, Problem> {
    if from > world.position {
        let text = format!("position {from} is not there yet, the newest is {}; list again", world.position);
        return Err(Problem::bad_request(text));
    }
    if resource.kind() == Kind::RoomRoles {
        return settings::since(api, project, resource, world, from).await;
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
    let versions = Versions::of(world, project);
    let mut waiting = Vec::with_capacity(touched.len());
    for (id, _) in resource.all(world, project) {
        let version = versions.at(resource, id);
        // What did not change itself may be told otherwise for what it stands on.
        let told = match touched.remove(&id) {
            Some(1) => Told::Added,
            Some(_) => Told::Modified,
            None if version > from => Told::Modified,
            None => continue,
        };
        waiting.push(Waiting { told, project, id, gone: None, version });
    }
    for (id, _) in touched.into_iter().filter(|(_, first)| *first > 1) {
        // Some are there and not told of, such as tasks without a name.
        if resource.read(world, project, id).is_some() {
            continue;
        }
        // One that came and went since was never told of.
        if let Some(gone) = api.app.last_of(project, resource, id).await? {
            let version = world.position;
            waiting.push(Waiting { told: Told::Deleted, project, id, gone: Some(gone), version });
        }
    }
    Ok(waiting)
}

impl<F: Form> Watcher<F> {
    /// The next bytes to send; `None` when the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let batch = self.batch();
            if !batch.is_empty() {
                return Some(Bytes::from(batch));
            }
            self.since = self.world.position;
            if std::mem::take(&mut self.mark)
                && let Some(text) = self.form.mark(self.resource.kind(), self.world.position)
            {
                return Some(Bytes::from(text));
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
        let mut waiting = vec![];
        for project in self.projects.iter().copied() {
            waiting.extend(self.differing(project, &world));
        }
        in_order(&mut waiting);
        self.waiting.extend(waiting);
        self.before = std::mem::replace(&mut self.world, world);
    }

    /// What differs of a project between the state that was told and a newer one.
    fn differing(&self, project: ProjectId, world: &World) -> Vec<Waiting> {
        let empty = ProjectView::default();
        let old = self.world.project(project).unwrap_or(&empty);
        let new = world.project(project).unwrap_or(&empty);
        let kind = self.resource.kind();
        let mut ids: BTreeSet<Uuid> = self.resource.changed(old, new).into_iter().collect();
        ids.extend(by_status(kind, old, new));
        let standing = standing(kind, old, new);
        if !standing.is_empty() {
            let (was, is) = (health(&self.api, &self.world, project), health(&self.api, world, project));
            ids.extend(standing.into_iter().filter(|id| was.status(kind, *id) != is.status(kind, *id)));
        }
        let versions = Versions::of(world, project);
        let mut waiting = vec![];
        for id in ids {
            let was = self.resource.read(&self.world, project, id).is_some();
            let is = self.resource.read(world, project, id).is_some();
            let told = match (was, is) {
                (false, true) => Told::Added,
                (true, true) => Told::Modified,
                (true, false) => Told::Deleted,
                (false, false) => continue,
            };
            let version = versions.at(self.resource, id);
            waiting.push(Waiting { told, project, id, gone: None, version });
        }
        waiting
    }

    /// The next objects as text; empty when none waits.
    fn batch(&mut self) -> String {
        let mut text = String::new();
        while !self.waiting.is_empty() && text.is_empty() {
            for _ in 0..BATCH {
                let Some(one) = self.waiting.pop_front() else { break };
                let whole = self.waiting.is_empty().then_some(self.world.position);
                let live = if one.told == Told::Deleted { self.since } else { one.version.max(self.since) };
                let news = News {
                    told: one.told,
                    project: one.project,
                    resource: self.resource,
                    id: one.id,
                    world: &self.world,
                    before: &self.before,
                    gone: one.gone.as_ref(),
                    version: whole.unwrap_or(live),
                    whole,
                    since: self.since,
                };
                text.extend(self.form.news(&self.api, &news));
            }
        }
        text
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

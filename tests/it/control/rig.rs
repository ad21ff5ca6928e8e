//! One server's controllers with everything around them in memory, on a clock that follows tokio's.
//!
//! The tests run with tokio's time paused: where all wait, time jumps to the next timer, so that a back-off of
//! minutes takes none, and nothing sleeps to let others finish.

use super::flaky::FlakyQueues;
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use meshagent::app::attempts::Attempts;
use meshagent::app::host::{Hosted, RoomHost};
use meshagent::app::{Actor, App, Error, NewProject, Settings};
use meshagent::blob::Blobs;
use meshagent::clock::{Clock, Fixed, IdSource};
use meshagent::control::{self, ControlHandle, ControlParts};
use meshagent::domain::room;
use meshagent::domain::session::Reason;
use meshagent::eventlog::EventLog;
use meshagent::eventlog::memory::MemoryLog;
use meshagent::feed::{Feeds, MemoryFeeds};
use meshagent::id::{ProjectId, RoomId, ScheduledTaskId, ServiceId, SessionId};
use meshagent::lease::{LeaseStore, MemoryLeases};
use meshagent::name::{QueueName, RoomName};
use meshagent::projection::{Projection, World};
use meshagent::queue::{Limits, MemoryQueues, QueueKey, QueueStore};
use meshagent::runtime::{FakeRuntime, InstanceKey};
use meshagent::vault::{Kek, MemorySecrets, Vault};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Longest wait for anything, in the tests' time.
const LIMIT: Duration = Duration::from_hours(48);

/// A clock that moves with tokio's.
pub struct TokioClock {
    base: DateTime<Utc>,
    started: Instant,
}

impl Clock for TokioClock {
    fn now(&self) -> DateTime<Utc> {
        self.base + TimeDelta::from_std(self.started.elapsed()).unwrap()
    }
}

/// What several servers share.
#[derive(Clone)]
pub struct Shared {
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    pub log: Arc<dyn EventLog>,
    pub queues: Arc<FlakyQueues>,
    pub leases: Arc<dyn LeaseStore>,
    pub feeds: Arc<Feeds>,
}

impl Shared {
    pub fn at(base: &str) -> Self {
        let clock: Arc<dyn Clock> =
            Arc::new(TokioClock { base: base.parse().unwrap(), started: Instant::now() });
        let ids: Arc<dyn IdSource> = Arc::new(Fixed::at(clock.now()));
        Self {
            log: Arc::new(MemoryLog::new(Arc::clone(&clock))),
            queues: Arc::new(FlakyQueues::new(MemoryQueues::new(
                Limits::default(),
                Arc::clone(&clock),
                Arc::clone(&ids),
            ))),
            leases: Arc::new(MemoryLeases::new(Arc::clone(&clock))),
            feeds: Arc::new(Feeds::new(Arc::new(MemoryFeeds::default()), Arc::clone(&clock))),
            clock,
            ids,
        }
    }

    pub fn new() -> Self {
        Self::at("2026-01-01T00:00:00Z")
    }
}

/// Runs rooms without anybody in them.
pub struct FakeHost {
    app: Arc<App>,
    rooms: Mutex<BTreeMap<RoomId, (SessionId, Option<DateTime<Utc>>)>>,
    pub lines: Mutex<Vec<(RoomId, String, Value)>>,
    /// How many of the next opens fail.
    pub refuse: Mutex<u32>,
    /// How long the next open takes.
    pub slow: Mutex<Duration>,
    /// How many of the next answers name no live session.
    pub forgets: Mutex<u32>,
    /// What happens while the next session ends.
    pub meanwhile: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl FakeHost {
    /// Says since when a room is idle; `None`: somebody is there.
    pub fn set_idle(&self, room: RoomId, since: Option<DateTime<Utc>>) {
        self.rooms.lock().unwrap().get_mut(&room).unwrap().1 = since;
    }
}

#[async_trait]
impl RoomHost for FakeHost {
    async fn open(&self, room: RoomId) -> Result<Hosted, Error> {
        {
            let mut refuse = self.refuse.lock().unwrap();
            if *refuse > 0 {
                *refuse -= 1;
                return Err(Error::Busy("a room".into()));
            }
        }
        let slow = std::mem::take(&mut *self.slow.lock().unwrap());
        tokio::time::sleep(slow).await; // time is paused
        let url = self.app.settings.public_url.clone();
        if let Some((session, _)) = self.rooms.lock().unwrap().get(&room) {
            return Ok(Hosted { session: *session, url, elsewhere: None });
        }
        let session = self.app.start_session(&Actor::controller("test"), room, 1).await?;
        self.rooms.lock().unwrap().insert(room, (session, None));
        Ok(Hosted { session, url, elsewhere: None })
    }

    fn roles(&self, _room: RoomId) -> BTreeMap<String, u64> {
        BTreeMap::new()
    }

    fn idle_since(&self, room: RoomId) -> Option<DateTime<Utc>> {
        self.rooms.lock().unwrap().get(&room)?.1
    }

    fn live(&self) -> Vec<(RoomId, SessionId)> {
        let mut forgets = self.forgets.lock().unwrap();
        if *forgets > 0 {
            *forgets -= 1;
            return vec![];
        }
        self.rooms.lock().unwrap().iter().map(|(room, (session, _))| (*room, *session)).collect()
    }

    async fn end(&self, room: RoomId, session: SessionId, reason: Reason) {
        let gone = {
            let mut rooms = self.rooms.lock().unwrap();
            rooms.get(&room).is_some_and(|(live, _)| *live == session) && rooms.remove(&room).is_some()
        };
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile.await;
        }
        if gone {
            self.app.end_session(&Actor::controller("test"), session, reason).await.unwrap();
        }
    }

    fn file_changed(&self, _room: RoomId, _path: &str, _deleted: bool, _by: &str) {}

    fn log_line(&self, room: RoomId, kind: &str, data: Value) {
        self.lines.lock().unwrap().push((room, kind.to_owned(), data));
    }
}

/// One server.
pub struct Rig {
    pub shared: Shared,
    pub app: Arc<App>,
    pub host: Arc<FakeHost>,
    pub runtime: Arc<FakeRuntime>,
    pub blobs: Blobs,
    pub control: ControlHandle,
    /// Of these controllers.
    pub parts: ControlParts,
    pub project: ProjectId,
}

/// Who acts in the tests.
pub fn actor() -> Actor {
    Actor::new("service-account", "test")
}

async fn app(shared: &Shared, server: &str) -> Arc<App> {
    let vault = Vault::new(Kek::random().unwrap(), Arc::new(MemorySecrets::default()));
    let projection = Projection::open(Arc::clone(&shared.log)).await.unwrap();
    tokio::spawn(Arc::clone(&projection).follow());
    Arc::new(App {
        log: Arc::clone(&shared.log),
        projection,
        vault: Arc::new(vault),
        clock: Arc::clone(&shared.clock),
        ids: Arc::clone(&shared.ids),
        settings: Settings {
            auto_create_rooms: true,
            templates: Arc::new(meshagent::domain::template::Here),
            schedule_floor_seconds: 1,
            mail_domain: None,
            proxy_domain: None,
            age: Arc::default(),
            server_name: server.to_owned(),
            public_url: format!("http://{server}:8078"),
            server_url: format!("http://{server}:8078"),
        },
        attempts: Attempts::default(),
    })
}

impl Rig {
    /// A server with a project, alone.
    pub async fn new() -> Self {
        Self::on(&Shared::new(), "one").await
    }

    /// A server on what others use too. The first makes the project.
    pub async fn on(shared: &Shared, server: &str) -> Self {
        let app = app(shared, server).await;
        let known = app.world().projects().map(|(id, _)| id).next();
        let project = match known {
            Some(project) => project,
            None => {
                let new = NewProject { id: None, name: "Test".into(), key: None };
                app.create_project(&actor(), new).await.unwrap().0
            }
        };
        let host = Arc::new(FakeHost {
            app: Arc::clone(&app),
            rooms: Mutex::default(),
            lines: Mutex::default(),
            refuse: Mutex::default(),
            slow: Mutex::default(),
            forgets: Mutex::default(),
            meanwhile: Mutex::default(),
        });
        let runtime = Arc::new(FakeRuntime::new(Arc::clone(&shared.clock)));
        let blobs = Blobs::from_object_store(Arc::new(object_store::memory::InMemory::new()));
        let parts = ControlParts {
            repositories: None,
            app: Arc::clone(&app),
            host: Arc::clone(&host) as Arc<dyn RoomHost>,
            runtime: Arc::clone(&runtime) as Arc<dyn meshagent::runtime::Runtime>,
            queues: Arc::clone(&shared.queues) as Arc<dyn QueueStore>,
            leases: Arc::clone(&shared.leases),
            blobs: blobs.clone(),
            feeds: Arc::clone(&shared.feeds),
            holder: server.to_owned(),
            settings: control::Settings::default(),
        };
        let control = control::start(parts.clone());
        Self { shared: shared.clone(), app, host, runtime, blobs, control, parts, project }
    }

    pub async fn room(&self, name: &str) -> RoomId {
        self.room_with(name, &[]).await
    }

    pub async fn room_with(&self, name: &str, annotations: &[(&str, &str)]) -> RoomId {
        let created = room::Created {
            name: RoomName::new(name).unwrap(),
            metadata: serde_json::Map::new(),
            annotations: annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            enabled: true,
            users: None,
        };
        self.app.create_room(&actor(), self.project, created, false).await.unwrap()
    }

    /// A service whose container runs `command`; `more` goes into the document.
    pub async fn service(&self, room: Option<RoomId>, name: &str, more: Value) -> ServiceId {
        self.app.create_service(&actor(), self.project, room, spec(name, more)).await.unwrap()
    }

    pub async fn update_service(&self, id: ServiceId, name: &str, more: Value) {
        self.app.update_service(&actor(), id, spec(name, more)).await.unwrap();
    }

    pub async fn task(&self, room: RoomId, document: Value) -> ScheduledTaskId {
        let spec = serde_json::from_value(document).unwrap();
        self.app.create_task(&actor(), room, spec).await.unwrap()
    }

    /// Waits until the world is as asked; `what` is for the message.
    pub async fn until(&self, what: &str, fits: impl Fn(&World) -> bool) {
        let mut changes = self.app.projection.changes();
        let wait = async {
            while !fits(&self.app.world()) {
                changes.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(LIMIT, wait).await.is_err() {
            panic!("waited in vain until {what}; {:#?}", self.shared.clock.now());
        }
    }

    /// Waits until the present instance of a service is as asked.
    pub async fn until_instance(
        &self,
        service: ServiceId,
        what: &str,
        fits: impl Fn(&meshagent::domain::instance::Instance) -> bool,
    ) {
        let project = self.project;
        self.until(what, |world| world.instances(project).any(|i| i.key.service == service && fits(i))).await;
    }

    /// Lets time pass, and with it all that is due in it.
    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await; // time is paused
    }

    pub fn key(room: RoomId, service: ServiceId) -> InstanceKey {
        InstanceKey { room, service, container: 0 }
    }

    /// Bodies of the items in a queue, which are taken out.
    pub async fn drain(&self, room: RoomId, queue: &str) -> Vec<Value> {
        let key = QueueKey::new(room, QueueName::new(queue).unwrap());
        let mut bodies = Vec::new();
        while let Ok(Some(item)) = self.shared.queues.receive(&key).await {
            bodies.push(serde_json::from_str(&item.body).unwrap());
        }
        bodies
    }
}

fn spec(name: &str, more: Value) -> meshagent::spec::Service {
    let mut document = json!({
        "version": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "container": {"image": "meshagent/cli:default", "template": "agent", "command": "meshagent process join"},
    });
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(document).unwrap()
}

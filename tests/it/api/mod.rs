//! The REST edge, in process: the real router over in-memory stores.

mod access;
mod declared_kinds;
mod declared_secrets;
mod declared_together;
mod feeds;
mod files;
mod llm;
mod managed;
mod members;
mod oauth;
mod pausing;
mod plan;
mod project_kind;
mod proxy;
mod rooms;
mod routes;
mod secrets;
mod telemetry;
mod wire;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use chrono::{DateTime, Utc};
use meshagent::api::{self, Api, Llm};
use meshagent::app::attempts::Attempts;
use meshagent::app::host::{Hosted, RoomHost};
use meshagent::app::ingest::Ingest;
use meshagent::app::links::Links;
use meshagent::app::outward::Outward;
use meshagent::app::servers::Servers;
use meshagent::app::{Actor, AgeIdentities, AgeKeys, App, Error, NewKey, NewProject, Settings};
use meshagent::blob::Blobs;
use meshagent::clock::{Clock, IdSource, System};
use meshagent::domain::session::Reason;
use meshagent::eventlog::memory::MemoryLog;
use meshagent::feed::{Feeds, MemoryFeeds};
use meshagent::id::{ProjectId, RoomId, SessionId};
use meshagent::lease::MemoryLeases;
use meshagent::llm::Provider;
use meshagent::llm::upstream::{Endpoint, Upstreams};
use meshagent::llm::usage::{Ledger, MemoryUsage};
use meshagent::mail::outbox::SqliteOutbox;
use meshagent::projection::Projection;
use meshagent::store::sqlite::Sqlite;
use meshagent::telemetry::{Limits, Telemetry};
use meshagent::vault::age::Identity;
use meshagent::vault::{Kek, MemorySecrets, Secret, Vault};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;

/// Largest answer read in a test, bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Records nothing and runs nothing: rooms open at once.
#[derive(Debug)]
struct NoRooms {
    app: Arc<App>,
}

#[async_trait]
impl RoomHost for NoRooms {
    async fn open(&self, room: RoomId) -> Result<Hosted, Error> {
        let session = match self.app.world().active_session(room) {
            Some((session, _)) => session,
            None => self.app.start_session(&Actor::controller("test"), room, 1).await?,
        };
        Ok(Hosted { session, url: "http://host".to_owned(), elsewhere: None })
    }
    fn roles(&self, _room: RoomId) -> BTreeMap<String, u64> {
        BTreeMap::from([("user".to_owned(), 1)])
    }
    fn idle_since(&self, _room: RoomId) -> Option<DateTime<Utc>> {
        None
    }
    fn live(&self) -> Vec<(RoomId, SessionId)> {
        vec![]
    }
    async fn end(&self, _room: RoomId, session: SessionId, reason: Reason) {
        self.app.end_session(&Actor::controller("test"), session, reason).await.unwrap();
    }
    fn file_changed(&self, _room: RoomId, _path: &str, _deleted: bool, _by: &str) {}
    fn log_line(&self, _room: RoomId, _kind: &str, _data: Value) {}
}

/// A platform with two projects, each with a key.
pub struct Platform {
    pub app: Arc<App>,
    pub router: Router,
    pub project: ProjectId,
    pub key: String,
    pub other_key: String,
    pub ingest: Arc<Ingest>,
    pub feeds: Arc<Feeds>,
    _files: tempfile::TempDir,
}

impl Platform {
    pub async fn new() -> Self {
        Self::with(Outward::default()).await
    }

    /// With what an operator chose about the way out.
    pub async fn with(outward: Outward) -> Self {
        Self::with_models(outward, vec![]).await
    }

    /// With the operator's providers of models, too.
    pub async fn with_models(outward: Outward, operator: Vec<(Provider, Endpoint)>) -> Self {
        let files = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(System);
        let ids: Arc<dyn IdSource> = Arc::new(System);
        let log = Arc::new(MemoryLog::new(Arc::clone(&clock)));
        let projection = Projection::open(log.clone()).await.unwrap();
        let vault = Vault::new(Kek::random().unwrap(), Arc::new(MemorySecrets::default()));
        let app = Arc::new(App {
            log,
            projection,
            vault: Arc::new(vault),
            clock,
            ids: Arc::clone(&ids),
            settings: Settings {
                auto_create_rooms: false,
                templates: Arc::new(meshagent::domain::template::Here),
                schedule_floor_seconds: 60,
                mail_domain: None,
                proxy_domain: None,
                age: Arc::new(age_keys()),
                server_name: "test".to_owned(),
                public_url: "http://host".to_owned(),
                server_url: "http://host".to_owned(),
            },
            attempts: Attempts::default(),
        });
        let (project, key) = project(&app, "one").await;
        app.settings.age.own.get_or_init(|| project);
        let (_, other_key) = project_key(&app, "two").await;
        let ingest = Arc::new(Ingest::new(&Secret::new(b"0123456789abcdef".to_vec())));
        let ledger = Ledger::new(Arc::new(MemoryUsage::default()), Arc::new(System));
        let upstreams = Upstreams::new(operator, outward.allowed.clone()).unwrap();
        let leases = Arc::new(MemoryLeases::new(Arc::new(System)));
        let feeds = Arc::new(Feeds::new(Arc::new(MemoryFeeds::default()), Arc::new(System)));
        let api = Api {
            app: Arc::clone(&app),
            host: Arc::new(NoRooms { app: Arc::clone(&app) }),
            files: Blobs::local(files.path(), ids),
            links: Arc::new(Links::new(&Secret::new(b"0123456789abcdef".to_vec()), "http://host".into())),
            outward: Arc::new(outward),
            ingest: Arc::clone(&ingest),
            telemetry: Telemetry::open(files.path(), Limits::default(), Arc::new(System)).unwrap(),
            llm: Arc::new(Llm::new(upstreams, Arc::new(ledger))),
            servers: Arc::new(Servers::new(Arc::clone(&app), leases, Duration::from_secs(15))),
            outbox: Arc::new(SqliteOutbox::new(
                Arc::new(Sqlite::open(&files.path().join("database")).unwrap()),
                Arc::new(System),
                Arc::new(System),
            )),
            feeds: Arc::clone(&feeds),
            forward: None,
            authority: "".into(),
        };
        Self { app, router: api::router(api), project, key, other_key, ingest, feeds, _files: files }
    }

    /// Sends a request; answers status and body (null where it is not JSON).
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&str>,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(bearer) = bearer {
            request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Body::empty, |b| Body::from(b.to_string()));
        let answer = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = answer.status();
        let bytes = axum::body::to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// Sends with the project's own key; `path` is below the project.
    pub async fn ok(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let path = format!("/accounts/projects/{}{path}", self.project);
        let (status, answer) = self.send(method, &path, Some(&self.key), body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }
}

/// What opens `tests/fixtures/age/value.age`, for the server's own project.
fn age_keys() -> AgeKeys {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/age/identity.txt");
    let identities = Identity::parse_file(&std::fs::read_to_string(file).unwrap()).unwrap();
    AgeKeys { all: vec![AgeIdentities { project: None, identities }], ..AgeKeys::default() }
}

async fn project(app: &App, name: &str) -> (ProjectId, String) {
    project_key(app, name).await
}

async fn project_key(app: &App, name: &str) -> (ProjectId, String) {
    let actor = Actor::new("test", "setup");
    let new = NewProject { id: None, name: name.to_owned(), key: None };
    let (project, account) = app.create_project(&actor, new).await.unwrap();
    let (_, key) = app.create_key(&actor, account, NewKey::default()).await.unwrap();
    (project, key.reveal())
}

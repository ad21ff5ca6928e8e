//! A server with only the room edge, its gate and keeper simple enough to steer.

use super::client::Client;
use async_trait::async_trait;
use axum::serve::ListenerExt;
use meshagent::blob::Blobs;
use meshagent::clock::System;
use meshagent::dataset::SqliteDatasets;
use meshagent::document::Documents;
use meshagent::id::{ProjectId, RoomId, ServiceId, SessionId};
use meshagent::queue::{Limits, MemoryQueues, QueueStore};
use meshagent::room::world::{
    Admission, Callouts, EndReason, FileLinks, Gate, Host, OpenedSession, Presence, Refusal, RoomRef,
    ServiceError, Services, SessionKeeper,
};
use meshagent::room::{Bus, BusParts, Hub, Limits as RoomLimits, RoomEdge, router, toolkits};
use meshagent::spec::ApiScope;
use meshagent::sqlite_db::SqliteDatabases;
use meshagent::volume::Volume;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use uuid::Uuid;

/// One running edge; dropped, it stops.
pub struct Edge {
    pub address: SocketAddr,
    pub hub: Arc<Hub>,
    pub queues: Arc<dyn QueueStore>,
    pub keeper: Arc<Keeper>,
    pub services: Arc<FakeServices>,
    pub documents: Arc<Documents>,
    files: TempDir,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Rooms called `small` have small limits.
fn limits_of(room: &str) -> RoomLimits {
    let mut limits = RoomLimits::default();
    if room == "small" {
        limits = RoomLimits {
            participants: 2,
            waiting_messages: 64,
            waiting_bytes: 64 * 1024,
            open_calls: 8,
            unread_bytes: 64 * 1024,
        };
    }
    limits
}

pub fn room_id(name: &str) -> RoomId {
    let project = ProjectId::new(Uuid::from_u128(1));
    RoomId::new(project, Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()))
}

/// Tokens here are JSON: `{"name", "role"?, "api"?, "service"?}`; rooms `gone`, `off`, `starting` and `far` refuse.
struct TestGate;

#[async_trait]
impl Gate for TestGate {
    async fn admit(&self, room: &str, token: &str) -> Result<Admission, Refusal> {
        match room {
            "gone" => return Err(Refusal::NoRoom("room `gone` does not exist; create it".into())),
            "off" => return Err(Refusal::Disabled("room `off` is disabled; enable it".into())),
            _ => {}
        }
        let text = hex_decode(token)
            .ok_or_else(|| Refusal::Forbidden("the token is broken; mint another".into()))?;
        let token: Value = serde_json::from_slice(&text)
            .map_err(|_| Refusal::Forbidden("the token is broken; mint another".into()))?;
        let api =
            token.get("api").map_or_else(ApiScope::full, |api| serde_json::from_value(api.clone()).unwrap());
        let id = room_id(room);
        Ok(Admission {
            room: RoomRef {
                id,
                name: room.to_owned(),
                url: format!("http://test/rooms/{room}"),
                limits: limits_of(room),
            },
            name: token["name"].as_str().unwrap().to_owned(),
            role: token.get("role").and_then(Value::as_str).unwrap_or("user").to_owned(),
            api: Arc::new(api),
            service: token.get("service").map(|_| ServiceId::new(id.project(), Uuid::from_u128(9))),
        })
    }
}

/// A token for [`TestGate`]; hexadecimal, so that it may also be a sub-protocol.
pub fn token(claims: &Value) -> String {
    claims.to_string().bytes().map(|b| format!("{b:02x}")).collect()
}

fn hex_decode(text: &str) -> Option<Vec<u8>> {
    let byte = |i: usize| u8::from_str_radix(text.get(i..i + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// How often the end of a session lets others go first.
const ENDING_YIELDS: usize = 20;

/// Remembers what it was told.
#[derive(Default)]
pub struct Keeper {
    opened: AtomicU64,
    pub ended: Mutex<Vec<(SessionId, EndReason)>>,
    /// Rooms whose sessions are being ended.
    ending: Mutex<HashSet<RoomId>>,
    /// Sessions that were opened while another of the room was being ended.
    pub overlaps: AtomicU64,
    /// Where the room `far` is hosted.
    pub far: Mutex<Option<String>>,
}

#[async_trait]
impl SessionKeeper for Keeper {
    async fn open(&self, room: &RoomRef) -> Result<Host, Refusal> {
        match room.name.as_str() {
            "starting" => return Err(Refusal::NotReady("room `starting` is starting; connect again".into())),
            "far" => {
                if let Some(url) = self.far.lock().unwrap().clone() {
                    return Ok(Host::Elsewhere { url });
                }
            }
            _ => {}
        }
        if self.ending.lock().unwrap().contains(&room.id) {
            self.overlaps.fetch_add(1, Ordering::SeqCst);
        }
        let n = self.opened.fetch_add(1, Ordering::SeqCst) + 1;
        let id = SessionId::new(room.id.project(), Uuid::from_u128(u128::from(n)));
        Ok(Host::Here(OpenedSession { id, epoch: n }))
    }

    fn touched(&self, _: RoomId, _: SessionId, _: &str, _: Presence) {}

    async fn ended(&self, room: RoomId, session: SessionId, reason: EndReason) {
        self.ending.lock().unwrap().insert(room);
        for _ in 0..ENDING_YIELDS {
            tokio::task::yield_now().await;
        }
        self.ending.lock().unwrap().remove(&room);
        self.ended.lock().unwrap().push((session, reason));
    }
}

/// One service that runs.
#[derive(Default)]
pub struct FakeServices {
    pub restarted: Mutex<Vec<String>>,
}

#[async_trait]
impl Services for FakeServices {
    async fn list(&self, _: RoomId) -> Result<Vec<(Value, Value)>, ServiceError> {
        Ok(vec![(
            json!({"version": "v1", "kind": "Service"}),
            json!({"service_id": "s1", "state": "running"}),
        )])
    }

    async fn restart(&self, _: RoomId, service_id: &str, by: &str) -> Result<(), ServiceError> {
        if service_id != "s1" {
            return Err(ServiceError::NotFound(service_id.to_owned()));
        }
        self.restarted.lock().unwrap().push(format!("{service_id} by {by}"));
        Ok(())
    }
}

/// The secret of the test's webhooks.
pub const WEBHOOK_SECRET: &[u8] = b"the secret of the webhooks";

struct FakeCallouts;

#[async_trait]
impl Callouts for FakeCallouts {
    async fn mint(
        &self,
        room: &RoomRef,
        name: &str,
        api: Option<&Map<String, Value>>,
    ) -> Result<String, String> {
        Ok(json!([room.name, name, api]).to_string())
    }
    async fn webhook_secret(&self, _room: &RoomRef) -> Result<Vec<u8>, String> {
        Ok(WEBHOOK_SECRET.to_vec())
    }
    fn allowed_hosts(&self) -> &meshagent::net::guard::Allowed {
        use meshagent::net::guard::Allowed;
        static HOSTS: std::sync::LazyLock<Allowed> =
            std::sync::LazyLock::new(|| Allowed::new(["127.0.0.1".to_owned()]));
        &HOSTS
    }
}

struct TestLinks;

impl FileLinks for TestLinks {
    fn url(&self, room: &RoomRef, path: &str, download: bool) -> Result<String, String> {
        Ok(format!("http://test/files/{}/{path}?download={download}", room.name))
    }
}

impl Edge {
    pub async fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let queues: Arc<dyn QueueStore> =
            MemoryQueues::new(Limits::default(), Arc::new(System), Arc::new(System));
        let keeper = Arc::new(Keeper::default());
        let services = Arc::new(FakeServices::default());
        let hub = Arc::new(Hub::new(Arc::clone(&keeper) as _, Arc::new(System), Arc::new(System)));
        let blobs = Blobs::local(files.path(), Arc::new(System));
        let documents = Arc::new(Documents::new(
            Volume::new(files.path()),
            blobs.clone(),
            Arc::new(System),
            Arc::new(System),
        ));
        let bus = Bus::new(BusParts {
            hub: Arc::clone(&hub),
            toolkits: vec![
                Arc::new(toolkits::queues::Queues::new(Arc::clone(&queues))),
                Arc::new(toolkits::storage::Storage::new(blobs.clone(), Some(Arc::new(TestLinks)))),
                Arc::new(toolkits::messaging::Messaging::default()),
                Arc::new(toolkits::developer::Developer::default()),
                Arc::new(toolkits::services::Services::new(Arc::clone(&services) as _)),
                Arc::new(toolkits::sync::Sync::new(Arc::clone(&documents))),
                Arc::new(toolkits::dataset::Dataset::new(
                    Arc::new(SqliteDatasets::new(
                        Volume::new(files.path()),
                        Arc::new(System),
                        Arc::new(System),
                    )),
                    blobs.clone(),
                    Arc::new(System),
                    files.path().join("imports"),
                )),
                Arc::new(toolkits::sqlite::Sqlite::new(
                    Arc::new(SqliteDatabases::new(
                        Volume::new(files.path()),
                        Arc::new(System),
                        Arc::new(System),
                    )),
                    Arc::new(System),
                )),
            ],
            callouts: Some(Arc::new(FakeCallouts)),
            clock: Arc::new(System),
            ids: Arc::new(System),
        });
        let app = router(RoomEdge { bus: Arc::new(bus), gate: Arc::new(TestGate) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = listener.tap_io(|tcp| tcp.set_nodelay(true).unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, hub, queues, keeper, services, documents, files, server }
    }

    /// What lies in a folder of the room `room` on the volume.
    pub fn leftovers(&self, folder: &str) -> Vec<String> {
        let folder = Volume::new(self.files.path()).room(room_id("room")).join(folder);
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Somebody with all grants in the room `room`.
    pub async fn join(&self, name: &str) -> Client {
        self.join_as(&json!({"name": name})).await
    }

    pub async fn join_as(&self, claims: &Value) -> Client {
        Client::enter(self.address, "room", &token(claims)).await
    }
}

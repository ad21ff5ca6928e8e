//! The log is the truth: whatever was commanded, the replayed log is the live state, from the start and from any
//! snapshot, and every event survives its own encoding.

use meshagent::app::attempts::Attempts;
use meshagent::app::{Actor, App, Settings};
use meshagent::clock::{Clock, IdSource, System};
use meshagent::domain::Event;
use meshagent::domain::mailbox::Mailbox;
use meshagent::domain::room::{Created, Updated};
use meshagent::domain::session::Reason;
use meshagent::eventlog::memory::MemoryLog;
use meshagent::eventlog::{EventLog, Filter, PAGE_EVENTS_MAX, Recorded, Snapshot};
use meshagent::id::{Position, ProjectId, RoomId};
use meshagent::name::{QueueName, RoomName};
use meshagent::projection::{Projection, World};
use meshagent::spec;
use meshagent::vault::{Kek, MemorySecrets, Vault};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One thing somebody does. Numbers pick names and rooms out of small sets, so that they meet.
#[derive(Clone, Debug)]
enum Step {
    CreateRoom(u8),
    RenameRoom(u8, u8),
    SetEnabled(u8, bool),
    DeleteRoom(u8),
    CreateService(u8, u8),
    DeleteServices(u8),
    CreateMailbox(u8, u8),
    StartSession(u8),
    EndSessions(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let n = 0..4_u8;
    prop_oneof![
        n.clone().prop_map(Step::CreateRoom),
        (n.clone(), n.clone()).prop_map(|(a, b)| Step::RenameRoom(a, b)),
        (n.clone(), any::<bool>()).prop_map(|(a, b)| Step::SetEnabled(a, b)),
        n.clone().prop_map(Step::DeleteRoom),
        (n.clone(), n.clone()).prop_map(|(a, b)| Step::CreateService(a, b)),
        n.clone().prop_map(Step::DeleteServices),
        (n.clone(), n.clone()).prop_map(|(a, b)| Step::CreateMailbox(a, b)),
        n.clone().prop_map(Step::StartSession),
        n.prop_map(Step::EndSessions),
    ]
}

async fn platform() -> (Arc<App>, Arc<MemoryLog>) {
    let clock: Arc<dyn Clock> = Arc::new(System);
    let ids: Arc<dyn IdSource> = Arc::new(System);
    let log = Arc::new(MemoryLog::new(Arc::clone(&clock)));
    let projection = Projection::open(log.clone()).await.unwrap();
    let vault = Arc::new(Vault::new(Kek::random().unwrap(), Arc::new(MemorySecrets::default())));
    let settings = Settings {
        auto_create_rooms: false,
        templates: Arc::new(meshagent::domain::template::Here),
        schedule_floor_seconds: 60,
        mail_domain: None,
        proxy_domain: None,
        age: Arc::default(),
        server_name: "test".to_owned(),
        public_url: "http://host".to_owned(),
        server_url: "http://host".to_owned(),
    };
    (
        Arc::new(App {
            log: log.clone(),
            projection,
            vault,
            clock,
            ids,
            settings,
            attempts: Attempts::default(),
        }),
        log,
    )
}

fn room_name(n: u8) -> RoomName {
    RoomName::new(format!("room-{n}")).unwrap()
}

/// What a person would expect: names by room, and what lives there.
type Model = BTreeMap<String, (bool, BTreeSet<String>)>;

async fn run(app: &App, project: ProjectId, model: &mut Model, step: Step) {
    let actor = Actor::new("test", "random");
    let find = |n: u8| app.world().room_named(project, room_name(n).as_str()).map(|(id, _)| id);
    match step {
        Step::CreateRoom(n) => {
            let (metadata, annotations) = (serde_json::Map::new(), BTreeMap::new());
            let name = room_name(n);
            let created = Created { name, metadata, annotations, enabled: true, users: None };
            let made = app.create_room(&actor, project, created, false).await;
            let fresh = !model.contains_key(room_name(n).as_str());
            assert_eq!(made.is_ok(), fresh);
            model.entry(room_name(n).to_string()).or_insert((true, BTreeSet::new()));
        }
        Step::RenameRoom(from, to) => {
            let Some(id) = find(from) else { return };
            let update = Updated { name: Some(room_name(to)), ..Updated::default() };
            let renamed = app.update_room(&actor, id, update).await;
            let free = from == to || !model.contains_key(room_name(to).as_str());
            assert_eq!(renamed.is_ok(), free);
            if free {
                let content = model.remove(room_name(from).as_str()).unwrap();
                model.insert(room_name(to).to_string(), content);
            }
        }
        Step::SetEnabled(n, enabled) => {
            let Some(id) = find(n) else { return };
            let update = Updated { enabled: Some(enabled), ..Updated::default() };
            let changed = app.update_room(&actor, id, update).await.unwrap();
            let kept = &mut model.get_mut(room_name(n).as_str()).unwrap().0;
            assert_eq!(changed, *kept != enabled);
            *kept = enabled;
        }
        Step::DeleteRoom(n) => {
            let Some(id) = find(n) else { return };
            app.delete_room(&actor, id).await.unwrap();
            model.remove(room_name(n).as_str());
        }
        Step::CreateService(n, s) => {
            let Some(id) = find(n) else { return };
            let name = format!("service-{s}");
            let made = app.create_service(&actor, project, Some(id), spec::Service::named(&name)).await;
            assert_eq!(made.is_ok(), model.get_mut(room_name(n).as_str()).unwrap().1.insert(name));
        }
        Step::DeleteServices(n) => {
            let Some(id) = find(n) else { return };
            let world = app.world();
            for (service, _) in world.services(project).filter(|(_, s)| s.room == Some(id)) {
                app.delete_service(&actor, service).await.unwrap();
            }
            model.get_mut(room_name(n).as_str()).unwrap().1.retain(|name| name.contains('@'));
        }
        Step::CreateMailbox(n, m) => {
            let Some(room) = find(n) else { return };
            let address = format!("box-{m}@example.org");
            let queue = QueueName::new("mail").unwrap();
            let mailbox = Mailbox {
                address: address.clone(),
                room,
                queue,
                public: false,
                annotations: BTreeMap::new(),
            };
            let free = !model.values().any(|(_, content)| content.contains(&address));
            assert_eq!(app.create_mailbox(&actor, project, mailbox).await.is_ok(), free);
            if free {
                model.get_mut(room_name(n).as_str()).unwrap().1.insert(address);
            }
        }
        Step::StartSession(n) => {
            let Some(id) = find(n) else { return };
            app.start_session(&actor, id, 1).await.unwrap();
            assert!(app.world().active_session(id).is_some());
        }
        Step::EndSessions(n) => {
            let Some(id) = find(n) else { return };
            while let Some((session, _)) = app.world().active_session(id) {
                app.end_session(&actor, session, Reason::Idle).await.unwrap();
            }
        }
    }
}

fn seen(world: &World, project: ProjectId) -> Model {
    let content = |id: RoomId| {
        let services = world.services(project).filter(|(_, s)| s.room == Some(id));
        let mailboxes = world.mailboxes(project).filter(|(_, m)| m.room == id);
        services
            .map(|(_, s)| s.spec.metadata.name.clone())
            .chain(mailboxes.map(|(_, m)| m.address.clone()))
            .collect()
    };
    world.rooms(project).map(|(id, room)| (room.name.to_string(), (room.enabled, content(id)))).collect()
}

async fn all(log: &MemoryLog) -> Vec<Recorded> {
    log.read(Position(0), &Filter::all(), PAGE_EVENTS_MAX).await.unwrap()
}

fn fold(from: World, events: &[Recorded]) -> World {
    events.iter().fold(from, |mut world, event| {
        world.apply(event).unwrap();
        world
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn replay_and_snapshots_give_the_live_state(
        steps in proptest::collection::vec(step(), 1..40),
        cut: prop::sample::Index,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (app, log) = platform().await;
            let new = meshagent::app::NewProject { id: None, name: "p".into(), key: None };
            let (project, _) = app.create_project(&Actor::new("test", "random"), new).await.unwrap();
            let mut model = Model::new();
            for step in steps {
                run(&app, project, &mut model, step).await;
                assert_eq!(seen(&app.world(), project), model);
            }

            let events = all(&log).await;
            for event in &events {
                let decoded = Event::decode(&event.kind, event.schema_version, &event.data).unwrap();
                assert_eq!(decoded.encode().unwrap(), event.data);
            }
            let live = serde_json::to_string(&*app.world()).unwrap();
            let whole = fold(World::default(), &events);
            assert_eq!(serde_json::to_string(&whole).unwrap(), live, "replay is byte-equal");

            let (head, tail) = events.split_at(cut.index(events.len()));
            let stored = serde_json::to_string(&fold(World::default(), head)).unwrap();
            let from_snapshot = fold(serde_json::from_str(&stored).unwrap(), tail);
            assert_eq!(serde_json::to_string(&from_snapshot).unwrap(), live, "snapshot + tail is byte-equal");
        });
    }

    /// Events in any order, on any stream: folding never panics and never stops.
    #[test]
    fn evolve_is_total(order in proptest::collection::vec((0..64_usize, 0..4_u128), 0..60)) {
        let fixtures = fixtures();
        let mut world = World::default();
        for (n, (which, key)) in order.into_iter().enumerate() {
            let (kind, data) = &fixtures[which % fixtures.len()];
            let category = kind.split('.').next().unwrap();
            let event = Recorded {
                position: Position(n as u64 + 1),
                event_id: uuid::Uuid::from_u128(n as u128),
                stream: meshagent::id::StreamId::new(category, uuid::Uuid::from_u128(key)),
                version: n as u64 + 1,
                kind: kind.clone(),
                schema_version: 1,
                data: data.clone(),
                metadata: meshagent::eventlog::Metadata {
                    project: Some(ProjectId::new(uuid::Uuid::from_u128(key / 2))),
                    ..Default::default()
                },
                recorded_at: chrono::DateTime::UNIX_EPOCH,
            };
            world.apply(&event).unwrap();
        }
    }
}

/// The stored payload of every kind of event.
fn fixtures() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/events");
    Event::KINDS
        .iter()
        .map(|(kind, version)| {
            let path = format!("{folder}/{kind}.v{version}.json");
            (kind.to_string(), std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}")))
        })
        .collect()
}

#[tokio::test]
async fn a_snapshot_is_used_and_one_of_another_version_is_discarded() {
    let (app, log) = platform().await;
    let new = meshagent::app::NewProject { id: None, name: "p".into(), key: None };
    app.create_project(&Actor::new("test", "one"), new).await.unwrap();
    app.projection.save().await;
    let name = "world";
    let stored = log.load_snapshot(name).await.unwrap().unwrap();
    assert_eq!(stored.position, app.world().position);
    let reopened = Projection::open(log.clone()).await.unwrap();
    assert_eq!(*reopened.world(), *app.world());

    // A lie in a snapshot of the right version is believed: that it was used is seen.
    let mut lie: serde_json::Value = serde_json::from_slice(&stored.data).unwrap();
    lie["world"]["projects"] = serde_json::json!({});
    let data = serde_json::to_vec(&lie).unwrap();
    log.save_snapshot(Snapshot { data, ..stored.clone() }).await.unwrap();
    assert_eq!(Projection::open(log.clone()).await.unwrap().world().projects().count(), 0);

    // The same lie under another version is discarded and the log replayed.
    let data = serde_json::to_vec(&lie).unwrap();
    log.save_snapshot(Snapshot { data, format: World::VERSION + 1, ..stored }).await.unwrap();
    assert_eq!(*Projection::open(log.clone()).await.unwrap().world(), *app.world());
    assert!(log.load_snapshot(name).await.unwrap().is_none());
}

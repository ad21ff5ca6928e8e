use super::*;
use crate::domain::event::Nothing;
use crate::domain::room::{Created as RoomCreated, Updated as RoomUpdated};
use crate::domain::session::{Ended, Reason as EndReason, Started as SessionStarted};
use crate::domain::{Event, instance, service};
use crate::eventlog::{Metadata, Recorded};
use crate::id::{Position, StreamId};
use crate::name::RoomName;
use proptest::prelude::*;
use serde_json::json;
use std::collections::HashMap as Map;

/// What kstatus makes of a resource.
#[derive(Debug, PartialEq, Eq)]
enum Kstatus {
    Current,
    InProgress,
    Failed,
}

/// The rules of kstatus, as the controllers of others apply them.
fn kstatus(status: &serde_json::Value, generation: u64) -> Kstatus {
    if status["observedGeneration"].as_u64().is_none_or(|seen| seen < generation) {
        return Kstatus::InProgress;
    }
    let is = |name: &str| {
        let all = status["conditions"].as_array().unwrap().iter();
        all.filter(|condition| condition["type"] == name)
            .map(|condition| condition["status"].as_str().unwrap())
            .next()
    };
    match (is("Stalled"), is("Reconciling"), is("Ready")) {
        (Some("True"), ..) => Kstatus::Failed,
        (_, Some("True"), _) => Kstatus::InProgress,
        (_, _, None | Some("True")) => Kstatus::Current,
        _ => Kstatus::InProgress,
    }
}

const PROJECT: ProjectId = ProjectId::new(Uuid::from_u128(1));

struct Story {
    world: World,
    now: DateTime<Utc>,
    versions: Map<StreamId, u64>,
    session: u128,
    generation: u64,
}

impl Story {
    fn new() -> Self {
        let mut story = Self {
            world: World::default(),
            now: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            versions: Map::new(),
            session: 0,
            generation: 1,
        };
        let room = RoomCreated {
            name: RoomName::new("desk").unwrap(),
            metadata: serde_json::Map::new(),
            annotations: std::collections::BTreeMap::new(),
            enabled: true,
            users: None,
        };
        story.add(room_id().stream(), &Event::RoomCreated(room));
        let created = service::Created { room: Some(room_id()), spec: spec(true, "a") };
        story.add(service_id().stream(), &Event::ServiceCreated(created));
        story
    }

    fn add(&mut self, stream: StreamId, event: &Event) {
        let version = self.versions.entry(stream.clone()).or_default();
        *version += 1;
        let recorded = Recorded {
            position: Position(self.world.position.0 + 1),
            event_id: Uuid::from_u128(u128::from(self.world.position.0) + 1),
            stream,
            version: *version,
            kind: event.kind().to_owned(),
            schema_version: event.schema_version(),
            data: event.encode().unwrap(),
            metadata: Metadata { project: Some(PROJECT), ..Metadata::default() },
            recorded_at: self.now,
        };
        self.world.apply(&recorded).unwrap();
    }

    fn session_id(&self) -> SessionId {
        SessionId::new(PROJECT, Uuid::from_u128(1000 + self.session))
    }

    fn is_open(&self) -> bool {
        self.world.session(self.session_id()).is_some_and(crate::domain::session::Session::is_active)
    }

    fn key(&self) -> instance::Key {
        instance::Key { session: self.session_id(), service: service_id() }
    }

    fn on_service(&mut self, enabled: bool, image: &str) {
        if self.world.service(service_id()).is_some_and(|service| service.spec == spec(enabled, image)) {
            return;
        }
        self.generation += 1;
        let updated = service::Updated { spec: spec(enabled, image) };
        self.add(service_id().stream(), &Event::ServiceUpdated(updated));
    }

    /// One thing that happens; what cannot happen now does not.
    fn happen(&mut self, what: u8) {
        let generation = self.generation;
        let stream = self.key().stream();
        match what {
            0 => self.on_service(false, "a"),
            1 => self.on_service(true, "a"),
            2 => self.on_service(true, "b"),
            3 | 4 => {
                let updated = RoomUpdated { enabled: Some(what == 4), ..RoomUpdated::default() };
                self.add(room_id().stream(), &Event::RoomUpdated(updated));
            }
            5 if !self.is_open() => {
                self.session += 1;
                let started = SessionStarted {
                    room: room_id(),
                    room_name: RoomName::new("desk").unwrap(),
                    host: "h".into(),
                    epoch: 1,
                };
                self.add(self.session_id().stream(), &Event::SessionStarted(started));
            }
            6 if self.is_open() => {
                self.add(self.session_id().stream(), &Event::SessionEnded(Ended { reason: EndReason::Idle }));
            }
            7 if self.is_open() => {
                let (key, handle, runtime) = (self.key(), "1".to_owned(), "process".to_owned());
                let started = instance::Started { key, generation, handle, runtime, notes: vec![] };
                self.add(stream, &Event::InstanceStarted(started));
            }
            8 | 9 if self.is_open() => {
                let reason = if what == 8 { "StartFailed" } else { "BadCommand" }.to_owned();
                let failed = instance::Failed { key: self.key(), generation, reason, message: "no".into() };
                self.add(stream, &Event::InstanceFailed(failed));
            }
            10 if self.runs() => {
                let exited = instance::Exited { key: self.key(), code: Some(1), signal: None };
                self.add(stream, &Event::InstanceExited(exited));
            }
            11 if self.runs() => {
                let stopped = instance::Stopped { key: self.key(), reason: "asked".into() };
                self.add(stream, &Event::InstanceStopped(stopped));
            }
            12 => self.now += TimeDelta::seconds(200),
            13 => {
                self.generation += 1;
                self.add(service_id().stream(), &Event::ServiceRestartRequested(Nothing {}));
            }
            _ => {}
        }
        self.now += TimeDelta::seconds(1);
    }

    fn runs(&self) -> bool {
        self.world.instance(self.key()).is_some_and(|instance| instance.phase == Phase::Running)
    }

    /// Something is still to be done for the service.
    fn is_pending(&self) -> bool {
        let enabled = self.world.service(service_id()).is_some_and(|service| service.spec.enabled);
        let current = self
            .world
            .instance(self.key())
            .is_some_and(|i| i.generation == self.generation && i.phase == Phase::Running);
        self.is_open() && if enabled { !current } else { self.runs() }
    }

    fn status(&self, kind: Kind, id: Uuid, later: i64) -> serde_json::Value {
        let now = self.now + TimeDelta::seconds(later);
        json!(Health::of(&self.world, PROJECT, now, 60).status(kind, id).unwrap())
    }
}

fn room_id() -> RoomId {
    RoomId::new(PROJECT, Uuid::from_u128(10))
}

fn service_id() -> ServiceId {
    ServiceId::new(PROJECT, Uuid::from_u128(20))
}

fn spec(enabled: bool, image: &str) -> crate::spec::Service {
    serde_json::from_value(json!({"version": "v1", "kind": "Service", "metadata": {"name": "s"},
        "enabled": enabled, "container": {"image": image}}))
    .unwrap()
}

proptest! {
    #[test]
    fn what_is_told_is_never_too_good_and_never_in_progress_for_ever(
        happenings in proptest::collection::vec(0_u8..14, 0..40),
    ) {
        let mut story = Story::new();
        for what in happenings {
            story.happen(what);
            let service = story.status(Kind::Service, service_id().uuid(), 0);
            let verdict = kstatus(&service, story.generation);
            if story.is_pending() {
                prop_assert_ne!(verdict, Kstatus::Current, "{}", service);
            }
            for (kind, id) in [(Kind::Service, service_id().uuid()), (Kind::Room, room_id().uuid())] {
                let generation = story.world.room(room_id()).unwrap().generation;
                let generation = if kind == Kind::Room { generation } else { story.generation };
                let now = story.status(kind, id, 0);
                prop_assert_eq!(now["observedGeneration"].as_u64(), Some(generation));
                let has = |name: &str| {
                    let all = now["conditions"].as_array().unwrap();
                    all.iter().filter(|condition| condition["type"] == name).count()
                };
                prop_assert_eq!(has("Ready"), 1);
                prop_assert!(has("Reconciling") + has("Stalled") <= 1);
                // Ready=False alone would be in progress for ever.
                let bare = now["conditions"][0]["status"] == "False" && has("Reconciling") + has("Stalled") == 0;
                prop_assert!(!bare, "{}", now);
                let later = story.status(kind, id, PROGRESS_SECONDS_MAX + 1);
                prop_assert_ne!(kstatus(&later, generation), Kstatus::InProgress, "{}", later);
            }
        }
    }
}

#[test]
fn the_usual_way_of_a_service_is_told() {
    let mut story = Story::new();
    let reason = |story: &Story| {
        let status = story.status(Kind::Service, service_id().uuid(), 0);
        (status["conditions"][0]["reason"].as_str().unwrap().to_owned(), kstatus(&status, story.generation))
    };
    assert_eq!(reason(&story), ("Starting".into(), Kstatus::InProgress));
    for (what, told) in [
        (5, ("Starting", Kstatus::InProgress)),
        (7, ("Running", Kstatus::Current)),
        (10, ("Restarting", Kstatus::InProgress)),
        (7, ("Running", Kstatus::Current)),
        (2, ("Starting", Kstatus::InProgress)),
        (9, ("Failed", Kstatus::Failed)),
        (0, ("Disabled", Kstatus::Current)),
    ] {
        story.happen(what);
        assert_eq!(reason(&story), (told.0.to_owned(), told.1), "after {what}");
    }
}

#[test]
fn secrets_and_keys_are_current_or_failed_and_never_on_their_way() {
    use crate::domain::account::KeyCreated;
    use crate::domain::{declared_key, secret};
    use crate::id::{ApiKeyId, DeclaredKeyId, OwnedSecretId, ServiceAccountId};
    let mut story = Story::new();
    let uuid = Uuid::from_u128;
    let (secret, key) = (OwnedSecretId::new(PROJECT, uuid(30)), ApiKeyId::new(PROJECT, uuid(31)));
    let declared = DeclaredKeyId::new(PROJECT, uuid(32));
    let account = ServiceAccountId::new(PROJECT, uuid(33));
    let profile = crate::domain::account::Profile { name: "default".into(), ..Default::default() };
    story.add(account.stream(), &Event::AccountCreated(profile));
    let about = json!({"name": "key", "type": "opaque"});
    let declaration = secret::Declared {
        owner: secret::Owner::ServiceAccount(account.uuid()),
        by: account.uuid(),
        about: serde_json::from_value(about).unwrap(),
        added: None,
        current: None,
        dropped: vec![],
    };
    story.add(secret.stream(), &Event::SecretDeclared(declaration));
    let told = |story: &Story, kind: Kind, id: Uuid| {
        let status = story.status(kind, id, 0);
        let generation = status["observedGeneration"].as_u64().unwrap();
        let later = story.status(kind, id, PROGRESS_SECONDS_MAX + 1);
        assert_eq!(kstatus(&status, generation), kstatus(&later, generation), "{status}");
        (status["conditions"][0]["reason"].as_str().unwrap().to_owned(), kstatus(&status, generation))
    };
    assert_eq!(told(&story, Kind::Secret, secret.uuid()), ("NoValue".into(), Kstatus::Current));

    let created = KeyCreated { account, name: "ci".into(), description: String::new() };
    story.add(key.stream(), &Event::ApiKeyCreated(created));
    let (version, by, sha256) = (uuid(40), account.uuid(), String::new());
    let added = secret::VersionAdded { id: version, number: 1, sha256, current: true, by };
    story.add(secret.stream(), &Event::SecretVersionAdded(added.clone()));
    let spec = json!({"metadata": {"name": "ci"}, "account": "default", "secret": {"secret": "key"}});
    let spec = serde_json::from_value(spec).unwrap();
    let wanted = declared_key::Wanted { spec, key: key.uuid(), secret: secret.uuid(), version };
    story.add(declared.stream(), &Event::DeclaredKeyCreated(wanted));
    assert_eq!(told(&story, Kind::Secret, secret.uuid()), ("Accepted".into(), Kstatus::Current));
    assert_eq!(told(&story, Kind::ApiKey, declared.uuid()), ("Accepted".into(), Kstatus::Current));

    let other = secret::VersionAdded { id: uuid(41), number: 2, ..added };
    story.add(secret.stream(), &Event::SecretVersionAdded(other));
    assert_eq!(told(&story, Kind::ApiKey, declared.uuid()), ("KeyRevoked".into(), Kstatus::Failed));
    story.add(key.stream(), &Event::ApiKeyRevoked(Nothing {}));
    assert_eq!(told(&story, Kind::ApiKey, declared.uuid()), ("KeyRevoked".into(), Kstatus::Failed));
}

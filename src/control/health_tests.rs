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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// The generation since which the same is to run.
    run: u64,
    /// What is wanted of the service: whether it is on, its image, whether it is paused.
    wanted: (bool, &'static str, bool),
}

impl Story {
    fn new() -> Self {
        let mut story = Self {
            world: World::default(),
            now: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            versions: Map::new(),
            session: 0,
            generation: 1,
            run: 1,
            wanted: (true, "a", false),
        };
        let room = RoomCreated {
            name: RoomName::new("desk").unwrap(),
            metadata: serde_json::Map::new(),
            annotations: std::collections::BTreeMap::new(),
            enabled: true,
            users: None,
        };
        story.add(room_id().stream(), &Event::RoomCreated(room));
        let created = service::Created { room: Some(room_id()), spec: spec((true, "a", false)) };
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

    fn on_service(&mut self, wanted: (bool, &'static str, bool)) {
        let before = std::mem::replace(&mut self.wanted, wanted);
        if before == wanted {
            return;
        }
        self.generation += 1;
        if (before.0, before.1) != (wanted.0, wanted.1) {
            self.run = self.generation;
        }
        let updated = service::Updated { spec: spec(wanted) };
        self.add(service_id().stream(), &Event::ServiceUpdated(updated));
    }

    /// One thing that happens; what cannot happen now does not.
    fn happen(&mut self, what: u8) {
        let generation = self.run;
        let stream = self.key().stream();
        let paused = self.wanted.2;
        match what {
            0 => self.on_service((false, "a", paused)),
            1 => self.on_service((true, "a", paused)),
            2 => self.on_service((true, "b", paused)),
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
                self.run = self.generation;
                self.add(service_id().stream(), &Event::ServiceRestartRequested(Nothing {}));
            }
            14 => self.on_service((self.wanted.0, self.wanted.1, !paused)),
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
            .is_some_and(|i| i.generation == self.run && i.phase == Phase::Running);
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

fn spec((enabled, image, paused): (bool, &str, bool)) -> crate::spec::Service {
    let notes = if paused { json!({"meshagent.dev/paused": "true"}) } else { json!({}) };
    serde_json::from_value(json!({"version": "v1", "kind": "Service",
        "metadata": {"name": "s", "annotations": notes}, "enabled": enabled, "container": {"image": image}}))
    .unwrap()
}

proptest! {
    #[test]
    fn what_is_told_is_never_too_good_and_never_in_progress_for_ever(
        happenings in proptest::collection::vec(0_u8..15, 0..40),
    ) {
        let mut story = Story::new();
        for what in happenings {
            story.happen(what);
            let service = story.status(Kind::Service, service_id().uuid(), 0);
            let verdict = kstatus(&service, story.generation);
            if story.is_pending() {
                prop_assert_ne!(verdict, Kstatus::Current, "{}", service);
            }
            let paused = service["conditions"].as_array().unwrap().iter().any(|one| one["type"] == "Paused");
            prop_assert_eq!(paused, story.wanted.2, "{}", service);
            prop_assert_eq!(service.pointer("/reconcile/pausedSince").is_some(), paused, "{}", service);
            if paused {
                // Nothing comes by itself.
                prop_assert_ne!(verdict, Kstatus::InProgress, "{}", service);
                prop_assert!(service["reconcile"].get("nextAttempt").is_none(), "{}", service);
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

#[test]
fn a_pause_holds_up_what_is_wanted_and_not_what_runs() {
    let mut story = Story::new();
    let told = |story: &Story| story.status(Kind::Service, service_id().uuid(), 0);
    let reason = |status: &serde_json::Value| status["conditions"][0]["reason"].as_str().unwrap().to_owned();
    for what in [5, 7, 14] {
        story.happen(what);
    }
    let since = told(&story)["reconcile"]["pausedSince"].clone();
    assert_eq!((reason(&told(&story)).as_str(), kstatus(&told(&story), 2)), ("Running", Kstatus::Current));
    assert_eq!(told(&story)["conditions"][1]["type"], "Paused");
    story.happen(2);
    let status = told(&story);
    assert_eq!((reason(&status).as_str(), kstatus(&status, 3)), ("Paused", Kstatus::Failed), "{status}");
    assert_eq!(status["conditions"][1]["type"], "Stalled");
    assert_eq!(status["reconcile"]["pausedSince"], since, "a change is no new pause");
    story.happen(14);
    let status = told(&story);
    assert_eq!((reason(&status).as_str(), kstatus(&status, 4)), ("Starting", Kstatus::InProgress));
    for what in [7, 10] {
        story.happen(what);
    }
    let reconcile = told(&story)["reconcile"].clone();
    assert_eq!(
        (reconcile["attempts"].as_u64(), reconcile["lastError"].as_str()),
        (Some(1), Some("it ended with exit code 1"))
    );
    let wait = reconcile["backoffSeconds"].as_u64().unwrap();
    assert!((1..=2).contains(&wait) && reconcile["nextAttempt"].is_string(), "{reconcile}");
}

#[test]
fn a_paused_task_is_told_so_and_an_unpaused_one_when_it_is_due() {
    use crate::domain::scheduled_task::{Created, Updated};
    let mut story = Story::new();
    let id = ScheduledTaskId::new(PROJECT, Uuid::from_u128(50));
    let spec = |notes: serde_json::Value| -> crate::spec::ScheduledTask {
        let json = json!({"metadata": {"name": "t", "annotations": notes}, "schedule": "15 minutes", "queue": {"name": "q"}});
        serde_json::from_value(json).unwrap()
    };
    story.add(id.stream(), &Event::TaskCreated(Created { room: room_id(), spec: spec(json!({})) }));
    let due = story.status(Kind::ScheduledTask, id.uuid(), 0);
    assert_eq!(due["conditions"][0]["reason"], "Scheduled");
    assert!(due["reconcile"]["nextAttempt"].is_string(), "{due}");
    let paused = spec(json!({"meshagent.dev/paused": "true"}));
    story.add(id.stream(), &Event::TaskUpdated(Updated { spec: paused }));
    let status = story.status(Kind::ScheduledTask, id.uuid(), 0);
    assert_eq!(
        (status["conditions"][0]["reason"].as_str(), kstatus(&status, 2)),
        (Some("Paused"), Kstatus::Current)
    );
    assert!(status["reconcile"].get("nextAttempt").is_none(), "{status}");
}

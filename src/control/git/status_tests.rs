use super::*;
use crate::control::health::Type;
use crate::domain::git_source::{Applied, Commit, Failed, Wanted};
use crate::domain::inventory::{Held, Holding, Inventory};
use crate::domain::names::{Claimed, Names};
use crate::domain::room::{Created, Updated};
use crate::domain::session::Started;
use crate::domain::{Event, event::Nothing};
use crate::eventlog::{Metadata, Recorded};
use crate::id::{Position, ProjectId, RoomId, SessionId, StreamId};
use crate::name::RoomName;
use serde_json::json;
use std::collections::HashMap;
use uuid::Uuid;

const PROJECT: ProjectId = ProjectId::new(Uuid::from_u128(1));

fn id(number: u128) -> GitSourceId {
    GitSourceId::new(PROJECT, Uuid::from_u128(number))
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

/// A project in the making.
#[derive(Default)]
struct Story {
    world: World,
    versions: HashMap<StreamId, u64>,
}

impl Story {
    fn add(&mut self, second: i64, stream: StreamId, event: &Event) {
        let version = self.versions.entry(stream.clone()).or_default();
        *version += 1;
        let position = Position(self.world.position.0 + 1);
        let metadata = Metadata {
            project: Some(PROJECT),
            actor: "test".into(),
            on_behalf_of: None,
            causation: None,
            correlation: None,
            request_id: None,
        };
        let recorded = Recorded {
            position,
            event_id: Uuid::from_u128(u128::from(position.0)),
            stream,
            version: *version,
            kind: event.kind().to_owned(),
            schema_version: event.schema_version(),
            data: event.encode().unwrap(),
            metadata,
            recorded_at: at(second),
        };
        self.world.fold(&recorded).unwrap();
    }

    fn source(&mut self, number: u128, name: &str, more: serde_json::Value) {
        let mut spec = json!({"metadata": {"name": name}, "url": "https://h/r"});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let wanted = Wanted { spec: serde_json::from_value(spec).unwrap() };
        self.add(0, id(number).stream(), &Event::GitSourceCreated(wanted));
        let key = names::Key { kind: names::Kind::GitSource, scope: None, name: name.into() };
        self.add(0, Names::stream(PROJECT), &Event::NameClaimed(Claimed { key, id: id(number).uuid() }));
    }

    fn applied(&mut self, second: i64, number: u128, request: u64) {
        let commit = Commit { revision: "0123456789abcdef".into(), subject: "s".into(), ..Commit::default() };
        let applied = Applied {
            generation: 1,
            request,
            commit,
            documents: 2,
            created: 0,
            updated: 0,
            replaced: 0,
            deleted: 0,
            left_out: vec![],
        };
        self.add(second, id(number).stream(), &Event::GitSourceApplied(applied));
    }

    fn failed(&mut self, second: i64, number: u128, fault: Fault) {
        let failed = Failed { generation: 1, request: 0, revision: None, fault, message: "why".into() };
        self.add(second, id(number).stream(), &Event::GitSourceFailed(failed));
    }

    /// The condition that holds beside `Ready`, or that, with its reason.
    fn is(&self, second: i64, number: u128) -> (Type, Reason) {
        let health = Health::of(&self.world, PROJECT, at(second), 60);
        let status = health.status(Kind::GitSource, id(number).uuid()).unwrap();
        let holds = status.conditions.iter().rev().find(|condition| condition.status == "True").unwrap();
        // As kstatus wants it: what does not hold beside is not ready.
        let ready = status.conditions.iter().find(|condition| condition.r#type == Type::Ready).unwrap();
        assert_eq!(ready.status == "True", holds.r#type == Type::Ready);
        (holds.r#type, holds.reason)
    }
}

#[test]
fn a_source_is_on_its_way_ready_or_stalled_and_never_on_its_way_for_ever() {
    let mut story = Story::default();
    story.source(2, "a", json!({}));
    assert_eq!(story.is(1, 2), (Type::Reconciling, Reason::Fetching));
    assert_eq!(story.is(10_000, 2), (Type::Stalled, Reason::ProgressDeadlineExceeded));
    story.failed(10, 2, Fault::Unreachable);
    assert_eq!(story.is(11, 2), (Type::Reconciling, Reason::FetchFailed));
    assert_eq!(story.is(10_000, 2), (Type::Stalled, Reason::ProgressDeadlineExceeded));
    story.failed(12, 2, Fault::Invalid);
    assert_eq!(story.is(13, 2), (Type::Stalled, Reason::DocumentsInvalid));
    story.applied(14, 2, 0);
    assert_eq!(story.is(10_000, 2), (Type::Ready, Reason::Applied));
    story.add(20, id(2).stream(), &Event::GitSourceReconcileRequested(Nothing {}));
    assert_eq!(story.is(21, 2), (Type::Reconciling, Reason::Fetching), "work is pending");
    story.applied(22, 2, 1);
    assert_eq!(story.is(23, 2), (Type::Ready, Reason::Applied));
    let suspended = json!({"metadata": {"name": "a"}, "url": "https://h/r", "suspend": true});
    let wanted = Wanted { spec: serde_json::from_value(suspended).unwrap() };
    story.add(30, id(2).stream(), &Event::GitSourceUpdated(wanted));
    assert_eq!(story.is(31, 2), (Type::Ready, Reason::Suspended));
}

#[test]
fn a_paused_source_rests_as_a_suspended_one_and_waits_where_it_was_never_applied() {
    let mut story = Story::default();
    let paused = json!({"metadata": {"name": "a", "annotations": {"meshagent.dev/paused": "true"}}});
    story.source(2, "a", paused);
    let of = |story: &Story| {
        let status = Health::of(&story.world, PROJECT, at(50), 60).status(Kind::GitSource, id(2).uuid());
        let said = status.unwrap().conditions.iter().map(|one| (one.r#type, one.reason)).collect::<Vec<_>>();
        said
    };
    let stalled =
        [(Type::Ready, Reason::Paused), (Type::Stalled, Reason::Paused), (Type::Paused, Reason::Paused)];
    assert_eq!(of(&story), stalled);
    story.applied(40, 2, 0);
    assert_eq!(of(&story), [(Type::Ready, Reason::Applied), (Type::Paused, Reason::Paused)]);
    let update = |story: &mut Story, branch: &str, paused: &str| {
        let spec = json!({"metadata": {"name": "a", "annotations": {"meshagent.dev/paused": paused}}, "url": "https://h/r",
            "branch": branch});
        let wanted = Wanted { spec: serde_json::from_value(spec).unwrap() };
        story.add(41, id(2).stream(), &Event::GitSourceUpdated(wanted));
    };
    update(&mut story, "next", "true");
    assert_eq!(of(&story), stalled, "another branch is to be read");
    story.failed(42, 2, Fault::Invalid);
    update(&mut story, "next", "false");
    assert_eq!(of(&story)[0], (Type::Ready, Reason::Fetching), "the failure was of what was wanted before");
}

#[test]
fn a_source_waits_for_others_and_circles_end() {
    let mut story = Story::default();
    story.source(2, "a", json!({"depends_on": ["b"]}));
    story.source(3, "b", json!({"depends_on": ["a"]}));
    assert_eq!(waits_for(&story.world, id(2), at(1)).as_deref(), Some("b"));
    assert_eq!(waits_for(&story.world, id(3), at(1)).as_deref(), Some("a"));
    assert_eq!(story.is(1, 2), (Type::Reconciling, Reason::DependencyNotReady));
    assert_eq!(story.is(10_000, 2), (Type::Stalled, Reason::ProgressDeadlineExceeded));
    story.applied(5, 3, 0);
    assert_eq!(waits_for(&story.world, id(2), at(6)), None);
    assert_eq!(story.is(6, 2), (Type::Reconciling, Reason::Fetching));
    story.failed(7, 3, Fault::Missing);
    assert_eq!(waits_for(&story.world, id(2), at(8)).as_deref(), Some("b"), "it is not ready any more");
    story.source(4, "c", json!({"depends_on": ["gone"]}));
    assert_eq!(waits_for(&story.world, id(4), at(8)).as_deref(), Some("gone"));
}

#[test]
fn a_source_is_ready_when_what_it_applied_is_or_stalled_when_that_takes_too_long() {
    let mut story = Story::default();
    story.source(2, "a", json!({"health_timeout_seconds": 30}));
    let room = RoomId::new(PROJECT, Uuid::from_u128(9));
    let name = RoomName::new("desk").unwrap();
    let created = Created {
        name: name.clone(),
        metadata: serde_json::Map::new(),
        annotations: std::collections::BTreeMap::new(),
        enabled: true,
        users: None,
    };
    story.add(10, room.stream(), &Event::RoomCreated(created));
    let holding = |kind, id| Holding { id, kind, fields: vec![], digest: String::new(), generation: 1 };
    let resources = vec![holding(Kind::Room, room.uuid()), holding(Kind::GitSource, id(2).uuid())];
    let held = Held { source: "git:a".into(), revision: Some("r".into()), resources };
    story.add(10, Inventory::stream(PROJECT), &Event::InventoryHeld(held));
    story.applied(10, 2, 0);
    assert_eq!(story.is(11, 2), (Type::Ready, Reason::Applied), "it holds its own document, too");
    let session = SessionId::new(PROJECT, Uuid::from_u128(10));
    let started = Started { room, room_name: name, host: "s".into(), epoch: 1 };
    story.add(12, session.stream(), &Event::SessionStarted(started));
    let off = Updated { enabled: Some(false), ..Updated::default() };
    story.add(20, room.stream(), &Event::RoomUpdated(off));
    assert_eq!(story.is(21, 2), (Type::Reconciling, Reason::Applied), "the room is being closed");
    assert_eq!(story.is(51, 2), (Type::Stalled, Reason::HealthCheckFailed));
}

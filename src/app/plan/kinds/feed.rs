//! `kind: Feed`.

use super::{Change, Found, Home, Key, Resource, differing, document_of, typed};
use crate::app::Error;
use crate::app::plan::Ground;
use crate::app::plan::draft::Draft;
use crate::app::plan::problem::{Code, Problem};
use crate::domain::feed::{Command, FEEDS_MAX, Feed, Refused, Wanted};
use crate::domain::names;
use crate::feed::schema;
use crate::id::{FeedId, ProjectId, StreamId};
use crate::projection::{ProjectView, World};
use crate::spec::{self, FeedKind, Kind, NamedMetadata, Version};
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub struct Feeds;

impl Resource for Feeds {
    fn kind(&self) -> Kind {
        Kind::Feed
    }

    fn home(&self) -> Home {
        Home::Project
    }

    fn all(&self, world: &World, project: ProjectId) -> Vec<(Uuid, Key)> {
        let key = |feed: &Feed| Key::new(Kind::Feed, None, feed.wanted.name.as_str());
        world.feeds(project).map(|(id, feed)| (id.uuid(), key(feed))).collect()
    }

    fn read(&self, world: &World, project: ProjectId, id: Uuid) -> Option<Found> {
        let feed = world.feed(FeedId::new(project, id))?;
        let wanted = feed.wanted.clone();
        let document = spec::Feed {
            version: Version::V1,
            kind: FeedKind::Mark,
            metadata: NamedMetadata { name: wanted.name.clone(), annotations: wanted.annotations },
            description: wanted.description,
            visibility: wanted.visibility,
            paused: wanted.paused,
            message_schema: wanted.message_schema.and_then(written),
        };
        Some(Found {
            key: Key::new(Kind::Feed, None, wanted.name),
            document: document_of(&document),
            generation: feed.generation,
            created_at: Some(feed.created_at),
        })
    }

    fn generation(&self, world: &World, project: ProjectId, id: Uuid) -> Option<u64> {
        world.feed(FeedId::new(project, id)).map(|feed| feed.generation)
    }

    fn stream(&self, project: ProjectId, id: Uuid) -> StreamId {
        FeedId::new(project, id).stream()
    }

    fn check(&self, _: &Ground<'_>, key: &Key, document: &Value, _: Option<Uuid>) -> Vec<Problem> {
        let problem = |error: &dyn ToString| Problem::of(Code::Invalid, None, key, error.to_string());
        let wanted = match wanted(key, document) {
            Ok(wanted) => wanted,
            Err(error) => return vec![problem(&error)],
        };
        if let Err(refused) = wanted.check() {
            return vec![problem(&refused)];
        }
        // Plans are made on threads that nobody else waits for.
        let read = wanted.message_schema.as_ref().map_or(Ok(()), |text| schema::compile(text).map(drop));
        read.err().map(|why| problem(&Refused::BadSchema(why)).at("message_schema")).into_iter().collect()
    }

    fn contents(&self, world: &World, project: ProjectId, id: Uuid) -> Vec<(Kind, Uuid)> {
        let all = crate::app::feeds::of_feed(world, FeedId::new(project, id));
        all.map(|(id, _)| (Kind::Subscription, id.uuid())).collect()
    }

    fn changed(&self, old: &ProjectView, new: &ProjectView) -> Vec<Uuid> {
        differing(&old.feeds, &new.feeds)
    }

    fn change(&self, draft: &mut Draft<'_>, change: Change<'_>) -> Result<(), Error> {
        let (project, world) = (draft.project(), draft.world());
        match change {
            Change::Create { id, key, document } => {
                if draft.count(Kind::Feed, project.uuid(), || world.feeds(project).count()) >= FEEDS_MAX {
                    return Err(Error::rejected(Refused::TooMany));
                }
                draft.claim(project, names::Kind::Feed, None, &key.name, id)?;
                let command = Command::Create(wanted(key, document)?);
                draft.decide::<Feed>(FeedId::new(project, id).stream(), None, command)
            }
            Change::Update { id, key, document } => {
                let id = FeedId::new(project, id);
                draft.decide(id.stream(), world.feed(id), Command::Update(wanted(key, document)?))
            }
            Change::Delete { id } => {
                let id = FeedId::new(project, id);
                let old = crate::app::feeds::unused(world, id)?;
                draft.release(project, names::Kind::Feed, None, &old.wanted.name)?;
                draft.decide(id.stream(), Some(old), Command::Delete)
            }
        }
    }
}

/// A schema as documents have it: they have no `true`, which is none, and write `false` as the object that says the same.
fn written(schema: Value) -> Option<Map<String, Value>> {
    match schema {
        Value::Object(members) => Some(members),
        Value::Bool(false) => Some(Map::from_iter([("not".to_owned(), json!({}))])),
        _ => None,
    }
}

fn wanted(key: &Key, document: &Value) -> Result<Wanted, Error> {
    let spec: spec::Feed = typed(key, document)?;
    Ok(Wanted {
        name: spec.metadata.name,
        description: spec.description,
        visibility: spec.visibility,
        paused: spec.paused,
        annotations: spec.metadata.annotations,
        message_schema: spec.message_schema.map(Value::Object),
    })
}

//! `kind: Subscription`. Those without a name cannot be applied, and are not here.

use super::{Change, Found, Home, Key, Reference, Resource, differing, document_of, typed};
use crate::app::Error;
use crate::app::feeds::{held_name, of_feed};
use crate::app::plan::draft::Draft;
use crate::domain::feed_subscription::{Command, FeedSubscription, Refused, SUBSCRIPTIONS_MAX, Wanted};
use crate::domain::names;
use crate::id::{FeedSubscriptionId, ProjectId, StreamId};
use crate::projection::{ProjectView, World};
use crate::spec::{self, Kind, NamedMetadata, SubscriptionKind, Version};
use serde_json::Value;
use uuid::Uuid;

pub struct Subscriptions;

fn key(one: &FeedSubscription) -> Key {
    Key::new(Kind::Subscription, None, one.wanted.name.as_deref().unwrap_or_default())
}

impl Resource for Subscriptions {
    fn kind(&self) -> Kind {
        Kind::Subscription
    }

    fn home(&self) -> Home {
        Home::Project
    }

    fn all(&self, world: &World, project: ProjectId) -> Vec<(Uuid, Key)> {
        let named = world.feed_subscriptions(project).filter(|(_, one)| one.wanted.name.is_some());
        named.map(|(id, one)| (id.uuid(), key(one))).collect()
    }

    fn read(&self, world: &World, project: ProjectId, id: Uuid) -> Option<Found> {
        let one = world.feed_subscription(FeedSubscriptionId::new(project, id))?;
        let wanted = one.wanted.clone();
        let document = spec::Subscription {
            version: Version::V1,
            kind: SubscriptionKind::Mark,
            metadata: NamedMetadata { name: key(one).name, annotations: wanted.annotations },
            feed: world.feed(wanted.feed).map(|feed| feed.wanted.name.clone()).unwrap_or_default(),
            room: world.room(wanted.room).map(|room| room.name.to_string()).unwrap_or_default(),
            path: wanted.path,
            filename_datetime_format: wanted.filename_datetime_format,
        };
        Some(Found {
            key: key(one),
            document: document_of(&document),
            generation: one.generation,
            created_at: Some(one.created_at),
        })
    }

    fn generation(&self, world: &World, project: ProjectId, id: Uuid) -> Option<u64> {
        world.feed_subscription(FeedSubscriptionId::new(project, id)).map(|one| one.generation)
    }

    fn stream(&self, project: ProjectId, id: Uuid) -> StreamId {
        FeedSubscriptionId::new(project, id).stream()
    }

    fn references(&self, document: &Value) -> Vec<Reference> {
        let of = |field: &str, kind| {
            let name = document.get(field).and_then(Value::as_str).unwrap_or_default();
            Reference { path: field.to_owned(), key: Key::new(kind, None, name) }
        };
        vec![of("feed", Kind::Feed), of("room", Kind::Room)]
    }

    fn immutable(&self) -> &'static [&'static str] {
        &["/feed", "/room", "/path"]
    }

    fn changed(&self, old: &ProjectView, new: &ProjectView) -> Vec<Uuid> {
        differing(&old.feed_subscriptions, &new.feed_subscriptions)
    }

    fn change(&self, draft: &mut Draft<'_>, change: Change<'_>) -> Result<(), Error> {
        let (project, world) = (draft.project(), draft.world());
        match change {
            Change::Create { id, key, document } => {
                let spec: spec::Subscription = typed(key, document)?;
                let feed = draft.feed(&spec.feed)?;
                let count = draft.count(Kind::Subscription, feed.uuid(), || of_feed(world, feed).count());
                if count >= SUBSCRIPTIONS_MAX {
                    return Err(Error::rejected(Refused::TooMany));
                }
                let wanted = Wanted {
                    name: Some(key.name.clone()),
                    feed,
                    room: draft.room(&spec.room)?,
                    path: spec.folder().to_owned(),
                    filename_datetime_format: spec.filename_datetime_format,
                    annotations: spec.metadata.annotations,
                };
                draft.claim(project, names::Kind::FeedSubscription, None, &key.name, id)?;
                let stream = FeedSubscriptionId::new(project, id).stream();
                draft.decide::<FeedSubscription>(stream, None, Command::Create(wanted))
            }
            Change::Update { id, key, document } => {
                let spec: spec::Subscription = typed(key, document)?;
                let id = FeedSubscriptionId::new(project, id);
                let command = Command::Update {
                    filename_datetime_format: spec.filename_datetime_format,
                    annotations: spec.metadata.annotations,
                };
                draft.decide(id.stream(), world.feed_subscription(id), command)
            }
            Change::Delete { id } => {
                let id = FeedSubscriptionId::new(project, id);
                let old = world.feed_subscription(id);
                if let Some(old) = old {
                    let name = held_name(id, &old.wanted);
                    draft.release(project, names::Kind::FeedSubscription, None, &name)?;
                }
                draft.decide(id.stream(), old, Command::Delete)
            }
        }
    }
}

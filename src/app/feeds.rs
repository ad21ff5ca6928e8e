//! Feeds and their subscriptions. A feed's name is unique in its project.

use super::rooms::{claim, release};
use super::{Actor, App, Change, Decision, Error};
use crate::domain::Entity;
use crate::domain::feed::{Command, FEEDS_MAX, Feed, Refused, Wanted};
use crate::domain::feed_subscription::{self as subscription, FeedSubscription, SUBSCRIPTIONS_MAX};
use crate::domain::names::Kind;
use crate::feed::schema;
use crate::id::{FeedId, FeedSubscriptionId, ProjectId, RoomId};
use crate::projection::World;
use std::collections::BTreeMap;

impl App {
    pub async fn create_feed(
        &self,
        actor: &Actor,
        project: ProjectId,
        wanted: Wanted,
    ) -> Result<FeedId, Error> {
        usable(&wanted).await?;
        let id = FeedId::new(project, self.ids.fresh());
        self.transact(actor, |world| {
            if world.feeds(project).count() >= FEEDS_MAX {
                return Err(Error::rejected(Refused::TooMany));
            }
            let made = Feed::decide(None, Command::Create(wanted.clone())).map_err(Error::rejected)?;
            let claimed = claim(world, project, Kind::Feed, None, &wanted.name, id.uuid())?;
            Ok(Decision { changes: vec![claimed, Change::new(project, id.stream(), made)], answer: id })
        })
        .await
    }

    /// Replaces what is wanted. Says whether anything changed.
    pub async fn update_feed(&self, actor: &Actor, id: FeedId, wanted: Wanted) -> Result<bool, Error> {
        usable(&wanted).await?;
        let project = id.project();
        self.transact(actor, |world| {
            let old = find(world, id)?;
            let events = Feed::decide(Some(old), Command::Update(wanted.clone())).map_err(Error::rejected)?;
            let changed = !events.is_empty();
            let mut changes = vec![Change::new(project, id.stream(), events)];
            if wanted.name != old.wanted.name {
                changes.push(claim(world, project, Kind::Feed, None, &wanted.name, id.uuid())?);
                changes.push(release(world, project, Kind::Feed, None, &old.wanted.name)?);
            }
            Ok(Decision { changes, answer: changed })
        })
        .await
    }

    /// Deletes a feed with its subscriptions and what waits for them. Not while a logger of models publishes in it.
    pub async fn delete_feed(&self, actor: &Actor, id: FeedId) -> Result<(), Error> {
        let project = id.project();
        self.transact(actor, |world| {
            let old = unused(world, id)?;
            let gone = Feed::decide(Some(old), Command::Delete).map_err(Error::rejected)?;
            let mut changes = subscriptions_end(world, project, |one| one.wanted.feed == id)?;
            changes.push(Change::new(project, id.stream(), gone));
            changes.push(release(world, project, Kind::Feed, None, &old.wanted.name)?);
            Ok(Decision { changes, answer: () })
        })
        .await
    }

    pub async fn create_feed_subscription(
        &self,
        actor: &Actor,
        wanted: subscription::Wanted,
    ) -> Result<FeedSubscriptionId, Error> {
        let project = wanted.feed.project();
        let id = FeedSubscriptionId::new(project, self.ids.fresh());
        self.transact(actor, |world| {
            find(world, wanted.feed)?;
            if wanted.room.project() != project || world.room(wanted.room).is_none() {
                return Err(Error::no_room(&wanted.room.to_string()));
            }
            if of_feed(world, wanted.feed).count() >= SUBSCRIPTIONS_MAX {
                return Err(Error::rejected(subscription::Refused::TooMany));
            }
            let command = subscription::Command::Create(wanted.clone());
            let made = FeedSubscription::decide(None, command).map_err(Error::rejected)?;
            let name = held_name(id, &wanted);
            let claimed = claim(world, project, Kind::FeedSubscription, None, &name, id.uuid())?;
            Ok(Decision { changes: vec![claimed, Change::new(project, id.stream(), made)], answer: id })
        })
        .await
    }

    /// Changes how files are named, and the annotations. Says whether anything changed.
    pub async fn update_feed_subscription(
        &self,
        actor: &Actor,
        id: FeedSubscriptionId,
        filename_datetime_format: Option<String>,
        annotations: BTreeMap<String, String>,
    ) -> Result<bool, Error> {
        let command = subscription::Command::Update { filename_datetime_format, annotations };
        self.on_subscription(actor, id, command).await
    }

    pub async fn delete_feed_subscription(&self, actor: &Actor, id: FeedSubscriptionId) -> Result<(), Error> {
        self.on_subscription(actor, id, subscription::Command::Delete).await.map(drop)
    }

    async fn on_subscription(
        &self,
        actor: &Actor,
        id: FeedSubscriptionId,
        command: subscription::Command,
    ) -> Result<bool, Error> {
        self.transact(actor, |world| {
            let missing = || Error::rejected(subscription::Refused::NotFound);
            let old = world.feed_subscription(id).ok_or_else(missing)?;
            let changes = subscription_change(world, id, old, command.clone())?;
            let answer = changes.iter().any(|change| !change.events.is_empty());
            Ok(Decision { changes, answer })
        })
        .await
    }

    /// Whether anybody subscribed, on any server: what is published while nobody did is kept by nobody.
    pub async fn has_feed_subscribers(&self, id: FeedId) -> Result<bool, Error> {
        if of_feed(&self.world(), id).next().is_some() {
            return Ok(true);
        }
        self.projection.catch_up().await?;
        Ok(of_feed(&self.world(), id).next().is_some())
    }

    /// The subscriptions of a feed, all that there are now, on any server.
    pub async fn feed_subscribers(&self, id: FeedId) -> Result<Vec<FeedSubscriptionId>, Error> {
        self.projection.catch_up().await?;
        Ok(of_feed(&self.world(), id).map(|(id, _)| id).collect())
    }

    /// A project's feed by its name.
    #[must_use]
    pub fn feed_named(&self, project: ProjectId, name: &str) -> Option<(FeedId, Feed)> {
        let world = self.world();
        let id = FeedId::new(project, world.named(project, Kind::Feed, None, name)?);
        Some((id, world.feed(id)?.clone()))
    }
}

/// The subscriptions of a feed.
pub fn of_feed(world: &World, feed: FeedId) -> impl Iterator<Item = (FeedSubscriptionId, &FeedSubscription)> {
    world.feed_subscriptions(feed.project()).filter(move |(_, one)| one.wanted.feed == feed)
}

/// The name that a subscription holds, its id where it has none: whoever ends its feed or room at the same time writes to
/// the same stream, and one of the two looks again.
pub(super) fn held_name(id: FeedSubscriptionId, wanted: &subscription::Wanted) -> String {
    wanted.name.clone().unwrap_or_else(|| id.uuid().to_string())
}

/// The facts of a change to a subscription; with its end its name is free.
fn subscription_change(
    world: &World,
    id: FeedSubscriptionId,
    old: &FeedSubscription,
    command: subscription::Command,
) -> Result<Vec<Change>, Error> {
    let ends = matches!(command, subscription::Command::Delete);
    let events = FeedSubscription::decide(Some(old), command).map_err(Error::rejected)?;
    let mut changes = vec![Change::new(id.project(), id.stream(), events)];
    if ends {
        let name = held_name(id, &old.wanted);
        changes.push(release(world, id.project(), Kind::FeedSubscription, None, &name)?);
    }
    Ok(changes)
}

/// The end of the subscriptions of a room.
pub(super) fn of_room_end(world: &World, room: RoomId) -> Result<Vec<Change>, Error> {
    subscriptions_end(world, room.project(), |one| one.wanted.room == room)
}

fn subscriptions_end(
    world: &World,
    project: ProjectId,
    is: impl Fn(&FeedSubscription) -> bool,
) -> Result<Vec<Change>, Error> {
    let all = world.feed_subscriptions(project).filter(|(_, one)| is(one));
    let mut changes = vec![];
    for (id, one) in all {
        changes.extend(subscription_change(world, id, one, subscription::Command::Delete)?);
    }
    Ok(changes)
}

/// A feed that nothing but its subscriptions needs.
pub(super) fn unused(world: &World, id: FeedId) -> Result<&Feed, Error> {
    let feed = find(world, id)?;
    let mut loggers = world.llm_loggers(id.project());
    match loggers.find(|(_, logger)| logger.wanted.destination_feed == id) {
        Some((logger, _)) => Err(Error::rejected(Refused::InUse(logger.to_string()))),
        None => Ok(feed),
    }
}

fn find(world: &World, id: FeedId) -> Result<&Feed, Error> {
    world.feed(id).ok_or_else(|| Error::rejected(Refused::NotFound))
}

/// A schema that cannot be read would let nothing through. Its bounds are looked at first.
async fn usable(wanted: &Wanted) -> Result<(), Error> {
    wanted.check().map_err(Error::rejected)?;
    let Some(text) = wanted.message_schema.clone() else { return Ok(()) };
    let read = tokio::task::spawn_blocking(move || schema::compile(&text).map(drop)).await;
    let read = read.unwrap_or_else(|_| Err("the check broke off".to_owned()));
    read.map_err(|why| Error::rejected(Refused::BadSchema(why)))
}

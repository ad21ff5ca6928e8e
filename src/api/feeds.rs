//! Feeds, their subscriptions, and publishing (REST reference §5.12).

use super::auth::{Access, Caller, InProject};
use super::body::Body;
use super::paging::Paging;
use super::route::Route;
use super::{Api, Problem};
use crate::app::Error;
use crate::app::feeds::of_feed;
use crate::domain::feed::{Feed, Refused, Wanted};
use crate::domain::feed_subscription::{self as subscription, FeedSubscription};
use crate::feed::{Failure, FeedError, PUBLISH_BYTES_MAX};
use crate::id::{FeedId, FeedSubscriptionId, ProjectId};
use crate::projection::World;
use crate::share::Place;
use crate::spec::FeedVisibility;
use crate::store::StoreError;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{Method, StatusCode};
use axum::routing::{delete, get, post, put};
use bytes::BytesMut;
use futures_util::StreamExt as _;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use uuid::Uuid;

/// Longest time in which a body that publishes must have come.
const BODY_WAIT: Duration = Duration::from_mins(1);

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/accounts/projects/{project_id}/feeds";
    const ONE: &str = "/accounts/projects/{project_id}/feeds/{feed_id}";
    const NAMED: &str = "/accounts/projects/{project_id}/feeds/by-name/{name}";
    const OF_ROOM: &str = "/accounts/projects/{project_id}/rooms/{room}/feeds";
    const MESSAGES: &str = "/accounts/projects/{project_id}/feeds/{feed_id}/messages";
    const BATCH: &str = "/accounts/projects/{project_id}/feeds/{feed_id}/messages/batch";
    const SUBSCRIPTIONS: &str = "/accounts/projects/{project_id}/feeds/{feed_id}/subscriptions";
    const SUBSCRIPTION: &str =
        "/accounts/projects/{project_id}/feeds/{feed_id}/subscriptions/{subscription_id}";
    let route = |method, path, name, summary, handler| {
        Route::new(method, path, name, summary, Access::Account, handler)
    };
    // They bound their bodies themselves.
    let (publish, batch) = (post(publish), post(publish_batch));
    vec![
        route(Method::GET, ALL, "list_feeds", "Feeds of a project", get(list)),
        route(Method::POST, ALL, "create_feed", "Make a feed", post(create)).takes::<FeedBody>(),
        route(Method::GET, NAMED, "get_feed_by_name", "A feed by its name", get(by_name)),
        route(Method::GET, ONE, "get_feed", "One feed", get(one)),
        route(Method::PUT, ONE, "update_feed", "Change a feed", put(update)).takes::<FeedBody>(),
        route(Method::DELETE, ONE, "delete_feed", "Delete a feed and its subscriptions", delete(remove)),
        route(Method::GET, OF_ROOM, "list_room_feeds", "Feeds that a room has subscribed to", get(of_room)),
        route(Method::POST, MESSAGES, "publish_feed_message", "Publish a message, any JSON", publish),
        route(Method::POST, BATCH, "publish_feed_batch", "Publish a list of messages", batch),
        route(
            Method::GET,
            SUBSCRIPTIONS,
            "list_feed_subscriptions",
            "Subscriptions of a feed",
            get(subscriptions),
        ),
        route(
            Method::POST,
            SUBSCRIPTIONS,
            "create_feed_subscription",
            "Have a feed written into a room",
            post(subscribe),
        )
        .takes::<SubscriptionBody>(),
        route(Method::GET, SUBSCRIPTION, "get_feed_subscription", "One subscription", get(subscription_of)),
        route(
            Method::PUT,
            SUBSCRIPTION,
            "update_feed_subscription",
            "Change a subscription",
            put(resubscribe),
        )
        .takes::<SubscriptionChange>(),
        route(
            Method::DELETE,
            SUBSCRIPTION,
            "delete_feed_subscription",
            "End a subscription",
            delete(unsubscribe),
        ),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct FeedBody {
    name: String,
    #[serde(default)]
    description: Option<String>,
    /// In updates: as it is, where it is absent.
    #[serde(default)]
    visibility: Option<FeedVisibility>,
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    /// JSON Schema: an object or a boolean.
    #[serde(default)]
    message_schema: Option<Value>,
}

impl FeedBody {
    fn read(self, old: Option<&Feed>) -> Wanted {
        let visibility = self.visibility.or(old.map(|old| old.wanted.visibility));
        Wanted {
            name: self.name.trim().to_lowercase(),
            description: self.description.unwrap_or_default().trim().to_owned(),
            visibility: visibility.unwrap_or_default(),
            paused: self.paused,
            annotations: self.annotations.unwrap_or_default(),
            message_schema: self.message_schema.filter(|schema| !schema.is_null()),
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
struct SubscriptionBody {
    room: String,
    /// Folder in the room's storage.
    path: String,
    #[serde(default)]
    filename_datetime_format: Option<String>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct SubscriptionChange {
    #[serde(default)]
    filename_datetime_format: Option<String>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl From<FeedError> for Problem {
    fn from(error: FeedError) -> Self {
        let status = match &error {
            FeedError::Paused { .. } | FeedError::Schema(_) => StatusCode::CONFLICT,
            FeedError::Mismatch { .. } | FeedError::NotJson(_) => StatusCode::BAD_REQUEST,
            FeedError::Many { .. } | FeedError::Long { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            FeedError::Slow => StatusCode::BAD_REQUEST,
            FeedError::Full { .. } | FeedError::ProjectFull | FeedError::Busy => {
                StatusCode::TOO_MANY_REQUESTS
            }
            FeedError::Store(StoreError::Full { .. }) => StatusCode::INSUFFICIENT_STORAGE,
            FeedError::Unchecked | FeedError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        if status.is_server_error() {
            tracing::error!(%error, "messages of a feed were not taken");
        }
        Self::new(status, code(&error), error.to_string())
    }
}

pub(super) fn code(error: &FeedError) -> &'static str {
    match error {
        FeedError::Paused { .. } => "feed-paused",
        FeedError::Mismatch { .. } | FeedError::Slow => "feed-message-invalid",
        FeedError::NotJson(_) => "invalid-request",
        FeedError::Many { .. } | FeedError::Long { .. } => "too-large",
        FeedError::Full { .. } | FeedError::ProjectFull => "feed-full",
        FeedError::Schema(_) => "feed-invalid",
        FeedError::Busy | FeedError::Unchecked | FeedError::Store(_) => "busy",
    }
}

fn wire(id: FeedId, feed: &Feed) -> Value {
    let wanted = &feed.wanted;
    json!({
        "id": id.to_string(), "project_id": id.project().to_string(), "created_at": feed.created_at,
        "name": wanted.name, "description": wanted.description, "visibility": wanted.visibility,
        "paused": wanted.paused, "annotations": wanted.annotations, "message_schema": wanted.message_schema,
        // It holds from the moment it is written.
        "desired_generation": feed.generation, "applied_generation": feed.generation,
    })
}

fn wire_subscription(
    world: &World,
    id: FeedSubscriptionId,
    one: &FeedSubscription,
    failure: Option<&Failure>,
) -> Value {
    let wanted = &one.wanted;
    let room = world.room(wanted.room).map(|room| room.name.to_string()).unwrap_or_default();
    let applied = if failure.is_some() { one.generation.saturating_sub(1) } else { one.generation };
    json!({
        "id": id.to_string(), "feed_id": wanted.feed.to_string(), "project_id": id.project().to_string(),
        // What documents call it.
        "name": wanted.name,
        "room": room, "room_id": wanted.room.to_string(),
        // The clients take no empty path.
        "path": if wanted.path.is_empty() { "/" } else { &wanted.path },
        "filename_datetime_format": wanted.filename_datetime_format, "created_at": one.created_at,
        "annotations": wanted.annotations, "desired_generation": one.generation, "applied_generation": applied,
        "reconcile_error": failure.map(|failure| &failure.reason),
        "reconcile_after": failure.map(|failure| failure.again_at),
    })
}

fn find(api: &Api, project: ProjectId, text: &str) -> Result<(FeedId, Feed), Problem> {
    let missing = || Problem::from(Error::rejected(Refused::NotFound));
    // People may write its name, too.
    let Ok(id) = Uuid::parse_str(text) else { return api.app.feed_named(project, text).ok_or_else(missing) };
    let id = FeedId::new(project, id);
    let feed = api.app.world().feed(id).cloned().ok_or_else(missing)?;
    Ok((id, feed))
}

fn find_subscription(
    api: &Api,
    project: ProjectId,
    feed: &str,
    text: &str,
) -> Result<(FeedSubscriptionId, FeedSubscription), Problem> {
    let (feed, _) = find(api, project, feed)?;
    let missing = || Problem::from(Error::rejected(subscription::Refused::NotFound));
    let id = FeedSubscriptionId::new(project, Uuid::parse_str(text).map_err(|_| missing())?);
    let found = api.app.world().feed_subscription(id).cloned();
    let one = found.filter(|one| one.wanted.feed == feed).ok_or_else(missing)?;
    Ok((id, one))
}

fn page(all: Vec<(FeedId, &Feed)>, paging: &Paging) -> Result<Json<Value>, Problem> {
    let mut all: Vec<_> = all.into_iter().filter(|(_, feed)| paging.wants(&feed.wanted.name)).collect();
    all.sort_by(|(_, a), (_, b)| a.wanted.name.cmp(&b.wanted.name));
    let page = paging.cut(all)?;
    let items: Vec<Value> = page.items.into_iter().map(|(id, feed)| wire(id, feed)).collect();
    Ok(Json(json!({"feeds": items, "total": page.total, "continuation_token": page.next})))
}

async fn list(
    State(api): State<Api>,
    InProject(project): InProject,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    page(world.feeds(project).collect(), &paging)
}

async fn of_room(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, room)): Path<(String, String)>,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    let (room, _) = super::rooms::find(&api, project, &caller, &room)?;
    let world = api.app.world();
    let subscribed = world.feed_subscriptions(project).filter(|(_, one)| one.wanted.room == room);
    let ids: HashSet<FeedId> = subscribed.map(|(_, one)| one.wanted.feed).collect();
    page(world.feeds(project).filter(|(id, _)| ids.contains(id)).collect(), &paging)
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Body(body): Body<FeedBody>,
) -> Result<Json<Value>, Problem> {
    let id = api.app.create_feed(&caller.actor(), project, body.read(None)).await?;
    let (id, feed) = find(&api, project, &id.to_string())?;
    Ok(Json(json!({"feed": wire(id, &feed)})))
}

async fn one(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (id, feed) = find(&api, project, &text)?;
    Ok(Json(json!({"feed": wire(id, &feed)})))
}

async fn by_name(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, name)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let found = api.app.feed_named(project, &name);
    let (id, feed) = found.ok_or_else(|| Problem::from(Error::rejected(Refused::NotFound)))?;
    Ok(Json(json!({"feed": wire(id, &feed)})))
}

async fn update(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
    Body(body): Body<FeedBody>,
) -> Result<Json<Value>, Problem> {
    let (id, old) = find(&api, project, &text)?;
    api.app.update_feed(&caller.actor(), id, body.read(Some(&old))).await?;
    let (id, feed) = find(&api, project, &text)?;
    Ok(Json(json!({"feed": wire(id, &feed)})))
}

async fn remove(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = find(&api, project, &text)?;
    api.app.delete_feed(&caller.actor(), id).await?;
    Ok(Json(json!({})))
}

async fn publish(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    put_in(&api, project, &text, request, false).await
}

async fn publish_batch(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    put_in(&api, project, &text, request, true).await
}

async fn put_in(
    api: &Api,
    project: ProjectId,
    text: &str,
    request: Request,
    is_list: bool,
) -> Result<Json<Value>, Problem> {
    find(api, project, text)?;
    let mut hold = api.feeds.hold(project)?;
    let bytes = tokio::time::timeout(BODY_WAIT, collect(&mut hold, request)).await.map_err(|_| {
        let text = "the body did not come in time; send it faster, or less of it";
        Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", text)
    })??;
    let (id, feed) = find(api, project, text)?;
    let checked = api.feeds.check(id, &feed, bytes, is_list).await?;
    // That took its time: whoever subscribed meanwhile gets it, and a feed that is gone takes nothing.
    let subscribed = api.app.has_feed_subscribers(id).await?;
    let (id, feed) = find(api, project, &id.to_string())?;
    api.feeds.publish(id, &feed, subscribed, checked).await?;
    Ok(Json(json!({})))
}

/// A body that publishes. What comes slowly holds no more of the bound on all bodies than what has come.
async fn collect(hold: &mut Place<ProjectId>, request: Request) -> Result<Bytes, Problem> {
    let long = || {
        let text = format!("the body is larger than {PUBLISH_BYTES_MAX} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", text)
    };
    let told = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if told.is_some_and(|told: usize| told > PUBLISH_BYTES_MAX) {
        return Err(long());
    }
    let (mut parts, mut bytes) = (request.into_body().into_data_stream(), BytesMut::new());
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| Problem::bad_request("the body broke off; send it again"))?;
        if bytes.len().saturating_add(part.len()) > PUBLISH_BYTES_MAX {
            return Err(long());
        }
        if !hold.grow(part.len()) {
            return Err(FeedError::Busy.into());
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes.freeze())
}

async fn told(api: &Api, id: FeedSubscriptionId, one: &FeedSubscription) -> Result<Value, Problem> {
    let failure = api.feeds.store.failure(id).await?;
    Ok(wire_subscription(&api.app.world(), id, one, failure.as_ref()))
}

async fn subscriptions(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (feed, _) = find(&api, project, &text)?;
    let world = api.app.world();
    let mut all = vec![];
    for (id, one) in of_feed(&world, feed) {
        all.push(told(&api, id, one).await?);
    }
    Ok(Json(json!({"subscriptions": all})))
}

async fn subscribe(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
    Body(body): Body<SubscriptionBody>,
) -> Result<Json<Value>, Problem> {
    let (feed, _) = find(&api, project, &text)?;
    let (room, _) = super::rooms::find(&api, project, &caller, &body.room)?;
    let wanted = subscription::Wanted {
        name: None,
        feed,
        room,
        path: body.path.trim().trim_matches('/').to_owned(),
        filename_datetime_format: body.filename_datetime_format.filter(|format| !format.is_empty()),
        annotations: body.annotations.unwrap_or_default(),
    };
    let id = api.app.create_feed_subscription(&caller.actor(), wanted).await?;
    let (id, one) = find_subscription(&api, project, &text, &id.to_string())?;
    Ok(Json(json!({"subscription": told(&api, id, &one).await?})))
}

async fn subscription_of(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, feed, text)): Path<(String, String, String)>,
) -> Result<Json<Value>, Problem> {
    let (id, one) = find_subscription(&api, project, &feed, &text)?;
    Ok(Json(json!({"subscription": told(&api, id, &one).await?})))
}

async fn resubscribe(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, feed, text)): Path<(String, String, String)>,
    Body(body): Body<SubscriptionChange>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = find_subscription(&api, project, &feed, &text)?;
    let format = body.filename_datetime_format.filter(|format| !format.is_empty());
    let annotations = body.annotations.unwrap_or_default();
    api.app.update_feed_subscription(&caller.actor(), id, format, annotations).await?;
    let (id, one) = find_subscription(&api, project, &feed, &text)?;
    Ok(Json(json!({"subscription": told(&api, id, &one).await?})))
}

async fn unsubscribe(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, feed, text)): Path<(String, String, String)>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = find_subscription(&api, project, &feed, &text)?;
    api.app.delete_feed_subscription(&caller.actor(), id).await?;
    Ok(Json(json!({})))
}

//! Webhooks of a project, in the form of the npm SDK, and their deliveries.

use super::auth::{Access, Caller, InProject};
use super::body::Body;
use super::paging::Paging;
use super::route::Route;
use super::{Api, Problem};
use crate::app::Error;
use crate::domain::webhook::{Delivery, Refused, Topic, Wanted, Webhook};
use crate::id::{ProjectId, WebhookId};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::Method;
use axum::routing::{delete, get, post, put};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/accounts/projects/{project_id}/webhooks";
    const ONE: &str = "/accounts/projects/{project_id}/webhooks/{webhook_id}";
    let route = |method, path, name, summary, handler| {
        Route::new(method, path, name, summary, Access::Account, handler)
    };
    vec![
        route(Method::GET, ALL, "list_webhooks", "Webhooks of a project", get(list)),
        route(Method::POST, ALL, "create_webhook", "Make a webhook", post(create)).takes::<WebhookBody>(),
        route(Method::GET, ONE, "get_webhook", "One webhook", get(one)),
        route(Method::PUT, ONE, "update_webhook", "Change a webhook", put(update)).takes::<WebhookBody>(),
        route(Method::DELETE, ONE, "delete_webhook", "Delete a webhook", delete(remove)),
        route(
            Method::GET,
            "/accounts/projects/{project_id}/webhooks/{webhook_id}/deliveries",
            "webhook_deliveries",
            "Calls of a webhook that wait, and those that were given up",
            get(deliveries),
        ),
        route(
            Method::POST,
            "/accounts/projects/{project_id}/webhooks/{webhook_id}/deliveries:replay",
            "replay_webhook_deliveries",
            "Try again what was given up",
            post(replay),
        )
        .takes::<ReplayBody>(),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct WebhookBody {
    name: String,
    url: String,
    /// `room.started`, `room.ended`.
    events: Vec<String>,
    #[serde(default)]
    description: Option<String>,
    /// Must be absent, null or empty: this server calls the URL and does nothing else.
    #[serde(default)]
    action: Option<String>,
    /// Must be absent or null: what is sent is the event.
    #[serde(default)]
    payload: Option<Value>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
struct ReplayBody {
    /// All that was given up where it is absent.
    #[serde(default)]
    ids: Option<Vec<Uuid>>,
}

impl WebhookBody {
    fn read(self) -> Result<Wanted, Problem> {
        let invalid = |text: String| Problem::from(Error::Invalid { code: "webhook-invalid", text });
        if self.action.is_some_and(|action| !action.trim().is_empty()) {
            return Err(invalid("webhooks here call their url only; leave out `action`".to_owned()));
        }
        if self.payload.is_some_and(|payload| !payload.is_null()) {
            return Err(invalid("webhooks here are sent the event only; leave out `payload`".to_owned()));
        }
        let topic = |text: &String| {
            Topic::parse(text).ok_or_else(|| {
                let shown: String = text.chars().take(64).collect();
                invalid(format!(
                    "there is no event `{shown}` for webhooks; there are room.started and room.ended"
                ))
            })
        };
        let events = self.events.iter().map(topic).collect::<Result<_, _>>()?;
        let description = self.description.unwrap_or_default();
        Ok(Wanted { name: self.name.trim().to_owned(), url: self.url.trim().to_owned(), events, description })
    }
}

fn wire(id: WebhookId, webhook: &Webhook) -> Value {
    let Wanted { name, url, events, description } = &webhook.wanted;
    json!({
        "id": id.to_string(), "project_id": id.project().to_string(), "name": name, "url": url, "events": events,
        "description": description, "action": "", "payload": null, "created_at": webhook.created_at,
        "updated_at": webhook.updated_at, "waiting": webhook.waiting.len(), "delivered": webhook.delivered,
        "abandoned": webhook.abandoned,
    })
}

fn wire_delivery(delivery: &Delivery) -> Value {
    json!({
        "id": delivery.id, "event": delivery.event, "room_id": delivery.room.to_string(),
        "room_name": delivery.room_name, "at": delivery.at, "attempts": delivery.attempts,
        "again_at": delivery.again_at, "reason": delivery.reason,
    })
}

fn find(api: &Api, project: ProjectId, text: &str) -> Result<(WebhookId, Webhook), Problem> {
    let missing = || Problem::from(Error::rejected(Refused::NotFound));
    let id = WebhookId::new(project, Uuid::parse_str(text).map_err(|_| missing())?);
    let webhook = api.app.world().webhook(id).cloned().ok_or_else(missing)?;
    Ok((id, webhook))
}

async fn list(
    State(api): State<Api>,
    InProject(project): InProject,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    let all = world.webhooks(project).filter(|(_, webhook)| paging.wants(&webhook.wanted.name)).collect();
    let page = paging.cut(all)?;
    let items: Vec<Value> = page.items.iter().map(|(id, webhook)| wire(*id, webhook)).collect();
    Ok(Json(json!({"webhooks": items, "total": page.total, "continuation_token": page.next})))
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Body(body): Body<WebhookBody>,
) -> Result<Json<Value>, Problem> {
    let id = api.app.create_webhook(&caller.actor(), project, body.read()?).await?;
    let (id, webhook) = find(&api, project, &id.to_string())?;
    Ok(Json(wire(id, &webhook)))
}

async fn one(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (id, webhook) = find(&api, project, &text)?;
    Ok(Json(wire(id, &webhook)))
}

async fn update(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
    Body(body): Body<WebhookBody>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = find(&api, project, &text)?;
    api.app.update_webhook(&caller.actor(), id, body.read()?).await?;
    let (id, webhook) = find(&api, project, &text)?;
    Ok(Json(wire(id, &webhook)))
}

async fn remove(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = find(&api, project, &text)?;
    api.app.delete_webhook(&caller.actor(), id).await?;
    Ok(Json(json!({})))
}

async fn deliveries(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (_, webhook) = find(&api, project, &text)?;
    let waiting: Vec<Value> = webhook.waiting.iter().map(wire_delivery).collect();
    let dead: Vec<Value> = webhook.dead.iter().map(wire_delivery).collect();
    Ok(Json(json!({"waiting": waiting, "dead": dead})))
}

async fn replay(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
    Body(body): Body<ReplayBody>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = find(&api, project, &text)?;
    let replayed = match body.ids {
        Some(ids) if ids.is_empty() => 0,
        ids => api.app.replay_webhook(&caller.actor(), id, ids.unwrap_or_default()).await?,
    };
    Ok(Json(json!({"replayed": replayed})))
}

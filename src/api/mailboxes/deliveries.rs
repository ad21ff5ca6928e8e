//! What became of mail that a mailbox sent.

use crate::api::auth::{Access, InProject};
use crate::api::route::Route;
use crate::api::{Api, Problem};
use crate::app::Error;
use crate::id::{MailboxId, ProjectId};
use crate::mail::outbox::{Delivery, DeliveryEvent, OutboxError, PAGE_MAX, Query as Wanted, Status};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// Items on a page unless told.
const PAGE_DEFAULT: usize = 100;
/// Who reports the events.
const PROVIDER: &str = "meshagent";

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/accounts/projects/{project_id}/mailboxes/{address}/deliveries";
    const ONE: &str = "/accounts/projects/{project_id}/mailboxes/{address}/deliveries/{delivery_id}";
    const EVENTS: &str =
        "/accounts/projects/{project_id}/mailboxes/{address}/deliveries/{delivery_id}/events";
    let route =
        |path, name, summary, handler| Route::new(Method::GET, path, name, summary, Access::Account, handler);
    vec![
        route(
            ALL,
            "list_mailbox_deliveries",
            "What became of mail that a mailbox sent, newest first",
            get(list),
        ),
        route(ONE, "get_mailbox_delivery", "One delivery", get(one)),
        route(EVENTS, "list_mailbox_delivery_events", "What happened to a delivery, in order", get(events)),
    ]
}

#[derive(Debug, Default, Deserialize)]
struct Paging {
    count: Option<usize>,
    offset: Option<usize>,
    status: Option<String>,
    recipient: Option<String>,
    message_id: Option<String>,
}

impl Paging {
    fn count(&self) -> usize {
        self.count.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX)
    }
}

fn mailbox(api: &Api, project: ProjectId, address: &str) -> Result<MailboxId, Problem> {
    Ok(api.app.mailbox_named(project, address)?.0)
}

fn unavailable(error: OutboxError) -> Problem {
    Problem { status: StatusCode::SERVICE_UNAVAILABLE, code: "mail-unavailable", message: error.to_string() }
}

fn event(event: DeliveryEvent) -> Value {
    let status = match event.event_type.as_str() {
        "delivered" => Status::Delivered,
        "temporary_failed" => Status::Deferred,
        "permanent_failed" => Status::Failed,
        _ => Status::Accepted,
    };
    let mut value = json!(event.report);
    value["id"] = json!(event.id);
    value["delivery_id"] = json!(event.delivery_id);
    value["provider"] = json!(PROVIDER);
    value["provider_event_id"] = json!(event.id);
    value["event_type"] = json!(event.event_type);
    value["status"] = json!(status);
    value["occurred_at"] = json!(event.occurred_at);
    value["received_at"] = json!(event.occurred_at);
    if event.attempt > 0 {
        value["attempt_no"] = json!(event.attempt);
    }
    value
}

async fn list(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, address)): Path<(String, String)>,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    let id = mailbox(&api, project, &address)?;
    let status = paging.status.as_deref().map(str::parse).transpose().map_err(Problem::bad_request)?;
    let wanted = Wanted {
        status,
        recipient: paging.recipient.clone(),
        message_id: paging.message_id.as_deref().map(|id| id.trim_matches(['<', '>']).to_owned()),
        offset: paging.offset.unwrap_or(0),
        count: paging.count(),
    };
    let page = api.outbox.deliveries(id, wanted).await.map_err(unavailable)?;
    Ok(Json(json!({"deliveries": page.items, "total": page.total})))
}

async fn find(api: &Api, project: ProjectId, address: &str, delivery: &str) -> Result<Delivery, Problem> {
    let id = mailbox(api, project, address)?;
    let found = match Uuid::parse_str(delivery) {
        Ok(uuid) => api.outbox.delivery(id, uuid).await.map_err(unavailable)?,
        Err(_) => None,
    };
    let missing = || Error::NotFound {
        kind: "delivery",
        name: delivery.to_owned(),
        hint: "`meshagent mailbox deliveries ADDRESS` shows those of the last days",
    };
    Ok(found.ok_or_else(missing)?)
}

async fn one(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, address, delivery)): Path<(String, String, String)>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({"delivery": find(&api, project, &address, &delivery).await?})))
}

async fn events(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, address, delivery)): Path<(String, String, String)>,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    let delivery = find(&api, project, &address, &delivery).await?;
    let page = api.outbox.events(delivery.id, paging.offset.unwrap_or(0), paging.count()).await;
    let page = page.map_err(unavailable)?;
    let events: Vec<Value> = page.items.into_iter().map(event).collect();
    Ok(Json(json!({"events": events, "total": page.total})))
}

//! The event log over HTTP: pages, filters, and a bounded wait for what is new.

use super::auth::{Access, Caller};
use super::route::Route;
use super::{Api, Problem};
use crate::eventlog::{Filter, KindFilter, PAGE_EVENTS_MAX, Recorded};
use crate::id::{Position, ProjectId};
use axum::Json;
use axum::extract::{Query, State};
use axum::http::Method;
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Longest wait for a new event, milliseconds.
pub const WAIT_MS_MAX: u64 = 30_000;
/// Events on a page unless told.
const PAGE_DEFAULT: usize = 200;

pub(super) fn routes() -> Vec<Route> {
    vec![Route::new(
        Method::GET,
        "/v1/events",
        "list_events",
        "Events after a position; waits up to wait_ms for the first",
        Access::SignedIn,
        get(list),
    )]
}

#[derive(Debug, Deserialize)]
struct Wanted {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
    /// Kinds, separated by commas; one that ends in `.` is a prefix.
    kind: Option<String>,
    subject: Option<String>,
    project: Option<ProjectId>,
    #[serde(default)]
    wait_ms: u64,
}

pub(super) fn wire(event: &Recorded) -> Value {
    json!(event)
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Problem> {
    let filter = filter(&caller, &wanted)?;
    let limit = wanted.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_EVENTS_MAX);
    let after = Position(wanted.after);
    let deadline = tokio::time::Instant::now() + Duration::from_millis(wanted.wait_ms.min(WAIT_MS_MAX));
    let mut changes = api.app.log.changes();
    loop {
        changes.borrow_and_update();
        let head = api.app.log.head().await.map_err(crate::app::Error::Read)?;
        let events = api.app.log.read(after, &filter, limit).await.map_err(crate::app::Error::Read)?;
        let timed_out = tokio::time::Instant::now() >= deadline;
        if !events.is_empty() || timed_out {
            // All up to `head` was looked at, unless the page is full.
            let next = match events.last() {
                Some(last) if events.len() == limit => last.position,
                _ => head.max(after),
            };
            let events: Vec<Value> = events.iter().map(wire).collect();
            return Ok(Json(json!({"events": events, "next": next})));
        }
        // Either something new, or the time is over; both lead to another look.
        let _ = tokio::time::timeout_at(deadline, changes.changed()).await;
    }
}

fn filter(caller: &Caller, wanted: &Wanted) -> Result<Filter, Problem> {
    let project = match caller {
        Caller::Account { operator: true, .. } => wanted.project,
        Caller::Account { .. } if wanted.project.is_none_or(|p| p == caller.project()) => {
            Some(caller.project())
        }
        Caller::Account { .. } => {
            return Err(Problem::forbidden("this credential may read the events of its own project only"));
        }
        // The table of roles let in those only who manage the project.
        Caller::User(user) if wanted.project.is_none_or(|project| project == user.project) => {
            Some(user.project)
        }
        Caller::User(_) => {
            return Err(Problem::forbidden("this credential may read the events of its own project only"));
        }
        Caller::Participant(_) => {
            return Err(Problem::forbidden("participant tokens cannot read the event log; use an API key"));
        }
    };
    let kinds = wanted.kind.as_deref().unwrap_or_default();
    Ok(Filter {
        categories: vec![],
        kinds: kinds.split(',').map(str::trim).filter(|k| !k.is_empty()).map(KindFilter::parse).collect(),
        subject: wanted.subject.clone(),
        project,
    })
}

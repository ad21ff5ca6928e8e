//! The servers on this store, for those who run them.

use super::auth::{Access, Caller};
use super::route::Route;
use super::{Api, Problem};
use crate::app::servers::ServerSeen;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::Method;
use axum::routing::{get, post};
use serde_json::{Value, json};

pub(super) fn routes() -> Vec<Route> {
    let route = |method, path, name, summary, handler| {
        Route::new(method, path, name, summary, Access::Operator, handler)
    };
    vec![
        route(
            Method::GET,
            "/v1/servers",
            "list_servers",
            "The servers that share this one's store",
            get(list),
        ),
        route(
            Method::POST,
            "/v1/servers/{name}/drain",
            "drain_server",
            "Have a server give its rooms to the others",
            post(drain),
        ),
        route(
            Method::POST,
            "/v1/servers/{name}/resume",
            "resume_server",
            "Have a server take rooms again",
            post(resume),
        ),
    ]
}

fn shown(server: &ServerSeen) -> Value {
    let state = if server.drained_by.is_some() { "draining" } else { "active" };
    json!({
        "name": server.name, "url": server.url, "state": state, "rooms": server.rooms,
        "drained_by": server.drained_by,
    })
}

async fn list(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let all = api.servers.all().await?;
    Ok(Json(json!({"servers": all.iter().map(shown).collect::<Vec<_>>()})))
}

async fn drain(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(shown(&api.servers.drain(caller.name(), &name).await?)))
}

async fn resume(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(shown(&api.servers.resume(&name).await?)))
}

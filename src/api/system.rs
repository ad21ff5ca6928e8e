//! Readiness, and the configuration that clients ask for before anything else.

use super::auth::Access;
use super::route::Route;
use super::{Api, openapi};
use crate::app::routes::reserved_domain;
use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::routing::get;
use serde_json::{Value, json};

/// Version of the clients this server was written for; a higher one would make them ask people to upgrade.
pub const CLIENT_VERSION: &str = "0.55.1";

pub(super) fn routes() -> Vec<Route> {
    let open =
        |path, name, summary, handler| Route::new(Method::GET, path, name, summary, Access::Open, handler);
    vec![
        open("/", "root", "200 when ready; 503 while it gives its rooms away", get(ready)),
        open("/healthz", "healthz", "200 when ready", get(ready)),
        open("/config", "config", "What clients need to know of this deployment", get(config)),
        open("/openapi.json", "openapi", "This document", get(document)),
    ]
}

/// A server that gives its rooms away answers, and wants no new clients.
async fn ready(State(api): State<Api>) -> (StatusCode, Json<Value>) {
    let ok = !api.servers.is_draining();
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ok": ok, "name": "meshagent", "version": env!("CARGO_PKG_VERSION")})))
}

async fn config(State(api): State<Api>) -> Json<Value> {
    let url = &api.app.settings.public_url;
    let host = url.split_once("://").map_or(url.as_str(), |(_, host)| host);
    Json(json!({
        "domains": {"api": host, "files": format!("{url}/files"), "mail": "mail.localhost"},
        "reserved_route_domains": reserved_domain(url).into_iter().collect::<Vec<_>>(),
        "version": CLIENT_VERSION,
        "certificate_authority": &*api.authority,
    }))
}

async fn document() -> Json<Value> {
    Json(openapi::document())
}

//! The table of routes.

use super::auth::{Access, guard};
use super::{Api, Problem};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::MethodRouter;
use schemars::{Schema, SchemaGenerator};
use tower_http::cors::CorsLayer;

/// One row: everything there is to know of a route.
#[derive(Debug)]
pub struct Route {
    pub method: Method,
    /// In axum's spelling, `{name}` for one segment, `{*name}` for the rest.
    pub path: &'static str,
    /// Operation id in the OpenAPI document.
    pub name: &'static str,
    pub summary: &'static str,
    pub access: Access,
    pub handler: MethodRouter<Api>,
    /// Shape of the body, where it is JSON of a known shape.
    pub body: Option<fn(&mut SchemaGenerator) -> Schema>,
}

impl Route {
    pub(super) fn new(
        method: Method,
        path: &'static str,
        name: &'static str,
        summary: &'static str,
        access: Access,
        handler: MethodRouter<Api>,
    ) -> Self {
        Self { method, path, name, summary, access, handler, body: None }
    }

    pub(super) fn takes<T: schemars::JsonSchema>(mut self) -> Self {
        self.body = Some(schemars::SchemaGenerator::subschema_for::<T>);
        self
    }
}

/// Every route of the REST edge, in the order of the modules.
#[must_use]
pub fn routes() -> Vec<Route> {
    let mut all = vec![];
    all.extend(super::system::routes());
    all.extend(super::projects::routes());
    all.extend(super::members::routes());
    all.extend(super::access::routes());
    all.extend(super::iam::routes());
    all.extend(super::accounts::routes());
    all.extend(super::secrets::routes());
    all.extend(super::proxy::routes());
    all.extend(super::llm::routes());
    all.extend(super::tokens::routes());
    all.extend(super::rooms::routes());
    all.extend(super::servers::routes());
    all.extend(super::services::routes());
    all.extend(super::templates::routes());
    all.extend(super::mailboxes::routes());
    all.extend(super::routes::routes());
    all.extend(super::agents::routes());
    all.extend(super::feeds::routes());
    all.extend(super::loggers::routes());
    all.extend(super::webhooks::routes());
    all.extend(super::mcp::routes());
    all.extend(super::tasks::routes());
    all.extend(super::sessions::routes());
    all.extend(super::session_telemetry::routes());
    all.extend(super::otlp::routes());
    all.extend(super::events::routes());
    all.extend(super::plan::routes());
    all.extend(super::resources::routes());
    all.extend(super::sources::routes());
    all.extend(super::files::routes());
    all
}

/// The router that the table describes.
pub fn router(api: Api) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let guarded =
            route.handler.route_layer(from_fn_with_state((api.clone(), route.access, route.name), guard));
        router = router.route(route.path, guarded);
    }
    router
        .merge(super::kubernetes::router())
        .fallback(no_route)
        .layer(DefaultBodyLimit::max(super::body::BODY_BYTES_MAX))
        .layer(CorsLayer::permissive())
        .with_state(api)
}

async fn no_route(request: axum::extract::Request) -> Problem {
    Problem::not_found(format!(
        "this server has no {} {}; `GET /openapi.json` lists what it has",
        request.method(),
        request.uri().path()
    ))
}

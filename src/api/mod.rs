//! The REST edge. One table of routes ([`routes`]) builds the router, the OpenAPI document and the access tests.
//!
//! Parses, asks the application, answers in the public clients' field names (REST reference §5). Decides nothing, and
//! never touches the log, a queue or another edge by itself.

mod access;
mod accounts;
mod agents;
mod auth;
mod body;
mod error;
mod events;
mod feeds;
mod files;
mod iam;
mod kubernetes;
mod llm;
mod loggers;
mod mailboxes;
mod mcp;
mod members;
pub mod openapi;
mod otlp;
mod otlp_grpc;
mod paging;
mod plan;
mod projects;
mod proxy;
mod relay;
mod resources;
mod roles;
mod rooms;
mod route;
mod routes;
mod secrets;
mod servers;
mod services;
mod session_telemetry;
mod sessions;
mod sources;
mod system;
mod tasks;
mod templates;
mod tokens;
mod webhooks;

pub use auth::{Access, Caller, OPERATOR_ANNOTATION};
pub use error::Problem;
pub use llm::Llm;
pub use otlp_grpc::router as otlp_grpc_router;
pub use roles::User;
pub use route::{Route, router, routes};

use crate::app::App;
use crate::app::host::RoomHost;
use crate::app::ingest::Ingest;
use crate::app::links::Links;
use crate::app::outward::Outward;
use crate::blob::Blobs;
use crate::mail::outbox::Outbox;
use crate::telemetry::{Forward, Telemetry};
use std::sync::Arc;

/// What handlers work with.
#[derive(Clone)]
pub struct Api {
    pub app: Arc<App>,
    pub host: Arc<dyn RoomHost>,
    pub files: Blobs,
    pub links: Arc<Links>,
    pub outward: Arc<Outward>,
    pub ingest: Arc<Ingest>,
    pub telemetry: Telemetry,
    pub llm: Arc<Llm>,
    pub servers: Arc<crate::app::servers::Servers>,
    pub feeds: Arc<crate::feed::Feeds>,
    pub outbox: Arc<dyn Outbox>,
    /// To a collector of the operator's, where there is one.
    pub forward: Option<Forward>,
    /// Certificate of the authority that clients who speak TLS with this very server trust, PEM.
    pub authority: Arc<str>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

impl Api {
    /// Passes telemetry on as it came.
    fn forward(&self, signal: &'static str, session: crate::id::SessionId, body: &[u8], is_json: bool) {
        if let Some(forward) = &self.forward {
            forward.send(signal, session, body, is_json);
        }
    }
}

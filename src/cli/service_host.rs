//! A program as a service elsewhere: it listens, and a room's server calls it into the room with a signed event, an address
//! and a token (REST reference §8).

use super::error::CliError;
use super::output;
use crate::client::room::Token;
use crate::net::webhook;
use crate::spec::ApiScope;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Largest event, bytes.
const EVENT_BYTES_MAX: usize = 64 * 1024;
/// Rooms that one program may be in at once.
const ROOMS_MAX: usize = 256;
/// Where the program describes itself.
const WELL_KNOWN: &str = "/.well-known/meshagent-service.json";

/// Where it listens.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Service")]
pub struct HostArgs {
    /// Address to listen on. Beyond this machine a webhook secret is needed
    #[arg(long, env = "MESHAGENT_HOST", default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub host: IpAddr,

    /// Port to listen on; 0 for any
    #[arg(long, env = "MESHAGENT_PORT", default_value_t = 8080, value_name = "PORT")]
    pub port: u16,

    /// Path at which it is called
    #[arg(long, default_value = "/webhook", value_name = "PATH")]
    pub path: String,

    /// Environment variable with the secret that calls are signed with; without one they are not looked at for a signature
    #[arg(long, default_value = "MESHAGENT_WEBHOOK_SECRET", value_name = "VARIABLE")]
    pub webhook_secret_from_env: String,
}

/// A call into a room.
#[derive(Debug, Clone, Deserialize)]
pub struct Called {
    pub room_name: String,
    pub room_url: String,
    token: String,
}

impl Called {
    /// What lets the program into the room.
    pub fn token(&self) -> Token {
        Token::new(self.token.clone())
    }
}

/// What is done in a room, until `stop` or the end of the session.
pub type Work =
    Arc<dyn Fn(Called, CancellationToken) -> BoxFuture<'static, Result<(), CliError>> + Send + Sync>;

struct Host {
    identity: String,
    path: String,
    secret: Option<String>,
    work: Work,
    stop: CancellationToken,
    /// By the room's address.
    rooms: Mutex<BTreeMap<String, JoinHandle<()>>>,
}

/// Listens until `stop`; then those who are in rooms leave them.
pub async fn serve(
    args: &HostArgs,
    secret: Option<String>,
    identity: &str,
    work: Work,
    stop: CancellationToken,
) -> Result<(), CliError> {
    if !args.path.starts_with('/') || args.path.contains(['{', '}', '*']) || args.path == "/" {
        return Err(CliError::usage(format!("--path `{}` is no path; it begins with /", args.path)));
    }
    if secret.is_none() && !args.host.is_loopback() {
        return Err(CliError::usage(format!("{} can be reached from other machines", args.host)).hint(
            format!(
                "put the project's webhook secret in {}, or listen on 127.0.0.1",
                args.webhook_secret_from_env
            ),
        ));
    }
    let address = SocketAddr::new(args.host, args.port);
    let listener = tokio::net::TcpListener::bind(address).await;
    let listener =
        listener.map_err(|error| CliError::user(format!("cannot listen on {address}: {error}")))?;
    let address = listener.local_addr()?;
    let host = Arc::new(Host {
        identity: identity.to_owned(),
        path: args.path.clone(),
        secret,
        work,
        stop: stop.clone(),
        rooms: Mutex::default(),
    });
    output::note(format!("Waiting to be called at http://{address}{}", args.path));
    let served =
        axum::serve(listener, router(host.clone())).with_graceful_shutdown(stop.clone().cancelled_owned());
    let ended = served.await.map_err(|error| CliError::server(error.to_string()));
    stop.cancel();
    let rooms = std::mem::take(&mut *host.rooms.lock().unwrap_or_else(PoisonError::into_inner));
    for room in rooms.into_values() {
        // What went wrong there was said.
        let _ = room.await;
    }
    ended
}

fn router(host: Arc<Host>) -> Router {
    Router::new()
        .route("/", get(|| async { Json(json!({"ok": true})) }))
        .route(WELL_KNOWN, get(described))
        .route(&host.path.clone(), post(called))
        .layer(DefaultBodyLimit::max(EVENT_BYTES_MAX))
        .with_state(host)
}

async fn described(State(host): State<Arc<Host>>) -> Json<Value> {
    let endpoint = json!({"path": host.path,
        "meshagent": {"identity": host.identity, "api": ApiScope::agent_default()}});
    Json(json!({
        "version": "v1",
        "kind": "Service",
        "metadata": {"name": host.identity},
        "agents": [{"name": host.identity}],
        "ports": [{"num": "*", "type": "http", "liveness": "/", "endpoints": [endpoint]}],
    }))
}

fn refused(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({"error": why}))).into_response()
}

async fn called(State(host): State<Arc<Host>>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(secret) = &host.secret {
        let given = text(webhook::SIGNATURE_HEADER).and_then(|value| value.strip_prefix("Bearer "));
        if !given.is_some_and(|given| webhook::verify(&body, secret.as_bytes(), given.trim())) {
            return refused(StatusCode::UNAUTHORIZED, "the call is not signed with the webhook secret");
        }
    }
    // Pages of browsers on this machine cannot send this without being asked first.
    let json = text(header::CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with("application/json"));
    if !json || headers.contains_key(header::ORIGIN) {
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the event as application/json");
    }
    let Ok(event) = serde_json::from_slice::<Value>(&body) else {
        return refused(StatusCode::BAD_REQUEST, "the event is no JSON");
    };
    if event.get("event").and_then(Value::as_str) != Some("room.call") {
        // Others, such as a room's start, call for nothing.
        return Json(json!({"ok": true})).into_response();
    }
    match event.get("data").map(Called::deserialize) {
        Some(Ok(call)) => host.enter(call),
        _ => refused(StatusCode::BAD_REQUEST, "want data with room_name, room_url and token"),
    }
}

impl Host {
    /// Goes into a room unless it is there already.
    fn enter(self: &Arc<Self>, call: Called) -> Response {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.retain(|_, room| !room.is_finished());
        if rooms.contains_key(&call.room_url) {
            return Json(json!({"ok": true})).into_response();
        }
        if rooms.len() >= ROOMS_MAX {
            return refused(StatusCode::SERVICE_UNAVAILABLE, "too many rooms already; try again later");
        }
        let (key, name) = (call.room_url.clone(), call.room_name.clone());
        let (work, stop) = (self.work.clone(), self.stop.child_token());
        tracing::info!(room = name, "called into a room");
        let room = tokio::spawn(async move {
            match work(call, stop).await {
                Ok(()) => tracing::info!(room = name, "left the room"),
                Err(error) => tracing::warn!(room = name, %error, "the work in a room has ended"),
            }
        });
        rooms.insert(key, room);
        Json(json!({"ok": true})).into_response()
    }
}

//! `meshagent llm proxy`: the server's providers of models on a port of this machine. Programs that use it need no
//! credential of the server, only a key of the proxy's own.

use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::Ctx;
use crate::cli::settings;
use crate::client::rest::Bearer;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{SinkExt, StreamExt};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite as ws;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_util::sync::CancellationToken;
use url::Url;

/// Largest body of a request, bytes; it is passed on while it comes.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest wait for the server's connection, and to write one message.
const CONNECT_WAIT: Duration = Duration::from_secs(30);
const WRITE_WAIT: Duration = Duration::from_mins(2);
/// Longest message of a socket, bytes.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of a key that is made.
const KEY_BYTES: usize = 32;
/// What stands for a key where none is asked for.
const NO_KEY: &str = "meshagent-insecure";
/// About this connection, or the caller's credential.
const NOT_ONWARD: [&str; 14] = [
    "authorization",
    "connection",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "meshagent-project-id",
    "origin",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-api-key",
];
/// What is passed on.
const PREFIXES: [&str; 3] = ["/openai/v1/", "/anthropic/", "/grok/v1/"];
/// Begins the names of headers of a socket's handshake.
const HANDSHAKE: &str = "sec-websocket-";

/// Offer the server's models on a port of this machine
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It prints the variables that point programs at it; their key is the proxy's, not the server's.\n\
                        For example:\n  MESHAGENT_TOKEN=… meshagent llm proxy --token-from-env MESHAGENT_TOKEN"
)]
pub struct Args {
    /// Address to listen on; beyond this machine with a key only
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Port to listen on; 0 is any that is free
    #[arg(long, default_value_t = 8766)]
    port: u16,
    /// The key that programs must send; better by the variable, because others see arguments [default: one is made]
    #[arg(long, value_name = "KEY", env = "MESHAGENT_LLM_PROXY_BEARER", hide_env_values = true)]
    bearer: Option<String>,
    /// Variable that holds the credential for the server
    #[arg(long, value_name = "NAME")]
    token_from_env: Option<String>,
    /// Ask programs for no key; on this machine only
    #[arg(long, conflicts_with = "bearer")]
    insecure: bool,
    /// Accepted for the official tool's sake; there is no dashboard
    #[arg(long, overrides_with = "no_tui", hide = true)]
    tui: bool,
    /// Accepted for the official tool's sake
    #[arg(long, hide = true)]
    no_tui: bool,
}

/// How long open answers may take to end after the first Ctrl-C.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// Where requests go, and who may send them.
struct Proxy {
    http: reqwest::Client,
    server: String,
    project: HeaderValue,
    credential: HeaderValue,
    /// `None`: anybody on this machine.
    key: Option<String>,
}

pub async fn run(ctx: &Ctx, args: Args) -> Result<(), CliError> {
    if args.insecure && !args.host.is_loopback() {
        return Err(CliError::usage("--insecure is for this machine only")
            .hint("leave out --host, or have programs send a key"));
    }
    let key = if args.insecure { None } else { Some(key(args.bearer)?) };
    let proxy = Arc::new(Proxy::new(ctx, args.token_from_env.as_deref(), key)?);
    let address = SocketAddr::new(args.host, args.port);
    let cannot = |error: std::io::Error| {
        CliError::user(format!("cannot listen on {address}: {error}")).hint("choose another with --port")
    };
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let bound = listener.local_addr().map_err(cannot)?;
    told(&proxy, bound)?;
    let stop = CancellationToken::new();
    let served = axum::serve(listener, router(proxy)).with_graceful_shutdown(stop.clone().cancelled_owned());
    let stopped = async {
        let _ = tokio::signal::ctrl_c().await;
        stop.cancel();
        // Answers that stream may take as long as they like; nobody waits for them.
        let _second = tokio::time::timeout(STOP_GRACE, tokio::signal::ctrl_c()).await;
    };
    tokio::select! {
        served = async { served.await } => served.map_err(|error| CliError::user(format!("the proxy stopped: {error}"))),
        () = stopped => Ok(()),
    }
}

/// The given key, or one that is made for this run.
fn key(given: Option<String>) -> Result<String, CliError> {
    if let Some(given) = given {
        let given = given.trim().to_owned();
        return if given.is_empty() { Err(CliError::usage("--bearer is empty")) } else { Ok(given) };
    }
    let mut bytes = [0_u8; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| CliError::internal("the system gives no random bytes"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

impl Proxy {
    fn new(ctx: &Ctx, token_from_env: Option<&str>, key: Option<String>) -> Result<Self, CliError> {
        let bearer = match token_from_env {
            None => ctx.bearer()?,
            Some(name) => settings::env(name)
                .map(Bearer::new)
                .ok_or_else(|| CliError::user(format!("{name} is not set, or is empty")))?,
        };
        let line = |text: &str| {
            HeaderValue::from_str(text.trim())
                .map_err(|_| CliError::user("the credential is no line of text"))
        };
        let mut credential = line(&format!("Bearer {}", bearer.expose().trim()))?;
        credential.set_sensitive(true);
        let mut builder = reqwest::Client::builder();
        let host = Url::parse(&ctx.api_url()?).ok().and_then(|url| url.host_str().map(str::to_owned));
        if host.is_some_and(|host| is_loopback(&host)) {
            builder = builder.no_proxy();
        }
        let http = builder
            .connect_timeout(CONNECT_WAIT)
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .build()
            .map_err(|error| CliError::internal(error.to_string()))?;
        Ok(Self { http, server: ctx.api_url()?, project: line(&ctx.project_id()?)?, credential, key })
    }

    /// Whether the caller has the key.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(key) = &self.key else { return is_local(headers) };
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let given = [bearer, text("x-api-key")];
        given
            .into_iter()
            .flatten()
            .any(|one| verify_slices_are_equal(one.trim().as_bytes(), key.as_bytes()).is_ok())
    }

    /// What goes on of the caller's headers, with the server's credential.
    fn onward(&self, headers: &HeaderMap) -> HeaderMap {
        let mut onward = HeaderMap::with_capacity(headers.len() + 2);
        let stays =
            |name: &HeaderName| NOT_ONWARD.contains(&name.as_str()) || name.as_str().starts_with(HANDSHAKE);
        for (name, value) in headers.iter().filter(|(name, _)| !stays(name)) {
            onward.append(name.clone(), value.clone());
        }
        onward.insert(header::AUTHORIZATION, self.credential.clone());
        onward.insert("meshagent-project-id", self.project.clone());
        onward
    }
}

/// A page of the web that a browser shows may not use a proxy without a key: it says where it is from, or calls
/// this machine by another name.
fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    is_loopback(name) && !headers.contains_key(header::ORIGIN)
}

fn is_loopback(host: &str) -> bool {
    let name = host.trim_matches(['[', ']']);
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Prints what programs need.
fn told(proxy: &Proxy, bound: SocketAddr) -> Result<(), CliError> {
    let host = if bound.ip().is_unspecified() { "127.0.0.1".to_owned() } else { bound.ip().to_string() };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let base = format!("http://{host}:{}", bound.port());
    let key = proxy.key.as_deref().unwrap_or(NO_KEY);
    output::note(format!("Listening on {base}; stop with Ctrl-C. Use these environment variables:"));
    for (name, value) in [
        ("OPENAI_BASE_URL", format!("{base}/openai/v1")),
        ("OPENAI_API_KEY", key.to_owned()),
        ("ANTHROPIC_BASE_URL", format!("{base}/anthropic")),
        ("ANTHROPIC_API_KEY", key.to_owned()),
        ("XAI_BASE_URL", format!("{base}/grok/v1")),
        ("XAI_API_KEY", key.to_owned()),
    ] {
        let quoted =
            shlex::try_quote(&value).map_err(|_| CliError::usage("the key cannot stand in a shell"))?;
        output::line(format!("export {name}={quoted}"))?;
    }
    Ok(())
}

/// Where a path is on the server. Only what is plainly below the providers' paths: programs have no business with the rest of
/// the server, where this credential may do more than they.
fn target(server: &str, path: &str) -> Option<Url> {
    let url = Url::parse(&format!("{server}{path}")).ok()?;
    let base = Url::parse(server).ok()?;
    let plain = path.split_once('?').map_or(path, |(plain, _)| plain);
    let below = PREFIXES.iter().find_map(|prefix| plain.strip_prefix(prefix))?;
    let odd = below.split('/').any(|part| part.is_empty() || part == "." || part == "..");
    let same = url.path().strip_prefix(base.path().trim_end_matches('/')) == Some(plain);
    (same && !odd && !below.contains(['%', '\\', ';']) && url.origin() == base.origin()).then_some(url)
}

fn router(proxy: Arc<Proxy>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/openai/v1/{*path}", any(pass))
        .route("/v1/{*path}", any(pass))
        .route("/anthropic/{*path}", any(pass))
        .route("/grok/v1/{*path}", any(pass))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(proxy)
}

fn refused(status: StatusCode, message: &str) -> Response {
    let body =
        serde_json::json!({"type": "error", "error": {"type": "authentication_error", "message": message}});
    (status, axum::Json(body)).into_response()
}

async fn pass(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    if !proxy.admits(request.headers()) {
        return refused(
            StatusCode::UNAUTHORIZED,
            "the key of this proxy is missing or wrong; it printed its own",
        );
    }
    let wanted = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let path = if wanted.starts_with("/v1/") { format!("/openai{wanted}") } else { wanted.to_owned() };
    let Some(url) = target(&proxy.server, &path) else {
        return refused(StatusCode::NOT_FOUND, "this path is not passed on; only models are");
    };
    let (mut parts, body) = request.into_parts();
    let headers = proxy.onward(&parts.headers);
    if parts.headers.contains_key(header::UPGRADE) {
        let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
            Ok(upgrade) => upgrade,
            Err(refusal) => return refusal.into_response(),
        };
        return socket(&url, headers, upgrade).await;
    }
    let mut asked = proxy.http.request(parts.method, url).headers(headers);
    // An empty stream would be sent as a body, too.
    if !body.is_end_stream() {
        asked = asked.body(http_body_limited(body));
    }
    match asked.send().await {
        Ok(answer) => back(answer),
        Err(error) => unreachable(&error.without_url().to_string()),
    }
}

/// The body as it comes, up to its bound.
fn http_body_limited(body: Body) -> reqwest::Body {
    let mut left = BODY_BYTES_MAX;
    let parts = body.into_data_stream().map(move |part| {
        let part = part.map_err(std::io::Error::other)?;
        left = left.checked_sub(part.len()).ok_or_else(|| std::io::Error::other("the body is too large"))?;
        Ok::<_, std::io::Error>(part)
    });
    reqwest::Body::wrap_stream(parts)
}

fn unreachable(why: &str) -> Response {
    refused(StatusCode::BAD_GATEWAY, &format!("the server cannot be asked: {why}"))
}

/// The server's answer as it comes.
fn back(answer: reqwest::Response) -> Response {
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
    *response.status_mut() = status;
    for (name, value) in &headers {
        if !matches!(name.as_str(), "connection" | "keep-alive" | "transfer-encoding" | "content-length") {
            response.headers_mut().append(name.clone(), value.clone());
        }
    }
    response
}

async fn socket(url: &Url, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let url = url.as_str().replacen("http", "ws", 1);
    let mut request = match url.into_client_request() {
        Ok(request) => request,
        Err(error) => return unreachable(&error.to_string()),
    };
    for (name, value) in &headers {
        request.headers_mut().append(name.clone(), value.clone());
    }
    let dialled = tokio::time::timeout(CONNECT_WAIT, tokio_tungstenite::connect_async(request)).await;
    let server = match dialled {
        Ok(Ok((server, _))) => server,
        Ok(Err(ws::Error::Http(answer))) => {
            let status = answer.status();
            let text = answer.into_body().unwrap_or_default();
            return (status, text).into_response();
        }
        Ok(Err(error)) => return unreachable(&error.to_string()),
        Err(_) => return unreachable("it did not answer in time"),
    };
    let upgrade = upgrade.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
    upgrade.on_upgrade(move |caller| relay(caller, server))
}

type Server = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// Copies texts and data both ways until one side ends.
async fn relay(caller: WebSocket, server: Server) {
    let (mut to_caller, mut from_caller) = caller.split();
    let (mut to_server, mut from_server) = server.split();
    loop {
        let sent = tokio::select! {
            said = from_caller.next() => {
                let message = match said {
                    Some(Ok(Message::Text(text))) => ws::Message::text(text.as_str()),
                    Some(Ok(Message::Binary(data))) => ws::Message::Binary(data),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                };
                tokio::time::timeout(WRITE_WAIT, to_server.send(message)).await.is_ok_and(|sent| sent.is_ok())
            }
            said = from_server.next() => {
                let message = match said {
                    Some(Ok(ws::Message::Text(text))) => Message::text(text.as_str()),
                    Some(Ok(ws::Message::Binary(data))) => Message::Binary(data),
                    Some(Ok(ws::Message::Ping(_) | ws::Message::Pong(_) | ws::Message::Frame(_))) => continue,
                    Some(Ok(ws::Message::Close(_)) | Err(_)) | None => break,
                };
                tokio::time::timeout(WRITE_WAIT, to_caller.send(message)).await.is_ok_and(|sent| sent.is_ok())
            }
        };
        if !sent {
            break;
        }
    }
    let _ = tokio::time::timeout(WRITE_WAIT, to_server.close()).await;
    let _ = tokio::time::timeout(WRITE_WAIT, to_caller.close()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_providers_paths_are_passed_on() {
        for server in ["http://127.0.0.1:8080", "https://host.example/base"] {
            let at = |path: &str| target(server, path).map(|url| url.to_string());
            for path in ["/openai/v1/responses", "/anthropic/v1/messages?beta=true", "/grok/v1/models/grok-4"]
            {
                assert_eq!(at(path).as_deref(), Some(&*format!("{server}{path}")), "{path}");
            }
            for path in [
                "/openai/v1/../../accounts/projects",
                "/openai/v1/..",
                "/openai/v1/%2e%2e/%2e%2e/accounts/projects",
                "/openai/v1/.%2E/accounts",
                "/openai/v1/..%2f..%2faccounts",
                "/openai/v1/..\\..\\accounts",
                "/openai/v1/a\\..\\b",
                "/openai/v1//accounts",
                "/openai/v1/./models",
                "/openai/v1/a/..;/b",
                "/openai/v1",
                "/openai/v2/models",
                "/accounts/projects",
                "//evil.example/openai/v1/models",
                "@evil.example/openai/v1/models",
                "/anthropic/../accounts",
                "",
            ] {
                assert_eq!(at(path), None, "{path}");
            }
        }
    }
}

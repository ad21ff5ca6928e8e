//! Tools offered to clients of the protocol: over one pair of streams, or to many over streamable HTTP.

use super::{CallToolResult, Tool};
use async_trait::async_trait;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ContentBlock, ErrorData, Implementation, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig,
};
use rmcp::service::{RequestContext, RoleServer, ServiceExt};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// Where tools come from. What goes wrong is told to the client.
#[async_trait]
pub trait Offer: Send + Sync + 'static {
    /// What the server calls itself.
    fn name(&self) -> String;
    async fn tools(&self) -> Result<Vec<Tool>, String>;
    async fn call(&self, tool: &str, arguments: Map<String, Value>) -> Result<CallToolResult, String>;
}

#[derive(Clone)]
struct Handler(Arc<dyn Offer>);

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let itself = Implementation::new(self.0.name(), env!("CARGO_PKG_VERSION"));
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build()).with_server_info(itself)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.0.tools().await.map_err(|error| ErrorData::internal_error(error, None))?;
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let answer = self.0.call(&request.name, request.arguments.unwrap_or_default()).await;
        let answer = answer.unwrap_or_else(|error| CallToolResult::error(vec![ContentBlock::text(error)]));
        Ok(CallToolResponse::Complete(answer))
    }
}

/// Serves one client over a pair of streams until it is gone.
///
/// Error: it does not speak the protocol.
pub async fn over_streams<R, W>(offer: Arc<dyn Offer>, read: R, write: W) -> Result<(), String>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let serving = Handler(offer).serve((read, write)).await.map_err(|error| error.to_string())?;
    serving.waiting().await.map(|_| ()).map_err(|error| error.to_string())
}

/// Who may connect over HTTP.
#[derive(Clone)]
pub enum Access {
    /// Clients on this machine: requests that name another host are refused.
    Local,
    /// Clients that send this as their bearer.
    Bearer(String),
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "Local",
            Self::Bearer(_) => "Bearer(…)",
        })
    }
}

/// A router that serves clients at `path` until `stop`.
pub fn over_http(offer: Arc<dyn Offer>, path: &str, access: Access, stop: CancellationToken) -> Router {
    let config = StreamableHttpServerConfig::default().with_cancellation_token(stop);
    let (config, wanted) = match access {
        Access::Local => (config, None),
        Access::Bearer(token) => (config.disable_allowed_hosts(), Some(print(&token))),
    };
    let sessions = Arc::new(LocalSessionManager::default());
    let service = StreamableHttpService::new(move || Ok(Handler(Arc::clone(&offer))), sessions, config);
    let router = Router::new().route_service(path, service);
    with_bearer(router, wanted)
}

/// Lets in whom `access` lets in, for routes that look at nothing themselves.
pub(super) fn guarded(router: Router, access: Access) -> Router {
    match access {
        Access::Bearer(token) => with_bearer(router, Some(print(&token))),
        Access::Local => router.layer(middleware::from_fn(|request: Request, next: Next| async move {
            if is_local(request.headers()) {
                next.run(request).await
            } else {
                (StatusCode::FORBIDDEN, "only clients of this machine are served\n").into_response()
            }
        })),
    }
}

/// Whether a request names this machine as its host: a page of another one, led here by a name, does not, nor does one
/// that says where it is from.
fn is_local(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let local = |url: &str| {
        let host = url::Url::parse(url).ok().and_then(|url| url.host().map(|host| host.to_owned()));
        match host {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    };
    let host = text(header::HOST).is_some_and(|host| local(&format!("http://{host}")));
    host && text(header::ORIGIN).is_none_or(local)
}

fn with_bearer(router: Router, wanted: Option<[u8; 32]>) -> Router {
    router.layer(middleware::from_fn(move |request: Request, next: Next| async move {
        let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|text| text.strip_prefix("Bearer ")).map(|token| print(token.trim()));
        // Comparing digests tells nothing of how much of the token was right.
        if wanted.is_some() && given != wanted { refuse() } else { next.run(request).await }
    }))
}

fn print(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn refuse() -> Response {
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], "send the token as a bearer\n")
        .into_response()
}

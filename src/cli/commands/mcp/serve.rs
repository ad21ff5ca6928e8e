//! Tools for MCP clients: a room's, or those of a server of standard streams.

use super::{Listen, Proxy, Serve, pairs, words};
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::Ctx;
use crate::cli::settings;
use crate::client::mcp::offer::{self, Access, Offer};
use crate::client::mcp::{CALL_WAIT, CallToolResult, RoomTools, Server, Tool};
use serde_json::{Map, Value};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Holds the token that clients send.
const TOKEN_VARIABLE: &str = "MESHAGENT_MCP_TOKEN";

pub async fn room(ctx: &Ctx, args: Serve, stop: CancellationToken) -> Result<(), CliError> {
    let room = args.entry.join(ctx, "mcp").await?;
    let tools = Arc::new(RoomTools::new(room.clone(), args.toolkits));
    let Listen { listen, path } = args.listen;
    let served = if let Some(address) = listen {
        http(tools, address, &path, offer::over_http, stop).await
    } else {
        let streams = offer::over_streams(tools, tokio::io::stdin(), tokio::io::stdout());
        tokio::select! {
            served = streams => served.map_err(CliError::server),
            () = stop.cancelled() => Ok(()),
        }
    };
    room.close().await;
    served
}

/// How tools are served over HTTP.
type Serving = fn(Arc<dyn Offer>, &str, Access, CancellationToken) -> axum::Router;

pub async fn proxy(
    args: Proxy,
    path: &str,
    serving: Serving,
    stop: CancellationToken,
) -> Result<(), CliError> {
    let env = pairs(&args.env, '=', "variable")?;
    let server = Server::command(&words(&args.command)?, &env).await?;
    let proxied = Arc::new(Proxied { name: args.name, server });
    http(proxied, SocketAddr::new(args.host, args.port), path, serving, stop).await
}

async fn http(
    tools: Arc<dyn Offer>,
    address: SocketAddr,
    path: &str,
    serving: Serving,
    stop: CancellationToken,
) -> Result<(), CliError> {
    if !path.starts_with('/') || path.contains(['{', '}', '*']) {
        return Err(CliError::usage(format!("--path `{path}` is no path; it begins with /")));
    }
    let access = match settings::env(TOKEN_VARIABLE) {
        Some(token) => Access::Bearer(token),
        None if address.ip().is_loopback() => Access::Local,
        None => {
            return Err(CliError::usage(format!("{address} can be reached from other machines"))
                .hint(format!("set {TOKEN_VARIABLE} to a token that clients send, or listen on 127.0.0.1")));
        }
    };
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|error| CliError::user(format!("cannot listen on {address}: {error}")))?;
    let address = listener.local_addr()?;
    let router = serving(tools, path, access, stop.clone());
    output::note(format!("Serving MCP clients at http://{address}{path}"));
    let ended = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
    ended.map_err(|error| CliError::server(error.to_string()))
}

/// A server's tools as they are.
struct Proxied {
    name: String,
    server: Server,
}

#[async_trait::async_trait]
impl Offer for Proxied {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn tools(&self) -> Result<Vec<Tool>, String> {
        self.server.tools().await.map_err(|error| error.to_string())
    }

    async fn call(&self, tool: &str, arguments: Map<String, Value>) -> Result<CallToolResult, String> {
        self.server.call(tool, arguments, CALL_WAIT).await.map_err(|error| error.to_string())
    }
}

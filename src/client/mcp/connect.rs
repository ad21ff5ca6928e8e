//! One connection to a server.

use super::{lines, sse};
use crate::child::{Group, surroundings};
use crate::net::guard::{self, Allowed, CONNECT_WAIT};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use rmcp::handler::client::ClientHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientConfig, Implementation, PaginatedRequestParams, Tool,
};
use rmcp::service::{
    ClientInitializeError, NotificationContext, RoleClient, RunningService, ServiceError, ServiceExt,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Map, Value};
use std::fmt;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::Notify;

/// How long the handshake and a look at the tools may take.
pub const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// How long a tool may take where nobody says otherwise.
pub const CALL_WAIT: Duration = Duration::from_mins(10);
/// Most tools of one server.
pub const TOOLS_MAX: usize = 512;
/// Most pages of tools that are read.
const PAGES_MAX: usize = 64;
/// Why a server is of no use now.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum McpError {
    /// It is not there, or is no server of this protocol.
    #[error("{0}")]
    NotThere(String),
    /// It answered with an error.
    #[error("{0}")]
    Failed(String),
    /// The connection went away.
    #[error("the connection to the MCP server is gone: {0}")]
    Lost(String),
    #[error("{what} did not answer within {} s", .limit.as_secs())]
    Slow { what: String, limit: Duration },
}

/// A header of every request; its value is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    pub name: String,
    pub value: String,
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Where connections may go.
#[derive(Clone, Copy, Debug)]
pub enum Reach<'a> {
    /// Public addresses, and hosts that were named.
    Guarded(&'a Allowed),
    /// Anywhere: whoever runs this program named the address.
    Anywhere,
}

/// The protocol's client: it only wants to know when the tools change.
struct Handler {
    changes: Arc<Changes>,
}

#[derive(Default)]
struct Changes {
    count: AtomicU64,
    bell: Notify,
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let mut info = ClientConfig::default();
        info.client_info = Implementation::new("meshagent", env!("CARGO_PKG_VERSION"));
        info
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.changes.count.fetch_add(1, Ordering::Relaxed);
        self.changes.bell.notify_one();
    }
}

/// A connection. Dropped, it ends, and with it the process that serves it, if any.
pub struct Server {
    client: RunningService<RoleClient, Handler>,
    changes: Arc<Changes>,
    /// Says what of an error's text is not to be repeated: the address may hold a secret.
    address: Option<url::Url>,
    _process: Option<(Child, Group)>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("host", &self.address.as_ref().and_then(|u| u.host_str())).finish()
    }
}

impl Server {
    /// Connects over streamable HTTP and shakes hands.
    pub async fn http(url: &str, headers: &[Header], reach: Reach<'_>) -> Result<Self, McpError> {
        let refused = |error: guard::Refused| McpError::NotThere(error.to_string());
        let (address, http) = match reach {
            Reach::Guarded(allowed) => {
                let target = guard::check(url, allowed).await.map_err(refused)?;
                let http = target.client().map_err(refused)?;
                (target.url, http)
            }
            Reach::Anywhere => {
                let url = url::Url::parse(url)
                    .map_err(|error| McpError::NotThere(format!("the address is no URL: {error}")))?;
                let http = reqwest::Client::builder()
                    .redirect(reqwest::redirect::Policy::none())
                    .connect_timeout(CONNECT_WAIT);
                (url, http)
            }
        };
        let mut config = StreamableHttpClientTransportConfig::with_uri(address.as_str());
        for header in headers {
            let (name, value) = read_header(header)?;
            config.custom_headers.insert(name, value);
        }
        let http = http.build().map_err(|error| McpError::NotThere(error.without_url().to_string()))?;
        let transport = StreamableHttpClientTransport::with_client(http, config);
        let changes = Arc::<Changes>::default();
        let shaken = Handler { changes: Arc::clone(&changes) }.serve(transport);
        let client = shake(shaken, address.host_str().unwrap_or_default(), Some(&address)).await?;
        Ok(Self { client, changes, address: Some(address), _process: None })
    }

    /// Connects by the older way, events and messages apart, to an address that whoever runs this program named.
    pub async fn sse(url: &str, headers: &[Header]) -> Result<Self, McpError> {
        let address = url::Url::parse(url)
            .map_err(|error| McpError::NotThere(format!("the address is no URL: {error}")))?;
        let mut all = HeaderMap::new();
        for header in headers {
            let (name, value) = read_header(header)?;
            all.insert(name, value);
        }
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_WAIT)
            .default_headers(all)
            .build()
            .map_err(|error| McpError::NotThere(error.without_url().to_string()))?;
        let host = address.host_str().unwrap_or_default().to_owned();
        let not_there =
            |error| McpError::NotThere(format!("`{host}` does not answer as an MCP server: {error}"));
        let streams = sse::connect(http, address.clone()).await.map_err(not_there)?;
        let streams = tokio::io::split(streams);
        let changes = Arc::<Changes>::default();
        let shaken = Handler { changes: Arc::clone(&changes) }.serve(streams);
        let client = shake(shaken, &host, Some(&address)).await?;
        Ok(Self { client, changes, address: Some(address), _process: None })
    }

    /// Starts a program and talks to it over its standard input and output; its standard error is ours. Of this
    /// process's environment it gets what every program needs, and `env`.
    pub async fn command(words: &[String], env: &[(String, String)]) -> Result<Self, McpError> {
        let Some((program, arguments)) = words.split_first() else {
            return Err(McpError::NotThere("the command of the MCP server is empty".into()));
        };
        let mut process = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(surroundings())
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| McpError::NotThere(format!("`{program}` cannot be started: {error}")))?;
        let group = Group::of(&process);
        let streams = process.stdout.take().zip(process.stdin.take());
        let Some((said, asked)) = streams else {
            return Err(McpError::NotThere(format!("`{program}` has no standard streams")));
        };
        let streams = (lines::bounded(said, lines::LINE_BYTES_MAX), asked);
        let changes = Arc::<Changes>::default();
        let shaken = Handler { changes: Arc::clone(&changes) }.serve(streams);
        let client = shake(shaken, program, None).await?;
        Ok(Self { client, changes, address: None, _process: Some((process, group)) })
    }

    /// All tools, page by page, within [`TOOLS_MAX`].
    pub async fn tools(&self) -> Result<Vec<Tool>, McpError> {
        let all = async {
            let (mut tools, mut cursor) = (Vec::new(), None);
            for _ in 0..PAGES_MAX {
                let mut page = PaginatedRequestParams::default();
                page.cursor = cursor;
                let answer = self.client.list_tools(Some(page)).await;
                let answer = answer.map_err(|error| self.error("the tools cannot be listed", error))?;
                tools.extend(answer.tools);
                cursor = answer.next_cursor;
                if cursor.is_none() || tools.len() > TOOLS_MAX {
                    break;
                }
            }
            tools.truncate(TOOLS_MAX);
            Ok(tools)
        };
        let slow = |_| McpError::Slow { what: "the list of tools".into(), limit: ANSWER_WAIT };
        tokio::time::timeout(ANSWER_WAIT, all).await.map_err(slow)?
    }

    /// Calls a tool once. Dropping the future cancels the call.
    pub async fn call(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        limit: Duration,
    ) -> Result<CallToolResult, McpError> {
        let mut asked = CallToolRequestParams::new(tool.to_owned());
        asked.arguments = Some(arguments);
        let what = || format!("tool `{tool}`");
        match tokio::time::timeout(limit, self.client.call_tool(asked)).await {
            Ok(answer) => answer.map_err(|error| self.error(&what(), error)),
            Err(_) => Err(McpError::Slow { what: what(), limit }),
        }
    }

    /// How often the server has said that its tools changed.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.count.load(Ordering::Relaxed)
    }

    /// Waits until the server says that its tools changed.
    pub async fn changed(&self) {
        self.changes.bell.notified().await;
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    fn error(&self, what: &str, error: ServiceError) -> McpError {
        let said = |text: &str| format!("{what}: {}", without(text, self.address.as_ref()));
        match error {
            ServiceError::McpError(error) => McpError::Failed(said(&error.message)),
            ServiceError::UnexpectedResponse => {
                McpError::Failed(said("the answer is not what the protocol has for it"))
            }
            ServiceError::Timeout { timeout } => McpError::Slow { what: what.to_owned(), limit: timeout },
            ServiceError::TransportSend(error) => McpError::Lost(said(&innermost(&error))),
            error => McpError::Lost(said(&error.to_string())),
        }
    }
}

fn read_header(header: &Header) -> Result<(HeaderName, HeaderValue), McpError> {
    let Header { name, value } = header;
    let read =
        HeaderName::from_bytes(name.trim().as_bytes()).ok().zip(HeaderValue::from_str(value.trim()).ok());
    let Some((name, mut value)) = read else {
        return Err(McpError::NotThere(format!("`{name}` is no header that can be sent")));
    };
    value.set_sensitive(true);
    Ok((name, value))
}

async fn shake(
    shaken: impl Future<Output = Result<RunningService<RoleClient, Handler>, ClientInitializeError>>,
    name: &str,
    address: Option<&url::Url>,
) -> Result<RunningService<RoleClient, Handler>, McpError> {
    match tokio::time::timeout(ANSWER_WAIT, shaken).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => {
            let why = match &error {
                ClientInitializeError::TransportError { error, .. } => innermost(error),
                error => error.to_string(),
            };
            let error = without(&why, address);
            Err(McpError::NotThere(format!("`{name}` does not answer as an MCP server: {error}")))
        }
        Err(_) => Err(McpError::Slow { what: format!("`{name}`"), limit: ANSWER_WAIT }),
    }
}

/// What lies beneath the layers of a transport, which name their own types.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// The text without the address, of which only the host is told.
fn without(text: &str, address: Option<&url::Url>) -> String {
    let Some(address) = address else { return text.to_owned() };
    text.replace(address.as_str(), address.host_str().unwrap_or_default())
}

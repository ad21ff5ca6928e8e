//! A server's tools as a toolkit of a room.

use super::{Http, Stdio, StdioService, pairs, words};
use crate::agent::tools::APPROVAL;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::Ctx;
use crate::cli::service_host::{self, Called, Work};
use crate::client::mcp::{CALL_WAIT, Header, McpError, Reach, Server, Tool, room_content};
use crate::client::room::{
    Options, Reply, Retry, RoomClient, RoomError, ToolCall, ToolHost, Toolkit, ToolkitTool,
};
use crate::error_code::RoomCode;
use crate::wire::Content;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Times that a lost connection is dialled again where the room's server calls anew.
const DIALS_MAX: u32 = 8;
/// How often a server that ended is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub async fn http(ctx: &Ctx, args: Http, stop: CancellationToken) -> Result<(), CliError> {
    let headers = headers(&args)?;
    let server = Server::http(&args.url, &headers, Reach::Anywhere).await?;
    let room = args.entry.join(ctx, &args.toolkit_name).await?;
    host(server, room, &args.toolkit_name, stop).await
}

pub async fn sse(ctx: &Ctx, args: Http, stop: CancellationToken) -> Result<(), CliError> {
    let headers = headers(&args)?;
    let server = Server::sse(&args.url, &headers).await?;
    let room = args.entry.join(ctx, &args.toolkit_name).await?;
    host(server, room, &args.toolkit_name, stop).await
}

fn headers(args: &Http) -> Result<Vec<Header>, CliError> {
    let given = pairs(&args.headers, ':', "header")?.into_iter();
    given.map(|(name, value)| Ok(Header { value: revealed(&name, value.trim())?, name })).collect()
}

pub async fn stdio(ctx: &Ctx, args: Stdio, stop: CancellationToken) -> Result<(), CliError> {
    let env = pairs(&args.env, '=', "variable")?;
    let server = Server::command(&words(&args.command)?, &env).await?;
    let room = args.entry.join(ctx, &args.toolkit_name).await?;
    host(server, room, &args.toolkit_name, stop).await
}

pub async fn service(args: StdioService, stop: CancellationToken) -> Result<(), CliError> {
    let (words, env) = (words(&args.command)?, pairs(&args.env, '=', "variable")?);
    let name = args.toolkit_name.clone();
    let work: Work = Arc::new(move |called: Called, stop: CancellationToken| {
        let (words, env, name) = (words.clone(), env.clone(), name.clone());
        Box::pin(async move {
            let server = Server::command(&words, &env).await?;
            let options =
                Options::new(called.room_url.clone(), called.token()).retry(Retry::Times(DIALS_MAX));
            host(server, RoomClient::connect(options).await?, &name, stop).await
        })
    });
    let secret = crate::cli::settings::env(&args.host.webhook_secret_from_env);
    service_host::serve(&args.host, secret, &args.toolkit_name, work, stop).await
}

/// The value itself, or what `@FILE` or `$VARIABLE` names.
fn revealed(name: &str, value: &str) -> Result<String, CliError> {
    if let Some(path) = value.strip_prefix('@') {
        let read = std::fs::read_to_string(path).map(|text| text.trim().to_owned());
        return read.map_err(|error| CliError::user(format!("file {path} of header {name}: {error}")));
    }
    match value.strip_prefix('$') {
        Some(variable) => crate::cli::settings::env(variable).ok_or_else(|| {
            CliError::user(format!("environment variable {variable}, named by header {name}, is not set"))
        }),
        None => Ok(value.to_owned()),
    }
}

/// Offers the tools, and again when they change, until told to stop or the server or the room is gone.
async fn host(
    server: Server,
    room: RoomClient,
    toolkit: &str,
    stop: CancellationToken,
) -> Result<(), CliError> {
    let server = Arc::new(server);
    let bridge: Arc<dyn ToolHost> = Arc::new(Bridge { server: Arc::clone(&server) });
    offer(&server, &room, toolkit, &bridge).await?;
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = loop {
        tokio::select! {
            () = stop.cancelled() => break Ok(()),
            end = room.closed() => break match end {
                RoomError::Closed { .. } => Ok(()),
                error => Err(error.into()),
            },
            () = server.changed() => {
                room.unhost(toolkit).await?;
                offer(&server, &room, toolkit, &bridge).await?;
            }
            _ = looks.tick() => if server.is_closed() {
                break Err(CliError::server("the MCP server has ended").hint("start it again"));
            },
        }
    };
    room.close().await;
    ended
}

async fn offer(
    server: &Server,
    room: &RoomClient,
    name: &str,
    bridge: &Arc<dyn ToolHost>,
) -> Result<(), CliError> {
    let tools = server.tools().await?;
    let toolkit = Toolkit {
        name: name.to_owned(),
        title: name.to_owned(),
        description: "Tools of an MCP server".to_owned(),
        public: true,
        // Agents remember how such tools were described, and ask when that changes.
        annotations: BTreeMap::from([(APPROVAL.to_owned(), "never".to_owned())]),
        tools: tools.iter().map(described).collect(),
    };
    let count = toolkit.tools.len();
    room.host(toolkit, Arc::clone(bridge)).await?;
    output::note(format!("Toolkit {name} with {count} tools is in room {}", room.room_name()));
    Ok(())
}

fn described(tool: &Tool) -> ToolkitTool {
    ToolkitTool {
        name: tool.name.to_string(),
        title: tool.title.clone().unwrap_or_else(|| tool.name.to_string()),
        description: tool.description.as_deref().unwrap_or_default().to_owned(),
        input_schema: Value::Object(tool.input_schema.as_ref().clone()),
        strict: false,
        output_types: vec!["json", "text", "empty"],
    }
}

struct Bridge {
    server: Arc<Server>,
}

#[async_trait::async_trait]
impl ToolHost for Bridge {
    async fn call(&self, call: ToolCall) -> Reply {
        let arguments = match call.arguments {
            Content::Json(Value::Object(fields)) => fields,
            Content::Json(Value::Null) | Content::Empty => Map::new(),
            _ => {
                let text = format!("tool `{}` takes a JSON object; send `arguments` of type json", call.tool);
                return Reply::Unary(Content::error(RoomCode::InvalidRequest, text));
            }
        };
        Reply::Unary(match self.server.call(&call.tool, arguments, CALL_WAIT).await {
            Ok(result) => room_content(&result),
            Err(error @ McpError::Slow { .. }) => Content::error(RoomCode::Timeout, error.to_string()),
            Err(error) => Content::error(RoomCode::OperationFailed, error.to_string()),
        })
    }
}

impl From<McpError> for CliError {
    fn from(error: McpError) -> Self {
        Self::server(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_header_may_name_where_its_value_is() {
        assert_eq!(revealed("X", "plain").unwrap(), "plain");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "Bearer s\n").unwrap();
        assert_eq!(revealed("X", &format!("@{}", file.path().display())).unwrap(), "Bearer s");
        assert!(revealed("X", "$NO_SUCH_VARIABLE_HERE").is_err());
        assert!(revealed("X", "@/no/such/file").is_err());
        assert!(pairs(&["novalue".into()], ':', "header").is_err());
        assert_eq!(pairs(&["A: b:c".into()], ':', "header").unwrap(), [("A".into(), " b:c".into())]);
        assert!(words("a 'b").is_err() && words(" ").is_err());
        assert_eq!(words("a 'b c'").unwrap(), ["a", "b c"]);
    }

    #[test]
    fn a_tool_without_title_or_description_is_described_all_the_same() {
        let tool: Tool =
            serde_json::from_value(json!({"name": "t", "inputSchema": {"type": "object"}})).unwrap();
        let shown = described(&tool);
        assert_eq!((shown.title.as_str(), shown.description.as_str(), shown.strict), ("t", "", false));
    }
}

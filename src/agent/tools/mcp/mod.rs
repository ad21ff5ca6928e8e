//! Tools of model context protocol servers that a turn names (`--mcp`). Connections are kept between turns; what a
//! person must approve is `config`'s and the pins' to say. Knows the protocol's client, not who speaks for a turn.

mod config;
mod tool;

use super::Tool;
use super::pins::{SharedPins, Standing};
use crate::agent::config::McpConfig;
use crate::client::mcp::{Header, McpError, Reach, Server};
use crate::net::guard::Allowed;
use config::ServerConfig;
use futures_util::future::join_all;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tool::{McpTool, digest};

/// Servers that one turn may name; more are left out.
pub const SERVERS_MAX: usize = 16;
/// Connections that are kept for later turns.
const KEPT_MAX: usize = 64;
/// Bytes that the description and the schema of one tool may have together; a tool with more is left out.
const SPEC_BYTES_MAX: usize = 64 * 1024;

/// The servers an agent talks to.
#[derive(Debug)]
pub struct Servers {
    config: McpConfig,
    allowed: Allowed,
    kept: Mutex<HashMap<[u8; 32], Arc<Server>>>,
    pins: SharedPins,
}

/// What a turn gets.
#[derive(Default)]
pub struct Found {
    pub tools: Vec<Arc<dyn Tool>>,
    /// What the turn does without, or a person should know, in words.
    pub notes: Vec<String>,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found").field("notes", &self.notes).finish_non_exhaustive()
    }
}

impl Servers {
    #[must_use]
    pub fn new(config: McpConfig, pins: SharedPins) -> Self {
        let allowed = Allowed::new(config.allowed_hosts.clone());
        Self { config, allowed, kept: Mutex::default(), pins }
    }

    /// The tools of the servers that a turn names. A server that is not there is noted, and the turn goes without it.
    /// `taken` are toolkits that the agent has already.
    pub async fn tools(&self, wanted: &[Value], taken: &BTreeSet<String>) -> Found {
        let mut found = Found::default();
        // As the official agent has it, the last of a label counts.
        let mut by_label = BTreeMap::new();
        for given in wanted {
            match ServerConfig::read(given) {
                Ok(server) if taken.contains(&server.label) => found.notes.push(format!(
                    "MCP server `{}` is left out: this agent has a toolkit of that name; choose another label",
                    server.label
                )),
                Ok(server) => {
                    by_label.insert(server.label.clone(), server);
                }
                Err(why) => found.notes.push(format!("an MCP server is left out: {why}")),
            }
        }
        if by_label.len() > SERVERS_MAX {
            found.notes.push(format!("of {} MCP servers the first {SERVERS_MAX} are used", by_label.len()));
        }
        if !by_label.is_empty() {
            self.pins.load().await;
        }
        let asked = by_label.into_values().take(SERVERS_MAX).map(|server| self.of(server));
        for (tools, notes) in join_all(asked).await {
            found.tools.extend(tools);
            found.notes.extend(notes);
        }
        found
    }

    async fn of(&self, server: ServerConfig) -> (Vec<Arc<dyn Tool>>, Vec<String>) {
        match self.listed(&server).await {
            Ok((connection, tools)) => self.chosen(&server, &connection, tools),
            Err(error) => {
                let note = format!("MCP server `{}` cannot be used: {error}", server.label);
                tracing::warn!(server = server.label, %error, "an MCP server cannot be used");
                (Vec::new(), vec![note])
            }
        }
    }

    /// A connection that works, and the tools as they are now: a kept one, else a new one.
    async fn listed(
        &self,
        server: &ServerConfig,
    ) -> Result<(Arc<Server>, Vec<crate::client::mcp::Tool>), McpError> {
        let (url, headers, direct) = server.address(&self.config).map_err(McpError::NotThere)?;
        let key = key(&url, &headers);
        let kept = lock(&self.kept).get(&key).filter(|kept| !kept.is_closed()).cloned();
        if let Some(kept) = kept {
            match kept.tools().await {
                Ok(tools) => return Ok((kept, tools)),
                Err(error) => tracing::debug!(server = server.label, %error, "a kept connection is gone"),
            }
        }
        let reach = if direct { Reach::Guarded(&self.allowed) } else { Reach::Anywhere };
        let fresh = Arc::new(Server::http(&url, &headers, reach).await?);
        let tools = fresh.tools().await?;
        let mut all = lock(&self.kept);
        all.retain(|_, kept| !kept.is_closed());
        if all.len() >= KEPT_MAX
            && let Some(any) = all.keys().next().copied()
        {
            all.remove(&any);
        }
        all.insert(key, Arc::clone(&fresh));
        Ok((fresh, tools))
    }

    /// The tools that the turn lets through, each with whether a person is asked first.
    fn chosen(
        &self,
        server: &ServerConfig,
        connection: &Arc<Server>,
        tools: Vec<crate::client::mcp::Tool>,
    ) -> (Vec<Arc<dyn Tool>>, Vec<String>) {
        let (mut chosen, mut notes) = (Vec::<Arc<dyn Tool>>::new(), Vec::new());
        let seen = connection.changes();
        for tool in tools.into_iter().filter(|tool| server.allows(&tool.name)) {
            let size = tool.description.as_deref().map_or(0, str::len)
                + serde_json::to_string(&tool.input_schema).map_or(0, |text| text.len());
            if size > SPEC_BYTES_MAX {
                notes.push(format!(
                    "tool `{}` of MCP server `{}` is left out: its description has {size} bytes",
                    tool.name, server.label
                ));
                continue;
            }
            let (print, identity) = (digest(&tool), server.identity());
            let standing = self.pins.standing(&identity, &tool.name, print);
            if standing == Standing::Changed {
                notes.push(format!(
                    "tool `{}` of MCP server `{}` {}; calls of it wait for approval",
                    tool.name,
                    server.label,
                    self.pins.why()
                ));
            }
            let approval = standing == Standing::Changed || server.asks(&tool.name);
            chosen.push(Arc::new(McpTool::new(
                tool::Of {
                    label: server.label.clone(),
                    identity,
                    connection: Arc::clone(connection),
                    pins: self.pins.clone(),
                    call_max: self.config.call_max,
                    seen,
                    approval,
                },
                &tool,
                print,
            )));
        }
        (chosen, notes)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What two turns must agree in to share a connection.
fn key(url: &str, headers: &[Header]) -> [u8; 32] {
    let mut hash = Sha256::new();
    let texts = headers.iter().flat_map(|header| [&header.name, &header.value]);
    for text in std::iter::once(url).chain(texts.map(String::as_str)) {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

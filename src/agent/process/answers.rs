//! What a thread answers to those who ask about it.

use super::{Actor, Out, Outlet};
use crate::agent::channel::Replay;
use crate::agent::engine::Engine;
use crate::agent::message::{Body, Capabilities, Message, ThreadLoaded, ToolInfo, ToolkitInfo};
use crate::agent::storage::Stored;
use serde_json::Value;
use std::collections::BTreeMap;

impl Actor {
    /// Sends the stored history, at the pace of the one who asked; what happens meanwhile may come in between.
    pub(super) async fn load(&mut self, to: Replay, message_id: String, since: Option<String>) {
        let rows = match &self.writer {
            Some(writer) => writer.rows().await.unwrap_or_else(|failure| {
                tracing::error!(thread = self.path, %failure, "the history of a thread cannot be read");
                Vec::new()
            }),
            None => Vec::new(),
        };
        let is = |row: &Stored, id: &str| {
            row.turn_id.as_deref() == Some(id)
                || row.message.get("message_id").and_then(Value::as_str) == Some(id)
        };
        let from = match &since {
            None => 0,
            Some(id) => rows.iter().position(|row| is(row, id)).unwrap_or(rows.len()),
        };
        let kind = |row: &Stored| {
            row.message.get("type").and_then(Value::as_str) == Some("meshagent.agent.usage.updated")
        };
        let usage = rows.iter().rev().find(|row| kind(row)).map(|row| row.message.clone());
        let loaded = ThreadLoaded {
            thread_id: self.path.clone(),
            source_message_id: Some(message_id),
            since_turn: since,
        };
        let (id, now) = (self.engine.ids.fresh().to_string(), self.engine.clock.now());
        let loaded = Message::new(id, now, Body::ThreadLoaded(loaded)).full();
        let changed = self.thread.model_changed(None).full();
        tokio::spawn(async move {
            let history = rows.into_iter().skip(from).map(|row| row.message);
            to.send(history.chain([changed]).chain(usage).chain([loaded])).await;
        });
    }
}

/// Tells one who asked what the agent can do on thread `path`.
pub(super) async fn capabilities(engine: &Engine, path: &str, to: String, message_id: String, out: &Outlet) {
    let tools = match engine.tools(path).await {
        Ok((tools, _)) => tools,
        Err(failure) => {
            tracing::warn!(thread = path, %failure, "the tools of the agent cannot be listed");
            return;
        }
    };
    let mut kits: BTreeMap<String, Vec<ToolInfo>> = BTreeMap::new();
    for spec in tools.specs() {
        let info =
            ToolInfo { name: spec.tool.clone(), title: None, description: Some(spec.description.clone()) };
        kits.entry(spec.toolkit.clone()).or_default().push(info);
    }
    let kit = |(name, tools): (String, Vec<ToolInfo>)| ToolkitInfo {
        name,
        title: None,
        description: None,
        rules: Vec::new(),
        client_options: None,
        hidden: false,
        tools,
    };
    let body = Body::Capabilities(Capabilities {
        thread_id: path.to_owned(),
        source_message_id: message_id,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        toolkits: kits.into_iter().map(kit).collect(),
    });
    let message = Message::new(engine.ids.fresh().to_string(), engine.clock.now(), body);
    out(Out::To { to, message: message.full() }).await;
}

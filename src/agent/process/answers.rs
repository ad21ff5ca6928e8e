//! What a thread answers to those who ask about it.

use super::{Actor, In, Out, Outlet};
use crate::agent::channel::Outgoing;
use crate::agent::engine::Engine;
use crate::agent::message::{
    Body, Capabilities, Failed, Message, Rejected, ThreadLoaded, ToolInfo, ToolkitInfo,
};
use crate::agent::storage::Stored;
use crate::agent::thread::Input;
use crate::agent::turn::{Failure, Outcome};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long one who asked for a history may take to take the next message of it.
const REPLAY_STEP_MAX: Duration = Duration::from_secs(30);

/// Answers for a thread that cannot be opened.
pub(super) async fn refuse_all(
    engine: &Engine,
    path: &str,
    failure: &Failure,
    mut messages: mpsc::Receiver<In>,
    out: &Outlet,
) {
    tracing::error!(thread = path, %failure, "a thread cannot be served");
    let mut handled = 0;
    let reject = |source_message_id: String| {
        let error = Failed { message: failure.message.clone(), code: Some(failure.code.to_owned()) };
        let body = Body::StartRejected(Rejected { thread_id: path.to_owned(), source_message_id, error });
        Message::new(engine.ids.fresh().to_string(), engine.clock.now(), body)
    };
    while let Some(message) = messages.recv().await {
        handled += 1;
        match message {
            In::Turn { message, done, .. } => {
                out(Out::Message(reject(message.message_id))).await;
                // Nobody may be waiting any more.
                let _ = done.send(Outcome::Failed(failure.clone()));
            }
            In::Input(Input::Start { message, .. }) => out(Out::Message(reject(message.message_id))).await,
            _ => {}
        }
        out(Out::Idle { handled }).await;
    }
}

impl Actor {
    /// Sends the stored history, at the pace of the one who asked; what happens meanwhile may come in between.
    pub(super) async fn load(
        &mut self,
        to: mpsc::Sender<Outgoing>,
        message_id: String,
        since: Option<String>,
    ) {
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
            for message in history.chain([changed]).chain(usage).chain([loaded]) {
                let outgoing = Outgoing { message: Arc::new(message) };
                match tokio::time::timeout(REPLAY_STEP_MAX, to.send(outgoing)).await {
                    Ok(Ok(())) => {}
                    // They are gone, or read no more.
                    _ => return,
                }
            }
        });
    }

    pub(super) async fn capabilities(&mut self, to: String, message_id: String) {
        let tools = match self.engine.tools(&self.path).await {
            Ok(tools) => tools,
            Err(failure) => {
                tracing::warn!(thread = self.path, %failure, "the tools of the agent cannot be listed");
                return;
            }
        };
        let mut kits: BTreeMap<String, Vec<ToolInfo>> = BTreeMap::new();
        for spec in tools.specs() {
            let info = ToolInfo {
                name: spec.tool.clone(),
                title: None,
                description: Some(spec.description.clone()),
            };
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
            thread_id: self.path.clone(),
            source_message_id: message_id,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            toolkits: kits.into_iter().map(kit).collect(),
        });
        let message = Message::new(self.engine.ids.fresh().to_string(), self.engine.clock.now(), body);
        (self.out)(Out::To { to, message: message.full() }).await;
    }
}

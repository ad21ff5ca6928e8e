//! Opens a thread and, while that fails, answers those who speak to it.

use super::answers::capabilities;
use super::{In, Out, Outlet};
use crate::agent::backend::SessionRef;
use crate::agent::engine::Engine;
use crate::agent::message::{Body, Failed, Message, Rejected, SteerRejected, ThreadEvent, ThreadLoaded};
use crate::agent::storage::Place;
use crate::agent::thread::machine::Begin;
use crate::agent::thread::project::{self, Restored};
use crate::agent::thread::{Input, Thread};
use crate::agent::turn::{Failure, Limits, Outcome};
use crate::agent::writer::Writer;
use serde_json::json;
use std::collections::VecDeque;
use tokio::sync::mpsc;

/// A thread, ready to be served.
pub(super) struct Opened {
    pub writer: Option<Writer>,
    pub thread: Thread,
    /// Turns whose agent is gone.
    pub open_turns: Vec<String>,
    /// What a program that did its turns calls the thread.
    pub session: Option<SessionRef>,
    /// Tokens that the last request took.
    pub used_tokens: u64,
    /// Rows that are stored.
    pub rows: i64,
}

/// Opens a thread from what is stored of it.
pub(super) async fn open(engine: &Engine, path: &str) -> Result<Opened, Failure> {
    let refused = |message: String, code| Failure { message, code };
    let (writer, restored, rows) = if !engine.config.threads.stored || path.starts_with("tmp://") {
        (None, Restored::default(), 0)
    } else {
        let place = Place::parse(path)
            .map_err(|error| refused(error.to_string(), "thread_process_creation_failed"))?;
        let (writer, stored) = Writer::open(engine.client.clone(), place).await.map_err(|error| {
            let code = if error.is_lost() { "room_lost" } else { "thread_process_creation_failed" };
            refused(format!("thread {path} cannot be opened: {error}"), code)
        })?;
        let rows = stored.last().map_or(0, |row| row.sequence + 1);
        (Some(writer), project::restore(stored.iter().map(|row| &row.message)), rows)
    };
    let session = restored.session;
    let begin = Begin {
        path: path.to_owned(),
        agent: engine.config.agent_name.clone(),
        models: engine.config.models.clone(),
        model: restored.model,
        history: restored.items,
        done: restored.done_turns,
        voices: engine.config.voice.clone(),
        manner: restored.manner,
        limits: Limits { model_calls_max: engine.config.model_calls_max, ..Limits::default() },
    };
    let thread = Thread::new(begin, engine.clock.clone(), engine.ids.clone())
        .ok_or_else(|| refused("the agent has no model".to_owned(), "thread_process_creation_failed"))?;
    let (open_turns, used_tokens) = (restored.open_turns, restored.used_tokens);
    Ok(Opened { writer, thread, open_turns, session, used_tokens, rows })
}

/// Opens a thread for those who speak to it; with it come what was said and is not answered yet, and how much was answered. While it
/// cannot be opened everybody is told why, and whoever speaks next is a reason to try again. `None` when nobody needs it any more.
pub(super) async fn open_for(
    engine: &Engine,
    path: &str,
    messages: &mut mpsc::Receiver<In>,
    out: &Outlet,
) -> Option<(Opened, VecDeque<In>, u64)> {
    let (mut waiting, mut handled) = (VecDeque::new(), 0);
    loop {
        let failure = match open(engine, path).await {
            Ok(opened) => return Some((opened, waiting, handled)),
            Err(failure) => failure,
        };
        tracing::error!(thread = path, %failure, "a thread cannot be served");
        if waiting.is_empty() {
            waiting.push_back(messages.recv().await?);
        }
        while waiting.len() < super::INBOX_MAX
            && let Ok(message) = messages.try_recv()
        {
            waiting.push_back(message);
        }
        for message in waiting.drain(..) {
            handled += 1;
            refuse(engine, path, &failure, message, out).await;
        }
        out(Out::Idle { handled }).await;
        waiting.push_back(messages.recv().await?);
    }
}

/// Answers what was said to a thread that cannot be opened.
async fn refuse(engine: &Engine, path: &str, failure: &Failure, message: In, out: &Outlet) {
    let new = |body| Message::new(engine.ids.fresh().to_string(), engine.clock.now(), body);
    let error = Failed { message: failure.message.clone(), code: Some(failure.code.to_owned()) };
    let thread_id = path.to_owned();
    match message {
        In::Turn { message, done, .. } => {
            let source_message_id = message.message_id;
            let rejected = Rejected { thread_id, source_message_id, error };
            out(Out::Message(new(Body::StartRejected(rejected)))).await;
            // Nobody may be waiting any more.
            let _ = done.send(Outcome::Failed(failure.clone()));
        }
        In::Input(Input::Start { message, .. }) => {
            let source_message_id = message.message_id;
            let rejected = Rejected { thread_id, source_message_id, error };
            out(Out::Message(new(Body::StartRejected(rejected)))).await;
        }
        In::Input(Input::Steer { message, .. }) => {
            let Body::TurnSteer(steer) = message.body else { return };
            let (turn_id, source_message_id) = (steer.turn_id, message.message_id);
            let rejected = SteerRejected { thread_id, turn_id, source_message_id, error };
            out(Out::Message(new(Body::SteerRejected(rejected)))).await;
        }
        In::Load { to, message_id, since } => {
            let event = json!({"type": "thread.error", "kind": "message", "state": "failed",
                "headline": "The thread cannot be opened", "summary": "The thread cannot be opened",
                "details": [failure.message], "error": error});
            let event = event.as_object().cloned().unwrap_or_default();
            let (source_message_id, since_turn) = (Some(message_id), since);
            let loaded = ThreadLoaded { thread_id: thread_id.clone(), source_message_id, since_turn };
            let event = ThreadEvent { thread_id, provider: None, model: None, event };
            let answer = [new(Body::ThreadEvent(event)).full(), new(Body::ThreadLoaded(loaded)).full()];
            tokio::spawn(async move { to.send(answer).await });
        }
        In::Capabilities { to, message_id } => capabilities(engine, path, to, message_id, out).await,
        In::Input(_) | In::Inject { .. } => {}
    }
}

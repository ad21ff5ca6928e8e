//! Shortens a thread that has grown too long for its model: what the model makes of it stands for all before.

use super::{Actor, Out};
use crate::agent::engine::Engine;
use crate::agent::history::{Item, Part};
use crate::agent::message::{Body, Compacted, Message, REPEATS_INPUT, Status};
use crate::agent::model::ModelId;
use crate::agent::provider::OUTPUT_TOKENS;
use serde_json::{Value, json};
use std::sync::Arc;

/// An answer takes no more than this part of what fits a model.
const ANSWER_SHARE: u64 = 4;

/// What stands for a thread's past.
pub(super) struct Summary {
    text: String,
    /// The past it was made of.
    past: Arc<Vec<Item>>,
    model: ModelId,
}

/// Has the model say what the past came to. Without an answer the past stays as it is.
pub(super) async fn summarise(
    engine: &Engine,
    model: &ModelId,
    past: Option<Arc<Vec<Item>>>,
) -> Option<Summary> {
    let past = past?;
    match engine.summarise(model, &past).await {
        Ok(text) => Some(Summary { text, past, model: model.clone() }),
        Err(failure) => {
            tracing::warn!(%failure, "a thread was not shortened");
            None
        }
    }
}

/// A message that every provider's clients read alike.
fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

impl Actor {
    /// The thread's past, where the last request left too little room for the next one.
    pub(super) fn too_long(&self, model: &ModelId) -> Option<Arc<Vec<Item>>> {
        let most =
            self.engine.config.compaction_threshold.filter(|_| !model.is_builtin() && !model.is_program())?;
        let window = self.engine.provider(model).context_window(&model.name);
        let most = window.map_or(most, |window| most.min(window - OUTPUT_TOKENS.min(window / ANSWER_SHARE)));
        Some(self.thread.history()).filter(|past| self.used_tokens > most && !past.is_empty())
    }

    pub(super) async fn show_compacting(&mut self, turn_id: &str) {
        let status = Status {
            thread_id: self.path.clone(),
            status: Some("Compacting context".into()),
            mode: Some("steerable".into()),
            turn_id: Some(turn_id.to_owned()),
            ..Status::default()
        };
        let (id, now) = (self.engine.ids.fresh().to_string(), self.engine.clock.now());
        (self.out)(Out::Message(Message::new(id, now, Body::ThreadStatus(status)))).await;
    }

    /// The summary takes the place of the thread's past, here and for whoever reads the thread later. `input` began the present turn:
    /// its row is older than the summary's, so it is repeated behind it, as words; whoever can reads the row itself.
    pub(super) async fn compacted(&mut self, summary: Summary, input: Option<&Item>) {
        if !Arc::ptr_eq(&summary.past, &self.thread.history()) {
            // It was cleared meanwhile.
            return;
        }
        let text = format!("What was said before, in short:\n{}", summary.text);
        let mut messages = vec![user(&text)];
        let repeated = input.and_then(Item::user_text).map(|text| user(&text));
        let repeats = repeated.is_some();
        messages.extend(repeated);
        self.thread.compact(vec![Item::User(vec![Part::Text(text)])]);
        self.used_tokens = 0;
        let compacted = Compacted {
            thread_id: self.path.clone(),
            provider: Some(summary.model.provider),
            model: Some(summary.model.name),
            checkpoint_id: self.engine.ids.fresh().to_string(),
            path: self.path.clone(),
            through_sequence: self.rows - 1,
            messages: Some(messages),
        };
        let (id, now) = (self.engine.ids.fresh().to_string(), self.engine.clock.now());
        let mut message = Message::new(id, now, Body::Compacted(compacted));
        if repeats {
            message.metadata.insert(REPEATS_INPUT.to_owned(), Value::Bool(true));
        }
        self.store(&message).await;
        (self.out)(Out::Message(message)).await;
    }
}

//! What a thread says to models that hear and speak.

use super::{Actor, Worked};
use crate::agent::history::Item;
use crate::agent::model::ModelId;
use crate::agent::provider::Say;
use crate::agent::provider::realtime::Ask;
use crate::agent::thread::Input;
use bytes::Bytes;
use std::sync::Arc;

impl Actor {
    /// All that was said, for a model that may know of it already.
    fn conversation(&self, items: Vec<Item>) -> Ask {
        let manner = self.thread.manner();
        Ask {
            instructions: self.using.instructions.clone(),
            tools: Arc::clone(&self.using.specs),
            items: self.thread.history().iter().cloned().chain(items).collect(),
            voice: manner.voice.clone(),
            answers: manner.answers,
        }
    }

    pub(super) fn ask_aloud(&mut self, model: &ModelId, items: Vec<Item>) {
        let ask = self.conversation(items);
        let asked = self.conversations.ask(model, ask, Say::new(self.said.0.clone()));
        self.work.push(Box::pin(async move { Worked::Input(Input::Answered(asked.await)) }));
    }

    /// Passes on what somebody says to a model that listens all the time.
    pub(super) fn hear(&mut self, data: Bytes) {
        let model = self.thread.model().clone();
        let past = (!self.conversations.is_open(&model)).then(|| self.conversation(Vec::new()));
        self.conversations.hear(&model, past, data);
    }
}

//! Models that hear and speak, by the realtime protocol over a WebSocket. [`items`] is its language, [`talk`] what is said and
//! heard in one conversation, both pure and tested by recorded exchanges; [`line`] is the socket, [`keeper`] keeps one
//! conversation for a thread: it dials, goes on, and begins anew where the thread or the connection did.

#[cfg(test)]
mod golden;
mod items;
mod keeper;
mod line;
mod talk;

use super::{Provider, Request, Say};
use crate::agent::config::EndpointConfig;
use crate::agent::history::Item;
use crate::agent::model::ModelId;
use crate::agent::tools::ToolSpec;
use crate::agent::turn::{Failure, Response};
use crate::agent::voice::{Modality, Noticed, VoiceConfig, context_window};
use crate::clock::IdSource;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use keeper::Keeper;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Where such models are, and how the agent speaks by them.
#[derive(Clone)]
pub struct Realtime {
    config: EndpointConfig,
    voices: Arc<VoiceConfig>,
    ids: Arc<dyn IdSource>,
}

impl std::fmt::Debug for Realtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Realtime").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Realtime {
    #[must_use]
    pub fn new(config: EndpointConfig, voices: Arc<VoiceConfig>, ids: Arc<dyn IdSource>) -> Self {
        Self { config, voices, ids }
    }
}

/// What is asked of a model, with the whole conversation so far.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    pub instructions: String,
    pub tools: Arc<Vec<ToolSpec>>,
    /// The thread so far and the present turn, oldest first.
    pub items: Vec<Item>,
    pub voice: String,
    pub answers: Modality,
}

/// The conversation of a thread with one model at a time. It ends when this is dropped.
pub struct Conversations {
    realtime: Realtime,
    noticed: Option<mpsc::Sender<Noticed>>,
    kept: Option<(ModelId, Keeper)>,
}

impl std::fmt::Debug for Conversations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conversations").field("kept", &self.kept.is_some()).finish_non_exhaustive()
    }
}

impl Conversations {
    /// Nothing is dialled before something is asked.
    #[must_use]
    pub fn new(realtime: Realtime, noticed: Option<mpsc::Sender<Noticed>>) -> Self {
        Self { realtime, noticed, kept: None }
    }

    /// Has the model answer, or go on. Dropping the future stops it.
    ///
    /// Errors: the model cannot be reached, refuses, or the connection breaks off while it speaks. The next request has a new
    /// connection.
    pub fn ask(
        &mut self,
        model: &ModelId,
        ask: Ask,
        say: Say,
    ) -> BoxFuture<'static, Result<Response, Failure>> {
        let keeper = self.keeper(model);
        Box::pin(keeper.answer(ask, say))
    }

    /// Whether a conversation with this model is under way.
    #[must_use]
    pub fn is_open(&self, model: &ModelId) -> bool {
        self.kept.as_ref().is_some_and(|(of, keeper)| of == model && keeper.is_open())
    }

    /// Lets a model hear that listens all the time; `past` is what it is told first where none is under way.
    pub fn hear(&mut self, model: &ModelId, past: Option<Ask>, data: Bytes) {
        self.keeper(model).hear(past, data);
    }

    /// All was said that it heard.
    pub fn heard(&mut self) {
        if let Some((_, keeper)) = &self.kept {
            keeper.heard();
        }
    }

    /// The thread was cleared: a new conversation begins.
    pub fn forget(&mut self) {
        self.kept = None;
    }

    fn keeper(&mut self, model: &ModelId) -> Keeper {
        if let Some((of, keeper)) = &self.kept
            && of == model
        {
            return keeper.clone();
        }
        let keeper = Keeper::start(self.realtime.clone(), model.name.clone(), self.noticed.clone());
        self.kept = Some((model.clone(), keeper.clone()));
        keeper
    }
}

#[async_trait::async_trait]
impl Provider for Realtime {
    /// A conversation for one answer, in writing.
    async fn respond(&self, request: Request<'_>, say: &Say) -> Result<Response, Failure> {
        let ask = Ask {
            instructions: request.instructions.to_owned(),
            tools: Arc::new(request.tools.to_vec()),
            items: request.items.iter().map(|item| (*item).clone()).collect(),
            voice: self.voices.voice.clone(),
            answers: Modality::Text,
        };
        Keeper::start(self.clone(), request.model.to_owned(), None).answer(ask, say.clone()).await
    }

    fn context_window(&self, model: &str) -> Option<u64> {
        context_window(model)
    }
}

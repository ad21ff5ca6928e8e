//! Models behind one trait: a thread and tools go in, what the model says comes out. One file or folder per provider.
//!
//! A new provider that answers with server-sent events is one [`endpoint::Codec`], a line in [`Providers`] and one in
//! [`super::model`].

mod anthropic;
mod chat;
pub mod echo;
mod endpoint;
mod names;
mod openai;
mod parts;
pub mod realtime;
mod sse;

use super::config::EndpointsConfig;
use super::history::Item;
use super::model::ModelId;
use super::tools::ToolSpec;
use super::turn::{Failure, Response};
use super::voice::{Noticed, Speech, VoiceConfig};
use crate::clock::IdSource;
use endpoint::Endpoint;
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Most tokens of one answer unless told.
pub const OUTPUT_TOKENS: u64 = 32_000;
/// Items that one answer may have.
pub const ITEMS_MAX: usize = 1024;
/// Sayings that may wait to be told; a provider that is quicker waits.
pub const SAYINGS_MAX: usize = 64;

/// One request to a model.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub model: &'a str,
    pub instructions: &'a str,
    /// The thread so far and the present turn, oldest first.
    pub items: &'a [&'a Item],
    pub tools: &'a [ToolSpec],
    /// A JSON Schema that the answer's text must follow.
    pub answer_schema: Option<&'a Value>,
    /// Whether the provider may search the web by itself, where it can.
    pub web_search: bool,
}

/// Part of an answer, as it comes in. Items are told apart by their id; a text or reasoning begins with its first piece.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// More of a text. `phase` is `commentary` or `final_answer` where the model says so.
    Text {
        item_id: String,
        phase: Option<String>,
        delta: String,
    },
    TextEnded {
        item_id: String,
        phase: Option<String>,
    },
    Reasoning {
        item_id: String,
        delta: String,
    },
    /// `metadata` is kept with the thread, for example `{"openai": {"encrypted_content": …}}`.
    ReasoningEnded {
        item_id: String,
        metadata: Map<String, Value>,
    },
    /// The model begins to write a call of one of our tools.
    CallPending {
        item_id: String,
        call_id: String,
        toolkit: String,
        tool: String,
    },
    CallArguments {
        item_id: String,
        delta: String,
    },
    /// A tool that the provider itself runs, for example its web search.
    ProviderTool {
        namespace: &'static str,
        item_id: String,
        toolkit: String,
        tool: String,
        arguments: Option<Map<String, Value>>,
        ended: bool,
    },
    /// The program behind a backend begins a call of a tool of its own, whose arguments may not be known yet.
    ForeignPending(ForeignCall),
    /// It runs the call.
    ForeignStarted(ForeignCall),
    /// What the call puts out meanwhile; `source` is `stdout` or `stderr`.
    ForeignLog {
        item_id: String,
        source: &'static str,
        text: String,
    },
    /// The call is done: with a result, as content headers have it, or an error.
    ForeignEnded {
        item_id: String,
        result: Option<Value>,
        error: Option<String>,
    },
    /// It asks whether it may go on with a call.
    Asked(ForeignCall),
    /// The answer begins anew: nothing of what was said of it so far is part of it.
    Restart,
    /// What the thread shall record as an event, for example that a request is tried again.
    Notice(Map<String, Value>),
    /// Something that is said aloud.
    Speech(Speech),
}

/// A call that the program behind a backend makes of a tool of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignCall {
    /// Whose tool it is, for example `acp`.
    pub namespace: &'static str,
    pub item_id: String,
    /// What the program calls the call.
    pub call_id: String,
    pub toolkit: String,
    pub tool: String,
    pub arguments: Map<String, Value>,
}

/// Where a provider tells what it hears, as it hears it. Full: it waits.
#[derive(Clone, Debug)]
pub struct Say(Option<mpsc::Sender<Said>>);

impl Say {
    #[must_use]
    pub fn new(to: mpsc::Sender<Said>) -> Self {
        Self(Some(to))
    }

    /// For requests nobody watches.
    #[must_use]
    pub fn nobody() -> Self {
        Self(None)
    }

    pub async fn say(&self, said: Said) {
        if let Some(to) = &self.0 {
            // Nobody listens any more: the turn was stopped, and this request with it.
            let _ = to.send(said).await;
        }
    }
}

/// A source of answers: one file or folder each. Retries what may pass by itself; an error is final for the turn.
///
/// A provider that streams tells its texts, reasoning and calls through `say` and sets [`Response::said`]; for one that does
/// not, the runtime tells the items of the response. Dropping the future cancels the request.
#[async_trait::async_trait]
pub trait Provider: Send + Sync {
    async fn respond(&self, request: Request<'_>, say: &Say) -> Result<Response, Failure>;

    /// Tokens that fit a request to this model, where that is known.
    fn context_window(&self, _model: &str) -> Option<u64> {
        None
    }
}

/// All of them.
#[derive(Debug)]
pub struct Providers {
    openai: Endpoint<openai::Responses>,
    grok: Endpoint<openai::Responses>,
    chat: Endpoint<chat::Completions>,
    anthropic: Endpoint<anthropic::Messages>,
    realtime: realtime::Realtime,
}

impl Providers {
    #[must_use]
    pub fn new(config: &EndpointsConfig, voice: &Arc<VoiceConfig>, ids: &Arc<dyn IdSource>) -> Self {
        let ids = || Arc::clone(ids);
        Self {
            openai: Endpoint::new(openai::Responses::OpenAi, config.openai.clone(), ids()),
            grok: Endpoint::new(openai::Responses::Grok, config.grok.clone(), ids()),
            chat: Endpoint::new(chat::Completions, config.openai.clone(), ids()),
            anthropic: Endpoint::new(anthropic::Messages, config.anthropic.clone(), ids()),
            realtime: realtime::Realtime::new(config.openai.clone(), voice.clone(), ids()),
        }
    }

    /// The conversations of one thread with models that hear and speak. `noticed` is told what they notice between turns.
    #[must_use]
    pub fn conversations(&self, noticed: mpsc::Sender<Noticed>) -> realtime::Conversations {
        realtime::Conversations::new(self.realtime.clone(), Some(noticed))
    }

    /// Who answers for a model.
    #[must_use]
    pub fn of(&self, model: &ModelId) -> &dyn Provider {
        match model.provider.as_str() {
            super::model::BUILTIN => &echo::Echo,
            "grok" => &self.grok,
            "anthropic" => &self.anthropic,
            "openai-chat" => &self.chat,
            super::voice::PROVIDER => &self.realtime,
            _ => &self.openai,
        }
    }
}

fn failure(message: impl Into<String>) -> Failure {
    Failure { message: message.into(), code: "model_error" }
}

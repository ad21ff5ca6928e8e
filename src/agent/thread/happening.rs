//! What happens to a thread, and what it has done about it.

use super::done::Earlier;
use crate::agent::history::{Item, ToolCall};
use crate::agent::message::{AudioChunk, InputContent, LogLine, Message, ModelChange, TurnStart};
use crate::agent::model::ModelId;
use crate::agent::provider::Said;
use crate::agent::tools::{ToolResult, ToolSpec};
use crate::agent::turn::{Failure, Outcome, Response};
use crate::agent::voice::Noticed;
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;

/// Who began a turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct By {
    /// Where a client waits for its own tools to be called.
    pub participant: Option<String>,
    pub name: Option<String>,
    /// Nobody is there to approve: calls that need it are refused.
    pub unattended: bool,
}

impl By {
    /// Whether it is the same participant, or came back under the same name.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let same = |ours: &Option<String>, theirs: &Option<String>| ours.is_some() && ours == theirs;
        same(&self.participant, &other.participant) || same(&self.name, &other.name)
    }
}

/// What a turn works with.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    /// What was said, with its files.
    pub input: Option<Item>,
    pub tools: Arc<Vec<ToolSpec>>,
    /// Tokens that fit the model, where known.
    pub context_window: Option<u64>,
}

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// A `turn.start`; the turn id is the message's own or a fresh one. It is not run where an earlier attempt is done.
    Start {
        message: Box<Message>,
        turn_id: String,
        by: By,
        earlier: Earlier,
    },
    Steer {
        message: Box<Message>,
        participant: Option<String>,
    },
    Interrupt {
        message_id: String,
        turn_id: String,
    },
    /// Nobody waits for the turn any more, whether it runs or waits.
    CancelTurn {
        turn_id: String,
    },
    /// An approval (`true`) or refusal of a call.
    Judged {
        by: By,
        turn_id: String,
        item_id: String,
        approved: bool,
    },
    ClientAnswered {
        turn_id: String,
        request_id: String,
        participant: String,
        response: Value,
    },
    ClientTimedOut {
        request_id: String,
    },
    /// Nobody judged this item's call in time.
    ApprovalTimedOut(String),
    ParticipantGone(String),
    ModelChange {
        message_id: String,
        change: ModelChange,
    },
    Clear {
        message_id: String,
    },
    /// More of what somebody says aloud.
    Chunk {
        message_id: String,
        chunk: Box<AudioChunk>,
        by: By,
    },
    /// They have said it all.
    Commit {
        message: Box<Message>,
        by: By,
    },
    /// What the provider notices that listens all the time.
    Noticed(Noticed),
    Prepared {
        turn_id: String,
        result: Result<Prepared, Failure>,
    },
    /// The files of a steering message were fetched.
    Loaded {
        message_id: String,
        item: Item,
    },
    Said(Said),
    Answered(Result<Response, Failure>),
    ToolLog {
        item_id: String,
        lines: Vec<LogLine>,
    },
    ToolFinished {
        call_id: String,
        result: Result<ToolResult, Failure>,
    },
    /// The agent stops.
    Cancelled,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Tell all clients, and store.
    Emit(Message),
    /// Tell all clients.
    Show(Message),
    /// Tell one client.
    Tell {
        to: String,
        message: Message,
    },
    /// Store without telling.
    Store(Message),
    /// Fetch files, read rules, find tools; then [`Input::Prepared`].
    Prepare {
        turn_id: String,
        start: Box<TurnStart>,
        model: ModelId,
        by: By,
    },
    /// Fetch the files of a steering message; then [`Input::Loaded`].
    Load {
        message_id: String,
        content: Vec<InputContent>,
    },
    /// Ask the model with the thread and these items.
    Ask {
        model: ModelId,
        items: Vec<Item>,
    },
    Run {
        call: ToolCall,
    },
    /// [`Input::ClientTimedOut`] after the time that a client's tool has.
    Wait {
        request_id: String,
    },
    /// [`Input::ApprovalTimedOut`] after the time that an approval has.
    WaitApproval(String),
    /// Tell the program that asked whether it may go on with a call of its own.
    Permit {
        item_id: String,
        approved: bool,
    },
    /// Let the provider hear this, which listens all the time.
    Hear(Bytes),
    /// Tell it that all was said.
    Heard,
    /// Stop whatever was begun by `Prepare`, `Load`, `Ask` and `Run`.
    Cancel,
    /// A turn ended.
    Done {
        turn_id: String,
        outcome: Outcome,
    },
}

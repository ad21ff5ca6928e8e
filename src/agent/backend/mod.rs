//! Turns that a program of its own does instead of a model and our tools: `acp` is any agent that speaks the Agent
//! Client Protocol, `codex` the app server of Codex. [`keeper`] has one program for a thread and acts for it, [`program`]
//! is its process, [`files`] serves it files; what is said and heard is a [`dialect`], pure and tested by transcripts.
//! Knows nothing of rooms, channels and models.

mod acp;
mod codex;
mod dialect;
mod files;
#[cfg(test)]
mod golden;
mod keeper;
mod program;
mod rpc;
#[cfg(test)]
mod tests;

use super::config::{ProgramConfig, ProgramsConfig};
use super::history::Item;
use super::model::{Backend, ModelId};
use super::provider::Say;
use super::turn::{Failure, Response};
use crate::clock::IdSource;
use futures_util::future::BoxFuture;
use keeper::Keeper;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// [`Failure::code`] where a program did not do its turn.
pub const PROGRAM_ERROR: &str = "agent_error";
/// `type` of the event that names a thread's session.
const SESSION_EVENT: &str = "agent.session";

/// What a program calls the thread that it works on, so that it can go on there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRef {
    pub backend: Backend,
    pub id: String,
}

/// The session that an event of a thread names.
#[must_use]
pub fn session_of(event: &Value) -> Option<SessionRef> {
    let text = |key: &str| event.get(key).and_then(Value::as_str);
    if text("type") != Some(SESSION_EVENT) {
        return None;
    }
    Some(SessionRef { backend: Backend::named(text("backend")?)?, id: text("session_id")?.to_owned() })
}

/// The event by which a thread remembers a session.
fn session_event(backend: &str, id: &str) -> Map<String, Value> {
    let event = json!({"type": SESSION_EVENT, "backend": backend, "session_id": id});
    event.as_object().cloned().unwrap_or_default()
}

/// What a turn is to be made of.
#[derive(Clone, Debug)]
pub struct Prompt {
    pub turn_id: String,
    /// Rules of the agent; empty where it has none.
    pub instructions: String,
    /// The thread before the turn.
    pub history: Arc<Vec<Item>>,
    /// The turn so far, beginning with what was said to it.
    pub items: Vec<Item>,
}

/// The programs of one thread. They end when this is dropped.
pub struct Programs {
    acp: Option<ProgramConfig>,
    codex: Option<ProgramConfig>,
    ids: Arc<dyn IdSource>,
    session: Option<SessionRef>,
    keepers: Vec<(ModelId, Keeper)>,
}

impl std::fmt::Debug for Programs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Programs").field("session", &self.session).finish_non_exhaustive()
    }
}

impl Programs {
    /// None runs before it is asked; `session` is what the thread remembers of an earlier one.
    #[must_use]
    pub fn of(programs: &ProgramsConfig, ids: Arc<dyn IdSource>, session: Option<SessionRef>) -> Self {
        let (acp, codex) = (programs.acp.clone(), programs.codex.clone());
        Self { acp, codex, ids, session, keepers: Vec::new() }
    }

    /// Has the program of `model` do a turn, or go on with it. Dropping the future stops the turn.
    ///
    /// Errors: there is no such program, it cannot be started, it ended, said what is no message of its protocol, or took
    /// too long. The next turn has a new one.
    pub fn ask(
        &mut self,
        model: &ModelId,
        prompt: Prompt,
        say: Say,
    ) -> BoxFuture<'static, Result<Response, Failure>> {
        let keeper = self.keeper(model);
        Box::pin(async move { keeper?.turn(prompt, say).await })
    }

    /// A person or a rule says whether a program may go on with a call. Ignored where none asks any more.
    pub fn permit(&self, item_id: &str, approved: bool) {
        self.keepers.iter().for_each(|(_, keeper)| keeper.permit(item_id, approved));
    }

    /// The thread was cleared: the next turn is the first of a new session.
    pub fn forget(&mut self) {
        self.keepers.clear();
        self.session = None;
    }

    fn keeper(&mut self, model: &ModelId) -> Result<Keeper, Failure> {
        if let Some((_, keeper)) = self.keepers.iter().find(|(of, _)| of == model) {
            return Ok(keeper.clone());
        }
        let config = match model.backend {
            Backend::Acp => self.acp.as_ref(),
            Backend::Codex => self.codex.as_ref(),
            Backend::Llm | Backend::Chat => None,
        };
        let none = || Failure { message: format!("{model} has no program to run"), code: PROGRAM_ERROR };
        let config = config.ok_or_else(none)?.clone();
        let session =
            self.session.take_if(|session| session.backend == model.backend).map(|session| session.id);
        let folder = config.folder.display().to_string();
        let dialect: Box<dyn dialect::Dialect> = match model.backend {
            Backend::Codex => Box::new(codex::Codex::new(&folder, &model.name)),
            _ => Box::new(acp::Acp::new(&folder, self.ids.clone())),
        };
        let keeper = Keeper::start(config, dialect, session);
        self.keepers.push((model.clone(), keeper.clone()));
        Ok(keeper)
    }
}

//! The life of a thread: turns wait in line and run one at a time; what is said meanwhile steers the running one.

use super::done::{DoneTurns, Earlier, text_of};
pub use super::happening::{By, Effect, Input, Prepared};
use super::hearing::{Committed, Hearing};
use super::manner::Manner;
use super::messages::Stamp;
use super::running::Running;
use crate::agent::history::{self, Item};
use crate::agent::message::{
    Accepted, Answered, Body, Failed, Message, OfTurnSource, Options, Rejected, SteerAccepted, SteerRejected,
    TurnEnded,
};
use crate::agent::model::{ModelId, Unknown, choose};
use crate::agent::turn::{self, Failure, Limits, Outcome};
use crate::agent::voice::{Modality, VoiceConfig};
use crate::clock::{Clock, IdSource};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// Turns that may wait on one thread.
pub const TURNS_WAITING_MAX: usize = 256;
/// What may be said to a running turn before it listens.
pub const STEERS_WAITING_MAX: usize = 64;

struct Pending {
    message: Box<Message>,
    turn_id: String,
    model: ModelId,
    by: By,
    earlier: Earlier,
    /// What was said aloud.
    sound: Option<Bytes>,
}

/// A thread.
pub struct Thread {
    pub(super) stamp: Stamp,
    pub(super) models: Vec<ModelId>,
    pub(super) model: ModelId,
    limits: Limits,
    history: Arc<Vec<Item>>,
    waiting: VecDeque<Pending>,
    running: Option<Running>,
    /// Turns that ended without an error.
    done: DoneTurns,
    pub(super) voices: Arc<VoiceConfig>,
    pub(super) manner: Manner,
    pub(super) hearing: Hearing,
}

impl std::fmt::Debug for Thread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Thread").field("path", &self.stamp.path).finish_non_exhaustive()
    }
}

/// What a thread begins with.
#[derive(Debug)]
pub struct Begin {
    pub path: String,
    /// The agent's name.
    pub agent: String,
    /// The first is the default; at least one.
    pub models: Vec<ModelId>,
    /// The model that was used last, where it was another.
    pub model: Option<ModelId>,
    pub history: Vec<Item>,
    /// Turns that ended without an error.
    pub done: DoneTurns,
    pub limits: Limits,
    pub voices: Arc<VoiceConfig>,
    /// Voice and kind of the answers that were given last, where others than usual.
    pub manner: (Option<String>, Option<Modality>),
}

impl Thread {
    /// `None` without a model.
    pub fn new(begin: Begin, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Option<Self> {
        let model =
            begin.model.filter(|m| begin.models.contains(m)).or_else(|| begin.models.first().cloned())?;
        let stamp = Stamp { path: begin.path, agent: begin.agent, clock, ids };
        let mut history = begin.history;
        history::trim(&mut history);
        let (voice, answers) = begin.manner;
        let manner = Manner::of(&begin.voices, voice, answers);
        Some(Self {
            voices: begin.voices,
            manner,
            hearing: Hearing::default(),
            stamp,
            models: begin.models,
            model,
            limits: begin.limits,
            history: Arc::new(history),
            waiting: VecDeque::new(),
            running: None,
            done: begin.done,
        })
    }

    /// What the thread remembers.
    pub fn history(&self) -> Arc<Vec<Item>> {
        self.history.clone()
    }

    /// Forgets all before `items`, which stand for it.
    pub fn compact(&mut self, items: Vec<Item>) {
        self.history = Arc::new(items);
    }

    /// The running turn.
    pub fn turn_id(&self) -> Option<&str> {
        self.running.as_ref().map(|running| running.turn_id.as_str())
    }

    /// Bytes of what was said aloud for turns that wait.
    pub(super) fn waiting_speech(&self) -> usize {
        self.waiting.iter().filter_map(|turn| turn.sound.as_ref()).map(Bytes::len).sum()
    }

    /// Whether a turn runs or waits.
    pub fn is_busy(&self) -> bool {
        self.running.is_some() || !self.waiting.is_empty()
    }

    /// The model in use.
    pub fn model(&self) -> &ModelId {
        &self.model
    }

    /// How its answers sound.
    pub fn manner(&self) -> &Manner {
        &self.manner
    }

    /// Takes what happened.
    pub fn on(&mut self, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        match input {
            Input::Start { message, turn_id, by, earlier } => match self.done.text_of(&earlier.turns) {
                Some(text) => out.push(Effect::Done { turn_id, outcome: Outcome::before(text) }),
                None if earlier.look_only => {
                    let message = "those who worked on it ended each time before it was done".to_owned();
                    let failure = Failure { message, code: "attempts" };
                    out.push(Effect::Done { turn_id, outcome: Outcome::Failed(failure) });
                }
                None => self.start(message, turn_id, by, earlier, &mut out),
            },
            Input::Steer { message, participant } => self.steer(&message, participant.as_deref(), &mut out),
            Input::Interrupt { message_id, turn_id } => self.interrupt(message_id, &turn_id, &mut out),
            Input::CancelTurn { turn_id } => self.cancel_turn(&turn_id, &mut out),
            Input::ModelChange { message_id, change } => self.change_model(message_id, &change, &mut out),
            Input::Chunk { message_id, chunk, by } => self.chunk(message_id, *chunk, by, &mut out),
            Input::Commit { message, by } => self.commit(*message, by, &mut out),
            Input::Noticed(noticed) => self.noticed(noticed, &mut out),
            Input::Clear { message_id } => {
                self.history = Arc::default();
                self.hearing = Hearing::default();
                let thread_id = self.stamp.path.clone();
                let cleared = Answered { thread_id, source_message_id: message_id };
                out.push(Effect::Emit(self.stamp.message(Body::ThreadCleared(cleared))));
            }
            Input::Cancelled => {
                self.waiting.clear();
                if let Some(running) = &mut self.running {
                    out.push(Effect::Cancel);
                    running.cancel(&self.stamp, &mut out);
                }
            }
            other => {
                if let Some(running) = &mut self.running {
                    running.on(other, &self.stamp, self.limits, &mut out);
                }
            }
        }
        self.next(&mut out);
        out
    }

    /// After the end of a turn, the next one.
    fn next(&mut self, out: &mut Vec<Effect>) {
        if let Some(done) = self.running.take_if(|running| running.is_done()) {
            if done.succeeded() {
                let said = text_of(done.items());
                self.done.insert(done.turn_id.clone(), said);
            }
            let mut all = Arc::unwrap_or_clone(std::mem::take(&mut self.history));
            all.extend(done.into_items());
            history::trim(&mut all);
            self.history = Arc::new(all);
        }
        if self.running.is_some() {
            return;
        }
        let next = loop {
            let Some(next) = self.waiting.pop_front() else { return };
            let Some(text) = self.done.text_of(&next.earlier.turns) else { break next };
            let message = "an earlier attempt at this turn was done meanwhile".to_owned();
            self.leave_line(
                next.turn_id,
                Failed { message, code: Some("already_done".into()) },
                Outcome::before(text),
                out,
            );
        };
        let mut changed = next.model != self.model;
        self.model = next.model;
        if let Body::TurnStart(start) = &next.message.body {
            changed |= self.adopt(start.options.voice.as_deref(), start.options.answers());
        }
        let source = next.message.message_id.clone();
        let mut running =
            Running::new(next.turn_id, source, self.model.clone(), next.by.clone(), &self.stamp);
        running.hear(next.sound);
        running.announce(&self.stamp, out);
        if changed {
            out.push(Effect::Emit(self.model_changed(None)));
        }
        if let Body::TurnStart(start) = next.message.body {
            let turn_id = running.turn_id.clone();
            let model = self.model.clone();
            out.push(Effect::Prepare { turn_id, start: Box::new(start), model, by: next.by });
        }
        self.running = Some(running);
    }

    /// A turn ends that never ran.
    fn leave_line(&self, turn_id: String, error: Failed, outcome: Outcome, out: &mut Vec<Effect>) {
        let ended =
            TurnEnded { thread_id: self.stamp.path.clone(), turn_id: turn_id.clone(), error: Some(error) };
        out.push(Effect::Emit(self.stamp.message(Body::TurnEnded(ended))));
        out.push(Effect::Done { turn_id, outcome });
    }

    pub(super) fn start(
        &mut self,
        mut message: Box<Message>,
        turn_id: String,
        by: By,
        earlier: Earlier,
        out: &mut Vec<Effect>,
    ) {
        let path = self.stamp.path.clone();
        let Body::TurnStart(start) = &mut message.body else { return };
        start.turn_id = Some(turn_id.clone());
        let options = &start.options;
        let chosen = choose(
            &self.models,
            &self.model,
            options.backend.as_deref(),
            options.provider.as_deref(),
            options.model.as_deref(),
        );
        let committed = self.hearing.take(&turn_id);
        let refused = self.refused(&chosen, committed.as_ref(), options);
        if let Some((text, code)) = refused {
            let error = Failed { message: text.clone(), code: Some(code.to_owned()) };
            let rejected = Rejected { thread_id: path, source_message_id: message.message_id.clone(), error };
            out.push(Effect::Emit(self.stamp.message(Body::StartRejected(rejected))));
            out.push(Effect::Done { turn_id, outcome: Outcome::Failed(Failure { message: text, code }) });
            return;
        }
        let Ok(model) = chosen else { return };
        let accepted = Accepted {
            thread_id: path,
            turn_id: Some(turn_id.clone()),
            source_message_id: message.message_id.clone(),
            content: start.content.clone(),
        };
        let mut stored = message.clone();
        if let Body::TurnStart(start) = &mut stored.body {
            start.options = start.options.scrubbed();
        }
        stored.sender_name.clone_from(&by.name);
        // What was said aloud may stand alone, in a message of its own.
        let alone = committed.as_ref().is_some_and(|said| said.message.message_id == message.message_id);
        let sound = committed.and_then(|said| {
            out.push(Effect::Store(Message { sender_name: by.name.clone(), ..said.message }));
            said.sound.ok()
        });
        if !alone {
            out.push(Effect::Store(*stored));
        }
        let mut accepted = self.stamp.message(Body::StartAccepted(accepted));
        accepted.sender_name.clone_from(&by.name);
        out.push(Effect::Emit(accepted));
        self.waiting.push_back(Pending { message, turn_id, model: model.clone(), by, earlier, sound });
    }

    /// Why a turn is not taken.
    fn refused(
        &self,
        chosen: &Result<&ModelId, Unknown>,
        said: Option<&Committed>,
        options: &Options,
    ) -> Option<(String, &'static str)> {
        let path = &self.stamp.path;
        match (chosen, said) {
            (Ok(_), _) if self.waiting.len() >= TURNS_WAITING_MAX => Some((
                format!("thread {path} has {TURNS_WAITING_MAX} turns waiting; send the next one later"),
                "thread_busy",
            )),
            (Err(Unknown { message, code }), _) => Some((message.clone(), *code)),
            (Ok(_), Some(Committed { sound: Err(failure), .. })) => {
                Some((failure.message.clone(), failure.code))
            }
            (Ok(model), Some(_)) if !model.speaks() => {
                Some((format!("{model} hears nothing; choose a model that does"), "unsupported_modality"))
            }
            (Ok(model), _) => self.cannot(model, options.voice.as_deref(), options.answers()),
        }
    }

    fn steer(&mut self, message: &Message, participant: Option<&str>, out: &mut Vec<Effect>) {
        let Body::TurnSteer(steer) = &message.body else { return };
        let (thread_id, turn_id) = (self.stamp.path.clone(), steer.turn_id.clone());
        let source_message_id = message.message_id.clone();
        let refused = match self.running.as_mut().filter(|running| running.turn_id == steer.turn_id) {
            None => ("the turn is not running; start a new one", "turn_not_in_progress"),
            Some(r) if !r.may_steer(participant) => (
                "the turn uses tools of the one who started it; only they may add to it",
                "turn_owned_by_participant",
            ),
            Some(r) if r.steers_waiting() >= STEERS_WAITING_MAX => {
                ("too much waits to be heard by this turn; wait for it", "turn_busy")
            }
            Some(running) => {
                out.push(Effect::Store(message.clone()));
                let accepted = SteerAccepted { thread_id, turn_id, source_message_id, content: Vec::new() };
                out.push(Effect::Emit(self.stamp.message(Body::SteerAccepted(accepted))));
                running.steer(message.message_id.clone(), &steer.content, out);
                return;
            }
        };
        let error = Failed { message: refused.0.to_owned(), code: Some(refused.1.to_owned()) };
        let rejected = SteerRejected { thread_id, turn_id, source_message_id, error };
        out.push(Effect::Emit(self.stamp.message(Body::SteerRejected(rejected))));
    }

    /// An interrupt of any other turn than the running one is ignored.
    fn interrupt(&mut self, message_id: String, turn_id: &str, out: &mut Vec<Effect>) {
        let Some(running) = self.running.as_mut().filter(|running| running.turn_id == turn_id) else {
            return;
        };
        let source = |source_message_id: String| OfTurnSource {
            thread_id: self.stamp.path.clone(),
            turn_id: turn_id.to_owned(),
            source_message_id,
        };
        out.push(Effect::Emit(self.stamp.message(Body::InterruptAccepted(source(message_id.clone())))));
        out.push(Effect::Cancel);
        running.interrupt(Body::Interrupted(source(message_id)), &self.stamp, out);
    }

    /// Stops what runs, as `interrupted` says.
    pub(super) fn interrupt_running(&mut self, interrupted: Body, out: &mut Vec<Effect>) {
        if let Some(running) = &mut self.running {
            running.interrupt(interrupted, &self.stamp, out);
        }
    }

    fn cancel_turn(&mut self, turn_id: &str, out: &mut Vec<Effect>) {
        if let Some(running) = self.running.as_mut().filter(|running| running.turn_id == turn_id) {
            out.push(Effect::Cancel);
            running.cancel(&self.stamp, out);
            return;
        }
        let Some(at) = self.waiting.iter().position(|waiting| waiting.turn_id == turn_id) else { return };
        self.waiting.remove(at);
        let failure = turn::cancelled();
        let error = Failed { message: failure.message.clone(), code: Some(failure.code.to_owned()) };
        self.leave_line(turn_id.to_owned(), error, Outcome::Failed(failure), out);
    }
}

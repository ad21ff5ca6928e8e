//! One turn: the model is asked, the tools it calls are run, until it has said all. Pure: events in, effects out.
//!
//! ```text
//! start → AskModel → Answered ─ no calls ──────────────→ Finish(Done)
//!             ↑          └ calls → RunTool… → ToolFinished (all) ┐
//!             └──────────────────────────────────────────────────┘
//! Failed, Cancelled, or a bound reached → Finish(Failed | Cancelled)
//! Answered with a pause → AskModel, so that the provider goes on where it was
//! ```
//! What is said meanwhile ([`Turn::steer`]) waits for the next boundary: a tool's end, the end of an answer, an interruption.

use super::history::{self, Item, Part, ToolCall};
use std::collections::VecDeque;

/// Pauses that a provider may make in one turn.
pub const PAUSES_MAX: usize = 5;

/// Bounds of one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Times the model may be asked.
    pub model_calls_max: usize,
    /// Tool calls in one answer of the model; those beyond it are refused.
    pub tool_calls_max: usize,
    /// Tool calls that run at once. 1 keeps the order the model wrote them in.
    pub tools_at_once: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { model_calls_max: 64, tool_calls_max: 64, tools_at_once: 1 }
    }
}

/// What the model said to one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// In the order it said them.
    pub items: Vec<Item>,
    pub usage: Usage,
    /// Cut short: the turn ends with what there is.
    pub incomplete: bool,
    /// The provider works on it still, and goes on when it is asked again with what it said so far.
    pub paused: bool,
    /// Whether the provider told the items as they came; else the runtime does.
    pub said: bool,
}

/// Tokens counted by the provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input_tokens: u64,
    pub output_tokens: u64,
}

/// Something that happened to the turn.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Answered(Response),
    ToolFinished {
        call_id: String,
        text: String,
        files: Vec<Part>,
    },
    Failed(Failure),
    /// Somebody stopped it; the items are what the model had said of its answer.
    Interrupted(Vec<Item>),
    Cancelled,
}

/// [`Failure::code`] where a model did not answer.
pub const MODEL_ERROR: &str = "model_error";

/// Why a turn failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub message: String,
    /// A stable word, for example `model_error` or `cancelled`.
    pub code: &'static str,
}

/// Something to do for the turn.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Ask the model, with the thread and [`Turn::items`].
    AskModel,
    RunTool(ToolCall),
    /// What was said meanwhile, by message id, is part of the turn from here on.
    Steered(Vec<String>),
    /// A call that was not run, or not to its end; its output says so.
    Dropped(ToolCall),
    Finish(Outcome),
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All text the model completed, joined by blank lines.
    Done {
        text: String,
        usage: Usage,
    },
    Failed(Failure),
}

impl Outcome {
    /// Of a turn that was done by an earlier attempt, which said this.
    #[must_use]
    pub fn before(text: String) -> Self {
        Self::Done { text, usage: Usage::default() }
    }
}

/// A turn under way.
#[derive(Debug)]
pub struct Turn {
    limits: Limits,
    items: Vec<Item>,
    texts: Vec<String>,
    usage: Usage,
    model_calls: usize,
    pauses: usize,
    waiting: VecDeque<ToolCall>,
    /// Calls running now.
    running: Vec<ToolCall>,
    /// Said meanwhile, by message id.
    steers: VecDeque<(String, Item)>,
    finished: bool,
}

impl Turn {
    /// Begins with what was said to the agent.
    #[must_use]
    pub fn start(limits: Limits, input: Item) -> (Self, Vec<Effect>) {
        let turn = Self {
            limits,
            items: vec![input],
            texts: Vec::new(),
            usage: Usage::default(),
            model_calls: 1,
            pauses: 0,
            waiting: VecDeque::new(),
            running: Vec::new(),
            steers: VecDeque::new(),
            finished: false,
        };
        (turn, vec![Effect::AskModel])
    }

    /// What this turn adds to its thread: the input, answers, calls and outputs, in order.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The items of a turn that is done; what was said aloud in it is text from now on.
    #[must_use]
    pub fn into_items(mut self) -> Vec<Item> {
        self.items.iter_mut().for_each(Item::settle);
        self.items
    }

    /// What was said aloud is written down; `false` where nothing was, or where it is known already.
    pub fn heard(&mut self, written: &str) -> bool {
        let parts = self.items.iter_mut().filter_map(|item| match item {
            Item::User(parts) => Some(parts),
            _ => None,
        });
        let unwritten = parts.flatten().find_map(|part| match part {
            Part::Sound { text: text @ None, .. } => Some(text),
            _ => None,
        });
        unwritten.map(|text| *text = Some(written.to_owned())).is_some()
    }

    /// Says more to the turn, to be heard at the next boundary; `message_id` tells it from what else is said.
    pub fn steer(&mut self, message_id: String, item: Item) {
        self.steers.push_back((message_id, item));
    }

    /// A call that runs now.
    #[must_use]
    pub fn running_call(&self, call_id: &str) -> Option<&ToolCall> {
        self.running.iter().find(|call| call.id == call_id)
    }

    /// What the providers counted so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Takes an event. Nothing follows once the turn has finished.
    pub fn on(&mut self, event: Event) -> Vec<Effect> {
        if self.finished {
            return Vec::new();
        }
        match event {
            Event::Answered(response) => self.answered(response),
            Event::ToolFinished { call_id, text, files } => self.tool_finished(&call_id, text, files),
            Event::Failed(failure) => self.fail(failure),
            Event::Interrupted(partial) => self.interrupted(partial),
            Event::Cancelled => self.fail(cancelled()),
        }
    }

    fn interrupted(&mut self, partial: Vec<Item>) -> Vec<Effect> {
        for item in partial {
            self.note_text(&item);
            self.items.push(item);
        }
        if self.steers.is_empty() { self.fail(cancelled()) } else { self.take_steers() }
    }

    /// Goes on with what was said meanwhile: the calls of the last answer that are not done stay undone.
    fn take_steers(&mut self) -> Vec<Effect> {
        let mut effects = self.drop_calls("not done: something new was said first");
        let (ids, items): (Vec<_>, Vec<_>) = self.steers.drain(..).unzip();
        effects.push(Effect::Steered(ids));
        self.items.extend(items);
        effects.extend(self.ask_again());
        effects
    }

    /// Every call gets an output, whatever became of it.
    fn drop_calls(&mut self, why: &str) -> Vec<Effect> {
        let calls: Vec<_> = self.running.drain(..).chain(self.waiting.drain(..)).collect();
        self.items.extend(calls.iter().map(|call| Item::output(&call.id, format!("error: {why}"))));
        calls.into_iter().map(Effect::Dropped).collect()
    }

    fn note_text(&mut self, item: &Item) -> bool {
        let Item::Answer { text, phase } = item else { return false };
        if !text.trim().is_empty() {
            self.texts.push(text.trim().to_owned());
        }
        phase.as_deref() == Some("commentary")
    }

    fn answered(&mut self, response: Response) -> Vec<Effect> {
        self.usage.input_tokens += response.usage.input_tokens;
        self.usage.output_tokens += response.usage.output_tokens;
        let mut commentary_only = false;
        let begin = self.items.len();
        for item in response.items {
            match &item {
                Item::Answer { .. } => commentary_only = self.note_text(&item),
                Item::Call(call) if !response.incomplete => self.waiting.push_back(call.clone()),
                Item::Call(_) => continue,
                _ => {}
            }
            self.items.push(item);
        }
        // What a provider paused at is what it goes on from; once something else was said it led to nothing.
        let goes_on = response.paused && self.steers.is_empty();
        if !goes_on {
            history::drop_stray(&mut self.items, begin);
        }
        if !self.steers.is_empty() {
            return self.take_steers();
        }
        if response.incomplete {
            return self.finish();
        }
        self.refuse_excess();
        if !self.waiting.is_empty() {
            return self.run_tools();
        }
        if goes_on {
            return self.go_on();
        }
        if commentary_only || self.ends_in_output() { self.ask_again() } else { self.finish() }
    }

    /// Calls beyond the bound get an error at once, so that the model learns of it.
    fn refuse_excess(&mut self) {
        for call in self.waiting.split_off(self.waiting.len().min(self.limits.tool_calls_max)) {
            let text = format!(
                "error: more than {} tool calls in one answer; make fewer at a time",
                self.limits.tool_calls_max
            );
            self.items.push(Item::output(call.id, text));
        }
    }

    fn ends_in_output(&self) -> bool {
        matches!(self.items.last(), Some(Item::Output { .. }))
    }

    fn run_tools(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        while self.running.len() < self.limits.tools_at_once.max(1) {
            let Some(call) = self.waiting.pop_front() else { break };
            self.running.push(call.clone());
            effects.push(Effect::RunTool(call));
        }
        effects
    }

    fn tool_finished(&mut self, call_id: &str, text: String, files: Vec<Part>) -> Vec<Effect> {
        let Some(at) = self.running.iter().position(|call| call.id == call_id) else { return Vec::new() };
        self.running.swap_remove(at);
        self.items.push(Item::Output { call_id: call_id.to_owned(), text, files });
        if self.running.is_empty() && !self.steers.is_empty() {
            return self.take_steers();
        }
        let effects = self.run_tools();
        if effects.is_empty() && self.running.is_empty() { self.ask_again() } else { effects }
    }

    fn go_on(&mut self) -> Vec<Effect> {
        self.pauses += 1;
        if self.pauses > PAUSES_MAX {
            let message =
                format!("the model paused more than {PAUSES_MAX} times in one turn; ask for less at once");
            return self.fail(Failure { message, code: "too_many_pauses" });
        }
        self.ask_again()
    }

    fn ask_again(&mut self) -> Vec<Effect> {
        if self.model_calls >= self.limits.model_calls_max {
            return self.fail(Failure {
                message: format!(
                    "the turn was not done after {} requests to the model; ask for less at once",
                    self.limits.model_calls_max
                ),
                code: "too_many_model_calls",
            });
        }
        self.model_calls += 1;
        vec![Effect::AskModel]
    }

    fn fail(&mut self, failure: Failure) -> Vec<Effect> {
        self.finished = true;
        if failure.code == MODEL_ERROR && self.items.iter().all(|item| matches!(item, Item::User(_))) {
            // The model took nothing of it, and would not take it as the past of the next turn either.
            self.items.clear();
        }
        let mut effects = self.drop_calls(&failure.message);
        effects.push(Effect::Finish(Outcome::Failed(failure)));
        effects
    }

    fn finish(&mut self) -> Vec<Effect> {
        self.finished = true;
        vec![Effect::Finish(Outcome::Done { text: self.texts.join("\n\n"), usage: self.usage })]
    }
}

/// What became of a turn that was stopped.
pub(super) fn cancelled() -> Failure {
    Failure { message: "turn cancelled".into(), code: "cancelled" }
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;

//! The turn that runs: the loop of model and tools ([`turn`]), and what clients answer to it. What the model says is
//! told by [`super::telling`].

use super::machine::{By, Effect, Input, Prepared};
use super::messages::{Called, Shared, Stamp};
use super::status;
use super::telling::Telling;
use crate::agent::history::{Item, Part, ToolCall};
use crate::agent::message::{
    Body, ContextWindow, Failed, InputContent, OfTurnSource, SteerRejected, TurnEnded, UsageUpdated,
};
use crate::agent::model::ModelId;
use crate::agent::provider::Said;
use crate::agent::tools::{ToolOutput, ToolResult, ToolSpec, computer_asks, failed_text};
use crate::agent::turn::{self, Event, Failure, Limits, Outcome, Response, Turn};
use crate::agent::voice::{Speaker, Speech};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// The toolkit under which a client's own tools are known.
pub const CLIENT: &str = "client";

pub(super) struct Running {
    pub turn_id: String,
    source: String,
    pub(super) by: By,
    turn: Option<Turn>,
    tools: Arc<Vec<ToolSpec>>,
    context_window: Option<u64>,
    /// Source message ids of what was said meanwhile and is not heard yet, in order.
    sources: VecDeque<String>,
    /// What of it came before the turn was prepared.
    early: Vec<(String, Item)>,
    pub(super) telling: Telling,
    /// What was said aloud, until the turn is prepared.
    sound: Option<Bytes>,
    /// Calls of a program behind a backend that wait for somebody, by item id.
    pub(super) asked: BTreeSet<String>,
    /// Calls that run or wait for somebody, by item id.
    approvals: BTreeMap<String, ToolCall>,
    client_calls: BTreeMap<String, ToolCall>,
    done: bool,
    succeeded: bool,
}

impl Running {
    pub fn new(turn_id: String, source: String, model: ModelId, by: By, stamp: &Stamp) -> Self {
        let shared = Shared { path: stamp.path.clone(), turn_id: turn_id.clone(), model };
        let person = by.name.clone();
        Self {
            turn_id,
            source,
            by,
            turn: None,
            tools: Arc::default(),
            context_window: None,
            sources: VecDeque::new(),
            early: Vec::new(),
            telling: Telling::new(shared, person),
            sound: None,
            asked: BTreeSet::new(),
            approvals: BTreeMap::new(),
            client_calls: BTreeMap::new(),
            done: false,
            succeeded: false,
        }
    }

    /// It begins with something that was said aloud.
    pub fn hear(&mut self, sound: Option<Bytes>) {
        self.sound = sound;
    }

    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Whether it ended without an error.
    pub fn succeeded(&self) -> bool {
        self.succeeded
    }

    /// What of it is part of the thread.
    pub fn items(&self) -> &[Item] {
        self.turn.as_ref().map(Turn::items).unwrap_or_default()
    }

    pub fn into_items(self) -> Vec<Item> {
        self.turn.map(Turn::into_items).unwrap_or_default()
    }

    pub fn may_steer(&self, participant: Option<&str>) -> bool {
        let owned = self.tools.iter().any(|tool| tool.toolkit == CLIENT);
        !owned || participant == self.by.participant.as_deref()
    }

    pub fn steers_waiting(&self) -> usize {
        self.sources.len()
    }

    /// Says that the turn runs.
    pub fn announce(&mut self, stamp: &Stamp, out: &mut Vec<Effect>) {
        self.telling.status(status::THINKING, None, stamp, out);
        let started = OfTurnSource {
            thread_id: stamp.path.clone(),
            turn_id: self.turn_id.clone(),
            source_message_id: self.source.clone(),
        };
        out.push(Effect::Emit(stamp.message(Body::TurnStarted(started))));
    }

    /// Takes more that is said to the turn; files of the room are fetched first.
    pub fn steer(&mut self, message_id: String, content: &[InputContent], out: &mut Vec<Effect>) {
        self.sources.push_back(message_id.clone());
        out.push(Effect::Load { message_id, content: content.to_vec() });
    }

    fn loaded(&mut self, message_id: &str, item: Item) {
        if !self.sources.iter().any(|source| source == message_id) {
            return;
        }
        match &mut self.turn {
            Some(turn) => turn.steer(message_id.to_owned(), item),
            None => self.early.push((message_id.to_owned(), item)),
        }
    }

    pub fn interrupt(&mut self, interrupted: Body, stamp: &Stamp, out: &mut Vec<Effect>) {
        let partial = self.telling.cut_short(stamp, out);
        self.withdraw("turn_interrupted", stamp, out);
        out.push(Effect::Emit(stamp.message(interrupted)));
        match &mut self.turn {
            Some(turn) => {
                let effects = turn.on(Event::Interrupted(partial));
                self.act(effects, stamp, out);
            }
            None => self.cancel(stamp, out),
        }
    }

    pub fn cancel(&mut self, stamp: &Stamp, out: &mut Vec<Effect>) {
        self.telling.cut_short(stamp, out);
        let effects = match &mut self.turn {
            Some(turn) => turn.on(Event::Cancelled),
            None => vec![turn::Effect::Finish(Outcome::Failed(turn::cancelled()))],
        };
        self.act(effects, stamp, out);
    }

    /// Takes what happened to this turn.
    pub fn on(&mut self, input: Input, stamp: &Stamp, limits: Limits, out: &mut Vec<Effect>) {
        match input {
            Input::Prepared { turn_id, result } if turn_id == self.turn_id && self.turn.is_none() => {
                self.prepared(result, stamp, limits, out);
            }
            Input::Loaded { message_id, item } => self.loaded(&message_id, item),
            Input::Said(Said::Asked(call)) => self.asked(call, stamp, out),
            Input::Said(Said::Speech(speech)) => self.speech(speech, stamp, out),
            Input::Said(said) => self.telling.said(said, stamp, out),
            Input::Answered(Ok(response)) => self.answered(response, stamp, out),
            Input::Answered(Err(failure)) => {
                self.telling.cut_short(stamp, out);
                self.event(Event::Failed(failure), stamp, out);
            }
            Input::ToolLog { item_id, lines } => self.telling.log(&item_id, lines, stamp, out),
            Input::ToolFinished { call_id, result } => self.finished(call_id, result, stamp, out),
            // Others may look on; the turn acts for the one who started it.
            Input::Judged { by, turn_id, item_id, approved }
                if turn_id == self.turn_id && by.is(&self.by) =>
            {
                self.permit(&item_id, approved, stamp, out);
                self.judged(&item_id, approved.then_some(()).ok_or("the call was not approved"), stamp, out);
            }
            Input::ApprovalTimedOut(item_id) => {
                self.permit(&item_id, false, stamp, out);
                self.judged(&item_id, Err("nobody approved the call in time"), stamp, out);
            }
            Input::ClientAnswered { turn_id, request_id, participant, response }
                if turn_id == self.turn_id && Some(&participant) == self.by.participant.as_ref() =>
            {
                self.client_answered(&request_id, &response, stamp, out);
            }
            Input::ClientTimedOut { request_id } => self.client_failed(&request_id, "timeout", stamp, out),
            Input::ParticipantGone(id) if Some(&id) == self.by.participant.as_ref() => {
                for request in self.client_calls.keys().cloned().collect::<Vec<_>>() {
                    self.client_failed(&request, "participant_disconnected", stamp, out);
                }
            }
            _ => {}
        }
    }

    /// What somebody said aloud is told once, however often it was written down.
    fn speech(&mut self, speech: Speech, stamp: &Stamp, out: &mut Vec<Effect>) {
        if let (Speech::WrittenEnded { by: Speaker::User, text: Some(text), .. }, Some(turn)) =
            (&speech, &mut self.turn)
            && !turn.heard(text)
        {
            return;
        }
        self.telling.speech(speech, stamp, out);
    }

    fn event(&mut self, event: Event, stamp: &Stamp, out: &mut Vec<Effect>) {
        if let Some(turn) = &mut self.turn {
            let effects = turn.on(event);
            self.act(effects, stamp, out);
        }
    }

    fn prepared(
        &mut self,
        result: Result<Prepared, Failure>,
        stamp: &Stamp,
        limits: Limits,
        out: &mut Vec<Effect>,
    ) {
        let prepared = match result {
            Ok(prepared) => prepared,
            Err(failure) => {
                self.act(vec![turn::Effect::Finish(Outcome::Failed(failure))], stamp, out);
                return;
            }
        };
        self.tools = prepared.tools;
        self.context_window = prepared.context_window;
        let mut input = prepared.input.unwrap_or(Item::User(Vec::new()));
        if let (Some(data), Item::User(parts)) = (self.sound.take(), &mut input) {
            parts.push(Part::Sound { data, text: None });
        }
        let (mut turn, effects) = Turn::start(limits, input);
        self.early.drain(..).for_each(|(id, item)| turn.steer(id, item));
        self.turn = Some(turn);
        self.act(effects, stamp, out);
    }

    fn answered(&mut self, mut response: Response, stamp: &Stamp, out: &mut Vec<Effect>) {
        for item in &mut response.items {
            if let Item::Call(call) = item {
                if call.item_id.is_empty() {
                    call.item_id = stamp.fresh();
                }
                let named = self.tools.iter().find(|spec| {
                    spec.tool == call.tool && (call.toolkit.is_empty() || spec.toolkit == call.toolkit)
                });
                if let Some(spec) = named {
                    call.toolkit.clone_from(&spec.toolkit);
                }
            }
        }
        self.telling.answered(&response, stamp, out);
        let used = response.usage.input_tokens + response.usage.output_tokens;
        self.event(Event::Answered(response), stamp, out);
        self.usage(used, stamp, out);
    }

    /// Told after the effects of an answer were worked out and before they are acted on by anybody.
    fn usage(&self, used_tokens: u64, stamp: &Stamp, out: &mut Vec<Effect>) {
        let Some(turn) = &self.turn else { return };
        let (total, model) = (turn.usage(), &self.telling.shared.model.name);
        let mut usage = Map::new();
        usage.insert(format!("{model}.input_tokens"), json!(total.input_tokens));
        usage.insert(format!("{model}.output_tokens"), json!(total.output_tokens));
        let updated = UsageUpdated {
            thread_id: stamp.path.clone(),
            turn_id: Some(self.turn_id.clone()),
            usage,
            context_window: ContextWindow {
                used_tokens,
                total_tokens: self.context_window,
                ..ContextWindow::default()
            },
        };
        let message = Effect::Emit(stamp.message(Body::Usage(updated)));
        let ended = |effect: &Effect| matches!(effect, Effect::Emit(message) if matches!(message.body, Body::TurnEnded(_)));
        let at = out.iter().position(ended).unwrap_or(out.len());
        out.insert(at, message);
    }

    fn act(&mut self, effects: Vec<turn::Effect>, stamp: &Stamp, out: &mut Vec<Effect>) {
        for effect in effects {
            match effect {
                turn::Effect::AskModel => {
                    self.telling.status(status::THINKING, None, stamp, out);
                    let items = self.turn.as_ref().map(|turn| turn.items().to_vec()).unwrap_or_default();
                    out.push(Effect::Ask { model: self.telling.shared.model.clone(), items });
                }
                turn::Effect::RunTool(call) => self.call(call, stamp, out),
                turn::Effect::Steered(ids) => {
                    self.sources.retain(|source| !ids.contains(source));
                    for source_message_id in ids {
                        let (thread_id, turn_id) = (stamp.path.clone(), self.turn_id.clone());
                        let steered = OfTurnSource { thread_id, turn_id, source_message_id };
                        out.push(Effect::Emit(stamp.message(Body::Steered(steered))));
                    }
                }
                turn::Effect::Dropped(call) => {
                    let error =
                        Failed { message: "Tool call was cancelled".into(), code: Some("cancelled".into()) };
                    self.telling.ended(&call, None, Some(error), stamp, out);
                }
                turn::Effect::Finish(outcome) => self.finish(outcome, stamp, out),
            }
        }
    }

    /// Runs a call, or asks those who must be asked first.
    fn call(&mut self, call: ToolCall, stamp: &Stamp, out: &mut Vec<Effect>) {
        let spec = self.tools.iter().find(|spec| spec.tool == call.tool && spec.toolkit == call.toolkit);
        let approval = spec.is_some_and(|spec| spec.approval) || computer_asks(&call);
        if call.toolkit == CLIENT && spec.is_some() {
            self.telling.started(&call, stamp, out);
            self.ask_client(call, stamp, out);
        } else if approval && self.by.unattended {
            let refused = "nobody is there to approve this call".to_owned();
            self.telling.started(&call, stamp, out);
            self.finished(call.id, Ok(ToolResult::Failed(refused)), stamp, out);
        } else if approval {
            let called = self.telling.called(&call);
            let stage = self.telling.shared.stage(&called);
            out.push(Effect::Emit(stamp.message(Body::ApprovalRequested(stage))));
            self.telling.status(status::WAITING, Some(&call.item_id), stamp, out);
            out.push(Effect::WaitApproval(call.item_id.clone()));
            self.approvals.insert(call.item_id.clone(), call);
        } else {
            self.telling.started(&call, stamp, out);
            out.push(Effect::Run { call });
        }
    }

    /// Runs a call that waits, or says why not.
    fn judged(&mut self, item_id: &str, judged: Result<(), &str>, stamp: &Stamp, out: &mut Vec<Effect>) {
        let Some(call) = self.approvals.remove(item_id) else { return };
        self.telling.started(&call, stamp, out);
        match judged {
            Ok(()) => out.push(Effect::Run { call }),
            Err(why) => self.finished(call.id, Ok(ToolResult::Failed(why.to_owned())), stamp, out),
        }
    }

    fn ask_client(&mut self, call: ToolCall, stamp: &Stamp, out: &mut Vec<Effect>) {
        let Some(to) = self.by.participant.clone() else {
            self.finished(call.id, Ok(ToolResult::Failed("the client is not here".into())), stamp, out);
            return;
        };
        let request = self.telling.shared.client_call(&self.telling.called(&call), Some(&to), None);
        out.push(Effect::Tell { to, message: stamp.message(Body::ClientToolRequested(request)) });
        out.push(Effect::Wait { request_id: call.item_id.clone() });
        self.client_calls.insert(call.item_id.clone(), call);
    }

    fn client_answered(&mut self, request_id: &str, response: &Value, stamp: &Stamp, out: &mut Vec<Effect>) {
        let Some(call) = self.client_calls.remove(request_id) else { return };
        let text = |key: &str| response.get(key).and_then(Value::as_str).map(str::to_owned);
        let result = match text("type").as_deref() {
            Some("text") => ToolResult::Done(text("text").unwrap_or_default().into()),
            Some("empty") => ToolResult::Done("ok".into()),
            Some("error") => ToolResult::Failed(text("text").unwrap_or_else(|| "the tool failed".into())),
            Some("json") => ToolResult::Done(response.get("json").unwrap_or(&Value::Null).to_string().into()),
            _ => ToolResult::Done(response.to_string().into()),
        };
        self.finished(call.id, Ok(result), stamp, out);
    }

    fn client_failed(&mut self, request_id: &str, reason: &str, stamp: &Stamp, out: &mut Vec<Effect>) {
        let Some(call) = self.client_calls.remove(request_id) else { return };
        self.tell_withdrawn(&call, reason, stamp, out);
        self.finished(call.id, Ok(ToolResult::Failed(format!("cancelled: {reason}"))), stamp, out);
    }

    fn tell_withdrawn(&self, call: &ToolCall, reason: &str, stamp: &Stamp, out: &mut Vec<Effect>) {
        if let Some(to) = self.by.participant.clone() {
            let withdrawn =
                self.telling.shared.client_call(&self.telling.called(call), Some(&to), Some(reason));
            out.push(Effect::Tell { to, message: stamp.message(Body::ClientToolCancelled(withdrawn)) });
        }
    }

    /// Nobody needs to answer any more.
    fn withdraw(&mut self, reason: &str, stamp: &Stamp, out: &mut Vec<Effect>) {
        self.approvals.clear();
        self.asked.clear();
        for call in std::mem::take(&mut self.client_calls).into_values() {
            self.tell_withdrawn(&call, reason, stamp, out);
        }
    }

    fn finished(
        &mut self,
        call_id: String,
        result: Result<ToolResult, Failure>,
        stamp: &Stamp,
        out: &mut Vec<Effect>,
    ) {
        let Some(call) = self.turn.as_ref().and_then(|turn| turn.running_call(&call_id)).cloned() else {
            return;
        };
        let (text, files): (String, Vec<Part>) = match result {
            Ok(ToolResult::Done(ToolOutput { text, files })) => {
                self.telling.ended(&call, Some(json!({"type": "text", "text": text})), None, stamp, out);
                (text, files)
            }
            Ok(ToolResult::Failed(message)) => {
                let error = Failed { message: message.clone(), code: Some("tool_error".into()) };
                self.telling.ended(&call, None, Some(error), stamp, out);
                (failed_text(&message), Vec::new())
            }
            Err(failure) => return self.event(Event::Failed(failure), stamp, out),
        };
        self.event(Event::ToolFinished { call_id, text, files }, stamp, out);
    }

    fn finish(&mut self, outcome: Outcome, stamp: &Stamp, out: &mut Vec<Effect>) {
        self.telling.cut_short(stamp, out);
        self.withdraw("turn_ended", stamp, out);
        for source_message_id in std::mem::take(&mut self.sources) {
            let error = Failed { message: "the turn ended first".into(), code: Some("turn_ended".into()) };
            let (thread_id, turn_id) = (stamp.path.clone(), self.turn_id.clone());
            let rejected = SteerRejected { thread_id, turn_id, source_message_id, error };
            out.push(Effect::Emit(stamp.message(Body::SteerRejected(rejected))));
        }
        let error = match &outcome {
            Outcome::Done { .. } => None,
            Outcome::Failed(failure) => {
                Some(Failed { message: failure.message.clone(), code: Some(failure.code.to_owned()) })
            }
        };
        let succeeded = error.is_none();
        let ended = TurnEnded { thread_id: stamp.path.clone(), turn_id: self.turn_id.clone(), error };
        out.push(Effect::Emit(stamp.message(Body::TurnEnded(ended))));
        self.telling.idle(stamp, out);
        out.push(Effect::Done { turn_id: self.turn_id.clone(), outcome });
        (self.done, self.succeeded) = (true, succeeded);
    }
}

/// What a call says, as messages name it.
pub(super) fn as_called(call: &ToolCall) -> Called {
    let arguments = match call.arguments.trim() {
        "" => Some(Map::new()),
        text => serde_json::from_str(text).ok(),
    };
    Called {
        namespace: "meshagent",
        item_id: call.item_id.clone(),
        call_id: Some(call.id.clone()),
        toolkit: call.toolkit.clone(),
        tool: call.tool.clone(),
        arguments,
    }
}

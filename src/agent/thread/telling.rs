//! Tells clients what the model and the tools of a running turn do.

use super::machine::Effect;
use super::messages::{Called, Shared, Stamp};
use super::running::as_called;
use super::speaking::{Speaking, To};
use super::status;
use crate::agent::history::{Item, ToolCall};
use crate::agent::message::{Body, DISCARDED, Failed, LogLine, Message, Status, ThreadEvent};
use crate::agent::provider::Said;
use crate::agent::turn::Response;
use crate::agent::voice::Speech;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Arguments of at least this size are counted in the status.
const COUNTED_BYTES_MIN: u64 = 100;
/// The count is told again after so many more bytes.
const COUNTED_EVERY: u64 = 2048;

/// A text or reasoning that is coming in.
struct Open {
    reasoning: bool,
    phase: Option<String>,
    text: String,
}

/// An item of an answer that clients have seen whole.
enum Told {
    Text,
    Reasoning,
    Call(Called),
}

pub(super) struct Telling {
    pub shared: Shared,
    open: BTreeMap<String, Open>,
    /// What of the present answer was told and ended, by item id.
    ended: BTreeMap<String, Told>,
    /// Calls that the model writes or a tool works on, with the bytes of arguments so far, by item id.
    calls: BTreeMap<String, (Called, u64)>,
    /// Status text and the item it speaks of, and since when.
    shown: Option<(String, Option<String>, String)>,
    /// Stands for the item that a provider gave no name.
    nameless: Option<String>,
    /// Texts of the present answer that have ended.
    whole: Vec<Item>,
    speaking: Speaking,
    /// Who began the turn.
    person: Option<String>,
}

impl Telling {
    pub fn new(shared: Shared, person: Option<String>) -> Self {
        Self {
            whole: Vec::new(),
            speaking: Speaking::default(),
            person,
            shared,
            open: BTreeMap::new(),
            ended: BTreeMap::new(),
            calls: BTreeMap::new(),
            shown: None,
            nameless: None,
        }
    }

    pub fn called(&self, call: &ToolCall) -> Called {
        as_called(call)
    }

    /// Shows a status unless it is the present one.
    pub fn status(&mut self, text: &str, item: Option<&str>, stamp: &Stamp, out: &mut Vec<Effect>) {
        if self.shown.as_ref().is_some_and(|(shown, of, _)| shown == text && of.as_deref() == item) {
            return;
        }
        let now = stamp.now();
        let status = self.shared.status(text, "steerable", &now, item);
        self.shown = Some((text.to_owned(), item.map(str::to_owned), now));
        out.push(Effect::Show(stamp.message(Body::ThreadStatus(status))));
    }

    /// Shows that nothing runs any more.
    pub fn idle(&mut self, stamp: &Stamp, out: &mut Vec<Effect>) {
        self.shown = None;
        let status = Status { thread_id: stamp.path.clone(), ..Status::default() };
        out.push(Effect::Show(stamp.message(Body::ThreadStatus(status))));
    }

    pub fn said(&mut self, said: Said, stamp: &Stamp, out: &mut Vec<Effect>) {
        match said {
            Said::Text { item_id, phase, delta } => {
                let item_id = self.named(item_id, stamp);
                self.more(&item_id, false, phase, delta, stamp, out);
            }
            Said::TextEnded { item_id, phase } => {
                let item_id = self.named(item_id, stamp);
                self.nameless = None;
                let text = self.close(&item_id, phase, Map::new(), stamp, out);
                self.whole.extend(text);
            }
            Said::Reasoning { item_id, delta } => self.more(&item_id, true, None, delta, stamp, out),
            Said::ReasoningEnded { item_id, metadata } => {
                if !self.open.contains_key(&item_id) {
                    if metadata.is_empty() {
                        return;
                    }
                    self.begin(&item_id, true, None, stamp, out);
                }
                self.close(&item_id, None, metadata, stamp, out);
            }
            Said::CallPending { item_id, call_id, toolkit, tool } => {
                let called = Called {
                    namespace: "meshagent",
                    item_id,
                    call_id: Some(call_id),
                    toolkit,
                    tool,
                    arguments: None,
                };
                self.pending(called, stamp, out);
            }
            Said::CallArguments { item_id, delta } => self.arguments(&item_id, delta, stamp, out),
            Said::ProviderTool { namespace, item_id, toolkit, tool, arguments, ended } => {
                let called =
                    Called { namespace, call_id: None, item_id: item_id.clone(), toolkit, tool, arguments };
                if ended {
                    self.calls.remove(&item_id);
                    let body = Body::ToolEnded(self.shared.ended(&called, None, None));
                    out.push(Effect::Emit(stamp.message(body)));
                    self.ended.insert(item_id, Told::Call(called));
                } else {
                    let text = status::calling(&called.toolkit, &called.tool, called.arguments.as_ref());
                    self.status(&text, Some(&item_id), stamp, out);
                    out.push(Effect::Emit(stamp.message(Body::ToolStarted(self.shared.stage(&called)))));
                    self.calls.insert(item_id, (called, 0));
                }
            }
            said @ (Said::ForeignPending(_)
            | Said::ForeignStarted(_)
            | Said::ForeignLog { .. }
            | Said::ForeignEnded { .. }
            | Said::Asked(_)) => self.foreign(said, stamp, out),
            Said::Restart => self.restart(stamp, out),
            Said::Speech(speech) => self.speech(speech, stamp, out),
            Said::Notice(event) => {
                let thread_id = stamp.path.clone();
                let (provider, model) =
                    (Some(self.shared.model.provider.clone()), Some(self.shared.model.name.clone()));
                let event = ThreadEvent { thread_id, provider, model, event };
                out.push(Effect::Emit(stamp.message(Body::ThreadEvent(event))));
            }
        }
    }

    pub fn speech(&mut self, speech: Speech, stamp: &Stamp, out: &mut Vec<Effect>) {
        if let Speech::Audio { item_id, .. } = &speech {
            self.status(status::SPEAKING, Some(item_id), stamp, out);
        }
        let mut to = To { shared: &self.shared, person: self.person.as_deref(), stamp, out };
        self.whole.extend(self.speaking.said(speech, &mut to));
    }

    /// All that was told of the present answer is void.
    fn restart(&mut self, stamp: &Stamp, out: &mut Vec<Effect>) {
        self.nameless = None;
        self.whole.clear();
        let told = |open: Open| if open.reasoning { Told::Reasoning } else { Told::Text };
        let mut void = std::mem::take(&mut self.ended);
        void.extend(std::mem::take(&mut self.open).into_iter().map(|(item, open)| (item, told(open))));
        let calls = std::mem::take(&mut self.calls).into_iter();
        void.extend(calls.map(|(item, (called, _))| (item, Told::Call(called))));
        for (item_id, told) in void {
            let body = match told {
                Told::Text => Body::TextEnded(self.shared.edge(&item_id, None)),
                Told::Reasoning => Body::ReasoningEnded(self.shared.edge(&item_id, None)),
                Told::Call(called) => {
                    let message = "the answer broke off and begins anew".to_owned();
                    let error = Failed { message, code: Some("incomplete".to_owned()) };
                    Body::ToolEnded(self.shared.ended(&called, None, Some(error)))
                }
            };
            let metadata = Map::from_iter([(DISCARDED.to_owned(), json!(true))]);
            out.push(Effect::Emit(Message { metadata, ..stamp.message(body) }));
        }
        self.status(status::THINKING, None, stamp, out);
    }

    fn begin(
        &mut self,
        item_id: &str,
        reasoning: bool,
        phase: Option<String>,
        stamp: &Stamp,
        out: &mut Vec<Effect>,
    ) {
        let edge = self.shared.edge(item_id, phase.as_deref());
        let body = if reasoning { Body::ReasoningStarted(edge) } else { Body::TextStarted(edge) };
        let text = if reasoning { status::THINKING } else { status::text(phase.as_deref()) };
        self.status(text, None, stamp, out);
        out.push(Effect::Emit(stamp.message(body)));
        self.open.insert(item_id.to_owned(), Open { reasoning, phase, text: String::new() });
    }

    /// The item's own name, or one made up for it.
    fn named(&mut self, item_id: String, stamp: &Stamp) -> String {
        if !item_id.is_empty() {
            return item_id;
        }
        self.nameless.get_or_insert_with(|| stamp.fresh()).clone()
    }

    fn more(
        &mut self,
        item_id: &str,
        reasoning: bool,
        phase: Option<String>,
        delta: String,
        stamp: &Stamp,
        out: &mut Vec<Effect>,
    ) {
        if !self.open.contains_key(item_id) {
            self.begin(item_id, reasoning, phase, stamp, out);
        }
        let Some(open) = self.open.get_mut(item_id) else { return };
        if delta.is_empty() {
            return;
        }
        open.text.push_str(&delta);
        let delta = self.shared.delta(item_id, open.phase.as_deref(), delta);
        let body = if open.reasoning { Body::ReasoningDelta(delta) } else { Body::TextDelta(delta) };
        out.push(Effect::Emit(stamp.message(body)));
    }

    fn close(
        &mut self,
        item_id: &str,
        phase: Option<String>,
        metadata: Map<String, Value>,
        stamp: &Stamp,
        out: &mut Vec<Effect>,
    ) -> Option<Item> {
        let open = self.open.remove(item_id)?;
        let phase = open.phase.or(phase);
        let edge = self.shared.edge(item_id, phase.as_deref());
        let body = if open.reasoning { Body::ReasoningEnded(edge) } else { Body::TextEnded(edge) };
        out.push(Effect::Emit(Message { metadata, ..stamp.message(body) }));
        let told = if open.reasoning { Told::Reasoning } else { Told::Text };
        self.ended.insert(item_id.to_owned(), told);
        (!open.reasoning).then_some(Item::Answer { text: open.text, phase })
    }

    /// Ends what is open; the texts that the model has said of its answer.
    pub fn cut_short(&mut self, stamp: &Stamp, out: &mut Vec<Effect>) -> Vec<Item> {
        let open: Vec<_> = self.open.keys().cloned().collect();
        let mut begun = std::mem::take(&mut self.whole);
        begun.extend(open.iter().filter_map(|item| self.close(item, None, Map::new(), stamp, out)));
        let mut to = To { shared: &self.shared, person: self.person.as_deref(), stamp, out };
        begun.extend(self.speaking.cut_short(&mut to));
        begun
    }

    pub(super) fn pending(&mut self, called: Called, stamp: &Stamp, out: &mut Vec<Effect>) {
        let text = status::preparing(&called.toolkit, &called.tool);
        self.status(&text, Some(&called.item_id), stamp, out);
        out.push(Effect::Emit(stamp.message(Body::ToolPending(self.shared.stage(&called)))));
        self.calls.insert(called.item_id.clone(), (called, 0));
    }

    fn arguments(&mut self, item_id: &str, delta: String, stamp: &Stamp, out: &mut Vec<Effect>) {
        let Some((called, bytes)) = self.calls.get_mut(item_id) else { return };
        let before = *bytes;
        *bytes += delta.len() as u64;
        let counted = *bytes;
        out.push(Effect::Emit(stamp.message(Body::ToolArguments(self.shared.arguments(called, delta)))));
        let due = counted > COUNTED_BYTES_MIN
            && (before <= COUNTED_BYTES_MIN || before / COUNTED_EVERY != counted / COUNTED_EVERY);
        if let (true, Some((text, item, since))) = (due, &self.shown) {
            let mut status = self.shared.status(text, "steerable", since, item.as_deref());
            status.total_bytes = Some(counted);
            out.push(Effect::Show(stamp.message(Body::ThreadStatus(status))));
        }
    }

    /// Tells what a provider that does not stream has answered, and ends what one that does has left open.
    pub fn answered(&mut self, response: &Response, stamp: &Stamp, out: &mut Vec<Effect>) {
        if response.said {
            self.cut_short(stamp, out);
            self.ended.clear();
            return;
        }
        for item in &response.items {
            if let Item::Answer { text, phase } = item
                && !text.is_empty()
            {
                let item_id = stamp.fresh();
                self.more(&item_id, false, phase.clone(), text.clone(), stamp, out);
                self.close(&item_id, None, Map::new(), stamp, out);
            }
        }
        self.ended.clear();
    }

    /// A tool of ours begins.
    pub fn started(&mut self, call: &ToolCall, stamp: &Stamp, out: &mut Vec<Effect>) {
        self.began(as_called(call), stamp, out);
    }

    /// The call that is told of by this item.
    pub(super) fn take_call(&mut self, item_id: &str) -> Option<Called> {
        self.calls.remove(item_id).map(|(called, _)| called)
    }

    pub(super) fn began(&mut self, called: Called, stamp: &Stamp, out: &mut Vec<Effect>) {
        let text = status::calling(&called.toolkit, &called.tool, called.arguments.as_ref());
        self.status(&text, Some(&called.item_id), stamp, out);
        out.push(Effect::Emit(stamp.message(Body::ToolStarted(self.shared.stage(&called)))));
        self.calls.insert(called.item_id.clone(), (called, 0));
    }

    pub fn log(&mut self, item_id: &str, lines: Vec<LogLine>, stamp: &Stamp, out: &mut Vec<Effect>) {
        if let Some((called, _)) = self.calls.get(item_id) {
            out.push(Effect::Emit(stamp.message(Body::ToolLog(self.shared.log(called, lines)))));
        }
    }

    pub fn ended(
        &mut self,
        call: &ToolCall,
        result: Option<Value>,
        error: Option<Failed>,
        stamp: &Stamp,
        out: &mut Vec<Effect>,
    ) {
        self.calls.remove(&call.item_id);
        let body = Body::ToolEnded(self.shared.ended(&as_called(call), result, error));
        out.push(Effect::Emit(stamp.message(body)));
    }
}

//! Calls that the program behind a backend makes of its own tools: they are told and stored as ours are, and where the
//! program asks first, a person is asked.

use super::happening::Effect;
use super::messages::{Called, Stamp};
use super::running::Running;
use super::status;
use super::telling::Telling;
use crate::agent::message::{Body, Failed, LogLine};
use crate::agent::provider::{ForeignCall, Said};
use serde_json::Value;

fn called(call: ForeignCall) -> Called {
    Called {
        namespace: call.namespace,
        item_id: call.item_id,
        call_id: Some(call.call_id),
        toolkit: call.toolkit,
        tool: call.tool,
        arguments: Some(call.arguments),
    }
}

impl Telling {
    /// Tells what a program says of its calls.
    pub fn foreign(&mut self, said: Said, stamp: &Stamp, out: &mut Vec<Effect>) {
        match said {
            Said::ForeignPending(call) => self.pending(called(call), stamp, out),
            Said::ForeignStarted(call) => self.began(called(call), stamp, out),
            Said::ForeignLog { item_id, source, text } => {
                self.log(&item_id, vec![LogLine { source: source.to_owned(), text }], stamp, out);
            }
            Said::ForeignEnded { item_id, result, error } => {
                self.foreign_ended(&item_id, result, error, stamp, out);
            }
            _ => {}
        }
    }

    fn foreign_ended(
        &mut self,
        item_id: &str,
        result: Option<Value>,
        error: Option<String>,
        stamp: &Stamp,
        out: &mut Vec<Effect>,
    ) {
        let Some(called) = self.take_call(item_id) else { return };
        let error = error.map(|message| Failed { message, code: Some("tool_error".into()) });
        out.push(Effect::Emit(stamp.message(Body::ToolEnded(self.shared.ended(&called, result, error)))));
        self.status(status::THINKING, None, stamp, out);
    }
}

impl Running {
    /// A program asks whether it may go on with a call.
    pub fn asked(&mut self, call: ForeignCall, stamp: &Stamp, out: &mut Vec<Effect>) {
        let item_id = call.item_id.clone();
        if self.by.unattended {
            out.push(Effect::Permit { item_id, approved: false });
            return;
        }
        let stage = self.telling.shared.stage(&called(call));
        out.push(Effect::Emit(stamp.message(Body::ApprovalRequested(stage))));
        self.telling.status(status::WAITING, Some(&item_id), stamp, out);
        out.push(Effect::WaitApproval(item_id.clone()));
        self.asked.insert(item_id);
    }

    /// Tells the program, where it was it that asked.
    pub fn permit(&mut self, item_id: &str, approved: bool, stamp: &Stamp, out: &mut Vec<Effect>) {
        if self.asked.remove(item_id) {
            out.push(Effect::Permit { item_id: item_id.to_owned(), approved });
            self.telling.status(status::THINKING, None, stamp, out);
        }
    }
}

//! Spans of tool calls: what a session's participants had done, how long it took and how it ended.
//!
//! A call that comes with a trace context is recorded when its trace is; then the context goes on to who does the
//! work, so that what they record hangs below. Calls without one are recorded up to [`UNTRACED_PER_SECOND`].

use super::lock;
use super::session::Peer;
use super::world::{SpanSink, ToolSpan};
use crate::clock::{Clock, IdSource};
use crate::id::SessionId;
use crate::wire::trace::TraceContext;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::{Arc, Mutex};

/// Calls without a trace context that are recorded within one second of a session.
pub const UNTRACED_PER_SECOND: u32 = 20;
/// Longest text of an error kept, characters.
const ERROR_CHARS_MAX: usize = 1_024;

/// Records the calls of one session; does nothing where nobody keeps spans.
pub struct Spans {
    sink: Option<(SessionId, Arc<dyn SpanSink>)>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    /// The second that counts now, and the untraced calls recorded in it.
    untraced: Mutex<(i64, u32)>,
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spans").field("kept", &self.sink.is_some()).finish_non_exhaustive()
    }
}

/// A call that is recorded when this ends.
pub struct OpenSpan {
    sink: (SessionId, Arc<dyn SpanSink>),
    clock: Arc<dyn Clock>,
    /// The call's own context.
    pub context: TraceContext,
    span: ToolSpan,
}

impl fmt::Debug for OpenSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenSpan").field("name", &self.span.name).finish_non_exhaustive()
    }
}

/// What a call is.
#[derive(Debug, Clone, Copy)]
pub struct What<'a> {
    pub toolkit: &'a str,
    pub tool: &'a str,
    pub caller: &'a Peer,
    /// The participant who does it; `None`: the server.
    pub host: Option<&'a Peer>,
}

impl Spans {
    #[must_use]
    pub fn new(
        sink: Option<(SessionId, Arc<dyn SpanSink>)>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> Self {
        Self { sink, clock, ids, untraced: Mutex::default() }
    }

    /// Begins to record a call that came within `parent`; `None` when it is not recorded.
    #[must_use]
    pub fn begin(&self, parent: Option<&TraceContext>, what: What<'_>) -> Option<OpenSpan> {
        let sink = self.sink.as_ref()?;
        let now = self.clock.now();
        let (context, parent) = match parent {
            Some(parent) if parent.is_sampled() => (parent.within(self.fresh_span()), Some(parent.span_id)),
            Some(_) => return None,
            None if self.may_record(now.timestamp()) => {
                (TraceContext::new(*self.ids.fresh().as_bytes(), self.fresh_span()), None)
            }
            None => return None,
        };
        let mut attributes = Map::new();
        let mut add = |name: &str, text: &str| _ = attributes.insert(name.to_owned(), Value::from(text));
        add("meshagent.toolkit", what.toolkit);
        add("meshagent.tool", what.tool);
        add("meshagent.caller.id", &what.caller.id);
        add("meshagent.caller.name", &what.caller.name);
        if let Some(host) = what.host {
            add("meshagent.host.id", &host.id);
            add("meshagent.host.name", &host.name);
        }
        let span = ToolSpan {
            trace_id: context.trace_id,
            span_id: context.span_id,
            parent,
            name: format!("{}.{}", what.toolkit, what.tool),
            started: now,
            ended: now,
            error: Some("the call was given up".to_owned()),
            attributes,
        };
        Some(OpenSpan { sink: sink.clone(), clock: Arc::clone(&self.clock), context, span })
    }

    /// The end of a fresh identifier: the part of it that is random.
    fn fresh_span(&self) -> [u8; 8] {
        self.ids.fresh().as_bytes().last_chunk().copied().unwrap_or([1; 8])
    }

    fn may_record(&self, second: i64) -> bool {
        let mut untraced = lock(&self.untraced);
        if untraced.0 != second {
            *untraced = (second, 0);
        }
        untraced.1 += 1;
        untraced.1 <= UNTRACED_PER_SECOND
    }
}

impl OpenSpan {
    /// The call ended well, unless this says how it did not. Without it, it was given up.
    pub fn ended(mut self, error: Option<&str>) {
        self.span.error = error.map(|text| text.chars().take(ERROR_CHARS_MAX).collect());
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        self.span.ended = self.clock.now();
        self.sink.1.span(self.sink.0, &self.span);
    }
}

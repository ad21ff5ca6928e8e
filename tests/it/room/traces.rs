//! Trace context of calls, and the spans that are kept of them.

use super::client::{Client, json_of};
use super::harness::Edge;
use bytes::Bytes;
use meshagent::id::SessionId;
use meshagent::room::spans::UNTRACED_PER_SECOND;
use meshagent::room::world::{SpanSink, ToolSpan};
use meshagent::wire::{Content, pack, unpack_traced};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

#[derive(Default)]
struct Kept(Mutex<Vec<ToolSpan>>);

impl SpanSink for Kept {
    fn span(&self, _: SessionId, span: &ToolSpan) {
        self.0.lock().unwrap().push(span.clone());
    }
}

impl Kept {
    fn named(&self, name: &str) -> Vec<ToolSpan> {
        self.0.lock().unwrap().iter().filter(|span| span.name == name).cloned().collect()
    }
}

async fn edge() -> (Edge, Arc<Kept>) {
    let edge = Edge::start().await;
    let kept = Arc::new(Kept::default());
    edge.hub.keep_spans(Arc::clone(&kept) as _);
    (edge, kept)
}

/// Begins a call as the Python SDK does inside a span.
async fn begin(client: &mut Client, toolkit: &str, tool: &str, call: &str, flags: &str) -> u64 {
    let parent = format!("00-{TRACE}-{SPAN}-{flags}");
    let header = json!({
        "toolkit": toolkit, "tool": tool, "arguments": {"type": "json", "json": {}}, "tool_call_id": call,
        "__meshagent__": {"v": 1, "otel": {"traceparent": parent, "tracestate": "vendor=1"}},
    });
    client.send("room.invoke_tool", header, b"").await
}

async fn register(host: &mut Client) {
    let tools =
        json!({"run": {"title": "Run", "description": "Runs.", "input_spec": null, "output_spec": null}});
    let header = json!({"name": "agent", "title": "T", "description": "D", "public": true, "tools": tools});
    json_of(host.request("room.register_toolkit", header).await);
}

/// The next call of the host: its id and the trace parent it came with.
async fn taken(host: &mut Client) -> (u64, Option<Value>) {
    let message = host.message("room.tool_call.agent").await;
    let (_, _, trace) = unpack_traced(&message.payload).unwrap();
    (message.id, trace.map(|trace| trace.bookkeeping()["otel"].clone()))
}

async fn answer(host: &mut Client, id: u64, content: Content) {
    host.send_raw(id, "room.tool_call_response", content.pack()).await;
}

#[tokio::test]
async fn a_host_sees_itself_in_the_call_and_the_call_in_the_caller_s_work() {
    let (edge, kept) = edge().await;
    let (mut a, mut b) = (edge.join("a").await, edge.join("b").await);
    register(&mut b).await;
    let id = begin(&mut a, "agent", "run", "one", "01").await;
    let (message, carried) = taken(&mut b).await;
    let carried = carried.unwrap();
    answer(&mut b, message, Content::Empty).await;
    assert_eq!(a.answer(id).await, Content::Empty);
    let spans = kept.named("agent.run");
    let [span] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((hex::encode(span.trace_id), span.parent.map(hex::encode)), (TRACE.into(), Some(SPAN.into())));
    assert_eq!(carried["traceparent"], format!("00-{TRACE}-{}-01", hex::encode(span.span_id)));
    assert_eq!(carried["tracestate"], "vendor=1");
    assert_eq!(span.error, None);
    assert_eq!(
        (&span.attributes["meshagent.caller.name"], &span.attributes["meshagent.host.name"]),
        (&json!("a"), &json!("b"))
    );

    let id = begin(&mut a, "agent", "run", "two", "01").await;
    let (message, _) = taken(&mut b).await;
    answer(&mut b, message, Content::error(meshagent::error_code::RoomCode::OperationFailed, "no paper"))
        .await;
    a.answer(id).await;
    assert_eq!(kept.named("agent.run")[1].error.as_deref(), Some("no paper"));
    let id = begin(&mut a, "agent", "run", "three", "01").await;
    taken(&mut b).await;
    drop(b);
    a.answer(id).await;
    assert_eq!(kept.named("agent.run")[2].error.as_deref(), Some("the host left"));
}

#[tokio::test]
async fn what_nobody_traces_goes_through_and_is_not_kept() {
    let (edge, kept) = edge().await;
    let (mut a, mut b) = (edge.join("a").await, edge.join("b").await);
    register(&mut b).await;
    let id = begin(&mut a, "agent", "run", "one", "00").await;
    let (message, carried) = taken(&mut b).await;
    assert_eq!(carried.unwrap()["traceparent"], format!("00-{TRACE}-{SPAN}-00"));
    answer(&mut b, message, Content::Empty).await;
    a.answer(id).await;
    assert_eq!(kept.named("agent.run"), []);
    // Bookkeeping that is none is no reason to fail a call.
    let header = json!({"toolkit": "queues", "tool": "list", "arguments": {"type": "json", "json": {}},
        "tool_call_id": "x", "__meshagent__": {"otel": {"traceparent": ["?"]}}});
    let payload: Bytes = pack(&header, b"");
    a.send_raw(77, "room.invoke_tool", payload).await;
    assert_eq!(a.answer(77).await, Content::Json(json!({"queues": []})));
}

#[tokio::test]
async fn calls_without_a_context_begin_traces_up_to_a_rate() {
    let (edge, kept) = edge().await;
    let mut a = edge.join("a").await;
    a.invoke("queues", "list", json!({})).await;
    a.fails("queues", "send", json!({"name": 7})).await;
    let (listed, refused) = (kept.named("queues.list"), kept.named("queues.send"));
    assert_eq!((listed[0].parent, listed[0].error.clone()), (None, None));
    assert!(refused[0].error.as_ref().unwrap().contains("name"), "{refused:?}");
    assert_ne!(listed[0].trace_id, refused[0].trace_id);
    for _ in 0..10 * UNTRACED_PER_SECOND {
        a.invoke("queues", "list", json!({})).await;
    }
    let spans = kept.0.lock().unwrap().clone();
    let most_of_a_second = spans
        .iter()
        .map(|span| {
            spans.iter().filter(|other| other.started.timestamp() == span.started.timestamp()).count()
        })
        .max();
    assert!(most_of_a_second <= Some(UNTRACED_PER_SECOND as usize), "{most_of_a_second:?}");
}

//! Calls to a voicebot (`voice_call`, process agents §23). Their sound would go over a LiveKit server, which this version does not
//! join: whoever calls is told so, and what to do instead.

use crate::agent::channel::{Agent, Channel};
use crate::agent::message::{Body, Failed, Message, Rejected};
use crate::client::room::RoomMessage;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

/// Type of a message that asks the agent into a call.
const CALL: &str = "voice_call";
/// Type of the answer.
const REJECTED: &str = "voice_call.rejected";
/// Why.
const NO_CALLS: &str = "this agent joins no LiveKit calls: this version of it speaks over the room's messaging only; open a \
                        thread with it and send realtime_audio.chunk and realtime_audio.commit messages, or write to it";

/// The channel.
#[derive(Debug)]
pub struct Calls;

#[async_trait::async_trait]
impl Channel for Calls {
    fn name(&self) -> String {
        "calls".to_owned()
    }

    fn attributes(&self) -> Map<String, Value> {
        Map::from_iter([("supports_voice".to_owned(), json!(true))])
    }

    async fn serve(self: Arc<Self>, agent: Agent, stop: CancellationToken, _abort: CancellationToken) {
        let mut pushes = agent.room().pushes();
        loop {
            let push = tokio::select! {
                () = stop.cancelled() => return,
                push = pushes.recv() => push,
            };
            match push {
                Ok(push) => {
                    if let Some(message) =
                        RoomMessage::from_push(&push).filter(|message| message.kind == CALL)
                    {
                        refuse(&agent, &message).await;
                    }
                }
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(
                        missed,
                        "messages came faster than they were read; a call may be among them"
                    );
                }
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }
}

/// Says so twice: to those who know calls, and to chat clients in words that they know.
async fn refuse(agent: &Agent, call: &RoomMessage) {
    let from = &call.from_participant_id;
    tracing::warn!(participant = from, "a voice call is refused: {NO_CALLS}");
    let field = |key: &str| call.body.get(key).cloned().unwrap_or(Value::Null);
    let body = json!({"breakout_room": field("breakout_room"), "transcript_path": field("transcript_path"),
        "error": {"message": NO_CALLS, "code": "voice_calls_unsupported"}});
    let engine = &agent.engine;
    let error = Failed { message: NO_CALLS.to_owned(), code: Some("realtime_connection_failed".to_owned()) };
    let source_message_id =
        call.body.get("message_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let rejected = Rejected { thread_id: String::new(), source_message_id, error };
    let told =
        Message::new(engine.ids.fresh().to_string(), engine.clock.now(), Body::StartRejected(rejected));
    for (kind, body) in [(REJECTED, body), ("agent-message", Value::Object(told.full()))] {
        if let Err(error) = agent.room().send_message(from, kind, &body, None).await {
            tracing::warn!(participant = from, %error, "the caller could not be told");
        }
    }
}

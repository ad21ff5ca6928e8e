//! One participant asks another: the request is pushed to it, and its answer comes by a call of its own.

use super::store::{self, Kept};
use crate::clock::IdSource;
use crate::error_code::RoomCode;
use crate::room::lock;
use crate::room::session::Peer;
use crate::room::toolkit::{Call, ToolError};
use crate::room::world::RoomSecrets;
use crate::wire::{Content, pack};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;

/// Most requests that wait for an answer, all rooms together.
pub const WAITING_MAX: usize = 10_000;
/// Longest time that a request may wait, seconds.
pub const WAIT_SECONDS_MAX: u64 = 60 * 60;
const WAIT_SECONDS: u64 = 5 * 60;

#[derive(Deserialize, JsonSchema)]
pub(super) struct Request {
    url: String,
    #[serde(rename = "type")]
    kind: String,
    participant_id: String,
    /// Seconds.
    #[serde(default)]
    timeout: Option<u64>,
    #[serde(default)]
    delegate_to: Option<String>,
}

/// What a participant answered: a value, or why not.
pub(super) type Answer = Result<Bytes, String>;

struct Waiting {
    /// Only the participant that was asked may answer.
    asked: String,
    answer: oneshot::Sender<Answer>,
}

/// The requests that wait for answers.
pub(super) struct Asks {
    waiting: Mutex<HashMap<String, Waiting>>,
    ids: Arc<dyn IdSource>,
}

/// Forgets the request when its asker is gone.
struct Forget<'a>(&'a Asks, String);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(&self.0.waiting).remove(&self.1);
    }
}

impl Asks {
    pub fn new(ids: Arc<dyn IdSource>) -> Self {
        Self { waiting: Mutex::default(), ids }
    }

    /// Pushes `request` to a participant and waits for what it says.
    pub async fn ask(
        &self,
        call: &Call,
        participant: &str,
        kind: &'static str,
        mut request: Value,
        timeout_seconds: Option<u64>,
    ) -> Result<Bytes, ToolError> {
        let asked: Arc<Peer> = call.session.peer(participant).ok_or_else(|| {
            ToolError::not_found(format!("participant `{participant}` is not in this room"))
        })?;
        let id = self.ids.fresh().to_string();
        let (sender, answer) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            if waiting.len() >= WAITING_MAX {
                return Err(ToolError::failed("too many requests wait for an answer; try again later"));
            }
            waiting.insert(id.clone(), Waiting { asked: asked.id.clone(), answer: sender });
        }
        let _forget = Forget(self, id.clone());
        request["request_id"] = id.into();
        asked.outbox.push(kind, pack(&request, b""));
        let limit = Duration::from_secs(timeout_seconds.unwrap_or(WAIT_SECONDS).min(WAIT_SECONDS_MAX));
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(Ok(data))) => Ok(data),
            Ok(Ok(Err(why))) => {
                let text = format!("participant `{}` refused: {why}", asked.name);
                Err(ToolError::new(RoomCode::PermissionDenied, text))
            }
            Ok(Err(_)) | Err(_) => {
                let text = format!("participant `{}` did not answer in time; ask again", asked.name);
                Err(ToolError::new(RoomCode::Timeout, text))
            }
        }
    }

    /// Takes the answer of the participant that was asked.
    pub fn answer(&self, call: &Call, request_id: &str, answer: Answer) -> Result<Content, ToolError> {
        let mut waiting = lock(&self.waiting);
        let known = waiting.get(request_id).is_some_and(|w| w.asked == call.caller.id);
        match waiting.remove(request_id).filter(|_| known) {
            Some(waiting) => {
                // The asker may have left in this very moment.
                let _ = waiting.answer.send(answer);
                Ok(Content::Empty)
            }
            None => {
                Err(ToolError::not_found(format!("no request `{request_id}` waits for this participant")))
            }
        }
    }
}

/// Id of a secret that was given on request.
pub(super) fn stored_id(url: &str, kind: &str) -> String {
    format!("{kind} {url}")
}

/// Gives what is kept already, else asks; what is given for a delegate is kept for the next time.
pub(super) async fn request(asks: &Asks, port: &dyn RoomSecrets, call: &Call) -> Result<Content, ToolError> {
    let args: Request = call.args()?;
    let asked = call.session.peer(&args.participant_id).ok_or_else(|| {
        ToolError::not_found(format!("participant `{}` is not in this room", args.participant_id))
    })?;
    let id = stored_id(&args.url, &args.kind);
    // Only what was delegated to the caller itself: asking in another's name gives nothing that is kept.
    if args.delegate_to.as_deref() == Some(call.caller.name.as_str()) {
        let kept = store::all(port, call.session.room.id).await?;
        let found = kept.into_iter().find(|s| s.is(&asked.name, &id, args.delegate_to.as_deref()));
        if let Some(kept) = found {
            return Ok(kept.into_file());
        }
    }
    let request = json!({"request": {"url": args.url, "type": args.kind, "delegate_to": args.delegate_to}});
    let data = asks.ask(call, &args.participant_id, "secrets.request_secret", request, args.timeout).await?;
    let kept = Kept {
        owner: asked.name.clone(),
        name: id.clone(),
        id,
        kind: args.kind,
        delegated_to: args.delegate_to,
        data,
    };
    if kept.delegated_to.is_some() {
        store::put(port, call.session.room.id, &kept).await?;
    }
    Ok(kept.into_file())
}

pub(super) fn provide(asks: &Asks, call: &Call) -> Result<Content, ToolError> {
    #[derive(Deserialize)]
    struct Provide {
        request_id: String,
        #[serde(default)]
        error: Option<String>,
    }
    let args: Provide = call.args()?;
    let answer = match args.error {
        Some(why) => Err(why),
        None => Ok(store::data(&call.content)?),
    };
    asks.answer(call, &args.request_id, answer)
}

//! `sync.open`: the life of one opener.

use super::listener::Outlet;
use super::{new_document, tidy};
use crate::document::{Document, DocumentError, Documents, Handle};
use crate::room::guard;
use crate::room::input::ItemAnswer;
use crate::room::session::LiveSession;
use crate::room::toolkit::{Call, ToolError};
use crate::room::toolkits::storage::FileEvent;
use crate::wire::Content;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Changes of one document are told as file events at most this often.
const NOTICE_INTERVAL: Duration = Duration::from_secs(1);
/// An opener that sends this many updates that cannot be taken is cut off.
const REFUSED_MAX: u32 = 100;
/// Longest state vector, characters of base64.
const VECTOR_CHARS_MAX: usize = 256 * 1024;

#[derive(Deserialize)]
struct Start {
    kind: String,
    path: String,
    #[serde(default)]
    create: Option<bool>,
    #[serde(default)]
    vector: Option<String>,
    #[serde(default)]
    schema: Option<Map<String, Value>>,
    #[serde(default)]
    schema_path: Option<String>,
    #[serde(default)]
    initial_json: Option<Map<String, Value>>,
}

/// Opens the document, relays until the caller closes its input, and returns when what it sent is on disk.
pub(super) async fn run(documents: &Arc<Documents>, call: &mut Call) -> Result<Content, ToolError> {
    let start: Start = call.args()?;
    if start.kind != "start" {
        return Err(ToolError::invalid(
            "the first item of sync.open must be binary with headers `kind: start` and `path`",
        ));
    }
    let vector = vector(start.vector.as_deref())?;
    let writes = guard::sync::is_writable(&call.caller.api, &start.path);
    let new = if start.create.unwrap_or(true) {
        Some(new_document(call, start.schema, start.schema_path, start.initial_json)?)
    } else {
        None
    };
    let room = call.session.room.id;
    let mut handle = match documents.open(room, &start.path, new.as_ref().filter(|_| writes)).await {
        // It would be made, if that were allowed.
        Err(DocumentError::NotFound { .. }) if new.is_some() && !writes => {
            return Err(match guard::sync::can_write(&call.caller.api, &start.path) {
                Err(denied) => denied,
                Ok(()) => DocumentError::NotFound { path: start.path }.into(),
            });
        }
        opened => opened?,
    };
    let ended = CancellationToken::new();
    let schema = handle.document().schema.json().clone();
    let outlet = Arc::new(Outlet::new(&call.caller, &call.tool_call_id, &start.path, schema, ended.clone()));
    call.open();
    handle.listen(vector.as_deref(), Arc::clone(&outlet) as _).await?;
    let opener = Opener { documents, call, handle: &handle, outlet: &outlet, path: &start.path, writes };
    tokio::select! {
        // The listener has told the caller why.
        () = ended.cancelled() => return Ok(Content::Empty),
        outcome = opener.relay() => outcome?,
    }
    handle.settled().await?;
    Ok(Content::Empty)
}

struct Opener<'a> {
    documents: &'a Arc<Documents>,
    call: &'a Call,
    handle: &'a Handle,
    outlet: &'a Outlet,
    path: &'a str,
    writes: bool,
}

impl Opener<'_> {
    /// Takes updates until the caller closes its input.
    async fn relay(&self) -> Result<(), ToolError> {
        let mut refused = 0;
        while let Some((item, answer)) = self.call.next_with_answer().await? {
            let taken = match update(item) {
                Ok(update) => self.take(update, answer).await,
                Err(error) => Err(error),
            };
            if let Err(error) = taken {
                refused += 1;
                if refused > REFUSED_MAX {
                    return Err(error);
                }
                self.outlet.send(error.content());
            }
        }
        Ok(())
    }

    async fn take(&self, update: Bytes, answer: Option<ItemAnswer>) -> Result<(), ToolError> {
        if update.is_empty() {
            return Ok(());
        }
        if !self.writes {
            // The Python client sends back every change it is told of; only a change of its own is refused.
            return if self.handle.would_change(&update).await? {
                guard::sync::can_write(&self.call.caller.api, self.path)
            } else {
                Ok(())
            };
        }
        let acknowledge = Box::new(move |_| drop(answer));
        if self.handle.apply(update, acknowledge).await? {
            self.notice();
        }
        Ok(())
    }

    /// Tells of the change as of a file's, unless that is about to be done.
    fn notice(&self) {
        let document = self.handle.document();
        if document.notice_due() {
            let (documents, document) = (Arc::clone(self.documents), Arc::clone(document));
            let (session, by) = (Arc::clone(&self.call.session), self.call.caller.id.clone());
            tokio::spawn(async move {
                tokio::time::sleep(NOTICE_INTERVAL).await;
                tell(&documents, &document, &session, by).await;
            });
        }
    }
}

async fn tell(documents: &Documents, document: &Document, session: &LiveSession, by: String) {
    document.notice_given();
    match documents.is_there(session.room.id, document).await {
        Ok(true) => FileEvent::Updated { path: tidy(&document.path()), by }.send(session),
        Ok(false) => document.end(&DocumentError::Deleted { path: document.path() }),
        Err(error) => tracing::debug!(%error, "a change of a document was not told as a file's"),
    }
}

/// The state vector of somebody who was here before.
fn vector(text: Option<&str>) -> Result<Option<Vec<u8>>, ToolError> {
    let Some(text) = text else { return Ok(None) };
    if text.len() > VECTOR_CHARS_MAX {
        return Err(ToolError::invalid(format!(
            "`vector` is longer than {VECTOR_CHARS_MAX} characters; open without it"
        )));
    }
    let bytes = BASE64.decode(text);
    bytes.map(Some).map_err(|error| ToolError::invalid(format!("`vector` is not base64: {error}")))
}

/// The bytes of one item.
fn update(item: Content) -> Result<Bytes, ToolError> {
    match item {
        Content::Binary { headers, data } if headers.get("kind").and_then(Value::as_str) == Some("sync") => {
            let bytes = BASE64.decode(&data);
            bytes
                .map(Bytes::from)
                .map_err(|error| ToolError::invalid(format!("the update is not base64 text: {error}")))
        }
        other => Err(ToolError::invalid(format!(
            "sync.open is fed with binary items of `kind: sync`, not {:?}",
            other.kind().unwrap_or("an item without a kind")
        ))),
    }
}

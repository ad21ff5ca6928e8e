//! Documents of the room that several edit at once (room protocol §3.5). Updates go out and come in as Yjs v1 updates;
//! what they mean is the caller's business, or [`LiveDocument`]'s, which keeps one in memory.

mod live;

pub use live::{LiveDocument, LiveError};

use super::call::{Answer, Call, Target};
use super::link::unexpected;
use super::{RoomClient, RoomError};
use crate::wire::Content;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::{Value, json};

/// Document requests of one client.
#[derive(Debug)]
pub struct Documents<'a> {
    client: &'a RoomClient,
}

/// What to make a document of, where there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewDocument {
    /// MeshSchema; without it the room's file for the extension is taken.
    pub schema: Option<Value>,
    /// The content, `{"<root tag>": {…}}`.
    pub json: Option<Value>,
}

/// An open document. Dropped, it is closed without waiting.
#[derive(Debug)]
pub struct OpenDocument {
    call: Call,
    /// MeshSchema as JSON.
    pub schema: Value,
    /// The state when it was opened, a Yjs v1 update.
    pub state: Vec<u8>,
}

impl<'a> Documents<'a> {
    pub(super) fn new(client: &'a RoomClient) -> Self {
        Self { client }
    }

    /// Makes a document; error 1004 where there is one.
    pub async fn create(&self, path: &str, new: &NewDocument) -> Result<(), RoomError> {
        let input = json!({"path": path, "json": new.json, "schema": new.schema, "schema_path": null});
        self.client.invoke_json("sync", "create", input).await.map(drop)
    }

    /// The document as JSON; error 1003 where there is none.
    pub async fn describe(&self, path: &str) -> Result<Value, RoomError> {
        self.client.invoke_json("sync", "describe", json!({"path": path, "schema_path": null})).await
    }

    /// Opens a document; with `new` it is made where there is none, else that is error 1003.
    pub async fn open(&self, path: &str, new: Option<&NewDocument>) -> Result<OpenDocument, RoomError> {
        const REQUEST: &str = "sync.open";
        let mut call = self.client.start(&Target::new("sync", "open"), None).await?;
        let start = json!({
            "kind": "start", "path": path, "create": new.is_some(), "vector": null,
            "schema": new.and_then(|new| new.schema.clone()), "schema_path": null,
            "initial_json": new.and_then(|new| new.json.clone()),
        });
        call.send(Content::binary(start, Bytes::new())).await?;
        if let Answer::Unary(other) = call.answer().await? {
            return Err(unexpected(REQUEST, &other, "a stream"));
        }
        match call.next().await? {
            Some(Content::Binary { mut headers, data }) => {
                let schema = headers.remove("schema").unwrap_or_default();
                Ok(OpenDocument { call, schema, state: update(&data)? })
            }
            Some(other) => Err(unexpected(REQUEST, &other, "binary")),
            None => Err(RoomError::Unexpected { request: REQUEST.into(), got: "the end", want: "the state" }),
        }
    }
}

impl OpenDocument {
    /// Sends an update.
    pub async fn send(&self, update: &[u8]) -> Result<(), RoomError> {
        let data = BASE64.encode(update).into_bytes();
        self.call.send(Content::binary(json!({"kind": "sync"}), data.into())).await
    }

    /// Sends an update and returns when it is on the server's disk. Where it is refused, [`OpenDocument::next`] has the
    /// reason by then.
    pub async fn keep(&self, update: &[u8]) -> Result<(), RoomError> {
        let item = |update: &[u8]| {
            Content::binary(json!({"kind": "sync"}), BASE64.encode(update).into_bytes().into())
        };
        // A refusal is told after its item was answered, and before the next one is.
        self.call.deliver([item(update), item(&[])]).await
    }

    /// The next change by others; `None` when the document was closed.
    ///
    /// Errors: the room refused an update, or the document is gone.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, RoomError> {
        match self.call.next().await? {
            Some(Content::Binary { data, .. }) => update(&data).map(Some),
            Some(other) => Err(unexpected("sync.open", &other, "binary")),
            None => Ok(None),
        }
    }

    /// Closes it and returns when everything sent is on the server's disk.
    pub async fn close(mut self) -> Result<(), RoomError> {
        self.call.end_input().await?;
        while self.next().await?.is_some() {}
        Ok(())
    }
}

fn update(data: &[u8]) -> Result<Vec<u8>, RoomError> {
    BASE64.decode(data).map_err(|error| RoomError::Failed {
        request: "sync.open".into(),
        text: format!("the server sent what is not base64: {error}"),
        code: None,
    })
}

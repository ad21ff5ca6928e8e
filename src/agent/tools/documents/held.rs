//! The documents that are open: each once, whoever works on it.

use super::{ToolError, WIDGET, widget};
use crate::agent::path::room_path;
use crate::client::room::{LiveDocument, LiveError, NewDocument, RoomClient, RoomError};
use crate::clock::IdSource;
use crate::yjs::{EditError, MeshSchema, Replica};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Documents that an agent has open at once.
const OPEN_MAX: usize = 32;

pub(super) struct Held {
    client: RoomClient,
    pub ids: Arc<dyn IdSource>,
    open: Mutex<BTreeMap<String, Arc<LiveDocument>>>,
}

impl Held {
    pub fn new(client: RoomClient, ids: Arc<dyn IdSource>) -> Self {
        Self { client, ids, open: Mutex::default() }
    }

    /// Opens a document, and makes it where there is none. Errors: it is open already, or too many are.
    pub async fn open(&self, path: &str) -> Result<(), ToolError> {
        let path = checked(path)?;
        let mut open = self.open.lock().await;
        open.retain(|_, document| !document.is_ended());
        if open.contains_key(&path) {
            return Err(format!("document `{path}` is open already; go on with it").into());
        }
        if open.len() >= OPEN_MAX {
            let paths: Vec<&str> = open.keys().map(String::as_str).collect();
            return Err(format!("{OPEN_MAX} documents are open; close one of {}", paths.join(", ")).into());
        }
        let document = self.make(&path).await?;
        open.insert(path, Arc::new(document));
        Ok(())
    }

    /// The room's own schema goes before the one that is known here.
    async fn make(&self, path: &str) -> Result<LiveDocument, RoomError> {
        let documents = self.client.documents();
        let of_room = documents.live(path, Some(&NewDocument::default()), self.seed()).await;
        match of_room {
            Err(RoomError::Failed { .. })
                if path.rsplit_once('.').is_some_and(|(_, kind)| kind == WIDGET) =>
            {
                let new = NewDocument { schema: Some(widget::schema()), json: None };
                documents.live(path, Some(&new), self.seed()).await
            }
            other => other,
        }
    }

    fn seed(&self) -> u128 {
        self.ids.fresh().as_u128()
    }

    pub async fn close(&self, path: &str) -> Result<(), ToolError> {
        let path = checked(path)?;
        let document = self.open.lock().await.remove(&path).ok_or_else(|| not_open(&path))?;
        // Where another call still works on it, it closes itself after that.
        if let Ok(document) = Arc::try_unwrap(document) {
            document.close().await;
        }
        Ok(())
    }

    pub async fn close_all(&self) {
        let open = std::mem::take(&mut *self.open.lock().await);
        for document in open.into_values().filter_map(Arc::into_inner) {
            document.close().await;
        }
    }

    /// Looks at an open document.
    pub async fn look<T: Send + 'static>(
        &self,
        path: &str,
        look: impl Fn(&Replica, &MeshSchema) -> T + Clone + Send + 'static,
    ) -> Result<T, ToolError> {
        self.edit(path, move |replica, schema| Ok((look(replica, schema), None))).await
    }

    /// Changes an open document. One that was cut off since is opened again first.
    pub async fn edit<T: Send + 'static>(
        &self,
        path: &str,
        change: impl Fn(&mut Replica, &MeshSchema) -> Result<(T, Option<Bytes>), EditError>
        + Clone
        + Send
        + 'static,
    ) -> Result<T, ToolError> {
        let path = checked(path)?;
        let document = self.open.lock().await.get(&path).cloned().ok_or_else(|| not_open(&path))?;
        match document.edit(change.clone()).await {
            Err(LiveError::Ended(_)) => {}
            done => return done.map_err(told),
        }
        self.again(path, &document).await?.edit(change).await.map_err(told)
    }
}

impl Held {
    /// Opens a document again that was cut off, once for all who found it so.
    async fn again(&self, path: String, ended: &Arc<LiveDocument>) -> Result<Arc<LiveDocument>, ToolError> {
        let mut open = self.open.lock().await;
        if let Some(other) = open.get(&path).filter(|other| !Arc::ptr_eq(other, ended)) {
            return Ok(Arc::clone(other));
        }
        let again = Arc::new(self.client.documents().live(&path, None, self.seed()).await?);
        open.insert(path, Arc::clone(&again));
        Ok(again)
    }
}

fn told(error: LiveError) -> ToolError {
    match error {
        LiveError::Room(error) => error.into(),
        other => ToolError::Told(other.to_string()),
    }
}

fn not_open(path: &str) -> ToolError {
    format!("document `{path}` is not open; open it with meshagent.document.open first").into()
}

fn checked(path: &str) -> Result<String, ToolError> {
    room_path(path).ok_or_else(|| format!("`{path}` is no path of a file in the room").into())
}

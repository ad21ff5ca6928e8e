//! Where an agent's mail is kept: files in the room's storage, and a table that knows the thread of each message.

use crate::agent::channel::Agent;
use crate::agent::mail::Letter;
use crate::agent::mail::reply::Outgoing;
use crate::agent::path::thread_dir;
use crate::client::room::{RoomClient, RoomError};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

const TABLE: &str = "emails";
const FOLDER: &str = ".emails";
/// Earlier messages of a conversation that are looked for.
const LOOKED_AT_MAX: usize = 10;

/// An agent's mail.
pub(super) struct Mails<'a> {
    client: &'a RoomClient,
    /// Where it is kept, and where it may be besides.
    namespaces: [Vec<String>; 2],
}

/// The folder of the threads, split as the public agent splits it: a folder that it was given as it was given, without a
/// scheme; its own with the scheme. The other one comes second.
fn namespaces(dir: &str, agent_name: &str) -> [Vec<String>; 2] {
    let split = |dir: &str| dir.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let bare = dir.split_once("://").map_or(dir, |(_scheme, folder)| folder);
    if dir == thread_dir(agent_name, None) { [split(dir), split(bare)] } else { [split(bare), split(dir)] }
}

fn schema() -> Schema {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    Schema::new(vec![
        text("id", false),
        text("thread_id", false),
        text("in_reply_to", true),
        text("role", false),
        text("json", false),
    ])
}

impl<'a> Mails<'a> {
    pub fn of(agent: &'a Agent) -> Self {
        let config = &agent.engine.config;
        Self { client: agent.room(), namespaces: namespaces(&config.threads.dir, &config.agent_name) }
    }

    fn namespace(&self) -> &[String] {
        &self.namespaces[0]
    }

    async fn ensure(&self) -> Result<(), RoomError> {
        self.client.datasets().ensure(TABLE, Some(self.namespace()), &schema()).await
    }

    /// The thread of what a letter answers.
    pub async fn thread_of(&self, letter: &Letter) -> Result<Option<String>, RoomError> {
        let answered = letter.in_reply_to.iter().flat_map(|ids| ids.split_whitespace());
        let earlier = letter.references.iter().flat_map(|ids| ids.split_whitespace().rev());
        let ids: Vec<&str> = answered.chain(earlier).take(LOOKED_AT_MAX).collect();
        self.ensure().await?;
        for namespace in &self.namespaces {
            for id in &ids {
                match self.thread_in(namespace, id).await {
                    // Only the first table is there for sure.
                    Err(error) if error.is_lost() || namespace == self.namespace() => return Err(error),
                    Err(_) => break,
                    Ok(None) => {}
                    found => return found,
                }
            }
        }
        Ok(None)
    }

    async fn thread_in(&self, namespace: &[String], id: &str) -> Result<Option<String>, RoomError> {
        let condition = format!("id = '{}'", id.replace('\'', "''"));
        let start = json!({"kind": "start", "text": null, "vector": null, "text_columns": null,
            "where": condition, "offset": null, "limit": 1, "select": null, "version": null,
            "table": TABLE, "namespace": namespace, "branch": null});
        let mut stream = self.client.datasets().read("search", start).await?;
        while let Some(batch) = stream.next().await? {
            if let Some(thread) = thread(&batch) {
                return Ok(Some(thread));
            }
        }
        Ok(None)
    }

    /// Keeps a letter; the room paths of its attachments. Again changes nothing.
    pub async fn keep_letter(&self, letter: &Letter, thread: &str) -> Result<Vec<String>, RoomError> {
        let folder = folder(&letter.id);
        let mut paths = Vec::with_capacity(letter.attachments.len());
        for file in &letter.attachments {
            let path = format!("{folder}/attachments/{}", file.name);
            self.client.storage().write(&path, true, &file.bytes).await?;
            paths.push(path);
        }
        let record = letter.record(thread, &format!("{folder}/message.json"), &paths);
        self.keep(&folder, &letter.raw, &record).await?;
        Ok(paths)
    }

    /// Keeps a message of the agent. Again changes nothing.
    pub async fn keep_own(&self, message: &Outgoing, bytes: &[u8], thread: &str) -> Result<(), RoomError> {
        self.ensure().await?;
        let folder = folder(&message.id);
        let mut paths = Vec::with_capacity(message.attachments.len());
        for (name, _, bytes) in &message.attachments {
            let path = format!("{folder}/attachments/{name}");
            self.client.storage().write(&path, true, bytes).await?;
            paths.push(path);
        }
        let record = message.record(thread, &format!("{folder}/message.json"), &paths);
        self.keep(&folder, bytes, &record).await
    }

    async fn keep(&self, folder: &str, raw: &[u8], record: &Value) -> Result<(), RoomError> {
        let text = record.to_string();
        let storage = self.client.storage();
        storage.write(&format!("{folder}/message.eml"), true, raw).await?;
        storage.write(&format!("{folder}/message.json"), true, text.as_bytes()).await?;
        let column = |key: &str| -> ArrayRef { Arc::new(StringArray::from(vec![record[key].as_str()])) };
        let json: ArrayRef = Arc::new(StringArray::from(vec![text.as_str()]));
        let columns = vec![column("id"), column("thread_id"), column("in_reply_to"), column("role"), json];
        let batch = RecordBatch::try_new(Arc::new(schema()), columns).map_err(|error| RoomError::Failed {
            request: "mail".into(),
            text: error.to_string(),
            code: None,
        })?;
        let start = json!({"kind": "start", "on": "id", "table": TABLE, "namespace": self.namespace(),
            "branch": null});
        self.client.datasets().write("merge", start, None, std::iter::once(Ok(batch))).await.map(drop)
    }
}

/// `.emails/<8 hex>/<8 hex>`, of the message's name.
fn folder(id: &str) -> String {
    let hex = Uuid::new_v5(&Uuid::NAMESPACE_URL, id.as_bytes()).simple().to_string();
    format!("{FOLDER}/{}/{}", &hex[..8], &hex[8..16])
}

fn thread(batch: &RecordBatch) -> Option<String> {
    let column = arrow_cast::cast(batch.column_by_name("thread_id")?, &DataType::Utf8).ok()?;
    let column = column.as_string_opt::<i32>()?;
    (0..column.len()).find(|at| column.is_valid(*at)).map(|at| column.value(at).to_owned())
}

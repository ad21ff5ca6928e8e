//! Durable writes through the other Room APIs: datasets, SQLite databases, documents, memory, secrets. Each is a
//! way to write a key and a way to read all keys; what is between is the same.

use super::ledger::Ledger;
use super::work::connect;
use super::{Error, Site, Verdict};
use crate::client::room::{Answer, RoomClient, RoomError, Target};
use crate::columnar::ipc;
use crate::wire::Content;
use arrow_array::{Array, StringArray};
use arrow_cast::cast;
use arrow_schema::DataType;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Table, database, memory and folder of documents that the work goes to.
const NAME: &str = "crash";
/// Keys of one run that are looked for one by one.
const KEYS_MAX: usize = 200_000;

/// A Room API that keeps what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Api {
    Dataset,
    Sqlite,
    Document,
    Memory,
    Secret,
}

pub(super) const ALL: [Api; 5] = [Api::Dataset, Api::Sqlite, Api::Document, Api::Memory, Api::Secret];

impl Api {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dataset => "dataset row",
            Self::Sqlite => "database row",
            Self::Document => "document",
            Self::Memory => "memory entity",
            Self::Secret => "secret",
        }
    }

    /// Writes of one round: what is read back key by key, or has a bound per room, gets fewer.
    const fn most_per_round(self) -> u64 {
        match self {
            Self::Dataset | Self::Sqlite => 10_000,
            Self::Document => 50,
            Self::Memory => 20,
            Self::Secret => 2,
        }
    }

    /// Makes what the writes need; it may be there from an earlier round.
    async fn prepare(self, room: &RoomClient) -> Result<(), RoomError> {
        match self {
            Self::Dataset => {
                let start = json!({"kind": "start", "name": NAME, "mode": "create_if_not_exists", "namespace": null, "branch": null, "metadata": null});
                stream(room, "dataset", "create_table", start, Some(rows("first"))).await.map(drop)
            }
            Self::Sqlite => {
                let database = json!({"name": NAME, "namespace": null, "mode": "create_if_not_exists"});
                room.invoke(&Target::new("sqlite", "create_database"), Content::Json(database)).await?;
                sql(room, "CREATE TABLE IF NOT EXISTS t (key TEXT PRIMARY KEY)", json!([])).await
            }
            Self::Memory => {
                let memory =
                    json!({"name": NAME, "namespace": null, "overwrite": false, "ignore_exists": true});
                room.invoke(&Target::new("memory", "create"), Content::Json(memory)).await.map(drop)
            }
            Self::Document | Self::Secret => Ok(()),
        }
    }

    async fn write(self, room: &RoomClient, key: &str) -> Result<(), RoomError> {
        match self {
            Self::Dataset => {
                let start = json!({"kind": "start", "table": NAME, "namespace": null, "branch": null});
                stream(room, "dataset", "insert", start, Some(rows(key))).await.map(drop)
            }
            Self::Sqlite => sql(room, "INSERT INTO t (key) VALUES (?)", json!([key])).await,
            Self::Document => {
                let document = json!({"root": {"children": [{"item": {"v": key}}]}});
                let create =
                    json!({"path": path(key), "json": document, "schema": schema(), "schema_path": null});
                room.invoke(&Target::new("sync", "create"), Content::Json(create)).await.map(drop)
            }
            Self::Memory => {
                let records = json!([{"entity_id": key, "name": key}]).to_string();
                let nodes = json!({"name": NAME, "namespace": null, "records_json": records, "merge": true});
                room.invoke(&Target::new("memory", "upsert_nodes"), Content::Json(nodes)).await.map(drop)
            }
            Self::Secret => {
                let about = json!({"secret_id": key, "type": "text/plain", "name": key, "delegated_to": null, "for_identity": null});
                let secret = Content::binary(about, Bytes::from(key.to_owned()));
                room.invoke(&Target::new("secrets", "set_secret"), secret).await.map(drop)
            }
        }
    }

    /// All keys that are there; of documents and secrets those among `tried`, there being no list of their contents.
    async fn read(self, room: &RoomClient, tried: &BTreeSet<String>) -> Result<BTreeSet<String>, RoomError> {
        match self {
            Self::Dataset => {
                let start = json!({"kind": "start", "table": NAME, "text": null, "vector": null, "text_columns": null, "where": null, "offset": null, "limit": null, "select": null, "namespace": null, "branch": null, "version": null});
                Ok(keys(&stream(room, "dataset", "search", start, None).await?))
            }
            Self::Sqlite => {
                let start = json!({"kind": "start", "database": NAME, "table": "t", "where": null, "params": null, "offset": null, "limit": null, "select": null, "namespace": null});
                Ok(keys(&stream(room, "sqlite", "search", start, None).await?))
            }
            Self::Memory => {
                let query = json!({"name": NAME, "namespace": null, "statement": format!("MATCH (n) RETURN n.name AS name LIMIT {KEYS_MAX}")});
                let found = room.invoke_json("memory", "query", query).await?;
                let records = found["results"].as_array().cloned().unwrap_or_default();
                Ok(records.iter().filter_map(|record| record["name"].as_str().map(str::to_owned)).collect())
            }
            Self::Document => {
                let mut there = BTreeSet::new();
                for key in tried {
                    let describe = json!({"path": path(key), "schema_path": null});
                    match room.invoke_json("sync", "describe", describe).await {
                        Ok(document) => {
                            let said = &document["root"]["children"][0]["item"]["v"];
                            there.insert(said.as_str().unwrap_or("a document with other content").to_owned());
                        }
                        Err(RoomError::Failed { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(there)
            }
            Self::Secret => {
                let mut there = BTreeSet::new();
                for key in tried {
                    let which = json!({"secret_id": key, "type": null, "name": null, "delegated_to": null});
                    let get = Target::new("secrets", "get_secret");
                    if let Content::File { data, .. } = room.invoke(&get, Content::Json(which)).await? {
                        there.insert(String::from_utf8_lossy(&data).into_owned());
                    }
                }
                Ok(there)
            }
        }
    }
}

fn path(key: &str) -> String {
    format!("{NAME}/{key}.doc")
}

fn rows(key: &str) -> Content {
    Content::Json(json!({"kind": "rows", "rows": [{"columns": [{"name": "key", "value": key}]}]}))
}

fn schema() -> Value {
    let root = json!({"type": "object", "additionalProperties": false, "required": ["root"], "properties": {
        "root": {"type": "object", "additionalProperties": false, "required": ["children"], "properties": {
            "children": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/item"}]}}}}}});
    let item = json!({"type": "object", "additionalProperties": false, "required": ["item"], "properties": {
        "item": {"type": "object", "additionalProperties": false, "required": ["v"], "properties": {
            "v": {"type": ["string", "null"]}}}}});
    let mut schema = root.clone();
    schema["$root_tag_ref"] = "#/$defs/root".into();
    schema["$defs"] = json!({"root": root, "item": item});
    schema
}

async fn sql(room: &RoomClient, query: &str, params: Value) -> Result<(), RoomError> {
    let headers = json!({"database": NAME, "query": query, "params": params, "namespace": null});
    let content = Content::binary(headers, Bytes::new());
    room.invoke(&Target::new("sqlite", "execute_sql_statement"), content).await.map(drop)
}

/// One streamed call: `start`, then `item` when it is asked for, then the end. What came back as data.
async fn stream(
    room: &RoomClient,
    toolkit: &str,
    tool: &str,
    start: Value,
    mut item: Option<Content>,
) -> Result<Vec<Bytes>, RoomError> {
    let reads = item.is_none();
    let mut call = room.start(&Target::new(toolkit, tool), None).await?;
    call.send(if reads { Content::binary(start, Bytes::new()) } else { Content::Json(start) }).await?;
    let pull = || Content::binary(json!({"kind": "pull"}), Bytes::new());
    if let Answer::Unary(_) = call.answer().await? {
        return Err(RoomError::Unexpected {
            request: format!("{toolkit}.{tool}"),
            got: "one result",
            want: "a stream",
        });
    }
    let mut data = vec![];
    if reads {
        call.send(pull()).await?;
    }
    while let Some(content) = call.next().await? {
        match content {
            Content::Binary { data: bytes, .. } if reads => {
                data.push(bytes);
                call.send(pull()).await?;
            }
            _ => match item.take() {
                Some(item) => call.send(item).await?,
                None => call.end_input().await?,
            },
        }
    }
    Ok(data)
}

/// The column `key` of Arrow streams.
fn keys(streams: &[Bytes]) -> BTreeSet<String> {
    let tables = streams.iter().filter_map(|bytes| ipc::decode(bytes).ok());
    let columns = tables.flat_map(|(_, batches)| batches).filter_map(|batch| {
        let column = cast(batch.column_by_name("key")?, &DataType::Utf8).ok()?;
        column.as_any().downcast_ref::<StringArray>().cloned()
    });
    let values = columns.flat_map(|column| column.iter().flatten().map(str::to_owned).collect::<Vec<_>>());
    values.filter(|key| key != "first").collect()
}

/// Starts a writer of each API.
pub(super) fn start(site: &Site, ledger: &Arc<Ledger>, round: u32) -> Vec<tokio::task::JoinHandle<()>> {
    ALL.into_iter()
        .map(|api| tokio::spawn(write_until_death(api, site.clone(), Arc::clone(ledger), round)))
        .collect()
}

async fn write_until_death(api: Api, site: Site, ledger: Arc<Ledger>, round: u32) {
    let Some(room) = connect(&site).await else { return };
    if let Err(error) = api.prepare(&room).await {
        return ledger.refused(api.name(), &error);
    }
    for n in 0..api.most_per_round() {
        let key = format!("r{round}-{n}");
        ledger.books().apis.entry(api.name()).or_default().tried.insert(key.clone());
        if let Err(error) = api.write(&room, &key).await {
            return ledger.refused(api.name(), &error);
        }
        ledger.books().apis.entry(api.name()).or_default().acknowledged.insert(key);
    }
}

/// Holds what is there against the books.
pub(super) async fn check(site: &Site, ledger: &Ledger, verdict: &mut Verdict) -> Result<(), Error> {
    let room = connect(site).await.ok_or_else(|| Error::Ask("cannot join the room".to_owned()))?;
    for api in ALL {
        let (tried, acknowledged) = {
            let books = ledger.books();
            let Some(writes) = books.apis.get(api.name()) else { continue };
            (writes.tried.clone(), writes.acknowledged.clone())
        };
        let there =
            api.read(&room, &tried).await.map_err(|error| Error::Ask(format!("{}: {error}", api.name())))?;
        verdict.acknowledged += acknowledged.len();
        verdict.lost.extend(acknowledged.difference(&there).map(|key| format!("{} {key}", api.name())));
        verdict.invented.extend(there.difference(&tried).map(|key| format!("{} {key}", api.name())));
    }
    Ok(())
}

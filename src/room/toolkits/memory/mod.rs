//! `memory`: what agents remember (room protocol §3.10), over [`crate::memory`]. Everything is one call and one answer.
//!
//! May not know how memories are kept; files and tables that are ingested are read here and handed over as texts.

mod args;
mod records;
mod texts;

use crate::blob::Blobs;
use crate::dataset::{DatasetStore, OptimizeReport};
use crate::memory::{Ingested, Memories, MemoryAt, MemoryError, Recall, Removed, Strategy, Text};
use crate::room::toolkit::{Call, ToolError, ToolInfo, Toolkit, ToolkitInfo};
use crate::wire::Content;
use args::{
    Create, DeleteEntities, DeleteRelationships, Drop, IngestFile, IngestFromStorage, IngestFromTable,
    IngestImage, IngestText, List, Named, Optimize, Query, RecallArgs, Upsert, UpsertTable,
};
use async_trait::async_trait;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Entities in the answer of a `recall` that names no limit.
const RECALL_DEFAULT: usize = 5;

/// The toolkit.
#[derive(Debug)]
pub struct Memory {
    memories: Arc<Memories>,
    files: Blobs,
    datasets: Arc<dyn DatasetStore>,
    info: ToolkitInfo,
}

impl Memory {
    /// `files` and `datasets` are the room's, for what is ingested from them.
    pub fn new(memories: Arc<Memories>, files: Blobs, datasets: Arc<dyn DatasetStore>) -> Self {
        let info = ToolkitInfo {
            name: "memory",
            title: "Memory",
            description: "What agents remember: graphs of entities and relationships, and where they were learnt.",
            tools: tools(),
        };
        Self { memories, files, datasets, info }
    }

    async fn inspect(&self, call: &Call) -> Result<Content, ToolError> {
        let at = call.args::<Named>()?.at(call);
        let tables = self.memories.inspect(&at).await?;
        let datasets: Vec<Value> = tables
            .iter()
            .map(|table| json!({"name": table.name, "rows": table.rows, "columns": table.columns}))
            .collect();
        let path: Vec<&str> =
            std::iter::once("memories").chain(at.namespace.iter().map(String::as_str)).collect();
        Ok(Content::Json(json!({
            "name": at.name,
            "namespace": if at.namespace.is_empty() { Value::Null } else { json!(at.namespace) },
            "path": format!("{}/{}", path.join("/"), at.name),
            "datasets": datasets,
        })))
    }

    async fn query(&self, call: &Call) -> Result<Content, ToolError> {
        let args: Query = call.args()?;
        let records = self.memories.query(&args.named.at(call), &args.statement).await?;
        let records =
            records.into_iter().map(|record| Value::Object(record.into_iter().collect::<Map<_, _>>()));
        Ok(Content::Json(json!({"results": records.collect::<Vec<Value>>()})))
    }

    async fn upsert(&self, call: &Call) -> Result<Content, ToolError> {
        if call.tool == "upsert_table" {
            let args: UpsertTable = call.args()?;
            let rows = records::rows(&args.records_json)?;
            self.memories
                .upsert_table(&args.named.at(call), &args.table, rows, args.merge.unwrap_or(true))
                .await?;
            return Ok(Content::Empty);
        }
        let args: Upsert = call.args()?;
        let (at, merge) = (args.named.at(call), args.merge.unwrap_or(true));
        if call.tool == "upsert_nodes" {
            self.memories.upsert_entities(&at, records::list(&args.records_json)?, merge).await?;
        } else {
            self.memories.upsert_relationships(&at, records::list(&args.records_json)?, merge).await?;
        }
        Ok(Content::Empty)
    }

    async fn ingest(&self, call: &Call) -> Result<Content, ToolError> {
        let (at, strategy, texts) = match call.tool {
            "ingest_text" => {
                let args: IngestText = call.args()?;
                (args.named.at(call), args.how.strategy(), vec![texts::plain(args.text)])
            }
            "ingest_image" => {
                let args: IngestImage = call.args()?;
                let (at, strategy) = (args.named.at(call), args.how.strategy());
                (at, strategy, vec![texts::image(args)?])
            }
            "ingest_file" => {
                let args: IngestFile = call.args()?;
                let (at, strategy) = (args.named.at(call), args.how.strategy());
                (at, strategy, vec![texts::file(&self.files.room(call.session.room.id), args).await?])
            }
            "ingest_from_storage" => {
                let args: IngestFromStorage = call.args()?;
                let (at, strategy) = (args.named.at(call), args.how.strategy());
                let files = self.files.room(call.session.room.id);
                (at, strategy, texts::stored(&files, &args.paths).await?)
            }
            _ => {
                let args: IngestFromTable = call.args()?;
                let (at, strategy) = (args.named.at(call), args.how.strategy());
                (at, strategy, texts::table(self.datasets.as_ref(), call.session.room.id, args).await?)
            }
        };
        self.remember(&at, texts, &strategy).await
    }

    async fn remember(&self, at: &MemoryAt, texts: Vec<Text>, how: &Strategy) -> Result<Content, ToolError> {
        let Ingested { entities, relationships, sources, entity_ids } =
            self.memories.ingest(at, texts, how).await?;
        Ok(Content::Json(json!({
            "name": at.name,
            "stats": {"entities": entities, "relationships": relationships, "sources": sources},
            "entity_ids": entity_ids,
        })))
    }

    async fn recall(&self, call: &Call) -> Result<Content, ToolError> {
        let args: RecallArgs = call.args()?;
        let at = args.named.at(call);
        let recall = Recall {
            query: args.query.clone(),
            limit: args.limit.unwrap_or(RECALL_DEFAULT),
            relationships: args.include_relationships.unwrap_or(true),
        };
        let items = self.memories.recall(&at, recall).await?;
        Ok(Content::Json(json!({"name": at.name, "query": args.query, "items": items})))
    }

    async fn delete_entities(&self, call: &Call) -> Result<Content, ToolError> {
        let args: DeleteEntities = call.args()?;
        let at = args.named.at(call);
        let Removed { entities, relationships } =
            self.memories.delete_entities(&at, &args.entity_ids).await?;
        Ok(Content::Json(
            json!({"name": at.name, "deleted_entities": entities, "deleted_relationships": relationships}),
        ))
    }

    async fn delete_relationships(&self, call: &Call) -> Result<Content, ToolError> {
        let args: DeleteRelationships = call.args()?;
        let at = args.named.at(call);
        let selectors: Vec<_> = args.relationships.into_iter().map(Into::into).collect();
        let deleted = self.memories.delete_relationships(&at, &selectors).await?;
        Ok(Content::Json(json!({"name": at.name, "deleted_relationships": deleted})))
    }

    async fn optimize(&self, call: &Call) -> Result<Content, ToolError> {
        let args: Optimize = call.args()?;
        let at = args.named.at(call);
        let reports =
            self.memories.optimize(&at, args.compact.unwrap_or(true), args.cleanup.unwrap_or(true)).await?;
        let datasets: Vec<Value> = reports.iter().map(|(table, report)| optimized(table, report)).collect();
        Ok(Content::Json(json!({"name": at.name, "datasets": datasets})))
    }
}

/// A segment is both what the clients call a fragment and the one file of it.
fn optimized(table: &str, report: &OptimizeReport) -> Value {
    json!({
        "dataset": table,
        "fragments_added": report.segments_added,
        "fragments_removed": report.segments_removed,
        "files_added": report.segments_added,
        "files_removed": report.segments_removed,
        "old_versions_removed": report.old_versions_removed,
        "bytes_removed": report.bytes_removed,
    })
}

#[async_trait]
impl Toolkit for Memory {
    fn describe(&self) -> &ToolkitInfo {
        &self.info
    }

    async fn invoke(&self, call: &mut Call) -> Result<Content, ToolError> {
        match call.tool {
            "list" => {
                let namespace = call.args::<List>()?.namespace.unwrap_or_default();
                let memories = self.memories.list(call.session.room.id, &namespace).await?;
                Ok(Content::Json(json!({"memories": memories})))
            }
            "create" => {
                let args: Create = call.args()?;
                let (overwrite, ignore) =
                    (args.overwrite.unwrap_or(false), args.ignore_exists.unwrap_or(false));
                self.memories.create(&args.named.at(call), overwrite, ignore).await?;
                Ok(Content::Empty)
            }
            "drop" => {
                let args: Drop = call.args()?;
                self.memories.remove(&args.named.at(call), args.ignore_missing.unwrap_or(false)).await?;
                Ok(Content::Empty)
            }
            "inspect" => self.inspect(call).await,
            "query" => self.query(call).await,
            "upsert_table" | "upsert_nodes" | "upsert_relationships" => self.upsert(call).await,
            "recall" => self.recall(call).await,
            "delete_entities" => self.delete_entities(call).await,
            "delete_relationships" => self.delete_relationships(call).await,
            "optimize" => self.optimize(call).await,
            _ => self.ingest(call).await,
        }
    }
}

impl From<MemoryError> for ToolError {
    fn from(error: MemoryError) -> Self {
        Self::new(error.code, error.text)
    }
}

fn tools() -> Vec<ToolInfo> {
    let (json, empty) = (["json"], ["empty"]);
    vec![
        ToolInfo::unary::<List>("list", &json, "Lists the memories of a namespace."),
        ToolInfo::unary::<Create>("create", &empty, "Makes an empty memory."),
        ToolInfo::unary::<Drop>("drop", &empty, "Removes a memory with everything in it."),
        ToolInfo::unary::<Named>("inspect", &json, "Shows the tables of a memory."),
        ToolInfo::unary::<Query>("query", &json, "Answers a query in a subset of openCypher."),
        ToolInfo::unary::<UpsertTable>(
            "upsert_table",
            &empty,
            "Adds or changes rows of a table of the memory.",
        ),
        ToolInfo::unary::<Upsert>("upsert_nodes", &empty, "Adds or changes entities."),
        ToolInfo::unary::<Upsert>("upsert_relationships", &empty, "Adds or changes relationships."),
        ToolInfo::unary::<IngestText>("ingest_text", &json, "Remembers a text and what it speaks of."),
        ToolInfo::unary::<IngestImage>(
            "ingest_image",
            &json,
            "Remembers a picture by its caption and annotations.",
        ),
        ToolInfo::unary::<IngestFile>("ingest_file", &json, "Remembers the text of a file."),
        ToolInfo::unary::<IngestFromTable>(
            "ingest_from_table",
            &json,
            "Remembers the texts in a dataset's rows.",
        ),
        ToolInfo::unary::<IngestFromStorage>(
            "ingest_from_storage",
            &json,
            "Remembers files of the room's storage.",
        ),
        ToolInfo::unary::<RecallArgs>("recall", &json, "Finds the entities that fit a question best."),
        ToolInfo::unary::<DeleteEntities>(
            "delete_entities",
            &json,
            "Removes entities and their relationships.",
        ),
        ToolInfo::unary::<DeleteRelationships>("delete_relationships", &json, "Removes relationships."),
        ToolInfo::unary::<Optimize>("optimize", &json, "Compacts the tables of a memory."),
    ]
}

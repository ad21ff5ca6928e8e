//! Tables, columns, indexes, versions and branches.

use super::{Dataset, args};
use crate::columnar::ipc;
use crate::dataset::{AddColumns, IndexConfig, IndexInfo, OptimizeConfig, Place, TableAt};
use crate::room::toolkit::{Call, ToolError};
use crate::wire::Content;
use serde_json::{Map, Value, json};

/// Age of versions that `optimize` forgets when nothing else is said, seconds: a week.
const OLDER_THAN_SECONDS_DEFAULT: u64 = 604_800;

impl Dataset {
    pub(super) async fn administer(&self, call: &Call) -> Result<Content, ToolError> {
        let room = call.session.room.id;
        match call.tool {
            "list_tables" => {
                let args: args::In = call.args()?;
                Ok(Content::Json(json!({"tables": self.store.list_tables(&args.of(room)).await?})))
            }
            "inspect" => self.inspect(call).await,
            "drop_table" => {
                let args: args::DropTable = call.args()?;
                let at = args.place.table(room, args.name);
                self.store.drop_table(&at, args.ignore_missing.unwrap_or(false)).await?;
                Ok(Content::Empty)
            }
            "rename_table" => {
                let args: args::RenameTable = call.args()?;
                self.store.rename_table(&args.place.table(room, args.name), &args.new_name).await?;
                Ok(Content::Empty)
            }
            "add_columns" => self.add_columns(call).await,
            "drop_columns" => {
                let args: args::DropColumns = call.args()?;
                self.store.drop_columns(&args.place.table(room, args.table), &args.columns).await?;
                Ok(Content::Empty)
            }
            "update_column_metadata" => {
                let args: args::ColumnMetadata = call.args()?;
                let metadata = args.metadata.into_iter().map(|entry| (entry.key, entry.value)).collect();
                let at = args.place.table(room, args.table);
                self.store.set_column_metadata(&at, &args.column, metadata).await?;
                Ok(Content::Empty)
            }
            "create_index" => self.create_index(call).await,
            "list_indexes" => self.list_indexes(call).await,
            "drop_index" => {
                let args: args::TableAndName = call.args()?;
                self.store.drop_index(&args.place.table(room, args.table), &args.name).await?;
                Ok(Content::Empty)
            }
            "stats" => self.stats(call).await,
            _ => self.administer_versions(call).await,
        }
    }

    async fn administer_versions(&self, call: &Call) -> Result<Content, ToolError> {
        let room = call.session.room.id;
        let whole = |namespace: Option<Vec<String>>| Place {
            room,
            namespace: namespace.unwrap_or_default(),
            branch: None,
        };
        match call.tool {
            "optimize" => self.optimize(call).await,
            "restore" => {
                let args: args::Restore = call.args()?;
                self.store.restore(&args.place.table(room, args.table), args.version).await?;
                Ok(Content::Empty)
            }
            "list_versions" => self.list_versions(call).await,
            "list_branches" => {
                let args: args::Branches = call.args()?;
                let branches = self.store.branches(&whole(args.namespace)).await?;
                let branches: Vec<Value> = branches
                    .into_iter()
                    .map(|branch| {
                        json!({
                            "name": branch.name,
                            "parent_branch": branch.parent,
                            "created_at": branch.created_at.to_rfc3339(),
                        })
                    })
                    .collect();
                Ok(Content::Json(json!({"branches": branches})))
            }
            "create_branch" => {
                let args: args::Branch = call.args()?;
                let place = whole(args.namespace);
                self.store.create_branch(&place, &args.branch, args.from_branch.as_deref()).await?;
                Ok(Content::Empty)
            }
            "delete_branch" => {
                let args: args::Branch = call.args()?;
                self.store.delete_branch(&whole(args.namespace), &args.branch).await?;
                Ok(Content::Empty)
            }
            other => Err(ToolError::failed(format!("dataset.{other} is described and has no code"))),
        }
    }

    async fn add_columns(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::AddColumns = call.args()?;
        let columns = match (&call.content, args.columns) {
            (Content::Binary { data, .. }, _) => AddColumns::Schema(ipc::decode_schema(data)?),
            (_, Some(columns)) => {
                AddColumns::Sql(columns.into_iter().map(|column| (column.name, column.value_sql)).collect())
            }
            (_, None) => {
                return Err(ToolError::invalid(
                    "dataset.add_columns wants an Arrow schema as binary data, or `columns` with SQL",
                ));
            }
        };
        self.store.add_columns(&args.place.table(call.session.room.id, args.table), columns).await?;
        Ok(Content::Empty)
    }

    async fn create_index(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::CreateIndex = call.args()?;
        let config = index_config(args.config)?;
        self.store.create_index(&args.place.table(call.session.room.id, args.table), config).await?;
        Ok(Content::Empty)
    }

    async fn list_indexes(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::Table = call.args()?;
        let indexes = self.store.indexes(&args.at(call.session.room.id)).await?;
        let indexes: Vec<Value> = indexes.into_iter().map(index).collect();
        Ok(Content::Json(json!({"indexes": indexes})))
    }

    async fn stats(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::Table = call.args()?;
        let stats = self.store.stats(&args.at(call.session.room.id)).await?;
        let fields: Vec<Value> =
            stats.columns.iter().map(|(name, bytes)| json!({"name": name, "bytes_on_disk": bytes})).collect();
        Ok(Content::Json(json!({
            "dataset": {
                "version": stats.version,
                "num_rows": stats.rows,
                "num_deleted_rows": stats.deleted_rows,
                "num_fragments": stats.segments,
                "size_bytes": stats.size_bytes,
            },
            "data": {"fields": fields},
        })))
    }

    async fn optimize(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::Optimize = call.args()?;
        let config = optimize_config(args.config.unwrap_or_default())?;
        let compact = config.compact;
        let clean = config.older_than_seconds.is_some() || config.retain_versions.is_some();
        let at = args.place.table(call.session.room.id, args.table);
        let report = self.store.optimize(&at, config).await?;
        let compaction = json!({
            "fragments_removed": report.segments_removed,
            "fragments_added": report.segments_added,
        });
        let cleanup =
            json!({"old_versions": report.old_versions_removed, "bytes_removed": report.bytes_removed});
        Ok(Content::Json(json!({
            "compaction": if compact { compaction } else { Value::Null },
            "optimized_indices": report.indices_optimized,
            "cleanup": if clean { cleanup } else { Value::Null },
        })))
    }

    async fn list_versions(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::Table = call.args()?;
        let at = TableAt { version: None, ..args.at(call.session.room.id) };
        let versions = self.store.versions(&at).await?;
        let versions: Vec<Value> = versions
            .into_iter()
            .map(|version| {
                json!({
                    "version": version.version,
                    "timestamp": version.at.to_rfc3339(),
                    "metadata_json": Value::Object(version.metadata).to_string(),
                })
            })
            .collect();
        Ok(Content::Json(json!({"versions": versions})))
    }
}

fn index(index: IndexInfo) -> Value {
    json!({
        "name": index.name,
        "columns": index.columns,
        "type": index.index_type,
        "num_rows_indexed": index.rows_indexed,
        "num_segments": 1,
        "total_size_bytes": index.size_bytes,
        "details_json": Value::Object(index.details).to_string(),
        "statistics_json": "{}",
    })
}

fn index_config(mut config: Map<String, Value>) -> Result<IndexConfig, ToolError> {
    let wrong = |what: &str| ToolError::invalid(format!("the index config is wrong: {what}"));
    let columns = match config.remove("column").or_else(|| config.remove("columns")) {
        Some(Value::String(column)) => vec![column],
        Some(Value::Array(columns)) => columns
            .into_iter()
            .map(|column| column.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .filter(|columns| !columns.is_empty())
            .ok_or_else(|| wrong("`column` must be a name or an array of names"))?,
        _ => return Err(wrong("`column` is missing: the name of a column, or an array of names")),
    };
    let Some(Value::String(index_type)) = config.remove("index_type") else {
        return Err(wrong("`index_type` is missing, such as \"BTREE\", \"FTS\" or \"IVF_PQ\""));
    };
    let name = match config.remove("name") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name),
        Some(_) => return Err(wrong("`name` must be text")),
    };
    let replace = config.remove("replace").and_then(|value| value.as_bool()).unwrap_or(true);
    config.retain(|_, value| !value.is_null());
    Ok(IndexConfig { columns, index_type: index_type.to_uppercase(), name, replace, settings: config })
}

/// The fields of the wire; the ones that the store does not have change nothing.
fn optimize_config(config: Map<String, Value>) -> Result<OptimizeConfig, ToolError> {
    let wrong = |name: &str, what: &str| {
        ToolError::invalid(format!("the optimize config is wrong: `{name}` must be {what}"))
    };
    let flag = |name: &str, otherwise| match config.get(name) {
        None | Some(Value::Null) => Ok(otherwise),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(wrong(name, "true or false")),
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    let count = |name: &str| match config.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(n) if (0.0..1e15).contains(&n) => Ok(Some(n as u64)),
            _ => Err(wrong(name, "a number of 0 or more")),
        },
    };
    let clean = flag("cleanup_old_versions", false)?;
    let older_than = count("older_than_seconds")?.unwrap_or(OLDER_THAN_SECONDS_DEFAULT);
    let retain = count("retain_versions")?;
    Ok(OptimizeConfig {
        compact: flag("compact_files", true)?,
        optimize_indices: flag("optimize_indices", true)?,
        older_than_seconds: clean.then_some(older_than),
        retain_versions: retain.filter(|_| clean),
    })
}

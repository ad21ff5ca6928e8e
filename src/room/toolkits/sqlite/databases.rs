//! Databases, and their tables by name.

use super::{Sqlite, args};
use crate::columnar::ipc;
use crate::room::toolkit::{Call, ToolError};
use crate::sqlite_db::{Replication, Settings};
use crate::wire::Content;
use serde_json::{Value, json};

impl Sqlite {
    pub(super) async fn administer(&self, call: &Call) -> Result<Content, ToolError> {
        let room = call.session.room.id;
        if call.tool == "list_databases" {
            let args: args::In = call.args()?;
            let names = self.databases.list(room, &args.namespace.unwrap_or_default()).await?;
            return Ok(Content::Json(json!({"databases": names})));
        }
        if matches!(call.tool, "create_database" | "update_database_settings") {
            let args: args::Settings = call.args()?;
            let change = args.change();
            let at = args::at(room, args.namespace, args.name);
            if call.tool == "update_database_settings" {
                return Ok(settings(self.databases.change_settings(&at, change).await?));
            }
            self.databases.create(&at, args.mode.unwrap_or_default().into(), change).await?;
            return Ok(Content::Empty);
        }
        if call.tool == "drop_database" {
            let args: args::DropDatabase = call.args()?;
            let at = args::at(room, args.namespace, args.name);
            self.databases.drop_database(&at, args.ignore_missing.unwrap_or(false)).await?;
            return Ok(Content::Empty);
        }
        let args: args::Database = call.args()?;
        let at = args::at(room, args.namespace.clone(), args.name);
        match call.tool {
            "get_database_settings" => Ok(settings(self.databases.settings(&at).await?)),
            "flush_database" => {
                self.databases.flush(&at).await?;
                Ok(Content::Json(json!({"flushed": true})))
            }
            "inspect_database" => {
                let details = self.databases.inspect(&at).await?;
                Ok(Content::Json(json!({
                    "name": at.name,
                    "namespace": args.namespace,
                    "tables": details.tables,
                    "size_bytes": details.size_bytes,
                })))
            }
            other => Err(ToolError::failed(format!("sqlite.{other} is described and has no code"))),
        }
    }

    pub(super) async fn tables(&self, call: &Call) -> Result<Content, ToolError> {
        let room = call.session.room.id;
        match call.tool {
            "list_tables" => {
                let args: args::Tables = call.args()?;
                let at = args::at(room, args.namespace, args.database);
                Ok(Content::Json(json!({"tables": self.databases.tables(&at).await?})))
            }
            "drop_table" => {
                let args: args::NamedTable = call.args()?;
                let at = args::at(room, args.namespace, args.database);
                self.databases.drop_table(&at, &args.name, args.ignore_missing.unwrap_or(false)).await?;
                Ok(Content::Empty)
            }
            "rename_table" => {
                let args: args::RenameTable = call.args()?;
                let at = args::at(room, args.namespace, args.database);
                self.databases.rename_table(&at, &args.name, &args.new_name).await?;
                Ok(Content::Empty)
            }
            "drop_columns" => {
                let args: args::DropColumns = call.args()?;
                let at = args::at(room, args.namespace, args.database);
                self.databases.drop_columns(&at, &args.table, args.columns).await?;
                Ok(Content::Empty)
            }
            "add_columns" => {
                let args: args::Table = call.args()?;
                let Content::Binary { data, .. } = &call.content else {
                    return Err(ToolError::invalid(
                        "sqlite.add_columns wants an Arrow schema as binary data",
                    ));
                };
                let at = args::at(room, args.namespace, args.database);
                self.databases.add_columns(&at, &args.table, ipc::decode_schema(data)?).await?;
                Ok(Content::Empty)
            }
            _ => {
                let args: args::Table = call.args()?;
                let at = args::at(room, args.namespace, args.database);
                let schema = self.databases.schema(&at, &args.table).await?;
                Ok(Content::binary(json!({"kind": "schema"}), ipc::encode_schema(&schema)?))
            }
        }
    }
}

fn settings(settings: Settings) -> Content {
    let mode: Value = match settings.replication_mode {
        Replication::Synchronous => "synchronous",
        Replication::Asynchronous => "asynchronous",
    }
    .into();
    Content::Json(json!({"replication_mode": mode, "flush_interval_ms": settings.flush_interval_ms}))
}

//! Which table each dataset tool needs. The tables that an SQL statement names are checked once more by the toolkit,
//! with [`table`], before the statement runs.

use super::{need, present, storage, text, unknown};
use crate::domain::access::{Need, TableAction};
use crate::room::toolkit::ToolError;
use crate::spec::ApiScope;
use serde_json::{Map, Value, json};

/// Stands for all tables at once in a refusal; a list of tables never covers it.
const EVERY_TABLE: &str = "*";

pub(super) fn check(api: &ApiScope, tool: &str, fields: &Map<String, Value>) -> Result<(), ToolError> {
    let namespace = namespace(fields)?;
    let on = |name: &str, action| table(api, &namespace, text(fields, name), action);
    match tool {
        "list_tables" | "list_branches" => need(api, &Need::ListTables),
        "inspect" | "search" | "count" | "stats" | "list_versions" | "list_indexes" | "watch_table" => {
            on("table", TableAction::Read)
        }
        "insert" | "update" | "delete" | "merge" => on("table", TableAction::Write),
        "create_table" | "drop_table" => on("name", TableAction::Alter),
        "rename_table" => on("name", TableAction::Alter).and_then(|()| on("new_name", TableAction::Alter)),
        "add_columns"
        | "drop_columns"
        | "update_column_metadata"
        | "create_index"
        | "drop_index"
        | "optimize"
        | "restore" => on("table", TableAction::Alter),
        // A branch is of the whole namespace.
        "create_branch" | "delete_branch" => table(api, &namespace, EVERY_TABLE, TableAction::Alter),
        "import_storage" => {
            let merges = matches!(text(fields, "mode"), "merge" | "append" | "insert");
            on("table", if merges { TableAction::Write } else { TableAction::Alter })?;
            storage::check(api, "download", fields)
        }
        "export_storage" => {
            on("table", TableAction::Read)?;
            storage::check(api, "upload", fields)
        }
        "execute_sql" | "open_sql_query" | "execute_sql_statement" => sql(api, &namespace, fields),
        "read_sql_query" | "close_sql_query" | "cancel_sql_query" => {
            present(api.dataset.as_ref(), "dataset", "reading a query")
        }
        _ => Err(unknown("dataset", tool)),
    }
}

/// May the participant do this to a table?
pub fn table(
    api: &ApiScope,
    namespace: &[String],
    table: &str,
    action: TableAction,
) -> Result<(), ToolError> {
    let namespace: Vec<&str> = namespace.iter().map(String::as_str).collect();
    need(api, &Need::Table { namespace: &namespace, table, action })
}

/// Each table handed to the statement must be within reach in some way; what the statement does to it is seen later.
fn sql(api: &ApiScope, namespace: &[String], fields: &Map<String, Value>) -> Result<(), ToolError> {
    present(api.dataset.as_ref(), "dataset", "SQL")?;
    for entry in fields.get("tables").and_then(Value::as_array).into_iter().flatten() {
        let name = entry.get("name").and_then(Value::as_str).unwrap_or_default();
        let own = entry.get("namespace").filter(|value| !value.is_null());
        let own = match own {
            Some(value) => path(value)?,
            None => namespace.to_vec(),
        };
        let may = |action| table(api, &own, name, action);
        may(TableAction::Read).or_else(|refused| {
            may(TableAction::Write).or_else(|_| may(TableAction::Alter)).map_err(|_| refused)
        })?;
    }
    Ok(())
}

/// The namespace that a request names; absent or null is the top.
pub(super) fn namespace(fields: &Map<String, Value>) -> Result<Vec<String>, ToolError> {
    path(fields.get("namespace").unwrap_or(&json!(null)))
}

fn path(value: &Value) -> Result<Vec<String>, ToolError> {
    let wrong = || ToolError::invalid("`namespace` must be an array of names, or null");
    match value {
        Value::Null => Ok(vec![]),
        Value::Array(parts) => {
            parts.iter().map(|part| part.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        _ => Err(wrong()),
    }
}

//! Which databases and tables each sqlite tool needs. What SQL touches is asked again, table by table, while SQLite
//! compiles it.

use super::dataset::namespace;
use super::{need, present, text, unknown};
use crate::domain::access::{Need, SqliteAction, TableAction};
use crate::room::toolkit::ToolError;
use crate::spec::ApiScope;
use serde_json::{Map, Value};

/// Stands for all tables of a database at once; a list of tables never covers it.
const EVERY_TABLE: &str = "*";

pub(super) fn check(api: &ApiScope, tool: &str, fields: &Map<String, Value>) -> Result<(), ToolError> {
    let namespace = namespace(fields)?;
    let name = text(fields, "name");
    let on = text(fields, "database");
    let of = |database: &str, action| database_of(api, &namespace, database, action);
    let within = |field: &str, action| table(api, &namespace, on, text(fields, field), action);
    match tool {
        "list_databases" => need(api, &Need::ListDatabases),
        "create_database" => {
            need(api, &Need::CreateDatabase)?;
            // Replacing one deletes it.
            if text(fields, "mode") == "overwrite" { of(name, SqliteAction::Drop) } else { Ok(()) }
        }
        "get_database_settings" | "inspect_database" | "flush_database" => of(name, SqliteAction::Inspect),
        "update_database_settings" | "drop_database" => of(name, SqliteAction::Drop),
        "list_tables" => of(on, SqliteAction::ListTables),
        "create_table" => {
            of(on, SqliteAction::CreateTable)?;
            if text(fields, "mode") == "overwrite" { within("name", TableAction::Alter) } else { Ok(()) }
        }
        "drop_table" => within("name", TableAction::Alter),
        "rename_table" => {
            within("name", TableAction::Alter).and_then(|()| within("new_name", TableAction::Alter))
        }
        "add_columns" | "drop_columns" => within("table", TableAction::Alter),
        "inspect" | "search" | "count" => within("table", TableAction::Read),
        "insert" | "update" | "delete" => within("table", TableAction::Write),
        "execute_sql" | "open_sql_query" | "execute_sql_statement" | "execute_sql_batch" => {
            of(on, SqliteAction::Execute)
        }
        "read_sql_query" | "close_sql_query" | "cancel_sql_query" => {
            present(api.sqlite.as_ref(), "sqlite", "reading a query")
        }
        "backup" => every_table(api, &namespace, on, TableAction::Read),
        "restore" => {
            need(api, &Need::CreateDatabase)?;
            every_table(api, &namespace, on, TableAction::Write)
        }
        _ => Err(unknown("sqlite", tool)),
    }
}

/// May the participant do this to a table?
pub fn table(
    api: &ApiScope,
    namespace: &[String],
    database: &str,
    table: &str,
    action: TableAction,
) -> Result<(), ToolError> {
    let namespace: Vec<&str> = namespace.iter().map(String::as_str).collect();
    need(api, &Need::DatabaseTable { namespace: &namespace, database, table, action })
}

/// May the participant do this to all tables of a database?
pub fn every_table(
    api: &ApiScope,
    namespace: &[String],
    database: &str,
    action: TableAction,
) -> Result<(), ToolError> {
    table(api, namespace, database, EVERY_TABLE, action)
}

/// May the participant do this to a database?
pub fn database_of(
    api: &ApiScope,
    namespace: &[String],
    database: &str,
    action: SqliteAction,
) -> Result<(), ToolError> {
    let namespace: Vec<&str> = namespace.iter().map(String::as_str).collect();
    need(api, &Need::Database { namespace: &namespace, database, action })
}

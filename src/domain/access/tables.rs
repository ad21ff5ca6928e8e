//! Grants for tables: datasets and SQLite databases.

use super::need::{SqliteAction, TableAction};
use super::same_namespace;
use crate::spec::grant::{DatasetGrant, SqliteDatabaseGrant, SqliteGrant};

/// Any matching entry that has the flag suffices; no entries at all means every table.
pub(super) fn dataset(grant: &DatasetGrant, namespace: &[&str], table: &str, action: TableAction) -> bool {
    let Some(tables) = &grant.tables else { return true };
    tables
        .iter()
        .filter(|entry| entry.name == table && same_namespace(entry.namespace.as_deref(), namespace))
        .any(|entry| flag(action, entry.read, entry.write, entry.alter))
}

/// Without a list of databases everything is allowed, also dropping.
pub(super) fn database(
    grant: &SqliteGrant,
    namespace: &[&str],
    database: &str,
    action: SqliteAction,
) -> bool {
    let allowed = |entry: &SqliteDatabaseGrant| match action {
        SqliteAction::CreateTable => entry.create_table,
        SqliteAction::Drop => entry.drop,
        SqliteAction::Inspect => entry.inspect,
        SqliteAction::ListTables => entry.list_tables,
        SqliteAction::Execute => entry.execute,
    };
    let Some(databases) = &grant.databases else { return true };
    databases.iter().filter(|entry| is(entry, namespace, database)).any(allowed)
}

/// Entries for the table decide where there are any; otherwise some matching database must leave its tables open.
pub(super) fn sqlite(
    grant: &SqliteGrant,
    namespace: &[&str],
    database: &str,
    table: &str,
    action: TableAction,
) -> bool {
    let Some(databases) = &grant.databases else { return true };
    let mut entries = databases
        .iter()
        .flat_map(|entry| entry.tables.as_deref().unwrap_or_default())
        .filter(|entry| entry.database == database && entry.table == table)
        .filter(|entry| same_namespace(entry.namespace.as_deref(), namespace))
        .peekable();
    if entries.peek().is_some() {
        return entries.any(|entry| flag(action, entry.read, entry.write, entry.alter));
    }
    databases.iter().any(|entry| is(entry, namespace, database) && entry.tables.is_none())
}

fn is(entry: &SqliteDatabaseGrant, namespace: &[&str], database: &str) -> bool {
    entry.name == database && same_namespace(entry.namespace.as_deref(), namespace)
}

const fn flag(action: TableAction, read: bool, write: bool, alter: bool) -> bool {
    match action {
        TableAction::Read => read,
        TableAction::Write => write,
        TableAction::Alter => alter,
    }
}

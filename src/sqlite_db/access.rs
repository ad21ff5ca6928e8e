//! What a caller's SQL may touch, asked by SQLite itself while it compiles a statement: every table and column read or
//! written, also through views, triggers and subqueries.

use crate::domain::access::{SqliteAction, TableAction};
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// What the caller may do. The refusal is a text for the caller.
pub trait Grants: Send + Sync + fmt::Debug + 'static {
    fn table(&self, table: &str, action: TableAction) -> Result<(), String>;
    /// The same to every table at once.
    fn every_table(&self, action: TableAction) -> Result<(), String>;
    fn database(&self, action: SqliteAction) -> Result<(), String>;
}

/// Pragmas that tell something and change nothing.
const PRAGMAS: [&str; 22] = [
    "application_id",
    "collation_list",
    "compile_options",
    "data_version",
    "encoding",
    "foreign_key_check",
    "foreign_key_list",
    "foreign_keys",
    "freelist_count",
    "function_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "page_count",
    "page_size",
    "pragma_list",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
    "user_version",
];
/// Pragmas whose value names what to tell about, and is not a new setting.
const PRAGMAS_WITH_SUBJECT: [&str; 9] = [
    "foreign_key_check",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "quick_check",
    "table_info",
    "table_xinfo",
];
/// Virtual tables that hold their data in the database.
const MODULES: [&str; 3] = ["fts5", "rtree", "rtree_i32"];
/// Table-valued functions that read only what they are given.
const FUNCTIONS_AS_TABLES: [&str; 2] = ["json_each", "json_tree"];
/// Functions that reach beyond the database.
const FUNCTIONS_REFUSED: [&str; 4] = ["load_extension", "fts3_tokenizer", "readfile", "writefile"];

/// Answers SQLite for one statement, and keeps the first refusal.
#[derive(Debug)]
pub(super) struct Judge {
    grants: Arc<dyn Grants>,
    refusal: Arc<Mutex<Option<String>>>,
    /// A change of the schema was allowed in this statement: SQLite's own tables follow.
    schema_changes: bool,
}

impl Judge {
    pub fn new(grants: Arc<dyn Grants>) -> (Self, Arc<Mutex<Option<String>>>) {
        let refusal = Arc::default();
        (Self { grants, refusal: Arc::clone(&refusal), schema_changes: false }, refusal)
    }

    pub fn authorize(&mut self, context: AuthContext<'_>) -> Authorization {
        match self.check(context.action) {
            Ok(()) => Authorization::Allow,
            Err(text) => {
                self.refusal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
                Authorization::Deny
            }
        }
    }

    fn check(&mut self, action: AuthAction<'_>) -> Result<(), String> {
        use AuthAction as A;
        match action {
            A::Select | A::Recursive => Ok(()),
            A::Function { function_name } => {
                let name = function_name.to_ascii_lowercase();
                refuse_if(FUNCTIONS_REFUSED.contains(&name.as_str()), "functions that reach beyond the database")
            }
            A::Read { table_name, .. } => self.read(table_name),
            A::Insert { table_name } | A::Delete { table_name } | A::Update { table_name, .. } => {
                self.write(table_name)
            }
            A::CreateTable { table_name } => {
                self.own(table_name).unwrap_or_else(|| self.create())
            }
            A::CreateView { .. } => self.create(),
            A::CreateVtable { module_name, .. } => {
                let name = module_name.to_ascii_lowercase();
                refuse_if(!MODULES.contains(&name.as_str()), "virtual tables other than fts5 and rtree")?;
                self.create()
            }
            A::DropTable { table_name }
            | A::DropVtable { table_name, .. }
            | A::DropView { view_name: table_name }
            | A::AlterTable { table_name, .. }
            | A::Analyze { table_name }
            | A::CreateIndex { table_name, .. }
            | A::DropIndex { table_name, .. } => self.alter(table_name),
            // A trigger runs with the grants of whoever sets it off, so it may be made only by who may do all that.
            A::CreateTrigger { .. } | A::DropTrigger { .. } | A::Reindex { .. } => {
                self.grants.every_table(TableAction::Alter)?;
                self.schema_changes = true;
                Ok(())
            }
            A::Pragma { pragma_name, pragma_value } => self.pragma(pragma_name, pragma_value),
            A::Attach { .. } | A::Detach { .. } => Err(refused("other database files")),
            A::Transaction { .. } | A::Savepoint { .. } => {
                Err("each call is a transaction of its own; send what belongs together to sqlite.execute_sql_batch".into())
            }
            _ => Err(refused("temporary tables, views and triggers")),
        }
    }

    fn create(&mut self) -> Result<(), String> {
        self.grants.database(SqliteAction::CreateTable)?;
        self.schema_changes = true;
        Ok(())
    }

    fn alter(&mut self, table: &str) -> Result<(), String> {
        if let Some(answer) = self.own(table) {
            return answer;
        }
        self.grants.table(table, TableAction::Alter)?;
        self.schema_changes = true;
        Ok(())
    }

    fn read(&self, table: &str) -> Result<(), String> {
        let lower = table.to_ascii_lowercase();
        if FUNCTIONS_AS_TABLES.contains(&lower.as_str()) || lower.starts_with("pragma_") {
            // What a pragma tells is asked for again when it runs.
            return Ok(());
        }
        if is_schema(&lower) {
            if self.schema_changes {
                return Ok(());
            }
            return self.grants.database(SqliteAction::ListTables);
        }
        if lower.starts_with("sqlite_") {
            return if self.schema_changes { Ok(()) } else { self.grants.every_table(TableAction::Read) };
        }
        self.grants.table(table, TableAction::Read)
    }

    fn write(&self, table: &str) -> Result<(), String> {
        let lower = table.to_ascii_lowercase();
        if is_schema(&lower) {
            // SQLite's own bookkeeping; the change that it belongs to is asked for as well, and statements that
            // write here themselves are refused by SQLite (defensive mode).
            return Ok(());
        }
        if lower.starts_with("sqlite_") {
            return if self.schema_changes { Ok(()) } else { self.grants.every_table(TableAction::Alter) };
        }
        // Making a table from a query, or dropping one, goes through its rows.
        if self.schema_changes && self.grants.table(table, TableAction::Alter).is_ok() {
            return Ok(());
        }
        self.grants.table(table, TableAction::Write)
    }

    /// SQLite's own tables, made or dropped along with others.
    fn own(&self, table: &str) -> Option<Result<(), String>> {
        let own = table.to_ascii_lowercase().starts_with("sqlite_");
        own.then(|| if self.schema_changes { Ok(()) } else { self.grants.every_table(TableAction::Alter) })
    }

    fn pragma(&self, name: &str, value: Option<&str>) -> Result<(), String> {
        let name = name.to_ascii_lowercase();
        refuse_if(!PRAGMAS.contains(&name.as_str()), &format!("the pragma `{name}`"))?;
        let subject = PRAGMAS_WITH_SUBJECT.contains(&name.as_str());
        match value {
            None if matches!(
                name.as_str(),
                "table_list" | "foreign_key_check" | "integrity_check" | "quick_check"
            ) =>
            {
                self.grants.database(SqliteAction::ListTables)
            }
            None => Ok(()),
            Some(_) if !subject => Err(refused(&format!("changing the pragma `{name}`"))),
            Some(table)
                if name.starts_with("table_") || name.starts_with("foreign_key_") || name == "index_list" =>
            {
                self.grants.table(table, TableAction::Read)
            }
            Some(_) => self.grants.database(SqliteAction::ListTables),
        }
    }
}

fn is_schema(lower: &str) -> bool {
    matches!(lower, "sqlite_schema" | "sqlite_master" | "sqlite_temp_schema" | "sqlite_temp_master")
}

fn refused(what: &str) -> String {
    format!("{what} are not offered in databases of a room")
}

fn refuse_if(condition: bool, what: &str) -> Result<(), String> {
    if condition { Err(refused(what)) } else { Ok(()) }
}

//! The caller's grants as the engine asks for them while SQL is compiled.

use crate::domain::access::{SqliteAction, TableAction};
use crate::room::guard;
use crate::room::toolkit::{Call, ToolError};
use crate::spec::ApiScope;
use crate::sqlite_db::{DatabaseAt, Grants};
use std::sync::Arc;

#[derive(Debug)]
struct CallerGrants {
    api: Arc<ApiScope>,
    at: DatabaseAt,
}

/// What the caller may do in a database.
pub(super) fn of(call: &Call, at: &DatabaseAt) -> Arc<dyn Grants> {
    Arc::new(CallerGrants { api: Arc::clone(&call.caller.api), at: at.clone() })
}

impl Grants for CallerGrants {
    fn table(&self, table: &str, action: TableAction) -> Result<(), String> {
        guard::sqlite::table(&self.api, &self.at.namespace, &self.at.name, table, action).map_err(text)
    }

    fn every_table(&self, action: TableAction) -> Result<(), String> {
        guard::sqlite::every_table(&self.api, &self.at.namespace, &self.at.name, action).map_err(text)
    }

    fn database(&self, action: SqliteAction) -> Result<(), String> {
        guard::sqlite::database_of(&self.api, &self.at.namespace, &self.at.name, action).map_err(text)
    }
}

fn text(error: ToolError) -> String {
    error.text
}

//! Statements that take effect together, or not at all.

use super::access::Grants;
use super::error::SqliteError;
use super::names::DatabaseAt;
use super::reader::{Kind, SqlRows, kept, look};
use super::run::{Text, execute, with_grants};
use super::{Expect, Outcome, SqliteDatabases, reader};
use serde_json::Value as Json;
use std::sync::Arc;

/// Most statements in one batch.
const COMMANDS_MAX: usize = 1_000;
/// Most bytes of rows that a batch may give.
const ROW_BYTES_MAX: usize = 32 * 1024 * 1024;

/// One statement with its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    pub query: String,
    pub params: Json,
}

/// What one statement of a batch gave.
#[derive(Debug)]
pub enum BatchResult {
    Affected(u64),
    Rows(SqlRows),
}

impl SqliteDatabases {
    /// Runs one statement.
    pub async fn execute(
        &self,
        at: &DatabaseAt,
        grants: Arc<dyn Grants>,
        command: Command,
        expect: Expect,
    ) -> Result<Outcome, SqliteError> {
        let handle = self.handle(at).await?;
        reader::run(handle, Text::whole(command.query), command.params, grants, expect).await
    }

    /// Runs statements in their order, as one transaction.
    pub async fn batch(
        &self,
        at: &DatabaseAt,
        grants: Arc<dyn Grants>,
        commands: Vec<Command>,
    ) -> Result<Vec<BatchResult>, SqliteError> {
        if commands.len() > COMMANDS_MAX {
            let text = format!("the batch has {} commands of at most {COMMANDS_MAX}", commands.len());
            return Err(SqliteError::invalid(text));
        }
        self.run(at, move |handle| {
            handle.transaction(|connection| {
                let mut left = ROW_BYTES_MAX;
                let mut results = Vec::with_capacity(commands.len());
                for (n, command) in commands.into_iter().enumerate() {
                    let text = Text::whole(command.query);
                    let result = with_grants(connection, &grants, |connection| {
                        match look(connection, &text, Expect::Anything)? {
                            Kind::Writes => {
                                execute(connection, &text, &command.params).map(BatchResult::Affected)
                            }
                            Kind::Reads | Kind::Gives => {
                                let (rows, bytes) = kept(connection, &text, &command.params, left)?;
                                left -= bytes;
                                Ok(BatchResult::Rows(rows))
                            }
                        }
                    });
                    results.push(result.map_err(|error| SqliteError {
                        text: format!(
                            "command {n} failed, and nothing of the batch was done: {}",
                            error.text
                        ),
                        ..error
                    })?);
                }
                Ok(results)
            })
        })
        .await
    }
}

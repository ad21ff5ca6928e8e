//! One statement of a caller: compiled under its grants, its parameters bound, its rows told from its effects.

use super::access::{Grants, Judge};
use super::error::SqliteError;
use super::values;
use crate::columnar::typed::{Form, Typed};
use crate::error_code::RoomCode;
use rusqlite::hooks::{AuthContext, Authorization};
use rusqlite::types::Value;
use rusqlite::{Connection, Statement};
use serde_json::Value as Json;
use std::sync::{Arc, Mutex, PoisonError};

/// SQL of a caller, with what stands around it in what runs.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub before: String,
    pub own: String,
    pub after: String,
}

impl Text {
    pub fn whole(own: impl Into<String>) -> Self {
        Self { before: String::new(), own: own.into(), after: String::new() }
    }

    pub fn full(&self) -> String {
        format!("{}{}{}", self.before, self.own, self.after)
    }

    pub fn error(&self, error: &rusqlite::Error) -> SqliteError {
        SqliteError::within(error, &self.own, self.before.len())
    }
}

/// Lets the connection ask the caller's grants until [`free`].
pub(super) fn judged(
    connection: &mut Connection,
    grants: &Arc<dyn Grants>,
) -> Result<Arc<Mutex<Option<String>>>, SqliteError> {
    let (mut judge, refusal) = Judge::new(Arc::clone(grants));
    connection
        .authorizer(Some(move |context: AuthContext<'_>| judge.authorize(context)))
        .map_err(|error| SqliteError::of(&error, ""))?;
    Ok(refusal)
}

/// Ends what [`judged`] began.
pub(super) fn free(connection: &mut Connection) {
    // Cannot fail; a connection that keeps its judge only refuses more.
    let _ = connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>);
}

/// Runs `work` while the connection asks the caller's grants; a refusal is the error.
pub(super) fn with_grants<T>(
    connection: &mut Connection,
    grants: &Arc<dyn Grants>,
    work: impl FnOnce(&Connection) -> Result<T, SqliteError>,
) -> Result<T, SqliteError> {
    let refusal = judged(connection, grants)?;
    let result = work(connection);
    free(connection);
    result.map_err(|error| refused(&refusal, error))
}

/// The refusal that stands behind an error of SQLite.
pub(super) fn refused(refusal: &Mutex<Option<String>>, error: SqliteError) -> SqliteError {
    match refusal.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(text) if error.code == RoomCode::PermissionDenied || error.text.contains("not authorized") => {
            SqliteError::new(RoomCode::PermissionDenied, text)
        }
        _ => error,
    }
}

/// Binds parameters: an array by position, an object by name, null for none.
pub(super) fn bind(statement: &mut Statement<'_>, params: &Json) -> Result<(), SqliteError> {
    let count = statement.parameter_count();
    let names: Vec<Option<String>> =
        (1..=count).map(|index| statement.parameter_name(index).map(str::to_owned)).collect();
    let mut set = vec![false; count];
    match params {
        Json::Null => {}
        Json::Array(values) => {
            if values.len() > count {
                let text = format!("{} parameters came for a statement that takes {count}", values.len());
                return Err(SqliteError::invalid(text));
            }
            for (n, value) in values.iter().enumerate() {
                set_parameter(statement, n + 1, value)?;
                set[n] = true;
            }
        }
        Json::Object(values) => {
            for (name, value) in values {
                let bare = name.trim_start_matches([':', '@', '$']);
                let same = |known: &Option<String>| known.as_deref().is_some_and(|known| &known[1..] == bare);
                let Some(n) = names.iter().position(same) else {
                    let known: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
                    let text =
                        format!("the statement has no parameter `{name}`; it has: {}", known.join(", "));
                    return Err(SqliteError::invalid(text));
                };
                set_parameter(statement, n + 1, value)?;
                set[n] = true;
            }
        }
        _ => return Err(SqliteError::invalid("`params` must be an array, an object or null")),
    }
    match set.iter().position(|set| !set) {
        None => Ok(()),
        Some(n) => {
            let name = names[n].clone().unwrap_or_else(|| format!("number {}", n + 1));
            Err(SqliteError::invalid(format!("the parameter {name} has no value in `params`")))
        }
    }
}

fn set_parameter(statement: &mut Statement<'_>, index: usize, value: &Json) -> Result<(), SqliteError> {
    let value = parameter(value)?;
    statement.raw_bind_parameter(index, value).map_err(|error| SqliteError::of(&error, ""))
}

/// Plain JSON, or a typed value; other arrays and objects are JSON text.
pub(super) fn parameter(value: &Json) -> Result<Value, SqliteError> {
    let wrapped = value.as_object().is_some_and(|fields| fields.len() == 1);
    match value {
        Json::Array(_) => Ok(Value::Text(value.to_string())),
        Json::Object(_) if !wrapped => Ok(Value::Text(value.to_string())),
        Json::Object(_) => Ok(Typed::read(value, Form::Wrapped)
            .map_or_else(|_| Value::Text(value.to_string()), |v| values::store(&v))),
        _ => Typed::read(value, Form::Plain).map(|v| values::store(&v)).map_err(SqliteError::invalid),
    }
}

/// Runs a statement to its end and counts the rows it changed.
pub(super) fn execute(connection: &Connection, text: &Text, params: &Json) -> Result<u64, SqliteError> {
    let mut statement = connection.prepare(&text.full()).map_err(|error| text.error(&error))?;
    bind(&mut statement, params)?;
    let before = connection.total_changes();
    let mut rows = statement.raw_query();
    while rows.next().map_err(|error| text.error(&error))?.is_some() {}
    drop(rows);
    let changed =
        if statement.readonly() || connection.total_changes() == before { 0 } else { connection.changes() };
    Ok(changed)
}

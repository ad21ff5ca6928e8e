//! Tables and their rows, by name instead of SQL.

use super::access::Grants;
use super::error::SqliteError;
use super::names::DatabaseAt;
use super::reader::{self, SqlRows};
use super::run::{self, Text};
use super::{Expect, Outcome, SqliteDatabases, decl, literal};
use crate::columnar::typed::{Form, Typed};
use crate::error_code::RoomCode;
use arrow_schema::{Field, Schema, SchemaRef};
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Map, Value as Json};
use std::sync::Arc;

/// Most tables listed.
const TABLES_MAX: usize = 10_000;

/// Which rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    All,
    /// SQL condition.
    Where(String),
    /// Columns and the values they must have.
    Equal(Map<String, Json>),
}

/// Which rows and columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    pub table: String,
    pub wanted: Wanted,
    pub params: Json,
    pub offset: Option<u64>,
    pub limit: Option<u64>,
    pub select: Option<Vec<String>>,
}

impl SqliteDatabases {
    /// Names in order, views included.
    pub async fn tables(&self, at: &DatabaseAt) -> Result<Vec<String>, SqliteError> {
        self.run(at, |handle| {
            let connection = handle.connection()?;
            let sql = format!(
                "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') \
                 AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name LIMIT {TABLES_MAX}"
            );
            let names = connection.prepare(&sql).and_then(|mut statement| {
                statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()
            });
            names.map_err(|error| SqliteError::of(&error, ""))
        })
        .await
    }

    pub async fn schema(&self, at: &DatabaseAt, table: &str) -> Result<SchemaRef, SqliteError> {
        let table = table.to_owned();
        self.run(at, move |handle| schema(handle.connection()?, &table)).await
    }

    pub async fn drop_table(
        &self,
        at: &DatabaseAt,
        table: &str,
        ignore_missing: bool,
    ) -> Result<(), SqliteError> {
        let table = table.to_owned();
        self.run(at, move |handle| {
            handle.transaction(|connection| {
                let kind: Option<String> = connection
                    .query_row("SELECT type FROM sqlite_schema WHERE name = ?1", [&table], |row| row.get(0))
                    .optional()
                    .map_err(|error| SqliteError::of(&error, ""))?;
                match kind.as_deref() {
                    Some("view") => change(connection, &format!("DROP VIEW {}", literal::name(&table))),
                    Some(_) => change(connection, &format!("DROP TABLE {}", literal::name(&table))),
                    None if ignore_missing => Ok(()),
                    None => Err(SqliteError::no_table(&table)),
                }
            })
        })
        .await
    }

    pub async fn rename_table(
        &self,
        at: &DatabaseAt,
        table: &str,
        new_name: &str,
    ) -> Result<(), SqliteError> {
        check_name("table", new_name)?;
        let (table, new_name) = (table.to_owned(), new_name.to_owned());
        self.run(at, move |handle| {
            handle.transaction(|connection| {
                must_exist(connection, &table)?;
                if exists(connection, &new_name)? && !table.eq_ignore_ascii_case(&new_name) {
                    let text = format!("table `{new_name}` exists; choose another name");
                    return Err(SqliteError::new(RoomCode::AlreadyExists, text));
                }
                let (old, new) = (literal::name(&table), literal::name(&new_name));
                change(connection, &format!("ALTER TABLE {old} RENAME TO {new}"))
            })
        })
        .await
    }

    /// Adds nullable columns, null in every row.
    pub async fn add_columns(
        &self,
        at: &DatabaseAt,
        table: &str,
        columns: SchemaRef,
    ) -> Result<(), SqliteError> {
        let table = table.to_owned();
        self.run(at, move |handle| {
            handle.transaction(|connection| {
                must_exist(connection, &table)?;
                for field in columns.fields() {
                    check_name("column", field.name())?;
                    let (table, column) = (literal::name(&table), literal::name(field.name()));
                    let declared = decl::declare(field)?;
                    change(connection, &format!("ALTER TABLE {table} ADD COLUMN {column} {declared}"))?;
                }
                Ok(())
            })
        })
        .await
    }

    pub async fn drop_columns(
        &self,
        at: &DatabaseAt,
        table: &str,
        columns: Vec<String>,
    ) -> Result<(), SqliteError> {
        let table = table.to_owned();
        self.run(at, move |handle| {
            handle.transaction(|connection| {
                must_exist(connection, &table)?;
                for column in &columns {
                    let (table, column) = (literal::name(&table), literal::name(column));
                    change(connection, &format!("ALTER TABLE {table} DROP COLUMN {column}"))?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Sets columns of the rows that `condition` selects; `values` are SQL or typed values. Rows changed.
    pub async fn update(
        &self,
        at: &DatabaseAt,
        grants: Arc<dyn Grants>,
        search: Search,
        values: Vec<(String, Json)>,
    ) -> Result<u64, SqliteError> {
        let mut sets = Vec::with_capacity(values.len());
        for (column, value) in values {
            sets.push(format!("{} = {}", literal::name(&column), new_value(&column, &value)?));
        }
        if sets.is_empty() {
            return Err(SqliteError::invalid("`values` is empty: name the columns to set"));
        }
        let head = format!("UPDATE {} SET {}", literal::name(&search.table), sets.join(", "));
        self.change(at, grants, head, search).await
    }

    /// Deletes rows; the number of them.
    pub async fn delete(
        &self,
        at: &DatabaseAt,
        grants: Arc<dyn Grants>,
        search: Search,
    ) -> Result<u64, SqliteError> {
        let head = format!("DELETE FROM {}", literal::name(&search.table));
        self.change(at, grants, head, search).await
    }

    async fn change(
        &self,
        at: &DatabaseAt,
        grants: Arc<dyn Grants>,
        head: String,
        search: Search,
    ) -> Result<u64, SqliteError> {
        let text = condition(head, &search.wanted)?;
        self.run(at, move |handle| {
            handle.writing(|connection| {
                must_exist(connection, &search.table)?;
                run::with_grants(connection, &grants, |connection| {
                    reader::look(connection, &text, Expect::Statement)?;
                    run::execute(connection, &text, &search.params)
                })
            })
        })
        .await
    }

    pub async fn search(
        &self,
        at: &DatabaseAt,
        grants: Arc<dyn Grants>,
        search: Search,
    ) -> Result<SqlRows, SqliteError> {
        let columns = match &search.select {
            None => "*".to_owned(),
            Some(names) if names.is_empty() => {
                return Err(SqliteError::invalid("`select` is empty: name columns"));
            }
            Some(names) => names.iter().map(|name| literal::name(name)).collect::<Vec<_>>().join(", "),
        };
        let head = format!("SELECT {columns} FROM {}", literal::name(&search.table));
        let mut text = condition(head, &search.wanted)?;
        if search.limit.is_some() || search.offset.is_some() {
            let limit = search.limit.map_or_else(|| "-1".to_owned(), |limit| limit.to_string());
            text.after.push_str(&format!(" LIMIT {limit} OFFSET {}", search.offset.unwrap_or(0)));
        }
        let handle = self.handle(at).await?;
        let (table, select) = (search.table, search.select.unwrap_or_default());
        let (handle, checked) = super::handles::work(handle, move |handle| {
            let schema = schema(handle.connection()?, &table)?;
            // An unknown name in double quotes would be taken as text.
            match select.iter().find(|name| schema.field_with_name(name).is_err()) {
                Some(name) => Err(no_column(&schema, name)),
                None => Ok(()),
            }
        })
        .await;
        checked?;
        let Some(handle) = handle else { return Err(SqliteError::failed("the connection is closed")) };
        match reader::run(handle, text, search.params, grants, Expect::Rows).await? {
            Outcome::Rows(rows) => Ok(rows),
            Outcome::Affected(_) => Err(SqliteError::failed("the search gave no rows")),
        }
    }

    pub async fn count(
        &self,
        at: &DatabaseAt,
        grants: Arc<dyn Grants>,
        search: Search,
    ) -> Result<u64, SqliteError> {
        let head = format!("SELECT count(*) FROM {}", literal::name(&search.table));
        let text = condition(head, &search.wanted)?;
        self.run(at, move |handle| {
            let connection = handle.connection()?;
            must_exist(connection, &search.table)?;
            run::with_grants(connection, &grants, |connection| {
                let mut statement = connection.prepare(&text.full()).map_err(|error| text.error(&error))?;
                run::bind(&mut statement, &search.params)?;
                let mut rows = statement.raw_query();
                let row = rows.next().map_err(|error| text.error(&error))?;
                let count =
                    row.map_or(Ok(0), |row| row.get::<_, i64>(0)).map_err(|error| text.error(&error))?;
                Ok(count.unsigned_abs())
            })
        })
        .await
    }
}

/// `head` and the condition, with the caller's part of it apart.
fn condition(head: String, wanted: &Wanted) -> Result<Text, SqliteError> {
    Ok(match wanted {
        Wanted::All => Text { before: head, own: String::new(), after: String::new() },
        // On a line of its own, so that a comment does not swallow the end.
        Wanted::Where(own) => {
            Text { before: format!("{head} WHERE ("), own: own.clone(), after: "\n)".to_owned() }
        }
        Wanted::Equal(columns) => {
            let mut parts = Vec::with_capacity(columns.len());
            for (column, value) in columns {
                let value = literal::value(&run::parameter(value)?);
                parts.push(format!("{} IS {value}", literal::name(column)));
            }
            let all = if parts.is_empty() { "1".to_owned() } else { parts.join(" AND ") };
            Text { before: format!("{head} WHERE {all}"), own: String::new(), after: String::new() }
        }
    })
}

fn new_value(column: &str, value: &Json) -> Result<String, SqliteError> {
    if let Some(sql) = value
        .get("expression")
        .and_then(Json::as_str)
        .filter(|_| value.as_object().is_some_and(|v| v.len() == 1))
    {
        return Ok(format!("({sql}\n)"));
    }
    let typed = Typed::read(value, Form::Wrapped)
        .map_err(|reason| SqliteError::invalid(format!("the value for column `{column}`: {reason}")))?;
    Ok(literal::typed(&typed))
}

/// The columns of a table or view.
pub(super) fn schema(connection: &Connection, table: &str) -> Result<SchemaRef, SqliteError> {
    let ours = |error: rusqlite::Error| SqliteError::of(&error, "");
    let sql = "SELECT name, type, \"notnull\" FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid";
    let mut statement = connection.prepare(sql).map_err(ours)?;
    let fields = statement.query_map([table], |row| {
        let (name, declared): (String, String) = (row.get(0)?, row.get(1)?);
        let nullable = row.get::<_, i64>(2)? == 0;
        Ok(decl::field(&name, &declared, nullable)
            .unwrap_or_else(|| Field::new(&name, arrow_schema::DataType::Utf8, nullable)))
    });
    let fields = fields.and_then(Iterator::collect::<rusqlite::Result<Vec<Field>>>).map_err(ours)?;
    if fields.is_empty() { Err(SqliteError::no_table(table)) } else { Ok(Arc::new(Schema::new(fields))) }
}

pub(super) fn exists(connection: &Connection, table: &str) -> Result<bool, SqliteError> {
    let sql =
        "SELECT count(*) FROM sqlite_schema WHERE type IN ('table', 'view') AND lower(name) = lower(?1)";
    let count: i64 =
        connection.query_row(sql, [table], |row| row.get(0)).map_err(|error| SqliteError::of(&error, ""))?;
    Ok(count > 0)
}

pub(super) fn must_exist(connection: &Connection, table: &str) -> Result<(), SqliteError> {
    if exists(connection, table)? { Ok(()) } else { Err(SqliteError::no_table(table)) }
}

pub(super) fn change(connection: &Connection, sql: &str) -> Result<(), SqliteError> {
    connection.execute_batch(sql).map_err(|error| SqliteError::of(&error, ""))
}

pub(super) fn check_name(what: &str, name: &str) -> Result<(), SqliteError> {
    let reserved = name.to_ascii_lowercase().starts_with("sqlite_");
    if name.trim().is_empty() || reserved || name.contains('\0') {
        let text = format!("`{name}` is no name for a {what}: it must not be empty or begin with `sqlite_`");
        return Err(SqliteError::invalid(text));
    }
    Ok(())
}

pub(super) fn no_column(schema: &Schema, name: &str) -> SqliteError {
    let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    SqliteError::invalid(format!("there is no column `{name}`; there are: {}", known.join(", ")))
}

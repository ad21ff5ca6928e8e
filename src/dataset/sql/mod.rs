//! SQL over datasets: `DataFusion`'s dialect, bound to Arrow schemas and printed for SQLite.
//!
//! Every expression is printed so that SQLite yields the stored form of its Arrow type (`crate::columnar`), so results
//! are read like columns. User text never reaches SQLite: it is parsed, resolved, typed and printed anew.
//!
//! Knows no tables on disk, versions, rooms or grants; `docs/datasets-sql.md` is the dialect.

#![allow(
    clippy::match_same_arms,
    clippy::unused_self,
    reason = "tables of types and functions read best one line each; the translator's steps are its methods"
)]

mod aggregate;
mod arith;
mod call;
mod cast;
mod catalogue;
mod cells;
mod compare;
mod constant;
mod datetime;
mod display;
mod expr;
mod from;
mod lists;
mod nested;
mod params;
mod pattern;
mod predicates;
mod query;
mod scope;
mod select;
mod statement;
mod text;
mod timecalls;
mod typed;

pub mod functions;

pub use query::Source;
pub use statement::{Named, Plan, QueryPlan, Tables, plan, tables_of};

#[cfg(test)]
mod tests;

use super::DatasetError;
use arrow_schema::{FieldRef, Schema};

/// A condition over the columns of one table, as SQLite SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// In parentheses; true, false or null. Columns stand as `"name"`; functions are those that
    /// [`functions::register`] gives to the connection.
    pub sql: String,
    /// Columns it reads, each once, in the order of the schema.
    pub columns: Vec<String>,
}

/// An expression over the columns of one table, as SQLite SQL that yields the stored form of its type.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    pub sql: String,
    /// Type, nullability and metadata of what it yields; `Null` where the text says only `NULL`.
    pub field: FieldRef,
    /// Columns it reads, each once, in the order of the schema.
    pub columns: Vec<String>,
}

/// Reads a condition (`where` of a request) over the columns of `schema`.
///
/// Errors are for the author of `text`: what is wrong, where, and the nearest thing that would be right.
pub fn filter(schema: &Schema, text: &str) -> Result<Condition, DatasetError> {
    let parsed = text::expression(text)?;
    let scope = scope::Scope::of_schema(schema);
    let mut translator = expr::Translator::for_row();
    let typed = translator.expr(&scope, &parsed)?;
    let typed = translator.boolean(typed)?;
    Ok(Condition { sql: format!("({})", typed.sql), columns: translator.columns_read(schema) })
}

/// Reads an expression over the columns of `schema`, of whatever type it has.
pub fn expression(schema: &Schema, text: &str) -> Result<Expression, DatasetError> {
    expression_as(schema, text, None)
}

/// Reads an expression that is to be stored in a column of the field `target`, and casts it where it must.
pub fn expression_for(schema: &Schema, text: &str, target: &FieldRef) -> Result<Expression, DatasetError> {
    expression_as(schema, text, Some(target))
}

fn expression_as(schema: &Schema, text: &str, target: Option<&FieldRef>) -> Result<Expression, DatasetError> {
    let parsed = text::expression(text)?;
    let scope = scope::Scope::of_schema(schema);
    let mut translator = expr::Translator::for_row();
    let mut typed = translator.expr(&scope, &parsed)?;
    if let Some(target) = target {
        typed = translator.assign(typed, target)?;
    } else {
        typed.data_type = typed::plain(&typed.data_type).clone();
    }
    Ok(Expression {
        field: typed.field("expression"),
        sql: format!("({})", typed.sql),
        columns: translator.columns_read(schema),
    })
}

//! A user's SQL as SQLite's, over columns under their Arrow names.

use crate::dataset::{DatasetError, sql};
use arrow_schema::{FieldRef, Schema};
use std::sync::Arc;

/// SQL that reads some columns.
#[derive(Debug, Clone)]
pub(super) struct Translated {
    pub sql: String,
    /// Names of the columns it reads.
    pub columns: Vec<String>,
}

pub(super) fn condition(schema: &Schema, text: &str) -> Result<Translated, DatasetError> {
    let condition = sql::filter(schema, text)?;
    Ok(Translated { sql: condition.sql, columns: condition.columns })
}

/// A value for a column.
pub(super) fn value(schema: &Schema, text: &str, target: &FieldRef) -> Result<Translated, DatasetError> {
    let expression = sql::expression_for(schema, text, target)?;
    Ok(Translated { sql: expression.sql, columns: expression.columns })
}

/// A column to be added, and the SQL that fills it.
pub(super) fn new_column(
    schema: &Schema,
    name: &str,
    text: &str,
) -> Result<(Translated, FieldRef), DatasetError> {
    let expression = sql::expression(schema, text)?;
    let field = expression.field.as_ref().clone().with_name(name).with_nullable(true);
    Ok((Translated { sql: expression.sql, columns: expression.columns }, Arc::new(field)))
}

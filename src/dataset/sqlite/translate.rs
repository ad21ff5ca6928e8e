//! A user's SQL as SQLite's, over columns under their Arrow names: so far plain conditions without functions.

use super::view::quote;
use crate::dataset::DatasetError;
use arrow_schema::{FieldRef, Schema};
use sqlparser::ast::{Expr, Ident, visit_expressions_mut};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;
use std::ops::ControlFlow;

/// SQL that reads some columns.
#[derive(Debug, Clone)]
pub(super) struct Translated {
    pub sql: String,
    /// Names of the columns it reads.
    pub columns: Vec<String>,
}

pub(super) fn condition(schema: &Schema, text: &str) -> Result<Translated, DatasetError> {
    let wrong = |reason: String| DatasetError::invalid(format!("`{text}` is no condition: {reason}"));
    let dialect = GenericDialect {};
    let mut parser = Parser::new(&dialect).try_with_sql(text).map_err(|e| wrong(e.to_string()))?;
    let mut parsed = parser.parse_expr().map_err(|e| wrong(e.to_string()))?;
    if parser.peek_token().token != Token::EOF {
        return Err(wrong("more follows than one condition".to_owned()));
    }
    let mut columns = Vec::new();
    let checked = visit_expressions_mut(&mut parsed, |part| match part {
        Expr::Identifier(name) => {
            let wanted = |field: &&FieldRef| match name.quote_style {
                Some(_) => *field.name() == name.value,
                None => field.name().eq_ignore_ascii_case(&name.value),
            };
            match schema.fields().iter().find(wanted) {
                Some(field) => {
                    *name = Ident::with_quote('"', field.name().clone());
                    columns.push(field.name().clone());
                    ControlFlow::Continue(())
                }
                None => ControlFlow::Break(format!("there is no column `{}`", name.value)),
            }
        }
        Expr::BinaryOp { .. }
        | Expr::UnaryOp { .. }
        | Expr::Nested(_)
        | Expr::Value(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::Between { .. }
        | Expr::InList { .. }
        | Expr::Like { .. } => ControlFlow::Continue(()),
        other => ControlFlow::Break(format!("`{other}` is not supported yet")),
    });
    match checked {
        ControlFlow::Break(reason) => Err(wrong(reason)),
        ControlFlow::Continue(()) => Ok(Translated { sql: format!("({parsed})"), columns }),
    }
}

/// A value for a column.
pub(super) fn value(schema: &Schema, text: &str, _target: &FieldRef) -> Result<Translated, DatasetError> {
    condition(schema, text)
}

/// A column to be added, and the SQL that fills it.
pub(super) fn new_column(
    _schema: &Schema,
    name: &str,
    _text: &str,
) -> Result<(Translated, FieldRef), DatasetError> {
    Err(DatasetError::invalid(format!("{} cannot be computed yet; add it by a schema", quote(name))))
}

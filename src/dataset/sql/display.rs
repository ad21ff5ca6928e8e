//! Names of result columns that have no alias, as `DataFusion` makes them.

use super::scope::{Scope, same};
use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, UnaryOperator, Value};

/// Longest name, characters.
const MAX_CHARS: usize = 300;

/// `top`: a bare column is called without its table.
pub(super) fn display(scope: &Scope<'_>, expr: &Expr, top: bool) -> String {
    let name = name(scope, expr, top);
    if name.chars().count() > MAX_CHARS { name.chars().take(MAX_CHARS).collect() } else { name }
}

fn name(scope: &Scope<'_>, expr: &Expr, top: bool) -> String {
    let inner = |e: &Expr| name(scope, e, false);
    match expr {
        Expr::Identifier(ident) => column(scope, None, ident, top),
        Expr::CompoundIdentifier(idents) => match idents.as_slice() {
            [relation, ident] => column(scope, Some(relation), ident, top),
            _ => expr.to_string(),
        },
        Expr::Nested(e) => name(scope, e, top),
        Expr::Cast { expr, .. } => name(scope, expr, top),
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) if digits.parse::<i64>().is_ok() => format!("Int64({digits})"),
            Value::Number(digits, _) => match digits.parse::<f64>() {
                Ok(number) => format!("Float64({number})"),
                Err(_) => digits.clone(),
            },
            Value::SingleQuotedString(text) => format!("Utf8(\"{text}\")"),
            Value::Boolean(value) => format!("Boolean({value})"),
            Value::Null => "NULL".to_owned(),
            other => other.to_string(),
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match name(scope, expr, false) {
            literal if literal.starts_with("Int64(") || literal.starts_with("Float64(") => {
                literal.replacen('(', "(-", 1)
            }
            other => format!("(- {other})"),
        },
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => format!("NOT {}", inner(expr)),
        Expr::BinaryOp { .. } => chain(scope, expr),
        Expr::IsNull(e) => format!("{} IS NULL", inner(e)),
        Expr::IsNotNull(e) => format!("{} IS NOT NULL", inner(e)),
        Expr::Function(function) => {
            let args = match &function.args {
                FunctionArguments::List(list) => list
                    .args
                    .iter()
                    .map(|arg| match arg {
                        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => inner(e),
                        other => other.to_string(),
                    })
                    .collect::<Vec<_>>()
                    .join(","),
                _ => String::new(),
            };
            format!("{}({args})", function.name.to_string().to_lowercase())
        }
        other => other.to_string(),
    }
}

/// Operators along the left side, without going deeper for each.
fn chain(scope: &Scope<'_>, expr: &Expr) -> String {
    let mut parts = Vec::new();
    let mut first = expr;
    while let Expr::BinaryOp { left, op, right } = first {
        parts.push(format!(" {op} {}", name(scope, right, false)));
        first = left;
    }
    parts.push(name(scope, first, false));
    parts.reverse();
    parts.concat()
}

fn column(scope: &Scope<'_>, relation: Option<&Ident>, ident: &Ident, top: bool) -> String {
    let of = |wanted: &Ident, known: Option<&str>| known.is_some_and(|known| same(wanted, known));
    let found = scope.columns.iter().find(|c| {
        same(ident, c.field.name()) && relation.is_none_or(|wanted| of(wanted, c.relation.as_deref()))
    });
    match found {
        Some(column) if !top => match &column.relation {
            Some(relation) => format!("{relation}.{}", column.field.name()),
            None => column.field.name().clone(),
        },
        Some(column) => column.field.name().clone(),
        None => ident.value.clone(),
    }
}

//! Expressions: one arm per kind of node, each resolved, typed and printed.

use super::cast::{self, OnFailure};
use super::constant::Constant;
use super::scope::Scope;
use super::text::{at, place};
use super::typed::{Class, Typed};
use crate::dataset::DatasetError;
use arrow_schema::Metadata;
use arrow_schema::{DataType, Schema};
use sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, Expr, Ident, Query, UnaryOperator, Value, ValueWithSpan,
};
use sqlparser::tokenizer::Location;
use std::collections::BTreeSet;

/// What an expression may hold, and what was met while it was printed.
pub(super) struct Translator<'p> {
    /// Where subqueries are allowed: who translates them.
    pub queries: Option<&'p dyn Subqueries>,
    pub params: Option<&'p super::params::Params>,
    /// Aggregates and windows are allowed here.
    pub aggregates: bool,
    read: BTreeSet<String>,
    depth: usize,
    /// Printed keys of GROUP BY of the select that is being translated.
    groups: Vec<String>,
    /// Columns met outside of aggregates and of what is grouped by.
    loose: Vec<(String, Location)>,
    /// An aggregate was met.
    aggregated: bool,
}

/// Levels of expressions inside each other; `a OR b OR c` is one.
const MAX_DEPTH: usize = 60;

/// Translates a query inside an expression.
pub(super) trait Subqueries {
    /// SQLite SQL, without parentheses, and the columns it gives.
    fn subquery(
        &self,
        translator: &mut Translator<'_>,
        outer: &Scope<'_>,
        query: &Query,
    ) -> Result<(String, Vec<Typed>), DatasetError>;
}

impl<'p> Translator<'p> {
    /// For what stands over one row of one table.
    pub fn for_row() -> Self {
        Self {
            queries: None,
            params: None,
            aggregates: false,
            read: BTreeSet::new(),
            depth: 0,
            groups: Vec::new(),
            loose: Vec::new(),
            aggregated: false,
        }
    }

    pub fn for_row_with(params: &'p super::params::Params) -> Self {
        Self { params: Some(params), ..Self::for_row() }
    }

    pub fn for_query(queries: &'p dyn Subqueries, params: &'p super::params::Params) -> Self {
        Self { queries: Some(queries), params: Some(params), aggregates: true, ..Self::for_row() }
    }

    pub fn columns_read(&self, schema: &Schema) -> Vec<String> {
        schema.fields().iter().map(|f| f.name()).filter(|n| self.read.contains(*n)).cloned().collect()
    }

    pub fn expr(&mut self, scope: &Scope<'_>, expr: &Expr) -> Result<Typed, DatasetError> {
        if self.depth >= MAX_DEPTH {
            return Err(at(place(expr), format!("nested more than {MAX_DEPTH} deep")));
        }
        self.depth += 1;
        let loose = self.loose.len();
        let typed = self.any_expr(scope, expr);
        self.depth -= 1;
        if let Ok(typed) = &typed
            && self.groups.contains(&typed.sql)
        {
            self.loose.truncate(loose);
        }
        typed
    }

    /// Translates a query inside this one: what it groups by and aggregates is its own.
    pub fn apart<R>(&mut self, run: impl FnOnce(&mut Self) -> R) -> R {
        let outer = (
            std::mem::take(&mut self.groups),
            std::mem::take(&mut self.loose),
            std::mem::take(&mut self.aggregated),
            std::mem::replace(&mut self.aggregates, true),
        );
        let result = run(self);
        (self.groups, self.loose, self.aggregated, self.aggregates) = outer;
        result
    }

    /// From here on columns must be aggregated or grouped by, if anything is.
    pub fn begin_groups(&mut self, groups: Vec<String>) {
        self.groups = groups;
        self.loose.clear();
        self.aggregated = false;
    }

    pub fn end_groups(&mut self, grouped: bool) -> Result<(), DatasetError> {
        self.groups.clear();
        let loose = std::mem::take(&mut self.loose);
        let aggregated = std::mem::take(&mut self.aggregated) || grouped;
        match loose.first() {
            Some((column, here)) if aggregated => {
                let name = column.rsplit_once("\".\"").map_or(column.as_str(), |(_, name)| name);
                let name = name.trim_matches('"');
                Err(at(
                    *here,
                    format!(
                        "`{name}` is neither in GROUP BY nor in an aggregate; group by it, or use first_value({name})"
                    ),
                ))
            }
            _ => Ok(()),
        }
    }

    pub fn met_column(&mut self, typed: &Typed) {
        if !self.groups.contains(&typed.sql) {
            self.loose.push((typed.sql.clone(), typed.at));
        }
    }

    /// How many loose columns there are, and what an aggregate does to those that it was given.
    pub fn loose_columns(&self) -> usize {
        self.loose.len()
    }

    pub fn met_aggregate(&mut self, loose: usize) {
        self.loose.truncate(loose);
        self.aggregated = true;
    }

    fn any_expr(&mut self, scope: &Scope<'_>, expr: &Expr) -> Result<Typed, DatasetError> {
        let here = place(expr);
        match expr {
            Expr::Identifier(ident) => self.column(scope, ident),
            Expr::CompoundIdentifier(idents) => self.path(scope, idents),
            Expr::CompoundFieldAccess { root, access_chain } => self.access(scope, root, access_chain),
            Expr::Value(value) => self.value(value),
            Expr::Nested(inner) => self.expr(scope, inner),
            Expr::TypedString(typed) => self.typed_string(typed),
            Expr::Prefixed { value, .. } => self.expr(scope, value),
            Expr::UnaryOp { op, expr } => self.unary(scope, *op, expr, here),
            Expr::BinaryOp { .. } => self.binary(scope, expr),
            Expr::IsNull(e) => self.is(scope, e, "IS NULL"),
            Expr::IsNotNull(e) => self.is(scope, e, "IS NOT NULL"),
            Expr::IsTrue(e) => self.truth(scope, e, "IS TRUE"),
            Expr::IsNotTrue(e) => self.truth(scope, e, "IS NOT TRUE"),
            Expr::IsFalse(e) => self.truth(scope, e, "IS FALSE"),
            Expr::IsNotFalse(e) => self.truth(scope, e, "IS NOT FALSE"),
            Expr::IsUnknown(e) => self.truth(scope, e, "IS NULL"),
            Expr::IsNotUnknown(e) => self.truth(scope, e, "IS NOT NULL"),
            Expr::IsDistinctFrom(a, b) => self.pair(scope, "IS NOT", a, b),
            Expr::IsNotDistinctFrom(a, b) => self.pair(scope, "IS", a, b),
            Expr::InList { expr, list, negated } => self.in_list(scope, expr, list, *negated),
            Expr::Between { expr, negated, low, high } => self.between(scope, expr, low, high, *negated),
            Expr::Like { negated, any: false, expr, pattern, escape_char } => {
                self.like(scope, expr, pattern, escape_char.as_deref(), *negated, false)
            }
            Expr::ILike { negated, any: false, expr, pattern, escape_char } => {
                self.like(scope, expr, pattern, escape_char.as_deref(), *negated, true)
            }
            Expr::SimilarTo { negated, expr, pattern, escape_char: None } => {
                self.similar(scope, expr, pattern, *negated)
            }
            Expr::RLike { negated, expr, pattern, .. } => self.matches(scope, expr, pattern, *negated, false),
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => self.any(scope, left, right),
            Expr::Cast { kind, expr, data_type, format: None } => {
                let to = cast::data_type(data_type, here)?;
                let typed = self.expr(scope, expr)?;
                let failing = match kind {
                    CastKind::Cast | CastKind::DoubleColon => OnFailure::Error,
                    CastKind::TryCast | CastKind::SafeCast => OnFailure::Null,
                };
                self.cast(typed, &to, &Metadata::new(), failing)
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(scope, operand.as_deref(), conditions, else_result.as_deref(), here)
            }
            Expr::Extract { field, expr, .. } => self.extract(scope, &field.to_string(), expr, here),
            Expr::AtTimeZone { timestamp, time_zone } => self.at_time_zone(scope, timestamp, time_zone),
            Expr::Interval(interval) => self.interval(interval, here),
            Expr::Array(array) => self.array(scope, &array.elem, here),
            Expr::Struct { values, .. } => self.structure(scope, values, here),
            Expr::Function(function) => self.function(scope, function),
            Expr::Exists { subquery, negated } => {
                let (sql, _) = self.query(scope, subquery, here)?;
                let not = if *negated { "NOT " } else { "" };
                Ok(Typed::new(format!("({not}EXISTS ({sql}))"), DataType::Boolean, here))
            }
            Expr::Subquery(query) => self.scalar_query(scope, query, here),
            Expr::InSubquery { expr, subquery, negated } => self.in_query(scope, expr, subquery, *negated),
            other => self.call_in_words(scope, other, here),
        }
    }

    /// Calls that are written with words between their arguments.
    fn call_in_words(
        &mut self,
        scope: &Scope<'_>,
        expr: &Expr,
        here: Location,
    ) -> Result<Typed, DatasetError> {
        match expr {
            Expr::Ceil { expr, field } => self.rounding(scope, "ceil", expr, field, here),
            Expr::Floor { expr, field } => self.rounding(scope, "floor", expr, field, here),
            Expr::Position { expr, r#in } => self.call(scope, "strpos", &[r#in, expr], here),
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                let one = number("1");
                let mut args: Vec<&Expr> = vec![expr, substring_from.as_deref().unwrap_or(&one)];
                args.extend(substring_for.as_deref());
                self.call(scope, "substr", &args, here)
            }
            Expr::Trim { trim_where, trim_what, expr, trim_characters } => {
                self.trim(scope, *trim_where, trim_what.as_deref(), expr, trim_characters.as_deref(), here)
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut args: Vec<&Expr> = vec![expr, overlay_what, overlay_from];
                args.extend(overlay_for.as_deref());
                self.call(scope, "overlay", &args, here)
            }
            other => Err(at(here, format!("`{}` is not known here", shorten(other)))),
        }
    }

    fn column(&mut self, scope: &Scope<'_>, ident: &Ident) -> Result<Typed, DatasetError> {
        match scope.find(ident)? {
            Some(typed) => {
                self.note(&typed, ident);
                Ok(typed)
            }
            None => self.bare_word(scope, ident),
        }
    }

    fn bare_word(&mut self, scope: &Scope<'_>, ident: &Ident) -> Result<Typed, DatasetError> {
        let bare = ident.quote_style.is_none();
        match ident.value.to_lowercase().as_str() {
            "current_timestamp" | "current_date" if bare => {
                self.call(scope, &ident.value.to_lowercase(), &[], ident.span.start)
            }
            "nan" if bare => Err(at(ident.span.start, "NaN has no literal; use isnan(column)")),
            _ => Err(scope.unknown(ident)),
        }
    }

    fn note(&mut self, typed: &Typed, ident: &Ident) {
        // the name as the schema has it, which is what the printed identifier holds
        let name = typed.sql.trim_matches('"').replace("\"\"", "\"");
        self.read.insert(if name.is_empty() { ident.value.clone() } else { name });
        self.met_column(typed);
    }

    /// `relation.column`, or `column.field.field`.
    fn path(&mut self, scope: &Scope<'_>, idents: &[Ident]) -> Result<Typed, DatasetError> {
        let [first, rest @ ..] = idents else {
            return Err(DatasetError::invalid("SQL: an empty name"));
        };
        let mut typed = None;
        let mut rest = rest;
        if let [second, further @ ..] = rest {
            let (known, found) = scope.find_in(first, second);
            match found {
                Some(found) => {
                    self.met_column(&found);
                    typed = Some(found);
                    rest = further;
                }
                None if known && scope.find(first)?.is_none() => return Err(scope.unknown(second)),
                None => {}
            }
        }
        let mut typed = match typed {
            Some(typed) => typed,
            None => self.column(scope, first)?,
        };
        for field in rest {
            typed = self.field_of(typed, &field.value, field.span.start)?;
        }
        Ok(typed)
    }

    pub fn value(&mut self, value: &ValueWithSpan) -> Result<Typed, DatasetError> {
        let here = value.span.start;
        let constant = match &value.value {
            Value::Null => Constant::Null,
            Value::Boolean(value) => Constant::Boolean(*value),
            Value::Number(digits, _) => {
                numeral(digits).ok_or_else(|| at(here, format!("`{digits}` is not a number")))?
            }
            Value::SingleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::UnicodeStringLiteral(text)
            | Value::NationalStringLiteral(text)
            | Value::SingleQuotedRawStringLiteral(text) => Constant::Text(text.clone()),
            Value::DollarQuotedString(text) => Constant::Text(text.value.clone()),
            Value::HexStringLiteral(digits) => Constant::Bytes(
                hex::decode(digits).map_err(|_| at(here, "X'…' holds pairs of hexadecimal digits"))?,
            ),
            Value::Placeholder(name) => {
                return match self.params {
                    Some(params) => params.get(name, here),
                    None => {
                        Err(at(here, format!("`{name}`: a condition has no parameters; write the value")))
                    }
                };
            }
            other => return Err(at(here, format!("`{other}` is not a literal here"))),
        };
        Ok(Typed::of_constant(constant, here))
    }

    fn is(&mut self, scope: &Scope<'_>, e: &Expr, test: &str) -> Result<Typed, DatasetError> {
        let typed = self.expr(scope, e)?;
        let mut is = Typed::new(format!("({} {test})", typed.sql), DataType::Boolean, typed.at);
        is.nullable = false;
        Ok(is)
    }

    fn truth(&mut self, scope: &Scope<'_>, e: &Expr, test: &str) -> Result<Typed, DatasetError> {
        let typed = self.expr(scope, e)?;
        let typed = self.boolean(typed)?;
        let mut is = Typed::new(format!("({} {test})", typed.sql), DataType::Boolean, typed.at);
        is.nullable = false;
        Ok(is)
    }

    fn pair(&mut self, scope: &Scope<'_>, operator: &str, a: &Expr, b: &Expr) -> Result<Typed, DatasetError> {
        let (a, b) = (self.expr(scope, a)?, self.expr(scope, b)?);
        let here = a.at;
        self.compare(operator, a, b, here)
    }

    fn rounding(
        &mut self,
        scope: &Scope<'_>,
        name: &str,
        value: &Expr,
        field: &CeilFloorKind,
        here: Location,
    ) -> Result<Typed, DatasetError> {
        match field {
            CeilFloorKind::DateTimeField(sqlparser::ast::DateTimeField::NoDateTime) => {
                self.call(scope, name, &[value], here)
            }
            _ => Err(at(here, format!("{name} takes a number; date_trunc('unit', value) cuts times"))),
        }
    }

    fn unary(
        &mut self,
        scope: &Scope<'_>,
        op: UnaryOperator,
        operand: &Expr,
        here: Location,
    ) -> Result<Typed, DatasetError> {
        let typed = self.expr(scope, operand)?;
        match op {
            UnaryOperator::Not | UnaryOperator::BangNot => {
                let typed = self.boolean(typed)?;
                Ok(Typed::new(format!("(NOT {})", typed.sql), DataType::Boolean, here))
            }
            UnaryOperator::Plus if typed.class().is_number() => Ok(typed),
            UnaryOperator::Minus => self.negate(typed, here),
            UnaryOperator::BitwiseNot if typed.class() == Class::Integer => {
                Ok(Typed::new(format!("(~{})", typed.sql), typed.data_type, here))
            }
            op => Err(at(here, format!("`{op}` is not for a {}", typed.data_type))),
        }
    }
}

fn numeral(digits: &str) -> Option<Constant> {
    if let Ok(integer) = digits.parse::<i64>() {
        return Some(Constant::Integer(integer));
    }
    if let Some(hexadecimal) = digits.strip_prefix("0x") {
        return i64::from_str_radix(hexadecimal, 16).ok().map(Constant::Integer);
    }
    digits.parse::<f64>().ok().filter(|f| f.is_finite()).map(Constant::Float)
}

pub(super) fn number(digits: &str) -> Expr {
    Expr::Value(Value::Number(digits.to_owned(), false).into())
}

/// A node as the user might recognise it.
fn shorten(expr: &Expr) -> String {
    let text = expr.to_string();
    if text.chars().count() <= 60 { text } else { text.chars().take(57).chain("…".chars()).collect() }
}

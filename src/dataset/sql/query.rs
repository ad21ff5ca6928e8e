//! Queries: WITH, set operations, ORDER BY and LIMIT around selects.

use super::cast::{OnFailure, common};
use super::constant::Constant;
use super::expr::{Subqueries, Translator};
use super::scope::{Column, Scope, same};
use super::select::{Output, outputs_of};
use super::text::at;
use super::typed::{Class, Typed, identifier};
use crate::dataset::DatasetError;
use arrow_schema::{FieldRef, SchemaRef};
use sqlparser::ast::{
    Expr, Ident, LimitClause, OrderBy, OrderByKind, Query, SetExpr, SetOperator, SetQuantifier, Spanned as _,
    TableAlias, Value, ValueWithSpan, Values,
};
use sqlparser::tokenizer::Location;
use std::cell::{Cell, RefCell};

/// A table that a statement may name.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name in the statement.
    pub name: String,
    pub schema: SchemaRef,
    /// A SELECT that gives the columns of `schema` under their names.
    pub sql: String,
}

/// A name given by WITH.
#[derive(Debug, Clone)]
struct Named {
    name: String,
    sql: String,
    columns: Vec<FieldRef>,
}

/// Translates queries over some tables.
pub(super) struct Binder<'a> {
    sources: &'a [Source],
    named: RefCell<Vec<Named>>,
    /// For names of our own.
    count: Cell<usize>,
}

/// A translated query: SQL, and what it gives, each under `column(index)`.
pub(super) struct Bound {
    pub sql: String,
    pub outputs: Vec<Output>,
}

/// The name of a result's column in SQLite: users' names may repeat, or differ only in case.
pub(super) fn column(index: usize) -> String {
    format!("\"c{index}\"")
}

impl Subqueries for Binder<'_> {
    fn subquery(
        &self,
        translator: &mut Translator<'_>,
        outer: &Scope<'_>,
        query: &Query,
    ) -> Result<(String, Vec<Typed>), DatasetError> {
        let bound = translator.apart(|translator| self.query(translator, outer, query))?;
        Ok((bound.sql, bound.outputs.into_iter().map(|output| output.typed).collect()))
    }
}

impl<'a> Binder<'a> {
    pub fn new(sources: &'a [Source]) -> Self {
        Self { sources, named: RefCell::default(), count: Cell::new(0) }
    }

    pub fn fresh(&self, stem: &str) -> String {
        self.count.set(self.count.get() + 1);
        format!("{stem}{}", self.count.get())
    }

    /// The relation of this name: SQL for FROM, and its columns.
    pub fn relation(&self, name: &Ident) -> Option<(String, Vec<FieldRef>, bool)> {
        let named = self.named.borrow();
        if let Some(found) = named.iter().rev().find(|n| same(name, &n.name)) {
            return Some((identifier(&found.sql), found.columns.clone(), true));
        }
        let exact = self.sources.iter().find(|s| s.name == name.value);
        let source = exact.or_else(|| self.sources.iter().find(|s| same(name, &s.name)))?;
        Some((format!("({})", source.sql), source.schema.fields().iter().cloned().collect(), false))
    }

    pub fn names(&self) -> Vec<String> {
        let named = self.named.borrow();
        named.iter().map(|n| n.name.clone()).chain(self.sources.iter().map(|s| s.name.clone())).collect()
    }

    pub fn query(
        &self,
        translator: &mut Translator<'_>,
        outer: &Scope<'_>,
        query: &Query,
    ) -> Result<Bound, DatasetError> {
        refuse_extras(query)?;
        let depth = self.named.borrow().len();
        let bound = self.query_inside(translator, outer, query);
        self.named.borrow_mut().truncate(depth);
        bound
    }

    fn query_inside(
        &self,
        translator: &mut Translator<'_>,
        outer: &Scope<'_>,
        query: &Query,
    ) -> Result<Bound, DatasetError> {
        let with = self.with(translator, outer, query)?;
        let order = match &query.order_by {
            None => &[][..],
            Some(OrderBy { kind: OrderByKind::Expressions(order), interpolate: None }) => order,
            Some(order) => return Err(at(order.span().start, "name what to order by: ORDER BY column, …")),
        };
        let mut bound = match query.body.as_ref() {
            SetExpr::Select(select) => self.select(translator, outer, select, order)?,
            body => {
                let mut bound = self.body(translator, outer, body)?;
                if !order.is_empty() {
                    let scope = output_scope(&bound.outputs, outer);
                    let mut keys = Vec::with_capacity(order.len());
                    for one in order {
                        keys.push(super::select::order_key(translator, &scope, &bound.outputs, one)?);
                    }
                    let columns = columns(bound.outputs.len());
                    bound.sql = format!("SELECT {columns} FROM ({}) ORDER BY {}", bound.sql, keys.join(", "));
                }
                bound
            }
        };
        bound.sql.push_str(&self.limit(translator, outer, query)?);
        bound.sql = format!("{with}{}", bound.sql);
        Ok(bound)
    }

    fn with(
        &self,
        translator: &mut Translator<'_>,
        outer: &Scope<'_>,
        query: &Query,
    ) -> Result<String, DatasetError> {
        let Some(with) = &query.with else { return Ok(String::new()) };
        let mut printed = Vec::with_capacity(with.cte_tables.len());
        for table in &with.cte_tables {
            let name = self.fresh("w");
            let (sql, fields) = match table.query.body.as_ref() {
                SetExpr::SetOperation { op: SetOperator::Union, set_quantifier, left, right }
                    if with.recursive =>
                {
                    let first = self.body(translator, outer, left)?;
                    let fields = renamed(&first.outputs, &table.alias)?;
                    let own = alias_name(&table.alias.name);
                    self.named.borrow_mut().push(Named {
                        name: own,
                        sql: name.clone(),
                        columns: fields.clone(),
                    });
                    let second = self.body(translator, outer, right)?;
                    self.named.borrow_mut().pop();
                    if first.outputs.len() != second.outputs.len() {
                        return Err(at(
                            table.alias.name.span.start,
                            "both sides of UNION have as many columns",
                        ));
                    }
                    let all = if matches!(set_quantifier, SetQuantifier::All) { " ALL" } else { "" };
                    (format!("{} UNION{all} {}", first.sql, second.sql), fields)
                }
                _ => {
                    let bound = self.query(translator, outer, &table.query)?;
                    let fields = renamed(&bound.outputs, &table.alias)?;
                    (bound.sql, fields)
                }
            };
            printed.push(format!("{}({}) AS ({sql})", identifier(&name), columns(fields.len())));
            let own = alias_name(&table.alias.name);
            self.named.borrow_mut().push(Named { name: own, sql: name, columns: fields });
        }
        let recursive = if with.recursive { "RECURSIVE " } else { "" };
        Ok(format!("WITH {recursive}{} ", printed.join(", ")))
    }

    fn body(
        &self,
        translator: &mut Translator<'_>,
        outer: &Scope<'_>,
        body: &SetExpr,
    ) -> Result<Bound, DatasetError> {
        match body {
            SetExpr::Select(select) => self.select(translator, outer, select, &[]),
            SetExpr::Query(query) => {
                let bound = self.query(translator, outer, query)?;
                let columns = columns(bound.outputs.len());
                Ok(Bound { sql: format!("SELECT {columns} FROM ({})", bound.sql), outputs: bound.outputs })
            }
            SetExpr::Values(values) => self.values(translator, outer, values),
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                self.set_operation(translator, outer, (left, right), *op, *set_quantifier)
            }
            other => Err(at(other.span().start, "a query is wanted here: SELECT, VALUES or WITH")),
        }
    }

    fn set_operation(
        &self,
        translator: &mut Translator<'_>,
        outer: &Scope<'_>,
        (left, right): (&SetExpr, &SetExpr),
        op: SetOperator,
        quantifier: SetQuantifier,
    ) -> Result<Bound, DatasetError> {
        let here = right.span().start;
        let word = match (op, quantifier) {
            (SetOperator::Union, SetQuantifier::All) => "UNION ALL",
            (SetOperator::Union, SetQuantifier::None | SetQuantifier::Distinct) => "UNION",
            (SetOperator::Intersect, SetQuantifier::None | SetQuantifier::Distinct) => "INTERSECT",
            (SetOperator::Except, SetQuantifier::None | SetQuantifier::Distinct) => "EXCEPT",
            (op, quantifier) => return Err(at(here, format!("{op} {quantifier} is not possible here"))),
        };
        let a = self.body(translator, outer, left)?;
        let b = self.body(translator, outer, right)?;
        if a.outputs.len() != b.outputs.len() {
            let text =
                format!("{op}: one side has {} columns, the other {}", a.outputs.len(), b.outputs.len());
            return Err(at(here, text));
        }
        let mut outputs = a.outputs.clone();
        for (index, output) in outputs.iter_mut().enumerate() {
            let (x, y) = (&a.outputs[index].typed, &b.outputs[index].typed);
            let unconstant = |t: &Typed| Typed { constant: None, ..t.clone() };
            let Some(data_type) = common(&unconstant(x), &unconstant(y)) else {
                let text = format!(
                    "column {} is {} on one side and {} on the other",
                    index + 1,
                    x.data_type,
                    y.data_type
                );
                return Err(at(here, text));
            };
            if data_type != output.typed.data_type {
                output.typed.metadata = y.metadata.clone();
            }
            output.typed.data_type = data_type;
            output.typed.nullable = x.nullable || y.nullable;
            output.typed.constant = None;
        }
        let a = self.cast_outputs(translator, a, &outputs)?;
        let b = self.cast_outputs(translator, b, &outputs)?;
        Ok(Bound { sql: format!("{a} {word} {b}"), outputs })
    }

    /// The query with its columns cast, as something that a set operation takes.
    fn cast_outputs(
        &self,
        translator: &mut Translator<'_>,
        bound: Bound,
        wanted: &[Output],
    ) -> Result<String, DatasetError> {
        let mut printed = Vec::with_capacity(wanted.len());
        for (index, (output, wanted)) in bound.outputs.iter().zip(wanted).enumerate() {
            let column = column(index);
            let typed = Typed { sql: column.clone(), constant: None, ..output.typed.clone() };
            let to = &wanted.typed;
            let cast = translator.cast(typed, &to.data_type, &to.metadata, OnFailure::Error)?;
            printed.push(format!("{} AS {column}", cast.sql));
        }
        Ok(format!("SELECT {} FROM ({})", printed.join(", "), bound.sql))
    }

    fn values(
        &self,
        translator: &mut Translator<'_>,
        outer: &Scope<'_>,
        values: &Values,
    ) -> Result<Bound, DatasetError> {
        let scope = Scope::inside(outer);
        let width = values.rows.first().map_or(0, |row| row.content.len());
        let mut columns_of: Vec<Vec<Typed>> = vec![Vec::with_capacity(values.rows.len()); width];
        for row in &values.rows {
            if row.content.len() != width {
                return Err(at(row.opening_token.0.span.start, "all rows of VALUES have as many columns"));
            }
            for (index, value) in row.content.iter().enumerate() {
                columns_of[index].push(translator.expr(&scope, value)?);
            }
        }
        let mut outputs = Vec::with_capacity(width);
        let mut printed: Vec<Vec<String>> = vec![Vec::with_capacity(width); values.rows.len()];
        let mut names = Vec::with_capacity(width);
        for (index, column_values) in columns_of.into_iter().enumerate() {
            let (column_values, data_type) = translator.unify(column_values, "VALUES")?;
            let here = column_values.first().map_or(Location { line: 0, column: 0 }, |v| v.at);
            for (row, value) in column_values.into_iter().enumerate() {
                printed[row].push(value.sql);
            }
            names.push(format!("column{} AS {}", index + 1, column(index)));
            let name = format!("column{}", index + 1);
            outputs.push(Output { name, typed: Typed::new(column(index), data_type, here) });
        }
        let rows: Vec<String> = printed.iter().map(|row| format!("({})", row.join(", "))).collect();
        let sql = format!("SELECT {} FROM (VALUES {})", names.join(", "), rows.join(", "));
        Ok(Bound { sql, outputs })
    }

    fn limit(
        &self,
        translator: &mut Translator<'_>,
        outer: &Scope<'_>,
        query: &Query,
    ) -> Result<String, DatasetError> {
        let (mut limit, mut offset) = match &query.limit_clause {
            None => (None, None),
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
                (limit.as_ref(), offset.as_ref().map(|o| &o.value))
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => (Some(limit), Some(offset)),
            Some(other) => return Err(at(other.span().start, "LIMIT BY is not known here")),
        };
        if let Some(fetch) = &query.fetch {
            if fetch.percent || fetch.with_ties {
                return Err(DatasetError::invalid("SQL: FETCH takes a number of rows only"));
            }
            limit = limit.or(fetch.quantity.as_ref());
        }
        let null = Expr::Value(ValueWithSpan::from(Value::Null));
        limit = limit.filter(|l| **l != null);
        offset = offset.filter(|o| **o != null);
        let mut amount = |e: &Expr| -> Result<String, DatasetError> {
            let typed = translator.expr(&Scope::inside(outer), e)?;
            match (&typed.constant, typed.class()) {
                (Some(Constant::Integer(n)), _) if *n < 0 => {
                    Err(at(typed.at, "a number of rows is not negative"))
                }
                (_, Class::Integer) => Ok(typed.sql),
                _ => Err(at(typed.at, "a number of rows is wanted here")),
            }
        };
        let limit = limit.map(&mut amount).transpose()?;
        let offset = offset.map(&mut amount).transpose()?;
        Ok(match (limit, offset) {
            (None, None) => String::new(),
            (limit, None) => format!(" LIMIT {}", limit.unwrap_or_else(|| "-1".to_owned())),
            (limit, Some(offset)) => {
                format!(" LIMIT {} OFFSET {offset}", limit.unwrap_or_else(|| "-1".to_owned()))
            }
        })
    }
}

fn refuse_extras(query: &Query) -> Result<(), DatasetError> {
    let extra = if !query.locks.is_empty() {
        "FOR UPDATE"
    } else if query.for_clause.is_some() {
        "FOR"
    } else if query.settings.is_some() {
        "SETTINGS"
    } else if query.format_clause.is_some() {
        "FORMAT"
    } else if !query.pipe_operators.is_empty() {
        "|>"
    } else {
        return Ok(());
    };
    Err(at(query.span().start, format!("{extra} is not known here")))
}

/// `"c0", "c1", …`.
pub(super) fn columns(count: usize) -> String {
    (0..count).map(column).collect::<Vec<_>>().join(", ")
}

/// The name that an alias gives: in lower case unless quoted.
pub(super) fn alias_name(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// The outputs as fields, under the names of the alias where it has them.
pub(super) fn renamed(outputs: &[Output], alias: &TableAlias) -> Result<Vec<FieldRef>, DatasetError> {
    if alias.columns.len() > outputs.len() {
        let text = format!(
            "`{}` has {} columns, and here are {} names",
            alias.name.value,
            outputs.len(),
            alias.columns.len()
        );
        return Err(at(alias.name.span.start, text));
    }
    Ok(outputs
        .iter()
        .enumerate()
        .map(|(index, output)| match alias.columns.get(index) {
            Some(column) => output.typed.field(&alias_name(&column.name)),
            None => output.typed.field(&output.name),
        })
        .collect())
}

/// Names in sight of ORDER BY after a set operation.
fn output_scope<'s>(outputs: &[Output], outer: &'s Scope<'s>) -> Scope<'s> {
    let mut scope = Scope::inside(outer);
    scope.columns = outputs_of(outputs)
        .enumerate()
        .map(|(index, field)| Column { relation: None, field, sql: column(index), hidden: false })
        .collect();
    scope
}

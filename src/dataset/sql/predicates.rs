//! IN, BETWEEN, CASE and subqueries.

use super::cast::{self, OnFailure};
use super::expr::Translator;
use super::scope::Scope;
use super::text::at;
use super::typed::Typed;
use crate::dataset::DatasetError;
use arrow_schema::DataType;
use sqlparser::ast::{CaseWhen, Expr, Query, Spanned as _};
use sqlparser::tokenizer::Location;
use std::fmt::Write as _;

impl Translator<'_> {
    pub fn in_list(
        &mut self,
        scope: &Scope<'_>,
        value: &Expr,
        list: &[Expr],
        negated: bool,
    ) -> Result<Typed, DatasetError> {
        let value = self.expr(scope, value)?;
        let here = value.at;
        let mut members = Vec::with_capacity(list.len());
        let mut tested = value.clone();
        for member in list {
            let member = self.expr(scope, member)?;
            let (left, right) = self.meet(value.clone(), member, "there is no comparison")?;
            tested = left;
            members.push(right.sql);
        }
        let not = if negated { "NOT " } else { "" };
        let sql = format!("({} {not}IN ({}))", tested.sql, members.join(", "));
        Ok(Typed::new(sql, DataType::Boolean, here))
    }

    pub fn between(
        &mut self,
        scope: &Scope<'_>,
        value: &Expr,
        low: &Expr,
        high: &Expr,
        negated: bool,
    ) -> Result<Typed, DatasetError> {
        let value = self.expr(scope, value)?;
        let (low, high) = (self.expr(scope, low)?, self.expr(scope, high)?);
        let here = value.at;
        let above = self.compare(">=", value.clone(), low, here)?;
        let below = self.compare("<=", value, high, here)?;
        let not = if negated { "NOT " } else { "" };
        Ok(Typed::new(format!("({not}({} AND {}))", above.sql, below.sql), DataType::Boolean, here))
    }

    pub fn case(
        &mut self,
        scope: &Scope<'_>,
        operand: Option<&Expr>,
        whens: &[CaseWhen],
        otherwise: Option<&Expr>,
        here: Location,
    ) -> Result<Typed, DatasetError> {
        let operand = operand.map(|e| self.expr(scope, e)).transpose()?;
        let mut conditions = Vec::with_capacity(whens.len());
        let mut results = Vec::with_capacity(whens.len() + 1);
        for when in whens {
            let condition = self.expr(scope, &when.condition)?;
            conditions.push(match &operand {
                Some(operand) => self.compare("=", operand.clone(), condition, here)?,
                None => self.boolean(condition)?,
            });
            results.push(self.expr(scope, &when.result)?);
        }
        if let Some(otherwise) = otherwise {
            results.push(self.expr(scope, otherwise)?);
        }
        let (results, data_type) = self.unify(results, "CASE")?;
        let mut sql = "CASE".to_owned();
        for (condition, result) in conditions.iter().zip(&results) {
            let _ = write!(sql, " WHEN {} THEN {}", condition.sql, result.sql);
        }
        if let Some(last) = results.get(conditions.len()) {
            let _ = write!(sql, " ELSE {}", last.sql);
        }
        sql.push_str(" END");
        Ok(Typed::new(sql, data_type, here))
    }

    pub fn query(
        &mut self,
        scope: &Scope<'_>,
        query: &Query,
        here: Location,
    ) -> Result<(String, Vec<Typed>), DatasetError> {
        match self.queries {
            Some(queries) => queries.subquery(self, scope, query),
            None => Err(at(
                here,
                "a subquery is not possible here; ask for its rows first, and write their values",
            )),
        }
    }

    pub fn scalar_query(
        &mut self,
        scope: &Scope<'_>,
        query: &Query,
        here: Location,
    ) -> Result<Typed, DatasetError> {
        let (sql, columns) = self.query(scope, query, here)?;
        match <[Typed; 1]>::try_from(columns) {
            Ok([one]) => {
                Ok(Typed { metadata: one.metadata, ..Typed::new(format!("({sql})"), one.data_type, here) })
            }
            Err(columns) => Err(at(
                here,
                format!("this subquery gives {} columns where one value is wanted", columns.len()),
            )),
        }
    }

    pub fn in_query(
        &mut self,
        scope: &Scope<'_>,
        value: &Expr,
        query: &Query,
        negated: bool,
    ) -> Result<Typed, DatasetError> {
        let value = self.expr(scope, value)?;
        let here = query.span().start;
        let (sql, columns) = self.query(scope, query, here)?;
        let [column] = columns.as_slice() else {
            return Err(at(
                here,
                format!("this subquery gives {} columns where one is wanted", columns.len()),
            ));
        };
        let value = match cast::common(&value, column) {
            Some(data_type) if data_type == column.data_type => {
                self.cast(value, &data_type, &column.metadata.clone(), OnFailure::Error)?
            }
            Some(_) if value.class().is_number() && column.class().is_number() => value,
            _ => {
                return Err(at(
                    value.at,
                    format!("there is no comparison of {} and {}", value.data_type, column.data_type),
                ));
            }
        };
        let not = if negated { "NOT " } else { "" };
        Ok(Typed::new(format!("({} {not}IN ({sql}))", value.sql), DataType::Boolean, value.at))
    }
}

//! Operators with two sides.

use super::cast::{OnFailure, common_type};
use super::constant::Constant;
use super::expr::Translator;
use super::scope::Scope;
use super::text::{at, place};
use super::typed::{Class, Typed, plain};
use crate::dataset::DatasetError;
use arrow_schema::DataType;
use arrow_schema::Metadata;
use sqlparser::ast::{BinaryOperator as Op, Expr};
use sqlparser::tokenizer::Location;

impl Translator<'_> {
    /// Walks the left side of a chain without going deeper for each operator.
    pub fn binary(&mut self, scope: &Scope<'_>, expr: &Expr) -> Result<Typed, DatasetError> {
        let mut steps = Vec::new();
        let mut first = expr;
        while let Expr::BinaryOp { left, op, right } = first {
            steps.push((op, right.as_ref()));
            first = left;
        }
        let mut typed = self.expr(scope, first)?;
        let mut steps = steps.into_iter().rev().peekable();
        while let Some((op, right)) = steps.next() {
            if !matches!(op, Op::And | Op::Or) {
                let right = self.expr(scope, right)?;
                typed = self.apply(op, typed, right, place(expr))?;
                continue;
            }
            let here = typed.at;
            let mut members = vec![self.boolean(typed)?.sql];
            let member = self.expr(scope, right)?;
            members.push(self.boolean(member)?.sql);
            while let Some((_, right)) = steps.next_if(|(next, _)| *next == op) {
                let member = self.expr(scope, right)?;
                members.push(self.boolean(member)?.sql);
            }
            let word = if matches!(op, Op::And) { " AND " } else { " OR " };
            typed = Typed::new(balanced(&members, word), DataType::Boolean, here);
        }
        Ok(typed)
    }

    fn apply(&mut self, op: &Op, a: Typed, b: Typed, here: Location) -> Result<Typed, DatasetError> {
        let here = if a.at.line == 0 { here } else { a.at };
        match op {
            Op::Eq => self.compare("=", a, b, here),
            Op::NotEq => self.compare("<>", a, b, here),
            Op::Lt => self.compare("<", a, b, here),
            Op::LtEq => self.compare("<=", a, b, here),
            Op::Gt => self.compare(">", a, b, here),
            Op::GtEq => self.compare(">=", a, b, here),
            Op::Spaceship => self.compare("IS", a, b, here),
            Op::Plus | Op::Minus | Op::Multiply | Op::Divide | Op::Modulo => self.arithmetic(op, a, b, here),
            Op::StringConcat => self.concatenate(a, b, here),
            Op::BitwiseAnd => self.bits("&", a, b, here),
            Op::BitwiseOr => self.bits("|", a, b, here),
            Op::PGBitwiseShiftLeft => self.bits("<<", a, b, here),
            Op::PGBitwiseShiftRight => self.bits(">>", a, b, here),
            Op::BitwiseXor | Op::PGBitwiseXor => {
                let both = self.bits("|", a.clone(), b.clone(), here)?;
                let shared = self.bits("&", a, b, here)?;
                Ok(Typed::new(format!("({} - {})", both.sql, shared.sql), both.data_type, here))
            }
            Op::PGRegexMatch | Op::Regexp => self.regexp(a, b, false, false, here),
            Op::PGRegexIMatch => self.regexp(a, b, false, true, here),
            Op::PGRegexNotMatch => self.regexp(a, b, true, false, here),
            Op::PGRegexNotIMatch => self.regexp(a, b, true, true, here),
            Op::PGLikeMatch => self.like_typed(a, b, None, false, false),
            Op::PGNotLikeMatch => self.like_typed(a, b, None, true, false),
            Op::PGILikeMatch => self.like_typed(a, b, None, false, true),
            Op::PGNotILikeMatch => self.like_typed(a, b, None, true, true),
            Op::Arrow => self.json_arrow(a, b, false, here),
            Op::LongArrow => self.json_arrow(a, b, true, here),
            Op::AtArrow => self.list_has_all(a, b, here),
            Op::ArrowAt => self.list_has_all(b, a, here),
            op => Err(at(here, format!("the operator `{op}` is not known here"))),
        }
    }

    fn arithmetic(&mut self, op: &Op, a: Typed, b: Typed, here: Location) -> Result<Typed, DatasetError> {
        if let Some(result) = self.time_arithmetic(op, &a, &b, here)? {
            return Ok(result);
        }
        let null = |t: &Typed| t.class() == Class::Null;
        if !(a.class().is_number() || null(&a)) || !(b.class().is_number() || null(&b)) {
            return Err(at(
                here,
                format!("`{op}` is not for {} and {}", plain(&a.data_type), plain(&b.data_type)),
            ));
        }
        if let Some(folded) = fold(op, &a, &b, here) {
            return Ok(folded);
        }
        // decimals are kept as text: arithmetic on them is in double precision
        let (a, b) = (self.real(a), self.real(b));
        let data_type = common_type(&a.data_type, &b.data_type).unwrap_or(DataType::Float64);
        let sql = match op {
            Op::Modulo if Class::of(&data_type) == Class::Float => {
                format!("ma_fmod({}, {})", a.sql, b.sql)
            }
            Op::Divide if Class::of(&data_type) == Class::Float => {
                format!("(CAST({} AS REAL) / {})", a.sql, b.sql)
            }
            op => format!("({} {op} {})", a.sql, b.sql),
        };
        Ok(Typed::new(sql, data_type, here))
    }

    /// A decimal as a double; other numbers as they are.
    pub fn real(&self, typed: Typed) -> Typed {
        if typed.class() == Class::Decimal {
            return Typed::new(format!("CAST({} AS REAL)", typed.sql), DataType::Float64, typed.at);
        }
        typed
    }

    pub fn negate(&mut self, typed: Typed, here: Location) -> Result<Typed, DatasetError> {
        match &typed.constant {
            Some(Constant::Integer(number)) => {
                return Ok(Typed::of_constant(Constant::Integer(number.wrapping_neg()), here));
            }
            // one more than the largest integer is the smallest, negated
            Some(Constant::Float(number)) if number.to_bits() == 9_223_372_036_854_775_808_f64.to_bits() => {
                return Ok(Typed::of_constant(Constant::Integer(i64::MIN), here));
            }
            Some(Constant::Float(number)) => return Ok(Typed::of_constant(Constant::Float(-number), here)),
            _ => {}
        }
        if !typed.class().is_number() && !matches!(typed.class(), Class::Null | Class::Duration) {
            return Err(at(here, format!("`-` is not for a {}", plain(&typed.data_type))));
        }
        let typed = self.real(typed);
        Ok(Typed::new(format!("(-{})", typed.sql), typed.data_type, here))
    }

    fn concatenate(&mut self, a: Typed, b: Typed, here: Location) -> Result<Typed, DatasetError> {
        if a.class() == Class::List || b.class() == Class::List {
            return self.list_concat(a, b, here);
        }
        if a.class() == Class::Binary && b.class() == Class::Binary {
            return Ok(Typed::new(format!("CAST({} || {} AS BLOB)", a.sql, b.sql), DataType::Binary, here));
        }
        let none = Metadata::new();
        let a = self.cast(a, &DataType::Utf8, &none, OnFailure::Error)?;
        let b = self.cast(b, &DataType::Utf8, &none, OnFailure::Error)?;
        Ok(Typed::new(format!("({} || {})", a.sql, b.sql), DataType::Utf8, here))
    }

    fn bits(&mut self, op: &str, a: Typed, b: Typed, here: Location) -> Result<Typed, DatasetError> {
        let whole = |t: &Typed| matches!(t.class(), Class::Integer | Class::Null);
        if !whole(&a) || !whole(&b) {
            return Err(at(here, format!("`{op}` is for integers")));
        }
        let data_type = common_type(&a.data_type, &b.data_type).unwrap_or(DataType::Int64);
        Ok(Typed::new(format!("({} {op} {})", a.sql, b.sql), data_type, here))
    }
}

/// Arithmetic on constants, where it is exact: `LIMIT 2 * 5`, `INTERVAL`s and comparisons with columns see one value.
fn fold(op: &Op, a: &Typed, b: &Typed, here: Location) -> Option<Typed> {
    let (Some(Constant::Integer(x)), Some(Constant::Integer(y))) = (&a.constant, &b.constant) else {
        return None;
    };
    let value = match op {
        Op::Plus => x.checked_add(*y),
        Op::Minus => x.checked_sub(*y),
        Op::Multiply => x.checked_mul(*y),
        _ => None,
    }?;
    Some(Typed::of_constant(Constant::Integer(value), here))
}

/// `(a OR b) OR (c OR d)`: SQLite limits how deep a tree may be, not how wide.
pub(super) fn balanced(members: &[String], word: &str) -> String {
    match members {
        [] => "TRUE".to_owned(),
        [one] => one.clone(),
        many => {
            let (left, right) = many.split_at(many.len() / 2);
            format!("({}{word}{})", balanced(left, word), balanced(right, word))
        }
    }
}

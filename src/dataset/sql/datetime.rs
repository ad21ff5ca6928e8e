//! Dates, times, intervals and what is reckoned with them.

use super::cast::{self, OnFailure};
use super::constant::Constant;
use super::expr::Translator;
use super::scope::Scope;
use super::text::at;
use super::typed::{Class, Typed, per_second, plain, string, type_argument};
use crate::dataset::DatasetError;
use arrow_cast::parse::parse_interval_month_day_nano;
use arrow_schema::Metadata;
use arrow_schema::{DataType, TimeUnit};
use sqlparser::ast::{BinaryOperator as Op, Expr, Interval, TypedString};
use sqlparser::tokenizer::Location;

const DAY_SECONDS: i64 = 86_400;
const DAY_NANOS: i64 = DAY_SECONDS * 1_000_000_000;

/// Parts that `date_part` and `extract` know.
pub(super) const PARTS: &[&str] = &[
    "year",
    "quarter",
    "month",
    "week",
    "day",
    "doy",
    "dow",
    "isodow",
    "isoyear",
    "hour",
    "minute",
    "second",
    "millisecond",
    "microsecond",
    "nanosecond",
    "epoch",
];
/// Units that `date_trunc` knows.
pub(super) const UNITS: &[&str] =
    &["year", "quarter", "month", "week", "day", "hour", "minute", "second", "millisecond", "microsecond"];

impl Translator<'_> {
    pub fn typed_string(&mut self, typed: &TypedString) -> Result<Typed, DatasetError> {
        let here = typed.value.span.start;
        let to = cast::data_type(&typed.data_type, here)?;
        let value = self.value(&typed.value)?;
        self.cast(value, &to, &Metadata::new(), OnFailure::Error)
    }

    pub fn interval(&mut self, interval: &Interval, here: Location) -> Result<Typed, DatasetError> {
        if interval.last_field.is_some() || interval.leading_precision.is_some() {
            return Err(at(here, "write an interval as INTERVAL '1 day 2 hours'"));
        }
        let amount = match interval.value.as_ref() {
            Expr::Value(value) => match self.value(value)?.constant {
                Some(Constant::Text(text)) => text,
                Some(Constant::Integer(number)) => number.to_string(),
                _ => return Err(at(here, "write an interval as INTERVAL '1 day 2 hours'")),
            },
            _ => return Err(at(here, "an interval must be a literal: INTERVAL '1 day 2 hours'")),
        };
        let text = match &interval.leading_field {
            Some(field) => format!("{amount} {field}"),
            None => amount,
        };
        let parsed = parse_interval_month_day_nano(&text)
            .map_err(|e| at(here, format!("this is not an interval: {}", cast::said(&e.to_string()))))?;
        let constant =
            Constant::Interval { months: parsed.months, days: parsed.days, nanos: parsed.nanoseconds };
        Ok(Typed::of_constant(constant, here))
    }

    /// The sum or difference where a side is a time, else nothing.
    pub fn time_arithmetic(
        &mut self,
        op: &Op,
        a: &Typed,
        b: &Typed,
        here: Location,
    ) -> Result<Option<Typed>, DatasetError> {
        use Class as C;
        let sign = match op {
            Op::Plus => 1,
            Op::Minus => -1,
            _ => return Ok(None),
        };
        let minus = sign < 0;
        let is_time = |c: Class| matches!(c, C::Date | C::Timestamp);
        Ok(Some(match (a.class(), b.class()) {
            (x, C::Interval) if is_time(x) || x == C::Time => self.shift(a, b, sign, here)?,
            (C::Interval, y) if !minus && (is_time(y) || y == C::Time) => self.shift(b, a, 1, here)?,
            (C::Date, C::Integer) if a.data_type == DataType::Date32 => {
                Typed::new(format!("({} {op} {})", a.sql, b.sql), a.data_type.clone(), here)
            }
            (C::Integer, C::Date) if b.data_type == DataType::Date32 && !minus => {
                Typed::new(format!("({} + {})", a.sql, b.sql), b.data_type.clone(), here)
            }
            (x, C::Text) if minus && is_time(x) && b.constant.is_some() => {
                let b = self.cast(b.clone(), &a.data_type, &Metadata::new(), OnFailure::Error)?;
                self.difference(a.clone(), b, here)?
            }
            (x, y) if minus && is_time(x) && is_time(y) => self.difference(a.clone(), b.clone(), here)?,
            (C::Timestamp, C::Duration) => self.shift_by_duration(a, b, op, here)?,
            (C::Duration, C::Timestamp) if !minus => self.shift_by_duration(b, a, op, here)?,
            (C::Duration, C::Duration) if a.data_type == b.data_type => {
                Typed::new(format!("({} {op} {})", a.sql, b.sql), a.data_type.clone(), here)
            }
            _ => return Ok(None),
        }))
    }

    fn difference(&mut self, a: Typed, b: Typed, here: Location) -> Result<Typed, DatasetError> {
        let (a, b) = self.meet(a, b, "there is no difference")?;
        let data_type = match plain(&a.data_type) {
            DataType::Timestamp(unit, _) => DataType::Duration(*unit),
            DataType::Date64 => DataType::Duration(TimeUnit::Millisecond),
            _ => DataType::Int64,
        };
        Ok(Typed::new(format!("({} - {})", a.sql, b.sql), data_type, here))
    }

    fn shift_by_duration(
        &mut self,
        time: &Typed,
        by: &Typed,
        op: &Op,
        here: Location,
    ) -> Result<Typed, DatasetError> {
        let (DataType::Timestamp(unit, _), DataType::Duration(by_unit)) =
            (plain(&time.data_type), plain(&by.data_type))
        else {
            return Err(at(here, format!("`{op}` is not for {} and {}", time.data_type, by.data_type)));
        };
        let (per, by_per) = (per_second(*unit), per_second(*by_unit));
        let scaled = if per >= by_per {
            format!("{} * {}", by.sql, per / by_per)
        } else {
            format!("{} / {}", by.sql, by_per / per)
        };
        Ok(Typed::new(format!("({} {op} ({scaled}))", time.sql), time.data_type.clone(), here))
    }

    fn shift(&mut self, time: &Typed, by: &Typed, sign: i64, here: Location) -> Result<Typed, DatasetError> {
        let Some(Constant::Interval { months, days, nanos }) = by.constant else {
            return Err(at(here, "an interval that is added must be a literal: INTERVAL '1 day'"));
        };
        let nanos = i64::from(days)
            .checked_mul(DAY_NANOS)
            .and_then(|n| n.checked_add(nanos))
            .ok_or_else(|| at(by.at, "the interval is too long"))?
            * sign;
        let units = match plain(&time.data_type) {
            DataType::Date32 => nanos.div_euclid(DAY_NANOS),
            DataType::Date64 => nanos / 1_000_000,
            DataType::Timestamp(unit, _) | DataType::Time32(unit) | DataType::Time64(unit) => {
                nanos / (1_000_000_000 / per_second(*unit))
            }
            other => return Err(at(here, format!("an interval cannot be added to a {other}"))),
        };
        let mut sql = time.sql.clone();
        if months != 0 {
            let months = i64::from(months) * sign;
            sql = format!("ma_add_months({sql}, {}, {months})", type_argument(plain(&time.data_type)));
        }
        if units != 0 {
            sql = format!("({sql} + {})", Constant::Integer(units).print());
        }
        Ok(Typed::new(sql, time.data_type.clone(), here))
    }

    pub fn extract(
        &mut self,
        scope: &Scope<'_>,
        part: &str,
        value: &Expr,
        here: Location,
    ) -> Result<Typed, DatasetError> {
        let value = self.expr(scope, value)?;
        self.date_part(part, value, here)
    }

    pub fn date_part(&mut self, part: &str, value: Typed, here: Location) -> Result<Typed, DatasetError> {
        let part = known(part, PARTS, "a part of a time", here)?;
        let value = self.time(value)?;
        let data_type = if part == "epoch" { DataType::Float64 } else { DataType::Int32 };
        let of = type_argument(plain(&value.data_type));
        Ok(Typed::new(format!("ma_date_part({}, {}, {of})", string(&part), value.sql), data_type, here))
    }

    pub fn date_trunc(&mut self, unit: &str, value: Typed, here: Location) -> Result<Typed, DatasetError> {
        let unit = known(unit, UNITS, "a unit that times are cut to", here)?;
        let mut value = self.time(value)?;
        if value.class() == Class::Date {
            let to = DataType::Timestamp(TimeUnit::Nanosecond, None);
            value = self.cast(value, &to, &Metadata::new(), OnFailure::Error)?;
        }
        let of = type_argument(plain(&value.data_type));
        let sql = format!("ma_date_trunc({}, {}, {of})", string(&unit), value.sql);
        Ok(Typed::new(sql, value.data_type, here))
    }

    /// A value that has a date or a time; a constant text is read as a timestamp.
    pub fn time(&mut self, value: Typed) -> Result<Typed, DatasetError> {
        match value.class() {
            Class::Date | Class::Timestamp | Class::Time | Class::Null => Ok(value),
            Class::Text => self.cast(
                value,
                &DataType::Timestamp(TimeUnit::Nanosecond, None),
                &Metadata::new(),
                OnFailure::Error,
            ),
            _ => Err(at(
                value.at,
                format!("a date or timestamp is wanted here, and this is a {}", plain(&value.data_type)),
            )),
        }
    }

    pub fn at_time_zone(
        &mut self,
        scope: &Scope<'_>,
        value: &Expr,
        zone: &Expr,
    ) -> Result<Typed, DatasetError> {
        let value = self.expr(scope, value)?;
        let zone = self.expr(scope, zone)?;
        let here = value.at;
        let (DataType::Timestamp(unit, old), Some(name)) = (plain(&value.data_type), zone.constant_text())
        else {
            return Err(at(here, "AT TIME ZONE takes a timestamp and a zone as a literal"));
        };
        if name.parse::<chrono_tz::Tz>().is_err() && name.parse::<chrono::FixedOffset>().is_err() {
            return Err(at(
                zone.at,
                format!("`{name}` is not a time zone; use e.g. 'Europe/Oslo' or '+02:00'"),
            ));
        }
        let to = DataType::Timestamp(*unit, Some(name.into()));
        if old.is_some() {
            return Ok(Typed { data_type: to, ..value });
        }
        // a time without a zone is one of that zone
        self.cast(value, &to, &Metadata::new(), OnFailure::Error)
    }
}

fn known(name: &str, names: &[&str], what: &str, here: Location) -> Result<String, DatasetError> {
    let lower = name.to_lowercase();
    let found = match lower.as_str() {
        "dayofweek" => "dow",
        "dayofyear" => "doy",
        other if names.contains(&other) => other,
        other => match other.strip_suffix('s') {
            Some(singular) if names.contains(&singular) => singular,
            _ => {
                return Err(at(here, format!("`{name}` is not {what}{}", super::scope::hint(&lower, names))));
            }
        },
    };
    Ok(found.to_owned())
}

//! Aggregates.

use super::convert::json;
use super::numbers::stored;
use super::{MAX_BUILT_BYTES, PURE, real, refuse, whole};
use arrow_schema::DataType;
use rusqlite::Connection;
use rusqlite::functions::{Aggregate, Context};
use rusqlite::types::{Value, ValueRef};

/// Most values that a median is taken of.
const MAX_MEDIAN_VALUES: usize = 8_000_000;

pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    connection.create_aggregate_function("ma_median", 1, PURE, Median)?;
    for (name, spread) in [
        ("ma_var", Spread { root: false, population: false }),
        ("ma_var_pop", Spread { root: false, population: true }),
        ("ma_stddev", Spread { root: true, population: false }),
        ("ma_stddev_pop", Spread { root: true, population: true }),
    ] {
        connection.create_aggregate_function(name, 1, PURE, spread)?;
    }
    connection.create_aggregate_function("ma_bit_and", 1, PURE, Bits(|a, b| a & b))?;
    connection.create_aggregate_function("ma_bit_or", 1, PURE, Bits(|a, b| a | b))?;
    connection.create_aggregate_function("ma_bit_xor", 1, PURE, Bits(|a, b| a ^ b))?;
    connection.create_aggregate_function("ma_array_agg", 3, PURE, ArrayAgg)?;
    connection.create_aggregate_function("ma_first", 1, PURE, Edge { first: true })?;
    connection.create_aggregate_function("ma_last", 1, PURE, Edge { first: false })
}

struct Median;

impl Aggregate<Vec<f64>, Option<Value>> for Median {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Vec<f64>> {
        Ok(Vec::new())
    }
    fn step(&self, c: &mut Context<'_>, all: &mut Vec<f64>) -> rusqlite::Result<()> {
        if let Some(value) = real(c, 0) {
            if all.len() >= MAX_MEDIAN_VALUES {
                return Err(refuse(format!("a median is of at most {MAX_MEDIAN_VALUES} values")));
            }
            all.push(value);
        }
        Ok(())
    }
    fn finalize(&self, _: &mut Context<'_>, all: Option<Vec<f64>>) -> rusqlite::Result<Option<Value>> {
        let mut all = all.unwrap_or_default();
        if all.is_empty() {
            return Ok(None);
        }
        all.sort_by(f64::total_cmp);
        let middle = all.len() / 2;
        let median =
            if all.len() % 2 == 1 { all[middle] } else { f64::midpoint(all[middle - 1], all[middle]) };
        Ok(Some(stored(median)))
    }
}

#[derive(Clone, Copy)]
struct Spread {
    root: bool,
    population: bool,
}

/// Welford's: count, mean, sum of squares of distances.
impl Aggregate<(f64, f64, f64), Option<Value>> for Spread {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<(f64, f64, f64)> {
        Ok((0.0, 0.0, 0.0))
    }
    fn step(
        &self,
        c: &mut Context<'_>,
        (count, mean, squares): &mut (f64, f64, f64),
    ) -> rusqlite::Result<()> {
        if let Some(value) = real(c, 0) {
            *count += 1.0;
            let distance = value - *mean;
            *mean += distance / *count;
            *squares += distance * (value - *mean);
        }
        Ok(())
    }
    fn finalize(
        &self,
        _: &mut Context<'_>,
        state: Option<(f64, f64, f64)>,
    ) -> rusqlite::Result<Option<Value>> {
        let (count, _, squares) = state.unwrap_or_default();
        let of = if self.population { count } else { count - 1.0 };
        if of <= 0.0 {
            return Ok(None);
        }
        let variance = squares / of;
        Ok(Some(stored(if self.root { variance.sqrt() } else { variance })))
    }
}

struct Bits(fn(i64, i64) -> i64);

impl Aggregate<Option<i64>, Option<i64>> for Bits {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Option<i64>> {
        Ok(None)
    }
    fn step(&self, c: &mut Context<'_>, all: &mut Option<i64>) -> rusqlite::Result<()> {
        if let Some(value) = whole(c, 0)? {
            *all = Some(all.map_or(value, |all| (self.0)(all, value)));
        }
        Ok(())
    }
    fn finalize(&self, _: &mut Context<'_>, all: Option<Option<i64>>) -> rusqlite::Result<Option<i64>> {
        Ok(all.flatten())
    }
}

/// `ma_array_agg(value, type, skip nulls)`.
struct ArrayAgg;

impl Aggregate<String, Option<String>> for ArrayAgg {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<String> {
        Ok(String::new())
    }
    fn step(&self, c: &mut Context<'_>, all: &mut String) -> rusqlite::Result<()> {
        let value = c.get_raw(0);
        if value == ValueRef::Null && whole(c, 2)? == Some(1) {
            return Ok(());
        }
        let data_type = super::convert::type_of(c, 1)?;
        let data_type: &DataType = &data_type;
        all.push(if all.is_empty() { '[' } else { ',' });
        all.push_str(&json(value, data_type)?);
        if all.len() > MAX_BUILT_BYTES {
            return Err(refuse(format!("array_agg would build more than {MAX_BUILT_BYTES} bytes")));
        }
        Ok(())
    }
    fn finalize(&self, _: &mut Context<'_>, all: Option<String>) -> rusqlite::Result<Option<String>> {
        Ok(all.filter(|all| !all.is_empty()).map(|all| all + "]"))
    }
}

struct Edge {
    first: bool,
}

impl Aggregate<Option<Value>, Option<Value>> for Edge {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Option<Value>> {
        Ok(None)
    }
    fn step(&self, c: &mut Context<'_>, kept: &mut Option<Value>) -> rusqlite::Result<()> {
        if kept.is_none() || !self.first {
            *kept = Some(Value::try_from(c.get_raw(0))?);
        }
        Ok(())
    }
    fn finalize(&self, _: &mut Context<'_>, kept: Option<Option<Value>>) -> rusqlite::Result<Option<Value>> {
        Ok(kept.flatten())
    }
}

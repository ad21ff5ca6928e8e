//! Numbers.

use super::{PURE, real, refuse, whole};
use rusqlite::Connection;
use rusqlite::functions::Context;
use rusqlite::types::{Value, ValueRef};
use std::cmp::Ordering;

type Unary = (&'static str, fn(f64) -> f64);

const UNARY: &[Unary] = &[
    ("ma_sqrt", f64::sqrt),
    ("ma_cbrt", f64::cbrt),
    ("ma_exp", f64::exp),
    ("ma_ln", f64::ln),
    ("ma_log10", f64::log10),
    ("ma_log2", f64::log2),
    ("ma_sin", f64::sin),
    ("ma_cos", f64::cos),
    ("ma_tan", f64::tan),
    ("ma_asin", f64::asin),
    ("ma_acos", f64::acos),
    ("ma_atan", f64::atan),
    ("ma_floor", f64::floor),
    ("ma_ceil", f64::ceil),
];

pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    for (name, function) in UNARY {
        connection
            .create_scalar_function(*name, 1, PURE, move |c| Ok(real(c, 0).map(|x| stored(function(x)))))?;
    }
    two(connection, "ma_power", f64::powf)?;
    two(connection, "ma_atan2", f64::atan2)?;
    two(connection, "ma_fmod", |a, b| a % b)?;
    two(connection, "ma_nanvl", |a, b| if a.is_nan() { b } else { a })?;
    two(connection, "ma_log", |base, x| x.ln() / base.ln())?;
    connection.create_scalar_function("ma_round", -1, PURE, |c| scaled(c, f64::round))?;
    connection.create_scalar_function("ma_trunc", -1, PURE, |c| scaled(c, f64::trunc))?;
    connection.create_scalar_function("ma_isnan", 1, PURE, |c| Ok(real(c, 0).map(f64::is_nan)))?;
    connection.create_scalar_function("ma_gcd", 2, PURE, |c| {
        let (Some(a), Some(b)) = (whole(c, 0)?, whole(c, 1)?) else { return Ok(None) };
        exact(gcd(a.unsigned_abs(), b.unsigned_abs()))
    })?;
    connection.create_scalar_function("ma_lcm", 2, PURE, |c| {
        let (Some(a), Some(b)) = (whole(c, 0)?, whole(c, 1)?) else { return Ok(None) };
        let (a, b) = (a.unsigned_abs(), b.unsigned_abs());
        let product = if a == 0 || b == 0 { Some(0) } else { (a / gcd(a, b)).checked_mul(b) };
        exact(product.unwrap_or(u64::MAX))
    })?;
    connection.create_scalar_function("ma_factorial", 1, PURE, |c| {
        let Some(n) = whole(c, 0)? else { return Ok(None) };
        if n > 20 {
            return Err(refuse(format!("factorial({n}) is larger than 64 bits hold")));
        }
        Ok(Some((1..=n).product::<i64>()))
    })?;
    connection.create_scalar_function("ma_greatest", -1, PURE, |c| Ok(extreme(c, Ordering::Greater)))?;
    connection.create_scalar_function("ma_least", -1, PURE, |c| Ok(extreme(c, Ordering::Less)))
}

fn two(connection: &Connection, name: &str, f: fn(f64, f64) -> f64) -> rusqlite::Result<()> {
    connection.create_scalar_function(name, 2, PURE, move |c| {
        Ok(real(c, 0).zip(real(c, 1)).map(|(a, b)| stored(f(a, b))))
    })
}

/// As a column of doubles stores it.
pub(super) fn stored(number: f64) -> Value {
    if number.is_nan() || (number == 0.0 && number.is_sign_negative()) {
        Value::Blob(number.to_bits().to_be_bytes().to_vec())
    } else {
        Value::Real(number)
    }
}

/// To so many decimals, to tens and hundreds where negative.
fn scaled(c: &Context<'_>, round: fn(f64) -> f64) -> rusqlite::Result<Option<Value>> {
    let Some(number) = real(c, 0) else { return Ok(None) };
    let digits = if c.len() > 1 { whole(c, 1)? } else { Some(0) };
    let Some(digits) = digits else { return Ok(None) };
    let digits = i32::try_from(digits.clamp(-300, 300)).unwrap_or(0);
    let factor = 10_f64.powi(digits.abs());
    let rounded = if digits >= 0 { round(number * factor) / factor } else { round(number / factor) * factor };
    Ok(Some(stored(if rounded.is_finite() { rounded } else { number })))
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn exact(number: u64) -> rusqlite::Result<Option<i64>> {
    i64::try_from(number).map(Some).map_err(|_| refuse("the result is larger than 64 bits hold"))
}

/// The first of the arguments that are not null in the order of SQLite.
fn extreme(c: &Context<'_>, wanted: Ordering) -> Value {
    let mut best = ValueRef::Null;
    for index in 0..c.len() {
        let value = c.get_raw(index);
        if value != ValueRef::Null && (best == ValueRef::Null || order(value, best) == wanted) {
            best = value;
        }
    }
    Value::try_from(best).unwrap_or(Value::Null)
}

pub(super) fn order(a: ValueRef<'_>, b: ValueRef<'_>) -> Ordering {
    use ValueRef as V;
    #[expect(clippy::cast_precision_loss, reason = "only where one side is a double")]
    match (a, b) {
        (V::Integer(a), V::Integer(b)) => a.cmp(&b),
        (V::Real(a), V::Real(b)) => a.total_cmp(&b),
        (V::Integer(a), V::Real(b)) => (a as f64).total_cmp(&b),
        (V::Real(a), V::Integer(b)) => a.total_cmp(&(b as f64)),
        (V::Text(a), V::Text(b)) | (V::Blob(a), V::Blob(b)) => a.cmp(b),
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

fn rank(value: ValueRef<'_>) -> u8 {
    match value {
        ValueRef::Null => 0,
        ValueRef::Integer(_) | ValueRef::Real(_) => 1,
        ValueRef::Text(_) => 2,
        ValueRef::Blob(_) => 3,
    }
}

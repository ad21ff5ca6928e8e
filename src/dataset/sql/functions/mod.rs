//! Functions that translated SQL calls and SQLite has not, or has with another meaning. All begin with `ma_`.
//!
//! Each works on stored forms (`crate::columnar::cell`), bounds what it builds, and knows nothing but its arguments;
//! only `ma_now` asks the clock.

mod aggregates;
mod convert;
mod lists;
mod numbers;
pub mod regexp;
mod texts;
mod times;

use crate::clock::Clock;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error};
use std::sync::Arc;

/// Longest text or list that a function may build, bytes.
const MAX_BUILT_BYTES: usize = 64 << 20;

const PURE: FunctionFlags = FunctionFlags::SQLITE_DETERMINISTIC
    .union(FunctionFlags::SQLITE_UTF8)
    .union(FunctionFlags::SQLITE_INNOCUOUS);

/// Gives a connection all functions of the dialect.
pub fn register(connection: &Connection, clock: Arc<dyn Clock>) -> rusqlite::Result<()> {
    texts::register(connection)?;
    regexp::register(connection)?;
    numbers::register(connection)?;
    times::register(connection, clock)?;
    convert::register(connection)?;
    lists::register(connection)?;
    aggregates::register(connection)
}

/// A refusal that reaches the user as it is.
fn refuse(text: impl Into<String>) -> Error {
    Error::UserFunctionError(text.into().into())
}

/// The text of an argument; `None` where it is null.
fn text<'a>(context: &'a Context<'_>, index: usize) -> rusqlite::Result<Option<&'a str>> {
    match context.get_raw(index) {
        ValueRef::Null => Ok(None),
        ValueRef::Text(bytes) => {
            std::str::from_utf8(bytes).map(Some).map_err(|_| refuse("a text is not UTF-8"))
        }
        other => Err(refuse(format!("a text is wanted, and this is a {}", other.data_type()))),
    }
}

fn whole(context: &Context<'_>, index: usize) -> rusqlite::Result<Option<i64>> {
    match context.get_raw(index) {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(number) => Ok(Some(number)),
        #[expect(clippy::cast_possible_truncation, reason = "as a cast to an integer does")]
        ValueRef::Real(number) => Ok(Some(number as i64)),
        other => Err(refuse(format!("a number is wanted, and this is a {}", other.data_type()))),
    }
}

fn real(context: &Context<'_>, index: usize) -> Option<f64> {
    match context.get_raw(index) {
        ValueRef::Null => None,
        #[expect(clippy::cast_precision_loss, reason = "as a cast to a double does")]
        ValueRef::Integer(number) => Some(number as f64),
        ValueRef::Real(number) => Some(number),
        // NaN and -0.0 are kept as their bytes
        ValueRef::Blob(bytes) => match bytes.len() {
            8 => bytes.try_into().ok().map(|b| f64::from_bits(u64::from_be_bytes(b))),
            4 => bytes.try_into().ok().map(|b| f64::from(f32::from_bits(u32::from_be_bytes(b)))),
            _ => Some(f64::NAN),
        },
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok().and_then(|t| t.trim().parse().ok()),
    }
}

/// Where an argument is null, so is the result.
fn of_texts<const N: usize>(context: &Context<'_>) -> rusqlite::Result<Option<[String; N]>> {
    let mut texts = Vec::with_capacity(N);
    for index in 0..N {
        match text(context, index)? {
            Some(text) => texts.push(text.to_owned()),
            None => return Ok(None),
        }
    }
    Ok(texts.try_into().ok())
}

fn bounded(text: String) -> rusqlite::Result<Option<String>> {
    if text.len() > MAX_BUILT_BYTES {
        return Err(refuse(format!(
            "a text of {} bytes was built, and {MAX_BUILT_BYTES} are allowed",
            text.len()
        )));
    }
    Ok(Some(text))
}

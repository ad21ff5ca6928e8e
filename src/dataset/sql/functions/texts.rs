//! Texts.

use super::{MAX_BUILT_BYTES, PURE, bounded, of_texts, refuse, text, whole};
use crate::dataset::sql::pattern::{Piece, pieces};
use rusqlite::Connection;
use rusqlite::functions::Context;
use rusqlite::types::ValueRef;
use sha2::{Digest as _, Sha256};
use std::cmp::Ordering;

/// Longest texts whose distance is computed, characters: the time grows with the product.
const MAX_DISTANCE_CHARS: usize = 4_096;

pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    one(connection, "ma_lower", str::to_lowercase)?;
    one(connection, "ma_upper", str::to_uppercase)?;
    one(connection, "ma_initcap", initcap)?;
    one(connection, "ma_reverse", |text| text.chars().rev().collect())?;
    one(connection, "ma_sha256", |text| hex::encode(Sha256::digest(text.as_bytes())))?;
    connection.create_scalar_function("ma_length", 1, PURE, |c| {
        Ok(text(c, 0)?.map(|t| i64::try_from(t.chars().count()).unwrap_or(i64::MAX)))
    })?;
    connection.create_scalar_function("ma_substr", -1, PURE, substr)?;
    connection.create_scalar_function("ma_left", 2, PURE, |c| Ok(part(c)?.map(|(t, n)| left(&t, n))))?;
    connection.create_scalar_function("ma_right", 2, PURE, |c| Ok(part(c)?.map(|(t, n)| right(&t, n))))?;
    connection.create_scalar_function("ma_repeat", 2, PURE, repeat)?;
    connection.create_scalar_function("ma_lpad", -1, PURE, |c| pad(c, true))?;
    connection.create_scalar_function("ma_rpad", -1, PURE, |c| pad(c, false))?;
    connection.create_scalar_function("ma_translate", 3, PURE, translate)?;
    connection.create_scalar_function("ma_starts_with", 2, PURE, |c| {
        Ok(text(c, 0)?.zip(text(c, 1)?).map(|(t, p)| t.starts_with(p)))
    })?;
    connection.create_scalar_function("ma_ends_with", 2, PURE, |c| {
        Ok(text(c, 0)?.zip(text(c, 1)?).map(|(t, p)| t.ends_with(p)))
    })?;
    connection.create_scalar_function("ma_split_part", 3, PURE, split_part)?;
    connection.create_scalar_function("ma_split", 2, PURE, split)?;
    connection.create_scalar_function("ma_levenshtein", 2, PURE, levenshtein)?;
    connection.create_scalar_function("ma_overlay", -1, PURE, overlay)?;
    connection.create_scalar_function("ma_like", 4, PURE, like)?;
    connection.create_scalar_function("ma_decimal_order", 2, PURE, |c| Ok(decimal_order(c)))
}

fn one(connection: &Connection, name: &str, f: fn(&str) -> String) -> rusqlite::Result<()> {
    connection.create_scalar_function(name, 1, PURE, move |c| Ok(text(c, 0)?.map(f)))
}

fn initcap(text: &str) -> String {
    let mut inside = false;
    let mut built = String::with_capacity(text.len());
    for letter in text.chars() {
        if inside {
            built.extend(letter.to_lowercase());
        } else {
            built.extend(letter.to_uppercase());
        }
        inside = letter.is_alphanumeric();
    }
    built
}

fn size(number: i64) -> usize {
    usize::try_from(number.max(0)).unwrap_or(usize::MAX)
}

fn part(c: &Context<'_>) -> rusqlite::Result<Option<(String, i64)>> {
    Ok(text(c, 0)?.map(str::to_owned).zip(whole(c, 1)?))
}

/// From the left; where negative, all but so many of the right.
fn left(text: &str, count: i64) -> String {
    if count >= 0 {
        return text.chars().take(size(count)).collect();
    }
    let keep = text.chars().count().saturating_sub(size(count.saturating_neg()));
    text.chars().take(keep).collect()
}

fn right(text: &str, count: i64) -> String {
    let length = text.chars().count();
    let skip = if count >= 0 { length.saturating_sub(size(count)) } else { size(count.saturating_neg()) };
    text.chars().skip(skip).collect()
}

/// `substr(text, start, length)`: from 1; a start before the text counts against the length.
fn substr(c: &Context<'_>) -> rusqlite::Result<Option<String>> {
    let (Some(text), Some(start)) = (text(c, 0)?, whole(c, 1)?) else { return Ok(None) };
    let end = if c.len() > 2 {
        match whole(c, 2)? {
            None => return Ok(None),
            Some(length) if length < 0 => return Err(refuse("substr: the length is negative")),
            Some(length) => start.saturating_add(length),
        }
    } else {
        i64::MAX
    };
    let from = start.max(1);
    let count = size(end.saturating_sub(from));
    Ok(Some(text.chars().skip(size(from - 1)).take(count).collect()))
}

fn repeat(c: &Context<'_>) -> rusqlite::Result<Option<String>> {
    let (Some(text), Some(count)) = (text(c, 0)?, whole(c, 1)?) else { return Ok(None) };
    if text.len().saturating_mul(size(count)) > MAX_BUILT_BYTES {
        return Err(refuse(format!("repeat would build more than {MAX_BUILT_BYTES} bytes")));
    }
    Ok(Some(text.repeat(size(count))))
}

fn pad(c: &Context<'_>, at_left: bool) -> rusqlite::Result<Option<String>> {
    let (Some(padded), Some(wide)) = (text(c, 0)?, whole(c, 1)?) else { return Ok(None) };
    let fill = if c.len() > 2 { text(c, 2)? } else { Some(" ") };
    let Some(fill) = fill else { return Ok(None) };
    let wide = size(wide);
    if wide > MAX_BUILT_BYTES {
        return Err(refuse(format!("a pad would build more than {MAX_BUILT_BYTES} bytes")));
    }
    let length = padded.chars().count();
    if length >= wide || fill.is_empty() {
        return Ok(Some(padded.chars().take(wide).collect()));
    }
    let filling: String = fill.chars().cycle().take(wide - length).collect();
    bounded(if at_left { filling + padded } else { padded.to_owned() + &filling })
}

fn translate(c: &Context<'_>) -> rusqlite::Result<Option<String>> {
    let Some([text, from, to]) = of_texts::<3>(c)? else { return Ok(None) };
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let moved = |letter: char| match from.iter().position(|f| *f == letter) {
        Some(index) => to.get(index).copied(),
        None => Some(letter),
    };
    Ok(Some(text.chars().filter_map(moved).collect()))
}

fn split_part(c: &Context<'_>) -> rusqlite::Result<Option<String>> {
    let (Some(text), Some(by), Some(index)) = (text(c, 0)?, text(c, 1)?, whole(c, 2)?) else {
        return Ok(None);
    };
    let parts: Vec<&str> = if by.is_empty() { vec![text] } else { text.split(by).collect() };
    let at = match index {
        0 => return Err(refuse("split_part: parts are counted from 1")),
        i if i > 0 => size(i - 1),
        i => match parts.len().checked_sub(size(i.saturating_neg())) {
            Some(at) => at,
            None => return Ok(Some(String::new())),
        },
    };
    Ok(Some(parts.get(at).map(|p| (*p).to_owned()).unwrap_or_default()))
}

fn split(c: &Context<'_>) -> rusqlite::Result<Option<String>> {
    let (Some(text), Some(by)) = (text(c, 0)?, text(c, 1)?) else { return Ok(None) };
    let parts: Vec<&str> = if by.is_empty() { vec![text] } else { text.split(by).collect() };
    Ok(serde_json::to_string(&parts).ok())
}

fn levenshtein(c: &Context<'_>) -> rusqlite::Result<Option<i64>> {
    let Some([a, b]) = of_texts::<2>(c)? else { return Ok(None) };
    if a.chars().count().max(b.chars().count()) > MAX_DISTANCE_CHARS {
        return Err(refuse(format!("levenshtein: texts have at most {MAX_DISTANCE_CHARS} characters")));
    }
    Ok(i64::try_from(strsim::levenshtein(&a, &b)).ok())
}

fn overlay(c: &Context<'_>) -> rusqlite::Result<Option<String>> {
    let (Some(old), Some(new), Some(from)) = (text(c, 0)?, text(c, 1)?, whole(c, 2)?) else {
        return Ok(None);
    };
    let length = if c.len() > 3 { whole(c, 3)? } else { i64::try_from(new.chars().count()).ok() };
    let Some(length) = length else { return Ok(None) };
    let before: String = old.chars().take(size(from.saturating_sub(1))).collect();
    let after: String = old.chars().skip(size(from.saturating_sub(1).saturating_add(length))).collect();
    bounded(before + new + &after)
}

/// `ma_like(value, pattern, escape, any case)`.
fn like(c: &Context<'_>) -> rusqlite::Result<Option<bool>> {
    let (Some(value), Some(pattern), Some(escape)) = (text(c, 0)?, text(c, 1)?, text(c, 2)?) else {
        return Ok(None);
    };
    let any_case = whole(c, 3)? == Some(1);
    let escape = escape.chars().next().unwrap_or('\\');
    let fold = |text: &str| if any_case { text.to_lowercase() } else { text.to_owned() };
    let letters: Vec<char> = fold(value).chars().collect();
    Ok(Some(matches(&letters, &pieces(&fold(pattern), escape))))
}

/// Goes back to the last `%` only: time grows with the product of the lengths at most.
fn matches(text: &[char], pattern: &[Piece]) -> bool {
    let (mut at, mut piece) = (0, 0);
    let mut last: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(piece) {
            Some(Piece::Any) => {
                last = Some((piece, at));
                piece += 1;
            }
            Some(Piece::One) => {
                at += 1;
                piece += 1;
            }
            Some(Piece::Letter(letter)) if *letter == text[at] => {
                at += 1;
                piece += 1;
            }
            _ => match last {
                Some((any, from)) => {
                    last = Some((any, from + 1));
                    at = from + 1;
                    piece = any + 1;
                }
                None => return false,
            },
        }
    }
    pattern[piece..].iter().all(|p| *p == Piece::Any)
}

/// -1, 0 or 1 for two numbers, each a decimal's text or a number of SQLite's.
fn decimal_order(c: &Context<'_>) -> Option<i64> {
    let digits = |index: usize| -> Option<String> {
        match c.get_raw(index) {
            ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok().map(str::to_owned),
            ValueRef::Integer(number) => Some(number.to_string()),
            ValueRef::Real(number) => Some(format!("{number}")),
            _ => None,
        }
    };
    let (a, b) = digits(0).zip(digits(1))?;
    Some(match order(&a, &b) {
        Ordering::Less => -1,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    })
}

fn order(a: &str, b: &str) -> Ordering {
    let sign = |t: &str| t.starts_with('-') && t.bytes().any(|d| (b'1'..=b'9').contains(&d));
    match (sign(a), sign(b)) {
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (true, true) => magnitude(b, a),
        (false, false) => magnitude(a, b),
    }
}

fn magnitude(a: &str, b: &str) -> Ordering {
    let split = |t: &str| {
        let t = t.trim_start_matches(['-', '+']);
        let (whole, part) = t.split_once('.').unwrap_or((t, ""));
        (whole.trim_start_matches('0').to_owned(), part.trim_end_matches('0').to_owned())
    };
    let ((a, a_part), (b, b_part)) = (split(a), split(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(&b)).then_with(|| a_part.cmp(&b_part))
}

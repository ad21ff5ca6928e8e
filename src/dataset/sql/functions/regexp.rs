//! Regular expressions, with a bound on what a pattern compiles to. Matching takes time linear in the text.

use super::{MAX_BUILT_BYTES, PURE, bounded, refuse, text};
use regex::{Regex, RegexBuilder};
use rusqlite::Connection;
use rusqlite::functions::Context;
use rusqlite::types::ValueRef;
use std::sync::Arc;

/// Compiled size of one pattern, bytes.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// Compiles with the flags `i`, `s`, `m`, `x`, `U`; `g` and `c` are for the caller.
pub fn compile(pattern: &str, flags: &str) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(MAX_COMPILED_BYTES);
    for flag in flags.chars() {
        match flag {
            'i' => builder.case_insensitive(true),
            's' => builder.dot_matches_new_line(true),
            'm' => builder.multi_line(true),
            'x' => builder.ignore_whitespace(true),
            'U' => builder.swap_greed(true),
            'g' | 'c' => &mut builder,
            other => {
                return Err(format!(
                    "`{other}` is not a flag of regular expressions; there are i, s, m, x, U and g"
                ));
            }
        };
    }
    builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the regular expression is too large".to_owned(),
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("the regular expression cannot be read: {last}")
        }
    })
}

pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    connection.create_scalar_function("ma_regexp", -1, PURE, |c| {
        let Some((regex, _)) = compiled(c, 2)? else { return Ok(None) };
        Ok(text(c, 0)?.map(|t| regex.is_match(t)))
    })?;
    connection.create_scalar_function("ma_regexp_count", 2, PURE, |c| {
        let Some((regex, _)) = compiled(c, 2)? else { return Ok(None) };
        Ok(text(c, 0)?.map(|t| i64::try_from(regex.find_iter(t).count()).unwrap_or(i64::MAX)))
    })?;
    connection.create_scalar_function("ma_regexp_match", -1, PURE, groups)?;
    connection.create_scalar_function("ma_regexp_replace", -1, PURE, replace)
}

/// The pattern of argument 1 with the flags of argument `flags`, compiled once a statement where they are constant.
fn compiled(c: &Context<'_>, flags: usize) -> rusqlite::Result<Option<(Arc<Regex>, String)>> {
    let flags = if c.len() > flags { text(c, flags)?.unwrap_or_default().to_owned() } else { String::new() };
    if c.get_raw(1) == ValueRef::Null {
        return Ok(None);
    }
    let wanted = flags.clone();
    let regex = c.get_or_create_aux(1, move |value| -> Result<Result<Regex, String>, rusqlite::Error> {
        let pattern = value.as_str().map_err(|_| refuse("a pattern is not a text"))?;
        Ok(compile(pattern, &wanted))
    })?;
    match regex.as_ref() {
        Ok(regex) => Ok(Some((Arc::new(regex.clone()), flags))),
        Err(error) => Err(refuse(error.clone())),
    }
}

/// The groups of the first match as a list, the whole match where there are no groups.
fn groups(c: &Context<'_>) -> rusqlite::Result<Option<String>> {
    let Some((regex, _)) = compiled(c, 2)? else { return Ok(None) };
    let Some(text) = text(c, 0)? else { return Ok(None) };
    let Some(found) = regex.captures(text) else { return Ok(None) };
    let skip = usize::from(found.len() > 1);
    let list: Vec<Option<&str>> = found.iter().skip(skip).map(|g| g.map(|g| g.as_str())).collect();
    Ok(serde_json::to_string(&list).ok())
}

/// `\1` and `$1` both name a group.
fn replace(c: &Context<'_>) -> rusqlite::Result<Option<String>> {
    let Some((regex, flags)) = compiled(c, 3)? else { return Ok(None) };
    let (Some(old), Some(new)) = (text(c, 0)?, text(c, 2)?) else { return Ok(None) };
    let new = groups_of(new);
    if old.len().saturating_mul(new.len().max(1)) > MAX_BUILT_BYTES.saturating_mul(16) {
        return Err(refuse("regexp_replace would build too long a text"));
    }
    let replaced = if flags.contains('g') {
        regex.replace_all(old, new.as_str())
    } else {
        regex.replace(old, new.as_str())
    };
    bounded(replaced.into_owned())
}

fn groups_of(replacement: &str) -> String {
    let mut built = String::with_capacity(replacement.len());
    let mut letters = replacement.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, letters.peek().copied()) {
            ('\\', Some(digit)) if digit.is_ascii_digit() => {
                built.push_str("${");
                built.push(digit);
                built.push('}');
                letters.next();
            }
            ('\\', Some('\\')) => {
                built.push('\\');
                letters.next();
            }
            (letter, _) => built.push(letter),
        }
    }
    built
}

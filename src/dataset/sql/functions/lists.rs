//! Lists, as the JSON arrays that they are kept as. Elements are compared by their text, which is the same for the same
//! value (`crate::columnar::cell`).

use super::{MAX_BUILT_BYTES, PURE, refuse, text, whole};
use rusqlite::Connection;
use rusqlite::functions::Context;
use serde_json::value::RawValue;
use std::cmp::Ordering;
use std::collections::HashSet;

pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    connection.create_scalar_function("ma_list_has", 2, PURE, |c| {
        let (Some(list), Some(item)) = (list(c, 0)?, text(c, 1)?) else { return Ok(None) };
        Ok(Some(list.contains(&item)))
    })?;
    connection.create_scalar_function("ma_list_any", 2, PURE, |c| {
        let (Some(list), Some(wanted)) = (list(c, 0)?, list(c, 1)?) else { return Ok(None) };
        let list: HashSet<&str> = list.into_iter().collect();
        Ok(Some(wanted.iter().any(|w| list.contains(w))))
    })?;
    connection.create_scalar_function("ma_list_all", 2, PURE, |c| {
        let (Some(list), Some(wanted)) = (list(c, 0)?, list(c, 1)?) else { return Ok(None) };
        let list: HashSet<&str> = list.into_iter().collect();
        Ok(Some(wanted.iter().all(|w| list.contains(w))))
    })?;
    connection.create_scalar_function("ma_list_position", 2, PURE, |c| {
        let (Some(list), Some(item)) = (list(c, 0)?, text(c, 1)?) else { return Ok(None) };
        Ok(list.iter().position(|i| *i == item).and_then(|at| i64::try_from(at + 1).ok()))
    })?;
    connection.create_scalar_function("ma_list_remove", 2, PURE, |c| {
        let (Some(mut list), Some(item)) = (list(c, 0)?, text(c, 1)?) else { return Ok(None) };
        list.retain(|i| *i != item);
        Ok(Some(built(&list)))
    })?;
    connection.create_scalar_function("ma_list_distinct", 1, PURE, |c| {
        let Some(mut list) = list(c, 0)? else { return Ok(None) };
        let mut seen = HashSet::new();
        list.retain(|item| seen.insert(*item));
        Ok(Some(built(&list)))
    })?;
    connection.create_scalar_function("ma_list_reverse", 1, PURE, |c| {
        let Some(mut list) = list(c, 0)? else { return Ok(None) };
        list.reverse();
        Ok(Some(built(&list)))
    })?;
    connection.create_scalar_function("ma_list_concat", -1, PURE, concat)?;
    connection.create_scalar_function("ma_list_slice", 3, PURE, slice)?;
    connection.create_scalar_function("ma_list_sort", 4, PURE, sort)?;
    connection.create_scalar_function("ma_list_join", 2, PURE, |c| {
        let (Some(list), Some(separator)) = (list(c, 0)?, text(c, 1)?) else { return Ok(None) };
        let texts: Vec<String> = list.iter().filter_map(|item| serde_json::from_str(item).ok()).collect();
        Ok(Some(texts.join(separator)))
    })
}

fn list<'a>(c: &'a Context<'_>, index: usize) -> rusqlite::Result<Option<Vec<&'a str>>> {
    let Some(text) = text(c, index)? else { return Ok(None) };
    let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| refuse("a list cannot be read"))?;
    Ok(Some(items.into_iter().map(RawValue::get).collect()))
}

fn built(items: &[&str]) -> String {
    format!("[{}]", items.join(","))
}

fn concat(c: &Context<'_>) -> rusqlite::Result<Option<String>> {
    let mut all = Vec::new();
    let mut size = 0;
    for index in 0..c.len() {
        // a list that is null adds nothing
        for item in list(c, index)?.unwrap_or_default() {
            size += item.len() + 1;
            all.push(item);
        }
        if size > MAX_BUILT_BYTES {
            return Err(refuse(format!("a list would take more than {MAX_BUILT_BYTES} bytes")));
        }
    }
    Ok(Some(built(&all)))
}

/// From 1 to the end inclusive; negative numbers count from the end.
fn slice(c: &Context<'_>) -> rusqlite::Result<Option<String>> {
    let (Some(list), Some(from), Some(to)) = (list(c, 0)?, whole(c, 1)?, whole(c, 2)?) else {
        return Ok(None);
    };
    let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
    let place = |index: i64| if index < 0 { length.saturating_add(index).saturating_add(1) } else { index };
    let from = usize::try_from(place(from).max(1) - 1).unwrap_or(0);
    let to = usize::try_from(place(to).clamp(0, length)).unwrap_or(0);
    Ok(Some(built(list.get(from..to.max(from).min(list.len())).unwrap_or_default())))
}

/// `ma_list_sort(list, numeric, descending, nulls last)`.
fn sort(c: &Context<'_>) -> rusqlite::Result<Option<String>> {
    let Some(mut list) = list(c, 0)? else { return Ok(None) };
    let (numeric, descending, last) = (whole(c, 1)?, whole(c, 2)? == Some(1), whole(c, 3)? == Some(1));
    list.sort_by(|a, b| match (*a == "null", *b == "null") {
        (true, true) => Ordering::Equal,
        (true, false) => {
            if last {
                Ordering::Greater
            } else {
                Ordering::Less
            }
        }
        (false, true) => {
            if last {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
        (false, false) => {
            let order =
                if numeric == Some(1) { number(a).total_cmp(&number(b)) } else { words(a).cmp(&words(b)) };
            if descending { order.reverse() } else { order }
        }
    });
    Ok(Some(built(&list)))
}

fn number(item: &str) -> f64 {
    match item {
        "true" => 1.0,
        "false" => 0.0,
        item => item.trim_matches('"').parse().unwrap_or(f64::NAN),
    }
}

fn words(item: &str) -> String {
    serde_json::from_str(item).unwrap_or_default()
}

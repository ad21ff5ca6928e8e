//! JSON patch (RFC 6902).

use serde_json::Value;

/// Why a patch was not applied; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("patch entry {index}: {reason}")]
pub(super) struct PatchError {
    index: usize,
    reason: String,
}

/// Applies all entries of `patch`, or none.
pub(super) fn apply(document: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let whole = |reason: &str| PatchError { index: 0, reason: reason.to_owned() };
    let entries = patch.as_array().ok_or_else(|| whole("a patch is a JSON array of objects"))?;
    let mut changed = document.clone();
    for (index, entry) in entries.iter().enumerate() {
        step(&mut changed, entry).map_err(|reason| PatchError { index, reason })?;
    }
    *document = changed;
    Ok(())
}

fn step(document: &mut Value, entry: &Value) -> Result<(), String> {
    let text = |name: &str| {
        let text = entry.get(name).and_then(Value::as_str);
        text.ok_or_else(|| format!("it needs a text `{name}`"))
    };
    let value = || entry.get("value").cloned().ok_or_else(|| "it needs a `value`".to_owned());
    let path = text("path")?;
    match text("op")? {
        "add" => add(document, path, value()?),
        "remove" => remove(document, path).map(drop),
        "replace" => at(document, path).and_then(|place| value().map(|value| *place = value)),
        "move" => {
            let from = text("from")?;
            if path.strip_prefix(from).is_some_and(|rest| rest.starts_with('/')) {
                return Err(format!("`{from}` cannot be moved into itself"));
            }
            let moved = remove(document, from)?;
            add(document, path, moved)
        }
        "copy" => {
            let copied = at(document, text("from")?)?.clone();
            add(document, path, copied)
        }
        "test" if *at(document, path)? == value()? => Ok(()),
        "test" => Err(format!("the value at `{path}` is another")),
        other => Err(format!("`{other}` is none of add, remove, replace, move, copy, test")),
    }
}

/// The parts of a pointer.
fn parts(path: &str) -> Result<Vec<String>, String> {
    match path.strip_prefix('/') {
        Some(rest) => Ok(rest.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect()),
        None if path.is_empty() => Ok(Vec::new()),
        None => Err(format!("`{path}` is no JSON pointer: it begins with `/`")),
    }
}

fn at<'a>(document: &'a mut Value, path: &str) -> Result<&'a mut Value, String> {
    parts(path)?;
    document.pointer_mut(path).ok_or_else(|| format!("there is nothing at `{path}`"))
}

/// The container of a place, and the last part of its pointer.
fn parent<'a>(document: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), String> {
    let last = parts(path)?.pop().ok_or("the document itself cannot be added or removed")?;
    let (container, _) = path.rsplit_once('/').unwrap_or_default();
    Ok((at(document, container)?, last))
}

fn add(document: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    match parent(document, path)? {
        (Value::Object(members), name) => {
            members.insert(name, value);
            Ok(())
        }
        (Value::Array(items), index) => {
            let index = if index == "-" { items.len() } else { place(&index, items.len(), path)? };
            items.insert(index, value);
            Ok(())
        }
        _ => Err(format!("nothing can be added at `{path}`")),
    }
}

fn remove(document: &mut Value, path: &str) -> Result<Value, String> {
    let missing = || format!("there is nothing at `{path}`");
    match parent(document, path)? {
        (Value::Object(members), name) => members.remove(&name).ok_or_else(missing),
        (Value::Array(items), index) => {
            let last = items.len().checked_sub(1).ok_or_else(missing)?;
            Ok(items.remove(place(&index, last, path)?))
        }
        _ => Err(missing()),
    }
}

fn place(index: &str, max: usize, path: &str) -> Result<usize, String> {
    let plain = index == "0" || !index.starts_with(['0', '+']);
    let index = index.parse().ok().filter(|index| plain && *index <= max);
    index.ok_or_else(|| format!("there is nothing at `{path}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(document: Value, patch: Value) -> Result<Value, String> {
        let mut changed = document;
        apply(&mut changed, &patch).map(|()| changed).map_err(|error| error.to_string())
    }

    #[test]
    fn every_operation_does_what_the_standard_says() {
        let document = json!({"a": [1, 2], "b": {"c~/d": 3}});
        for (patch, expected) in [
            (json!([{"op": "add", "path": "/a/1", "value": 9}]), json!({"a": [1, 9, 2], "b": {"c~/d": 3}})),
            (json!([{"op": "add", "path": "/a/-", "value": 9}]), json!({"a": [1, 2, 9], "b": {"c~/d": 3}})),
            (json!([{"op": "remove", "path": "/a/0"}]), json!({"a": [2], "b": {"c~/d": 3}})),
            (
                json!([{"op": "replace", "path": "/b/c~0~1d", "value": 4}]),
                json!({"a": [1, 2], "b": {"c~/d": 4}}),
            ),
            (json!([{"op": "move", "from": "/a/0", "path": "/a/1"}]), json!({"a": [2, 1], "b": {"c~/d": 3}})),
            (
                json!([{"op": "copy", "from": "/a", "path": "/e"}]),
                json!({"a": [1, 2], "b": {"c~/d": 3}, "e": [1, 2]}),
            ),
            (json!([{"op": "test", "path": "/a/1", "value": 2}]), document.clone()),
        ] {
            assert_eq!(patched(document.clone(), patch.clone()).unwrap(), expected, "{patch}");
        }
    }

    #[test]
    fn a_patch_that_does_not_fit_changes_nothing_and_says_where() {
        let document = json!({"a": [1]});
        for (patch, why) in [
            (json!({}), "a JSON array"),
            (json!([{"op": "test", "path": "/a/0", "value": 2}]), "patch entry 0: the value at `/a/0`"),
            (
                json!([{"op": "add", "path": "/b", "value": 1}, {"op": "remove", "path": "/c"}]),
                "patch entry 1",
            ),
            (json!([{"op": "remove", "path": "/a/1"}]), "nothing at `/a/1`"),
            (json!([{"op": "add", "path": "/a/3", "value": 1}]), "nothing at `/a/3`"),
            (json!([{"op": "add", "path": "/a/00", "value": 1}]), "nothing at `/a/00`"),
            (json!([{"op": "replace", "path": "a", "value": 1}]), "no JSON pointer"),
            (json!([{"op": "move", "from": "/a", "path": "/a/0"}]), "into itself"),
            (json!([{"op": "sort", "path": "/a"}]), "none of add"),
            (json!([{"op": "add", "path": "/a/0/b", "value": 1}]), "nothing can be added"),
        ] {
            let said = patched(document.clone(), patch).unwrap_err();
            assert!(said.contains(why), "{said} has no {why}");
        }
    }
}

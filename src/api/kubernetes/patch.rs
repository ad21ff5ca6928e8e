//! Patches: merge (RFC 7396) and JSON (RFC 6902). Pure.

use serde_json::Value;

/// Steps of one JSON patch.
const STEPS_MAX: usize = 10_000;
/// Bytes that the steps of one patch copy, all together.
const COPIED_BYTES_MAX: usize = crate::api::body::BODY_BYTES_MAX;
/// Mappings and lists in each other after a step.
const DEPTH_MAX: usize = 128;

/// Merges a patch into a document: members that are null go.
pub(super) fn merge(into: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        into.clone_from(patch);
        return;
    };
    if !into.is_object() {
        *into = Value::Object(serde_json::Map::new());
    }
    let Some(object) = into.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            object.remove(key);
        } else {
            merge(object.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Takes the steps of a JSON patch; what is wrong with it where one cannot be taken.
pub(super) fn steps(document: &mut Value, patch: &Value) -> Result<(), String> {
    let steps = patch.as_array().ok_or("a JSON patch is a list of steps")?;
    if steps.len() > STEPS_MAX {
        return Err(format!("a JSON patch has at most {STEPS_MAX} steps"));
    }
    let mut copied = 0;
    for (index, one) in steps.iter().enumerate() {
        step(document, one, &mut copied).map_err(|why| format!("step {} of the patch: {why}", index + 1))?;
    }
    Ok(())
}

/// Whether mappings and lists are in each other no deeper than this.
fn is_flat(value: &Value, depth: usize) -> bool {
    let inner = |value| depth > 0 && is_flat(value, depth - 1);
    match value {
        Value::Object(object) => object.values().all(inner),
        Value::Array(items) => items.iter().all(inner),
        _ => true,
    }
}

/// Whether a value may stand at a path.
fn shallow(path: &str, value: &Value) -> Result<(), String> {
    let within = path.split('/').count();
    if within > DEPTH_MAX || !is_flat(value, DEPTH_MAX - within) {
        return Err(format!("more than {DEPTH_MAX} mappings and lists in each other"));
    }
    Ok(())
}

fn step(document: &mut Value, step: &Value, copied: &mut usize) -> Result<(), String> {
    let text = |field: &str| step.get(field).and_then(Value::as_str).ok_or(format!("`{field}` is missing"));
    let value = || step.get("value").cloned().ok_or("`value` is missing".to_owned());
    let path = text("path")?;
    match text("op")? {
        "add" => add(document, path, value()?),
        "remove" => remove(document, path).map(|_| ()),
        "replace" => {
            let value = value()?;
            shallow(path, &value)?;
            let there = document.pointer_mut(path).ok_or_else(|| missing(path))?;
            *there = value;
            Ok(())
        }
        "move" => {
            let from = text("from")?;
            if path.starts_with(&format!("{from}/")) {
                return Err(format!("{from} cannot be moved into itself"));
            }
            let moved = remove(document, from)?;
            add(document, path, moved)
        }
        "copy" => {
            let from = text("from")?;
            let copy = document.pointer(from).ok_or_else(|| missing(from))?;
            *copied += copy.to_string().len();
            if *copied > COPIED_BYTES_MAX {
                return Err(format!("the patch copies more than {COPIED_BYTES_MAX} bytes"));
            }
            let copy = copy.clone();
            add(document, path, copy)
        }
        "test" => {
            let wanted = value()?;
            if document.pointer(path) == Some(&wanted) {
                return Ok(());
            }
            Err(format!("testing {path} failed: it is not {wanted}"))
        }
        other => Err(format!("`{other}` is no operation")),
    }
}

fn missing(path: &str) -> String {
    format!("there is nothing at {path:?}")
}

/// What holds the last part of a path, and that part.
fn parent<'a>(document: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), String> {
    let (head, last) = path.rsplit_once('/').ok_or_else(|| missing(path))?;
    let parent = document.pointer_mut(head).ok_or_else(|| missing(head))?;
    Ok((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn add(document: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    shallow(path, &value)?;
    let (parent, last) = parent(document, path)?;
    match parent {
        Value::Object(object) => {
            object.insert(last, value);
            Ok(())
        }
        Value::Array(items) => {
            let at = if last == "-" { Some(items.len()) } else { last.parse().ok() };
            let at = at.filter(|at| *at <= items.len()).ok_or_else(|| missing(path))?;
            items.insert(at, value);
            Ok(())
        }
        _ => Err(missing(path)),
    }
}

fn remove(document: &mut Value, path: &str) -> Result<Value, String> {
    let (parent, last) = parent(document, path)?;
    match parent {
        Value::Object(object) => object.remove(&last).ok_or_else(|| missing(path)),
        Value::Array(items) => {
            let at: usize = last.parse().map_err(|_| missing(path))?;
            if at < items.len() { Ok(items.remove(at)) } else { Err(missing(path)) }
        }
        _ => Err(missing(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn merging_sets_and_removes() {
        let mut value = json!({"a": {"b": 1, "c": [1]}, "d": 2});
        merge(&mut value, &json!({"a": {"b": null, "c": [2], "e": {"f": null}}, "d": {"g": 1}}));
        assert_eq!(value, json!({"a": {"c": [2], "e": {}}, "d": {"g": 1}}));
    }

    #[test]
    fn every_step_is_taken() {
        let mut value = json!({"a": [1, 2], "b/c": 3});
        let patch = json!([
            {"op": "test", "path": "/b~1c", "value": 3},
            {"op": "add", "path": "/a/-", "value": 9},
            {"op": "add", "path": "/a/0", "value": 0},
            {"op": "remove", "path": "/a/1"},
            {"op": "replace", "path": "/b~1c", "value": 4},
            {"op": "copy", "from": "/b~1c", "path": "/d"},
            {"op": "move", "from": "/d", "path": "/e"},
        ]);
        steps(&mut value, &patch).unwrap();
        assert_eq!(value, json!({"a": [0, 2, 9], "b/c": 4, "e": 4}));
    }

    #[test]
    fn patches_that_grow_without_end_are_refused() {
        let wide: Vec<Value> =
            (0..60).map(|n| json!({"op": "copy", "from": "", "path": format!("/x{n}")})).collect();
        let deep: Vec<Value> = (0..9_000).map(|_| json!({"op": "copy", "from": "", "path": "/x"})).collect();
        let mut nested = json!(0);
        for _ in 0..120 {
            nested = json!({ "a": nested });
        }
        let put = json!([{"op": "add", "path": "/a/b/c/d/e/f/g/h/i/j", "value": nested}]);
        let again = json!([
            {"op": "add", "path": "/a", "value": {"a": {"a": {"a": 0}}}},
            {"op": "replace", "path": "/a/a/a/a", "value": put[0]["value"]},
            {"op": "replace", "path": format!("/a/a/a/a{}", "/a".repeat(110)), "value": put[0]["value"]},
        ]);
        let all = [
            (json!(wide), "copies"),
            (json!(deep), "in each other"),
            (put, "in each other"),
            (again, "in each other"),
        ];
        for (patch, word) in all {
            let mut value = json!({"text": "x".repeat(100)});
            let why = steps(&mut value, &patch).unwrap_err();
            assert!(why.contains(word), "{why}");
        }
    }

    #[test]
    fn steps_that_cannot_be_taken_are_named() {
        for wrong in [
            json!({"op": "test", "path": "/a", "value": 2}),
            json!({"op": "remove", "path": "/x"}),
            json!({"op": "replace", "path": "/x", "value": 1}),
            json!({"op": "add", "path": "/x/y", "value": 1}),
            json!({"op": "add", "path": "/l/9", "value": 1}),
            json!({"op": "remove", "path": "/l/9"}),
            json!({"op": "move", "from": "/l", "path": "/l/0"}),
            json!({"op": "jump", "path": "/a"}),
            json!({"path": "/a"}),
            json!({"op": "add", "path": "/a"}),
        ] {
            let mut value = json!({"a": 1, "l": []});
            let why = steps(&mut value, &json!([wrong])).unwrap_err();
            assert!(why.contains("step 1"), "{why}");
        }
        assert!(steps(&mut json!({}), &json!({})).is_err());
    }
}

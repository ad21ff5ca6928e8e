//! Documents as trees of fields: which are set, how two differ, what of one goes into another.

use serde::Serialize;
use serde_json::{Map, Value};

/// Differences told of one resource.
const CHANGES_MAX: usize = 200;
/// Fields whose values are not told.
const SECRET_FIELDS: [&str; 1] = ["client_secret"];
const HIDDEN: &str = "(secret)";

/// One field that differs. A side that is missing has no such field.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FieldChange {
    /// Such as `container.image` or `ports[0].num`.
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

/// Without members that are null.
#[must_use]
pub fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let kept = object.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// Pointers of all fields that a document sets: scalars, lists, and empty mappings, whose pointer ends in `/`: that they are
/// there is all they say. Sorted.
#[must_use]
pub fn leaves(value: &Value) -> Vec<String> {
    let mut found = vec![];
    collect(value, String::new(), &mut found);
    found.sort_unstable();
    found
}

fn collect(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Null => {}
        // Notes that are empty say nothing.
        Value::Object(object) if object.is_empty() => {
            if !at.is_empty() && !at.ends_with("/annotations") {
                found.push(format!("{at}/"));
            }
        }
        Value::Object(object) => {
            for (key, value) in object {
                collect(value, format!("{at}/{}", escaped(key)), found);
            }
        }
        _ => found.push(at),
    }
}

fn escaped(key: &str) -> String {
    if key.contains(['~', '/']) { key.replace('~', "~0").replace('/', "~1") } else { key.to_owned() }
}

fn unescaped(key: &str) -> String {
    if key.contains('~') { key.replace("~1", "/").replace("~0", "~") } else { key.to_owned() }
}

/// Whether two pointers are one field, or one lies in the other.
#[must_use]
pub fn overlap(a: &str, b: &str) -> bool {
    let within = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    within(a, b) || within(b, a)
}

/// What a document has at a field, as [`leaves`] names it.
#[must_use]
pub fn at<'a>(document: &'a Value, field: &str) -> Option<&'a Value> {
    document.pointer(field.strip_suffix('/').unwrap_or(field))
}

/// Puts a value at a pointer, with the objects on the way. Where something else is in the way, it stays. Of a pointer that
/// ends in `/` the mapping is made where it is missing, and nothing more.
pub fn put(into: &mut Value, pointer: &str, value: Value) {
    if let Some(mapping) = pointer.strip_suffix('/') {
        if into.pointer(mapping).is_none() {
            put(into, mapping, Value::Object(Map::new()));
        }
        return;
    }
    let mut keys: Vec<String> = pointer.split('/').skip(1).map(unescaped).collect();
    let Some(last) = keys.pop() else { return };
    let mut at = into;
    for key in keys {
        let Some(object) = at.as_object_mut() else { return };
        at = object.entry(key).or_insert_with(|| Value::Object(Map::new()));
    }
    if let Some(object) = at.as_object_mut() {
        object.insert(last, value);
    }
}

/// A pointer as people read it.
#[must_use]
pub fn shown(pointer: &str) -> String {
    let pointer = pointer.strip_suffix('/').unwrap_or(pointer);
    pointer.split('/').skip(1).fold(String::new(), |path, key| step(&path, &unescaped(key)))
}

fn step(path: &str, key: &str) -> String {
    let odd = key.is_empty() || key.contains(['.', '[', ' ', '"']);
    match (path.is_empty(), odd) {
        (_, true) => format!("{path}[{key:?}]"),
        (true, false) => key.to_owned(),
        (false, false) => format!("{path}.{key}"),
    }
}

/// How two documents differ, field by field.
#[must_use]
pub fn diff(from: &Value, to: &Value) -> Vec<FieldChange> {
    let mut changes = vec![];
    compare(Some(from), Some(to), String::new(), &mut changes);
    changes
}

fn compare(from: Option<&Value>, to: Option<&Value>, path: String, changes: &mut Vec<FieldChange>) {
    if from == to || changes.len() >= CHANGES_MAX {
        return;
    }
    match (from, to) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            for (key, value) in a {
                compare(Some(value), b.get(key), step(&path, key), changes);
            }
            for (key, value) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
                compare(None, Some(value), step(&path, key), changes);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            for index in 0..a.len().max(b.len()) {
                compare(a.get(index), b.get(index), format!("{path}[{index}]"), changes);
            }
        }
        _ => changes.push(FieldChange { from: told(&path, from), to: told(&path, to), path }),
    }
}

fn told(path: &str, value: Option<&Value>) -> Option<Value> {
    let secret = |key: &str| SECRET_FIELDS.contains(&key);
    let value = value?;
    if path.rsplit('.').next().is_some_and(secret) {
        return Some(Value::from(HIDDEN));
    }
    Some(hidden(value))
}

fn hidden(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let one = |(key, value): (&String, &Value)| {
                let secret = SECRET_FIELDS.contains(&key.as_str());
                (key.clone(), if secret { Value::from(HIDDEN) } else { hidden(value) })
            };
            Value::Object(object.iter().map(one).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(hidden).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_scalars_and_lists() {
        let value = json!({"a": {"b/c": 1, "d": [1, {"e": 2}]}, "f": null, "g": {}});
        assert_eq!(leaves(&value), ["/a/b~1c", "/a/d", "/g/"]);
        assert_eq!(leaves(&json!({"annotations": {}})), [""; 0]);
        assert_eq!(shown("/a/b~1c"), "a.b/c");
        assert_eq!(shown("/metadata/annotations/a.b"), "metadata.annotations[\"a.b\"]");
    }

    #[test]
    fn a_field_lies_in_another_or_does_not() {
        assert!(overlap("/a/b", "/a") && overlap("/a", "/a/b") && overlap("/a", "/a"));
        assert!(!overlap("/ab", "/a") && !overlap("/a/b", "/a/c"));
    }

    #[test]
    fn a_value_is_put_where_the_pointer_says() {
        let mut value = json!({"a": 1});
        put(&mut value, "/b/c~1d", json!(2));
        put(&mut value, "/a/x", json!(3));
        put(&mut value, "/b/", json!({"x": 1}));
        put(&mut value, "/e/", json!({"x": 1}));
        assert_eq!(value, json!({"a": 1, "b": {"c/d": 2}, "e": {}}));
    }

    #[test]
    fn differences_are_told_by_field_and_secrets_are_not() {
        let from = json!({"a": 1, "l": [{"x": 1}, 2], "oauth": {"client_secret": "one"}});
        let to = json!({"a": 1, "l": [{"x": 2}], "n": {"client_secret": "two"}, "oauth": {"client_secret": "three"}});
        let changes = diff(&from, &to);
        let paths: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(paths, ["l[0].x", "l[1]", "oauth.client_secret", "n"]);
        let text = serde_json::to_string(&changes).unwrap();
        assert!(!text.contains("one") && !text.contains("two") && !text.contains("three"), "{text}");
        assert_eq!(diff(&from, &from), []);
    }
}

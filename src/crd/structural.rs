//! JSON Schema as Kubernetes takes it in definitions: structural. No references, no alternatives, a type everywhere.
//!
//! Alternatives become one object with the fields of all; the server says which go together. What cannot be said so is left
//! open (`x-kubernetes-preserve-unknown-fields`), and the server checks it.

use serde_json::{Map, Value, json};

/// References deeper than this are left open.
const DEPTH_MAX: usize = 24;
const OPEN: &str = "x-kubernetes-preserve-unknown-fields";
/// What means the same there. Defaults are left out: what is written to `spec` is the user's.
const KEPT: [&str; 8] =
    ["description", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern"];

/// A schema with `$defs` as a structural one.
pub fn structural(root: &Value) -> Map<String, Value> {
    let definitions = root.get("$defs").and_then(Value::as_object);
    Reader { definitions }.read(root, 0)
}

struct Reader<'a> {
    definitions: Option<&'a Map<String, Value>>,
}

impl Reader<'_> {
    fn read(&self, schema: &Value, depth: usize) -> Map<String, Value> {
        let Some(object) = schema.as_object().filter(|_| depth < DEPTH_MAX) else { return open() };
        let mut made = self.body(object, depth);
        if let Some(text) = object.get("description") {
            made.insert("description".to_owned(), text.clone());
        }
        made
    }

    fn body(&self, object: &Map<String, Value>, depth: usize) -> Map<String, Value> {
        if let Some(name) = object.get("$ref").and_then(Value::as_str) {
            let name = name.strip_prefix("#/$defs/").unwrap_or(name);
            let found = self.definitions.and_then(|all| all.get(name));
            return found.map_or_else(open, |found| self.read(found, depth + 1));
        }
        if let Some(variants) = ["anyOf", "oneOf"].iter().find_map(|word| object.get(*word)) {
            return self.one_of(variants.as_array().map_or(&[], Vec::as_slice), depth);
        }
        if let Some(value) = object.get("const") {
            return from([("type", type_of(value)), ("enum", json!([value]))]);
        }
        let (kind, nullable) = kind_of(object);
        let mut made = match kind {
            Some("object") => self.object(object, depth),
            Some("array") => {
                let items = object.get("items").map_or_else(open, |items| self.read(items, depth + 1));
                from([("type", json!("array")), ("items", Value::Object(items))])
            }
            Some(kind) => from([("type", json!(kind))]),
            None => return open(),
        };
        for word in KEPT {
            if let Some(value) = object.get(word) {
                made.insert(word.to_owned(), value.clone());
            }
        }
        if let Some(all) = object.get("enum").and_then(Value::as_array) {
            let values: Vec<&Value> = all.iter().filter(|value| !value.is_null()).collect();
            made.insert("enum".to_owned(), json!(values));
        }
        if nullable {
            made.insert("nullable".to_owned(), json!(true));
        }
        made
    }

    fn object(&self, object: &Map<String, Value>, depth: usize) -> Map<String, Value> {
        let mut made = from([("type", json!("object"))]);
        let extra = object.get("additionalProperties");
        let closed = extra == Some(&json!(false));
        match object.get("properties").and_then(Value::as_object) {
            Some(properties) => {
                let read = |(name, schema): (&String, &Value)| {
                    (name.clone(), Value::Object(self.read(schema, depth + 1)))
                };
                made.insert("properties".to_owned(), Value::Object(properties.iter().map(read).collect()));
                if !closed || object.contains_key("x-aliases") {
                    made.insert(OPEN.to_owned(), json!(true));
                }
            }
            None => match extra.filter(|extra| extra.is_object()) {
                Some(extra) => {
                    let extra = Value::Object(self.read(extra, depth + 1));
                    made.insert("additionalProperties".to_owned(), extra);
                }
                // One without fields has only itself to say: `{}`.
                None if closed => {}
                None => {
                    made.insert(OPEN.to_owned(), json!(true));
                }
            },
        }
        if let Some(required) = object.get("required") {
            made.insert("required".to_owned(), required.clone());
        }
        made
    }

    fn one_of(&self, variants: &[Value], depth: usize) -> Map<String, Value> {
        let nullable = variants.iter().any(|variant| variant.get("type") == Some(&json!("null")));
        let rest = variants.iter().filter(|variant| variant.get("type") != Some(&json!("null")));
        let read: Vec<Map<String, Value>> = rest.map(|variant| self.read(variant, depth + 1)).collect();
        let mut made = merge(read);
        if nullable {
            made.insert("nullable".to_owned(), json!(true));
        }
        made
    }
}

/// One schema that takes what each of these takes.
fn merge(mut variants: Vec<Map<String, Value>>) -> Map<String, Value> {
    if variants.len() <= 1 {
        return variants.pop().unwrap_or_else(open);
    }
    let kinds: Vec<&str> =
        variants.iter().map(|variant| variant.get("type").and_then(Value::as_str).unwrap_or("any")).collect();
    if kinds.iter().all(|kind| *kind == "object") {
        return merge_objects(&variants);
    }
    if kinds.iter().all(|kind| matches!(*kind, "string" | "integer")) && kinds.contains(&"integer") {
        return from([("x-kubernetes-int-or-string", json!(true))]);
    }
    let lists: Option<Vec<Vec<Value>>> =
        variants.iter().map(|variant| variant.get("enum")?.as_array().cloned()).collect();
    match lists.filter(|_| kinds.iter().all(|kind| *kind == "string")) {
        Some(all) => from([("type", json!("string")), ("enum", json!(unique(all.concat())))]),
        None => open(),
    }
}

fn merge_objects(variants: &[Map<String, Value>]) -> Map<String, Value> {
    let mut properties: Map<String, Value> = Map::new();
    let fields = |variant: &Map<String, Value>| variant.get("properties").and_then(Value::as_object).cloned();
    for (name, schema) in variants.iter().filter_map(fields).flatten() {
        let merged = match properties.remove(&name) {
            Some(known) if known == schema => known,
            Some(known) => {
                let both = [known, schema].into_iter().filter_map(|one| one.as_object().cloned()).collect();
                Value::Object(merge(both))
            }
            None => schema,
        };
        properties.insert(name, merged);
    }
    let names = |variant: &Map<String, Value>| -> Vec<Value> {
        variant.get("required").and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let mut required = variants.first().map(names).unwrap_or_default();
    required.retain(|name| variants.iter().all(|variant| names(variant).contains(name)));
    let mut made = from([("type", json!("object")), ("properties", Value::Object(properties))]);
    if !required.is_empty() {
        made.insert("required".to_owned(), json!(required));
    }
    if variants.iter().any(|variant| variant.contains_key(OPEN)) {
        made.insert(OPEN.to_owned(), json!(true));
    }
    made
}

fn unique(values: Vec<Value>) -> Vec<Value> {
    let mut all = vec![];
    for value in values {
        if !all.contains(&value) {
            all.push(value);
        }
    }
    all
}

/// The type, and whether `null` is one too.
fn kind_of(object: &Map<String, Value>) -> (Option<&str>, bool) {
    match object.get("type") {
        Some(Value::String(kind)) => (Some(kind), false),
        Some(Value::Array(kinds)) => {
            let mut named = kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null");
            let nullable = kinds.iter().any(|kind| kind == "null");
            let one = named.next().filter(|_| kinds.len() - usize::from(nullable) == 1);
            (one, nullable)
        }
        _ => (None, false),
    }
}

fn type_of(value: &Value) -> Value {
    json!(match value {
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        _ => "string",
    })
}

fn open() -> Map<String, Value> {
    from([(OPEN, json!(true))])
}

fn from<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(schema: Value) -> Value {
        Value::Object(structural(&schema))
    }

    #[test]
    fn references_and_nulls_are_resolved() {
        let made = of(json!({"type": "object", "additionalProperties": false,
            "$defs": {"A": {"type": "string", "enum": ["x"], "default": "x"}},
            "properties": {
                "a": {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}], "description": "which"},
                "n": {"type": ["array", "null"], "items": {"type": "integer", "format": "uint16", "minimum": 1}},
                "any": true,
                "free": {"type": "object", "additionalProperties": true},
                "texts": {"type": "object", "additionalProperties": {"type": "string"}},
            }, "required": ["a"]}));
        assert_eq!(
            made,
            json!({"type": "object", "required": ["a"], "properties": {
                "a": {"type": "string", "enum": ["x"], "nullable": true, "description": "which"},
                "n": {"type": "array", "nullable": true, "items": {"type": "integer", "minimum": 1}},
                "any": {OPEN: true},
                "free": {"type": "object", OPEN: true},
                "texts": {"type": "object", "additionalProperties": {"type": "string"}},
            }})
        );
    }

    #[test]
    fn alternatives_become_one() {
        let variant = |kind: &str, field: &str| {
            json!({"type": "object", "additionalProperties": false, "required": ["type", field],
                "properties": {"type": {"const": kind}, field: {"type": "string"}}})
        };
        let made = of(json!({"oneOf": [variant("a", "x"), variant("b", "y")]}));
        assert_eq!(
            made,
            json!({"type": "object", "required": ["type"], "properties": {
                "type": {"type": "string", "enum": ["a", "b"]},
                "x": {"type": "string"}, "y": {"type": "string"}}})
        );
        let port = of(json!({"anyOf": [{"const": "*"}, {"type": "integer", "minimum": 1}]}));
        assert_eq!(port, json!({"x-kubernetes-int-or-string": true}));
        assert_eq!(of(json!({"anyOf": [{"type": "boolean"}, {"type": "object"}]})), json!({OPEN: true}));
    }

    #[test]
    fn a_circle_of_references_is_left_open() {
        let made = of(json!({"$ref": "#/$defs/A", "$defs": {
            "A": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}}}));
        assert!(made.to_string().contains(OPEN));
        assert_eq!(of(json!({"$ref": "#/$defs/missing"})), json!({OPEN: true}));
    }
}

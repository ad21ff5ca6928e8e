//! Finding elements in a document's JSON.

use crate::yjs::MeshSchema;
use regex::Regex;
use serde_json::{Map, Value};

/// The elements whose tag, property names or values match, outer ones first, each once; with up to `before` and
/// `after` of their neighbours.
pub(super) fn grep<'a>(
    document: &'a Value,
    schema: &MeshSchema,
    pattern: &Regex,
    before: usize,
    after: usize,
) -> Vec<&'a Value> {
    let mut search = Search { schema, pattern, before, after, found: Vec::new() };
    search.level(std::slice::from_ref(document));
    search.found
}

struct Search<'a, 'b> {
    schema: &'b MeshSchema,
    pattern: &'b Regex,
    before: usize,
    after: usize,
    found: Vec<&'a Value>,
}

impl<'a> Search<'a, '_> {
    /// Looks through the children of one element.
    fn level(&mut self, elements: &'a [Value]) {
        for (index, element) in elements.iter().enumerate() {
            let Some((tag, fields)) = single(element) else { continue };
            let child = self.schema.element(tag).and_then(|element| element.child.as_ref());
            let child = child.map(|child| child.name.as_str());
            if self.matches(tag, fields, child) {
                let around = index.saturating_sub(self.before)..=index + self.after;
                for near in elements.get(*around.start()..elements.len().min(around.end() + 1)).unwrap_or(&[])
                {
                    if !self.found.iter().any(|found| std::ptr::eq(*found, near)) {
                        self.found.push(near);
                    }
                }
            }
            if let Some(children) = child.and_then(|name| fields.get(name)).and_then(Value::as_array) {
                self.level(children);
            }
        }
    }

    fn matches(&self, tag: &str, fields: &Map<String, Value>, child: Option<&str>) -> bool {
        let values = fields.iter().filter(|(name, _)| Some(name.as_str()) != child);
        self.pattern.is_match(tag)
            || values.into_iter().any(|(name, value)| {
                self.pattern.is_match(name)
                    || match value {
                        Value::Null => false,
                        Value::String(text) => self.pattern.is_match(text),
                        other => self.pattern.is_match(&other.to_string()),
                    }
            })
    }
}

fn single(element: &Value) -> Option<(&String, &Map<String, Value>)> {
    let (tag, fields) = element.as_object()?.iter().next()?;
    Some((tag, fields.as_object()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn elements_are_found_by_tag_name_and_value_with_their_neighbours() {
        let note = json!({"type": "object", "properties": {"note": {"type": "object", "properties": {
            "v": {"type": "string"},
            "notes": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/note"}]}}}}}});
        let root = json!({"type": "object", "properties": {"root": {"type": "object", "properties": {
            "children": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/note"}]}}}}}});
        let schema = json!({"$root_tag_ref": "#/$defs/root", "$defs": {"root": root, "note": note}});
        let schema = MeshSchema::parse(schema).unwrap();
        let note = |v: &str, notes: Value| json!({"note": {"v": v, "notes": notes}});
        let inner = note("inside", json!([]));
        let notes = [note("one", json!([])), note("two", json!([inner])), note("three", json!([]))];
        let document = json!({"root": {"children": notes}});
        let found = |pattern: &str, before, after| -> Vec<String> {
            let pattern = Regex::new(pattern).unwrap();
            let found = grep(&document, &schema, &pattern, before, after);
            found.iter().map(|element| element["note"]["v"].as_str().unwrap_or("root").to_owned()).collect()
        };
        assert_eq!(found("^one$", 0, 0), ["one"]);
        assert_eq!(found("inside", 0, 0), ["inside"]);
        assert_eq!(found("^two$", 1, 1), ["one", "two", "three"]);
        assert_eq!(found("^t", 1, 9), ["one", "two", "three"]);
        assert_eq!(found("note", 0, 0), ["one", "two", "inside", "three"]);
        assert_eq!(found("root", 0, 0), ["root"]);
        assert!(found("nothing", 3, 3).is_empty());
    }
}

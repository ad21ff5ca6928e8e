//! MeshSchema: what elements a document may hold. Pure: parsing, checking, looking up (room protocol §5).

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Most bytes of a schema, as JSON.
pub const SCHEMA_BYTES_MAX: usize = 1024 * 1024;
/// Most kinds of elements in a schema.
pub const ELEMENTS_MAX: usize = 1_000;
/// Where references to elements begin.
const REF_PREFIX: &str = "#/$defs/";

/// Why a JSON value is no MeshSchema; the text names the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the schema is not a MeshSchema: {place}: {reason}")]
pub struct SchemaError {
    pub place: String,
    pub reason: String,
}

/// The type of a value property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    Number,
    String,
    Boolean,
    Null,
}

/// A property that holds one value, stored as an attribute.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueProperty {
    pub kind: ValueKind,
    pub nullable: bool,
    /// The only values allowed, where the schema lists them.
    pub allowed: Option<Vec<Value>>,
}

/// The property that holds child elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildProperty {
    pub name: String,
    pub tags: Vec<String>,
}

/// One kind of element.
#[derive(Debug, Clone, PartialEq)]
pub struct ElementType {
    pub tag: String,
    pub values: BTreeMap<String, ValueProperty>,
    pub child: Option<ChildProperty>,
}

/// A checked schema, and the JSON it came as.
#[derive(Debug, Clone, PartialEq)]
pub struct MeshSchema {
    root: String,
    elements: BTreeMap<String, ElementType>,
    json: Value,
}

impl MeshSchema {
    /// Reads and checks a schema: every reference leads to an element, an element has at most one child property.
    pub fn parse(json: Value) -> Result<Self, SchemaError> {
        let bytes = serde_json::to_vec(&json).map_or(usize::MAX, |text| text.len());
        if bytes > SCHEMA_BYTES_MAX {
            return Err(error("$", format!("it has more than {SCHEMA_BYTES_MAX} bytes")));
        }
        let object = json.as_object().ok_or_else(|| error("$", "it must be an object"))?;
        let root = object.get("$root_tag_ref").and_then(Value::as_str);
        let root = root.ok_or_else(|| error("$root_tag_ref", "it must name the root element"))?;
        let root = root.strip_prefix(REF_PREFIX).unwrap_or(root).to_owned();
        let definitions = field(object, "$", "$defs")?;
        if definitions.len() > ELEMENTS_MAX {
            return Err(error("$defs", format!("more than {ELEMENTS_MAX} elements")));
        }
        let mut elements = BTreeMap::new();
        for (key, definition) in definitions {
            let element = element(&format!("$defs.{key}"), definition)?;
            let tag = element.tag.clone();
            if elements.insert(tag.clone(), element).is_some() {
                return Err(error("$defs", format!("element `{tag}` is defined twice")));
            }
        }
        let schema = Self { root, elements, json };
        schema.check()?;
        Ok(schema)
    }

    fn check(&self) -> Result<(), SchemaError> {
        if !self.elements.contains_key(&self.root) {
            return Err(error("$root_tag_ref", format!("element `{}` is not in $defs", self.root)));
        }
        for element in self.elements.values() {
            let tags = element.child.iter().flat_map(|child| &child.tags);
            if let Some(missing) = tags.into_iter().find(|tag| !self.elements.contains_key(*tag)) {
                let place = format!("$defs.{}", element.tag);
                return Err(error(place, format!("child element `{missing}` is not in $defs")));
            }
        }
        Ok(())
    }

    /// The kind of element that the document itself is.
    #[must_use]
    pub fn root(&self) -> Option<&ElementType> {
        self.element(&self.root)
    }

    #[must_use]
    pub fn root_tag(&self) -> &str {
        &self.root
    }

    #[must_use]
    pub fn element(&self, tag: &str) -> Option<&ElementType> {
        self.elements.get(tag)
    }

    /// All kinds of elements, by tag.
    pub fn elements(&self) -> impl Iterator<Item = &ElementType> {
        self.elements.values()
    }

    /// The schema as it was given.
    #[must_use]
    pub fn json(&self) -> &Value {
        &self.json
    }
}

impl ValueProperty {
    /// Whether the property may hold `value`.
    #[must_use]
    pub fn takes(&self, value: &Value) -> bool {
        if let Some(allowed) = &self.allowed {
            if allowed.contains(value) {
                return true;
            }
            return value.is_null() && self.nullable;
        }
        match value {
            Value::Null => self.nullable || self.kind == ValueKind::Null,
            Value::Bool(_) => self.kind == ValueKind::Boolean,
            Value::Number(_) => self.kind == ValueKind::Number,
            Value::String(_) => self.kind == ValueKind::String,
            Value::Array(_) | Value::Object(_) => false,
        }
    }
}

fn error(place: impl Into<String>, reason: impl Into<String>) -> SchemaError {
    SchemaError { place: place.into(), reason: reason.into() }
}

fn field<'a>(
    object: &'a Map<String, Value>,
    place: &str,
    name: &str,
) -> Result<&'a Map<String, Value>, SchemaError> {
    object
        .get(name)
        .and_then(Value::as_object)
        .ok_or_else(|| error(format!("{place}.{name}"), "it must be an object"))
}

fn element(place: &str, json: &Value) -> Result<ElementType, SchemaError> {
    let object = json.as_object().ok_or_else(|| error(place, "an element must be an object"))?;
    let outer = field(object, place, "properties")?;
    let (tag, inner) = match outer.iter().next() {
        Some((tag, inner)) if outer.len() == 1 && !tag.is_empty() => (tag, inner),
        _ => return Err(error(format!("{place}.properties"), "it must have one member, the element's tag")),
    };
    let place = format!("{place}.properties.{tag}");
    let inner = inner.as_object().ok_or_else(|| error(&place, "it must be an object"))?;
    let mut values = BTreeMap::new();
    let mut child = None;
    for (name, property) in field(inner, &place, "properties")? {
        let place = format!("{place}.properties.{name}");
        let property = property.as_object().ok_or_else(|| error(&place, "a property must be an object"))?;
        match kind(&place, property)? {
            Some((kind, nullable)) => {
                let allowed = property.get("enum").and_then(Value::as_array).cloned();
                values.insert(name.clone(), ValueProperty { kind, nullable, allowed });
            }
            None if child.is_some() => {
                return Err(error(place, "an element has at most one child property"));
            }
            None => child = Some(ChildProperty { name: name.clone(), tags: child_tags(&place, property)? }),
        }
    }
    Ok(ElementType { tag: tag.clone(), values, child })
}

/// The kind of a value property and whether it may be null; nothing for a child property.
fn kind(place: &str, property: &Map<String, Value>) -> Result<Option<(ValueKind, bool)>, SchemaError> {
    let (name, nullable) = match property.get("type") {
        Some(Value::String(name)) => (name.as_str(), false),
        Some(Value::Array(names)) => {
            let first = names.first().and_then(Value::as_str);
            (first.unwrap_or_default(), names.iter().any(|name| name == "null"))
        }
        _ => return Err(error(place, "it has no `type`")),
    };
    Ok(Some(match name {
        "number" | "integer" => (ValueKind::Number, nullable),
        "string" => (ValueKind::String, nullable),
        "boolean" => (ValueKind::Boolean, nullable),
        "null" => (ValueKind::Null, true),
        "array" => return Ok(None),
        other => {
            let text = format!("type `{other}` is not one of number, string, boolean, null, array");
            return Err(error(place, text));
        }
    }))
}

/// The tags of `items.anyOf` (in any order) or `prefixItems` (in this order).
fn child_tags(place: &str, property: &Map<String, Value>) -> Result<Vec<String>, SchemaError> {
    let any = property.get("items").and_then(|items| items.get("anyOf"));
    let listed = any.or_else(|| property.get("prefixItems")).and_then(Value::as_array);
    let listed = listed
        .ok_or_else(|| error(place, "an array needs `items.anyOf` or `prefixItems` with references"))?;
    let tag = |item: &Value| {
        let text = item.get("$ref").and_then(Value::as_str)?;
        Some(text.strip_prefix(REF_PREFIX).unwrap_or(text).to_owned())
    };
    let tags: Option<Vec<String>> = listed.iter().map(tag).collect();
    tags.ok_or_else(|| error(place, "every item must be a `$ref`"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// A root with items and texts.
    pub fn example() -> Value {
        let root = json!({"type": "object", "additionalProperties": false, "required": ["root"], "properties": {
            "root": {"type": "object", "additionalProperties": false, "required": ["children"], "properties": {
                "children": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/item"}, {"$ref": "#/$defs/text"}]}}}}}});
        json!({
            "$root_tag_ref": "#/$defs/root",
            "$defs": {
                "root": root,
                "item": {"type": "object", "properties": {"item": {"type": "object", "required": ["v"], "properties": {
                    "v": {"type": ["string", "null"]}, "n": {"type": ["number", "null"]},
                    "on": {"type": "boolean"}, "size": {"type": "string", "enum": ["s", "l"]},
                    "items": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/item"}]}}}}}},
                "text": {"type": "object", "properties": {"text": {"type": "object", "required": [], "properties": {}}}},
            },
        })
    }

    #[test]
    fn a_schema_tells_what_its_elements_hold() {
        let schema = MeshSchema::parse(example()).unwrap();
        assert_eq!(schema.root().unwrap().child.as_ref().unwrap().tags, ["item", "text"]);
        let item = schema.element("item").unwrap();
        assert!(item.values["v"].takes(&json!("x")) && item.values["v"].takes(&Value::Null));
        assert!(!item.values["v"].takes(&json!(1)) && !item.values["on"].takes(&Value::Null));
        assert!(item.values["size"].takes(&json!("s")) && !item.values["size"].takes(&json!("m")));
        assert_eq!(schema.json(), &example());
    }

    #[test]
    fn ordered_children_are_read_too() {
        let mut json = example();
        json["$defs"]["root"]["properties"]["root"]["properties"]["children"] =
            json!({"type": "array", "prefixItems": [{"$ref": "#/$defs/item"}], "items": false});
        assert_eq!(MeshSchema::parse(json).unwrap().root().unwrap().child.as_ref().unwrap().tags, ["item"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let broken = |change: &dyn Fn(&mut Value)| {
            let mut json = example();
            change(&mut json);
            MeshSchema::parse(json).unwrap_err().to_string()
        };
        for (text, change) in [
            (
                "$root_tag_ref",
                &(|j: &mut Value| j["$root_tag_ref"] = json!("#/$defs/nobody")) as &dyn Fn(&mut Value),
            ),
            ("$defs", &|j| j["$defs"] = json!([])),
            ("`item` is not in $defs", &|j| drop(j["$defs"].as_object_mut().unwrap().remove("item"))),
            ("type `date`", &|j| {
                j["$defs"]["item"]["properties"]["item"]["properties"]["v"]["type"] = json!("date");
            }),
            ("at most one child", &|j| {
                j["$defs"]["item"]["properties"]["item"]["properties"]["more"] =
                    json!({"type": "array", "items": {"anyOf": []}});
            }),
            ("one member", &|j| j["$defs"]["item"]["properties"] = json!({})),
            ("must be an object", &|j| *j = json!(7)),
        ] {
            let said = broken(change);
            assert!(said.contains(text), "{said} has no {text}");
        }
    }
}

//! A document's JSON form and its XML tree, both ways (room protocol §5). The root element is the fragment itself;
//! values are attributes, children are child elements, `$id` is each element's own.

use super::schema::{ElementType, MeshSchema};
use super::update::DEPTH_MAX;
use serde_json::{Map, Number as JsonNumber, Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use yrs::types::Attrs;
use yrs::types::text::YChange;
use yrs::{
    Any, Out, ReadTxn, Text, TransactionMut, Xml, XmlElementPrelim, XmlElementRef, XmlFragment,
    XmlFragmentRef, XmlOut, XmlTextPrelim, XmlTextRef,
};

/// Attribute that identifies an element.
pub const ID_ATTRIBUTE: &str = "$id";
/// Elements of this tag hold one text.
pub const TEXT_TAG: &str = "text";
/// Most elements in one JSON document.
pub const ELEMENTS_MAX: usize = 200_000;

/// Why a JSON value is no document of a schema; the text names the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the document's JSON does not fit its schema: {place}: {reason}")]
pub struct TreeError {
    pub place: String,
    pub reason: String,
}

pub(super) fn error(place: &str, reason: impl Into<String>) -> TreeError {
    TreeError {
        place: if place.is_empty() { "/".to_owned() } else { place.to_owned() },
        reason: reason.into(),
    }
}

/// Writes elements of a schema.
pub(super) struct Writer<'a> {
    schema: &'a MeshSchema,
    ids: &'a dyn Fn() -> String,
    elements: usize,
}

/// Inserts `json` (`{"<root tag>": {...}}`) below the empty fragment. The root's own values have no place in the
/// format and are left out.
pub fn write(
    txn: &mut TransactionMut<'_>,
    fragment: &XmlFragmentRef,
    schema: &MeshSchema,
    json: &Value,
    ids: &dyn Fn() -> String,
) -> Result<(), TreeError> {
    insert(txn, fragment, schema, json, ids, Inserted { skip: 0, count: usize::MAX, index: 0 })
}

fn insert(
    txn: &mut TransactionMut<'_>,
    fragment: &XmlFragmentRef,
    schema: &MeshSchema,
    json: &Value,
    ids: &dyn Fn() -> String,
    which: Inserted,
) -> Result<(), TreeError> {
    let (tag, fields) = single("", json)?;
    let root = schema.root().filter(|root| root.tag == *tag).ok_or_else(|| {
        error("", format!("the root element is `{tag}`, the schema's is `{}`", schema.root_tag()))
    })?;
    let place = format!("/{tag}");
    check_values(&place, root, fields)?;
    let mut writer = Writer::new(schema, ids);
    let chosen = children(&place, root, fields)?.into_iter().skip(which.skip).take(which.count);
    for (index, (place, child)) in (which.index..).zip(chosen) {
        writer.element(txn, &Parent::Root(fragment, index), root, &place, child, 1)?;
    }
    Ok(())
}

/// Makes the document what `json` says. Elements at the begin and at the end that stay the same are left alone.
/// After an error the document may be half way.
pub fn rewrite(
    txn: &mut TransactionMut<'_>,
    fragment: &XmlFragmentRef,
    schema: &MeshSchema,
    json: &Value,
    ids: &dyn Fn() -> String,
) -> Result<(), TreeError> {
    let (_, fields) = single("", json)?;
    let root = schema.root();
    let wanted = match root {
        Some(root) => children("", root, fields)?,
        None => Vec::new(),
    };
    let there: Vec<Value> =
        fragment.children(txn).filter_map(|node| render_node(txn, &node, schema, false, 1)).collect();
    let before = there.iter().zip(&wanted).take_while(|(old, (_, new))| *old == *new).count();
    let rest = there.len().min(wanted.len()) - before;
    let after = there.iter().rev().zip(wanted.iter().rev()).take(rest);
    let after = after.take_while(|(old, (_, new))| *old == *new).count();
    let length = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let kept = before + after;
    let index = length(before);
    insert(txn, fragment, schema, json, ids, Inserted { skip: before, count: wanted.len() - kept, index })?;
    fragment.remove_range(txn, index + length(wanted.len() - kept), length(there.len() - kept));
    Ok(())
}

/// Which of the children to insert, and where.
struct Inserted {
    skip: usize,
    count: usize,
    index: u32,
}

/// Where an element goes.
pub(super) enum Parent<'a> {
    /// At this index of the root.
    Root(&'a XmlFragmentRef, u32),
    Element(&'a XmlElementRef),
}

impl<'a> Writer<'a> {
    pub(super) fn new(schema: &'a MeshSchema, ids: &'a dyn Fn() -> String) -> Self {
        Self { schema, ids, elements: 0 }
    }

    /// Writes one element and what is in it; its id. After an error what was begun stays.
    pub(super) fn element(
        &mut self,
        txn: &mut TransactionMut<'_>,
        parent: &Parent<'_>,
        parent_type: &ElementType,
        place: &str,
        json: &Value,
        depth: usize,
    ) -> Result<String, TreeError> {
        self.elements += 1;
        if depth > DEPTH_MAX || self.elements > ELEMENTS_MAX {
            return Err(error(place, format!("more than {ELEMENTS_MAX} elements or {DEPTH_MAX} levels")));
        }
        let (tag, fields) = single(place, json)?;
        let allowed = parent_type.child.as_ref().is_some_and(|child| child.tags.iter().any(|t| t == tag));
        let element_type = self.schema.element(tag).filter(|_| allowed).ok_or_else(|| {
            error(place, format!("`{tag}` is not among the children that `{}` may have", parent_type.tag))
        })?;
        let place = format!("{place}/{tag}");
        check_values(&place, element_type, fields)?;
        let prelim = XmlElementPrelim::empty(tag.as_str());
        let element = match parent {
            Parent::Root(fragment, index) => fragment.insert(txn, *index, prelim),
            Parent::Element(element) => element.push_back(txn, prelim),
        };
        let id = (self.ids)();
        element.insert_attribute(txn, ID_ATTRIBUTE, id.as_str());
        for (name, value) in fields.iter().filter(|(name, _)| element_type.values.contains_key(*name)) {
            element.insert_attribute(txn, name.as_str(), any(value));
        }
        let children = children(&place, element_type, fields)?;
        if tag == TEXT_TAG {
            let text = element.push_back(txn, XmlTextPrelim::new(""));
            for (place, child) in children {
                write_text(txn, &text, &place, child)?;
            }
            return Ok(id);
        }
        for (place, child) in children {
            self.element(txn, &Parent::Element(&element), element_type, &place, child, depth + 1)?;
        }
        Ok(id)
    }
}

/// The delta of a text: `{"text": {"delta": [{"insert", "attributes"?}]}}`.
fn write_text(
    txn: &mut TransactionMut<'_>,
    text: &XmlTextRef,
    place: &str,
    json: &Value,
) -> Result<(), TreeError> {
    let (_, fields) = single(place, json)?;
    let delta = fields.get("delta").and_then(Value::as_array);
    for piece in delta.ok_or_else(|| error(place, "a text needs a `delta`"))? {
        let insert = piece.get("insert").and_then(Value::as_str);
        let insert = insert.ok_or_else(|| error(place, "each piece of a delta needs a text `insert`"))?;
        let at = text.len(txn);
        match piece.get("attributes").and_then(Value::as_object).filter(|a| !a.is_empty()) {
            Some(attributes) => {
                let attributes: Attrs =
                    attributes.iter().map(|(name, value)| (Arc::from(name.as_str()), any(value))).collect();
                text.insert_with_attributes(txn, at, insert, attributes);
            }
            None => text.insert(txn, at, insert),
        }
    }
    Ok(())
}

/// The one member of an element's JSON: its tag and its properties.
fn single<'a>(place: &str, json: &'a Value) -> Result<(&'a String, &'a Map<String, Value>), TreeError> {
    let member = json.as_object().filter(|object| object.len() == 1).and_then(|object| object.iter().next());
    let (tag, fields) =
        member.ok_or_else(|| error(place, "an element is an object with one member, its tag"))?;
    match fields {
        Value::Object(fields) => Ok((tag, fields)),
        _ => Err(error(place, format!("the value of `{tag}` must be an object"))),
    }
}

pub(super) fn check_values(
    place: &str,
    element: &ElementType,
    fields: &Map<String, Value>,
) -> Result<(), TreeError> {
    for (name, value) in fields {
        let child = element.child.as_ref().is_some_and(|child| child.name == *name);
        match element.values.get(name) {
            Some(property) if property.takes(value) => {}
            Some(_) => {
                let place = format!("{place}/{name}");
                return Err(error(&place, format!("the value {value:.60} is not of the type in the schema")));
            }
            None if child || name == ID_ATTRIBUTE => {}
            None => return Err(error(place, format!("`{}` has no property `{name}`", element.tag))),
        }
    }
    Ok(())
}

fn children<'a>(
    place: &str,
    element: &ElementType,
    fields: &'a Map<String, Value>,
) -> Result<Vec<(String, &'a Value)>, TreeError> {
    let Some(child) = &element.child else { return Ok(Vec::new()) };
    let listed = match fields.get(&child.name) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(listed)) => listed,
        Some(_) => return Err(error(&format!("{place}/{}", child.name), "it must be an array")),
    };
    let place_of = |index| format!("{place}/{}/{index}", child.name);
    Ok(listed.iter().enumerate().map(|(index, json)| (place_of(index), json)).collect())
}

/// The document's JSON, with the elements' identifiers where `ids` says so.
pub fn render<T: ReadTxn>(
    txn: &T,
    fragment: Option<&XmlFragmentRef>,
    schema: &MeshSchema,
    ids: bool,
) -> Value {
    let mut fields = Map::new();
    if let Some(child) = schema.root().and_then(|root| root.child.as_ref()) {
        let children = fragment.into_iter().flat_map(|fragment| fragment.children(txn));
        let children: Vec<Value> =
            children.filter_map(|node| render_node(txn, &node, schema, ids, 1)).collect();
        fields.insert(child.name.clone(), children.into());
    }
    json!({schema.root_tag(): fields})
}

fn render_node<T: ReadTxn>(
    txn: &T,
    node: &XmlOut,
    schema: &MeshSchema,
    ids: bool,
    depth: usize,
) -> Option<Value> {
    let element = match node {
        XmlOut::Element(element) => element,
        XmlOut::Text(text) => return Some(json!({TEXT_TAG: {"delta": delta(txn, text)}})),
        XmlOut::Fragment(_) => return None,
    };
    let tag = element.try_tag()?.to_string();
    let mut fields = Map::new();
    for (name, value) in element.attributes(txn) {
        if ids || name != ID_ATTRIBUTE {
            fields.insert(name.to_owned(), out(value));
        }
    }
    // What is deeper than this cannot be here.
    let child = schema.element(&tag).and_then(|element| element.child.as_ref());
    if let Some(child) = child.filter(|_| depth <= 4 * DEPTH_MAX) {
        let nodes = element.children(txn);
        let children: Vec<Value> =
            nodes.filter_map(|node| render_node(txn, &node, schema, ids, depth + 1)).collect();
        fields.insert(child.name.clone(), children.into());
    }
    Some(json!({tag: fields}))
}

fn delta<T: ReadTxn>(txn: &T, text: &XmlTextRef) -> Vec<Value> {
    let pieces = text.diff(txn, YChange::identity);
    let piece = |piece: yrs::types::text::Diff<YChange>| {
        let attributes: Map<String, Value> = piece
            .attributes
            .iter()
            .flat_map(|attributes| attributes.iter())
            .map(|(name, value)| (name.to_string(), value_of(value)))
            .collect();
        json!({"insert": out(piece.insert), "attributes": attributes})
    };
    pieces.into_iter().map(piece).collect()
}

fn out(value: Out) -> Value {
    match value {
        Out::Any(value) => value_of(&value),
        _ => Value::Null,
    }
}

/// A value of the document as JSON; what JSON cannot say is null.
fn value_of(value: &Any) -> Value {
    /// Whole numbers beyond this are not exact in JavaScript.
    const WHOLE_MAX: f64 = 9_007_199_254_740_991.0;
    match value {
        Any::Null | Any::Undefined | Any::Buffer(_) => Value::Null,
        Any::Bool(value) => (*value).into(),
        Any::Number(yrs::Number::Int(value)) => (*value).into(),
        Any::Number(yrs::Number::Float(value)) if value.fract() == 0.0 && value.abs() <= WHOLE_MAX => {
            #[allow(clippy::cast_possible_truncation, reason = "it is whole and within the range")]
            let whole = *value as i64;
            whole.into()
        }
        Any::Number(yrs::Number::Float(value)) => {
            JsonNumber::from_f64(*value).map_or(Value::Null, Value::Number)
        }
        Any::String(text) => text.to_string().into(),
        Any::Array(values) => values.iter().map(value_of).collect(),
        Any::Map(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), value_of(value)));
            Value::Object(members.collect())
        }
    }
}

/// A JSON value as the document holds it.
pub(super) fn any(value: &Value) -> Any {
    match value {
        Value::Null => Any::Null,
        Value::Bool(value) => Any::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Any::Number(yrs::Number::Int(whole)),
            (None, Some(value)) => Any::Number(yrs::Number::Float(value)),
            (None, None) => Any::Null,
        },
        Value::String(text) => Any::String(Arc::from(text.as_str())),
        Value::Array(values) => Any::Array(values.iter().map(any).collect()),
        Value::Object(members) => {
            let members: HashMap<String, Any> =
                members.iter().map(|(name, value)| (name.clone(), any(value))).collect();
            Any::Map(Arc::new(members))
        }
    }
}

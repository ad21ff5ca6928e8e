//! Values of expressions: what they are, how they compare, and how they are ordered.

use super::graph::Graph;
use super::{QueryError, TEXT_BYTES_MAX, VALUES_MAX};
use serde_json::{Map as JsonMap, Value as Json, json};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// Bytes of text that count as one value.
const TEXT_WEIGHT_BYTES: usize = 64;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    List(Arc<List>),
    Map(Arc<Map>),
    /// By its number in the graph.
    Node(usize),
    /// A relationship, by its number in the graph.
    Edge(usize),
    /// Nodes and relationships in turn.
    Path(Arc<List>),
    /// A date, a time, a UUID or bytes, as typed JSON (room protocol §3.8).
    Other(Arc<Json>),
}

/// A list that knows how much it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct List {
    items: Vec<Value>,
    weight: usize,
}

/// A map that knows how much it holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Map {
    entries: BTreeMap<String, Value>,
    weight: usize,
}

impl List {
    pub fn items(&self) -> &[Value] {
        &self.items
    }
}

impl Map {
    pub fn new(entries: BTreeMap<String, Value>) -> Result<Self, QueryError> {
        let weight = weigh(entries.values())?;
        Ok(Self { entries, weight })
    }
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(key)
    }
    pub fn entries(&self) -> &BTreeMap<String, Value> {
        &self.entries
    }
}

fn weigh<'a>(values: impl Iterator<Item = &'a Value>) -> Result<usize, QueryError> {
    let weight = values.map(Value::weight).fold(1_usize, usize::saturating_add);
    if weight > VALUES_MAX {
        return Err(QueryError::TooMuch(format!("a list or map would hold more than {VALUES_MAX} values")));
    }
    Ok(weight)
}

impl Value {
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(text.into())
    }

    /// Text that an expression makes.
    pub fn bounded_text(text: String) -> Result<Self, QueryError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(QueryError::TooMuch(format!(
                "an expression would make more than {TEXT_BYTES_MAX} bytes of text"
            )));
        }
        Ok(Self::text(text))
    }

    pub fn list(items: Vec<Self>) -> Result<Self, QueryError> {
        Ok(Self::List(Arc::new(List { weight: weigh(items.iter())?, items })))
    }

    pub fn map(entries: BTreeMap<String, Self>) -> Result<Self, QueryError> {
        Ok(Self::Map(Arc::new(Map::new(entries)?)))
    }

    pub fn path(items: Vec<Self>) -> Result<Self, QueryError> {
        Ok(Self::Path(Arc::new(List { weight: weigh(items.iter())?, items })))
    }

    /// How many values it holds, itself counted.
    pub fn weight(&self) -> usize {
        match self {
            Self::Text(text) => 1 + text.len() / TEXT_WEIGHT_BYTES,
            Self::List(list) | Self::Path(list) => list.weight,
            Self::Map(map) => map.weight.max(1),
            _ => 1,
        }
    }

    /// Plain JSON as a value: arrays are lists, objects are maps.
    pub fn from_plain(json: &Json) -> Result<Self, QueryError> {
        Ok(match json {
            Json::Null => Self::Null,
            Json::Bool(b) => Self::Bool(*b),
            Json::Number(n) => {
                n.as_i64().map_or_else(|| Self::Float(n.as_f64().unwrap_or(f64::NAN)), Self::Int)
            }
            Json::String(text) => Self::text(text.as_str()),
            Json::Array(items) => Self::list(items.iter().map(Self::from_plain).collect::<Result<_, _>>()?)?,
            Json::Object(fields) => {
                let entries = fields.iter().map(|(key, value)| Ok((key.clone(), Self::from_plain(value)?)));
                Self::map(entries.collect::<Result<_, QueryError>>()?)?
            }
        })
    }

    /// Typed JSON (room protocol §3.8) as a value.
    pub fn from_typed(json: &Json) -> Result<Self, QueryError> {
        let Json::Object(fields) = json else { return Self::from_plain(json) };
        let Some((wrapper, payload)) = fields.iter().next() else { return Ok(Self::Null) };
        match (wrapper.as_str(), payload) {
            ("list", Json::Array(items)) => {
                Self::list(items.iter().map(Self::from_typed).collect::<Result<_, _>>()?)
            }
            ("struct", Json::Object(fields)) => {
                let entries = fields.iter().map(|(key, value)| Ok((key.clone(), Self::from_typed(value)?)));
                Self::map(entries.collect::<Result<_, QueryError>>()?)
            }
            ("json", payload) => Self::from_plain(payload),
            _ => Ok(Self::Other(Arc::new(json.clone()))),
        }
    }

    /// As typed JSON; nodes and relationships as what they have.
    pub fn to_typed(&self, graph: &Graph) -> Json {
        let list = |items: &[Self]| {
            let items: Vec<Json> = items.iter().map(|item| item.to_typed(graph)).collect();
            json!({ "list": items })
        };
        match self {
            Self::Null => Json::Null,
            Self::Bool(b) => (*b).into(),
            Self::Int(n) => (*n).into(),
            Self::Float(n) => (*n).into(),
            Self::Text(text) => text.as_ref().into(),
            Self::List(items) | Self::Path(items) => list(&items.items),
            Self::Map(map) => map.to_typed(graph),
            Self::Node(node) => graph.node(*node).properties.to_typed(graph),
            Self::Edge(edge) => graph.edge(*edge).properties.to_typed(graph),
            Self::Other(json) => json.as_ref().clone(),
        }
    }

    /// What it is, for errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Node(_) => "a node",
            Self::Edge(_) => "a relationship",
            Self::Path(_) => "a path",
            Self::Other(_) => "a date, time, uuid or binary",
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "what comparing an integer with a float means")]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Int(n) => Some(*n as f64),
            Self::Float(n) => Some(*n),
            _ => None,
        }
    }

    /// `=`: `None` is unknown, for nulls.
    pub fn equals(&self, other: &Self) -> Option<bool> {
        match (self, other) {
            (Self::Null, _) | (_, Self::Null) => None,
            (Self::Int(a), Self::Int(b)) => Some(a == b),
            (Self::Int(_) | Self::Float(_), Self::Int(_) | Self::Float(_)) => {
                Some(self.number() == other.number())
            }
            (Self::List(a), Self::List(b)) | (Self::Path(a), Self::Path(b)) => {
                if a.items.len() != b.items.len() {
                    return Some(false);
                }
                all(a.items.iter().zip(&b.items))
            }
            (Self::Map(a), Self::Map(b)) => {
                if a.entries.len() != b.entries.len() || !a.entries.keys().eq(b.entries.keys()) {
                    return Some(false);
                }
                all(a.entries.values().zip(b.entries.values()))
            }
            (Self::Other(a), Self::Text(b)) | (Self::Text(b), Self::Other(a)) => {
                Some(payload(a) == Some(b.as_ref()))
            }
            (a, b) => Some(a == b),
        }
    }

    /// `<` and its like: `None` where the two cannot be compared.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Int(_) | Self::Float(_), Self::Int(_) | Self::Float(_)) => {
                self.number()?.partial_cmp(&other.number()?)
            }
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Other(a), Self::Other(b)) => Some(payload(a)?.cmp(payload(b)?)),
            (Self::Other(a), Self::Text(b)) => Some(payload(a)?.cmp(b)),
            (Self::Text(a), Self::Other(b)) => Some(a.as_ref().cmp(payload(b)?)),
            (Self::List(a), Self::List(b)) => {
                for (a, b) in a.items.iter().zip(&b.items) {
                    match a.compare(b)? {
                        Ordering::Equal => {}
                        unequal => return Some(unequal),
                    }
                }
                Some(a.items.len().cmp(&b.items.len()))
            }
            _ => None,
        }
    }

    /// The order of ORDER BY: by kind, then by value; null is the largest.
    pub fn order(&self, other: &Self) -> Ordering {
        let (left, right) = (self.rank(), other.rank());
        if left != right {
            return left.cmp(&right);
        }
        match (self, other) {
            (Self::Node(a), Self::Node(b)) | (Self::Edge(a), Self::Edge(b)) => a.cmp(b),
            (Self::List(a), Self::List(b)) | (Self::Path(a), Self::Path(b)) => in_order(&a.items, &b.items),
            (Self::Map(a), Self::Map(b)) => a.entries.keys().cmp(b.entries.keys()).then_with(|| {
                let pairs = a.entries.values().zip(b.entries.values());
                first_unequal(pairs.map(|(a, b)| a.order(b)))
            }),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            _ => self.compare(other).unwrap_or(Ordering::Equal),
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Map(_) => 0,
            Self::Node(_) => 1,
            Self::Edge(_) => 2,
            Self::List(_) => 3,
            Self::Path(_) => 4,
            Self::Other(_) => 5,
            Self::Text(_) => 6,
            Self::Bool(_) => 7,
            Self::Int(_) | Self::Float(_) => 8,
            Self::Null => 9,
        }
    }

    /// Writes what tells values apart for DISTINCT and grouping; here null equals null.
    pub fn write_key(&self, key: &mut String) {
        match self {
            Self::Null => key.push('0'),
            Self::Bool(b) => key.push(if *b { 't' } else { 'f' }),
            Self::Int(n) => _ = write!(key, "n{n};"),
            #[allow(clippy::cast_possible_truncation, reason = "only whole numbers in the exact range")]
            Self::Float(n) if n.fract() == 0.0 && n.abs() < 9.0e15 => _ = write!(key, "n{};", *n as i64),
            Self::Float(n) => _ = write!(key, "n{n:?};"),
            Self::Text(text) => _ = write!(key, "s{}:{text}", text.len()),
            Self::Node(node) => _ = write!(key, "v{node};"),
            Self::Edge(edge) => _ = write!(key, "e{edge};"),
            Self::Other(json) => _ = write!(key, "o{json};"),
            Self::List(list) | Self::Path(list) => {
                key.push('[');
                list.items.iter().for_each(|item| item.write_key(key));
                key.push(']');
            }
            Self::Map(map) => {
                key.push('{');
                for (name, value) in &map.entries {
                    _ = write!(key, "{}:{name}", name.len());
                    value.write_key(key);
                }
                key.push('}');
            }
        }
    }
}

impl Map {
    fn to_typed(&self, graph: &Graph) -> Json {
        let fields: JsonMap<String, Json> =
            self.entries.iter().map(|(key, value)| (key.clone(), value.to_typed(graph))).collect();
        json!({ "struct": fields })
    }
}

/// Equal in all, unequal in one, or unknown.
fn all<'a>(pairs: impl Iterator<Item = (&'a Value, &'a Value)>) -> Option<bool> {
    let mut unknown = false;
    for (a, b) in pairs {
        match a.equals(b) {
            Some(false) => return Some(false),
            Some(true) => {}
            None => unknown = true,
        }
    }
    (!unknown).then_some(true)
}

fn in_order(a: &[Value], b: &[Value]) -> Ordering {
    first_unequal(a.iter().zip(b).map(|(a, b)| a.order(b))).then(a.len().cmp(&b.len()))
}

fn first_unequal(mut orders: impl Iterator<Item = Ordering>) -> Ordering {
    orders.find(|order| *order != Ordering::Equal).unwrap_or(Ordering::Equal)
}

/// The text within `{"date": "…"}` and the like; times in UTC sort as text.
fn payload(json: &Json) -> Option<&str> {
    json.as_object()?.values().next()?.as_str()
}

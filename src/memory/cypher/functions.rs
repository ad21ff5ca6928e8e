//! The functions of expressions.

use super::error::{Pos, invalid};
use super::graph::Graph;
use super::operators::text_of;
use super::value::Value;
use super::{QueryError, VALUES_MAX};

/// A function; names are compared without regard to case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Id,
    Labels,
    Type,
    Properties,
    Keys,
    Nodes,
    Relationships,
    StartNode,
    EndNode,
    Size,
    Length,
    Head,
    Last,
    Tail,
    Reverse,
    Range,
    Coalesce,
    ToLower,
    ToUpper,
    Trim,
    TrimLeft,
    TrimRight,
    Replace,
    Split,
    Substring,
    Left,
    Right,
    ToString,
    ToInteger,
    ToFloat,
    ToBoolean,
    Abs,
    Ceil,
    Floor,
    Round,
    Sign,
    Sqrt,
}

/// Name, function, fewest and most arguments. Names that mean the same stand together.
const ALL: &[(&str, Function, usize, usize)] = &[
    ("id", Function::Id, 1, 1),
    ("elementId", Function::Id, 1, 1),
    ("labels", Function::Labels, 1, 1),
    ("type", Function::Type, 1, 1),
    ("properties", Function::Properties, 1, 1),
    ("keys", Function::Keys, 1, 1),
    ("nodes", Function::Nodes, 1, 1),
    ("relationships", Function::Relationships, 1, 1),
    ("startNode", Function::StartNode, 1, 1),
    ("endNode", Function::EndNode, 1, 1),
    ("size", Function::Size, 1, 1),
    ("length", Function::Length, 1, 1),
    ("head", Function::Head, 1, 1),
    ("last", Function::Last, 1, 1),
    ("tail", Function::Tail, 1, 1),
    ("reverse", Function::Reverse, 1, 1),
    ("range", Function::Range, 2, 3),
    ("coalesce", Function::Coalesce, 1, 64),
    ("toLower", Function::ToLower, 1, 1),
    ("lower", Function::ToLower, 1, 1),
    ("toUpper", Function::ToUpper, 1, 1),
    ("upper", Function::ToUpper, 1, 1),
    ("trim", Function::Trim, 1, 1),
    ("lTrim", Function::TrimLeft, 1, 1),
    ("rTrim", Function::TrimRight, 1, 1),
    ("replace", Function::Replace, 3, 3),
    ("split", Function::Split, 2, 2),
    ("substring", Function::Substring, 2, 3),
    ("left", Function::Left, 2, 2),
    ("right", Function::Right, 2, 2),
    ("toString", Function::ToString, 1, 1),
    ("toInteger", Function::ToInteger, 1, 1),
    ("toFloat", Function::ToFloat, 1, 1),
    ("toBoolean", Function::ToBoolean, 1, 1),
    ("abs", Function::Abs, 1, 1),
    ("ceil", Function::Ceil, 1, 1),
    ("floor", Function::Floor, 1, 1),
    ("round", Function::Round, 1, 1),
    ("sign", Function::Sign, 1, 1),
    ("sqrt", Function::Sqrt, 1, 1),
];

impl Function {
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name)).map(|(_, function, ..)| *function)
    }

    /// Fewest and most arguments.
    pub fn arity(self) -> (usize, usize) {
        let own = ALL.iter().find(|(_, function, ..)| *function == self);
        own.map_or((0, 0), |(_, _, least, most)| (*least, *most))
    }

    fn name(self) -> &'static str {
        ALL.iter().find(|(_, function, ..)| *function == self).map_or("", |(name, ..)| name)
    }

    /// All names, for errors.
    pub fn names() -> String {
        let functions: Vec<&str> = ALL.iter().map(|(name, ..)| *name).collect();
        format!(
            "{}, exists, any, all, none, single, count, collect, sum, avg, min, max",
            functions.join(", ")
        )
    }
}

/// One call. The number of arguments was checked.
pub(super) fn call(
    function: Function,
    at: Pos,
    graph: &Graph,
    arguments: &[Value],
) -> Result<Value, QueryError> {
    if function == Function::Coalesce {
        return Ok(arguments.iter().find(|value| **value != Value::Null).cloned().unwrap_or(Value::Null));
    }
    if arguments.contains(&Value::Null) {
        return Ok(Value::Null);
    }
    let done = match function {
        Function::Id | Function::Labels | Function::Type | Function::Properties | Function::Keys => {
            of_elements(function, graph, arguments)?
        }
        Function::Nodes
        | Function::Relationships
        | Function::StartNode
        | Function::EndNode
        | Function::Length => of_paths(function, graph, arguments)?,
        Function::Size | Function::Head | Function::Last | Function::Tail | Function::Reverse => {
            of_lists(function, arguments)?
        }
        Function::Range => return range(at, arguments),
        Function::ToString | Function::ToInteger | Function::ToFloat | Function::ToBoolean => {
            conversion(function, arguments)
        }
        Function::Abs
        | Function::Ceil
        | Function::Floor
        | Function::Round
        | Function::Sign
        | Function::Sqrt => of_numbers(function, arguments),
        _ => of_texts(function, arguments)?,
    };
    done.ok_or_else(|| {
        let kinds: Vec<&str> = arguments.iter().map(Value::kind).collect();
        invalid(at, format!("{} cannot take {}", function.name(), kinds.join(", ")))
    })
}

type Answer = Result<Option<Value>, QueryError>;

fn of_elements(function: Function, graph: &Graph, arguments: &[Value]) -> Answer {
    let [value] = arguments else { return Ok(None) };
    let properties = match value {
        Value::Node(node) => &graph.node(*node).properties,
        Value::Edge(edge) => &graph.edge(*edge).properties,
        Value::Map(map) => map,
        _ => return Ok(None),
    };
    let answer = match (function, value) {
        (Function::Id, Value::Node(node)) => Value::Text(graph.node(*node).id.clone()),
        (Function::Id, Value::Edge(edge)) => Value::Text(graph.edge(*edge).id.clone()),
        (Function::Labels, Value::Node(node)) => {
            Value::list(graph.node(*node).labels.iter().cloned().map(Value::Text).collect())?
        }
        (Function::Type, Value::Edge(edge)) => Value::Text(graph.edge(*edge).kind.clone()),
        (Function::Properties, _) => Value::Map(properties.clone()),
        (Function::Keys, _) => {
            let set = properties.entries().iter().filter(|(_, value)| **value != Value::Null);
            Value::list(set.map(|(key, _)| Value::text(key.as_str())).collect())?
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

fn of_paths(function: Function, graph: &Graph, arguments: &[Value]) -> Answer {
    Ok(Some(match (function, arguments) {
        (Function::StartNode, [Value::Edge(edge)]) => Value::Node(graph.edge(*edge).from),
        (Function::EndNode, [Value::Edge(edge)]) => Value::Node(graph.edge(*edge).to),
        (Function::Length, [Value::Path(path)]) => count(path.items().len() / 2),
        (Function::Length, [Value::List(list)]) => count(list.items().len()),
        (Function::Length, [Value::Text(text)]) => count(text.chars().count()),
        (Function::Nodes, [Value::Path(path)]) => {
            Value::list(path.items().iter().step_by(2).cloned().collect())?
        }
        (Function::Relationships, [Value::Path(path)]) => {
            Value::list(path.items().iter().skip(1).step_by(2).cloned().collect())?
        }
        _ => return Ok(None),
    }))
}

fn count(count: usize) -> Value {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn of_lists(function: Function, arguments: &[Value]) -> Answer {
    Ok(Some(match (function, arguments) {
        (Function::Size, [Value::List(list)]) => count(list.items().len()),
        (Function::Size, [Value::Map(map)]) => count(map.entries().len()),
        (Function::Size, [Value::Text(text)]) => count(text.chars().count()),
        (Function::Head, [Value::List(list)]) => list.items().first().cloned().unwrap_or(Value::Null),
        (Function::Last, [Value::List(list)]) => list.items().last().cloned().unwrap_or(Value::Null),
        (Function::Tail, [Value::List(list)]) => Value::list(list.items().iter().skip(1).cloned().collect())?,
        (Function::Reverse, [Value::List(list)]) => {
            Value::list(list.items().iter().rev().cloned().collect())?
        }
        (Function::Reverse, [Value::Text(text)]) => Value::text(text.chars().rev().collect::<String>()),
        _ => return Ok(None),
    }))
}

/// Both ends included.
fn range(at: Pos, arguments: &[Value]) -> Result<Value, QueryError> {
    let (from, to, step) = match arguments {
        [Value::Int(from), Value::Int(to)] => (*from, *to, 1),
        [Value::Int(from), Value::Int(to), Value::Int(step)] if *step != 0 => (*from, *to, *step),
        _ => return Err(invalid(at, "range takes integers, and a step that is not 0")),
    };
    let mut items = Vec::new();
    let mut next = Some(from);
    while let Some(n) = next.filter(|n| if step > 0 { *n <= to } else { *n >= to }) {
        if items.len() > VALUES_MAX {
            return Err(QueryError::TooMuch(format!("a range has at most {VALUES_MAX} values")));
        }
        items.push(Value::Int(n));
        next = n.checked_add(step);
    }
    Value::list(items)
}

#[allow(clippy::cast_possible_truncation, reason = "out of range becomes the nearest, as in every Cypher")]
fn conversion(function: Function, arguments: &[Value]) -> Option<Value> {
    let [value] = arguments else { return None };
    Some(match (function, value) {
        (Function::ToString, value) => Value::text(text_of(value)?),
        (Function::ToInteger, Value::Int(_)) | (Function::ToFloat, Value::Float(_)) => value.clone(),
        (Function::ToInteger, Value::Float(n)) => Value::Int(*n as i64),
        (Function::ToInteger, Value::Bool(b)) => Value::Int((*b).into()),
        (Function::ToInteger, Value::Text(text)) => {
            let text = text.trim();
            let whole = text.parse().ok().or_else(|| text.parse::<f64>().ok().map(|n| n as i64));
            whole.map_or(Value::Null, Value::Int)
        }
        (Function::ToFloat, Value::Int(_)) => Value::Float(value.number()?),
        (Function::ToFloat, Value::Text(text)) => text.trim().parse().map_or(Value::Null, Value::Float),
        (Function::ToBoolean, Value::Bool(_)) => value.clone(),
        (Function::ToBoolean, Value::Text(text)) => match text.trim().to_lowercase().as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => Value::Null,
        },
        _ => return None,
    })
}

fn of_numbers(function: Function, arguments: &[Value]) -> Option<Value> {
    let [value] = arguments else { return None };
    let number = value.number()?;
    Some(match (function, value) {
        (Function::Abs, Value::Int(n)) => Value::Int(n.saturating_abs()),
        (Function::Abs, _) => Value::Float(number.abs()),
        (Function::Sign, _) => Value::Int(if number > 0.0 { 1 } else { -i64::from(number < 0.0) }),
        (Function::Ceil, _) => Value::Float(number.ceil()),
        (Function::Floor, _) => Value::Float(number.floor()),
        (Function::Round, _) => Value::Float((number + 0.5).floor()),
        _ => Value::Float(number.sqrt()),
    })
}

fn of_texts(function: Function, arguments: &[Value]) -> Answer {
    let Some(Value::Text(text)) = arguments.first() else { return Ok(None) };
    let part = |n: usize| match arguments.get(n) {
        Some(Value::Text(text)) => Some(text.as_ref()),
        _ => None,
    };
    let length = |n: usize| match arguments.get(n) {
        Some(Value::Int(n)) => usize::try_from(*n).ok(),
        _ => None,
    };
    let made = match function {
        Function::ToLower => text.to_lowercase(),
        Function::ToUpper => text.to_uppercase(),
        Function::Trim => text.trim().to_owned(),
        Function::TrimLeft => text.trim_start().to_owned(),
        Function::TrimRight => text.trim_end().to_owned(),
        Function::Replace => {
            let (Some(from), Some(to)) = (part(1), part(2)) else { return Ok(None) };
            // What `replace` makes is bounded before it is made.
            let found = if from.is_empty() { text.chars().count() + 1 } else { text.matches(from).count() };
            if text.len().saturating_add(found.saturating_mul(to.len())) > super::TEXT_BYTES_MAX {
                return Err(QueryError::TooMuch("replace would make too long a text".to_owned()));
            }
            text.replace(from, to)
        }
        Function::Split => {
            let Some(by) = part(1) else { return Ok(None) };
            let parts = text.split(by).take(VALUES_MAX + 1).map(Value::text).collect();
            return Value::list(parts).map(Some);
        }
        Function::Substring => {
            let Some(from) = length(1) else { return Ok(None) };
            let most = match arguments.get(2) {
                None => usize::MAX,
                Some(_) => match length(2) {
                    Some(most) => most,
                    None => return Ok(None),
                },
            };
            text.chars().skip(from).take(most).collect()
        }
        Function::Left => {
            let Some(most) = length(1) else { return Ok(None) };
            text.chars().take(most).collect()
        }
        Function::Right => {
            let Some(most) = length(1) else { return Ok(None) };
            let skip = text.chars().count().saturating_sub(most);
            text.chars().skip(skip).collect()
        }
        _ => return Ok(None),
    };
    Value::bounded_text(made).map(Some)
}

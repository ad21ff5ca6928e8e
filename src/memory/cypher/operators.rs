//! What operators do to values. Null in, null out, but for AND and OR.

use super::QueryError;
use super::ast::Op;
use super::error::{Pos, invalid};
use super::graph::Graph;
use super::value::Value;
use std::cmp::Ordering;

/// A condition: `None` is unknown.
pub(super) fn truth(at: Pos, value: &Value) -> Result<Option<bool>, QueryError> {
    match value {
        Value::Null => Ok(None),
        Value::Bool(b) => Ok(Some(*b)),
        other => Err(invalid(at, format!("a condition is needed here, not {}", other.kind()))),
    }
}

fn known(answer: Option<bool>) -> Value {
    answer.map_or(Value::Null, Value::Bool)
}

/// All but AND, OR and `=~`.
pub(super) fn apply(op: Op, at: Pos, a: &Value, b: &Value) -> Result<Value, QueryError> {
    let ordered = |wanted: &[Ordering]| known(a.compare(b).map(|order| wanted.contains(&order)));
    Ok(match op {
        Op::Equal => known(a.equals(b)),
        Op::Unequal => known(a.equals(b).map(|equal| !equal)),
        Op::Less => ordered(&[Ordering::Less]),
        Op::LessOrEqual => ordered(&[Ordering::Less, Ordering::Equal]),
        Op::Greater => ordered(&[Ordering::Greater]),
        Op::GreaterOrEqual => ordered(&[Ordering::Greater, Ordering::Equal]),
        Op::Xor => match (truth(at, a)?, truth(at, b)?) {
            (Some(a), Some(b)) => Value::Bool(a != b),
            _ => Value::Null,
        },
        Op::StartsWith => texts(a, b, |a, b| a.starts_with(b)),
        Op::EndsWith => texts(a, b, |a, b| a.ends_with(b)),
        Op::Contains => texts(a, b, |a, b| a.contains(b)),
        Op::In => contained(at, a, b)?,
        Op::Add => add(at, a, b)?,
        _ => arithmetic(op, at, a, b)?,
    })
}

/// Not text: unknown, as openCypher has it.
fn texts(a: &Value, b: &Value, test: impl Fn(&str, &str) -> bool) -> Value {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => Value::Bool(test(a, b)),
        _ => Value::Null,
    }
}

fn contained(at: Pos, item: &Value, list: &Value) -> Result<Value, QueryError> {
    let items = match list {
        Value::Null => return Ok(Value::Null),
        Value::List(items) => items.items(),
        other => return Err(invalid(at, format!("IN needs a list, not {}", other.kind()))),
    };
    let mut unknown = false;
    for known in items {
        match known.equals(item) {
            Some(true) => return Ok(Value::Bool(true)),
            Some(false) => {}
            None => unknown = true,
        }
    }
    Ok(if unknown { Value::Null } else { Value::Bool(false) })
}

fn add(at: Pos, a: &Value, b: &Value) -> Result<Value, QueryError> {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => Ok(Value::Null),
        (Value::List(a), Value::List(b)) => Value::list(a.items().iter().chain(b.items()).cloned().collect()),
        (Value::List(a), b) => Value::list(a.items().iter().chain([b]).cloned().collect()),
        (a, Value::List(b)) => Value::list([a].into_iter().chain(b.items()).cloned().collect()),
        (Value::Text(_), _) | (_, Value::Text(_)) => {
            let part = |value: &Value| {
                text_of(value)
                    .ok_or_else(|| invalid(at, format!("{} cannot be joined to text", value.kind())))
            };
            Value::bounded_text(part(a)? + &part(b)?)
        }
        _ => arithmetic(Op::Add, at, a, b),
    }
}

fn arithmetic(op: Op, at: Pos, a: &Value, b: &Value) -> Result<Value, QueryError> {
    if *a == Value::Null || *b == Value::Null {
        return Ok(Value::Null);
    }
    let (Some(x), Some(y)) = (a.number(), b.number()) else {
        let text = format!("{} and {} cannot be calculated with", a.kind(), b.kind());
        return Err(invalid(at, text));
    };
    if let (Value::Int(a), Value::Int(b)) = (a, b)
        && op != Op::Power
    {
        if *b == 0 && matches!(op, Op::Divide | Op::Modulo) {
            return Err(invalid(at, "division by zero"));
        }
        let whole = match op {
            Op::Add => a.checked_add(*b),
            Op::Subtract => a.checked_sub(*b),
            Op::Multiply => a.checked_mul(*b),
            Op::Divide => a.checked_div(*b),
            _ => a.checked_rem(*b),
        };
        return whole.map(Value::Int).ok_or_else(|| invalid(at, "the result does not fit 64 bits"));
    }
    Ok(Value::Float(match op {
        Op::Add => x + y,
        Op::Subtract => x - y,
        Op::Multiply => x * y,
        Op::Divide => x / y,
        Op::Modulo => x % y,
        _ => x.powf(y),
    }))
}

pub(super) fn negate(at: Pos, value: &Value) -> Result<Value, QueryError> {
    match value {
        Value::Null => Ok(Value::Null),
        Value::Int(n) => {
            n.checked_neg().map(Value::Int).ok_or_else(|| invalid(at, "the result does not fit 64 bits"))
        }
        Value::Float(n) => Ok(Value::Float(-n)),
        other => Err(invalid(at, format!("{} has no negative", other.kind()))),
    }
}

/// `list[0]`, `list[-1]`, `map['key']`, `node['key']`
pub(super) fn index(at: Pos, graph: &Graph, of: &Value, index: &Value) -> Result<Value, QueryError> {
    match (of, index) {
        (Value::Null, _) | (_, Value::Null) => Ok(Value::Null),
        (Value::List(list), Value::Int(n)) => Ok(place(*n, list.items().len())
            .and_then(|n| list.items().get(n))
            .cloned()
            .unwrap_or(Value::Null)),
        (Value::Map(_) | Value::Node(_) | Value::Edge(_), Value::Text(key)) => {
            Ok(graph.property(of, key).unwrap_or(Value::Null))
        }
        _ => Err(invalid(at, format!("{} has no element that {} names", of.kind(), index.kind()))),
    }
}

/// Counted from the end where negative; `None` before the beginning.
fn place(n: i64, len: usize) -> Option<usize> {
    if n >= 0 { usize::try_from(n).ok() } else { len.checked_sub(usize::try_from(n.unsigned_abs()).ok()?) }
}

pub(super) fn slice(
    at: Pos,
    of: &Value,
    from: Option<Value>,
    to: Option<Value>,
) -> Result<Value, QueryError> {
    let items = match of {
        Value::Null => return Ok(Value::Null),
        Value::List(list) => list.items(),
        other => return Err(invalid(at, format!("{} has no part from .. to", other.kind()))),
    };
    let end = |end: Option<Value>, default: usize| match end {
        None => Ok(Some(default)),
        Some(Value::Null) => Ok(None),
        Some(Value::Int(n)) => Ok(Some(place(n, items.len()).unwrap_or(0).min(items.len()))),
        Some(other) => Err(invalid(at, format!("the ends of a part are integers, not {}", other.kind()))),
    };
    let (Some(from), Some(to)) = (end(from, 0)?, end(to, items.len())?) else { return Ok(Value::Null) };
    Value::list(items.get(from..to).unwrap_or_default().to_vec())
}

/// As `toString` writes it; `None` for what has no text.
pub(super) fn text_of(value: &Value) -> Option<String> {
    Some(match value {
        Value::Text(text) => text.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Float(n) => format!("{n:?}"),
        Value::Bool(b) => b.to_string(),
        Value::Other(json) => json.as_object()?.values().next()?.as_str()?.to_owned(),
        _ => return None,
    })
}

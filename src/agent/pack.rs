//! Agent messages as MessagePack, as sockets and child processes carry them. Pure.

use rmpv::Value as Packed;
use serde_json::{Map, Number, Value};

/// Levels that a message may be deep.
const DEPTH_MAX: usize = 64;

/// Why bytes are no message.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unpackable {
    #[error("the bytes end before the message does")]
    Short,
    #[error("the bytes are no MessagePack: {0}")]
    Invalid(String),
    #[error("the message holds {0}, which JSON has not")]
    NotJson(&'static str),
}

/// A message as bytes.
#[must_use]
pub fn pack(message: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to memory cannot fail.
    let _ = rmpv::encode::write_value(&mut bytes, &packed(message));
    bytes
}

fn packed(value: &Value) -> Packed {
    match value {
        Value::Null => Packed::Nil,
        Value::Bool(value) => Packed::Boolean(*value),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(number), _, _) => Packed::from(number),
            (_, Some(number), _) => Packed::from(number),
            (_, _, number) => Packed::from(number.unwrap_or_default()),
        },
        Value::String(text) => Packed::from(text.as_str()),
        Value::Array(items) => Packed::Array(items.iter().map(packed).collect()),
        Value::Object(fields) => Packed::Map(
            fields.iter().map(|(name, value)| (Packed::from(name.as_str()), packed(value))).collect(),
        ),
    }
}

/// The message that bytes begin with, and how many of them it took.
pub fn unpack(bytes: &[u8]) -> Result<(Value, usize), Unpackable> {
    let mut rest = bytes;
    let value = rmpv::decode::read_value_with_max_depth(&mut rest, DEPTH_MAX).map_err(|error| {
        use std::io::ErrorKind::UnexpectedEof;
        match error.kind() {
            UnexpectedEof => Unpackable::Short,
            _ => Unpackable::Invalid(error.to_string()),
        }
    })?;
    Ok((plain(value)?, bytes.len() - rest.len()))
}

fn plain(value: Packed) -> Result<Value, Unpackable> {
    Ok(match value {
        Packed::Nil => Value::Null,
        Packed::Boolean(value) => Value::Bool(value),
        Packed::Integer(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => Value::from(number),
            (_, Some(number)) => Value::from(number),
            _ => return Err(Unpackable::NotJson("a number out of range")),
        },
        Packed::F32(number) => float(f64::from(number))?,
        Packed::F64(number) => float(number)?,
        Packed::String(text) => {
            Value::String(text.into_str().ok_or(Unpackable::NotJson("a text that is not UTF-8"))?)
        }
        Packed::Array(items) => Value::Array(items.into_iter().map(plain).collect::<Result<_, _>>()?),
        Packed::Map(fields) => {
            let mut all = Map::new();
            for (name, value) in fields {
                let Packed::String(name) = name else {
                    return Err(Unpackable::NotJson("a key that is no text"));
                };
                let name = name.into_str().ok_or(Unpackable::NotJson("a key that is not UTF-8"))?;
                all.insert(name, plain(value)?);
            }
            Value::Object(all)
        }
        // Sound, which this version does not take.
        Packed::Binary(_) => Value::Null,
        Packed::Ext(..) => return Err(Unpackable::NotJson("an extension")),
    })
}

fn float(number: f64) -> Result<Value, Unpackable> {
    Number::from_f64(number).map(Value::Number).ok_or(Unpackable::NotJson("an infinite number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_come_back_and_say_how_long_they_were() {
        let message =
            json!({"type": "t", "n": [0, -7, 1.5, u64::MAX], "ok": true, "no": null, "é": {"a": "b"}});
        let bytes = pack(&message);
        let two = [bytes.clone(), pack(&json!(1))].concat();
        assert_eq!(unpack(&two), Ok((message, bytes.len())));
        for cut in 0..bytes.len() {
            assert_eq!(unpack(&bytes[..cut]), Err(Unpackable::Short), "{cut}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert_eq!(unpack(&[0x81, 0x01, 0x02]), Err(Unpackable::NotJson("a key that is no text")));
        assert_eq!(unpack(&[0xd4, 0x01, 0x00]), Err(Unpackable::NotJson("an extension")));
        let deep = vec![0x91; 10 * DEPTH_MAX];
        assert!(matches!(unpack(&deep), Err(Unpackable::Invalid(_) | Unpackable::Short)));
    }
}

//! Agent messages as MessagePack, as sockets and child processes carry them. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rmpv::Value as Packed;
use serde_json::{Map, Number, Value};

/// Messages whose `data` is bytes: Base64 in JSON, as it is here.
const WITH_BYTES: [&str; 2] =
    ["meshagent.agent.realtime_audio.chunk", "meshagent.agent.audio_generation.delta"];

/// Levels that a message may be deep.
const DEPTH_MAX: usize = 64;

/// Largest message that is read, bytes.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Values that a message may hold, itself included.
pub const VALUES_MAX: usize = 64 * 1024;

/// Why bytes are no message.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unpackable {
    #[error("the bytes end before the message does")]
    Short,
    #[error("the bytes are no MessagePack: {0}")]
    Invalid(String),
    #[error("the message holds {0}, which JSON has not")]
    NotJson(&'static str),
    #[error("the message is over {MESSAGE_BYTES_MAX} bytes; send files by way of the room's storage")]
    TooLarge,
    #[error("the message holds over {VALUES_MAX} values; send less at once")]
    TooMany,
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
        Value::Object(fields) => {
            let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
            let of = |name: &str, value: &Value| match value {
                Value::String(text) if name == "data" && WITH_BYTES.contains(&kind) => {
                    STANDARD.decode(text).map_or_else(|_| Packed::from(text.as_str()), Packed::from)
                }
                value => packed(value),
            };
            Packed::Map(
                fields.iter().map(|(name, value)| (Packed::from(name.as_str()), of(name, value))).collect(),
            )
        }
    }
}

/// Looks how large a message is before any of it is built: a byte may become a value many times its size.
fn measure(bytes: &[u8]) -> Result<(), Unpackable> {
    let (mut at, mut seen, mut due) = (0, 0, 1);
    while due > 0 {
        let marker = *bytes.get(at).ok_or(Unpackable::Short)?;
        let length = |width: usize| {
            let digits = bytes.get(at + 1..at + 1 + width).ok_or(Unpackable::Short)?;
            Ok(digits.iter().fold(0, |number, digit| number << 8 | usize::from(*digit)))
        };
        // Bytes behind the marker that are no values, and values.
        let (skipped, held) = match marker {
            0x80..=0x8f => (0, 2 * usize::from(marker & 0x0f)),
            0x90..=0x9f => (0, usize::from(marker & 0x0f)),
            0xa0..=0xbf => (usize::from(marker & 0x1f), 0),
            0xc4 | 0xd9 => (1 + length(1)?, 0),
            0xc5 | 0xda => (2 + length(2)?, 0),
            0xc6 | 0xdb => (4 + length(4)?, 0),
            0xc7 => (2 + length(1)?, 0),
            0xc8 => (3 + length(2)?, 0),
            0xc9 => (5 + length(4)?, 0),
            0xcc | 0xd0 => (1, 0),
            0xcd | 0xd1 => (2, 0),
            0xca | 0xce | 0xd2 => (4, 0),
            0xcb | 0xcf | 0xd3 => (8, 0),
            0xd4..=0xd8 => (1 + (1 << (marker - 0xd4)), 0),
            0xdc => (2, length(2)?),
            0xdd => (4, length(4)?),
            0xde => (2, 2 * length(2)?),
            0xdf => (4, 2 * length(4)?),
            _ => (0, 0),
        };
        (at, seen, due) = (at + 1 + skipped, seen + 1, due - 1 + held);
        if at > MESSAGE_BYTES_MAX {
            return Err(Unpackable::TooLarge);
        }
        if seen + due > VALUES_MAX {
            return Err(Unpackable::TooMany);
        }
    }
    if at > bytes.len() { Err(Unpackable::Short) } else { Ok(()) }
}

/// The message that bytes begin with, and how many of them it took.
pub fn unpack(bytes: &[u8]) -> Result<(Value, usize), Unpackable> {
    measure(bytes)?;
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
        Packed::Binary(bytes) => Value::String(STANDARD.encode(bytes)),
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
    fn audio_travels_as_bytes() {
        for kind in WITH_BYTES {
            let message = json!({"type": kind, "data": STANDARD.encode([0, 255, 7])});
            let wrapped = json!({"data": message, "sender": {"id": "a"}});
            for message in [message, wrapped] {
                let bytes = pack(&message);
                assert!(bytes.windows(5).any(|w| w == [0xc4, 3, 0, 255, 7]), "{bytes:?}");
                assert_eq!(unpack(&bytes), Ok((message, bytes.len())));
            }
        }
        let text = json!({"type": "meshagent.agent.turn.start", "data": "AP8H"});
        assert_eq!(unpack(&pack(&text)).unwrap().0, text);
    }

    #[test]
    fn a_message_is_measured_before_it_is_built() {
        let mut nils = vec![0xdd, 0, 1, 0, 0];
        nils.resize(nils.len() + VALUES_MAX, 0xc0);
        assert_eq!(unpack(&nils), Err(Unpackable::TooMany));
        assert_eq!(unpack(&[0xdf, 0xff, 0xff, 0xff, 0xff]), Err(Unpackable::TooMany), "it says so itself");
        assert_eq!(unpack(&[0xc6, 0xff, 0xff, 0xff, 0xff]), Err(Unpackable::TooLarge), "it says so itself");
        let most = Value::Array(vec![Value::Null; VALUES_MAX - 1]);
        assert_eq!(unpack(&pack(&most)).map(|(value, _)| value), Ok(most));
        let long = |n: usize| pack(&json!("x".repeat(n)));
        assert!(unpack(&long(MESSAGE_BYTES_MAX - 5)).is_ok());
        assert_eq!(unpack(&long(MESSAGE_BYTES_MAX)), Err(Unpackable::TooLarge));
        for n in [0, 31, 32, 255, 256, 65_535, 65_536] {
            let text =
                json!({"a": "x".repeat(n), "b": vec![-300; n.min(1000)], "c": [1e300, 70_000, -70_000, 300]});
            let bytes = pack(&text);
            assert_eq!(unpack(&bytes), Ok((text, bytes.len())), "{n}");
            assert_eq!(unpack(&bytes[..bytes.len() - 1]), Err(Unpackable::Short), "{n}");
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

//! A message's payload: `u64 header length | JSON object | attachment bytes`.

use super::trace::TraceContext;
use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde_json::{Map, Value};

/// Key the Python SDK adds to every header for its own bookkeeping; never part of the meaning.
pub const BOOKKEEPING_KEY: &str = "__meshagent__";

const LENGTH_BYTES: usize = 8;

/// Why a payload is not a packed message; all are `INVALID_REQUEST` (1002) on the wire.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    #[error("message is too short")]
    TooShort,
    #[error("message header is incomplete")]
    Incomplete,
    #[error("invalid message header: {0}")]
    NotJson(#[from] serde_json::Error),
    #[error("message header must be an object")]
    NotAnObject,
}

/// Packs a header that serialises as a JSON object, and an attachment.
#[must_use]
pub fn pack(header: &impl Serialize, attachment: &[u8]) -> Bytes {
    // Our headers are plain data; the only serialisers that fail are ones with non-text keys.
    let json = serde_json::to_vec(header).unwrap_or_else(|_| b"{}".to_vec());
    let mut out = BytesMut::with_capacity(LENGTH_BYTES + json.len() + attachment.len());
    out.put_u64(json.len() as u64);
    out.put_slice(&json);
    out.put_slice(attachment);
    out.freeze()
}

/// Packs a header that is already a map.
#[must_use]
pub fn pack_map(header: &Map<String, Value>, attachment: &[u8]) -> Bytes {
    pack(header, attachment)
}

/// Splits a payload into its header, without the SDK's bookkeeping, and its attachment.
pub fn unpack(payload: &Bytes) -> Result<(Map<String, Value>, Bytes), MessageError> {
    unpack_traced(payload).map(|(header, data, _)| (header, data))
}

/// The same, with the trace context that the bookkeeping holds.
pub fn unpack_traced(
    payload: &Bytes,
) -> Result<(Map<String, Value>, Bytes, Option<TraceContext>), MessageError> {
    let length = payload
        .get(..LENGTH_BYTES)
        .and_then(|b| b.try_into().ok())
        .map(u64::from_be_bytes)
        .ok_or(MessageError::TooShort)?;
    let end = usize::try_from(length)
        .ok()
        .and_then(|l| l.checked_add(LENGTH_BYTES))
        .filter(|end| *end <= payload.len())
        .ok_or(MessageError::Incomplete)?;
    let json = payload.get(LENGTH_BYTES..end).ok_or(MessageError::Incomplete)?;
    let Value::Object(mut header) = serde_json::from_slice(json)? else {
        return Err(MessageError::NotAnObject);
    };
    let trace = header.remove(BOOKKEEPING_KEY).and_then(|bookkeeping| TraceContext::read(&bookkeeping));
    Ok((header, payload.slice(end..), trace))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bad_payloads_have_the_sdk_s_texts() {
        let short = unpack(&Bytes::from_static(b"abc")).unwrap_err().to_string();
        assert_eq!(short, "message is too short");
        let mut long = BytesMut::new();
        long.put_u64(99);
        long.put_slice(b"{}");
        let incomplete = unpack(&long.clone().freeze()).unwrap_err().to_string();
        assert_eq!(incomplete, "message header is incomplete");
        let list = unpack(&pack(&json!([1]), b"")).unwrap_err().to_string();
        assert_eq!(list, "message header must be an object");
        let mut text = BytesMut::new();
        text.put_u64(1);
        text.put_slice(b"?");
        assert!(unpack(&text.freeze()).unwrap_err().to_string().starts_with("invalid message header: "));
    }

    #[test]
    fn a_length_near_the_limit_of_the_number_does_not_overflow() {
        let mut evil = BytesMut::new();
        evil.put_u64(u64::MAX - 3);
        evil.put_slice(b"{}");
        assert!(matches!(unpack(&evil.freeze()), Err(MessageError::Incomplete)));
    }

    #[test]
    fn header_and_attachment_come_back() {
        let packed = pack(&json!({"a": 1, "__meshagent__": {"v": 1}}), b"rest");
        let (header, rest) = unpack(&packed).unwrap();
        assert_eq!(Value::Object(header), json!({"a": 1}));
        assert_eq!(rest, Bytes::from_static(b"rest"));
    }
}

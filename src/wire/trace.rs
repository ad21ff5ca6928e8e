//! Trace context (W3C Trace Context, level 1): which piece of traced work a message belongs to. The SDKs put it into
//! their bookkeeping of a message's header, as the text map of OpenTelemetry's propagation.

use serde_json::{Map, Value, json};

/// Longest `tracestate` and `baggage` passed on, bytes; longer ones are left out.
pub const CARRIED_BYTES_MAX: usize = 4_096;

/// Bit of the flags: whoever began the trace records it.
const SAMPLED: u8 = 1;
/// What is passed on unread.
const CARRIED: [&str; 2] = ["tracestate", "baggage"];

/// The work that a message was sent in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    flags: u8,
    carried: Map<String, Value>,
}

impl TraceContext {
    /// A new trace that is recorded.
    #[must_use]
    pub fn new(trace_id: [u8; 16], span_id: [u8; 8]) -> Self {
        Self { trace_id, span_id, flags: SAMPLED, carried: Map::new() }
    }

    /// Reads a header's bookkeeping, `{"otel": {"traceparent": …}}`. `None` where there is no valid context in it.
    #[must_use]
    pub fn read(bookkeeping: &Value) -> Option<Self> {
        let otel = bookkeeping.get("otel")?.as_object()?;
        let (trace_id, span_id, flags) = parent(otel.get("traceparent")?.as_str()?)?;
        let carried = CARRIED.iter().filter_map(|name| {
            let text = otel.get(*name)?.as_str().filter(|text| text.len() <= CARRIED_BYTES_MAX)?;
            Some(((*name).to_owned(), text.into()))
        });
        Some(Self { trace_id, span_id, flags, carried: carried.collect() })
    }

    /// Whether the trace is recorded.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The same trace, in work `span_id`.
    #[must_use]
    pub fn within(&self, span_id: [u8; 8]) -> Self {
        Self { span_id, ..self.clone() }
    }

    /// The bookkeeping that [`TraceContext::read`] reads.
    #[must_use]
    pub fn bookkeeping(&self) -> Value {
        let mut otel = self.carried.clone();
        let parent =
            format!("00-{}-{}-{:02x}", hex::encode(self.trace_id), hex::encode(self.span_id), self.flags);
        otel.insert("traceparent".to_owned(), parent.into());
        json!({"v": 1, "otel": otel})
    }
}

/// `VERSION-TRACE-SPAN-FLAGS`; a version above 00 may have more behind.
fn parent(text: &str) -> Option<([u8; 16], [u8; 8], u8)> {
    let mut parts = text.split('-');
    let [version] = bytes::<1>(parts.next()?)?;
    let (trace_id, span_id) = (bytes::<16>(parts.next()?)?, bytes::<8>(parts.next()?)?);
    let [flags] = bytes::<1>(parts.next()?)?;
    let ends = parts.next().is_none() || version > 0;
    let is_valid = version != 0xff && ends && trace_id != [0; 16] && span_id != [0; 8];
    is_valid.then_some((trace_id, span_id, flags))
}

/// Exactly `N` bytes in lower-case hexadecimal.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn read(parent: &str) -> Option<TraceContext> {
        TraceContext::read(&json!({"v": 1, "otel": {"traceparent": parent}}))
    }

    #[test]
    fn a_context_comes_back_as_it_was() {
        let bookkeeping =
            json!({"v": 1, "otel": {"traceparent": PARENT, "tracestate": "a=1", "baggage": "u=2"}});
        let context = TraceContext::read(&bookkeeping).unwrap();
        assert!(context.is_sampled());
        assert_eq!(context.bookkeeping(), bookkeeping);
        let child = context.within([1; 8]).bookkeeping();
        assert_eq!(child["otel"]["traceparent"], "00-0af7651916cd43dd8448eb211c80319c-0101010101010101-01");
        assert_eq!(child["otel"]["tracestate"], "a=1");
        assert!(!read(&format!("{}00", &PARENT[..53])).unwrap().is_sampled());
        assert!(read(&PARENT.replacen("00", "01", 1)).is_some());
        assert!(read(&format!("01{}-more", &PARENT[2..])).is_some(), "a later version may say more");
    }

    #[test]
    fn what_is_no_context_is_none() {
        for wrong in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-ñaf7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        for wrong in [json!(null), json!({"otel": []}), json!({"otel": {"traceparent": 1}})] {
            assert_eq!(TraceContext::read(&wrong), None);
        }
        let long = json!({"otel": {"traceparent": PARENT, "baggage": "x".repeat(CARRIED_BYTES_MAX + 1)}});
        assert_eq!(TraceContext::read(&long).unwrap().bookkeeping()["otel"].get("baggage"), None);
    }
}

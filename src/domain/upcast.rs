//! Lifts stored payloads of older schema versions to the present one.
//!
//! A step may import nothing live: it works on plain JSON, so that a change of today's types cannot change
//! what yesterday's bytes mean. `tests/fixtures/events/` holds one stored payload per kind and version; add-only.

use serde_json::Value;

/// Lifts `value` from schema version `from` to the present version of `kind`, one step at a time.
#[must_use]
pub fn lift(kind: &str, from: u16, value: Value) -> Value {
    let mut value = value;
    for step in STEPS.iter().filter(|s| s.kind == kind && s.from >= from) {
        value = (step.lift)(value);
    }
    value
}

struct Step {
    kind: &'static str,
    from: u16,
    lift: fn(Value) -> Value,
}

/// In order of `from` within a kind. Empty: every kind is still at its first version.
const STEPS: &[Step] = &[];

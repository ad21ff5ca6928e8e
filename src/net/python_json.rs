//! JSON as Python's `json.dumps` writes it, which the receivers of our calls hash.

use serde_json::{Number, Value};
use std::fmt::Write;

/// Exponents from which Python writes a float in scientific form.
const SCIENTIFIC: i32 = 16;
/// Exponents below which it does.
const TINY: i32 = -4;

/// Separators `, ` and `: `, keys in their order, everything beyond ASCII as `\uXXXX`, floats as Python's `repr`.
#[must_use]
pub fn dumps(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value);
    out
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number_text(number)),
        Value::String(text) => write_text(out, text),
        Value::Array(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                out.push_str(if n == 0 { "" } else { ", " });
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (n, (key, item)) in fields.iter().enumerate() {
                out.push_str(if n == 0 { "" } else { ", " });
                write_text(out, key);
                out.push_str(": ");
                write_value(out, item);
            }
            out.push('}');
        }
    }
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

fn number_text(number: &Number) -> String {
    match number.as_f64().filter(|_| number.is_f64()) {
        Some(float) => float_text(float),
        None => number.to_string(),
    }
}

/// The shortest digits that read back, placed as Python places them.
fn float_text(float: f64) -> String {
    let scientific = format!("{float:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (TINY..SCIENTIFIC).contains(&exponent) {
        let plain = float.to_string();
        return if plain.contains('.') { plain } else { format!("{plain}.0") };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_written_as_python_writes_them() {
        let value = json!({"a": ["ü", "😀", "\u{7f}", "\u{1}", "q\"\\\n/"], "b": {"c": null, "d": true}});
        let want = r#"{"a": ["\u00fc", "\ud83d\ude00", "\u007f", "\u0001", "q\"\\\n/"], "b": {"c": null, "d": true}}"#;
        assert_eq!(dumps(&value), want);
        assert_eq!(dumps(&json!([[], {}])), "[[], {}]");
    }

    /// Each pair printed by Python 3.13.
    #[test]
    fn numbers_are_written_as_python_writes_them() {
        for (number, want) in [
            (json!(1), "1"),
            (json!(-7), "-7"),
            (json!(18_446_744_073_709_551_615_u64), "18446744073709551615"),
            (json!(1.0), "1.0"),
            (json!(-0.0), "-0.0"),
            (json!(0.1), "0.1"),
            (json!(1000.0), "1000.0"),
            (json!(1e15), "1000000000000000.0"),
            (json!(1e16), "1e+16"),
            (json!(1.5e300), "1.5e+300"),
            (json!(0.0001), "0.0001"),
            (json!(0.000_01), "1e-05"),
            (json!(1.25e-7), "1.25e-07"),
            (json!(123_456_789.123), "123456789.123"),
        ] {
            assert_eq!(dumps(&number), want);
        }
    }
}

//! OpenAPI 2 as Protocol Buffers, the form in which older clients read it. Pure: only the members that are written here are
//! encoded, by the numbers of `openapi.v2` (gnostic).

use serde_json::Value;

/// What clients ask for, in the older spelling and the newer.
const ASKED: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
];
/// What the answer is called to either: the older one is no media type by the letter, and clients refuse it.
pub(super) const MEDIA: &str = ASKED[1];

/// Whether a client wants this form.
pub(super) fn is_wanted(accept: &str) -> bool {
    ASKED.iter().any(|media| accept.contains(media))
}

/// A message in the making.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        loop {
            let low = u8::try_from(value & 0x7f).unwrap_or_default();
            value >>= 7;
            if value == 0 {
                self.0.push(low);
                return;
            }
            self.0.push(low | 0x80);
        }
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u64, inner: &Self) {
        self.bytes(field, &inner.0);
    }

    /// Nothing where there is no such text.
    fn text(&mut self, field: u64, value: Option<&Value>) {
        if let Some(text) = value.and_then(Value::as_str).filter(|text| !text.is_empty()) {
            self.bytes(field, text.as_bytes());
        }
    }
}

/// A document as bytes.
pub(super) fn bytes(document: &Value) -> Vec<u8> {
    let mut made = Message::default();
    made.text(1, document.get("swagger"));
    let mut info = Message::default();
    info.text(1, document.pointer("/info/title"));
    info.text(2, document.pointer("/info/version"));
    made.message(2, &info);
    let mut paths = Message::default();
    for (name, value) in members(document.get("paths")) {
        paths.message(2, &named(name, &path(value)));
    }
    made.message(8, &paths);
    made.message(9, &schemas(document.get("definitions")));
    made.0
}

fn members(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

fn named(name: &str, value: &Message) -> Message {
    let mut made = Message::default();
    made.bytes(1, name.as_bytes());
    made.message(2, value);
    made
}

/// A map from names to schemas.
fn schemas(value: Option<&Value>) -> Message {
    let mut made = Message::default();
    for (name, value) in members(value) {
        made.message(1, &named(name, &schema(value)));
    }
    made
}

fn schema(value: &Value) -> Message {
    let mut made = Message::default();
    made.text(1, value.get("$ref"));
    made.text(2, value.get("format"));
    made.text(4, value.get("description"));
    for name in value.get("required").and_then(Value::as_array).into_iter().flatten() {
        made.text(19, Some(name));
    }
    if let Some(extra) = value.get("additionalProperties") {
        let mut item = Message::default();
        item.message(1, &schema(extra));
        made.message(21, &item);
    }
    if value.get("type").is_some() {
        let mut kind = Message::default();
        kind.text(1, value.get("type"));
        made.message(22, &kind);
    }
    if let Some(items) = value.get("items") {
        let mut item = Message::default();
        item.message(1, &schema(items));
        made.message(23, &item);
    }
    if value.get("properties").is_some() {
        made.message(25, &schemas(value.get("properties")));
    }
    extensions(&mut made, 31, value);
    made
}

fn path(value: &Value) -> Message {
    let mut made = Message::default();
    for (field, verb) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (8, "patch")] {
        if let Some(action) = value.get(verb) {
            made.message(field, &operation(action));
        }
    }
    made
}

fn operation(value: &Value) -> Message {
    let mut made = Message::default();
    made.text(5, value.get("operationId"));
    for parameter in value.get("parameters").and_then(Value::as_array).into_iter().flatten() {
        let mut query = Message::default();
        query.text(2, parameter.get("in"));
        query.text(4, parameter.get("name"));
        query.text(6, parameter.get("type"));
        // ParametersItem.parameter, Parameter.non_body_parameter, NonBodyParameter.query_parameter_sub_schema.
        let nested = [3, 2, 1].into_iter().fold(query, |inner, field| {
            let mut outer = Message::default();
            outer.message(field, &inner);
            outer
        });
        made.message(8, &nested);
    }
    let mut responses = Message::default();
    for (code, response) in members(value.get("responses")) {
        let mut inner = Message::default();
        inner.text(1, response.get("description"));
        let mut one = Message::default();
        one.message(1, &inner);
        responses.message(1, &named(code, &one));
    }
    made.message(9, &responses);
    extensions(&mut made, 13, value);
    made
}

/// Members that begin with `x-`, each as YAML; JSON is YAML too.
fn extensions(into: &mut Message, field: u64, value: &Value) {
    for (name, value) in members(Some(value)).filter(|(name, _)| name.starts_with("x-")) {
        let mut any = Message::default();
        any.bytes(2, format!("{value}\n").as_bytes());
        into.message(field, &named(name, &any));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_and_texts_are_encoded() {
        let mut made = Message::default();
        made.varint(300);
        assert_eq!(made.0, [0xac, 0x02]);
        let document = bytes(&json!({"swagger": "2.0"}));
        assert_eq!(document[..5], [0x0a, 3, b'2', b'.', b'0']);
        let one = schema(&json!({"type": "string", "x-a": [1]}));
        // type { value: "string" }, vendor_extension { name: "x-a" value { yaml: "[1]\n" } }.
        let mut wanted = vec![0xb2, 0x01, 8, 0x0a, 6];
        wanted.extend(b"string");
        wanted.extend([0xfa, 0x01, 13, 0x0a, 3]);
        wanted.extend(b"x-a");
        wanted.extend([0x12, 6, 0x12, 4]);
        wanted.extend(b"[1]\n");
        assert_eq!(one.0, wanted);
    }
}

//! `room sync`.

use super::steps::{self, Step, step};
use super::{Tool, make_room};
use crate::support::clients;
use crate::support::server::Server;

/// A page of lines.
const SCHEMA: &str = r##"{"$root_tag_ref": "#/$defs/page", "$defs": {
    "page": {"type": "object", "additionalProperties": false, "required": ["page"], "properties": {"page":
        {"type": "object", "additionalProperties": false, "required": ["lines"], "properties": {
            "lines": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/line"}]}}}}}},
    "line": {"type": "object", "additionalProperties": false, "required": ["line"], "properties": {"line":
        {"type": "object", "additionalProperties": false, "required": ["text"], "properties": {
            "text": {"type": "string"}}}}}}}"##;

pub(super) const STEPS: &[&[Step]] = &[
    &[step("room sync get notes/a.page", &["`notes/a.page` does not exist"]).exits(1)],
    &[step(
        r#"room sync create notes/a.page --schema schema.json --json '{"page":{"lines":[{"line":{"text":"one"}}]}}'"#,
        &["Created document at notes/a.page"],
    )],
    &[
        step("room sync get notes/a.page", &["\"text\": \"one\""]),
        step("room sync inspect notes/a.page --compact", &["\"$root_tag_ref\": \"#/$defs/page\""]),
        step(
            "room sync create notes/a.page --schema schema.json",
            &["Document already exists at notes/a.page."],
        )
        .exits(1),
    ],
    &[step(
        r#"room sync update notes/a.page --patch '[{"op":"add","path":"/page/lines/-","value":{"line":{"text":"two"}}}]'"#,
        &["Updated document at notes/a.page"],
    )],
    &[
        step(
            "room sync get notes/a.page --compact",
            &[r#"{"page": {"lines": [{"line": {"text": "one"}}, {"line": {"text": "two"}}]}}"#],
        ),
        step("room sync grep notes/a.page t.o --compact", &[r#"[{"line": {"text": "two"}}]"#]),
        step("room storage exists room://notes/a.page", &["exists"]),
    ],
];

#[test]
fn documents() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    make_room(&server);
    let tool = Tool::new(python, &server);
    tool.write("schema.json", SCHEMA);
    steps::run_all(&tool, STEPS);
}

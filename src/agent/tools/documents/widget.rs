//! The kind of document `widget`: what a user interface is made of, as the official clients know it.

use serde_json::{Map, Value, json};

/// Properties that elements share: a name and what kind of value it has.
type Properties = [(&'static str, Kind)];

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Switch,
    One(&'static [&'static str]),
}

use Kind::{Number, One, Switch, Text};

const FIT: Kind = One(&["fit", "contain", "cover", "fitWidth", "fitHeight", "scaleDown", "none"]);

/// Of what has a frame.
const FRAME: &Properties = &[
    ("topLeftRadius", Number),
    ("topRightRadius", Number),
    ("bottomLeftRadius", Number),
    ("bottomRightRadius", Number),
    ("marginTop", Number),
    ("marginBottom", Number),
    ("marginLeft", Number),
    ("marginRight", Number),
    ("paddingTop", Number),
    ("paddingBottom", Number),
    ("paddingLeft", Number),
    ("paddingRight", Number),
    ("borderColor", Number),
    ("borderTop", Number),
    ("borderBottom", Number),
    ("borderLeft", Number),
    ("borderRight", Number),
    ("borderTopColor", Text),
    ("borderBottomColor", Text),
    ("borderLeftColor", Text),
    ("borderRightColor", Text),
    ("backgroundColor", Text),
    ("backgroundImageUrl", Text),
    ("backgroundImageFit", FIT),
    ("linearGradient", Text),
    ("radialGradient", Text),
    ("width", Number),
    ("height", Number),
];

/// Of what shows text.
const LETTERS: &Properties = &[
    ("color", Text),
    ("emphasis", One(&["none", "italic"])),
    ("decoration", One(&["none", "underline", "strikethrough"])),
    ("font", Text),
    ("weight", One(&["bold", "normal", "100", "200", "300", "400", "500", "600", "700", "800", "900"])),
    ("align", One(&["left", "right", "center", "none"])),
    ("letterSpacing", Number),
    ("lineHeight", Number),
    ("size", Number),
];

/// Of what scripts can name.
const NAMED: &Properties = &[("name", Text), ("script", Text), ("visible", Switch)];

const PICTURE: &Properties = &[("url", Text), ("alt", Text), ("fit", FIT)];
const SPACING: &Properties = &[("spacing", Number)];
const VALUE: &Properties = &[("value", Text)];

/// What may be put into a container.
const ANYTHING: &[&str] = &[
    "text",
    "select",
    "spinner",
    "radiogroup",
    "datagrid",
    "datepicker",
    "scrollview",
    "checkbox",
    "button",
    "markdown",
    "tabs",
    "spacer",
    "format",
    "box",
    "divider",
    "hstack",
    "form",
    "input",
    "canvas",
    "chat",
    "vstack",
    "image",
    "video",
    "textarea",
    "zstack",
];

struct Element {
    tag: &'static str,
    properties: &'static [&'static Properties],
    /// Name of the children's property, and their tags.
    children: Option<(&'static str, &'static [&'static str])>,
}

const fn leaf(tag: &'static str, properties: &'static [&'static Properties]) -> Element {
    Element { tag, properties, children: None }
}

const fn container(tag: &'static str, properties: &'static [&'static Properties]) -> Element {
    Element { tag, properties, children: Some(("children", ANYTHING)) }
}

const fn list(
    tag: &'static str,
    properties: &'static [&'static Properties],
    name: &'static str,
    tags: &'static [&'static str],
) -> Element {
    Element { tag, properties, children: Some((name, tags)) }
}

const ELEMENTS: &[Element] = &[
    list("widget", &[], "children", &["widgets"]),
    container("widgets", &[]),
    container("canvas", &[NAMED, FRAME]),
    container("box", &[NAMED, FRAME]),
    container("button", &[NAMED, FRAME]),
    leaf("text", &[&[("text", Text)], NAMED, LETTERS]),
    leaf("video", &[NAMED, PICTURE, FRAME]),
    leaf("image", &[NAMED, PICTURE, FRAME]),
    container("hstack", &[NAMED, SPACING]),
    container("vstack", &[NAMED, SPACING]),
    container("zstack", &[NAMED]),
    leaf(
        "input",
        &[&[("placeholder", Text), ("initialValue", Text), ("obscure", Switch)], NAMED, LETTERS, FRAME],
    ),
    leaf("textarea", &[&[("placeholder", Text), ("initialValue", Text)], NAMED, LETTERS, FRAME]),
    container("form", &[NAMED]),
    list("select", &[&[("placeholder", Text), ("initialValue", Text)], NAMED, FRAME], "options", &["option"]),
    container("checkbox", &[&[("initialValue", One(&["checked", "unchecked"]))]]),
    list("radiogroup", &[NAMED, &[("initialValue", Text)]], "radios", &["radio"]),
    leaf("datepicker", &[NAMED, &[("initialValue", Text)], LETTERS, FRAME]),
    leaf("spacer", &[NAMED]),
    leaf(
        "divider",
        &[
            NAMED,
            &[
                ("marginTop", Number),
                ("marginBottom", Number),
                ("marginLeft", Number),
                ("marginRight", Number),
                ("color", Text),
            ],
        ],
    ),
    leaf("spinner", &[NAMED, &[("width", Number), ("height", Number), ("color", Text)]]),
    leaf("markdown", &[NAMED, &[("text", Text)]]),
    container("radio", &[VALUE]),
    container("option", &[VALUE]),
    container("scrollview", &[NAMED, SPACING, &[("direction", One(&["horizontal", "vertical"]))], FRAME]),
    list("datagrid", &[NAMED, FRAME, &[("table", Text), ("filter", Text)]], "columns", &["gridcolumn"]),
    leaf(
        "gridcolumn",
        &[
            &[
                ("name", Text),
                ("label", Text),
                ("width", Number),
                ("height", Number),
                ("cursor", One(&["none", "click"])),
            ],
            LETTERS,
        ],
    ),
    leaf("format", &[LETTERS, NAMED]),
    // The second name is spelled so by the official clients.
    leaf("chat", &[&[("path", Text), ("agent", Text), ("initalStyle", One(&["centered", "feed"]))], FRAME]),
    list("tabs", &[FRAME, NAMED, SPACING, &[("initialTab", Text)]], "tabs", &["tab"]),
    container("tab", &[FRAME, NAMED, &[("activeBackgroundColor", Text)]]),
];

/// MeshSchema of a widget.
pub(super) fn schema() -> Value {
    let definitions: Map<String, Value> =
        ELEMENTS.iter().map(|element| (element.tag.to_owned(), definition(element))).collect();
    let mut schema = definition(&ELEMENTS[0]);
    schema["$root_tag_ref"] = json!("#/$defs/widget");
    schema["$defs"] = Value::Object(definitions);
    schema
}

fn definition(element: &Element) -> Value {
    let mut properties = Map::new();
    for (name, kind) in element.properties.iter().copied().flatten() {
        let value = match kind {
            Text => json!({"type": ["string", "null"]}),
            Number => json!({"type": ["number", "null"]}),
            Switch => json!({"type": ["boolean", "null"]}),
            One(values) => json!({"type": "string", "enum": values}),
        };
        properties.insert((*name).to_owned(), value);
    }
    if let Some((name, tags)) = element.children {
        let tags: Vec<Value> = tags.iter().map(|tag| json!({"$ref": format!("#/$defs/{tag}")})).collect();
        properties.insert(name.to_owned(), json!({"type": "array", "items": {"anyOf": tags}}));
    }
    let required: Vec<&String> = properties.keys().collect();
    let inner = json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties});
    json!({"type": "object", "additionalProperties": false, "required": [element.tag],
        "properties": {element.tag: inner}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yjs::MeshSchema;

    #[test]
    fn the_schema_of_widgets_is_one() {
        let schema = MeshSchema::parse(schema()).unwrap();
        assert_eq!(schema.root_tag(), "widget");
        assert_eq!(schema.element("input").unwrap().values.len(), 3 + 3 + 9 + 28);
        assert_eq!(schema.element("tabs").unwrap().child.as_ref().unwrap().tags, ["tab"]);
        assert!(ANYTHING.iter().all(|tag| schema.element(tag).is_some()));
    }
}

//! A tree against a JSON Schema: every structural problem at once, and the tree as the typed kinds want it.
//!
//! Understands what the generator makes of our types, not all of JSON Schema. Reads scalars as leniently as
//! the public clients do (`"5002"` for a number, `"yes"` for a truth value).

use super::problem::{Finding, Path, listing, nearest, shown};
use super::scalar;
use super::tree::{Node, Shape};
use serde_json::{Map, Value};

/// Schema extension: other names of fields, as `{other: name}`.
pub(super) const ALIASES: &str = "x-aliases";
/// Words that a message spells out.
const LISTED_MAX: usize = 20;

/// Walks one tree along one schema.
pub(super) struct Check<'a> {
    root: &'a Value,
    pub findings: Vec<Finding>,
}

impl<'a> Check<'a> {
    pub const fn new(root: &'a Value) -> Self {
        Self { root, findings: Vec::new() }
    }

    /// The value with scalars in their wanted types; what is wrong is in `findings`.
    pub fn value(&mut self, node: &Node, schema: &'a Value, path: &Path) -> Value {
        let schema = self.resolve(schema);
        if let Some(choices) = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array) {
            return self.choice(node, choices, path);
        }
        if let Some(words) = words(schema) {
            return self.word(node, &words, path);
        }
        let types = types(schema);
        if types.is_empty() || (node.is_null() && types.contains(&"null")) {
            return node.to_json();
        }
        match &node.shape {
            Shape::Mapping(_) if types.contains(&"object") => self.object(node, schema, path),
            Shape::Sequence(items) if types.contains(&"array") => self.array(items, schema, path),
            Shape::Scalar { value, .. } => self.scalar(value, schema, &types, path),
            Shape::Mapping(_) | Shape::Sequence(_) => self.wrong_type(node, &types, path),
        }
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let pointer = schema.get("$ref").and_then(Value::as_str).and_then(|link| link.strip_prefix('#'));
        pointer.and_then(|pointer| self.root.pointer(pointer)).unwrap_or(schema)
    }

    /// One of several schemas: the one without findings, else the one that was most likely meant.
    fn choice(&mut self, node: &Node, choices: &'a [Value], path: &Path) -> Value {
        let choices: Vec<&Value> = choices.iter().map(|choice| self.resolve(choice)).collect();
        if node.is_null() && choices.iter().any(|choice| types(choice) == ["null"]) {
            return Value::Null;
        }
        let words: Option<Vec<&str>> = choices.iter().map(|choice| word_of(choice)).collect();
        if let Some(words) = words {
            return self.word(node, &words, path);
        }
        let meant: Vec<&Value> = choices.into_iter().filter(|choice| types(choice) != ["null"]).collect();
        if let [only] = meant.as_slice() {
            return self.value(node, only, path);
        }
        if let Some((tag, names)) = tags(&meant) {
            return self.tagged(node, tag, &names, &meant, path);
        }
        for choice in &meant {
            let mut attempt = Check::new(self.root);
            let value = attempt.value(node, choice, path);
            if attempt.findings.is_empty() {
                return value;
            }
        }
        let wanted: Vec<String> = meant.iter().map(|choice| describe(choice)).collect();
        self.say(path, format!("expected {}, found {}", wanted.join(" or "), found(node)));
        node.to_json()
    }

    /// An object whose `tag` field says which of the choices it is.
    fn tagged(
        &mut self,
        node: &Node,
        tag: &str,
        names: &[&str],
        choices: &[&'a Value],
        path: &Path,
    ) -> Value {
        let Shape::Mapping(_) = &node.shape else { return self.wrong_type(node, &["object"], path) };
        let Some(given) = node.get(tag) else {
            let finding = Finding::new(path.key(tag), format!("the field `{tag}` is missing"));
            self.findings.push(finding.hint(format!("write one of {}", listing(names.iter().copied()))));
            return node.to_json();
        };
        let chosen = given.as_str().and_then(|text| names.iter().position(|name| *name == text));
        if let Some(choice) = chosen.and_then(|at| choices.get(at)) {
            return self.object(node, choice, path);
        }
        self.word(given, names, &path.key(tag));
        node.to_json()
    }

    fn word(&mut self, node: &Node, words: &[&str], path: &Path) -> Value {
        match node.as_str() {
            Some(text) if words.contains(&text) => {}
            Some(text) => {
                let message = if words.len() > LISTED_MAX {
                    format!("`{}` is none of the {} known here", shown(text), words.len())
                } else {
                    format!("`{}` is not one of {}", shown(text), listing(words.iter().copied()))
                };
                let finding = Finding::new(path.clone(), message);
                let near = nearest(text, words.iter().copied());
                self.findings.push(match near {
                    Some(near) => finding.hint(format!("did you mean `{near}`?")),
                    None => finding,
                });
            }
            None => {
                let wanted = listing(words.iter().copied());
                self.say(path, format!("expected one of {wanted}, found {}", found(node)));
            }
        }
        node.to_json()
    }

    fn object(&mut self, node: &Node, schema: &'a Value, path: &Path) -> Value {
        let Shape::Mapping(entries) = &node.shape else { return node.to_json() };
        let none = Map::new();
        let fields = schema.get("properties").and_then(Value::as_object);
        let aliases = schema.get(ALIASES).and_then(Value::as_object).unwrap_or(&none);
        let others = schema.get("additionalProperties");
        let mut object = Map::new();
        for (key, value) in entries {
            let name = aliases.get(&key.text).and_then(Value::as_str).unwrap_or(&key.text);
            let path = path.key(&key.text);
            let known =
                fields.and_then(|fields| fields.get(name)).or(others.filter(|others| others.is_object()));
            let value = match known {
                Some(known) => self.value(value, known, &path),
                None if others == Some(&Value::Bool(false)) => {
                    self.unknown(&key.text, fields, &path);
                    continue;
                }
                None => value.to_json(),
            };
            if object.insert(name.to_owned(), value).is_some() {
                self.say(&path, format!("the field `{name}` is written twice, under two names"));
            }
        }
        self.missing(node, schema, aliases, path);
        Value::Object(object)
    }

    fn unknown(&mut self, name: &str, fields: Option<&Map<String, Value>>, path: &Path) {
        let names = || fields.into_iter().flat_map(Map::keys).map(String::as_str);
        let hint = match nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names().next().is_none() => "it has no fields".to_owned(),
            None => format!("known here: {}", listing(names())),
        };
        self.findings.push(Finding::new(path.clone(), format!("unknown field `{}`", shown(name))).hint(hint));
    }

    fn missing(&mut self, node: &Node, schema: &Value, aliases: &Map<String, Value>, path: &Path) {
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            let other = |(alias, wanted): (&String, &Value)| {
                wanted.as_str() == Some(name) && node.get(alias).is_some()
            };
            if node.get(name).is_none() && !aliases.iter().any(other) {
                self.say(&path.key(name), format!("the field `{name}` is missing"));
            }
        }
    }

    fn array(&mut self, items: &[Node], schema: &'a Value, path: &Path) -> Value {
        let least = schema.get("minItems").or_else(|| schema.get("minLength")).and_then(Value::as_u64);
        if items.is_empty() && least.is_some_and(|least| least > 0) {
            self.say(path, "the list is empty, at least one entry is needed".to_owned());
        }
        let Some(each) = schema.get("items") else {
            return Value::Array(items.iter().map(Node::to_json).collect());
        };
        let values = items.iter().enumerate().map(|(at, item)| self.value(item, each, &path.index(at)));
        Value::Array(values.collect())
    }

    fn scalar(&mut self, value: &Value, schema: &Value, types: &[&str], path: &Path) -> Value {
        let read = types.iter().find_map(|wanted| match *wanted {
            "string" => value.as_str().map(Value::from),
            "integer" => scalar::as_integer(value).map(Value::from),
            "boolean" => scalar::as_boolean(value).map(Value::Bool),
            "number" => value.as_f64().map(Value::from),
            _ => None,
        });
        let Some(read) = read else { return self.wrong_scalar(value, types, path) };
        if let Some(problem) = out_of_bounds(&read, schema) {
            self.say(path, problem);
        }
        read
    }

    fn wrong_scalar(&mut self, value: &Value, types: &[&str], path: &Path) -> Value {
        let message = format!("expected {}, found {}", wanted(types), found_scalar(value));
        let finding = Finding::new(path.clone(), message);
        let quotable = types.contains(&"string") && (value.is_number() || value.is_boolean());
        self.findings.push(if quotable {
            finding.hint(format!("put it in quotes: \"{value}\""))
        } else {
            finding
        });
        value.clone()
    }

    fn wrong_type(&mut self, node: &Node, types: &[&str], path: &Path) -> Value {
        self.say(path, format!("expected {}, found {}", wanted(types), found(node)));
        node.to_json()
    }

    fn say(&mut self, path: &Path, message: String) {
        self.findings.push(Finding::new(path.clone(), message));
    }
}

/// `type` as a list; empty when anything goes.
fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The texts of an enumeration.
fn words(schema: &Value) -> Option<Vec<&str>> {
    match schema.get("enum") {
        Some(Value::Array(words)) => Some(words.iter().filter_map(Value::as_str).collect()),
        _ => word_of(schema).map(|word| vec![word]),
    }
}

fn word_of(schema: &Value) -> Option<&str> {
    schema.get("const").and_then(Value::as_str)
}

/// The field that tells the choices apart, and its text in each.
fn tags<'a>(choices: &[&'a Value]) -> Option<(&'a str, Vec<&'a str>)> {
    let tag_of = |choice: &'a Value| {
        let fields = choice.get("properties")?.as_object()?;
        fields.iter().find_map(|(name, schema)| Some((name.as_str(), word_of(schema)?)))
    };
    let tags: Vec<(&str, &str)> = choices.iter().map(|choice| tag_of(choice)).collect::<Option<_>>()?;
    let (tag, _) = *tags.first()?;
    tags.iter().all(|(name, _)| *name == tag).then(|| (tag, tags.iter().map(|(_, word)| *word).collect()))
}

fn out_of_bounds(value: &Value, schema: &Value) -> Option<String> {
    let limit = |name: &str| schema.get(name).and_then(Value::as_i64);
    if let Some(text) = value.as_str() {
        let blank = limit("minLength").is_some_and(|least| least > 0) && text.trim().is_empty();
        return blank.then(|| "the text is empty".to_owned());
    }
    let number = value.as_i64()?;
    match (limit("minimum"), limit("maximum")) {
        (Some(least), _) if number < least => Some(format!("{number} is too small, the least is {least}")),
        (_, Some(most)) if number > most => Some(format!("{number} is too large, the most is {most}")),
        _ => None,
    }
}

fn wanted(types: &[&str]) -> String {
    let named = types.iter().filter(|name| **name != "null").map(|name| match *name {
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a mapping",
        _ => "nothing",
    });
    named.collect::<Vec<_>>().join(" or ")
}

fn describe(schema: &Value) -> String {
    match (word_of(schema), schema.get("minimum"), schema.get("maximum")) {
        (Some(word), ..) => format!("`{word}`"),
        (None, Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
        (None, ..) => wanted(&types(schema)),
    }
}

fn found(node: &Node) -> String {
    match &node.shape {
        Shape::Scalar { value, .. } => found_scalar(value),
        Shape::Sequence(_) => "a list".to_owned(),
        Shape::Mapping(_) => "a mapping".to_owned(),
    }
}

fn found_scalar(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(truth) => format!("{truth}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text `{}`", shown(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

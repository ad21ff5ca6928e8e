//! From text or JSON to typed documents, with every problem named and placed.

use super::check::Check;
use super::problem::{Finding, Mark, Path, Problem, Step, nearest, shown};
use super::schema::{self, Spec};
use super::tree::{self, Node, Shape};
use super::{
    ApiKey, Feed, GitSource, Mailbox, ManagedAgent, Project, Room, RoomRoles, Route, ScheduledTask, Secret,
    Service, ServiceAccount, ServiceInstance, ServiceTemplate, Subscription,
};
use super::{ApiScope, Document, Kind, rules, sops};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashMap;

/// Most problems reported for one source.
pub const PROBLEMS_MAX: usize = 100;

/// A document and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    pub document: Document,
    /// As it was written, for whoever reads it as this did.
    pub value: Value,
    /// File name, URL or `stdin`.
    pub source: String,
    /// Line of its first field, from 1.
    pub line: usize,
}

/// All documents of one text, or everything that is wrong with them. Two documents of one kind, room and name
/// are refused; `source` names the text in messages.
pub fn parse(source: &str, text: &str) -> Result<Vec<Document>, Vec<Problem>> {
    let written = parse_files(&[(source, text)])?;
    Ok(written.into_iter().map(|written| written.document).collect())
}

/// The documents of several texts, given as (name, text), checked together: all problems of all of them at once.
pub fn parse_files<S: AsRef<str>, T: AsRef<str>>(files: &[(S, T)]) -> Result<Vec<Written>, Vec<Problem>> {
    let mut written = Vec::new();
    let mut problems = Vec::new();
    for (source, text) in files {
        match parse_text(source.as_ref(), text.as_ref()) {
            Ok(documents) => written.extend(documents),
            Err(found) => problems.extend(found),
        }
    }
    problems.extend(check_set(&written));
    if problems.is_empty() { Ok(written) } else { Err(problems) }
}

/// Documents of one kind with one name in one room: each after the first is a problem.
pub fn check_set(documents: &[Written]) -> Vec<Problem> {
    let mut first: HashMap<(Kind, &str, &str), &Written> = HashMap::new();
    let mut problems = Vec::new();
    for written in documents {
        let document = &written.document;
        if document.name().is_empty() {
            continue;
        }
        // These are named in the project, and say a room all the same.
        let scope = match document.kind() {
            Kind::Mailbox | Kind::Route | Kind::Subscription => "",
            _ => document.room().unwrap_or_default(),
        };
        match first.entry((document.kind(), scope, document.name())) {
            std::collections::hash_map::Entry::Vacant(free) => drop(free.insert(written)),
            std::collections::hash_map::Entry::Occupied(taken) => problems.push(twice(written, taken.get())),
        }
    }
    problems
}

fn twice(second: &Written, first: &Written) -> Problem {
    let (kind, name) = (second.document.kind(), second.document.name());
    Problem {
        source: second.source.clone(),
        line: second.line,
        column: 1,
        path: match kind {
            Kind::Mailbox => "address",
            Kind::Route => "domain",
            _ => "metadata.name",
        }
        .to_owned(),
        message: format!("there is another {kind} `{}` in {}:{}", shown(name), first.source, first.line),
        hint: Some("give one of them another name, or remove it".to_owned()),
    }
}

/// One kind from the JSON of a request, read as leniently as the public clients do, or everything wrong with it.
pub fn from_json<T: Spec>(value: Value) -> Result<T, Vec<Problem>> {
    let value = match T::KIND {
        Kind::Route => super::route::migrated(value),
        Kind::ManagedAgent => super::managed_agent::migrated(value),
        _ => value,
    };
    let node = Node::of_json(value);
    let (typed, document) = typed::<T>(&node).map_err(|findings| placed("", &node, findings))?;
    let findings = rules::check(&document);
    if findings.is_empty() { Ok(typed) } else { Err(placed("", &node, findings)) }
}

/// The documents of a text as values, with the line of each: YAML that is checked for nothing else.
pub fn values(source: &str, text: &str) -> Result<Vec<(Value, usize)>, Problem> {
    let nodes = tree::read(source, text)?;
    let kept = nodes.into_iter().map(sops::kept);
    Ok(kept.map(|node| (node.to_json(), node.mark.line)).collect())
}

/// A document of any kind from JSON, as it is sent in a request, or everything wrong with it.
pub fn document_from_json(value: Value) -> Result<Document, Vec<Problem>> {
    let node = Node::of_json(value);
    document(&node).map_err(|findings| placed("", &node, findings))
}

/// What its rules say against a document that was made and not read, such as a rendered template.
pub fn validate(document: &Document) -> Vec<Problem> {
    placed("", &Node::of_json(Value::Null), rules::check(document))
}

/// The one ServiceTemplate in a rendered text; `render` is given every scalar that carries `!template`.
pub fn parse_template(
    source: &str,
    text: &str,
    render: &dyn Fn(&str) -> Result<String, String>,
) -> Result<ServiceTemplate, Vec<Problem>> {
    let nodes = tree::read(source, text).map_err(|problem| vec![problem])?;
    let [mut node] = <[Node; 1]>::try_from(nodes).map_err(|nodes| {
        let message = format!("a template is exactly one document, this text has {}", nodes.len());
        placed(source, &Node::of_json(Value::Null), vec![Finding::new(Path::default(), message)])
    })?;
    let mut findings = Vec::new();
    node.render_tagged(&Path::default(), render, &mut findings);
    if !findings.is_empty() {
        return Err(placed(source, &node, findings));
    }
    match document(&node) {
        Ok(Document::ServiceTemplate(template)) => Ok(template),
        Ok(other) => {
            let finding =
                Finding::new(Path::of("kind"), format!("this is a {}, not a ServiceTemplate", other.kind()));
            let finding = finding.hint("use the command for services, or change `kind`");
            Err(placed(source, &node, vec![finding]))
        }
        Err(findings) => Err(placed(source, &node, findings)),
    }
}

/// The `api` grant of a token. A grant this version does not know allows nothing and is left out;
/// anything unknown inside a known grant is refused, as it might restrict it.
pub fn scope_from_token(value: &Value) -> Result<ApiScope, Vec<Problem>> {
    let mut value = value.clone();
    let schema = schema::scope();
    if let (Some(grants), Some(known)) = (value.as_object_mut(), schema["properties"].as_object()) {
        let alias = |name: &String| schema[super::check::ALIASES].get(name).is_some();
        grants.retain(|name, _| known.contains_key(name) || alias(name));
    }
    let node = Node::of_json(value);
    let mut check = Check::new(schema);
    let value = check.value(&node, schema, &Path::default());
    let read = if check.findings.is_empty() { read(value) } else { Err(check.findings) };
    read.map_err(|findings| placed("", &node, findings))
}

fn parse_text(source: &str, text: &str) -> Result<Vec<Written>, Vec<Problem>> {
    let nodes = tree::read(source, text).map_err(|problem| vec![with_template_hint(problem, text)])?;
    let mut written = Vec::new();
    let mut problems = Vec::new();
    for node in nodes {
        let node = sops::kept(node);
        match document(&node) {
            Ok(document) => {
                let (source, line) = (source.to_owned(), node.mark.line);
                written.push(Written { document, value: node.to_json(), source, line });
            }
            Err(findings) => problems.extend(placed(source, &node, findings)),
        }
    }
    problems.truncate(PROBLEMS_MAX);
    if problems.is_empty() { Ok(written) } else { Err(problems) }
}

fn with_template_hint(problem: Problem, text: &str) -> Problem {
    let templated = text.contains("ServiceTemplate") && (text.contains("{{") || text.contains("{%"));
    let hint =
        templated.then(|| "a ServiceTemplate is rendered before it is read; give its values".to_owned());
    Problem { hint: problem.hint.or(hint), ..problem }
}

/// One tree as a document of the kind it says it is.
pub(super) fn document(node: &Node) -> Result<Document, Vec<Finding>> {
    if let Some(finding) = sops::misplaced(node) {
        return Err(vec![finding]);
    }
    let kind = kind(node).map_err(|finding| vec![finding])?;
    let document = match kind {
        Kind::Project => typed::<Project>(node).map(|(_, document)| document),
        Kind::RoomRoles => typed::<RoomRoles>(node).map(|(_, document)| document),
        Kind::Room => typed::<Room>(node).map(|(_, document)| document),
        Kind::ServiceAccount => typed::<ServiceAccount>(node).map(|(_, document)| document),
        Kind::Secret => typed::<Secret>(node).map(|(_, document)| document),
        Kind::ApiKey => typed::<ApiKey>(node).map(|(_, document)| document),
        Kind::Service => typed::<Service>(node).map(|(_, document)| document),
        Kind::ServiceTemplate => typed::<ServiceTemplate>(node).map(|(_, document)| document),
        Kind::ServiceInstance => typed::<ServiceInstance>(node).map(|(_, document)| document),
        Kind::ScheduledTask => typed::<ScheduledTask>(node).map(|(_, document)| document),
        Kind::Mailbox => typed::<Mailbox>(node).map(|(_, document)| document),
        Kind::Feed => typed::<Feed>(node).map(|(_, document)| document),
        Kind::Subscription => typed::<Subscription>(node).map(|(_, document)| document),
        Kind::Route => typed::<Route>(node).map(|(_, document)| document),
        Kind::ManagedAgent => typed::<ManagedAgent>(node).map(|(_, document)| document),
        Kind::GitSource => typed::<GitSource>(node).map(|(_, document)| document),
    }?;
    let mut findings = rules::check(&document);
    if kind != Kind::ServiceTemplate {
        rules::no_template_tags(node, &Path::default(), &mut findings);
    }
    if findings.is_empty() { Ok(document) } else { Err(findings) }
}

fn kind(node: &Node) -> Result<Kind, Finding> {
    let at = Path::default().key("kind");
    let known = || super::problem::listing(Kind::ALL.map(Kind::as_str));
    let Shape::Mapping(_) = &node.shape else {
        return Err(Finding::new(
            Path::default(),
            "a document is a mapping that begins with `version` and `kind`",
        ));
    };
    let Some(kind) = node.get("kind") else {
        return Err(Finding::new(at, "the field `kind` is missing").hint(format!("write one of {}", known())));
    };
    let Some(text) = kind.as_str() else {
        return Err(Finding::new(at, "expected a text").hint(format!("write one of {}", known())));
    };
    Kind::from_text(text).ok_or_else(|| {
        let finding = Finding::new(at, format!("the kind `{}` is not known", shown(text)));
        match nearest(text, Kind::ALL.map(Kind::as_str)) {
            Some(near) => finding.hint(format!("did you mean `{near}`?")),
            None => finding.hint(format!("known: {}", known())),
        }
    })
}

/// The typed form, and the same as a document.
fn typed<T: Spec>(node: &Node) -> Result<(T, Document), Vec<Finding>> {
    let schema = schema::json_schema(T::KIND);
    let mut check = Check::new(schema);
    let value = check.value(node, schema, &Path::default());
    if !check.findings.is_empty() {
        return Err(check.findings);
    }
    let typed: T = read(value)?;
    let document = typed.clone().into_document();
    Ok((typed, document))
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, Vec<Finding>> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let steps = error.path().iter().filter_map(|segment| match segment {
            serde_path_to_error::Segment::Seq { index } => Some(Step::Index(*index)),
            serde_path_to_error::Segment::Map { key } => Some(Step::Key(key.clone())),
            serde_path_to_error::Segment::Enum { .. } | serde_path_to_error::Segment::Unknown => None,
        });
        vec![Finding::new(Path(steps.collect()), error.inner().to_string())]
    })
}

pub(super) fn placed(source: &str, node: &Node, findings: Vec<Finding>) -> Vec<Problem> {
    let place = |finding: Finding| {
        let Mark { line, column } = node.locate(&finding.path);
        let Finding { path, message, hint } = finding;
        Problem { source: source.to_owned(), line, column, path: path.to_string(), message, hint }
    };
    let mut problems: Vec<Problem> = findings.into_iter().map(place).collect();
    problems.sort_by_key(|problem| (problem.line, problem.column));
    problems.truncate(PROBLEMS_MAX);
    problems
}

//! Service templates: the whole text is rendered, then read, then turned into a service.
//!
//! Values are put into the text as they are, before it is read as YAML, exactly as the hosted platform does it;
//! a value can therefore change the structure of the document.

use crate::spec::{
    Annotations, Container, Document, Problem, Service, ServiceTemplate, TemplateContainer, Written,
    check_set, parse_files, parse_template, validate,
};
use minijinja::{Environment, UndefinedBehavior};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Values by variable name.
pub type Values = BTreeMap<String, String>;

/// What happens to a variable without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It becomes nothing, as on the hosted platform.
    Empty,
    /// It is a problem, unless the template declares it optional.
    Refused,
}

/// Annotation: the text a service was rendered from.
pub const TEMPLATE_YAML: &str = "meshagent.service.template.yaml";
/// Annotation: the values it was rendered with, as JSON text.
pub const TEMPLATE_VALUES: &str = "meshagent.service.template.values";

/// Most steps one rendering may take.
const STEPS_MAX: u64 = 1_000_000;
/// Longest rendered text, bytes.
const RENDERED_BYTES_MAX: usize = 4 << 20;
/// Deepest nesting of blocks and macros.
const RECURSION_MAX: usize = 50;

/// Whether a text says that it is a template; such a text need not be YAML before it is rendered.
pub fn is_template(text: &str) -> bool {
    let kinds = text.lines().filter_map(|line| line.strip_prefix("kind:"));
    kinds
        .map(|kind| kind.split('#').next().unwrap_or_default().trim().trim_matches(['"', '\'']))
        .any(|kind| kind == "ServiceTemplate")
}

/// Renders and reads a template. Its annotations then hold the text and the values.
pub fn render(
    source: &str,
    text: &str,
    values: &Values,
    missing: Missing,
) -> Result<ServiceTemplate, Vec<Problem>> {
    let rendered = render_text(source, text, values).map_err(|problem| vec![problem])?;
    let inner = |scalar: &str| render_text(source, scalar, values).map_err(|problem| problem.message);
    let read = parse_template(source, &rendered, &inner);
    if missing == Missing::Refused {
        let absent = absent(source, text, values, read.as_ref().ok());
        if !absent.is_empty() {
            return Err(absent);
        }
    }
    let mut template = read?;
    let notes = template.metadata.annotations.get_or_insert_default();
    notes.insert(TEMPLATE_YAML.to_owned(), text.to_owned());
    notes.insert(TEMPLATE_VALUES.to_owned(), python_json(values));
    Ok(template)
}

/// The documents of several texts, given as (name, text), checked together. Templates among them are rendered with the
/// values first; a variable without a value is a problem.
pub fn read_files<S: AsRef<str>, T: AsRef<str>>(
    files: &[(S, T)],
    values: &Values,
) -> Result<Vec<Written>, Vec<Problem>> {
    let mut written = Vec::new();
    let mut problems = Vec::new();
    for (source, text) in files {
        let (source, text) = (source.as_ref(), text.as_ref());
        let read = if is_template(text) {
            render(source, text, values, Missing::Refused).map(|template| {
                let document = Document::ServiceTemplate(template);
                let value = serde_json::to_value(&document).unwrap_or_default();
                vec![Written { document, value, source: source.to_owned(), line: 1 }]
            })
        } else {
            parse_files(&[(source, text)])
        };
        match read {
            Ok(documents) => written.extend(documents),
            Err(found) => problems.extend(found),
        }
    }
    problems.extend(check_set(&written));
    if problems.is_empty() { Ok(written) } else { Err(problems) }
}

/// Renders a template and turns it into the service it describes.
pub fn render_service(
    source: &str,
    text: &str,
    values: &Values,
    missing: Missing,
) -> Result<Service, Vec<Problem>> {
    to_service(&render(source, text, values, missing)?)
}

/// The service of a rendered template. As with the public clients, volume mounts are not taken over.
pub fn to_service(template: &ServiceTemplate) -> Result<Service, Vec<Problem>> {
    let container =
        template.container.as_ref().map(container).transpose().map_err(|problem| vec![problem])?;
    let mut service = Service::named(&template.metadata.name);
    service.metadata = template.metadata.clone();
    service.agents.clone_from(&template.agents);
    service.ports.clone_from(&template.ports);
    service.files.clone_from(&template.files);
    service.container = container;
    service.external =
        template.external.as_ref().map(|external| crate::spec::External { url: Some(external.url.clone()) });
    let document = Document::Service(service.clone());
    let problems = validate(&document);
    if problems.is_empty() { Ok(service) } else { Err(problems) }
}

fn container(template: &TemplateContainer) -> Result<Container, Problem> {
    let Some(image) = &template.image else {
        return Err(problem(
            "",
            0,
            "container.image",
            "the field `image` is missing",
            Some("name the image to run"),
        ));
    };
    let mut storage = template.storage.clone();
    if let Some(mounts) = &mut storage {
        mounts.volumes = None;
    }
    Ok(Container {
        run_as: template.run_as.clone(),
        template: template.template,
        command: template.command.clone(),
        working_dir: template.working_dir.clone(),
        environment: Some(template.environment.clone().unwrap_or_default()),
        storage,
        on_demand: template.on_demand,
        writable_root_fs: template.writable_root_fs,
        private: template.private,
        ..Container::of_image(image)
    })
}

fn engine() -> Environment<'static> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Lenient);
    engine.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    engine.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    engine.set_fuel(Some(STEPS_MAX));
    engine.set_recursion_limit(RECURSION_MAX);
    engine
}

fn render_text(source: &str, text: &str, values: &Values) -> Result<String, Problem> {
    let engine = engine();
    let rendered = engine.template_from_str(text).and_then(|template| template.render(values));
    let rendered = rendered.map_err(|error| {
        let reason = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        let hint = text.contains("${#").then_some("`{#` begins a comment; write `${ #name}` differently");
        problem(
            source,
            error.line().unwrap_or(1),
            "document",
            &format!("the template cannot be rendered: {reason}"),
            hint,
        )
    })?;
    if rendered.len() > RENDERED_BYTES_MAX {
        let message =
            format!("the rendered text has {} bytes, at most {RENDERED_BYTES_MAX} are read", rendered.len());
        return Err(problem(source, 1, "document", &message, Some("make the template smaller")));
    }
    Ok(rendered)
}

/// One problem per variable that is used or declared, has no value, and is not optional.
fn absent(source: &str, text: &str, values: &Values, template: Option<&ServiceTemplate>) -> Vec<Problem> {
    let engine = engine();
    let used = engine
        .template_from_str(text)
        .map(|template| template.undeclared_variables(false))
        .unwrap_or_default();
    let globals: BTreeSet<&str> = engine.globals().map(|(name, _)| name).collect();
    let declared = template.and_then(|template| template.variables.as_deref()).unwrap_or_default();
    let optional: BTreeSet<&str> = declared.iter().filter(|v| v.optional).map(|v| v.name.as_str()).collect();
    let needed = declared.iter().map(|v| v.name.as_str()).chain(used.iter().map(String::as_str));
    let missing: BTreeSet<&str> = needed
        .filter(|name| !values.contains_key(*name) && !optional.contains(name) && !globals.contains(name))
        .collect();
    let say = |name: &&str| {
        let hint = format!("give it with `--value {name}=…`, or declare it with `optional: true`");
        let message = format!("the template variable `{name}` has no value");
        problem(source, line_of(text, name), &format!("variables.{name}"), &message, Some(&hint))
    };
    missing.iter().map(say).collect()
}

/// First line with the name as a word of its own, or the first line.
fn line_of(text: &str, name: &str) -> usize {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    text.lines().position(|line| line.split(|c| !word(c)).any(|found| found == name)).map_or(1, |at| at + 1)
}

fn problem(source: &str, line: usize, path: &str, message: &str, hint: Option<&str>) -> Problem {
    Problem {
        source: source.to_owned(),
        line,
        column: usize::from(line > 0),
        path: path.to_owned(),
        message: message.to_owned(),
        hint: hint.map(str::to_owned),
    }
}

/// JSON text as Python writes it: `", "` and `": "`, other than ASCII escaped.
fn python_json(values: &Annotations) -> String {
    let text = |text: &str| {
        let mut out = String::new();
        for c in serde_json::Value::from(text).to_string().chars() {
            if c.is_ascii() {
                out.push(c);
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a text cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
        out
    };
    let pairs: Vec<String> =
        values.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect();
    format!("{{{}}}", pairs.join(", "))
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;

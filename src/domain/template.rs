//! Service templates: the whole text is rendered, then read, then turned into a service.
//!
//! Values are put into the text as they are, before it is read as YAML, exactly as the hosted platform does it;
//! a value can therefore change the structure of the document.

use crate::spec::{
    Annotations, Container, Document, Problem, Service, ServiceTemplate, TemplateContainer, TemplateVariable,
    Written, check_set, parse_files, parse_template, validate,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

mod text;

pub use text::{Here, RENDERED_BYTES_MAX, Refusal, Render};
use text::{cannot, engine};

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
pub const TEMPLATE_YAML: &str = crate::spec::TEMPLATE_SOURCE;
/// Annotation: the values it was rendered with, as JSON text.
pub const TEMPLATE_VALUES: &str = "meshagent.service.template.values";

/// Whether a text says that it is a template; such a text need not be YAML before it is rendered.
pub fn is_template(text: &str) -> bool {
    let kinds = text.lines().filter_map(|line| line.strip_prefix("kind:"));
    kinds
        .map(|kind| kind.split('#').next().unwrap_or_default().trim().trim_matches(['"', '\'']))
        .any(|kind| kind == "ServiceTemplate")
}

/// Renders and reads a template. Its annotations then hold the text and the values.
pub fn render(
    with: &dyn Render,
    source: &str,
    text: &str,
    values: &Values,
    missing: Missing,
) -> Result<ServiceTemplate, Vec<Problem>> {
    let rendered = with.render(text, values).map_err(|refusal| vec![refusal.at(source)])?;
    let inner = |scalar: &str| with.render(scalar, values).map_err(|refusal| refusal.message);
    let read = parse_template(source, &rendered, &inner);
    if missing == Missing::Refused {
        // What cannot be read without the values may be read with others: it says what they are for.
        let asking = read.is_err().then(|| asking(with, source, text, values)).flatten();
        let absent = absent(source, text, values, read.as_ref().ok().or(asking.as_ref()));
        if !absent.is_empty() {
            return Err(absent);
        }
    }
    let mut template = read?;
    if missing == Missing::Refused {
        let unknown = unknown(source, text, values, &template);
        if !unknown.is_empty() {
            return Err(unknown);
        }
    }
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
            render(&Here, source, text, values, Missing::Refused).map(|template| {
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

/// Name of a text in its problems, where it has none.
const TEMPLATE: &str = "template";

/// The documents of several texts, given as (name, text), checked together, to be kept: templates as they were written, in the
/// annotation [`TEMPLATE_YAML`].
pub fn read_kept<S: AsRef<str>, T: AsRef<str>>(files: &[(S, T)]) -> Result<Vec<Written>, Vec<Problem>> {
    if !files.iter().any(|(_, text)| is_template(text.as_ref())) {
        return parse_files(files);
    }
    let mut written = Vec::new();
    let mut problems = Vec::new();
    for (source, text) in files {
        let (source, text) = (source.as_ref(), text.as_ref());
        let pieces = if is_template(text) { pieces(text) } else { vec![(1, text.to_owned())] };
        for (line, piece) in pieces {
            // One that was kept has its text in it, and is a document like others.
            let read = if is_template(&piece) && !piece.contains(TEMPLATE_YAML) {
                kept(source, line, &piece).map(|one| vec![one])
            } else {
                // Blank lines keep the places of what follows.
                parse_files(&[(source, format!("{}{piece}", "\n".repeat(line - 1)))])
            };
            match read {
                Ok(documents) => written.extend(documents),
                Err(found) => problems.extend(found),
            }
        }
    }
    problems.extend(check_set(&written));
    if problems.is_empty() { Ok(written) } else { Err(problems) }
}

/// The documents of a text, each with the line that it begins at.
fn pieces(text: &str) -> Vec<(usize, String)> {
    let mut pieces = vec![(1, String::new())];
    for (at, line) in text.lines().enumerate() {
        if line == "---" || line.starts_with("--- ") {
            pieces.push((at + 2, String::new()));
        } else if let Some((_, piece)) = pieces.last_mut() {
            piece.push_str(line);
            piece.push('\n');
        }
    }
    let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    pieces.retain(|(_, piece)| !piece.lines().all(blank));
    pieces
}

/// A template as the document that a project keeps. Whether it makes a service is seen with the values.
fn kept(source: &str, line: usize, text: &str) -> Result<Written, Vec<Problem>> {
    let at =
        |problem: Problem| Problem { line: problem.line + line - 1, source: source.to_owned(), ..problem };
    compile(text).map_err(|problem| vec![at(problem)])?;
    let (place, name) = plain_name(text).ok_or_else(|| {
        let hint = "write `name:` with a plain text below `metadata:`; the services have the names of their instances";
        vec![at(problem(source, 1, "metadata.name", "a template that is kept has a name without variables", Some(hint)))]
    })?;
    let value = serde_json::json!({"version": "v1", "kind": "ServiceTemplate",
        "metadata": {"name": name, "annotations": {TEMPLATE_YAML: text}}});
    let document = crate::spec::document_from_json(value.clone());
    let placed = |problem: Problem| Problem { line: place, column: 1, source: source.to_owned(), ..problem };
    let document =
        document.map_err(|problems| problems.into_iter().map(|one| at(placed(one))).collect::<Vec<_>>())?;
    Ok(Written { document, value, source: source.to_owned(), line })
}

/// The name in a template's metadata with its line; `None` where it is made of variables.
fn plain_name(text: &str) -> Option<(usize, String)> {
    let mut lines = text.lines().enumerate().skip_while(|(_, line)| !line.starts_with("metadata:"));
    let (at, first) = lines.next()?;
    let plain = |name: &serde_yaml::Value| {
        let name = name.as_str().filter(|name| !name.contains("{{") && !name.contains("{%"))?;
        Some(name.to_owned())
    };
    // On one line: `metadata: {name: a}`.
    let inline: serde_yaml::Value = serde_yaml::from_str(first.strip_prefix("metadata:")?).ok()?;
    if let Some(name) = inline.get("name") {
        return plain(name).map(|name| (at + 1, name));
    }
    let inside = lines.take_while(|(_, line)| line.starts_with(' ') || line.trim().is_empty());
    let mut names = inside.filter_map(|(at, line)| Some((at, line.trim().strip_prefix("name:")?)));
    let (at, written) = names.next()?;
    plain(&serde_yaml::from_str(written).ok()?).map(|name| (at + 1, name))
}

/// Renders a template and turns it into the service it describes.
pub fn render_service(
    with: &dyn Render,
    source: &str,
    text: &str,
    values: &Values,
    missing: Missing,
) -> Result<Service, Vec<Problem>> {
    to_service(&render(with, source, text, values, missing)?)
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

/// Whether a text can be rendered at all.
pub fn compile(text: &str) -> Result<(), Problem> {
    let engine = engine();
    let read = engine.template_from_str(text).map(drop);
    read.map_err(|error| cannot(text, &error).at(TEMPLATE))
}

/// The template with a value for every variable, whatever it is.
fn asking(with: &dyn Render, source: &str, text: &str, values: &Values) -> Option<ServiceTemplate> {
    let engine = engine();
    let used = engine.template_from_str(text).ok()?.undeclared_variables(false);
    let mut values = values.clone();
    for name in used {
        values.entry(name).or_insert_with(|| "1".to_owned());
    }
    let rendered = with.render(text, &values).ok()?;
    let inner = |scalar: &str| with.render(scalar, &values).map_err(|refusal| refusal.message);
    parse_template(source, &rendered, &inner).ok()
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
        let asks = declared.iter().find(|variable| variable.name == **name);
        let asks = asks.and_then(|variable| variable.description.as_ref().or(variable.title.as_ref()));
        let asks = asks.map(|text| format!(" ({text})")).unwrap_or_default();
        let message = format!("the template variable `{name}`{asks} has no value");
        problem(source, line_of(text, name), &format!("variables.{name}"), &message, Some(&hint))
    };
    missing.iter().map(say).collect()
}

/// One problem per value that is none of those that its variable may have.
fn unknown(source: &str, text: &str, values: &Values, template: &ServiceTemplate) -> Vec<Problem> {
    let declared = template.variables.as_deref().unwrap_or_default();
    let unknown = declared.iter().filter_map(|variable| {
        let (value, choices) = (values.get(&variable.name)?, variable.r#enum.as_ref()?);
        let optional = variable.optional && value.is_empty();
        (!optional && !choices.contains(value)).then_some((variable, value, choices))
    });
    let say = |(variable, value, choices): (&TemplateVariable, &String, &Vec<String>)| {
        let name = &variable.name;
        let message = format!("the template variable `{name}` may not be `{value}`");
        let hint = format!("choose one of: {}", choices.join(", "));
        problem(source, line_of(text, name), &format!("values.{name}"), &message, Some(&hint))
    };
    unknown.map(say).collect()
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

//! `meshagent history`, `rollback` and `export`: what was, the way back, and everything as files.

use super::apply::view;
use crate::cli::documents;
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs};
use crate::cli::resolve::Ctx;
use crate::client::rest::{FieldChange, Refusal};
use crate::crd::convert::{ConvertError, to_object};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// What a command is about: `room/desk`.
#[derive(Debug, clap::Args)]
pub struct One {
    /// Kind and name, such as service/web; or an id as the name
    #[arg(value_name = "KIND/NAME", value_parser = kind_and_name)]
    what: (String, String),
    /// Room that it lives in, where several rooms have one of that name
    #[arg(short, long, value_name = "ROOM")]
    room: Option<String>,
}

impl One {
    pub fn kind(&self) -> &str {
        &self.what.0
    }

    pub fn name(&self) -> &str {
        &self.what.1
    }

    pub fn room(&self) -> Option<&str> {
        self.room.as_deref()
    }

    pub fn query(&self) -> Vec<(&'static str, String)> {
        self.room.iter().map(|room| ("room", room.clone())).collect()
    }
}

fn kind_and_name(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('/').filter(|(kind, name)| !kind.is_empty() && !name.is_empty());
    parts
        .map(|(kind, name)| (kind.to_owned(), name.to_owned()))
        .ok_or_else(|| "want KIND/NAME, such as service/web".to_owned())
}

/// Show who changed what of a resource, and when.
#[derive(Debug, clap::Args)]
#[command(after_help = "Also of resources that are gone: the newest that had the name.\n\n\
                        Example:\n  meshagent history service/web --room desk")]
pub struct HistoryArgs {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    output: OutputArgs,
}

/// Bring back what was applied, as it was at a moment.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Everything that the source applied is made as it was then, all in one transaction. What it made since is deleted;\n\
                        what was there already is let go of and stays. Positions are those of `meshagent events` and `meshagent history`.\n\n\
                        Examples:\n  meshagent rollback --to 1234 --dry-run\n  meshagent rollback --to 2026-01-31T12:00:00Z --source shop"
)]
pub struct RollbackArgs {
    /// Position of the log, or a time
    #[arg(long, value_name = "POSITION|TIME")]
    to: String,
    /// Whose resources [default: the only source there is]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Write every resource of the project as a file, to keep in a repository.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Applying what was exported changes nothing but who holds it. The values of secrets are not among it.\n\n\
                        Examples:\n  meshagent export specs && meshagent diff -f specs\n  \
                        meshagent export objects --as kubernetes --namespace shop && kubectl apply -R -f objects\n  \
                        meshagent export objects --as kubernetes -f specs    without a server"
)]
pub struct ExportArgs {
    /// Folder to write to; it is made, and must be empty
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// As it was then
    #[arg(long, value_name = "POSITION|TIME")]
    at: Option<String>,
    /// As documents, or as custom resources of `meshagent operator`
    #[arg(long = "as", value_enum, default_value_t = Shape::Documents, value_name = "SHAPE")]
    shape: Shape,
    /// Namespace of custom resources [default: that of who applies them]
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Instead of what the server has: file, folder, URL, or `-` for stdin; may be given several times
    #[arg(short, long = "file", value_name = "FILE|DIR|URL|-", conflicts_with = "at")]
    files: Vec<PathBuf>,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Shape {
    Documents,
    Kubernetes,
}

pub async fn history(ctx: &Ctx, args: HistoryArgs) -> Result<(), CliError> {
    let (one, project) = (&args.one, ctx.project()?);
    let answer = project.history(one.kind(), one.name(), &one.query()).await?;
    if args.output.output == Format::Json {
        return output::json(&answer);
    }
    let mut text = String::new();
    for past in answer["history"].as_array().into_iter().flatten() {
        let word = |key: &str| past[key].as_str().unwrap_or_default().to_owned();
        let behalf = past["on_behalf_of"].as_str().map(|who| format!(" for {who}")).unwrap_or_default();
        let head = [past["position"].to_string(), word("at"), word("event"), word("actor")].join("  ");
        let _ = writeln!(text, "{head}{behalf}");
        let changes: Vec<FieldChange> = serde_json::from_value(past["changes"].clone()).unwrap_or_default();
        for change in &changes {
            view::field(&mut text, change, view::in_colour());
        }
    }
    output::data(&text)
}

pub async fn rollback(ctx: &Ctx, args: RollbackArgs) -> Result<(), CliError> {
    let plan = ctx.project()?.rollback(&args.to, args.source.as_deref(), args.dry_run).await;
    let plan = plan.map_err(|refusal| match refusal {
        Refusal::Problems(problems, count) => view::problems(&[], &problems, count),
        Refusal::Other(error) => error.into(),
    })?;
    if args.dry_run {
        return output::data(&view::plan(&plan, view::in_colour()));
    }
    for step in plan.steps.iter().filter(|step| step.action != "unchanged") {
        output::line(view::line(step, false))?;
    }
    output::note(format!("Rolled back what `{}` applied to {}.", plan.source, args.to));
    Ok(())
}

pub async fn export(ctx: &Ctx, args: ExportArgs) -> Result<(), CliError> {
    let documents = if args.files.is_empty() {
        ctx.project()?.documents(args.at.as_deref()).await?
    } else {
        documents::read_all(&args.files).await?
    };
    let dir = args.dir;
    let failed = |error: std::io::Error| CliError::user(format!("cannot write {}: {error}", dir.display()));
    fs::create_dir_all(&dir).map_err(failed)?;
    if fs::read_dir(&dir).map_err(failed)?.next().is_some() {
        return Err(CliError::user(format!("{} is not empty", dir.display())).hint("name a new folder"));
    }
    let files = match args.shape {
        Shape::Documents => files_of(documents),
        Shape::Kubernetes => objects_of(documents, args.namespace.as_deref())?,
    };
    let count = files.len();
    for (path, document) in files {
        write(&dir.join(path), &document)?;
    }
    output::note(format!("Wrote {count} documents to {}.", dir.display()));
    Ok(())
}

/// Each document with its file: `rooms` have a folder of their own for what lives in them.
fn files_of(documents: Vec<Value>) -> BTreeMap<PathBuf, Value> {
    let mut files = BTreeMap::new();
    for document in documents {
        let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
        let room = text("/metadata/annotations/meshagent.room").or_else(|| text("/room"));
        let kind =
            text("/kind").and_then(crate::spec::Kind::from_text).map_or("other", crate::spec::Kind::slug);
        let name = text("/metadata/name").or_else(|| text("/address")).unwrap_or_default();
        let mut folder = PathBuf::new();
        if let Some(room) = room {
            folder.push("rooms");
            folder.push(file_name(room));
        }
        folder.push(kind);
        let mut path = folder.join(format!("{}.yaml", file_name(name)));
        let mut again = 1;
        while files.contains_key(&path) {
            again += 1;
            path = folder.join(format!("{}-{again}.yaml", file_name(name)));
        }
        files.insert(path, document);
    }
    files
}

/// Each document as a custom resource with its file. Kinds that are no resources of a project stay behind.
fn objects_of(documents: Vec<Value>, namespace: Option<&str>) -> Result<BTreeMap<PathBuf, Value>, CliError> {
    let mut files = BTreeMap::new();
    for document in documents {
        let object = match to_object(&document, namespace) {
            Ok(object) => object,
            Err(error @ ConvertError::Kind(_)) => {
                output::note(format!("left out: {error}"));
                continue;
            }
            Err(error) => return Err(CliError::user(error.to_string())),
        };
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let kind = crate::spec::Kind::from_text(text("/kind")).map_or("other", crate::spec::Kind::slug);
        let path = PathBuf::from(kind).join(format!("{}.yaml", text("/metadata/name")));
        if files.contains_key(&path) {
            return Err(CliError::user(format!("two documents are {kind} {}", text("/metadata/name"))));
        }
        files.insert(path, object);
    }
    Ok(files)
}

/// Names come from everywhere; files get letters, digits and a few signs.
fn file_name(name: &str) -> String {
    let plain =
        |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '@' | '.') { c } else { '_' };
    let name: String = name.chars().map(plain).take(100).collect();
    if name.starts_with('.') || name.is_empty() { format!("_{name}") } else { name }
}

fn write(path: &Path, document: &Value) -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::user(format!("cannot write {}: {error}", path.display()));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let text = serde_yaml::to_string(&ordered(document))
        .map_err(|error| CliError::internal(format!("cannot write this as YAML: {error}")))?;
    fs::write(path, text).map_err(failed)
}

/// With version, kind and metadata first, as people write them.
fn ordered(document: &Value) -> serde_yaml::Value {
    const FIRST: [&str; 4] = ["apiVersion", "version", "kind", "metadata"];
    let mut mapping = serde_yaml::Mapping::new();
    let Some(object) = document.as_object() else { return serde_yaml::Value::Null };
    let first = FIRST.into_iter().filter_map(|key| object.get_key_value(key));
    let rest = object.iter().filter(|(key, _)| !FIRST.contains(&key.as_str()));
    for (key, value) in first.chain(rest) {
        let value = serde_yaml::to_value(value).unwrap_or_default();
        mapping.insert(serde_yaml::Value::String(key.clone()), value);
    }
    serde_yaml::Value::Mapping(mapping)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_document_gets_a_file_of_its_own_inside_the_folder() {
        let room = |name: &str| json!({"version": "v1", "kind": "Room", "metadata": {"name": name}});
        let service = json!({"version": "v1", "kind": "Service",
            "metadata": {"name": "../up", "annotations": {"meshagent.room": "desk"}}});
        let mailbox = json!({"kind": "Mailbox", "address": "a@b", "room": "desk"});
        let same = json!({"version": "v1", "kind": "Service",
            "metadata": {"name": "..|up", "annotations": {"meshagent.room": "desk"}}});
        let files = files_of(vec![room("desk"), service, mailbox, same]);
        let paths: Vec<String> = files.keys().map(|path| path.display().to_string()).collect();
        assert_eq!(
            paths,
            [
                "room/desk.yaml",
                "rooms/desk/mailbox/a@b.yaml",
                "rooms/desk/service/_.._up-2.yaml",
                "rooms/desk/service/_.._up.yaml",
            ]
        );
        let text = serde_yaml::to_string(&ordered(&room("desk"))).unwrap();
        assert!(text.starts_with("version: v1\nkind: Room\nmetadata:"), "{text}");
    }
}

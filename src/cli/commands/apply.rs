//! `meshagent apply`: documents made to be, through REST. Everything is read and checked before anything is changed.

use super::service::{self, put_service};
use crate::cli::documents::{self, FilesArg};
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::Ctx;
use crate::client::rest::{Mailbox, ProjectRest, ServiceBody, ServiceScope, TaskFilter};
use crate::spec::{self, Document, Written};
use serde_json::{Value, json};

/// Create or change resources so that they are as the documents say.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  meshagent apply -f specs/quickstart\n  \
                        meshagent process spec --agent-name helper --channel queue:jobs | meshagent apply --room my-room -f -\n\n\
                        All documents are checked before the first is applied. A document that does not say its room\n\
                        (annotation meshagent.room) belongs to --room, or without --room, if it is a Service, to the project.")]
pub struct Args {
    #[command(flatten)]
    files: FilesArg,
    /// Room of the documents that do not say theirs
    #[arg(short, long, value_name = "ROOM")]
    room: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// What became of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Created,
    Configured,
    Unchanged,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

pub async fn run(ctx: &Ctx, args: Args) -> Result<(), CliError> {
    let texts = documents::read(&args.files.files).await?;
    let mut written = documents::parse(&texts)?;
    refuse_what_cannot_be(&written, args.room.as_deref())?;
    written.sort_by_key(|written| written.document.kind());
    let apply = Apply { project: ctx.project()?, room: args.room, dry_run: args.dry_run };
    for Written { document, source, line } in &written {
        let outcome = apply.one(document).await.map_err(|error| place(error, source, *line, document))?;
        let (kind, name) = (document.kind().as_str().to_lowercase(), document.name());
        let dry = if apply.dry_run { " (dry run)" } else { "" };
        output::line(format!("{kind}/{name} {}{dry}", outcome.word()))?;
    }
    Ok(())
}

fn place(error: CliError, source: &str, line: usize, document: &Document) -> CliError {
    let label = format!("{source}:{line}: {} `{}`", document.kind(), document.name());
    CliError::user(format!("{label} could not be applied: {error}"))
}

/// All documents that could never be applied, said at once.
fn refuse_what_cannot_be(written: &[Written], room: Option<&str>) -> Result<(), CliError> {
    let problems: Vec<String> = written
        .iter()
        .filter_map(|Written { document, source, line }| {
            let why = obstacle(document, room)?;
            Some(format!("{source}:{line}: {} `{}`: {why}", document.kind(), document.name()))
        })
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(CliError::user(format!("nothing was changed\n{}", problems.join("\n"))))
}

fn obstacle(document: &Document, room: Option<&str>) -> Option<&'static str> {
    match document {
        Document::Project(_) => Some("projects are made with `meshagent project create`"),
        Document::ServiceTemplate(_) => {
            Some("a template needs values; use `meshagent service create-template --value KEY=VALUE`")
        }
        Document::Route(_) => Some("routes are checked by this version but not served yet"),
        Document::ScheduledTask(_) if document.name().is_empty() => {
            Some("give it `metadata.name`, or each apply would make another")
        }
        Document::ScheduledTask(_) if document.room().or(room).is_none() => {
            Some("it belongs to a room; pass --room ROOM or annotate it with `meshagent.room`")
        }
        _ => None,
    }
}

struct Apply {
    project: ProjectRest,
    room: Option<String>,
    dry_run: bool,
}

impl Apply {
    async fn one(&self, document: &Document) -> Result<Outcome, CliError> {
        let room = document.room().or(self.room.as_deref());
        match document {
            Document::Room(room) => self.room(room).await,
            Document::ServiceAccount(account) => self.account(account).await,
            Document::Service(service) => self.service(service, &service::scope(room)).await,
            Document::ScheduledTask(task) => self.task(task, room.unwrap_or_default()).await,
            Document::Mailbox(mailbox) => self.mailbox(mailbox).await,
            // Refused before.
            Document::Project(_) | Document::ServiceTemplate(_) | Document::Route(_) => {
                Ok(Outcome::Unchanged)
            }
        }
    }

    async fn room(&self, room: &spec::Room) -> Result<Outcome, CliError> {
        let name = &room.metadata.name;
        let wanted = json!({
            "name": name, "metadata": room.properties, "annotations": room.metadata.annotations,
            "enabled": room.enabled,
        });
        let Some(old) = self.project.room(name).await? else {
            if !self.dry_run {
                let (metadata, annotations) = (&wanted["metadata"], &wanted["annotations"]);
                let made = self.project.create_room(name, false, metadata, annotations).await?;
                if !room.enabled {
                    self.project.update_room(&made.id, &wanted).await?;
                }
            }
            return Ok(Outcome::Created);
        };
        let is = json!({
            "name": old.name, "metadata": old.metadata, "annotations": old.annotations, "enabled": old.enabled,
        });
        if is == wanted {
            return Ok(Outcome::Unchanged);
        }
        if !self.dry_run {
            self.project.update_room(&old.id, &wanted).await?;
        }
        Ok(Outcome::Configured)
    }

    async fn account(&self, account: &spec::ServiceAccount) -> Result<Outcome, CliError> {
        let mut wanted = json!({
            "name": account.metadata.name, "description": account.description.as_deref().unwrap_or_default(),
            "display_name": account.display_name, "annotations": account.metadata.annotations,
        });
        let Some(old) = self.project.service_account(&account.metadata.name).await? else {
            if !self.dry_run {
                self.project.create_service_account(&wanted).await?;
            }
            return Ok(Outcome::Created);
        };
        let is = json!({
            "name": old.name, "description": old.description.unwrap_or_default(),
            "display_name": old.display_name, "annotations": old.annotations,
        });
        if is == wanted {
            return Ok(Outcome::Unchanged);
        }
        wanted["metadata"] = json!(old.metadata);
        if !self.dry_run {
            self.project.update_service_account(&old.id, &wanted).await?;
        }
        Ok(Outcome::Configured)
    }

    async fn service(&self, service: &spec::Service, scope: &ServiceScope) -> Result<Outcome, CliError> {
        let wanted = serde_json::to_value(service)?;
        let old = self.project.service(scope, &service.metadata.name).await?;
        let outcome = match &old {
            None => Outcome::Created,
            Some(old) if comparable(old.clone()) == comparable(wanted.clone()) => Outcome::Unchanged,
            Some(_) => Outcome::Configured,
        };
        if !self.dry_run && outcome != Outcome::Unchanged {
            let id = old.as_ref().map(service::id);
            put_service(&self.project, scope, id, &ServiceBody::Spec(wanted)).await?;
        }
        Ok(outcome)
    }

    async fn task(&self, task: &spec::ScheduledTask, room: &str) -> Result<Outcome, CliError> {
        let wanted = serde_json::to_value(task)?;
        let name = task.metadata.name.as_deref();
        let room_id = self.project.room(room).await?.map(|room| room.id);
        let old = match room_id {
            None if self.dry_run => None,
            None => return Err(CliError::user(format!("there is no room `{room}`"))),
            Some(room_id) => {
                let filter = TaskFilter { room_id: Some(room_id), ..TaskFilter::default() };
                let tasks = self.project.tasks(&filter).await?;
                tasks
                    .into_iter()
                    .find(|old| old.spec.pointer("/metadata/name").and_then(Value::as_str) == name)
            }
        };
        let Some(old) = old else {
            if !self.dry_run {
                self.project.create_task(room, &wanted).await?;
            }
            return Ok(Outcome::Created);
        };
        if comparable(old.spec) == comparable(wanted.clone()) {
            return Ok(Outcome::Unchanged);
        }
        if !self.dry_run {
            self.project.update_task(&old.id, &wanted).await?;
        }
        Ok(Outcome::Configured)
    }

    async fn mailbox(&self, mailbox: &spec::Mailbox) -> Result<Outcome, CliError> {
        let wanted = Mailbox {
            address: mailbox.address.clone(),
            room: mailbox.room.clone(),
            room_id: None,
            queue: mailbox.queue.clone(),
            public: mailbox.public,
            annotations: mailbox.annotations.clone(),
        };
        let Some(old) = self.project.mailbox(&mailbox.address).await? else {
            if !self.dry_run {
                self.project.create_mailbox(&wanted).await?;
            }
            return Ok(Outcome::Created);
        };
        if json!(Mailbox { room_id: None, ..old }) == json!(wanted) {
            return Ok(Outcome::Unchanged);
        }
        if !self.dry_run {
            self.project.update_mailbox(&wanted).await?;
        }
        Ok(Outcome::Configured)
    }
}

/// A document without what does not count: the server's id, and members that are null.
fn comparable(mut document: Value) -> Value {
    if let Some(object) = document.as_object_mut() {
        object.remove("id");
    }
    without_nulls(document)
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let kept = object.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_the_servers_id_do_not_make_a_difference() {
        let is = json!({"id": "1", "a": null, "b": [{"c": null, "d": 1}]});
        assert_eq!(comparable(is), json!({"b": [{"d": 1}]}));
    }

    #[test]
    fn what_can_never_be_applied_is_said_before_anything_happens() {
        let text = "version: v1\nkind: ScheduledTask\nschedule: 1 day\nqueue: {name: q}\n---\n\
                    version: v1\nkind: Project\nmetadata: {name: p}\n";
        let written = spec::parse_files(&[("f.yaml", text)]).unwrap();
        let message = refuse_what_cannot_be(&written, None).unwrap_err().to_string();
        assert!(
            message.contains("f.yaml:1: ScheduledTask") && message.contains("f.yaml:6: Project"),
            "{message}"
        );
        assert!(message.starts_with("nothing was changed"), "{message}");
    }
}

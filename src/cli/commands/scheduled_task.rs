//! `meshagent scheduled-task …`.

use super::rooms;
use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::cli::resolve::{Ctx, RoomArg};
use crate::client::rest::{ProjectRest, Task, TaskFilter};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Work with scheduled tasks: a schedule that puts work into a room's queue.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Add a task, by flags or from a file
    #[command(after_help = "Examples:\n  \
        meshagent scheduled-task add --room my-room --queue support-jobs --schedule \"30 17 * * *\" \\\n      \
        --payload '{\"prompt\":\"Generate the daily support summary\"}'\n  \
        meshagent scheduled-task add --room my-room --file task.yaml\n\n\
        Schedules are cron lines (UTC unless the task says otherwise) or intervals such as `15 minutes`.")]
    Add(Add),
    /// List tasks
    List(List),
    /// Change a task: what is not named stays; --file replaces it whole
    #[command(
        after_help = "Example:\n  meshagent scheduled-task update TASK_ID --schedule \"0 18 * * *\" --active"
    )]
    Update(Update),
    /// List the firings of a task, newest first
    Runs(Runs),
    /// Delete a task
    Delete { task_id: String },
}

/// The parts of a task that flags can say.
#[derive(Debug, Default, clap::Args)]
pub struct Parts {
    /// Queue that gets the work
    #[arg(short, long)]
    queue: Option<String>,
    /// When: a cron line, or an interval such as `15 minutes`
    #[arg(short, long)]
    schedule: Option<String>,
    /// What is put into the queue, a JSON object
    #[arg(short, long, value_name = "JSON", value_parser = args::json_object)]
    payload: Option<Map<String, Value>>,
    /// Name of the task
    #[arg(long)]
    name: Option<String>,
    /// Let it fire
    #[arg(long, conflicts_with = "inactive")]
    active: bool,
    /// Keep it from firing
    #[arg(long)]
    inactive: bool,
    /// Fire once, then never again: --once, or --once=false
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    once: Option<bool>,
}

const PARTS: [&str; 7] = ["queue", "schedule", "payload", "name", "active", "inactive", "once"];

#[derive(Debug, clap::Args)]
pub struct Add {
    #[command(flatten)]
    room: RoomArg,
    /// A `kind: ScheduledTask` file; `-` is stdin
    #[arg(short, long, value_name = "FILE", conflicts_with_all = PARTS)]
    file: Option<PathBuf>,
    #[command(flatten)]
    parts: Parts,
}

#[derive(Debug, clap::Args)]
pub struct Update {
    task_id: String,
    /// A `kind: ScheduledTask` file that replaces the task; `-` is stdin
    #[arg(short, long, value_name = "FILE", conflicts_with_all = PARTS)]
    file: Option<PathBuf>,
    #[command(flatten)]
    parts: Parts,
}

#[derive(Debug, clap::Args)]
pub struct List {
    #[command(flatten)]
    room: RoomArg,
    /// Only this task
    #[arg(long, alias = "task-id", value_name = "ID")]
    id: Option<String>,
    /// Only active ones
    #[arg(long, conflicts_with = "inactive")]
    active: bool,
    /// Only inactive ones
    #[arg(long)]
    inactive: bool,
    /// Only those whose queue or name contains this
    #[arg(long)]
    filter: Option<String>,
    /// Most tasks to show
    #[arg(long, default_value_t = 100)]
    count: usize,
    /// Tasks to skip
    #[arg(long, default_value_t = 0)]
    offset: usize,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub struct Runs {
    task_id: String,
    /// Most runs to show
    #[arg(long, default_value_t = 100)]
    count: usize,
    /// Runs to skip
    #[arg(long, default_value_t = 0)]
    offset: usize,
    #[command(flatten)]
    output: OutputArgs,
}

const COLUMNS: [&str; 9] = [
    "id",
    "room_name",
    "target",
    "queue_name",
    "container_image",
    "schedule",
    "active",
    "once",
    "last_status",
];

const RUN_COLUMNS: [&str; 11] = [
    "id",
    "target",
    "status",
    "attempt_count",
    "scheduled_time",
    "timeout_at",
    "started_at",
    "lease_expires_at",
    "completed_at",
    "container_id",
    "error",
];

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    let project = ctx.project()?;
    match command {
        Command::Add(args) => {
            let spec = match &args.file {
                Some(file) => read_spec(file)?,
                None => args.parts.whole()?.apply(blank()),
            };
            let id = project.create_task(args.room.name()?, &spec).await?;
            output::note(format!("Created scheduled task: {id}"));
            output::line(id)
        }
        Command::List(args) => list(&project, args).await,
        Command::Update(args) => {
            let spec = if let Some(file) = &args.file {
                read_spec(file)?
            } else {
                args.parts.demand_some()?;
                args.parts.apply(find(&project, &args.task_id).await?.spec)
            };
            project.update_task(&args.task_id, &spec).await.map_err(|error| unknown(&args.task_id, error))?;
            output::note(format!("Updated scheduled task: {}", args.task_id));
            Ok(())
        }
        Command::Runs(args) => runs(&project, args).await,
        Command::Delete { task_id } => {
            project.delete_task(&task_id).await.map_err(|error| unknown(&task_id, error))?;
            output::note(format!("Deleted scheduled task: {task_id}"));
            Ok(())
        }
    }
}

/// A task with nothing in it yet.
fn blank() -> Value {
    json!({"version": "v1", "kind": "ScheduledTask", "metadata": {"annotations": {}}, "active": true, "once": false})
}

impl Parts {
    /// Errors if a new task could not be made out of these.
    fn whole(self) -> Result<Self, CliError> {
        if self.queue.is_some() && self.schedule.is_some() {
            return Ok(self);
        }
        Err(CliError::usage("a task needs --queue and --schedule, or --file").hint(
            "for example: --queue support-jobs --schedule \"30 17 * * *\" --payload '{\"prompt\": \"…\"}'",
        ))
    }

    fn demand_some(&self) -> Result<(), CliError> {
        let texts = [&self.queue, &self.schedule, &self.name];
        let some = texts.into_iter().any(Option::is_some) || self.payload.is_some() || self.once.is_some();
        if some || self.active || self.inactive {
            return Ok(());
        }
        Err(CliError::usage("nothing to change")
            .hint("name a part (--schedule, --queue, --payload, --active, --inactive, --once, --name) or pass --file"))
    }

    /// The task with these parts put in.
    fn apply(self, mut spec: Value) -> Value {
        if let Some(schedule) = self.schedule {
            spec["schedule"] = schedule.into();
        }
        if let Some(name) = self.name {
            spec["metadata"]["name"] = name.into();
        }
        if self.active || self.inactive {
            spec["active"] = self.active.into();
        }
        if let Some(once) = self.once {
            spec["once"] = once.into();
        }
        if let Some(queue) = self.queue {
            spec["queue"]["name"] = queue.into();
            if let Some(spec) = spec.as_object_mut() {
                spec.remove("container");
            }
        }
        if let Some(payload) = self.payload {
            spec["queue"]["payload"] = Value::Object(payload);
        }
        spec
    }
}

fn read_spec(file: &std::path::Path) -> Result<Value, CliError> {
    let text = args::read_text(file)?;
    serde_yaml::from_str(&text)
        .map_err(|error| CliError::user(format!("{} is not YAML: {error}", file.display())))
}

async fn list(project: &ProjectRest, args: List) -> Result<(), CliError> {
    let room_id = match &args.room.room {
        Some(room) => Some(rooms::find(project, room).await?.id),
        None => None,
    };
    let active = (args.active || args.inactive).then_some(args.active);
    let filter = TaskFilter { room_id, task_id: args.id, active, filter: args.filter };
    let tasks = project.tasks(&filter).await?;
    let tasks: Vec<Task> = tasks.into_iter().skip(args.offset).take(args.count).collect();
    if args.output.output == Format::Json {
        return output::json(&json!({"scheduled_tasks": tasks}));
    }
    let mut table = Table::new(&COLUMNS);
    for task in &tasks {
        table.object(&row(task));
    }
    table.print("No scheduled tasks found.")
}

/// A task's table row; what the answer does not say flat is taken from its spec.
fn row(task: &Task) -> Value {
    let spec = &task.spec;
    let queue = spec.get("queue").filter(|queue| !queue.is_null());
    json!({
        "id": task.id, "room_name": task.room_name,
        "target": if queue.is_some() { "queue" } else { "container" },
        "queue_name": queue.map(|queue| &queue["name"]),
        "container_image": spec.pointer("/container/image"),
        "schedule": spec["schedule"], "active": spec["active"], "once": spec["once"],
        "last_status": task.other.get("last_status"),
    })
}

async fn runs(project: &ProjectRest, args: Runs) -> Result<(), CliError> {
    let runs = project.task_runs(&args.task_id, args.count, args.offset).await;
    let runs = runs.map_err(|error| unknown(&args.task_id, error))?;
    if args.output.output == Format::Json {
        return output::json(&json!({"runs": runs}));
    }
    let mut table = Table::new(&RUN_COLUMNS);
    for run in &runs {
        table.object(&serde_json::to_value(run)?);
    }
    table.print("No runs found.")
}

async fn find(project: &ProjectRest, id: &str) -> Result<Task, CliError> {
    project.task(id).await?.ok_or_else(|| missing(id))
}

fn unknown(id: &str, error: crate::client::rest::RestError) -> CliError {
    if error.is_not_found() { missing(id) } else { error.into() }
}

fn missing(id: &str) -> CliError {
    CliError::user(format!("there is no scheduled task `{id}`"))
        .hint("`meshagent scheduled-task list` shows those there are")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_keeps_what_it_does_not_name() {
        let parts = Parts { schedule: Some("0 18 * * *".into()), active: true, ..Parts::default() };
        let old = json!({"schedule": "x", "active": false, "queue": {"name": "q", "payload": {"a": 1}}});
        let new = parts.apply(old);
        assert_eq!(
            new,
            json!({"schedule": "0 18 * * *", "active": true, "queue": {"name": "q", "payload": {"a": 1}}})
        );
        assert!(Parts::default().demand_some().is_err());
    }

    #[test]
    fn naming_a_queue_makes_a_container_task_a_queue_task() {
        let parts = Parts { queue: Some("q".into()), ..Parts::default() };
        let new = parts.apply(json!({"schedule": "x", "container": {"image": "i"}}));
        assert_eq!(new, json!({"schedule": "x", "queue": {"name": "q"}}));
    }
}

//! `meshagent room agent …`: what can be called in a room, and calling it.

mod call;

use super::{connect, missing};
use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::{Ctx, RoomArg};
use crate::client::room::{Answer, RoomClient, Target, ToolkitFilter, ToolkitInfo};
use crate::wire::Content;
use base64::Engine;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// How often a room is asked whether the toolkit has come.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Work with the toolkits of a room and of those in it.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List toolkits and their tools as JSON
    ListToolkits {
        #[command(flatten)]
        room: RoomArg,
        /// Also the private toolkits of this participant
        #[arg(long, value_name = "ID")]
        participant_id: Option<String>,
        /// Role to enter the room with
        #[arg(long, default_value = "user", value_parser = ["user"], hide = true)]
        role: String,
    },
    /// Call a tool and print what it answers, as JSON
    #[command(
        after_help = "Example:\n  meshagent room agent invoke-tool --room my-room --toolkit support-agent \\\n      \
                            --tool run_support_agent_task --arguments '{\"prompt\":\"Draft a reply.\"}'"
    )]
    InvokeTool(InvokeTool),
    /// Call an agent or toolkit that runs elsewhere into the room, by its webhook
    #[command(subcommand)]
    Call(call::Command),
}

#[derive(Debug, clap::Args)]
pub struct InvokeTool {
    #[command(flatten)]
    room: RoomArg,
    /// Name of the toolkit
    #[arg(long)]
    toolkit: String,
    /// Name of the tool
    #[arg(long)]
    tool: String,
    /// Arguments, a JSON object
    #[arg(long, value_name = "JSON", value_parser = args::json_object)]
    arguments: Map<String, Value>,
    /// Participant that hosts the toolkit
    #[arg(long, value_name = "ID")]
    participant_id: Option<String>,
    /// Participant on whose behalf the tool is called
    #[arg(long, value_name = "ID")]
    on_behalf_of_id: Option<String>,
    /// Seconds to wait for the toolkit to join the room
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    timeout: u64,
}

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    match command {
        Command::ListToolkits { room, participant_id, .. } => {
            let client = connect(ctx, room.name()?).await?;
            let filter = ToolkitFilter { participant_id, ..ToolkitFilter::default() };
            let toolkits = client.list_toolkits(&filter).await?;
            output::json(&toolkits.iter().map(describe).collect::<Vec<Value>>())
        }
        Command::InvokeTool(args) => invoke(ctx, args).await,
        Command::Call(command) => call::run(ctx, command).await,
    }
}

fn describe(toolkit: &ToolkitInfo) -> Value {
    let tools = toolkit.tools.iter().map(|(name, tool)| {
        let schema = tool.pointer("/input_spec/schema").or_else(|| tool.get("input_schema"));
        json!({
            "name": name, "title": tool["title"], "description": tool["description"],
            "input_schema": schema, "defs": tool["defs"],
        })
    });
    json!({
        "name": toolkit.name, "title": toolkit.title, "description": toolkit.description,
        "annotations": toolkit.annotations, "tools": tools.collect::<Vec<Value>>(),
    })
}

async fn invoke(ctx: &Ctx, args: InvokeTool) -> Result<(), CliError> {
    let client = connect(ctx, args.room.name()?).await?;
    let toolkit = wait_for(&client, &args).await?;
    if !toolkit.tools.contains_key(&args.tool) {
        let what = format!("tool in toolkit `{}` by the name", args.toolkit);
        return Err(missing(&what, &args.tool, toolkit.tools.keys().map(String::as_str)));
    }
    let target = Target {
        toolkit: args.toolkit,
        tool: args.tool,
        participant_id: args.participant_id,
        on_behalf_of_id: args.on_behalf_of_id,
    };
    let mut call = client.start(&target, Some(Content::Json(Value::Object(args.arguments)))).await?;
    match call.answer().await? {
        Answer::Unary(content) => print(content),
        Answer::Stream => {
            while let Some(item) = call.next().await? {
                print(item)?;
            }
            Ok(())
        }
    }
}

/// Waits until the toolkit is in the room; after the time-out says which ones are.
async fn wait_for(client: &RoomClient, args: &InvokeTool) -> Result<ToolkitInfo, CliError> {
    let filter = ToolkitFilter { participant_id: args.participant_id.clone(), ..ToolkitFilter::default() };
    let end = Instant::now() + Duration::from_secs(args.timeout);
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = false;
    loop {
        look.tick().await;
        let toolkits = client.list_toolkits(&filter).await?;
        if let Some(found) = toolkits.iter().find(|toolkit| toolkit.name == args.toolkit) {
            return Ok(found.clone());
        }
        if Instant::now() >= end {
            output::note("Timed out waiting for toolkit to join the room");
            return Err(missing("toolkit", &args.toolkit, toolkits.iter().map(|t| t.name.as_str())));
        }
        if !told {
            output::note(format!("Waiting for toolkit {} to join the room...", args.toolkit));
            told = true;
        }
    }
}

/// Prints a content as one JSON object. Of a file its size; other bytes go in `data` as base64.
fn print(content: Content) -> Result<(), CliError> {
    let is_file = matches!(content, Content::File { .. });
    let (mut object, data) = content.into_parts();
    if is_file {
        object.insert("size_bytes".into(), data.len().into());
    } else if !data.is_empty() {
        let text = base64::engine::general_purpose::STANDARD.encode(&data);
        object.insert("data".into(), text.into());
    }
    output::json(&object)
}

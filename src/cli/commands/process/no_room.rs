//! `process run --no-room`: an agent without a room. What needs one is refused by name.

use super::args::{JoinOnly, ProcessArgs, named, on};
use super::config::{self, EndpointsEnv, Place};
use super::join::JoinArgs;
use crate::agent::{self, AgentChannel};
use crate::cli::error::CliError;
use crate::cli::resolve::Ctx;
use crate::cli::settings;
use crate::client::room::{Options, Token};

/// Name of the agent unless another is given.
const NAME: &str = "agent";

/// The agent that the flags ask for, in no room.
///
/// Errors: a flag needs a room; otherwise as for an agent in one.
pub fn config(ctx: &Ctx, args: &JoinArgs) -> Result<agent::Config, CliError> {
    let refused = [channels(&args.process), needs_room(&args.process), joins(&args.join)].concat();
    if !refused.is_empty() {
        return Err(CliError::user(format!("--no-room does not go with {}", refused.join(", ")))
            .hint("leave these out, or name a room with --room"));
    }
    let own = settings::env("MESHAGENT_TOKEN");
    if args.process.program.program_token && own.is_none() {
        return Err(CliError::user(
            "--program-token gives the program the agent's token, and without a room it has none",
        )
        .hint("set MESHAGENT_TOKEN to a token for it, or name a room with --room"));
    }
    let key = own.or_else(|| ctx.api_key().map(|key| key.expose().to_owned()));
    let named = args.join.agent_name.clone().filter(|name| !name.is_empty());
    let place = Place {
        agent_name: named.unwrap_or_else(|| NAME.to_owned()),
        room: Options::nowhere(Token::new(key.unwrap_or_default())),
        api_url: ctx.api_url().ok(),
    };
    let mut config = config::config(args, place, &EndpointsEnv::read(settings::env))?;
    config.threads.stored = false;
    config.threads.dir = config.threads.dir.replacen("dataset://", "tmp://", 1);
    Ok(config)
}

/// A socket needs no room, everything else brings work of one.
fn channels(process: &ProcessArgs) -> Vec<String> {
    let alone =
        |channel: &&AgentChannel| matches!(channel, AgentChannel::Memory | AgentChannel::WebSocket { .. });
    process
        .channels
        .iter()
        .filter(|channel| !alone(channel))
        .map(|channel| format!("--channel {channel}"))
        .collect()
}

fn joins(join: &JoinOnly) -> Vec<String> {
    named(&[
        ("document-authoring", join.documents()),
        ("shell-image-mount", !join.shell_image_mounts.is_empty()),
    ])
}

fn needs_room(process: &ProcessArgs) -> Vec<String> {
    let (tools, shell) = (&process.tools, &process.shell);
    let is_on = |switch: &Option<String>| on(switch.as_ref(), false);
    let local_files = !tools.storage_local_paths.is_empty() && tools.storage_room_paths.is_empty();
    let image = shell.shell_image.as_deref().map(str::trim).unwrap_or_default();
    let local_shell = image.eq_ignore_ascii_case("none") || image.eq_ignore_ascii_case("sandbox");
    let stored = process.threads.thread_storages.iter().any(|storage| storage == "dataset");
    named(&[
        ("room-rules", !process.rules.room_rules.is_empty()),
        ("thread-storage dataset", stored),
        ("storage without --storage-tool-local-path", is_on(&tools.storage) && !local_files),
        ("read-only-storage without --storage-tool-local-path", tools.read_only_storage && !local_files),
        ("storage-tool-room-path", !tools.storage_room_paths.is_empty()),
        ("apply-patch without --storage-tool-local-path", is_on(&tools.apply_patch) && !local_files),
        ("require-toolkit", !tools.require_toolkits.is_empty()),
        ("tool-search", tools.tool_search.is_some_and(|scope| scope != super::args::ToolSearch::None)),
        ("schema", !tools.schemas.is_empty()),
        ("image-generation", tools.image_generation.is_some()),
        ("computer-use", is_on(&tools.computer_use)),
        ("discover-script-tools", is_on(&tools.discover_script_tools)),
        ("discovery", tools.discovery),
        ("table-read", !tools.table_reads.is_empty()),
        ("table-write", !tools.table_writes.is_empty()),
        ("use-memory", tools.use_memory.is_some()),
        ("shell without --shell-image none or sandbox", is_on(&shell.shell) && !local_shell),
        ("advanced-shell", shell.advanced_shell),
        ("shell-room-mount", !shell.shell_room_mounts.is_empty()),
    ])
}

//! `meshagent pause` and `resume`: resources that controllers leave alone.

use super::past::One;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::Ctx;
use serde_json::Value;

/// Have the server leave a resource alone: what runs goes on, and nothing is started, replaced, fired or fetched for it.
#[derive(Debug, clap::Args)]
#[command(after_help = "It sets the annotation meshagent.dev/paused, which a document may also say.\n\n\
                        Example:\n  meshagent pause service/web --room desk")]
pub struct Args {
    #[command(flatten)]
    one: One,
    /// Also where another source, such as a repository, says otherwise
    #[arg(long)]
    force_conflicts: bool,
}

pub async fn run(ctx: &Ctx, args: Args, paused: bool) -> Result<(), CliError> {
    let one = &args.one;
    let named = (one.kind(), one.name());
    let resource = ctx.project()?.pause(named, one.room(), (paused, args.force_conflicts)).await?;
    let room = resource.room.as_ref().map(|room| format!(" in room {room}")).unwrap_or_default();
    let is_paused = resource.status.pointer("/reconcile/pausedSince").is_some();
    let word = match (paused, is_paused) {
        (true, _) => "paused",
        (false, false) => "resumed",
        (false, true) => "still paused, by what it is made of",
    };
    output::line(format!("{}/{}{room} {word}", resource.kind.to_lowercase(), resource.name))?;
    match waits(&resource.status) {
        Some(text) if is_paused => {
            output::note(text);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What a pause holds up.
fn waits(status: &Value) -> Option<&str> {
    let conditions = status["conditions"].as_array()?;
    let stalled = conditions.iter().find(|one| one["type"] == "Stalled" && one["reason"] == "Paused")?;
    stalled["message"].as_str()
}

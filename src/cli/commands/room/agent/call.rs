//! `meshagent room agent call …`: an agent or toolkit elsewhere is called into the room by its webhook.

use crate::cli::args;
use crate::cli::commands::room::{connect_by, minted, token_of};
use crate::cli::commands::token::Document;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::{Ctx, RoomArg};
use crate::client::room::room_url;
use crate::client::token::Participant;
use crate::spec::ApiScope;
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use url::{Host, Url};

/// How long a webhook that this command calls by itself may take to answer.
const ANSWER_MAX: Duration = Duration::from_mins(1);

/// What is called; all are called alike.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Call a tool's webhook into the room
    Tool(Call),
    /// Call an agent's webhook into the room
    Agent(Call),
    /// Call a toolkit's webhook into the room
    Toolkit(Call),
    /// Call a schema's webhook into the room
    Schema(Call),
}

#[derive(Debug, clap::Args)]
pub struct Call {
    #[command(flatten)]
    room: RoomArg,
    /// Address of the webhook: http, https, ws or wss
    #[arg(long)]
    url: Url,
    /// Name under which what is called takes part
    #[arg(long, value_name = "NAME")]
    participant_name: String,
    /// Role in which it takes part
    #[arg(long, default_value = "agent")]
    role: String,
    /// Arguments of the call, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = args::json_object)]
    arguments: Map<String, Value>,
    /// Call from here; without it the room calls, unless the address is of this machine or network
    #[arg(long, overrides_with = "no_local")]
    local: bool,
    /// Have the room call, wherever the address is
    #[arg(long, overrides_with = "local")]
    no_local: bool,
    /// `kind: ParticipantToken` file that says what is called may do; without it what agents may
    #[arg(short, long, value_name = "FILE")]
    permissions: Option<PathBuf>,
    /// API key to sign the token with; better set MESHAGENT_API_KEY, for other users can read command lines
    #[arg(long, hide = true)]
    key: Option<String>,
}

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    let (Command::Tool(call) | Command::Agent(call) | Command::Toolkit(call) | Command::Schema(call)) =
        command;
    let room = call.room.name()?;
    let given = call.permissions.as_deref().map(Document::read).transpose()?;
    let api = given.as_ref().map_or_else(ApiScope::agent_default, |document| document.api.clone());
    let name = given.map_or_else(|| call.participant_name.clone(), |document| document.identity);
    let who = Participant {
        name,
        room: Some(room.to_owned()),
        role: Some(call.role.clone()),
        api: Some(json!(api)),
    };
    let is_local = call.local || (!call.no_local && is_near(&call.url));
    let key = call.key.as_deref();
    // What is called never gets the caller's own token, and no more than was said.
    if is_local {
        return from_here(ctx, room, &minted(ctx, &who, key).await?, &call).await;
    }
    let token = if call.permissions.is_some() {
        minted(ctx, &who, key).await?
    } else {
        token_of(ctx, &who, key).await?
    };
    let client = connect_by(ctx, room, token).await?;
    client.call_out(&call.participant_name, call.url.as_str(), &call.arguments).await?;
    client.close().await;
    output::note("Call request sent successfully.");
    Ok(())
}

/// Whether an address is of this machine or its network, which the server may not reach.
fn is_near(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Some(Host::Ipv6(ip)) => {
            IpAddr::V6(ip).is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
        None => true,
    }
}

/// Posts the call as the server does, but for the signature: that is the project's to make.
async fn from_here(ctx: &Ctx, room: &str, token: &str, call: &Call) -> Result<(), CliError> {
    if !matches!(call.url.scheme(), "http" | "https") {
        let error = CliError::user(format!("`{}` cannot be called from here", call.url.scheme()));
        return Err(error
            .hint("pass --no-local: the room calls WebSockets; from here only http and https are called"));
    }
    let data = json!({"room_url": room_url(&ctx.api_url()?, room), "room_name": room, "token": token,
        "arguments": call.arguments});
    let failed = |error: reqwest::Error| {
        CliError::user(format!("the webhook cannot be called: {}", error.without_url()))
    };
    let http = reqwest::Client::builder().timeout(ANSWER_MAX).redirect(reqwest::redirect::Policy::none());
    let request = http.build().map_err(failed)?.post(call.url.clone());
    let answer = request.json(&json!({"event": "room.call", "data": data})).send().await.map_err(failed)?;
    if !answer.status().is_success() {
        return Err(CliError::user(format!("the webhook answered HTTP {}", answer.status().as_u16())));
    }
    output::note("Call request sent successfully.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_network_are_called_from_here() {
        for (url, near) in [
            ("http://localhost:9000/webhook", true),
            ("http://127.0.0.1/w", true),
            ("http://10.1.2.3/w", true),
            ("http://[::1]/w", true),
            ("http://[fd00::1]/w", true),
            ("https://agents.example.com/w", false),
            ("https://8.8.8.8/w", false),
        ] {
            assert_eq!(is_near(&url.parse().unwrap()), near, "{url}");
        }
    }
}

//! `meshagent room connect`: a command of this machine with the room's address and a token in its environment.

use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::resolve::{Ctx, RoomArg};
use crate::client::token::{Participant, sign};
use crate::spec::ApiScope;
use clap::ValueEnum;
use serde_json::{Map, Value, json};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Role of a token that names an identity and no role.
const ROLE: &str = "agent";
/// The project's key, which may do more than any room's token: the command gets it only where --env says so.
const KEY_VARIABLE: &str = "MESHAGENT_API_KEY";
/// Variables that hold the room's token.
const TOKEN_VARIABLES: [&str; 5] =
    ["MESHAGENT_TOKEN", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GROK_API_KEY", "XAI_API_KEY"];
/// Variables with the addresses of models by way of the server, and their paths there.
const MODEL_VARIABLES: [(&str, &str); 4] = [
    ("OPENAI_BASE_URL", "/openai/v1"),
    ("ANTHROPIC_BASE_URL", "/anthropic"),
    ("GROK_BASE_URL", "/grok/v1"),
    ("XAI_BASE_URL", "/grok/v1"),
];

/// Run a command of this machine with a room's address and token in its environment, without the API key of this one.
/// The exit code is the command's.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  meshagent room connect --room my-room -- python agent.py\n  \
                        meshagent room connect --room my-room --identity bot --meshagent-token full -- env")]
pub struct Args {
    #[command(flatten)]
    room: RoomArg,
    /// A further variable; may be given several times
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = args::key_value)]
    env: Vec<(String, String)>,
    /// Name in the room: mints a participant token of its own
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    identity: Option<String>,
    /// Role of that participant [default: agent]
    #[arg(long, requires = "identity", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    role: Option<String>,
    /// What that participant may do: userDefault, agentDefault, full, or an ApiScope as JSON [default: agentDefault]
    #[arg(long, value_name = "SCOPE", requires = "identity", value_parser = scope)]
    meshagent_token: Option<ApiScope>,
    /// Which variables to set
    #[arg(long, value_enum, default_value_t)]
    template: Template,
    /// The command and its arguments, after `--`
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Template {
    /// The room's address and token, and the same for the SDKs of model providers
    #[default]
    Agent,
    /// Only those of --env, and the token where --meshagent-token is given
    None,
}

fn scope(text: &str) -> Result<ApiScope, String> {
    match text.trim() {
        "userDefault" => Ok(ApiScope::user_default()),
        "agentDefault" => Ok(ApiScope::agent_default()),
        "full" => Ok(ApiScope::full()),
        json => serde_json::from_str(json)
            .and_then(|object: Map<String, Value>| serde_json::from_value(Value::Object(object)))
            .map_err(|error| {
                format!(
                    "want userDefault, agentDefault, full, or a JSON object such as {{\"queues\": {{}}}}: {error}"
                )
            }),
    }
}

pub async fn run(ctx: &Ctx, args: Args) -> Result<(), CliError> {
    let ctx = ctx.for_room(args.room.name()?);
    let variables = variables(&ctx, &args).await?;
    let Some((program, arguments)) = args.command.split_first() else {
        return Err(CliError::usage("no command is given").hint("put it after --"));
    };
    // Signals and the exit code are the command's own from here on.
    let error = Command::new(program).args(arguments).env_remove(KEY_VARIABLE).envs(variables).exec();
    let name = program.to_string_lossy();
    Err(CliError::user(format!("cannot start `{name}`: {error}"))
        .hint("check its name and that it may be run"))
}

async fn variables(ctx: &Ctx, args: &Args) -> Result<Vec<(String, String)>, CliError> {
    let (room, token) = match &args.identity {
        Some(identity) => (args.room.name()?.to_owned(), mint(ctx, args, identity).await?),
        None => enter(ctx, args.room.name()?).await?,
    };
    let mut all = Vec::new();
    let mut set = |name: &str, value: &str| all.push((name.to_owned(), value.to_owned()));
    match args.template {
        Template::Agent => {
            let api = ctx.api_url()?;
            set("MESHAGENT_API_URL", &api);
            set("MESHAGENT_PROJECT_ID", &ctx.project_id()?);
            set("MESHAGENT_ROOM", &room);
            TOKEN_VARIABLES.iter().for_each(|name| set(name, &token));
            MODEL_VARIABLES.iter().for_each(|(name, path)| set(name, &format!("{api}{path}")));
        }
        Template::None if args.meshagent_token.is_some() => set("MESHAGENT_TOKEN", &token),
        Template::None => {}
    }
    all.extend(args.env.iter().cloned());
    Ok(all)
}

/// The room's name and a token for it: the environment's own within the room, else one that the server gives.
async fn enter(ctx: &Ctx, room: &str) -> Result<(String, String), CliError> {
    if let Some(token) = ctx.room_token(room) {
        return Ok((room.to_owned(), token.expose().to_owned()));
    }
    let connection = super::ask(ctx, room).await?;
    Ok((connection.room_name, connection.jwt))
}

/// A token for a name: signed here with the API key there is, else by the server.
async fn mint(ctx: &Ctx, args: &Args, name: &str) -> Result<String, CliError> {
    let room = args.room.name()?;
    let api = args.meshagent_token.clone().unwrap_or_else(ApiScope::agent_default).to_token_value();
    let role = args.role.as_deref().unwrap_or(ROLE);
    let Some(key) = ctx.api_key() else {
        let request = json!({"name": name, "room_name": room, "role": role, "api": api});
        return Ok(ctx.project()?.participant_token(&request).await?);
    };
    let participant = Participant {
        name: name.to_owned(),
        room: Some(room.to_owned()),
        role: Some(role.to_owned()),
        api: Some(api),
    };
    sign(key.expose(), &participant).map_err(|error| CliError::user(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_words_or_json() {
        assert_eq!(scope("full").unwrap(), ApiScope::full());
        assert_eq!(scope(" userDefault ").unwrap(), ApiScope::user_default());
        assert!(scope(r#"{"queues": {}}"#).unwrap().queues.is_some());
        for wrong in ["", "all", "[]", r#"{"queue": {}}"#] {
            assert!(scope(wrong).unwrap_err().contains("agentDefault"), "{wrong}");
        }
    }
}

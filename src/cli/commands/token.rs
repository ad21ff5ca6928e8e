//! `meshagent token`: a participant token out of a `kind: ParticipantToken` file.

use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::Ctx;
use crate::cli::settings;
use crate::client::token::{Participant, sign};
use crate::spec::{ApiScope, ParticipantRole};
use serde::Deserialize;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Mint a participant token from a file
#[derive(Debug, clap::Args)]
#[command(after_help = "Example of a file:\n  version: v1\n  kind: ParticipantToken\n  room: my-room\n  \
                        identity: my-bot\n  role: agent\n  api: {llm: {}, queues: {}, messaging: {}}\n\
                        With an API key at hand it is signed here; else the server mints it.")]
pub struct Args {
    /// `kind: ParticipantToken` file; `-` is stdin
    #[arg(short, long, value_name = "FILE")]
    input: PathBuf,
    /// Write the token here (mode 0600) instead of to stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// API key to sign with; better set MESHAGENT_API_KEY, for other users can read command lines
    #[arg(long, hide = true)]
    key: Option<String>,
}

#[derive(Debug, Deserialize)]
enum V1 {
    #[serde(rename = "v1")]
    V1,
}

#[derive(Debug, Deserialize)]
enum Kind {
    ParticipantToken,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "version and kind are read so that they are checked")]
pub struct Document {
    version: V1,
    kind: Kind,
    room: Option<String>,
    /// Participant name in the token.
    pub identity: String,
    role: Option<ParticipantRole>,
    pub api: ApiScope,
}

impl Document {
    /// The document in a file; `-` is stdin.
    pub fn read(path: &Path) -> Result<Self, CliError> {
        let text = args::read_text(path)?;
        let document: Self = serde_path_to_error::deserialize(serde_yaml::Deserializer::from_str(&text))
            .map_err(|error| {
                CliError::user(format!("{} is not a participant token document: {error}", path.display()))
                    .hint("`meshagent token --help` shows one")
            })?;
        if document.api.llm.is_none() {
            let error = CliError::user("the token's `api` has no `llm` grant");
            return Err(error.hint("add `llm: {}` under `api:`"));
        }
        Ok(document)
    }
}

pub async fn run(ctx: &Ctx, args: Args) -> Result<(), CliError> {
    let document = Document::read(&args.input)?;
    let role = document.role.map(|role| json!(role).as_str().unwrap_or_default().to_owned());
    let key = args.key.or_else(|| ctx.api_key().map(|key| key.expose().to_owned()));
    let token = if let Some(key) = key {
        let api = Some(document.api.to_token_value());
        let participant = Participant { name: document.identity, room: document.room, role, api };
        sign(&key, &participant).map_err(|error| CliError::user(error.to_string()))?
    } else {
        let request = json!({
            "name": document.identity, "room_name": document.room, "role": role, "api": document.api,
        });
        ctx.project()?.participant_token(&request).await?
    };
    match args.output {
        None => output::line(token),
        Some(path) => {
            settings::write_private(&path, token.as_bytes())
                .map_err(|error| CliError::user(format!("cannot write {}: {error}", path.display())))?;
            output::note(format!("Token written to {}", path.display()));
            Ok(())
        }
    }
}

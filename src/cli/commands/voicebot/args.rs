//! The flags of `voicebot`, and what they are to a process agent.

use crate::agent;
use crate::agent::AgentChannel;
use crate::agent::config::{Greeting, VoicebotConfig};
use crate::agent::model::ModelId;
use crate::agent::voice::{self, Modality};
use crate::cli::commands::process::join::JoinArgs;
use crate::cli::commands::process::service::no_flags;
use crate::cli::error::CliError;
use std::sync::Arc;

/// Where a voicebot joins, and as whom.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct RoomArgs {
    /// Room to join
    #[arg(long, env = "MESHAGENT_ROOM", value_name = "ROOM", hide_env_values = true)]
    pub room: Option<String>,

    /// Name of the agent; needed where a token is minted
    #[arg(long, env = "MESHAGENT_AGENT_NAME", value_name = "NAME", hide_env_values = true)]
    pub agent_name: Option<String>,

    /// Environment variable that holds the participant token [default: MESHAGENT_TOKEN]
    #[arg(long, value_name = "VARIABLE")]
    pub token_from_env: Option<String>,

    /// API key (ma-…) that signs the token; better kept in MESHAGENT_API_KEY, out of the list of processes
    #[arg(long, value_name = "KEY", hide_env_values = true)]
    pub key: Option<String>,
}

/// How a voicebot is.
#[derive(clap::Args, Debug, Clone)]
pub struct BotArgs {
    /// A rule for the agent. Repeatable
    #[arg(short = 'r', long = "rule", value_name = "TEXT", allow_hyphen_values = true)]
    pub rules: Vec<String>,

    /// Local file with one rule per line, read once. Repeatable
    #[arg(long = "rules-file", value_name = "FILE")]
    pub rules_files: Vec<String>,

    /// File in the room with one rule per line, read for every turn, and made where it is not there. Repeatable
    #[arg(long = "room-rules", value_name = "PATH")]
    pub room_rules: Vec<String>,

    /// Room toolkit that the agent uses (-rt). Repeatable
    #[arg(long = "require-toolkit", value_name = "TOOLKIT")]
    pub require_toolkits: Vec<String>,

    /// Kind of document that the agent needs (-rs, --require-schema). Repeatable
    #[arg(long = "schema", value_name = "SCHEMA")]
    pub schemas: Vec<String>,

    /// What the agent says first, word by word, where a conversation begins without a message
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub auto_greet_message: Option<String>,

    /// What makes the agent say something first, in its own words
    #[arg(long, value_name = "PROMPT", allow_hyphen_values = true)]
    pub auto_greet_prompt: Option<String>,

    /// Voice of the agent: alloy, ash, ballad, coral, echo, sage, shimmer, verse, or another that its model has [default: echo]
    #[arg(long, value_name = "VOICE")]
    pub voice: Option<String>,

    /// Model that hears and speaks
    #[arg(long, env = "OPENAI_REALTIME_MODEL", default_value = voice::DEFAULT_MODEL, value_name = "MODEL", hide_env_values = true)]
    pub model: String,
}

impl BotArgs {
    /// The flags of a process agent that does the same.
    ///
    /// Errors: the model hears nothing.
    pub fn as_process(&self, at: &RoomArgs) -> Result<JoinArgs, CliError> {
        let model: ModelId =
            self.model.parse().map_err(|e: agent::model::InvalidModel| CliError::usage(e.to_string()))?;
        if !model.speaks() {
            return Err(CliError::usage(format!("{model} neither hears nor speaks"))
                .hint("name a model of the realtime protocol, as --model gpt-realtime"));
        }
        let mut all = no_flags()?;
        all.join.room.clone_from(&at.room);
        all.join.agent_name.clone_from(&at.agent_name);
        all.join.token_from_env.clone_from(&at.token_from_env);
        all.join.key.clone_from(&at.key);
        all.join.preamble_rule = Some("false".to_owned());
        let process = &mut all.process;
        process.channels = vec![AgentChannel::Chat];
        process.rules.rules.clone_from(&self.rules);
        process.rules.rules_files.clone_from(&self.rules_files);
        process.rules.room_rules.clone_from(&self.room_rules);
        process.tools.require_toolkits.clone_from(&self.require_toolkits);
        process.tools.schemas.clone_from(&self.schemas);
        process.voice.voice.clone_from(&self.voice);
        process.model.models = vec![model.to_string()];
        Ok(all)
    }

    /// An agent that was made by those flags, as a voicebot.
    pub fn as_voicebot(&self, config: agent::Config) -> agent::Config {
        let words = self.auto_greet_message.clone().map(Greeting::Words);
        let greeting = words.or_else(|| self.auto_greet_prompt.clone().map(Greeting::Prompt));
        let mut voice = (*config.voice).clone();
        voice.answers = Modality::Audio;
        let mut rules = config.rules;
        rules.makes_room_rules = true;
        agent::Config { voice: Arc::new(voice), rules, voicebot: Some(VoicebotConfig { greeting }), ..config }
    }
}

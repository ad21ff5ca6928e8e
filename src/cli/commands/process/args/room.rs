//! Flags of one command only: where an agent joins, and what its service is called.

use super::{SWITCH_VALUES, named, on};
use clap::{Args, ValueEnum};

/// Flags of `process join` alone.
#[derive(Args, Debug, Clone)]
pub struct JoinOnly {
    /// Room to join
    #[arg(long, env = "MESHAGENT_ROOM", value_name = "ROOM", hide_env_values = true)]
    pub room: Option<String>,

    /// Role of the token that is minted
    #[arg(long, default_value = "agent", value_name = "ROLE")]
    pub role: String,

    /// Name of the agent; needed where a token is minted
    #[arg(long, env = "MESHAGENT_AGENT_NAME", value_name = "NAME", hide_env_values = true)]
    pub agent_name: Option<String>,

    /// Environment variable that holds the participant token [default: MESHAGENT_TOKEN]
    #[arg(long, value_name = "VARIABLE")]
    pub token_from_env: Option<String>,

    /// API key (ma-…) that signs the token; better kept in MESHAGENT_API_KEY, out of the list of processes
    #[arg(long, value_name = "KEY", hide_env_values = true)]
    pub key: Option<String>,

    /// Give an agent without rules one about telling its progress [default: true]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = SWITCH_VALUES, value_name = "BOOL")]
    pub preamble_rule: Option<String>,

    /// Write documents of the room that others may have open: widgets, and the kinds of --schema
    #[arg(long)]
    pub document_authoring: bool,

    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = SWITCH_VALUES,
        hide = true
    )]
    pub require_document_authoring: Option<String>,

    /// Image mounted in the shell, IMAGE=MOUNT[:ro|rw]. Repeatable
    #[arg(long = "shell-image-mount", value_name = "MOUNT")]
    pub shell_image_mounts: Vec<String>,

    /// Address that a websocket channel listens on
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,

    /// Port that a websocket channel listens on
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,

    /// Path that a websocket channel listens on
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,

    /// How a websocket channel knows its callers [default: jwt]
    #[arg(long, value_enum, value_name = "MODE")]
    pub websocket_auth: Option<WebsocketAuth>,

    /// Measure the agent while it runs
    #[arg(long)]
    pub profile: bool,

    /// Keep argument deltas in the thread's dataset
    #[arg(long)]
    pub verbose_dataset: bool,

    /// Keep the audio that comes in
    #[arg(long)]
    pub save_audio_input: bool,
}

/// `--websocket-auth`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebsocketAuth {
    Iap,
    Jwt,
    None,
}

impl JoinOnly {
    /// Whether documents are written.
    pub fn documents(&self) -> bool {
        self.document_authoring || on(self.require_document_authoring.as_ref(), false)
    }

    /// The given flags that this version cannot honour.
    pub fn unsupported(&self) -> Vec<String> {
        named(&[
            ("host", self.host.is_some()),
            ("port", self.port.is_some()),
            ("path", self.path.is_some()),
            ("profile", self.profile),
            ("verbose-dataset", self.verbose_dataset),
            ("save-audio-input", self.save_audio_input),
        ])
    }
}

/// What the service around an agent is called.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Service")]
pub struct ServiceNameArgs {
    /// Name of the agent
    #[arg(long, value_name = "NAME")]
    pub agent_name: String,

    /// Name of the service [default: the agent's]
    #[arg(long, value_name = "NAME")]
    pub service_name: Option<String>,

    /// What the service is for
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub service_description: Option<String>,

    /// Title of the service
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub service_title: Option<String>,
}

/// Flags of `process spec` and `process deploy`: the service around the agent.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Service")]
pub struct ServiceArgs {
    #[command(flatten)]
    pub named: ServiceNameArgs,

    /// Write documents of the room that others may have open: widgets, and the kinds of --schema
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = SWITCH_VALUES, value_name = "BOOL")]
    pub require_document_authoring: Option<String>,
}

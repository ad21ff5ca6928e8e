//! The flags of `process join`, `spec` and `deploy`. All are parsed; those this version cannot honour are named by
//! [`ProcessArgs::unsupported`].

mod program;
mod room;
mod tools;
mod voice;

pub use program::ProgramArgs;
pub use room::{JoinOnly, ServiceArgs, ServiceNameArgs, WebsocketAuth};
pub use tools::{BrowserPlace, ShellArgs, ToolArgs, ToolSearch};
pub use voice::VoiceArgs;

use crate::agent::AgentChannel;
use clap::{ArgAction, Args, ValueEnum};

/// A switch that is on or off, `--x`, `--x=false` or (rewritten) `--no-x`.
pub(super) const SWITCH_VALUES: [&str; 2] = ["true", "false"];

/// Flags that all `process` commands share.
#[derive(Args, Debug, Clone)]
pub struct ProcessArgs {
    /// Way for work to reach the agent: chat, queue:NAME, toolkit:NAME, mail:ADDRESS, websocket:PORT or command:PROGRAM.
    /// Repeatable; at least one
    #[arg(long = "channel", value_name = "CHANNEL", action = ArgAction::Append)]
    pub channels: Vec<AgentChannel>,

    #[command(flatten)]
    pub rules: RuleArgs,

    #[command(flatten)]
    pub model: ModelArgs,

    #[command(flatten)]
    pub threads: ThreadArgs,

    #[command(flatten)]
    pub tools: ToolArgs,

    #[command(flatten)]
    pub shell: ShellArgs,

    #[command(flatten)]
    pub program: ProgramArgs,

    #[command(flatten)]
    pub voice: VoiceArgs,
}

/// What the agent is told.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Rules")]
pub struct RuleArgs {
    /// A rule for the agent. Repeatable
    #[arg(short = 'r', long = "rule", value_name = "TEXT", allow_hyphen_values = true)]
    pub rules: Vec<String>,

    /// File in the room with one rule per line, read for every turn. Repeatable
    #[arg(long = "room-rules", value_name = "PATH")]
    pub room_rules: Vec<String>,

    /// Local file with one rule per line, read once. Repeatable
    #[arg(long = "rules-file", value_name = "FILE")]
    pub rules_files: Vec<String>,

    /// File with instructions, read for every turn: from the room with --storage, else from this folder. Repeatable
    #[arg(long, value_name = "PATH")]
    pub instructions: Vec<String>,

    /// Folder of skills. Repeatable
    #[arg(long = "skill-dir", value_name = "DIR")]
    pub skill_dirs: Vec<String>,
}

/// Which model, and how it is asked.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// Model: NAME, PROVIDER/NAME or BACKEND/PROVIDER/NAME; builtin/echo needs no network. Repeatable; the first is the default
    /// [default: gpt-6.1-sol]
    #[arg(long = "model", value_name = "MODEL")]
    pub models: Vec<String>,

    /// All models of a backend: llm; acp, which is a program that speaks the Agent Client Protocol (--acp-command); codex,
    /// which is the app server of Codex; or chat. Repeatable
    #[arg(long = "backend", value_name = "BACKEND")]
    pub backends: Vec<String>,

    /// Model that names threads
    #[arg(long, value_name = "MODEL")]
    pub decision_model: Option<String>,

    /// Most tokens of one answer [default: 32000]
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_output_tokens: Option<u64>,

    /// How much a model thinks first, for example low, medium or high
    #[arg(long, value_name = "EFFORT")]
    pub reasoning_effort: Option<String>,

    /// How long contexts are shortened [default: auto]
    #[arg(long, value_enum, value_name = "MODE")]
    pub context_management: Option<ContextManagement>,

    /// Tokens from which a context is shortened
    #[arg(long, value_name = "TOKENS")]
    pub compaction_threshold: Option<u64>,

    /// Participant on whose account the model runs
    #[arg(long, value_name = "NAME")]
    pub llm_participant: Option<String>,

    /// Whether callers must bring their own authorization for the model [default: optional]
    #[arg(long, value_enum, value_name = "MODE")]
    pub llm_delegation: Option<LlmDelegation>,

    /// Log the requests to the model
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = SWITCH_VALUES, value_name = "BOOL")]
    pub log_llm_requests: Option<String>,
}

/// Where conversations live.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Threads")]
pub struct ThreadArgs {
    /// New threads for new work, or one thread for all [default: default-new]
    #[arg(long, value_enum, value_name = "MODE")]
    pub threading_mode: Option<ThreadingMode>,

    /// Folder of the agent's threads [default: agents/AGENT/threads]
    #[arg(long, value_name = "PATH")]
    pub thread_dir: Option<String>,

    /// Where threads are kept: dataset (the room's datasets) or none (they last while they are open). Repeatable
    /// [default: dataset]
    #[arg(long = "thread-storage", value_name = "STORAGE", value_parser = thread_storage)]
    pub thread_storages: Vec<String>,

    /// Answer also where nothing was asked
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = SWITCH_VALUES, value_name = "BOOL")]
    pub always_reply: Option<String>,
}

/// `--threading-mode`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadingMode {
    None,
    DefaultNew,
}

/// `--context-management`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextManagement {
    Auto,
    Standalone,
    None,
}

/// `--llm-delegation`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LlmDelegation {
    Required,
    Optional,
}

fn thread_storage(text: &str) -> Result<String, String> {
    match text {
        "dataset" | "none" | "codex" => Ok(text.to_owned()),
        other => Err(format!("unsupported thread storage backend `{other}`; want dataset, none or codex")),
    }
}

/// Whether a switch is on.
pub(super) fn on(switch: Option<&String>, default: bool) -> bool {
    switch.map_or(default, |text| text == "true")
}

impl ThreadArgs {
    /// `--threading-mode none`.
    pub fn single(&self) -> bool {
        self.threading_mode == Some(ThreadingMode::None)
    }

    /// `--thread-storage none`.
    pub fn without_storage(&self) -> bool {
        self.thread_storages.iter().any(|s| s == "none")
    }
}

/// Names of options that were given and of their values' kinds; see [`ProcessArgs::unsupported`].
pub(super) fn named(all: &[(&str, bool)]) -> Vec<String> {
    all.iter().filter(|(_, given)| *given).map(|(name, _)| format!("--{name}")).collect()
}

impl ProcessArgs {
    /// The given flags that this version cannot honour, in the spelling of today.
    pub fn unsupported(&self) -> Vec<String> {
        let (model, threads) = (&self.model, &self.threads);
        let channels = self.channels.iter().filter(|c| !c.is_supported());
        let mut all: Vec<_> = channels.map(|c| format!("--channel {c}")).collect();
        let other = |s: &String| s != "none" && s != "dataset";
        all.extend(named(&[
            ("llm-participant", model.llm_participant.is_some()),
            ("llm-delegation", model.llm_delegation == Some(LlmDelegation::Required)),
            ("log-llm-requests", on(model.log_llm_requests.as_ref(), false)),
            ("thread-storage", threads.thread_storages.iter().any(other)),
            ("always-reply", on(threads.always_reply.as_ref(), false)),
        ]));
        all.extend(self.tools.unsupported());
        all.extend(self.voice.unsupported());
        all
    }
}

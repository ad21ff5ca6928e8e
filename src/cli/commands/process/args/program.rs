//! Flags of programs that do an agent's turns (`--backend acp` and `--backend codex`).

use crate::agent::config::Permission;
use clap::{Args, ValueEnum};

/// Programs that do turns.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Programs (--backend acp, --backend codex)")]
pub struct ProgramArgs {
    /// Program of --backend acp with its arguments: any agent that speaks the Agent Client Protocol on its standard
    /// streams. It works in --working-dir
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    pub acp_command: Option<String>,

    /// App server of --backend codex with its arguments [default: codex app-server]
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    pub codex_command: Option<String>,

    /// Environment variables to hand to the program, comma-separated; it gets few others and no keys. Repeatable
    #[arg(long = "program-env", value_name = "NAME")]
    pub program_env: Vec<String>,

    /// Give the program the agent's token, also as the key of models, and the addresses of the server's models
    #[arg(long)]
    pub program_token: bool,

    /// File or folder that the program may read besides the system's and --working-dir. Repeatable
    #[arg(long = "program-read", value_name = "PATH")]
    pub program_reads: Vec<String>,

    /// Folder that the program may write besides --working-dir. Repeatable
    #[arg(long = "program-write", value_name = "PATH")]
    pub program_writes: Vec<String>,

    /// Run the program on this machine with all rights of the agent, instead of in a sandbox
    #[arg(long)]
    pub program_host: bool,

    /// What becomes of the program's questions whether it may go on: ask who began the turn, and refuse where nobody is
    /// there; allow or reject all [default: ask]
    #[arg(long, value_enum, value_name = "MODE")]
    pub program_permission: Option<ProgramPermission>,

    /// Seconds that a turn may take [default: 3600]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub program_timeout: Option<u64>,
}

/// `--program-permission`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramPermission {
    Ask,
    Allow,
    Reject,
}

impl From<ProgramPermission> for Permission {
    fn from(given: ProgramPermission) -> Self {
        match given {
            ProgramPermission::Ask => Self::Ask,
            ProgramPermission::Allow => Self::Allow,
            ProgramPermission::Reject => Self::Reject,
        }
    }
}

//! Flags that give the model tools.

use super::{SWITCH_VALUES, named, on};
use clap::{Args, ValueEnum};

/// Tools of the model.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Tools")]
pub struct ToolArgs {
    /// Read and write the room's files
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = SWITCH_VALUES, value_name = "BOOL")]
    pub storage: Option<String>,

    /// Read the room's files
    #[arg(long)]
    pub read_only_storage: bool,

    /// Tell the time [default: true]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = SWITCH_VALUES, value_name = "BOOL")]
    pub time: Option<String>,

    /// Make identifiers
    #[arg(long)]
    pub uuid: bool,

    /// Toolkit of the room whose tools the agent gets; turns fail while it is missing. Repeatable
    #[arg(long = "require-toolkit", value_name = "TOOLKIT")]
    pub require_toolkits: Vec<String>,

    /// Let the model search among tools [default: none]
    #[arg(long, value_enum, value_name = "SCOPE")]
    pub tool_search: Option<ToolSearch>,

    /// Document schema of the room. Repeatable
    #[arg(short = 's', long = "schema", value_name = "NAME")]
    pub schemas: Vec<String>,

    /// Make images with this model
    #[arg(long, value_name = "MODEL")]
    pub image_generation: Option<String>,

    /// Use a browser
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = SWITCH_VALUES, value_name = "BOOL")]
    pub computer_use: Option<String>,

    /// First page of the browser
    #[arg(long, value_name = "URL")]
    pub starting_url: Option<String>,

    /// Let the model go to any page
    #[arg(long)]
    pub allow_goto_url: bool,

    /// Change files by patches
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = SWITCH_VALUES, value_name = "BOOL")]
    pub apply_patch: Option<String>,

    /// Search the web: by MESHAGENT_SEARCH_URL (SearXNG, or an API of Brave's form; key in MESHAGENT_SEARCH_KEY), else
    /// by the model's provider
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = SWITCH_VALUES, value_name = "BOOL")]
    pub web_search: Option<String>,

    /// Read web pages of public addresses, and of the hosts in MESHAGENT_ALLOW_HOSTS (comma-separated)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = SWITCH_VALUES, value_name = "BOOL")]
    pub web_fetch: Option<String>,

    /// Run scripts as tools
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = SWITCH_VALUES, value_name = "BOOL")]
    pub script_tool: Option<String>,

    /// Find script tools in the room's files
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = SWITCH_VALUES, value_name = "BOOL")]
    pub discover_script_tools: Option<String>,

    /// Use MCP servers
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = SWITCH_VALUES, value_name = "BOOL")]
    pub mcp: Option<String>,

    /// Local folder as storage, SOURCE:MOUNT[:ro|rw]. Repeatable
    #[arg(long = "storage-tool-local-path", value_name = "MOUNT")]
    pub storage_local_paths: Vec<String>,

    /// Folder of the room as storage, PATH:MOUNT[:ro|rw]. Repeatable
    #[arg(long = "storage-tool-room-path", value_name = "MOUNT")]
    pub storage_room_paths: Vec<String>,

    /// Namespace of the tables, a::b
    #[arg(long, value_name = "NAMESPACE")]
    pub dataset_namespace: Option<String>,

    /// Table to read. Repeatable
    #[arg(long = "table-read", value_name = "TABLE")]
    pub table_reads: Vec<String>,

    /// Table to read and write. Repeatable
    #[arg(long = "table-write", value_name = "TABLE")]
    pub table_writes: Vec<String>,

    /// Memory of the room, NAME or NAMESPACE/NAME
    #[arg(long, value_name = "MEMORY")]
    pub use_memory: Option<String>,

    /// Model that works on the memory
    #[arg(long, value_name = "MODEL")]
    pub memory_model: Option<String>,

    /// List the room's tools
    #[arg(long)]
    pub discovery: bool,
}

/// `--tool-search`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolSearch {
    Room,
    Agent,
    None,
}

impl ToolArgs {
    pub(super) fn unsupported(&self) -> Vec<String> {
        let on = |switch: &Option<String>| on(switch.as_ref(), false);
        named(&[
            ("tool-search", self.tool_search.is_some_and(|s| s != ToolSearch::None)),
            ("schema", !self.schemas.is_empty()),
            ("image-generation", self.image_generation.is_some()),
            ("computer-use", on(&self.computer_use)),
            ("starting-url", self.starting_url.is_some()),
            ("allow-goto-url", self.allow_goto_url),
            ("apply-patch", on(&self.apply_patch)),
            ("script-tool", on(&self.script_tool)),
            ("discover-script-tools", on(&self.discover_script_tools)),
            ("mcp", on(&self.mcp)),
            ("storage-tool-local-path", !self.storage_local_paths.is_empty()),
            ("storage-tool-room-path", !self.storage_room_paths.is_empty()),
            ("dataset-namespace", self.dataset_namespace.is_some()),
            ("table-read", !self.table_reads.is_empty()),
            ("table-write", !self.table_writes.is_empty()),
            ("use-memory", self.use_memory.is_some()),
            ("memory-model", self.memory_model.is_some()),
        ])
    }

    /// Flags that only models of OpenAI and Grok can serve; the official tool refuses them for others.
    pub fn openai_only(&self) -> Vec<String> {
        named(&[
            ("image-generation", self.image_generation.is_some()),
            ("apply-patch", on(self.apply_patch.as_ref(), false)),
            ("computer-use", on(self.computer_use.as_ref(), false)),
            ("tool-search", self.tool_search.is_some_and(|s| s != ToolSearch::None)),
        ])
    }
}

/// The shell tool and its container.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Shell")]
pub struct ShellArgs {
    /// Run commands
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = SWITCH_VALUES, value_name = "BOOL")]
    pub shell: Option<String>,

    /// Run commands in containers that the model starts
    #[arg(long)]
    pub advanced_shell: bool,

    /// Image of the shell, or none for this machine
    #[arg(long, value_name = "IMAGE")]
    pub shell_image: Option<String>,

    /// Folder of the room in the shell. Repeatable
    #[arg(long = "shell-room-mount", value_name = "MOUNT")]
    pub shell_room_mounts: Vec<String>,

    /// Empty folder in the shell. Repeatable
    #[arg(long = "shell-empty-dir-mount", value_name = "MOUNT")]
    pub shell_empty_dir_mounts: Vec<String>,

    /// Tool configuration in the shell. Repeatable
    #[arg(long = "shell-tool-config-mount", value_name = "MOUNT")]
    pub shell_tool_config_mounts: Vec<String>,

    /// Give the shell the agent's token
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = SWITCH_VALUES, value_name = "BOOL")]
    pub delegate_shell_token: Option<String>,

    /// Environment variable to hand to the shell. Repeatable
    #[arg(long = "shell-copy-env", value_name = "NAME")]
    pub shell_copy_env: Vec<String>,

    /// Environment variable of the shell, NAME=VALUE. Repeatable
    #[arg(long = "shell-set-env", value_name = "NAME=VALUE")]
    pub shell_set_env: Vec<String>,

    /// Folder in which tools work
    #[arg(long, alias = "working-directory", value_name = "DIR")]
    pub working_dir: Option<String>,

    #[arg(long = "shell-tool-room-path", value_name = "MOUNT", hide = true)]
    pub shell_tool_room_paths: Vec<String>,

    #[arg(long = "shell-tool-empty-dir", value_name = "MOUNT", hide = true)]
    pub shell_tool_empty_dirs: Vec<String>,
}

impl ShellArgs {
    pub(super) fn unsupported(&self) -> Vec<String> {
        named(&[
            ("shell", on(self.shell.as_ref(), false)),
            ("advanced-shell", self.advanced_shell),
            ("shell-image", self.shell_image.is_some()),
            (
                "shell-room-mount",
                !self.shell_room_mounts.is_empty() || !self.shell_tool_room_paths.is_empty(),
            ),
            (
                "shell-empty-dir-mount",
                !self.shell_empty_dir_mounts.is_empty() || !self.shell_tool_empty_dirs.is_empty(),
            ),
            ("shell-tool-config-mount", !self.shell_tool_config_mounts.is_empty()),
            ("delegate-shell-token", on(self.delegate_shell_token.as_ref(), false)),
            ("shell-copy-env", !self.shell_copy_env.is_empty()),
            ("shell-set-env", !self.shell_set_env.is_empty()),
            ("working-dir", self.working_dir.is_some()),
        ])
    }
}

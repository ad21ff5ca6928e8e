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

    /// Have the model search for tools instead of showing it all of them: those of --require-toolkit (agent), and also those of
    /// toolkits with the annotation meshagent.tool_search "true" (room) [default: none]
    #[arg(long, value_enum, value_name = "SCOPE")]
    pub tool_search: Option<ToolSearch>,

    /// Kind of document that --document-authoring writes, by its schema .schemas/NAME.json in the room. Repeatable
    #[arg(short = 's', long = "schema", value_name = "NAME")]
    pub schemas: Vec<String>,

    /// Make images with this model of OpenAI, and keep them in the room's table `images`
    #[arg(long, value_name = "MODEL")]
    pub image_generation: Option<String>,

    /// Use a browser (chromium, or MESHAGENT_BROWSER), whose pages the model sees and steers: public addresses, and the
    /// hosts in MESHAGENT_ALLOW_HOSTS
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = SWITCH_VALUES, value_name = "BOOL")]
    pub computer_use: Option<String>,

    /// First page of the browser
    #[arg(long, value_name = "URL")]
    pub starting_url: Option<String>,

    /// Where the browser runs on this machine: confined to a folder of its own (sandbox), or with all rights of the agent
    /// (none) [default: sandbox]
    #[arg(long, value_enum, value_name = "PLACE")]
    pub browser_place: Option<BrowserPlace>,

    /// Let the model go to any page
    #[arg(long)]
    pub allow_goto_url: bool,

    /// Create, change and delete files by patches
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

    /// Offer the room's services with the annotation meshagent.tool.type "script" as tools
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = SWITCH_VALUES, value_name = "BOOL")]
    pub discover_script_tools: Option<String>,

    /// Use the MCP servers that a turn names: those of public addresses, and of the hosts in MESHAGENT_ALLOW_HOSTS. A tool
    /// may take MESHAGENT_MCP_TIMEOUT seconds [default: 120]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = SWITCH_VALUES, value_name = "BOOL")]
    pub mcp: Option<String>,

    /// Secret of the project that turns may have sent to the MCP server at URL, SECRET=URL. Repeatable
    #[arg(long = "mcp-secret", value_name = "SECRET=URL")]
    pub mcp_secrets: Vec<String>,

    /// Folder of this machine among the files of --storage and --apply-patch, SOURCE:MOUNT[:ro|rw]. Repeatable
    #[arg(long = "storage-tool-local-path", value_name = "MOUNT")]
    pub storage_local_paths: Vec<String>,

    /// Folder of the room among them, PATH:MOUNT[:ro|rw] [default: the whole room at /]. Repeatable
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

/// `--browser-place`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrowserPlace {
    Sandbox,
    None,
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
        named(&[("script-tool", on(&self.script_tool))])
    }

    /// Flags that only models of OpenAI and Grok can serve; the official tool refuses them for others.
    pub fn openai_only(&self) -> Vec<String> {
        named(&[
            ("image-generation", self.image_generation.is_some()),
            ("computer-use", on(self.computer_use.as_ref(), false)),
        ])
    }
}

/// The shell tool and its container.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Shell")]
pub struct ShellArgs {
    /// Run commands: in a container of the room that all turns share
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = SWITCH_VALUES, value_name = "BOOL")]
    pub shell: Option<String>,

    /// Run commands in containers that the model starts
    #[arg(long)]
    pub advanced_shell: bool,

    /// Image of the shell [default: python:3.13]; `sandbox` runs commands on this machine, where they reach system
    /// programs and --working-dir only, `none` on this machine with all rights of the agent
    #[arg(long, value_name = "IMAGE")]
    pub shell_image: Option<String>,

    /// Folder of the room in the shell, SOURCE:MOUNT[:ro|rw] [default: the whole room at /data]. Repeatable
    #[arg(long = "shell-room-mount", value_name = "MOUNT")]
    pub shell_room_mounts: Vec<String>,

    /// Empty folder in the shell, MOUNT[:ro|rw]. Repeatable
    #[arg(long = "shell-empty-dir-mount", value_name = "MOUNT")]
    pub shell_empty_dir_mounts: Vec<String>,

    /// Folder of the shell for the files of MESHAGENT_SPEC_PATH and MESHAGENT_MEMBERS_PATH. Repeatable
    #[arg(long = "shell-tool-config-mount", value_name = "MOUNT")]
    pub shell_tool_config_mounts: Vec<String>,

    /// Give the shell the agent's token, also as the key of models
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = SWITCH_VALUES, value_name = "BOOL")]
    pub delegate_shell_token: Option<String>,

    /// Environment variables to hand to the shell, comma-separated. Repeatable
    #[arg(long = "shell-copy-env", value_name = "NAME")]
    pub shell_copy_env: Vec<String>,

    /// Environment variable of the shell, NAME=VALUE. Repeatable
    #[arg(long = "shell-set-env", value_name = "NAME=VALUE")]
    pub shell_set_env: Vec<String>,

    /// Folder in which commands run
    #[arg(long, alias = "working-directory", value_name = "DIR")]
    pub working_dir: Option<String>,

    #[arg(long = "shell-tool-room-path", value_name = "MOUNT", hide = true)]
    pub shell_tool_room_paths: Vec<String>,

    #[arg(long = "shell-tool-empty-dir", value_name = "MOUNT", hide = true)]
    pub shell_tool_empty_dirs: Vec<String>,
}

//! What an agent is to be, as plain data.

use super::mail::MailConfig;
use super::voice::VoiceConfig;
use super::{AgentChannel, model::ModelId};
use crate::client::room::{Options, Token};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Jobs of one queue that are worked on at once.
pub const QUEUE_TURNS_MAX: usize = 4;
/// Times that a model may be asked in one turn, unless told otherwise.
pub const MODEL_CALLS_MAX: usize = 64;
/// Tokens from which a thread's past is shortened, unless told otherwise.
pub const COMPACTION_THRESHOLD: u64 = 200_000;
/// How long a tool of an MCP server may take, unless told otherwise.
pub const MCP_CALL_MAX: Duration = Duration::from_mins(2);
/// Text that clients show above an empty conversation.
pub const EMPTY_STATE_TITLE: &str = "How can I help you?";
/// How long running turns may go on after the agent was told to stop.
pub const STOP_GRACE: Duration = Duration::from_secs(2);

/// An agent, ready to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// The agent's name: the participant name its token carries.
    pub agent_name: String,
    pub room: Options,
    pub channels: Vec<AgentChannel>,
    /// The first one is the default; at least one.
    pub models: Vec<ModelId>,
    pub rules: RulesConfig,
    pub tools: ToolsConfig,
    pub endpoints: EndpointsConfig,
    /// The programs of models that are programs.
    pub programs: ProgramsConfig,
    pub threads: ThreadsConfig,
    /// How it hears and speaks.
    pub voice: Arc<VoiceConfig>,
    /// What makes it a voicebot.
    pub voicebot: Option<VoicebotConfig>,
    /// Where mail is sent.
    pub mail: MailConfig,
    pub websocket: WebSocketConfig,
    /// Names new threads; without one they are named after what was said.
    pub decision_model: Option<ModelId>,
    /// Times that a model may be asked in one turn.
    pub model_calls_max: usize,
    /// Tokens from which a thread's past is replaced by what a model makes of it; never where absent.
    pub compaction_threshold: Option<u64>,
    /// Flags that this version cannot honour; told on stderr and published as an attribute.
    pub unsupported: Vec<String>,
    pub stop_grace: Duration,
}

/// An agent to speak with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VoicebotConfig {
    /// What it says by itself where a conversation begins without a word.
    pub greeting: Option<Greeting>,
}

/// What an agent says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// These words.
    Words(String),
    /// Whatever this asks for.
    Prompt(String),
}

impl Greeting {
    /// What the model is told.
    #[must_use]
    pub fn prompt(&self) -> String {
        match self {
            Self::Words(words) => format!("Greet the user. Say exactly this, and nothing else: {words}"),
            Self::Prompt(prompt) => prompt.clone(),
        }
    }
}

/// Where the instructions of a turn come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RulesConfig {
    /// `--rule`, then the lines of `--rules-file`.
    pub rules: Vec<String>,
    /// Folders of `--skill-dir`, looked into for every turn, in the room when storage is on, else here.
    pub skill_dirs: Vec<String>,
    /// Files of `--instructions`, read for every turn from the room when storage is on, else from the local folder.
    pub instructions: Vec<String>,
    /// Room files of `--room-rules`, read for every turn.
    pub room_rules: Vec<String>,
    /// Whether those of them that are not there are made, so that they are found and filled in.
    pub makes_room_rules: bool,
    /// Whether an agent without any rule gets one about progress notes.
    pub preamble_rule: bool,
}

impl RulesConfig {
    /// Whether whoever started the agent gave it no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let given = [&self.rules, &self.skill_dirs, &self.instructions, &self.room_rules];
        given.iter().all(|given| given.is_empty())
    }
}

/// Which tools the model gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolsConfig {
    pub storage: bool,
    pub read_only_storage: bool,
    pub time: bool,
    pub uuid: bool,
    /// By [`ToolsConfig::search`] where that is set, else by the model's provider where it can.
    pub web_search: bool,
    pub search: Option<SearchConfig>,
    pub web_fetch: bool,
    /// Hosts within this network that `web_fetch` may read.
    pub allowed_hosts: Vec<String>,
    pub discovery: bool,
    /// Room toolkits of `--require-toolkit`.
    pub room_toolkits: Vec<String>,
    pub tool_search: ToolSearch,
    /// `--discover-script-tools`.
    pub scripts: bool,
    /// `--image-generation`: the model that makes images.
    pub image_model: Option<String>,
    /// `--mcp`: the servers that a turn names are used.
    pub mcp: Option<McpConfig>,
    /// Where the files of storage and patch tools are; the room's, where there are none.
    pub mounts: Vec<MountConfig>,
    pub apply_patch: bool,
    /// `--shell` and `--advanced-shell`.
    pub shell: Option<ShellConfig>,
    /// `--document-authoring`: the kinds of documents that are written beside widgets, from `--schema`.
    pub documents: Option<Vec<String>>,
    /// `--computer-use`.
    pub computer: Option<ComputerConfig>,
    /// `--use-memory`.
    pub memory: Option<MemoryConfig>,
    pub tables: TablesConfig,
}

/// Which tools are behind a search instead of before the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToolSearch {
    #[default]
    None,
    /// Those of `room_toolkits`.
    Agent,
    /// Those, and of the room's toolkits all that let themselves be searched.
    Room,
}

/// How MCP servers are reached.
#[derive(Clone, PartialEq, Eq)]
pub struct McpConfig {
    /// How long a tool may take.
    pub call_max: Duration,
    /// Hosts within this network that may be connected to.
    pub allowed_hosts: Vec<String>,
    /// Where requests go that need a secret of the project: the server's address, and the key for it.
    pub proxy: Option<(String, String)>,
    /// `--mcp-secret`: which secrets of the project may be sent where.
    pub secrets: Vec<McpSecret>,
    /// Servers of every turn, in the form in which turns name them. Where there are any, turns name none.
    pub servers: Vec<Value>,
}

/// A secret of the project, and the only address of a server that it may be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpSecret {
    pub id: String,
    pub url: url::Url,
}

impl std::fmt::Debug for McpConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("McpConfig").field("call_max", &self.call_max).finish_non_exhaustive()
    }
}

/// A memory of the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryConfig {
    pub name: String,
    pub namespace: Option<Vec<String>>,
    /// Model that reads what is to be remembered; the server's own without it.
    pub model: Option<String>,
}

/// Tables of the room that the tools work on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TablesConfig {
    pub namespace: Option<Vec<String>>,
    /// `--table-read`.
    pub read: Vec<String>,
    /// `--table-write`.
    pub write: Vec<String>,
}

impl TablesConfig {
    /// Each table once, and whether it may be written.
    pub fn tables(&self) -> impl Iterator<Item = (&str, bool)> {
        let all: BTreeMap<&str, bool> = self
            .read
            .iter()
            .map(|name| (name.as_str(), false))
            .chain(self.write.iter().map(|name| (name.as_str(), true)))
            .collect();
        all.into_iter()
    }
}

/// A folder at a place among the files of the tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountConfig {
    /// Where it is put, without slashes at its ends; empty for the top.
    pub path: String,
    pub place: MountPlace,
    pub read_only: bool,
}

/// A folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountPlace {
    /// Of the room, without slashes at its ends; empty for all of it.
    Room(String),
    /// Of the agent's machine.
    Local(PathBuf),
}

/// How the shell tools run commands.
#[derive(Clone, PartialEq, Eq)]
pub struct ShellConfig {
    /// `--shell`.
    pub shell: bool,
    /// `--advanced-shell`.
    pub advanced: bool,
    pub place: ShellPlace,
    /// Mounts of containers, as `containers.run` takes them.
    pub mounts: Value,
    /// Secret.
    pub env: BTreeMap<String, String>,
    /// Folder in which commands run.
    pub working_dir: Option<String>,
}

impl std::fmt::Debug for ShellConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShellConfig").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Where commands run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShellPlace {
    /// In a container of the room, of this image.
    Image(String),
    /// On the agent's machine; `prefix` are the words of what confines each command, if anything does.
    Local { prefix: Vec<String> },
}

/// A browser that the model steers.
#[derive(Clone, Debug)]
pub struct ComputerConfig {
    pub program: PathBuf,
    /// Words of what confines it, if anything does.
    pub prefix: Vec<String>,
    /// The only folder it writes in; removed with the last copy of this.
    pub profile: Arc<tempfile::TempDir>,
    /// Page that a thread begins with.
    pub starting_url: Option<String>,
    /// Whether the model may go to any address.
    pub goto: bool,
    /// Hosts within this network that it may reach.
    pub allowed_hosts: Vec<String>,
}

impl PartialEq for ComputerConfig {
    fn eq(&self, other: &Self) -> bool {
        self.profile.path() == other.profile.path()
    }
}

impl Eq for ComputerConfig {}

/// An endpoint that searches the web.
#[derive(Clone, PartialEq, Eq)]
pub struct SearchConfig {
    pub url: String,
    /// Secret.
    pub key: Option<String>,
}

impl std::fmt::Debug for SearchConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SearchConfig").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The programs that do turns, by protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramsConfig {
    /// Speaks the Agent Client Protocol.
    pub acp: Option<ProgramConfig>,
    /// The app server of Codex.
    pub codex: Option<ProgramConfig>,
}

/// A program that does turns.
#[derive(Clone, PartialEq, Eq)]
pub struct ProgramConfig {
    /// What it is called where something is said of it.
    pub name: String,
    /// The words of what confines it, if anything does.
    pub prefix: Vec<String>,
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Where it works, an absolute path without links. It is served files of this folder only.
    pub folder: PathBuf,
    /// Variables beside the few that every program gets. Secret.
    pub env: BTreeMap<String, String>,
    pub permission: Permission,
    /// How long a turn may take.
    pub turn_max: Duration,
}

impl std::fmt::Debug for ProgramConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProgramConfig").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What becomes of a question of a program whether it may make a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Permission {
    /// Who began the turn is asked; where nobody is there, as for a job of a queue, it may not.
    #[default]
    Ask,
    Allow,
    Reject,
}

/// Where the providers are.
#[derive(Clone, Debug, Default)]
pub struct EndpointsConfig {
    /// Responses and Chat Completions.
    pub openai: EndpointConfig,
    pub anthropic: EndpointConfig,
    pub grok: EndpointConfig,
}

/// How to reach a provider.
#[derive(Clone, Default)]
pub struct EndpointConfig {
    /// Without a trailing `/`, for example `https://api.openai.com/v1`.
    pub base_url: String,
    /// Secret.
    pub api_key: String,
    /// Most tokens of one answer; without it what the provider's language has for the model.
    pub max_output_tokens: Option<u64>,
    pub reasoning_effort: Option<String>,
    /// Where the provider searches, where it does.
    pub search_domains: SearchDomains,
}

/// Hosts that a search of the provider's is held to. Empty: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchDomains {
    pub allowed: Vec<String>,
    /// Only Anthropic takes this, and not together with the other.
    pub blocked: Vec<String>,
}

impl std::fmt::Debug for EndpointConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointConfig").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

/// Who may come to a websocket channel.
#[derive(Clone, Debug, Default)]
pub struct WebSocketConfig {
    pub auth: WebSocketAuth,
    /// What tokens are signed with. Secret.
    pub secret: Option<Token>,
}

/// How a websocket channel knows its callers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WebSocketAuth {
    /// By a token with a grant for this agent.
    #[default]
    Jwt,
    /// By what a proxy before it says.
    Iap,
    /// Not at all.
    None,
}

/// Where threads live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadsConfig {
    /// Folder of new threads, for example `dataset://agents/NAME/threads`.
    pub dir: String,
    /// `--threading-mode none`: everything without a path of its own goes to `<dir>/main`.
    pub single: bool,
    /// Whether threads are kept in the room's datasets; else they last as long as somebody has them open.
    pub stored: bool,
    /// Whether every participant has their own threads, and hears of no others.
    pub by_participant: bool,
}

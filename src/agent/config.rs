//! What an agent is to be, as plain data.

use super::mail::MailConfig;
use super::{AgentChannel, model::ModelId};
use crate::client::room::{Options, Token};
use std::time::Duration;

/// Jobs of one queue that are worked on at once.
pub const QUEUE_TURNS_MAX: usize = 4;
/// Times that a model may be asked in one turn, unless told otherwise.
pub const MODEL_CALLS_MAX: usize = 64;
/// Tokens from which a thread's past is shortened, unless told otherwise.
pub const COMPACTION_THRESHOLD: u64 = 200_000;
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
    pub threads: ThreadsConfig,
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
    /// Whether an agent without any rule gets one about progress notes.
    pub preamble_rule: bool,
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
}

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
}

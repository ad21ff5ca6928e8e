//! Flags and surroundings in, the agent's configuration out. Pure but for the rules files, and the environment's mail
//! server.

use super::args::{ContextManagement, ModelArgs, ProcessArgs, WebsocketAuth, on};
use super::join::JoinArgs;
use crate::agent::AgentChannel;
use crate::agent::Config;
use crate::agent::config::{
    COMPACTION_THRESHOLD, EndpointConfig, EndpointsConfig, MCP_CALL_MAX, MODEL_CALLS_MAX, McpConfig,
    RulesConfig, STOP_GRACE, SearchConfig, SearchDomains, ThreadsConfig, ToolsConfig, WebSocketAuth,
    WebSocketConfig,
};
use crate::agent::mail::{DEFAULT_HOST, DEFAULT_PORT, MailConfig};
use crate::agent::model::{self, ModelId};
use crate::agent::{path, rules};
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::LocalServer;
use crate::cli::settings;
use crate::client::room::{Options, Token};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// What the environment says about one provider.
#[derive(Clone, Default)]
pub struct EndpointEnv {
    pub base_url: Option<String>,
    /// Secret.
    pub api_key: Option<String>,
    pub max_output_tokens: Option<u64>,
}

/// What the environment says about the providers, and other addresses.
#[derive(Clone, Default)]
pub struct EndpointsEnv {
    pub openai: EndpointEnv,
    pub anthropic: EndpointEnv,
    pub grok: EndpointEnv,
    pub search: Option<SearchConfig>,
    pub allowed_hosts: Vec<String>,
    /// Seconds that a tool of an MCP server may take.
    pub mcp_timeout_s: Option<u64>,
    /// Secret: the project's API key.
    pub api_key: Option<String>,
}

impl EndpointsEnv {
    /// `env` gives a variable that is set and not empty.
    pub fn read(env: impl Fn(&str) -> Option<String>) -> Self {
        let of = |prefix: &str| EndpointEnv {
            base_url: env(&format!("{prefix}_BASE_URL")),
            api_key: env(&format!("{prefix}_API_KEY")),
            max_output_tokens: env(&format!("{prefix}_MAX_TOKENS")).and_then(|text| text.trim().parse().ok()),
        };
        let (grok, xai) = (of("GROK"), of("XAI"));
        Self {
            openai: EndpointEnv { max_output_tokens: None, ..of("OPENAI") },
            anthropic: of("ANTHROPIC"),
            search: env("MESHAGENT_SEARCH_URL")
                .map(|url| SearchConfig { url, key: env("MESHAGENT_SEARCH_KEY") }),
            allowed_hosts: env("MESHAGENT_ALLOW_HOSTS")
                .map(|hosts| hosts.split(',').map(|host| host.trim().to_owned()).collect())
                .unwrap_or_default(),
            mcp_timeout_s: env("MESHAGENT_MCP_TIMEOUT").and_then(|text| text.trim().parse().ok()),
            api_key: env("MESHAGENT_API_KEY"),
            grok: EndpointEnv {
                base_url: grok.base_url.or(xai.base_url),
                api_key: grok.api_key.or(xai.api_key),
                max_output_tokens: None,
            },
        }
    }
}

/// Who joins, and where.
pub struct Place {
    pub agent_name: String,
    pub room: Options,
    /// Address of the server, for its model proxy; unknown inside some rooms.
    pub api_url: Option<String>,
}

/// Puts the configuration together. Warnings are printed: flags that cannot be honoured, missing rules files, and
/// how to go on where no model can be reached.
pub fn config(args: &JoinArgs, place: Place, env: &EndpointsEnv) -> Result<Config, CliError> {
    let process = &args.process;
    let (models, dropped) = models(&process.model)?;
    refuse_mismatch(process, &models)?;
    let mut unsupported = process.unsupported();
    unsupported.extend(args.join.unsupported());
    unsupported.extend(dropped);
    if !models.iter().any(ModelId::speaks) {
        unsupported.extend(process.voice.given());
    }
    if models.iter().all(ModelId::is_builtin) && process.model.reasoning_effort.is_some() {
        unsupported.push("--reasoning-effort".to_owned());
    }
    if on(process.tools.web_search.as_ref(), false)
        && env.search.is_none()
        && !models.iter().any(ModelId::searches)
    {
        unsupported.push(format!("--web-search with {} alone (set MESHAGENT_SEARCH_URL)", names(&models)));
    }
    if !args.join.documents() && !process.tools.schemas.is_empty() {
        unsupported.push("--schema without --document-authoring".to_owned());
    }
    warn(&unsupported);
    super::programs::warn(process, &models);
    let nowhere = env.openai.base_url.is_none() && env.openai.api_key.is_none() && place.api_url.is_none();
    let default = process.model.models.is_empty() && process.model.backends.is_empty();
    if default && nowhere {
        output::note(format!(
            "warning: no model endpoint is configured for {}; set OPENAI_API_KEY (and OPENAI_BASE_URL for another \
             endpoint), or try offline with --model builtin/echo",
            model::DEFAULT_MODEL
        ));
    }
    let dir = path::thread_dir(&place.agent_name, process.threads.thread_dir.as_deref());
    let tools = tools_config(args, &place, env)?;
    let programs = super::programs::config(process, &models, &place, env, settings::env)?;
    Ok(Config {
        endpoints: endpoints(
            &Limits {
                key: place.room.token.reveal().to_owned(),
                api_url: place.api_url.clone(),
                max_output_tokens: process.model.max_output_tokens,
                reasoning_effort: process.model.reasoning_effort.clone(),
            },
            env,
        ),
        programs,
        voice: Arc::new(process.voice.config()),
        voicebot: None,
        mail: mail(&place),
        websocket: websocket(args),
        agent_name: place.agent_name,
        room: place.room,
        channels: process.channels.iter().filter(|c| c.is_supported()).cloned().collect(),
        models: models.clone(),
        rules: rules_config(args),
        tools,
        threads: ThreadsConfig {
            dir,
            single: process.threads.single(),
            stored: !process.threads.without_storage(),
            by_participant: false,
        },
        decision_model: decision_model(&process.model, &models)?,
        model_calls_max: MODEL_CALLS_MAX,
        compaction_threshold: compaction(&process.model),
        unsupported,
        stop_grace: STOP_GRACE,
    })
}

fn tools_config(args: &JoinArgs, place: &Place, env: &EndpointsEnv) -> Result<ToolsConfig, CliError> {
    let (process, image_mounts) = (&args.process, &args.join.shell_image_mounts);
    let shell = super::toolkits::config(process, image_mounts, &place.room.token, settings::env)?;
    let mcp = on(process.tools.mcp.as_ref(), false).then(|| mcp_config(process, place, env)).transpose()?;
    Ok(ToolsConfig {
        storage: on(process.tools.storage.as_ref(), false),
        read_only_storage: process.tools.read_only_storage,
        time: on(process.tools.time.as_ref(), true),
        uuid: process.tools.uuid,
        web_search: on(process.tools.web_search.as_ref(), false),
        search: env.search.clone(),
        web_fetch: on(process.tools.web_fetch.as_ref(), false),
        allowed_hosts: env.allowed_hosts.clone(),
        discovery: process.tools.discovery,
        room_toolkits: process.tools.require_toolkits.clone(),
        mcp,
        shell,
        scripts: on(process.tools.discover_script_tools.as_ref(), false),
        computer: super::computer::config(process, env.allowed_hosts.clone())?,
        documents: args.join.documents().then(|| process.tools.schemas.clone()),
        image_model: process.tools.image_generation.clone(),
        tool_search: super::toolkits::tool_search(process),
        memory: super::toolkits::memory(process)?,
        tables: super::toolkits::tables(process)?,
        mounts: super::toolkits::storage_mounts(process)?,
        apply_patch: on(process.tools.apply_patch.as_ref(), false),
    })
}

fn mcp_config(process: &ProcessArgs, place: &Place, env: &EndpointsEnv) -> Result<McpConfig, CliError> {
    Ok(McpConfig {
        call_max: env.mcp_timeout_s.map_or(MCP_CALL_MAX, Duration::from_secs),
        allowed_hosts: env.allowed_hosts.clone(),
        proxy: place.api_url.clone().zip(env.api_key.clone()),
        secrets: super::toolkits::mcp_secrets(process)?,
        servers: vec![],
    })
}

fn names(models: &[ModelId]) -> String {
    models.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Who may come to a websocket channel.
fn websocket(args: &JoinArgs) -> WebSocketConfig {
    let secret = settings::env("MESHAGENT_SECRET").map(Token::new);
    let wanted = matches!(args.join.websocket_auth, None | Some(WebsocketAuth::Jwt));
    let is_open = |channel: &AgentChannel| matches!(channel, AgentChannel::WebSocket { .. });
    if wanted && secret.is_none() && args.process.channels.iter().any(is_open) {
        output::note(
            "nobody can connect to the websocket channel: set MESHAGENT_SECRET, which signs for those who may, or pass --websocket-auth",
        );
    }
    WebSocketConfig {
        auth: match args.join.websocket_auth {
            None | Some(WebsocketAuth::Jwt) => WebSocketAuth::Jwt,
            Some(WebsocketAuth::Iap) => WebSocketAuth::Iap,
            Some(WebsocketAuth::None) => WebSocketAuth::None,
        },
        secret,
    }
}

/// Where the environment says that mail is sent, else the submission service of the agent's own server: its token goes
/// nowhere else. The agent's own name and token where the environment says nothing of them.
fn mail(place: &Place) -> MailConfig {
    let first = |names: &[&str]| names.iter().find_map(|name| settings::env(name));
    let port = settings::env("SMTP_PORT").and_then(|port| port.trim().parse().ok());
    let own = || place.api_url.as_deref().map(|url| url.trim_end_matches('/'));
    let local = || settings::default_data_dir().ok().and_then(|dir| LocalServer::load(&dir).ok().flatten());
    let local = || local().filter(|local| Some(local.api_url.trim_end_matches('/')) == own());
    let (host, of_server) = match first(&["SMTP_HOSTNAME", "MESHAGENT_MAIL_DOMAIN"]) {
        Some(host) => (host, None),
        None => match local().and_then(|local| local.smtp_submission) {
            Some(address) => (address.ip().to_string(), Some(address.port())),
            None => (own().map_or_else(|| "localhost".to_owned(), submission_host), None),
        },
    };
    MailConfig {
        host,
        port: port.or(of_server).unwrap_or(DEFAULT_PORT),
        user: settings::env("SMTP_USERNAME").unwrap_or_else(|| place.agent_name.clone()),
        password: settings::env("SMTP_PASSWORD").map_or_else(|| place.room.token.clone(), Token::new),
        hello: first(&["SMTP_LOCAL_HOSTNAME", "HOSTNAME"]).unwrap_or_else(|| "localhost".to_owned()),
    }
}

/// The host of a server; that of the hosted platform has one for mail.
fn submission_host(api_url: &str) -> String {
    let url = url::Url::parse(api_url).ok();
    let host = url.as_ref().and_then(|url| url.host_str()).unwrap_or("localhost");
    if host.ends_with(".meshagent.com") { DEFAULT_HOST.to_owned() } else { host.to_owned() }
}

fn warn(unsupported: &[String]) {
    for flag in unsupported {
        output::note(format!("warning: this version does not support {flag}; the agent starts without it"));
    }
}

/// The models this version can talk to, and the flags that name others.
fn models(args: &ModelArgs) -> Result<(Vec<ModelId>, Vec<String>), CliError> {
    let mut named: Vec<(String, String)> =
        args.models.iter().map(|m| (m.clone(), format!("--model {m}"))).collect();
    for backend in &args.backends {
        let of_backend = model::of_backend(backend).ok_or_else(|| {
            CliError::usage(format!("unknown backend `{backend}`")).hint("want llm, acp, codex or chat")
        })?;
        named.extend(of_backend.into_iter().map(|m| (m.to_owned(), format!("--backend {backend} ({m})"))));
    }
    if named.is_empty() {
        named.push((model::DEFAULT_MODEL.to_owned(), String::new()));
    }
    let (mut models, mut dropped) = (Vec::new(), Vec::new());
    for (text, flag) in named {
        let model: ModelId = text.parse().map_err(|e: model::InvalidModel| CliError::usage(e.to_string()))?;
        if !model.is_supported() {
            dropped.push(flag);
        } else if !models.contains(&model) {
            models.push(model);
        }
    }
    if models.is_empty() {
        return Err(CliError::user(format!("this version has no provider for {}", dropped.join(", ")))
            .hint("name a model of an OpenAI-compatible endpoint, or --model builtin/echo"));
    }
    Ok((models, dropped))
}

/// Tokens from which threads are shortened.
fn compaction(args: &ModelArgs) -> Option<u64> {
    let off = args.context_management == Some(ContextManagement::None);
    (!off).then(|| args.compaction_threshold.unwrap_or(COMPACTION_THRESHOLD))
}

/// The model that names threads: the one that is named, else a small one where the agent's own are of OpenAI.
fn decision_model(args: &ModelArgs, models: &[ModelId]) -> Result<Option<ModelId>, CliError> {
    let named = args.decision_model.as_deref();
    let of_openai = models.iter().any(|model| model.provider == "openai" || model.speaks());
    let Some(text) = named.or_else(|| of_openai.then_some(model::DECISION_MODEL)) else { return Ok(None) };
    let model: ModelId = text.parse().map_err(|e: model::InvalidModel| CliError::usage(e.to_string()))?;
    Ok(Some(model).filter(|model| model.is_supported() && !model.is_builtin() && !model.is_program()))
}

/// As the official tool does: what only OpenAI and Grok can do is refused where every named model is of another make.
fn refuse_mismatch(process: &ProcessArgs, models: &[ModelId]) -> Result<(), CliError> {
    let named: Vec<ModelId> = process.model.models.iter().filter_map(|m| m.parse().ok()).collect();
    let fits = |m: &ModelId| m.is_builtin() || matches!(m.provider.as_str(), "openai" | "grok");
    let flags = process.tools.openai_only();
    if flags.is_empty() || models.iter().chain(&named).any(fits) {
        return Ok(());
    }
    Err(CliError::user(format!("{} needs a model of OpenAI or Grok", flags.join(", ")))
        .hint("name one with --model, or leave the flag out"))
}

/// What holds for the endpoints of all providers.
#[derive(Clone, Default)]
pub struct Limits {
    /// Who asks the server's proxy. Secret.
    pub key: String,
    /// Address of the server; unknown inside some rooms.
    pub api_url: Option<String>,
    pub max_output_tokens: Option<u64>,
    pub reasoning_effort: Option<String>,
}

/// Where the providers are.
pub fn endpoints(limits: &Limits, env: &EndpointsEnv) -> EndpointsConfig {
    EndpointsConfig {
        openai: endpoint(limits, &env.openai, "https://api.openai.com/v1", "/openai/v1"),
        anthropic: endpoint(limits, &env.anthropic, "https://api.anthropic.com", "/anthropic"),
        grok: endpoint(limits, &env.grok, "https://api.x.ai/v1", "/grok/v1"),
    }
}

/// A key that is not the caller's own belongs to the provider's public address, where no other is named; without one the
/// server's proxy takes the caller's. The caller's own key goes to no other place than the server, unless it was named for it.
fn endpoint(limits: &Limits, env: &EndpointEnv, public: &str, proxy: &str) -> EndpointConfig {
    let own_key = env.api_key.as_deref().filter(|key| *key != limits.key);
    let base_url = match (&env.base_url, own_key, &limits.api_url) {
        (Some(url), _, _) => url.clone(),
        (None, Some(_), _) | (None, None, None) => public.to_owned(),
        (None, None, Some(api)) => format!("{}{proxy}", api.trim_end_matches('/')),
    };
    let named = env.api_key.as_deref().filter(|_| own_key.is_some() || env.base_url.is_some());
    let is_server = limits.api_url.as_deref().is_some_and(|api| is_same_origin(api, &base_url));
    let api_key = named.or_else(|| is_server.then_some(limits.key.as_str())).unwrap_or_default();
    EndpointConfig {
        base_url: base_url.trim_end_matches('/').to_owned(),
        api_key: api_key.to_owned(),
        max_output_tokens: limits.max_output_tokens.or(env.max_output_tokens),
        reasoning_effort: limits.reasoning_effort.clone(),
        search_domains: SearchDomains::default(),
    }
}

fn is_same_origin(one: &str, other: &str) -> bool {
    match (Url::parse(one), Url::parse(other)) {
        (Ok(one), Ok(other)) => one.origin().is_tuple() && one.origin() == other.origin(),
        _ => false,
    }
}

fn rules_config(args: &JoinArgs) -> RulesConfig {
    let given = &args.process.rules;
    let mut all = given.rules.clone();
    for file in &given.rules_files {
        match std::fs::read_to_string(file) {
            Ok(text) => all.extend(rules::lines(&text)),
            Err(error) => {
                output::note(format!("warning: rules file {file} cannot be read ({error}) and is left out"));
            }
        }
    }
    RulesConfig {
        rules: all,
        skill_dirs: given.skill_dirs.clone(),
        instructions: given.instructions.clone(),
        room_rules: given.room_rules.clone(),
        makes_room_rules: false,
        preamble_rule: on(args.join.preamble_rule.as_ref(), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_own_key_goes_to_the_server_and_nowhere_else() {
        let at = |api: Option<&str>, base: Option<&str>, key: Option<&str>| {
            let limits = Limits { key: "own".into(), api_url: api.map(str::to_owned), ..Limits::default() };
            let of = EndpointEnv {
                base_url: base.map(str::to_owned),
                api_key: key.map(str::to_owned),
                max_output_tokens: None,
            };
            let env = EndpointsEnv { openai: of, ..EndpointsEnv::default() };
            let found = endpoints(&limits, &env).openai;
            (found.base_url, found.api_key)
        };
        let is = |base: &str, key: &str| (base.to_owned(), key.to_owned());
        let server = Some("https://mesh.example/");
        assert_eq!(at(server, None, None), is("https://mesh.example/openai/v1", "own"));
        let proxy = "https://mesh.example/openai/v1";
        assert_eq!(at(server, Some(proxy), None), is(proxy, "own"));
        for other in
            ["https://other.example/v1", "http://mesh.example/v1", "https://mesh.example:8443/v1", "no url"]
        {
            assert_eq!(at(server, Some(other), None), is(other, ""), "{other}");
            assert_eq!(at(None, Some(other), None), is(other, ""), "{other}");
            assert_eq!(at(server, Some(other), Some("its")), is(other, "its"), "{other}");
        }
        let public = "https://api.openai.com/v1";
        assert_eq!(at(None, None, None), is(public, ""));
        assert_eq!(at(None, None, Some("own")), is(public, ""));
        assert_eq!(at(server, None, Some("its")), is(public, "its"));
        // Inside a room the server names both itself.
        assert_eq!(at(None, Some(proxy), Some("own")), is(proxy, "own"));
    }
}

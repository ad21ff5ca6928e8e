//! `meshagent agent serve`: a managed agent's process. The server starts it, with the agent's document in a variable.

use crate::agent::config::{
    COMPACTION_THRESHOLD, EndpointConfig, EndpointsConfig, MCP_CALL_MAX, MODEL_CALLS_MAX, McpConfig,
    McpSecret, ProgramsConfig, RulesConfig, STOP_GRACE, SearchDomains, ThreadsConfig, ToolsConfig,
    WebSocketAuth, WebSocketConfig,
};
use crate::agent::mail::{DEFAULT_PORT, MailConfig};
use crate::agent::{self, AgentChannel, Config};
use crate::cli::commands::process;
use crate::cli::error::CliError;
use crate::cli::{settings, telemetry};
use crate::client::room::{Options, Token, room_url};
use crate::client::token::participant_name;
use crate::spec::{self, AGENT_VARIABLE, AgentToolkit, ManagedAgent, ThreadIsolation};
use serde_json::Value;
use url::Url;

/// Where the threads are, among the datasets of the agent's room. Not named after the agent, whose name may change.
const THREADS_FOLDER: &str = "dataset://threads";

/// Runs the agent until it is stopped or its room ends the session.
pub async fn run() -> Result<(), CliError> {
    telemetry::init();
    let document = variable(AGENT_VARIABLE)?;
    let document: Value = serde_json::from_str(&document)
        .map_err(|error| CliError::user(format!("{AGENT_VARIABLE} is not JSON: {error}")))?;
    let document: ManagedAgent =
        spec::from_json(document).map_err(|problems| CliError::user(spec::summary(&problems)))?;
    let surroundings = Surroundings {
        api_url: variable("MESHAGENT_API_URL")?,
        room: variable("MESHAGENT_ROOM")?,
        token: variable("MESHAGENT_TOKEN")?,
        secret: variable("MESHAGENT_SECRET")?,
        port: variable("MESHAGENT_PORT")?.parse().map_err(|_| CliError::user("MESHAGENT_PORT is no port"))?,
    };
    process::run_agent(config(&document, surroundings)?).await
}

fn variable(name: &str) -> Result<String, CliError> {
    settings::env(name).ok_or_else(|| {
        CliError::user(format!("{name} is not set"))
            .hint("the server runs this command; make an agent with `meshagent agent create`")
    })
}

/// What the process finds around it.
struct Surroundings {
    api_url: String,
    room: String,
    /// Secret.
    token: String,
    /// Signs the tokens of callers. Secret.
    secret: String,
    port: u16,
}

fn config(document: &ManagedAgent, at: Surroundings) -> Result<Config, CliError> {
    let agent_name = participant_name(&at.token)
        .ok_or_else(|| CliError::user("MESHAGENT_TOKEN is not a participant token"))?;
    let mut models = Vec::new();
    for model in document.models() {
        let model = model.parse().map_err(|e: agent::model::InvalidModel| CliError::user(e.to_string()))?;
        if !models.contains(&model) {
            models.push(model);
        }
    }
    let token = Token::new(at.token.clone());
    Ok(Config {
        room: Options::new(room_url(&at.api_url, &at.room), token.clone()),
        channels: vec![AgentChannel::WebSocket { host: None, port: at.port }],
        models,
        rules: RulesConfig {
            rules: document.instructions.iter().cloned().collect(),
            ..RulesConfig::default()
        },
        tools: tools(document, &at)?,
        endpoints: endpoints(document, &at),
        programs: ProgramsConfig::default(),
        threads: ThreadsConfig {
            dir: THREADS_FOLDER.to_owned(),
            single: false,
            stored: document.store,
            by_participant: document.thread_isolation == ThreadIsolation::Participant,
        },
        // It has no channel for mail.
        mail: MailConfig {
            host: String::new(),
            port: DEFAULT_PORT,
            user: agent_name.clone(),
            password: token,
            hello: "localhost".to_owned(),
        },
        websocket: WebSocketConfig { auth: WebSocketAuth::Jwt, secret: Some(Token::new(at.secret)) },
        voice: std::sync::Arc::default(),
        voicebot: None,
        decision_model: None,
        model_calls_max: MODEL_CALLS_MAX,
        compaction_threshold: Some(COMPACTION_THRESHOLD),
        unsupported: vec![],
        stop_grace: STOP_GRACE,
        agent_name,
    })
}

fn tools(document: &ManagedAgent, at: &Surroundings) -> Result<ToolsConfig, CliError> {
    let mut tools = ToolsConfig::default();
    for toolkit in document.toolkits() {
        match toolkit {
            AgentToolkit::WebSearch { .. } => tools.web_search = true,
            AgentToolkit::WebFetch {} => tools.web_fetch = true,
            AgentToolkit::ImageGeneration { model, .. } => {
                tools.image_model = Some(model.clone().unwrap_or_else(|| spec::IMAGE_MODEL.to_owned()));
            }
            AgentToolkit::Mcp { .. } => {}
        }
    }
    let servers: Vec<_> = document.mcp_servers().collect();
    if !servers.is_empty() {
        let named = servers.iter().filter_map(|server| {
            let url = Url::parse(&server.server_url).ok()?;
            Some(McpSecret { id: server.use_proxy_secret.as_ref()?.trim().to_owned(), url })
        });
        tools.mcp = Some(McpConfig {
            call_max: MCP_CALL_MAX,
            allowed_hosts: vec![],
            proxy: Some((at.api_url.clone(), at.token.clone())),
            secrets: named.collect(),
            servers: servers.iter().map(serde_json::to_value).collect::<Result<_, _>>()?,
        });
    }
    Ok(tools)
}

/// All models are asked by way of the server, which holds them to what the agent may use.
fn endpoints(document: &ManagedAgent, at: &Surroundings) -> EndpointsConfig {
    let domains = document.toolkits().iter().find_map(|toolkit| match toolkit {
        AgentToolkit::WebSearch { allowed_domains, blocked_domains } => Some(SearchDomains {
            allowed: allowed_domains.clone().unwrap_or_default(),
            blocked: blocked_domains.clone().unwrap_or_default(),
        }),
        _ => None,
    });
    let of = |path: &str| EndpointConfig {
        base_url: format!("{}/{path}", at.api_url.trim_end_matches('/')),
        api_key: at.token.clone(),
        max_output_tokens: None,
        reasoning_effort: None,
        search_domains: domains.clone().unwrap_or_default(),
    };
    EndpointsConfig { openai: of("openai/v1"), anthropic: of("anthropic"), grok: of("grok/v1") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn made(more: &Value) -> Config {
        let mut document = json!({"metadata": {"name": "helper"}, "allowed_models":
            [{"provider": "openai", "model": "gpt-5.4"}, {"provider": "openai", "model": "builtin/echo"}]});
        for (key, value) in more.as_object().unwrap() {
            document[key] = value.clone();
        }
        let claims = json!({"name": "helper", "grants": []});
        let key = jsonwebtoken::EncodingKey::from_secret(b"x");
        let at = Surroundings {
            api_url: "http://127.0.0.1:1/".into(),
            room: "agent-1".into(),
            token: jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap(),
            secret: "s".into(),
            port: 7,
        };
        config(&spec::from_json(document).unwrap(), at).unwrap()
    }

    #[test]
    fn a_document_is_an_agent_that_asks_the_server_for_models() {
        let config =
            made(&json!({"instructions": "Be brief.", "thread_isolation": "participant", "store": false}));
        assert_eq!(config.agent_name, "helper");
        let models: Vec<_> = config.models.iter().map(ToString::to_string).collect();
        assert_eq!(models, ["openai/gpt-5.4", "builtin/echo"]);
        assert_eq!(config.rules.rules, ["Be brief."]);
        assert_eq!(config.endpoints.anthropic.base_url, "http://127.0.0.1:1/anthropic");
        assert!(config.threads.by_participant && !config.threads.stored);
        assert!(config.tools.mcp.is_none() && !config.tools.web_search);
        assert_eq!(config.websocket.auth, WebSocketAuth::Jwt);
    }

    #[test]
    fn toolkits_are_tools() {
        let config = made(&json!({"run_as": {"email": "a@b"}, "toolkits": [
            {"type": "web_search", "allowed_domains": ["docs.rs"]}, {"type": "web_fetch"},
            {"type": "image_generation"},
            {"type": "mcp", "servers": [{"server_label": "a", "server_url": "https://a.example/mcp",
                "use_proxy_secret": "token"}]}]}));
        assert!(config.tools.web_search && config.tools.web_fetch);
        assert_eq!(config.endpoints.openai.search_domains.allowed, ["docs.rs"]);
        assert_eq!(config.tools.image_model.as_deref(), Some(spec::IMAGE_MODEL));
        let mcp = config.tools.mcp.unwrap();
        assert_eq!(
            (mcp.secrets[0].id.as_str(), mcp.secrets[0].url.as_str()),
            ("token", "https://a.example/mcp")
        );
        assert_eq!(mcp.servers[0]["server_label"], "a");
    }
}

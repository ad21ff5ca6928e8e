//! Rules of `kind: ManagedAgent` between fields, and what of it this version does not do: refused, never left out.

use super::managed_agent::{
    AGENT_BYTES_MAX, AGENT_NAME_MAX, AgentMcpServer, AgentToolkit, AgentVariable, AllowedModel, ECHO_MODEL,
    ENVIRONMENT_MAX, LlmDelegation, ManagedAgent, ModelProvider, SECRETS_READ, ThreadIsolation,
};
use super::problem::{Finding, Path, shown};
use std::collections::BTreeSet;
use url::Url;

/// Most bytes of a variable's name.
const VARIABLE_NAME_MAX: usize = 128;
/// Beginnings of variables that are the server's to set.
const RESERVED: [&str; 5] = ["MESHAGENT_", "OPENAI_", "ANTHROPIC_", "LD_", "SMTP_"];
/// In the place of an agent's name in addresses.
const TAKEN: &str = "sessions";

pub(super) fn check(agent: &ManagedAgent) -> Vec<Finding> {
    let mut out = Findings(Vec::new());
    out.name(&agent.metadata.name);
    out.unsupported(agent);
    for (at, model) in agent.allowed_models.iter().enumerate() {
        out.model(model, at);
    }
    for (at, toolkit) in agent.toolkits().iter().enumerate() {
        out.toolkit(agent, toolkit, at);
    }
    out.environment(agent);
    let bytes = serde_json::to_string(agent).map_or(0, |text| text.len());
    if bytes > AGENT_BYTES_MAX {
        out.say("instructions", format!("the document has {bytes} bytes, and may have {AGENT_BYTES_MAX}"));
    }
    out.0
}

/// Whether a text may be the name of an agent: it is a part of addresses.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=AGENT_NAME_MAX).contains(&name.len())
        && name.starts_with(plain)
        && name.ends_with(plain)
        && name.chars().all(|c| plain(c) || matches!(c, '-' | '_' | '.'))
}

struct Findings(Vec<Finding>);

impl Findings {
    fn say(&mut self, path: &str, message: impl Into<String>) {
        self.0.push(Finding::new(Path::of(path), message));
    }

    fn advise(&mut self, path: &str, message: impl Into<String>, hint: &str) {
        self.0.push(Finding::new(Path::of(path), message).hint(hint));
    }

    fn name(&mut self, name: &str) {
        if !is_name(name) {
            let message = format!(
                "`{}` is not a name for an agent: use 1 to {AGENT_NAME_MAX} of a-z, 0-9, `-`, `_` and `.`, beginning \
                 and ending with a letter or digit",
                shown(name)
            );
            self.say("metadata.name", message);
        }
        if name == TAKEN {
            self.say(
                "metadata.name",
                format!("`{TAKEN}` is no name for an agent: its address would be that of the runs of all"),
            );
        }
    }

    fn unsupported(&mut self, agent: &ManagedAgent) {
        if agent.guardrails.as_ref().is_some_and(|rules| rules.values().any(|rule| !is_empty(rule))) {
            self.advise("guardrails", "this version holds no guardrails", "leave them out");
        }
        if !agent.tools.is_empty() {
            let hint = "offer it as a tool of an MCP server, and name that in `toolkits`";
            self.advise("tools", "this version runs no Python tools", hint);
        }
        if !agent.connections.is_empty() {
            self.advise("connections", "only Python tools use connections", "leave them out");
        }
        if agent.llm_delegation == LlmDelegation::Required {
            let hint = "write `optional`: the project pays, within its budgets";
            self.advise("llm_delegation", "this version does not ask callers to pay", hint);
        }
        self.modalities(agent.output_modalities.as_deref(), "output_modalities");
    }

    fn modalities(&mut self, modalities: Option<&[String]>, path: &str) {
        if let Some(other) = modalities.unwrap_or_default().iter().find(|modality| *modality != "text") {
            let message = format!("agents of this version answer with text, not with `{}`", shown(other));
            self.advise(path, message, "write `[text]`, or leave it out");
        }
    }

    fn model(&mut self, model: &AllowedModel, at: usize) {
        let path = format!("allowed_models[{at}]");
        let name = model.model.trim();
        if name.is_empty() || (name.contains(['/', '*']) && name != ECHO_MODEL) {
            let message = format!("`{}` is not a model of {}", shown(name), model.provider.as_str());
            let hint = format!("write the provider's own name for it, without a `/`, or `{ECHO_MODEL}`");
            self.advise(&format!("{path}.model"), message, &hint);
        }
        let modalities = format!("{path}.output_modalities");
        if model.output_modalities.is_some() && model.provider != ModelProvider::Openai {
            self.advise(&modalities, "only models of openai have this", "leave it out");
        } else {
            self.modalities(model.output_modalities.as_deref(), &modalities);
        }
    }

    fn toolkit(&mut self, agent: &ManagedAgent, toolkit: &AgentToolkit, at: usize) {
        let path = format!("toolkits[{at}]");
        match toolkit {
            AgentToolkit::WebSearch { allowed_domains, blocked_domains } => {
                let blocked = format!("{path}.blocked_domains");
                if allowed_domains.is_some() && blocked_domains.is_some() {
                    self.say(&blocked, "a search has allowed or blocked domains, not both");
                }
                let other = |model: &AllowedModel| model.provider != ModelProvider::Anthropic;
                if blocked_domains.is_some() && agent.allowed_models.iter().any(other) {
                    let hint = "write `allowed_domains`, or allow models of anthropic only";
                    self.advise(&blocked, "only models of anthropic leave domains out", hint);
                }
            }
            AgentToolkit::WebFetch {} => {}
            AgentToolkit::ImageGeneration {
                background,
                input_image_mask_url,
                moderation,
                output_compression,
                output_format,
                quality,
                size,
                model: _,
                partial_images: _,
            } => {
                if agent.thread_isolation == ThreadIsolation::Participant {
                    let hint = "write `thread_isolation: global`, or leave the toolkit out";
                    self.advise(&path, "images are kept for all threads together", hint);
                }
                let fields = [
                    ("background", background.is_some()),
                    ("input_image_mask_url", input_image_mask_url.is_some()),
                    ("moderation", moderation.is_some()),
                    ("output_compression", output_compression.is_some()),
                    ("output_format", output_format.is_some()),
                    ("quality", quality.is_some()),
                    ("size", size.is_some()),
                ];
                for (field, _) in fields.iter().filter(|(_, is_set)| *is_set) {
                    let message = format!("this version does not pass `{field}` on");
                    self.advise(&format!("{path}.{field}"), message, "leave it out; the model chooses");
                }
            }
            AgentToolkit::Mcp { servers } => {
                let mut labels = BTreeSet::new();
                for (n, server) in servers.iter().enumerate() {
                    let path = format!("{path}.servers[{n}]");
                    if !labels.insert(server.server_label.trim()) {
                        self.say(&format!("{path}.server_label"), "another server has this label");
                    }
                    self.server(agent, server, &path);
                }
            }
        }
    }

    fn server(&mut self, agent: &ManagedAgent, server: &AgentMcpServer, path: &str) {
        let url = Url::parse(&server.server_url);
        if !url.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some()) {
            let message = "this is not the address of a server";
            self.advise(&format!("{path}.server_url"), message, "write http://… or https://…");
        }
        if server.openai_connector_id.is_some() {
            let message = "this is a connector of OpenAI, which only OpenAI reaches";
            self.advise(&format!("{path}.openai_connector_id"), message, "give a server_url instead");
        }
        if server.use_proxy_secret.is_some() && agent.run_as.is_none() {
            let hint = "add `run_as: {email: <service account>}`: it says whose secret it is";
            self.advise(&format!("{path}.use_proxy_secret"), "`run_as` is required for secrets", hint);
        }
    }

    fn environment(&mut self, agent: &ManagedAgent) {
        let variables = &agent.environment;
        if variables.len() > ENVIRONMENT_MAX {
            let message = format!("there are {} variables, and may be {ENVIRONMENT_MAX}", variables.len());
            self.say("environment", message);
        }
        let mut names = BTreeSet::new();
        for (at, variable) in variables.iter().enumerate() {
            let path = format!("environment[{at}]");
            self.variable(variable, &path);
            if !names.insert(&variable.name) {
                self.say(&format!("{path}.name"), "another variable has this name");
            }
            let may_read = |run_as: &super::AgentRunAs| run_as.scopes.iter().any(|s| s == SECRETS_READ);
            if variable.secret.is_some() && !agent.run_as.as_ref().is_some_and(may_read) {
                let message = format!("a variable from a secret needs `run_as` with `{SECRETS_READ}`");
                let hint = "add `run_as: {email: <service account>, scopes: [secrets:read]}`";
                self.advise(&format!("{path}.secret"), message, hint);
            }
        }
    }

    fn variable(&mut self, variable: &AgentVariable, path: &str) {
        let name = &variable.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let fits = name.len() <= VARIABLE_NAME_MAX
            && name.starts_with(|c: char| plain(c) && !c.is_ascii_digit())
            && name.chars().all(plain);
        if !fits {
            let message = format!("`{}` is not a name for a variable", shown(name));
            self.say(&format!("{path}.name"), message);
        } else if RESERVED.iter().any(|prefix| name.starts_with(prefix)) {
            let message = format!("`{name}` is the server's to set");
            self.advise(&format!("{path}.name"), message, "choose another name");
        }
        if variable.value.is_some() == variable.secret.is_some() {
            self.say(path, "a variable has exactly one of `value` and `secret`");
        }
        if variable.value.as_ref().is_some_and(|value| value.contains('\0')) {
            self.say(&format!("{path}.value"), "a variable has no NUL in it");
        }
    }
}

fn is_empty(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null => true,
        serde_json::Value::Array(items) => items.is_empty(),
        serde_json::Value::Object(fields) => fields.values().all(is_empty),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ManagedAgent, from_json, summary};
    use serde_json::{Value, json};

    fn read(more: Value) -> Result<ManagedAgent, String> {
        let mut document = json!({"version": "v1", "kind": "ManagedAgent", "metadata": {"name": "helper"},
            "allowed_models": [{"provider": "openai", "model": "gpt-5.4"}]});
        for (key, value) in more.as_object().unwrap() {
            document[key] = value.clone();
        }
        from_json(document).map_err(|problems| summary(&problems))
    }

    #[test]
    fn the_official_clients_form_is_read() {
        let sent = json!({"version": "v1", "kind": "ManagedAgent", "id": null,
            "metadata": {"name": " Helper ", "annotations": {}},
            "allowed_models": [{"provider": "openai", "model": "gpt-5.4", "output_modalities": null},
                {"provider": "anthropic", "model": "claude-sonnet-4-6"}],
            "guardrails": null, "run_as": null, "llm_delegation": "optional", "thread_isolation": "global",
            "instructions": "Be brief.", "toolkits": [{"type": "web_fetch"},
                {"type": "image_generation", "background": null, "input_image_mask_url": null, "model": null,
                 "moderation": null, "output_compression": null, "output_format": null, "partial_images": 1,
                 "quality": null, "size": null}],
            "tools": [], "connections": {}, "environment": [{"name": "A", "value": "b", "secret": null}],
            "output_modalities": null, "store": true});
        let agent: ManagedAgent = from_json(sent).unwrap();
        assert_eq!(agent.metadata.name, "helper");
        assert_eq!(agent.models().collect::<Vec<_>>(), ["openai/gpt-5.4", "anthropic/claude-sonnet-4-6"]);
    }

    #[test]
    fn older_forms_are_read_from_requests() {
        let agent: ManagedAgent = from_json(json!({"name": "Old", "allowed_models":
            [{"provider": "openai", "model": "builtin/echo"}], "toolkits": [{"type": "mcp", "servers":
            [{"server_label": "a", "server_url": "https://a.example", "authorization": "Bearer x"}]}]}))
        .unwrap();
        assert_eq!(
            (agent.metadata.name.as_str(), agent.models().next().as_deref()),
            ("old", Some("builtin/echo"))
        );
        assert!(!serde_json::to_string(&agent).unwrap().contains("Bearer"));
    }

    #[test]
    fn what_this_version_does_not_do_is_refused() {
        for (more, why) in [
            (json!({"guardrails": {"input": [{"name": "x"}]}}), "no guardrails"),
            (json!({"tools": [{"type": "python", "name": "t"}]}), "no Python tools"),
            (json!({"connections": {"a": {"base_url": "https://a"}}}), "connections"),
            (json!({"llm_delegation": "required"}), "callers to pay"),
            (json!({"output_modalities": ["audio"]}), "not with `audio`"),
            (
                json!({"toolkits": [{"type": "image_generation", "size": "1024x1024"}]}),
                "does not pass `size` on",
            ),
            (json!({"toolkits": [{"type": "shell"}]}), "toolkits"),
        ] {
            let said = read(more).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        assert!(read(json!({"guardrails": {"input": [], "output": {"checks": []}}})).is_ok());
    }

    #[test]
    fn rules_between_fields_are_held() {
        let server = |more: Value| {
            let mut server = json!({"server_label": "a", "server_url": "https://a.example"});
            more.as_object().unwrap().iter().for_each(|(key, value)| server[key] = value.clone());
            json!({"toolkits": [{"type": "mcp", "servers": [server]}]})
        };
        let secret = json!([{"name": "A", "secret": {"id": "s"}}]);
        for (more, why) in [
            (json!({"metadata": {"name": "a/b"}}), "is not a name for an agent"),
            (json!({"metadata": {"name": ""}}), "is not a name for an agent"),
            (json!({"metadata": {"name": " Sessions"}}), "is no name for an agent"),
            (json!({"allowed_models": []}), "allowed_models"),
            (json!({"allowed_models": [{"provider": "openai", "model": "openai/gpt"}]}), "without a `/`"),
            (json!({"allowed_models": [{"provider": "openai", "model": "gpt-*"}]}), "without a `/`"),
            (
                json!({"toolkits": [{"type": "image_generation"}], "thread_isolation": "participant"}),
                "kept for all threads",
            ),
            (json!({"allowed_models": [{"provider": "mine", "model": "gpt"}]}), "provider"),
            (json!({"environment": [{"name": "A"}]}), "exactly one of"),
            (json!({"environment": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}), "another"),
            (json!({"environment": [{"name": "OPENAI_API_KEY", "value": "x"}]}), "the server's to set"),
            (json!({"environment": [{"name": "1A", "value": "x"}]}), "not a name for a variable"),
            (json!({"environment": secret}), "needs `run_as`"),
            (json!({"environment": secret, "run_as": {"email": "a@b"}}), "needs `run_as`"),
            (server(json!({"server_url": "file:///etc"})), "not the address"),
            (server(json!({"use_proxy_secret": "s"})), "`run_as` is required"),
            (server(json!({"openai_connector_id": "c"})), "connector of OpenAI"),
            (
                json!({"toolkits": [{"type": "web_search", "blocked_domains": ["a"]}]}),
                "only models of anthropic",
            ),
            (json!({"instructions": "x".repeat(100_000)}), "bytes, and may have"),
        ] {
            let said = read(more).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        let allowed = json!({"email": " Ops@B ", "scopes": ["secrets:read"]});
        let agent = read(json!({"environment": secret, "run_as": allowed})).unwrap();
        assert_eq!(agent.run_as.unwrap().email, "ops@b");
    }
}

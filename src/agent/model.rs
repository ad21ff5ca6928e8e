//! How `--model` names a model. Pure.

use super::message::{ModelInfo, ProviderInfo};
use super::voice::{self, VoiceConfig};
use std::fmt;
use std::str::FromStr;

/// The model used when none is named.
pub const DEFAULT_MODEL: &str = "gpt-6.1-sol";
/// The model that names threads when none is named for that.
pub const DECISION_MODEL: &str = "gpt-5.4-mini";
/// The built-in provider's name.
pub const BUILTIN: &str = "builtin";

/// What drives the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Llm,
    /// A program that speaks the Agent Client Protocol.
    Acp,
    /// Codex, by its app server.
    Codex,
    Chat,
}

impl Backend {
    /// The backend that messages name so.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "llm" => Some(Self::Llm),
            "acp" => Some(Self::Acp),
            "codex" => Some(Self::Codex),
            "chat" => Some(Self::Chat),
            _ => None,
        }
    }
}

/// The only model of an agent that is a program: what that program uses is its own matter.
pub const ACP_MODEL: &str = "agent";

/// A model as selected: `NAME`, `PROVIDER/NAME` or `BACKEND/PROVIDER/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelId {
    pub backend: Backend,
    pub provider: String,
    pub name: String,
}

/// Why a text selects no model.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` selects no model: {reason}; want NAME, PROVIDER/NAME or BACKEND/PROVIDER/NAME")]
pub struct InvalidModel {
    text: String,
    reason: String,
}

const PROVIDERS: [&str; 6] = ["openai", "openai-chat", "anthropic", "grok", voice::PROVIDER, BUILTIN];

impl FromStr for ModelId {
    type Err = InvalidModel;

    fn from_str(text: &str) -> Result<Self, InvalidModel> {
        let invalid = |reason: &str| InvalidModel { text: text.to_owned(), reason: reason.to_owned() };
        let text = if voice::ALIASES.contains(&text.trim().to_ascii_lowercase().as_str()) {
            voice::DEFAULT_MODEL
        } else {
            text
        };
        let parts: Vec<_> = text.split('/').map(str::trim).collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(invalid("a part of it is empty"));
        }
        let llm = |provider: &str, name: &str| Self {
            backend: Backend::Llm,
            provider: provider.to_owned(),
            name: name.to_owned(),
        };
        let known = |provider: &str| PROVIDERS.contains(&provider);
        match parts.as_slice() {
            [name] | ["llm", name] => Ok(llm(provider_of(name), name)),
            ["acp", ACP_MODEL] => Ok(Self { backend: Backend::Acp, ..llm("acp", ACP_MODEL) }),
            ["acp", _] => Err(invalid("the agent's program chooses its own model; write acp/agent")),
            ["codex", name] => Ok(Self { backend: Backend::Codex, ..llm("codex", name) }),
            ["chat", "none"] => Ok(Self { backend: Backend::Chat, ..llm("chat", "none") }),
            [provider, name] | ["llm", provider, name] if known(provider) => {
                if *provider == BUILTIN && *name != "echo" {
                    return Err(invalid("the only built-in model is builtin/echo"));
                }
                Ok(llm(provider, name))
            }
            ["codex", provider, name] => Ok(Self { backend: Backend::Codex, ..llm(provider, name) }),
            [_, _] => Err(invalid("its provider is unknown")),
            _ => Err(invalid("its backend is unknown")),
        }
    }
}

/// How the names of models that hear and speak begin.
const SPEAKING: [&str; 3] = ["gpt-realtime", "gpt-4o-realtime", "gpt-4o-mini-realtime"];

fn provider_of(name: &str) -> &'static str {
    if name.starts_with("claude-") {
        "anthropic"
    } else if name.starts_with("grok-") {
        "grok"
    } else if SPEAKING.iter().any(|begin| name.starts_with(begin)) {
        voice::PROVIDER
    } else {
        "openai"
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.backend {
            Backend::Llm => write!(f, "{}/{}", self.provider, self.name),
            Backend::Acp => write!(f, "acp/{}", self.name),
            Backend::Codex => write!(f, "codex/{}", self.name),
            Backend::Chat => f.write_str("chat/none"),
        }
    }
}

impl ModelId {
    /// Whether this version can talk to it.
    #[must_use]
    pub fn is_supported(&self) -> bool {
        match self.backend {
            Backend::Llm | Backend::Acp | Backend::Codex => true,
            Backend::Chat => false,
        }
    }

    /// Whether a program of its own does its turns, with its own tools.
    #[must_use]
    pub fn is_program(&self) -> bool {
        matches!(self.backend, Backend::Acp | Backend::Codex)
    }

    /// Whether it hears and speaks, by the realtime protocol.
    #[must_use]
    pub fn speaks(&self) -> bool {
        self.backend == Backend::Llm && self.provider == voice::PROVIDER
    }

    #[must_use]
    pub fn is_builtin(&self) -> bool {
        self.provider == BUILTIN
    }

    /// Whether its provider can search the web by itself.
    #[must_use]
    pub fn searches(&self) -> bool {
        self.is_program() || matches!(self.provider.as_str(), "openai" | "anthropic" | "grok")
    }

    /// The backend as messages name it.
    #[must_use]
    pub fn backend_name(&self) -> &'static str {
        match self.backend {
            Backend::Llm => "llm",
            Backend::Acp => "acp",
            Backend::Codex => "codex",
            Backend::Chat => "chat",
        }
    }

    /// Whether `text`, in any of its spellings, means this model.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        text.parse::<Self>().is_ok_and(|other| other == *self)
    }
}

/// The models as clients list them, by provider.
#[must_use]
pub fn catalogue(models: &[ModelId], voice: &VoiceConfig) -> Vec<ProviderInfo> {
    let mut providers: Vec<ProviderInfo> = Vec::new();
    for (n, model) in models.iter().enumerate() {
        let mut info = ModelInfo {
            name: model.name.clone(),
            modalities: vec!["text".to_owned()],
            supports_attachments: true,
            accepts: vec!["*/*".to_owned()],
            active: n == 0,
            ..ModelInfo::default()
        };
        if model.speaks() {
            voice.describe(&mut info);
        }
        let same = |p: &&mut ProviderInfo| {
            p.name == model.provider && p.backend.as_deref() == Some(model.backend_name())
        };
        match providers.iter_mut().find(same) {
            Some(provider) => provider.models.push(info),
            None => providers.push(ProviderInfo {
                name: model.provider.clone(),
                friendly_name: friendly(&model.provider).to_owned(),
                description: None,
                backend: Some(model.backend_name().to_owned()),
                default_model: model.name.clone(),
                models: vec![info],
            }),
        }
    }
    providers
}

fn friendly(provider: &str) -> &str {
    match provider {
        "openai" => "OpenAI",
        "openai-chat" => "Chat Completions",
        "anthropic" => "Anthropic",
        "grok" => "Grok",
        voice::PROVIDER => "OpenAI Realtime",
        "acp" => "Agent Client Protocol",
        "codex" => "Codex",
        BUILTIN => "Built in",
        other => other,
    }
}

/// Why no model fits what a turn names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unknown {
    pub message: String,
    pub code: &'static str,
}

/// The model among `models` that a turn names by backend, provider and name; `present` where it names none.
pub fn choose<'a>(
    models: &'a [ModelId],
    present: &'a ModelId,
    backend: Option<&str>,
    provider: Option<&str>,
    name: Option<&str>,
) -> Result<&'a ModelId, Unknown> {
    let named = |text: Option<&str>| text.map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned);
    let (backend, provider, name) = (named(backend), named(provider), named(name));
    let known = || models.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let unknown = |what: &str, given: &str, code| Unknown {
        message: format!("{what} `{given}` is none of this agent's; its models are {}", known()),
        code,
    };
    let of_backend: Vec<_> =
        models.iter().filter(|m| backend.as_deref().is_none_or(|b| m.backend_name() == b)).collect();
    if let (true, Some(backend)) = (of_backend.is_empty(), &backend) {
        return Err(unknown("backend", backend, "unknown_backend"));
    }
    let of_provider: Vec<_> =
        of_backend.into_iter().filter(|m| provider.as_deref().is_none_or(|p| m.provider == p)).collect();
    if let (true, Some(provider)) = (of_provider.is_empty(), &provider) {
        return Err(unknown("provider", provider, "unknown_provider"));
    }
    let Some(name) = name else {
        let same = of_provider.iter().find(|m| **m == present);
        return same.or(of_provider.first()).copied().ok_or_else(|| unknown("model", "", "unknown_model"));
    };
    let fits = |m: &&ModelId| m.name == name || m.matches(&name);
    let found = of_provider
        .iter()
        .copied()
        .find(|m| *m == present && fits(m))
        .or_else(|| of_provider.into_iter().find(fits));
    found.ok_or_else(|| unknown("model", &name, "unknown_model"))
}

/// The models that `--backend NAME` stands for; `None` for an unknown one.
#[must_use]
pub fn of_backend(backend: &str) -> Option<Vec<&'static str>> {
    match backend {
        "llm" => Some(vec![DEFAULT_MODEL, "claude-3-5-sonnet-latest"]),
        "acp" => Some(vec!["acp/agent"]),
        "codex" => Some(vec!["codex/gpt-6.1-sol"]),
        "chat" => Some(vec!["chat/none"]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_or_the_path_gives_the_provider() {
        let read = |text: &str| text.parse::<ModelId>().unwrap().to_string();
        assert_eq!(read("gpt-6.1-sol"), "openai/gpt-6.1-sol");
        assert_eq!(read("claude-x"), "anthropic/claude-x");
        assert_eq!(read("grok-4"), "grok/grok-4");
        assert_eq!(read("gpt-realtime-2"), "openai-realtime/gpt-realtime-2");
        assert_eq!(read("llm/o3"), "openai/o3");
        assert_eq!(read("llm/openai/o3"), "openai/o3");
        assert_eq!(read("codex/gpt-5"), "codex/gpt-5");
        assert_eq!(read("chat/none"), "chat/none");
        assert_eq!(read("acp/agent"), "acp/agent");
        assert!("acp/gpt".parse::<ModelId>().unwrap_err().to_string().contains("acp/agent"));
        assert_eq!(read("builtin/echo"), "builtin/echo");
        assert!("builtin/echo".parse::<ModelId>().unwrap().is_supported());
        assert!("claude-x".parse::<ModelId>().unwrap().is_supported());
        assert_eq!(read("openai-chat/llama3.2"), "openai-chat/llama3.2");
        assert_eq!(read("gpt-4o-mini-realtime-preview"), "openai-realtime/gpt-4o-mini-realtime-preview");
        for alias in ["openai-realtime", "OpenAI/Realtime", "openai:realtime", "openai-realtime/gpt-realtime"]
        {
            let model: ModelId = alias.parse().unwrap();
            assert!(model.speaks() && model.name == "gpt-realtime", "{alias}");
        }
        assert!("gpt-realtime-2".parse::<ModelId>().unwrap().is_supported());
        assert!(!"chat/none".parse::<ModelId>().unwrap().is_supported());
    }

    #[test]
    fn a_turn_chooses_among_the_models_of_the_agent() {
        let models: Vec<ModelId> =
            ["gpt-a", "gpt-b", "builtin/echo"].iter().map(|m| m.parse().unwrap()).collect();
        let present = &models[1];
        let name = |backend, provider, name| match choose(&models, present, backend, provider, name) {
            Ok(model) => model.name.clone(),
            Err(error) => error.code.to_owned(),
        };
        assert_eq!(name(None, None, None), "gpt-b");
        assert_eq!(name(Some("llm"), Some("openai"), None), "gpt-b");
        assert_eq!(name(None, Some("builtin"), None), "echo");
        assert_eq!(name(None, None, Some("openai/gpt-a")), "gpt-a");
        assert_eq!(name(None, None, Some(" ")), "gpt-b");
        assert_eq!(name(Some("codex"), None, None), "unknown_backend");
        assert_eq!(name(None, Some("zap"), None), "unknown_provider");
        assert_eq!(name(None, Some("builtin"), Some("gpt-a")), "unknown_model");
    }

    #[test]
    fn unknown_providers_and_backends_are_refused() {
        for (text, why) in
            [("zap/x", "provider"), ("a/b/c", "backend"), ("x/", "empty"), ("builtin/gpt", "builtin/echo")]
        {
            let error = text.parse::<ModelId>().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}

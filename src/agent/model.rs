//! How `--model` names a model. Pure.

use std::fmt;
use std::str::FromStr;

/// The model used when none is named.
pub const DEFAULT_MODEL: &str = "gpt-6.1-sol";
/// The built-in provider's name.
pub const BUILTIN: &str = "builtin";

/// What drives the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Llm,
    Codex,
    Chat,
}

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

const PROVIDERS: [&str; 5] = ["openai", "anthropic", "grok", "openai-realtime", BUILTIN];

impl FromStr for ModelId {
    type Err = InvalidModel;

    fn from_str(text: &str) -> Result<Self, InvalidModel> {
        let invalid = |reason: &str| InvalidModel { text: text.to_owned(), reason: reason.to_owned() };
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

fn provider_of(name: &str) -> &'static str {
    if name.starts_with("claude-") {
        "anthropic"
    } else if name.starts_with("grok-") {
        "grok"
    } else if name.starts_with("gpt-realtime") || name.starts_with("gpt-4o-realtime") {
        "openai-realtime"
    } else {
        "openai"
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.backend {
            Backend::Llm => write!(f, "{}/{}", self.provider, self.name),
            Backend::Codex => write!(f, "codex/{}", self.name),
            Backend::Chat => f.write_str("chat/none"),
        }
    }
}

impl ModelId {
    /// Whether this version can talk to it.
    #[must_use]
    pub fn is_supported(&self) -> bool {
        self.backend == Backend::Llm && matches!(self.provider.as_str(), "openai" | BUILTIN)
    }

    #[must_use]
    pub fn is_builtin(&self) -> bool {
        self.provider == BUILTIN
    }

    /// Whether `text`, in any of its spellings, means this model.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        text.parse::<Self>().is_ok_and(|other| other == *self)
    }
}

/// The models that `--backend NAME` stands for; `None` for an unknown one.
#[must_use]
pub fn of_backend(backend: &str) -> Option<Vec<&'static str>> {
    match backend {
        "llm" => Some(vec![DEFAULT_MODEL, "claude-3-5-sonnet-latest"]),
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
        assert_eq!(read("builtin/echo"), "builtin/echo");
        assert!("builtin/echo".parse::<ModelId>().unwrap().is_supported());
        assert!(!"claude-x".parse::<ModelId>().unwrap().is_supported());
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

//! What of a provider's interface is passed on, and what is known of each path (REST reference §9).

use super::Provider;

/// How a request travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    Http,
    WebSocket,
}

/// Which interface a path belongs to, as router documents call them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Completions,
    ChatCompletions,
    Responses,
    Messages,
    Realtime,
    /// Lists of models, embeddings, images, sound.
    Other,
}

/// One path that is passed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    pub provider: Provider,
    /// Below the provider's address, no leading slash.
    pub path: String,
    pub form: Form,
    /// Whether it makes something, and so uses tokens.
    pub generates: bool,
    /// Models may be named below the top of the body.
    pub nested_models: bool,
    /// What it uses is told later, elsewhere: it cannot be held to a budget.
    pub unmetered: bool,
    /// Reaches what others may have left with the provider: only under a key that the project has for itself.
    pub stored: bool,
    /// Only tells of models, and so is only read.
    pub lists: bool,
}

/// Exact paths and beginnings of paths below `v1/`.
const OPENAI: (&[&str], &[&str]) = (
    &[
        "chat/completions",
        "responses",
        "decisions",
        "responses/compact",
        "responses/input_tokens",
        "embeddings",
        "audio/speech",
        "audio/transcriptions",
        "audio/translations",
        "models",
        "realtime",
    ],
    &["models/", "images/", "realtime/"],
);
const ANTHROPIC: (&[&str], &[&str]) = (
    &["messages", "messages/count_tokens", "messages/batches", "complete", "models"],
    &["models/", "messages/batches/"],
);
const GROK: (&[&str], &[&str]) = (&["models", "messages", "responses"], &["models/", "responses/"]);

impl Operation {
    /// The operation of a path below `/openai/v1/`, `/anthropic/` or `/grok/v1/`; `None` where it is not passed on.
    #[must_use]
    pub fn of(provider: Provider, path: &str) -> Option<Self> {
        let below = match provider {
            Provider::Anthropic => path.strip_prefix("v1/")?,
            Provider::OpenAi | Provider::Grok => path,
        };
        // What the provider's own router might read as another path is not passed on.
        let odd = below.split('/').any(|part| part.is_empty() || part == "." || part == "..");
        if odd || below.contains(['\\', '%', '?', '#', ';']) || below.chars().any(char::is_control) {
            return None;
        }
        let (exact, beginnings) = match provider {
            Provider::OpenAi => OPENAI,
            Provider::Anthropic => ANTHROPIC,
            Provider::Grok => GROK,
        };
        let allowed = exact.contains(&below) || beginnings.iter().any(|begin| below.starts_with(begin));
        allowed.then(|| Self::known(provider, path, below))
    }

    fn known(provider: Provider, path: &str, below: &str) -> Self {
        let form = match below.split('/').next().unwrap_or_default() {
            "chat" => Form::ChatCompletions,
            "responses" => Form::Responses,
            "messages" => Form::Messages,
            "realtime" => Form::Realtime,
            "complete" => Form::Completions,
            _ => Form::Other,
        };
        let asks = below == "models" || below.starts_with("models/");
        let counts = below.ends_with("/count_tokens") || below.ends_with("/input_tokens");
        let batches = below.starts_with("messages/batches");
        let realtime = form == Form::Realtime;
        Self {
            provider,
            path: path.to_owned(),
            form,
            generates: !(asks || counts || batches || realtime),
            nested_models: batches || realtime,
            unmetered: batches || (realtime && below != "realtime") || below == "audio/speech",
            stored: batches || (below.starts_with("responses/") && !counts && below != "responses/compact"),
            lists: asks,
        }
    }

    /// The model that the path names.
    #[must_use]
    pub fn named_model(&self) -> Option<&str> {
        let below = self.path.strip_prefix("v1/").unwrap_or(&self.path);
        below.strip_prefix("models/").filter(|_| self.lists)
    }

    /// A call over WebRTC or a telephone: its session is described in a form that is passed on unread.
    #[must_use]
    pub fn is_realtime_call(&self) -> bool {
        self.path == "realtime/calls" || self.path.starts_with("realtime/calls/")
    }

    /// Whether it may be a WebSocket.
    #[must_use]
    pub fn takes_socket(&self) -> bool {
        self.provider == Provider::OpenAi && matches!(self.path.as_str(), "realtime" | "responses")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_listed_paths_are_passed_on() {
        let of = |provider, path| Operation::of(provider, path);
        for (provider, path) in [
            (Provider::OpenAi, "responses"),
            (Provider::OpenAi, "chat/completions"),
            (Provider::OpenAi, "models/gpt-4o"),
            (Provider::OpenAi, "images/generations"),
            (Provider::Anthropic, "v1/messages"),
            (Provider::Anthropic, "v1/messages/batches/b1/results"),
            (Provider::Grok, "responses/r1"),
        ] {
            assert!(of(provider, path).is_some(), "{provider} {path}");
        }
        for (provider, path) in [
            (Provider::OpenAi, "files"),
            (Provider::OpenAi, "fine_tuning/jobs"),
            (Provider::OpenAi, "responses/r1"),
            (Provider::OpenAi, "models/../files"),
            (Provider::OpenAi, "models//files"),
            (Provider::OpenAi, "models/%2e%2e/files"),
            (Provider::OpenAi, "images/..;/files"),
            (Provider::OpenAi, ""),
            (Provider::Anthropic, "messages"),
            (Provider::Anthropic, "v1/files"),
            (Provider::Grok, "chat/completions"),
        ] {
            assert!(of(provider, path).is_none(), "{provider} {path}");
        }
    }

    #[test]
    fn what_uses_tokens_is_known() {
        let of = |provider, path| Operation::of(provider, path).unwrap();
        assert!(of(Provider::OpenAi, "embeddings").generates);
        assert_eq!(of(Provider::OpenAi, "models/ft:a").named_model(), Some("ft:a"));
        assert_eq!(of(Provider::Anthropic, "v1/models/a").named_model(), Some("a"));
        assert!(
            of(Provider::OpenAi, "models").lists && of(Provider::OpenAi, "models").named_model().is_none()
        );
        assert!(!of(Provider::OpenAi, "images/edits").lists);
        assert!(of(Provider::Anthropic, "v1/messages").generates);
        assert!(!of(Provider::Anthropic, "v1/messages/count_tokens").generates);
        assert!(!of(Provider::OpenAi, "models").generates);
        assert!(of(Provider::Anthropic, "v1/messages/batches").unmetered);
        assert!(of(Provider::OpenAi, "responses").takes_socket());
        assert!(
            of(Provider::Anthropic, "v1/messages/batches/b1").stored
                && of(Provider::Grok, "responses/r1").stored
        );
        assert!(!of(Provider::OpenAi, "responses/compact").stored && !of(Provider::Grok, "responses").stored);
        assert!(!of(Provider::Grok, "responses").takes_socket());
    }
}

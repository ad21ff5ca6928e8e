//! OpenAI Responses; Grok and many other endpoints speak it too.

mod body;
mod computer;
mod native;
mod reply;

use super::Request;
use super::endpoint::{Codec, Reply, bearer};
use super::names::Names;
use crate::agent::config::EndpointConfig;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// Whose endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Responses {
    OpenAi,
    Grok,
}

/// Context windows of OpenAI's models by the beginning of their names, tokens; the first that fits counts.
const WINDOWS: [(&str, u64); 12] = [
    ("gpt-6", 1_050_000),
    ("gpt-5.6", 1_050_000),
    ("gpt-5.5", 400_000),
    ("gpt-5.4", 272_000),
    ("gpt-5.3-codex", 400_000),
    ("gpt-5.2", 400_000),
    ("gpt-5", 400_000),
    ("gpt-4.1", 128_000),
    ("gpt-4o", 128_000),
    ("o1", 200_000),
    ("o3", 200_000),
    ("o4", 200_000),
];

impl Codec for Responses {
    fn name(&self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Grok => "grok",
        }
    }

    fn variables(&self) -> &'static str {
        match self {
            Self::OpenAi => "OPENAI",
            Self::Grok => "GROK",
        }
    }

    fn path(&self) -> &'static str {
        "/responses"
    }

    fn headers(&self, api_key: &str) -> Option<HeaderMap> {
        bearer(api_key)
    }

    fn body(&self, config: &EndpointConfig, request: Request<'_>) -> (Value, Names) {
        body::body(self.name(), config, request)
    }

    fn reply<'a>(&self, names: &'a Names) -> Box<dyn Reply + Send + 'a> {
        Box::new(reply::Answer::new(self.name(), names))
    }

    fn context_window(&self, model: &str) -> Option<u64> {
        let of = |(prefix, window): &(&str, u64)| model.starts_with(prefix).then_some(*window);
        (*self == Self::OpenAi).then(|| WINDOWS.iter().find_map(of)).flatten()
    }
}

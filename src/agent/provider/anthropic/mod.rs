//! Anthropic Messages.

mod body;
mod reply;

use super::Request;
use super::endpoint::{Codec, Reply, secret_header};
use super::names::Names;
use crate::agent::config::EndpointConfig;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// Whose opaque items are given back to it.
const PROVIDER: &str = "anthropic";
/// The version of the format that is spoken.
const VERSION: &str = "2023-06-01";
const LARGE_WINDOW: u64 = 1_000_000;
const WINDOW: u64 = 200_000;

/// The language.
#[derive(Clone, Copy, Debug)]
pub struct Messages;

impl Codec for Messages {
    fn name(&self) -> &'static str {
        PROVIDER
    }

    fn variables(&self) -> &'static str {
        "ANTHROPIC"
    }

    fn path(&self) -> &'static str {
        "/v1/messages"
    }

    fn headers(&self, api_key: &str) -> Option<HeaderMap> {
        let mut headers = secret_header("x-api-key", api_key)?;
        headers.insert(HeaderName::from_static("anthropic-version"), HeaderValue::from_static(VERSION));
        Some(headers)
    }

    fn body(&self, config: &EndpointConfig, request: Request<'_>) -> (Value, Names) {
        body::body(config, request)
    }

    fn reply<'a>(&self, names: &'a Names) -> Box<dyn Reply + Send + 'a> {
        Box::new(reply::Answer::new(names))
    }

    fn context_window(&self, model: &str) -> Option<u64> {
        let generation = |family: &str| {
            let rest = model.strip_prefix("claude-")?.strip_prefix(family)?.strip_prefix('-')?;
            rest.split('-').next()?.parse::<u32>().ok()
        };
        let large = ["sonnet", "opus"].into_iter().filter_map(generation).any(|n| n >= 4);
        Some(if large { LARGE_WINDOW } else { WINDOW })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_models_take_more() {
        assert_eq!(Messages.context_window("claude-opus-4-5"), Some(LARGE_WINDOW));
        assert_eq!(Messages.context_window("claude-3-5-sonnet-latest"), Some(WINDOW));
        assert_eq!(Messages.context_window("claude-haiku-4-5"), Some(WINDOW));
    }

    #[test]
    fn the_key_has_a_header_of_its_own_and_is_not_printed() {
        let headers = Messages.headers("k3y").unwrap();
        assert_eq!(headers["x-api-key"], "k3y");
        assert!(!format!("{headers:?}").contains("k3y"));
        assert!(Messages.headers("a\nb").is_none());
    }
}

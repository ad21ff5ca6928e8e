//! The one loop of all providers on the network: a request as JSON, an answer as server-sent events, attempts after
//! what may pass. What differs between providers is a [`Codec`], one file or folder each.

use super::names::Names;
use super::sse::Events;
use super::{Provider, Request, Said, Say, failure};
use crate::agent::config::EndpointConfig;
use crate::agent::turn::{Failure, Response};
use crate::client::room::Backoff;
use crate::clock::IdSource;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use serde_json::{Map, Value, json};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Attempts after the first one.
const RETRIES_MAX: u32 = 10;
/// Longest wait that a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(1);
/// Longest wait for the connection.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Longest silence of a running answer.
const SILENCE_MAX: Duration = Duration::from_mins(5);
/// Largest refusal that is read, bytes.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;
/// Characters of a refusal's text that are told.
pub(super) const REFUSAL_CHARS_MAX: usize = 500;

/// The language of a provider. Pure.
pub trait Codec: Send + Sync + 'static {
    /// Names the provider in the thread, for example `openai`.
    fn name(&self) -> &'static str;
    /// What the variables that set key and address begin with, for example `OPENAI`.
    fn variables(&self) -> &'static str;
    /// Behind the base address, for example `/responses`.
    fn path(&self) -> &'static str;
    /// The headers that carry the key; `None` where it cannot stand in a header.
    fn headers(&self, api_key: &str) -> Option<HeaderMap>;
    fn body(&self, config: &EndpointConfig, request: Request<'_>) -> (Value, Names);
    fn reply<'a>(&self, names: &'a Names) -> Box<dyn Reply + Send + 'a>;
    /// Tokens that fit a request to this model, where that is known.
    fn context_window(&self, model: &str) -> Option<u64>;
}

/// An answer being received. Pure: events in, a response or a refusal out.
pub trait Reply {
    /// Takes an event; `Some` when it is the last one.
    fn on(&mut self, event: &Value) -> Option<Result<Response, Refusal>>;
    /// What was heard since the last time.
    fn take_said(&mut self) -> Vec<Said>;
    /// The stream is over. `None` where something was still to come.
    fn end(&mut self) -> Option<Response> {
        None
    }
}

/// Why there is no response.
#[derive(Debug, PartialEq)]
pub enum Refusal {
    /// Another attempt may succeed.
    Passing(String),
    Final(String),
}

/// A model's endpoint.
pub struct Endpoint<C> {
    codec: C,
    config: EndpointConfig,
    http: Result<reqwest::Client, String>,
    pub(super) backoff: Backoff,
    ids: Arc<dyn IdSource>,
}

impl<C: Codec> fmt::Debug for Endpoint<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("codec", &self.codec.name()).field("config", &self.config).finish()
    }
}

/// Why one attempt failed.
enum Failed {
    /// Another attempt may succeed; the server may have said when.
    Passing {
        reason: String,
        wait: Option<Duration>,
    },
    Final(Failure),
}

impl<C: Codec> Endpoint<C> {
    pub fn new(codec: C, config: EndpointConfig, ids: Arc<dyn IdSource>) -> Self {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_MAX)
            .read_timeout(SILENCE_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("meshagent/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| error.to_string());
        let backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(30) };
        Self { codec, config, http, backoff, ids }
    }

    async fn attempt(&self, body: &Value, names: &Names, say: &Say) -> Result<Response, Failed> {
        let http = self.http.as_ref().map_err(|e| Failed::Final(failure(e.clone())))?;
        let url = format!("{}{}", self.config.base_url, self.codec.path());
        let headers = self.codec.headers(&self.config.api_key).ok_or_else(|| {
            let key = format!("{}_API_KEY", self.codec.variables());
            Failed::Final(failure(format!(
                "the key in {key} holds a character that no key has; set it again"
            )))
        })?;
        let sent = http.post(&url).headers(headers).json(body).send().await;
        let response = sent.map_err(|error| Failed::Passing {
            reason: format!("{url} cannot be reached: {}", error.without_url()),
            wait: None,
        })?;
        if !response.status().is_success() {
            return Err(refused(&url, self.codec.variables(), response).await);
        }
        let mut events = Events::new(response.bytes_stream());
        let mut reply = self.codec.reply(names);
        while let Some(event) = events.next().await.map_err(passing)? {
            let done = reply.on(&event);
            for said in reply.take_said() {
                say.say(said).await;
            }
            if let Some(done) = done {
                return done.map_err(|refusal| match refusal {
                    Refusal::Passing(reason) => passing(reason),
                    Refusal::Final(reason) => Failed::Final(failure(reason)),
                });
            }
        }
        let response = reply.end();
        for said in reply.take_said() {
            say.say(said).await;
        }
        response.ok_or_else(|| passing("the answer ended before it was complete".to_owned()))
    }
}

/// A key as the bearer of `Authorization`; nothing where there is no key.
pub fn bearer(api_key: &str) -> Option<HeaderMap> {
    if api_key.is_empty() {
        return Some(HeaderMap::new());
    }
    secret_header("authorization", &format!("Bearer {api_key}"))
}

/// A header whose value is not printed; none where the value is empty.
pub fn secret_header(name: &'static str, value: &str) -> Option<HeaderMap> {
    if value.is_empty() {
        return Some(HeaderMap::new());
    }
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(HeaderMap::from_iter([(reqwest::header::HeaderName::from_static(name), value)]))
}

/// What the thread records of another attempt.
pub(super) fn retry(source: &str, reason: &str, attempt: u32, most: u32) -> Map<String, Value> {
    let headline = format!("The model did not answer; attempt {attempt} of {most} follows");
    let name = format!("{source}.retry");
    let event = json!({"type": "agent.event", "source": source, "name": name, "kind": "message",
        "state": "in_progress", "headline": headline, "summary": headline, "details": [reason],
        "correlation_key": name, "append_details": true});
    event.as_object().cloned().unwrap_or_default()
}

fn passing(reason: String) -> Failed {
    Failed::Passing { reason, wait: None }
}

/// An answer that is no success: what the server says, and whether it may pass.
async fn refused(url: &str, variables: &str, response: reqwest::Response) -> Failed {
    let status = response.status();
    let after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse().ok());
    let text = beginning(response).await;
    let message = message_of(&text).unwrap_or(text);
    match refused_with(url, variables, status, &message) {
        Refusal::Passing(reason) => {
            Failed::Passing { reason, wait: after.map(|s| Duration::from_secs(s).min(RETRY_AFTER_MAX)) }
        }
        Refusal::Final(reason) => Failed::Final(failure(reason)),
    }
}

/// The words of a refusal in a provider's own form.
pub(super) fn message_of(text: &str) -> Option<String> {
    let read: Value = serde_json::from_str(text).ok()?;
    read.pointer("/error/message").and_then(Value::as_str).map(str::to_owned)
}

/// What a status and a text with it come to.
pub(super) fn refused_with(url: &str, variables: &str, status: StatusCode, message: &str) -> Refusal {
    let said: String = message.chars().take(REFUSAL_CHARS_MAX).collect();
    let advice = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => format!("; check {variables}_API_KEY"),
        StatusCode::NOT_FOUND => {
            format!("; check {variables}_BASE_URL and the model's name, or use --model builtin/echo")
        }
        StatusCode::PAYMENT_REQUIRED => "; the account is out of credits".to_owned(),
        _ => String::new(),
    };
    let reason = format!("{url} answered {}: {said}{advice}", status.as_u16());
    let may_pass = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS
        );
    if may_pass && !said.contains("insufficient_quota") {
        Refusal::Passing(reason)
    } else {
        Refusal::Final(reason)
    }
}

/// The first bytes of a refusal.
async fn beginning(mut response: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > REFUSAL_BYTES_MAX {
            bytes.truncate(REFUSAL_BYTES_MAX);
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[async_trait::async_trait]
impl<C: Codec> Provider for Endpoint<C> {
    async fn respond(&self, request: Request<'_>, say: &Say) -> Result<Response, Failure> {
        let (body, names) = self.codec.body(&self.config, request);
        let mut attempt = 0;
        loop {
            let (reason, wait) = match self.attempt(&body, &names, say).await {
                Ok(response) => return Ok(response),
                Err(Failed::Final(failure)) => return Err(failure),
                Err(Failed::Passing { reason, wait }) => (reason, wait),
            };
            if attempt == RETRIES_MAX {
                return Err(failure(format!("{reason} (after {RETRIES_MAX} more attempts)")));
            }
            let wait = wait.unwrap_or_else(|| self.backoff.wait(attempt, self.ids.fresh().as_u128()));
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(reason, wait_ms, "the model did not answer; trying again");
            attempt += 1;
            say.say(Said::Restart).await;
            say.say(Said::Notice(retry(self.codec.name(), &reason, attempt, RETRIES_MAX))).await;
            tokio::time::sleep(wait).await;
        }
    }

    fn context_window(&self, model: &str) -> Option<u64> {
        self.codec.context_window(model)
    }
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;

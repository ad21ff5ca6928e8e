//! OpenAI Responses over HTTPS with server-sent events; any endpoint that speaks it will do.
//!
//! Tools go as plain functions named `<toolkit>__<tool>`: unlike namespaces, every compatible endpoint knows them.

mod body;
mod reply;
mod sse;

use super::{Provider, Request, Said, Say, failure};
use crate::agent::config::OpenAiConfig;
use crate::agent::turn::{Failure, Response};
use crate::client::room::Backoff;
use crate::clock::IdSource;
use reply::Reply;
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use serde_json::{Map, Value, json};
use sse::Events;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Attempts after the first one.
const RETRIES_MAX: u32 = 10;
/// Longest wait that a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(1);
/// Longest wait for the connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Longest silence of a running answer.
const SILENCE_MAX: Duration = Duration::from_mins(5);
/// Characters of a refusal's text that are told.
const REFUSAL_CHARS_MAX: usize = 500;

/// The provider.
pub struct OpenAi {
    config: OpenAiConfig,
    http: Result<reqwest::Client, String>,
    backoff: Backoff,
    ids: Arc<dyn IdSource>,
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAi").field("base_url", &self.config.base_url).finish_non_exhaustive()
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

impl OpenAi {
    pub fn new(config: OpenAiConfig, ids: Arc<dyn IdSource>) -> Self {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_MAX)
            .read_timeout(SILENCE_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("meshagent/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| error.to_string());
        let backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(30) };
        Self { config, http, backoff, ids }
    }

    async fn attempt(&self, body: &Value, names: &body::Names, say: &Say) -> Result<Response, Failed> {
        let http = self.http.as_ref().map_err(|e| Failed::Final(failure(e.clone())))?;
        let url = format!("{}/responses", self.config.base_url);
        let sent = http.post(&url).bearer_auth(&self.config.api_key).json(body).send().await;
        let response = sent.map_err(|error| Failed::Passing {
            reason: format!("{url} cannot be reached: {}", error.without_url()),
            wait: None,
        })?;
        if !response.status().is_success() {
            return Err(refused(&url, response).await);
        }
        let mut events = Events::new(response.bytes_stream());
        let mut reply = Reply::new(names);
        while let Some(event) = events.next().await.map_err(passing)? {
            let done = reply.on(&event);
            for said in reply.take_said() {
                say.say(said).await;
            }
            if let Some(done) = done {
                return done.map_err(|refusal| match refusal {
                    reply::Refusal::Passing(reason) => passing(reason),
                    reply::Refusal::Final(reason) => Failed::Final(failure(reason)),
                });
            }
        }
        Err(passing("the answer ended before it was complete".to_owned()))
    }
}

/// What the thread records of another attempt.
fn retry(reason: &str, attempt: u32) -> Map<String, Value> {
    let headline = format!("The model did not answer; attempt {attempt} of {RETRIES_MAX} follows");
    let event = json!({"type": "agent.event", "source": "openai", "name": "openai.retry", "kind": "message",
        "state": "in_progress", "headline": headline, "summary": headline, "details": [reason],
        "correlation_key": "openai.retry", "append_details": true});
    event.as_object().cloned().unwrap_or_default()
}

fn passing(reason: String) -> Failed {
    Failed::Passing { reason, wait: None }
}

/// An answer that is no success: what the server says, and whether it may pass.
async fn refused(url: &str, response: reqwest::Response) -> Failed {
    let status = response.status();
    let after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse().ok());
    let text = response.text().await.unwrap_or_default();
    let message = serde_json::from_str::<Value>(&text)
        .ok()
        .and_then(|v| v.pointer("/error/message").and_then(Value::as_str).map(str::to_owned))
        .unwrap_or(text);
    let said: String = message.chars().take(REFUSAL_CHARS_MAX).collect();
    let advice = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "; check OPENAI_API_KEY",
        StatusCode::NOT_FOUND => "; check OPENAI_BASE_URL and the model's name, or use --model builtin/echo",
        StatusCode::PAYMENT_REQUIRED => "; the account is out of credits",
        _ => "",
    };
    let reason = format!("{url} answered {}: {said}{advice}", status.as_u16());
    let may_pass = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS
        );
    if may_pass && !said.contains("insufficient_quota") {
        Failed::Passing { reason, wait: after.map(|s| Duration::from_secs(s).min(RETRY_AFTER_MAX)) }
    } else {
        Failed::Final(failure(reason))
    }
}

#[async_trait::async_trait]
impl Provider for OpenAi {
    async fn respond(&self, request: Request<'_>, say: &Say) -> Result<Response, Failure> {
        let (body, names) = body::body(&self.config, request);
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
            say.say(Said::Notice(retry(&reason, attempt))).await;
            tokio::time::sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests;

//! Calls to webhooks: an event as JSON by POST, with a token by which the receiver knows that it is ours and unchanged
//! (REST reference §8).

use super::guard::{self, Allowed, Refused};
use super::python_json;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::time::Duration;
use url::Url;

/// How long the receiver may take to answer.
pub const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// Header with the signature.
pub const SIGNATURE_HEADER: &str = "Meshagent-Signature";

/// Why a webhook was not called. Never names what was sent, nor more of the URL than its host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the service at `{host}` could not be called: {why}")]
    Unreachable { host: String, why: String },
    #[error("the service at `{host}` answered the call with HTTP {status}")]
    Answered { host: String, status: u16 },
    #[error("the call could not be signed with the webhook secret")]
    Unsigned,
}

/// Sends one event.
pub async fn send(url: Url, event: &Value, secret: &[u8], allowed: &Allowed) -> Result<(), WebhookError> {
    let target = guard::check_url(url, allowed).await?;
    // Sent in exactly the form that the receiver hashes again.
    let body = python_json::dumps(event);
    let signature = sign(&body, secret)?;
    let host = target.host().to_owned();
    let failed = |error: reqwest::Error| WebhookError::Unreachable {
        host: host.clone(),
        why: error.without_url().to_string(),
    };
    let client = target.client()?.timeout(ANSWER_WAIT).build().map_err(failed)?;
    let answer = client
        .post(target.url.clone())
        .header("Content-Type", "application/json")
        .header(SIGNATURE_HEADER, format!("Bearer {signature}"))
        .body(body)
        .send()
        .await
        .map_err(failed)?;
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(WebhookError::Answered { host, status: status.as_u16() }) }
}

/// A token over the SHA-256 of `body`.
pub fn sign(body: &str, secret: &[u8]) -> Result<String, WebhookError> {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(body.as_bytes()) {
        let _ = write!(hex, "{byte:02x}");
    }
    jsonwebtoken::encode(&Header::default(), &json!({"sha256": hex}), &EncodingKey::from_secret(secret))
        .map_err(|_| WebhookError::Unsigned)
}

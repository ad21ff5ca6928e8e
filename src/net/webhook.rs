//! Calls to webhooks: an event as JSON by POST, or in a header of an upgrade to a WebSocket, with a token by which the receiver knows that it is ours and unchanged
//! (REST reference §8).

use super::guard::{self, Allowed, Refused};
use super::python_json;
use super::socket::{self, Upstream};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use url::Url;

/// How long the receiver may take to answer.
pub const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// Header with the signature.
pub const SIGNATURE_HEADER: &str = "Meshagent-Signature";
/// Header with the whole event, where the call is an upgrade.
pub const EVENT_HEADER: &str = "Meshagent-Webhook";
/// Longest event in a header, bytes: receivers take lines of 8 KiB.
pub const EVENT_HEADER_BYTES_MAX: usize = 8_000;

/// Why a webhook was not called. Never names what was sent, nor more of the URL than its host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the service at `{host}` could not be called: {why}")]
    Unreachable { host: String, why: String },
    #[error("the service at `{host}` answered the call with HTTP {status}")]
    Answered { host: String, status: u16 },
    #[error(
        "the call has {bytes} bytes, and one to a WebSocket at most {EVENT_HEADER_BYTES_MAX}; send fewer arguments, or call by http"
    )]
    TooLong { bytes: usize },
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

/// Calls by an upgrade, the event in a header; the socket, once the receiver took the call.
pub async fn dial(
    url: Url,
    event: &Value,
    secret: &[u8],
    allowed: &Allowed,
) -> Result<Upstream, WebhookError> {
    let target = guard::check_url(url, allowed).await?;
    let body = python_json::dumps(event);
    if body.len() > EVENT_HEADER_BYTES_MAX {
        return Err(WebhookError::TooLong { bytes: body.len() });
    }
    let signature = sign(&body, secret)?;
    let host = target.host().to_owned();
    let failed = |why: &str| WebhookError::Unreachable { host: host.clone(), why: why.to_owned() };
    let value = |text: &str| {
        let mut value = HeaderValue::from_str(text).map_err(|_| failed("the call cannot be a header"))?;
        value.set_sensitive(true);
        Ok::<_, WebhookError>(value)
    };
    let request = target.url.as_str().into_client_request();
    let mut request = request.map_err(|_| failed("its url is none for a WebSocket"))?;
    request.headers_mut().insert(EVENT_HEADER, value(&body)?);
    request.headers_mut().insert(SIGNATURE_HEADER, value(&format!("Bearer {signature}"))?);
    let (upstream, _) = socket::dial(&target, request).await.map_err(|why| failed(&why))?;
    Ok(upstream)
}

fn sha256(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

/// Whether `token` was made by [`sign`] of this very body with this secret.
#[must_use]
pub fn verify(body: &[u8], secret: &[u8], token: &str) -> bool {
    let mut wanted = Validation::new(Algorithm::HS256);
    wanted.required_spec_claims.clear();
    wanted.validate_exp = false;
    let read = jsonwebtoken::decode::<Value>(token, &DecodingKey::from_secret(secret), &wanted);
    read.is_ok_and(|read| read.claims.get("sha256").and_then(Value::as_str) == Some(sha256(body).as_str()))
}

/// A token over the SHA-256 of `body`.
pub fn sign(body: &str, secret: &[u8]) -> Result<String, WebhookError> {
    let claims = json!({"sha256": sha256(body.as_bytes())});
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(secret))
        .map_err(|_| WebhookError::Unsigned)
}

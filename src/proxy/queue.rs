//! Requests that become items of a queue, for agents to work on.

use super::Shared;
use super::access::Visitor;
use super::page::Problem;
use super::site::Site;
use crate::name::QueueName;
use crate::queue::{NewItem, QueueError, QueueKey};
use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Map, Value, json};

/// Most headers of a request that its item tells.
const HEADERS_MAX: usize = 32;
/// Longest value of such a header, bytes.
const HEADER_BYTES_MAX: usize = 1024;

/// Stores a request; on return it is on disk. The item is `{"body": <text>}` with what else is known of the request.
pub async fn put(
    shared: &Shared,
    site: &Site<'_>,
    name: &str,
    by: Option<&Visitor>,
    parts: &Parts,
    body: &Bytes,
) -> Result<Response<Body>, Problem> {
    if ![Method::POST, Method::PUT, Method::PATCH].contains(&parts.method) {
        let text = "this address takes POST: what is sent waits for an agent";
        return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "invalid-request", text));
    }
    let text = std::str::from_utf8(body).map_err(|_| {
        let text = "the body is no text in UTF-8";
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid-request", text)
    })?;
    let queue = QueueName::new(name.trim()).map_err(|error| {
        tracing::warn!(%error, domain = site.domain, "a port names no queue");
        Problem::unavailable("this address is not set up right; those who run the site see why in its log")
    })?;
    let mut item = json!({"body": text, "method": parts.method.as_str(), "path": parts.uri.path(),
        "headers": told(&parts.headers), "received_at": shared.app.clock.now()});
    if let (Some(visitor), Some(object)) = (by, item.as_object_mut()) {
        object.insert("user".to_owned(), json!(visitor.name));
    }
    let key = QueueKey::new(site.room, queue);
    shared.queues.send(&key, NewItem::large(None, item.to_string()), true).await.map_err(|error| {
        if !matches!(error, QueueError::Full { .. }) {
            tracing::warn!(%error, domain = site.domain, "a request could not be queued");
        }
        Problem::unavailable("the queue takes nothing now; send it again later")
    })?;
    shared.host.log_line(site.room, "request.queued", json!({"queue": key.name, "bytes": body.len()}));
    shared.wake.wake(site.room);
    let mut response = Response::new(Body::from("{}"));
    *response.status_mut() = StatusCode::ACCEPTED;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The headers that say what a request is about; no credential, no signature, nothing of the way here.
fn told(headers: &HeaderMap) -> Map<String, Value> {
    let about = |name: &str| {
        let secret = ["signature", "hmac", "token", "secret", "auth", "cookie", "key"];
        (name == "content-type" || name == "user-agent" || name.starts_with("x-"))
            && !secret.iter().any(|part| name.contains(part))
            && !["x-forwarded", "x-real", "x-meshagent"].iter().any(|prefix| name.starts_with(prefix))
    };
    let short = |value: &HeaderValue| {
        let text = value.to_str().ok()?;
        (text.len() <= HEADER_BYTES_MAX).then(|| Value::from(text))
    };
    let all = headers.iter().filter(|(name, _)| about(name.as_str()));
    all.filter_map(|(name, value)| Some((name.as_str().to_owned(), short(value)?)))
        .take(HEADERS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_tells_what_a_request_is_about_and_no_secret() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("x-github-event", "push"),
            ("x-github-delivery", "1"),
            ("x-hub-signature-256", "s"),
            ("authorization", "Bearer t"),
            ("cookie", "c"),
            ("x-api-key", "k"),
            ("x-telegram-bot-api-secret-token", "t"),
            ("x-shopify-hmac-sha256", "h"),
            ("x-forwarded-for", "1"),
            ("x-meshagent-user", "root"),
            ("accept", "*/*"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert("x-long", HeaderValue::from_str(&"x".repeat(HEADER_BYTES_MAX + 1)).unwrap());
        let want =
            json!({"content-type": "application/json", "x-github-event": "push", "x-github-delivery": "1"});
        assert_eq!(Value::from(told(&headers)), want);
    }
}

//! Which headers pass, and what a secret looks like in one.

use crate::net::hop;
use crate::vault::Secret;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// Headers by which a target would speak for this server's own address.
const NOT_BACK: [&str; 5] =
    ["set-cookie", "strict-transport-security", "alt-svc", "clear-site-data", "server"];
/// Beginnings of headers that are about this server.
const OWN: [&str; 3] = ["meshagent-", "x-forwarded-", "access-control-"];
/// Type of a secret whose value is JSON with an `access_token`.
const OAUTH: &str = "oauth";

fn is_own(name: &HeaderName) -> bool {
    OWN.iter().any(|prefix| name.as_str().starts_with(prefix))
}

/// About the connection, or who is asked on it.
fn is_hop(name: &HeaderName, named: &[String]) -> bool {
    hop::is_one(name, named) || *name == header::HOST
}

/// Whether a secret may be put into this header.
pub(super) fn may_be_set(name: &HeaderName) -> bool {
    !is_hop(name, &[]) && *name != header::CONTENT_LENGTH && !name.as_str().starts_with("sec-websocket-")
}

/// What of the caller's headers goes on: not its credential, nor what is about the connection.
pub(super) fn onward(all: &HeaderMap) -> HeaderMap {
    let named = hop::named(all);
    let mut map = HeaderMap::with_capacity(all.len());
    for (name, value) in all {
        let stays = is_hop(name, &named)
            || is_own(name)
            || [header::AUTHORIZATION, header::COOKIE, header::ORIGIN, header::REFERER].contains(name)
            || matches!(name.as_str(), "consistency" | "forwarded");
        if !stays {
            map.append(name.clone(), value.clone());
        }
    }
    map
}

/// What of the answer's headers comes back.
pub(super) fn back(all: &HeaderMap) -> HeaderMap {
    let named = hop::named(all);
    let mut map = HeaderMap::with_capacity(all.len());
    for (name, value) in all {
        let stays = is_hop(name, &named) || is_own(name) || NOT_BACK.contains(&name.as_str());
        if !stays {
            map.append(name.clone(), value.clone());
        }
    }
    map
}

/// A secret as the credential of a request: as it is where it begins with a scheme, else as a bearer token.
pub(super) fn authorization(secret: &Secret, kind: &str) -> Option<HeaderValue> {
    let text = secret.expose_str()?.trim();
    let token = if kind == OAUTH { access_token(text) } else { None };
    let text = token.as_deref().unwrap_or(text);
    let scheme = text.split_once(' ').map(|(scheme, _)| scheme);
    let has_scheme = scheme.is_some_and(|word| word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    if text.is_empty() {
        return None;
    }
    if has_scheme { HeaderValue::from_str(text).ok() } else { bytes("Bearer ", text) }
}

/// A secret after a fixed text.
pub(super) fn prefixed(prefix: &str, secret: &Secret) -> Option<HeaderValue> {
    bytes(prefix, secret.expose_str()?.trim())
}

fn bytes(prefix: &str, text: &str) -> Option<HeaderValue> {
    let joined = zeroize::Zeroizing::new(format!("{prefix}{text}"));
    HeaderValue::from_str(&joined).ok()
}

fn access_token(json: &str) -> Option<String> {
    serde_json::from_str::<Value>(json).ok()?.get("access_token")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(all: &[(&'static str, &'static str)]) -> HeaderMap {
        all.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn credentials_and_connection_headers_do_not_pass() {
        let sent = map(&[
            ("authorization", "Bearer ma-key"),
            ("cookie", "a=b"),
            ("connection", "keep-alive, X-Hop"),
            ("x-hop", "1"),
            ("host", "here"),
            ("meshagent-project-id", "p"),
            ("accept", "text/event-stream"),
            ("mcp-session-id", "s"),
        ]);
        let mut names: Vec<String> = onward(&sent).keys().map(ToString::to_string).collect();
        names.sort();
        assert_eq!(names, ["accept", "mcp-session-id"]);
        let answered =
            map(&[("set-cookie", "a=b"), ("content-type", "a/b"), ("transfer-encoding", "chunked")]);
        assert_eq!(back(&answered).keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["content-type"]);
    }

    #[test]
    fn a_secret_is_a_bearer_token_unless_it_says_otherwise() {
        let shown = |text: &str, kind: &str| {
            let value = authorization(&Secret::from(text.to_owned()), kind)?;
            Some(value.to_str().unwrap().to_owned())
        };
        assert_eq!(shown("abc\n", "opaque").as_deref(), Some("Bearer abc"));
        assert_eq!(shown("Basic abc", "opaque").as_deref(), Some("Basic abc"));
        assert_eq!(shown(r#"{"access_token":"t"}"#, "oauth").as_deref(), Some("Bearer t"));
        assert_eq!(shown("a\nb", "opaque"), None);
        assert_eq!(shown("", "opaque"), None);
    }
}

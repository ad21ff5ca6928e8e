//! Which headers pass. Whatever could be a credential, ours or theirs, does not; nor what names an account.

use super::Provider;
use crate::net::hop;
use crate::vault::Secret;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::collections::BTreeMap;

/// Names the project, for callers who may use several.
pub const PROJECT: &str = "meshagent-project-id";
/// Somebody's leave to spend of theirs, beside the caller's own credential.
pub const DELEGATION: &str = "meshagent-llm-delegation";
/// Beginning of headers that say what a request was for.
const ANNOTATION: &str = "x-meshagent-annotation-";
/// Most annotations of one request, and most bytes of a name and of a value.
pub const ANNOTATIONS_MAX: usize = 8;
pub const ANNOTATION_NAME_BYTES_MAX: usize = 64;
pub const ANNOTATION_VALUE_BYTES_MAX: usize = 256;
/// A WebSocket sub-protocol by which browsers send a credential.
const PROTOCOL_CREDENTIAL: &str = "openai-insecure-api-key.";

/// About the connection, about the caller, or a credential.
const NOT_ONWARD: [&str; 31] = [
    "accept-encoding",
    "api-key",
    "authorization",
    "connection",
    "consistency",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "openai-organization",
    "openai-project",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "referer",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-api-key",
    "x-goog-api-key",
    "x-real-ip",
];
/// About the connection, the provider's account, or this server's own address.
const NOT_BACK: [&str; 17] = [
    "alt-svc",
    "anthropic-organization-id",
    "clear-site-data",
    "connection",
    "content-length",
    "keep-alive",
    "openai-organization",
    "openai-project",
    "proxy-authenticate",
    "server",
    "set-cookie",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// What of the caller's headers goes on to the provider.
#[must_use]
pub fn onward(all: &HeaderMap) -> HeaderMap {
    let named = hop::named(all);
    let stays = |name: &str| {
        NOT_ONWARD.contains(&name)
            || name.starts_with("meshagent-")
            || name.starts_with("x-meshagent-")
            || name.starts_with("x-forwarded-")
            || named.iter().any(|listed| listed == name)
    };
    let mut map = HeaderMap::with_capacity(all.len() + 2);
    for (name, value) in all.iter().filter(|(name, _)| !stays(name.as_str())) {
        map.append(name.clone(), value.clone());
    }
    // What is compressed cannot be counted.
    map.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    map
}

/// What of the provider's headers goes back to the caller.
#[must_use]
pub fn back(all: &HeaderMap) -> HeaderMap {
    let named = hop::named(all);
    let stays = |name: &str| {
        NOT_BACK.contains(&name)
            || name.starts_with("meshagent-")
            || name.starts_with("access-control-")
            || named.iter().any(|listed| listed == name)
    };
    let mut map = HeaderMap::with_capacity(all.len());
    for (name, value) in all.iter().filter(|(name, _)| !stays(name.as_str())) {
        map.append(name.clone(), value.clone());
    }
    map
}

/// The header that carries a provider's key; `None` where the key is no line of text.
#[must_use]
pub fn credential(provider: Provider, key: &Secret) -> Option<(HeaderName, HeaderValue)> {
    let text = key.expose_str()?.trim();
    let (name, mut value) = match provider {
        Provider::Anthropic => (HeaderName::from_static("x-api-key"), HeaderValue::from_str(text).ok()?),
        Provider::OpenAi | Provider::Grok => {
            let joined = zeroize::Zeroizing::new(format!("Bearer {text}"));
            (header::AUTHORIZATION, HeaderValue::from_str(&joined).ok()?)
        }
    };
    value.set_sensitive(true);
    Some((name, value))
}

/// The caller's credential: a bearer, `x-api-key`, or what a browser's WebSocket can send.
#[must_use]
pub fn bearer(all: &HeaderMap) -> Option<&str> {
    let text = |name: &str| all.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let authorization = text("authorization").and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
    let protocols = all.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|v| v.to_str().ok());
    let mut protocols = protocols.flat_map(|value| value.split(',')).map(str::trim);
    let of_protocol = protocols.find_map(|protocol| protocol.strip_prefix(PROTOCOL_CREDENTIAL));
    [authorization, text("x-api-key"), of_protocol].into_iter().flatten().find(|one| !one.is_empty())
}

/// The WebSocket sub-protocols of the caller without those that are credentials.
#[must_use]
pub fn protocols(all: &HeaderMap) -> Vec<String> {
    let values = all.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|v| v.to_str().ok());
    let own = |one: &&str| {
        !one.is_empty()
            && ![PROTOCOL_CREDENTIAL, "meshagent-", "bearer."].iter().any(|begin| one.starts_with(begin))
    };
    values.flat_map(|value| value.split(',')).map(str::trim).filter(own).map(str::to_owned).collect()
}

/// What the request was for, by small name; what is too long or too much is left out.
#[must_use]
pub fn annotations(all: &HeaderMap) -> BTreeMap<String, String> {
    let read = |(name, value): (&HeaderName, &HeaderValue)| {
        let name = name.as_str().strip_prefix(ANNOTATION)?;
        let value = value.to_str().ok()?.trim();
        let fits = (1..=ANNOTATION_NAME_BYTES_MAX).contains(&name.len())
            && value.len() <= ANNOTATION_VALUE_BYTES_MAX;
        fits.then(|| (name.to_owned(), value.to_owned()))
    };
    let mut map: BTreeMap<String, String> = all.iter().filter_map(read).collect();
    while map.len() > ANNOTATIONS_MAX {
        map.pop_last();
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(all: &[(&'static str, &'static str)]) -> HeaderMap {
        all.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn no_credential_and_no_account_passes_either_way() {
        let sent = map(&[
            ("authorization", "Bearer ma-key"),
            ("x-api-key", "ma-key"),
            ("cookie", "a=b"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("meshagent-project-id", "p"),
            ("x-meshagent-annotation-job", "j"),
            ("openai-organization", "org"),
            ("accept-encoding", "gzip"),
            ("openai-beta", "responses=v1"),
            ("anthropic-version", "2023-06-01"),
        ]);
        let passed = onward(&sent);
        let mut names: Vec<&str> = passed.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept-encoding", "anthropic-version", "openai-beta"]);
        assert_eq!(passed["accept-encoding"], "identity");
        let answered = map(&[
            ("openai-organization", "org"),
            ("set-cookie", "a=b"),
            ("retry-after", "3"),
            ("x-request-id", "r"),
        ]);
        let mut names: Vec<String> = back(&answered).keys().map(ToString::to_string).collect();
        names.sort_unstable();
        assert_eq!(names, ["retry-after", "x-request-id"]);
    }

    #[test]
    fn credentials_are_found_in_all_three_places() {
        assert_eq!(bearer(&map(&[("authorization", "Bearer one")])), Some("one"));
        assert_eq!(bearer(&map(&[("x-api-key", "two")])), Some("two"));
        let browser = map(&[("sec-websocket-protocol", "realtime, openai-insecure-api-key.three")]);
        assert_eq!(bearer(&browser), Some("three"));
        assert_eq!(protocols(&browser), ["realtime"]);
        assert_eq!(bearer(&map(&[("authorization", "Basic x")])), None);
        assert_eq!(bearer(&map(&[("authorization", "Bearer ")])), None);
    }

    #[test]
    fn keys_are_where_the_provider_looks_and_are_not_shown() {
        let key = Secret::from("sk-needle".to_owned());
        let (name, value) = credential(Provider::OpenAi, &key).unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("authorization", "Bearer sk-needle"));
        assert!(!format!("{value:?}").contains("needle"));
        assert_eq!(credential(Provider::Anthropic, &key).unwrap().0, "x-api-key");
        assert!(credential(Provider::Grok, &Secret::from("a\nb".to_owned())).is_none());
    }

    #[test]
    fn annotations_are_bounded() {
        let found = annotations(&map(&[("x-meshagent-annotation-job", " nightly "), ("x-other", "1")]));
        assert_eq!(found, BTreeMap::from([("job".to_owned(), "nightly".to_owned())]));
        let mut many = HeaderMap::new();
        for n in 0..20 {
            let name = HeaderName::from_bytes(format!("{ANNOTATION}n{n:02}").as_bytes()).unwrap();
            many.insert(name, HeaderValue::from_static("v"));
        }
        assert_eq!(annotations(&many).len(), ANNOTATIONS_MAX);
    }
}

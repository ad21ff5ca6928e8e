//! Which headers pass between a client and a service.

use super::access::COOKIE;
use crate::net::hop;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;

/// Headers by which a service is told who asks, and from where: only this server says so.
const OWN: [&str; 3] = ["x-meshagent-", "x-forwarded-", "x-real-"];
/// Who asks, by the name in the token.
pub const USER: HeaderName = HeaderName::from_static("x-meshagent-user");
/// What the token may do in the room, JSON.
pub const API_SCOPE: HeaderName = HeaderName::from_static("x-meshagent-api-scope");

/// From where a request came.
#[derive(Debug, Clone)]
pub struct Origin {
    pub peer: IpAddr,
    /// As the client wrote it, with the port.
    pub host: String,
    /// A server that speaks TLS stands in front, and its word about the client is taken.
    pub https: bool,
}

impl Origin {
    /// `http` or `https`.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }
}

/// Whether a service may take a client's header for one of this server's. Many read `_` as `-`.
fn is_own(name: &HeaderName) -> bool {
    let name = name.as_str().replace('_', "-");
    name == "forwarded" || OWN.iter().any(|prefix| name.starts_with(prefix))
}

/// What of a client's headers a service gets. Its credential for this server is not among it.
#[must_use]
pub fn onward(all: &HeaderMap, origin: &Origin, keep_authorization: bool) -> HeaderMap {
    let named = hop::named(all);
    let mut map = HeaderMap::with_capacity(all.len());
    for (name, value) in all {
        let credential = *name == header::COOKIE || (*name == header::AUTHORIZATION && !keep_authorization);
        if !hop::is_one(name, &named) && !is_own(name) && !credential {
            map.append(name.clone(), value.clone());
        }
    }
    for cookies in all.get_all(header::COOKIE).into_iter().filter_map(without_cookie) {
        map.append(header::COOKIE, cookies);
    }
    // A server in front may add a line of its own to the client's.
    let known = all.get_all("x-forwarded-for").into_iter().filter(|_| origin.https);
    let mut way: Vec<&str> = known.filter_map(|value| value.to_str().ok()).collect();
    let peer = origin.peer.to_string();
    way.push(&peer);
    let way = way.join(", ");
    for (name, text) in [
        ("x-forwarded-for", way.as_str()),
        ("x-forwarded-proto", origin.scheme()),
        ("x-forwarded-host", &origin.host),
    ] {
        if let Ok(value) = HeaderValue::from_str(text) {
            map.insert(HeaderName::from_static(name), value);
        }
    }
    map
}

/// The cookies of a `Cookie` header, by name and value; what has no `=` is a name.
pub fn pairs(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    value.split(|byte| *byte == b';').map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at_checked(at).unwrap_or((pair, &[]));
        (name.trim_ascii(), value.get(1..).unwrap_or_default().trim_ascii())
    })
}

/// A `Cookie` header without this server's own cookie.
fn without_cookie(value: &HeaderValue) -> Option<HeaderValue> {
    let all = value.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let own = |pair: &&[u8]| pairs(pair).any(|(name, _)| name == COOKIE.as_bytes());
    let rest = all.filter(|pair| !own(pair)).collect::<Vec<_>>().join(b"; ".as_slice());
    if rest.is_empty() { None } else { HeaderValue::from_bytes(&rest).ok() }
}

/// What of a service's headers the client gets.
#[must_use]
pub fn back(all: &HeaderMap) -> HeaderMap {
    let named = hop::named(all);
    let mut map = HeaderMap::with_capacity(all.len());
    for (name, value) in all {
        let own_cookie = *name == header::SET_COOKIE
            && value
                .as_bytes()
                .split(|byte| *byte == b'=')
                .next()
                .is_some_and(|key| key.trim_ascii() == COOKIE.as_bytes());
        if !hop::is_one(name, &named) && !own_cookie && name.as_str() != "alt-svc" {
            map.append(name.clone(), value.clone());
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair =
            |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            map.append(name, value);
        }
        map
    }

    fn origin(https: bool) -> Origin {
        Origin { peer: "192.0.2.1".parse().unwrap(), host: "a.b:80".to_owned(), https }
    }

    #[test]
    fn a_service_hears_of_the_client_from_this_server_only() {
        let sent = map(&[
            ("accept", "*/*"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("x-meshagent-user", "root"),
            ("x_meshagent_user", "root"),
            ("X-Meshagent-Api-Scope", "{}"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x_forwarded_for", "10.0.0.1"),
            ("x-real-ip", "10.0.0.1"),
            ("forwarded", "for=x"),
            ("upgrade", "h2c"),
            ("authorization", "Bearer t"),
            ("cookie", "a=1; __meshagent_iap=secret; b=2"),
            ("cookie", " __meshagent_iap =secret"),
        ]);
        let got = onward(&sent, &origin(false), false);
        let want = map(&[
            ("accept", "*/*"),
            ("cookie", "a=1; b=2"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "a.b:80"),
        ]);
        assert_eq!(got, want);
        for beside in ["a=J\u{fc}rgen".as_bytes(), b"a=J\xfcrgen"] {
            let value = [beside, b"; __meshagent_iap=secret"].concat();
            let sent = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_bytes(&value).unwrap())]);
            let got = onward(&sent, &origin(false), false);
            assert_eq!(got["cookie"].as_bytes(), beside, "the site's own are passed on as they are");
        }
        let got = onward(&sent, &origin(true), true);
        assert_eq!(got["authorization"], "Bearer t");
        assert_eq!(got["x-forwarded-for"], "10.0.0.1, 192.0.2.1", "a server in front is believed");
        let mut two = sent.clone();
        two.append("x-forwarded-for", HeaderValue::from_static("198.51.100.7"));
        let got = onward(&two, &origin(true), false);
        assert_eq!(got["x-forwarded-for"], "10.0.0.1, 198.51.100.7, 192.0.2.1");
        assert_eq!(got["x-forwarded-proto"], "https");
    }

    #[test]
    fn a_service_says_nothing_for_this_server() {
        let got = back(&map(&[
            ("content-type", "a/b"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("alt-svc", "h3"),
            ("keep-alive", "1"),
            ("set-cookie", "__meshagent_iap=x; Path=/"),
            ("set-cookie", "own=1"),
        ]));
        assert_eq!(got, map(&[("content-type", "a/b"), ("set-cookie", "own=1")]));
    }
}

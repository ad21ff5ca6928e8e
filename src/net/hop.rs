//! Headers about one connection, between two hosts next to one another (RFC 9110 §7.6.1).

use axum::http::header::{self, HeaderMap, HeaderName};

/// Those that always are, and those that a server between two others answers itself.
pub const HEADERS: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

/// Further headers that `Connection` names, in lower case.
#[must_use]
pub fn named(all: &HeaderMap) -> Vec<String> {
    let values = all.get_all(header::CONNECTION).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|text| text.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect()
}

/// Whether a header is about the connection; `named` as [`named`] has it.
#[must_use]
pub fn is_one(name: &HeaderName, named: &[String]) -> bool {
    HEADERS.contains(&name.as_str()) || named.iter().any(|listed| listed == name.as_str())
}

/// Whether a WebSocket is asked for.
#[must_use]
pub fn asks_for_socket(all: &HeaderMap) -> bool {
    let upgrade = all.get(header::UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|text| text.trim().eq_ignore_ascii_case("websocket"))
        && named(all).iter().any(|name| name == "upgrade")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_web_sockets_are_upgraded() {
        let asks = |pairs: &[(&'static str, &'static str)]| {
            let header = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            asks_for_socket(&pairs.iter().map(header).collect())
        };
        assert!(asks(&[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")]));
        assert!(!asks(&[("connection", "upgrade"), ("upgrade", "h2c")]));
        assert!(!asks(&[("upgrade", "websocket")]));
    }
}

//! Who comes to the agent's socket. Pure.

use crate::agent::config::{WebSocketAuth, WebSocketConfig};
use axum::http::{HeaderMap, StatusCode, header};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use serde_json::Value;
use url::{Host, Url};

/// Header in which a proxy that is trusted says who it lets through.
const USER_HEADER: &str = "x-meshagent-user";
/// How sub-protocols begin that carry a token.
const TOKEN_PROTOCOLS: [&str; 2] = ["meshagent-token.", "bearer."];
/// How sub-protocols begin that must be repeated.
const ECHOED_PROTOCOLS: [&str; 3] = ["meshagent-agent.", "meshagent-token.", "bearer."];
/// Name of whoever comes where nobody asks.
const ANYBODY: &str = "websocket-user";

/// Why somebody does not come in. Names no secret.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    pub status: StatusCode,
    pub reason: &'static str,
}

#[derive(Deserialize)]
struct Claims {
    name: String,
    #[serde(default)]
    grants: Vec<Grant>,
}

#[derive(Deserialize)]
struct Grant {
    name: String,
    #[serde(default)]
    scope: Value,
}

fn refused<T>(status: StatusCode, reason: &'static str) -> Result<T, Refused> {
    Err(Refused { status, reason })
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let all = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(',')).map(str::trim)
}

fn strip<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| text.get(prefix.len()..)).flatten()
}

/// Requested sub-protocols that a client wants repeated.
pub fn echoed(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let wanted = |text: &&str| ECHOED_PROTOCOLS.iter().any(|prefix| strip(text, prefix).is_some());
    protocols(headers).filter(wanted).map(str::to_owned)
}

/// Refuses web pages of other hosts. A page may open sockets to this machine from the browser of whoever looks at it; that it does
/// is in `Origin`, and where its host's name is made to mean this machine, in `Host`.
fn refuse_pages(headers: &HeaderMap, local: Option<&str>) -> Result<(), Refused> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).and_then(|host| Url::parse(&format!("http://{host}")).ok());
    let Some(host) = host.as_ref().and_then(Url::host) else {
        return refused(StatusCode::BAD_REQUEST, "the Host header must name this agent");
    };
    if headers.contains_key(header::ORIGIN) {
        let origin = text(header::ORIGIN).and_then(|origin| Url::parse(origin).ok());
        if origin.as_ref().and_then(Url::host) != Some(host.clone()) {
            return refused(StatusCode::FORBIDDEN, "pages of other hosts may not talk to this agent");
        }
    }
    let is_here = match &host {
        Host::Domain(name) => *name == "localhost" || Some(*name) == local,
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    match local {
        Some(_) if !is_here => refused(StatusCode::FORBIDDEN, "the Host header must be a loopback address"),
        _ => Ok(()),
    }
}

/// The name of whoever comes. `local` is the host as it was named, where only this machine reaches it.
pub fn who(
    config: &WebSocketConfig,
    local: Option<&str>,
    agent: &str,
    headers: &HeaderMap,
    query: &str,
) -> Result<String, Refused> {
    match config.auth {
        WebSocketAuth::None => refuse_pages(headers, local).map(|()| ANYBODY.to_owned()),
        WebSocketAuth::Iap => {
            let user = headers.get(USER_HEADER).and_then(|value| value.to_str().ok()).map(str::trim);
            match user.filter(|user| !user.is_empty()) {
                Some(user) => Ok(user.to_owned()),
                None => refused(StatusCode::UNAUTHORIZED, "X-MESHAGENT-USER header is required"),
            }
        }
        WebSocketAuth::Jwt => {
            let Some(secret) = &config.secret else {
                return refused(StatusCode::SERVICE_UNAVAILABLE, "MESHAGENT_SECRET is required");
            };
            verified(&token(headers, query)?, secret.reveal(), agent)
        }
    }
}

fn token(headers: &HeaderMap, query: &str) -> Result<String, Refused> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(|text| strip(text.trim(), "bearer ")).map(str::trim);
        return match token.filter(|token| !token.is_empty()) {
            Some(token) => Ok(token.to_owned()),
            None => refused(StatusCode::UNAUTHORIZED, "websocket Authorization must use Bearer token"),
        };
    }
    let queried = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "token");
    let queried = queried.map(|(_, value)| value.trim().to_owned()).filter(|token| !token.is_empty());
    let carried = || {
        let token =
            |text: &str| TOKEN_PROTOCOLS.iter().find_map(|prefix| strip(text, prefix)).map(str::to_owned);
        protocols(headers).find_map(token).filter(|token| !token.is_empty())
    };
    match queried.or_else(carried) {
        Some(token) => Ok(token),
        None => refused(StatusCode::UNAUTHORIZED, "websocket participant token is required"),
    }
}

fn verified(token: &str, secret: &str, agent: &str) -> Result<String, Refused> {
    let mut rules = Validation::new(Algorithm::HS256);
    rules.required_spec_claims.clear();
    rules.validate_aud = false;
    let Ok(token) = decode::<Claims>(token, &DecodingKey::from_secret(secret.as_bytes()), &rules) else {
        return refused(StatusCode::UNAUTHORIZED, "invalid websocket participant token");
    };
    let Claims { name, grants } = token.claims;
    if !grants.iter().any(|grant| grant.name == "agent" && grant.scope == agent) {
        return refused(StatusCode::FORBIDDEN, "token is missing the required agent grant");
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::room::Token;
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    fn signed(secret: &str, claims: &Value) -> String {
        encode(&Header::default(), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    }

    fn config(auth: WebSocketAuth, secret: Option<&str>) -> WebSocketConfig {
        WebSocketConfig { auth, secret: secret.map(|secret| Token::new(secret.to_owned())) }
    }

    fn with(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn a_token_for_this_agent_opens_the_door_in_each_of_its_places() {
        let jwt = config(WebSocketAuth::Jwt, Some("s3cret"));
        let good = signed("s3cret", &json!({"name": "ann", "grants": [{"name": "agent", "scope": "bob"}]}));
        let who = |headers: &HeaderMap, query: &str| {
            who(&jwt, None, "bob", headers, query).map_err(|r| r.status.as_u16())
        };
        let none = HeaderMap::new();
        assert_eq!(who(&with("authorization", &format!("BEARER {good}")), ""), Ok("ann".into()));
        assert_eq!(who(&none, &format!("a=b&token={good}")), Ok("ann".into()));
        for prefix in ["meshagent-token.", "Bearer."] {
            let asked = format!("meshagent-msgpack, {prefix}{good}");
            let headers = with("sec-websocket-protocol", &asked);
            assert_eq!(who(&headers, ""), Ok("ann".into()));
            assert_eq!(echoed(&headers).collect::<Vec<_>>(), [format!("{prefix}{good}")]);
        }
        assert_eq!(who(&none, ""), Err(401));
        assert_eq!(who(&with("authorization", "Basic x"), &format!("token={good}")), Err(401));
        let forged = signed("other", &json!({"name": "ann", "grants": [{"name": "agent", "scope": "bob"}]}));
        assert_eq!(who(&none, &format!("token={forged}")), Err(401));
        let expired = json!({"name": "ann", "exp": 1, "grants": [{"name": "agent", "scope": "bob"}]});
        assert_eq!(who(&none, &format!("token={}", signed("s3cret", &expired))), Err(401));
        for grants in
            [json!([]), json!([{"name": "agent", "scope": "eve"}]), json!([{"name": "room", "scope": "bob"}])]
        {
            let token = signed("s3cret", &json!({"name": "ann", "grants": grants}));
            assert_eq!(who(&none, &format!("token={token}")), Err(403));
        }
    }

    #[test]
    fn the_other_ways_ask_for_less_and_jwt_without_a_secret_for_nothing_at_all() {
        let none = HeaderMap::new();
        let status = |config: &WebSocketConfig, headers: &HeaderMap| {
            who(config, None, "bob", headers, "token=x").map_err(|refused| refused.status.as_u16())
        };
        assert_eq!(status(&config(WebSocketAuth::Jwt, None), &none), Err(503));
        assert_eq!(status(&config(WebSocketAuth::Iap, None), &none), Err(401));
        assert_eq!(status(&config(WebSocketAuth::Iap, None), &with(USER_HEADER, " ann ")), Ok("ann".into()));
        let anybody = config(WebSocketAuth::None, None);
        assert_eq!(status(&anybody, &none), Err(400));
        assert_eq!(status(&anybody, &with("host", "agent.example:81")), Ok(ANYBODY.into()));
    }

    #[test]
    fn where_nobody_asks_pages_of_other_hosts_do_not_come_in() {
        let anybody = config(WebSocketAuth::None, None);
        let status = |local: Option<&str>, host: &str, origin: Option<&str>| {
            let mut headers = with("host", host);
            headers.extend(origin.map(|origin| (header::ORIGIN, origin.parse().unwrap())));
            who(&anybody, local, "bob", &headers, "").map_or_else(|refused| refused.status.as_u16(), |_| 200)
        };
        let here = Some("127.0.0.1");
        for (local, host, origin, expected) in [
            (here, "127.0.0.1:80", None, 200),
            (here, "LOCALHOST:9", Some("http://localhost:3000"), 200),
            (here, "[::1]:9", Some("http://[::1]:9"), 200),
            (Some("my.host"), "my.host:9", None, 200),
            (here, "127.0.0.1:80", Some("https://page.example"), 403),
            (here, "127.0.0.1:80", Some("http://127.0.0.1.page.example"), 403),
            (here, "127.0.0.1:80", Some("null"), 403),
            (here, "page.example:80", Some("http://page.example"), 403),
            (here, "page.example", None, 403),
            (here, "8.8.8.8", None, 403),
            (here, "a b", None, 400),
            (None, "agent.example", Some("https://agent.example"), 200),
            (None, "agent.example", Some("https://page.example"), 403),
        ] {
            assert_eq!(status(local, host, origin), expected, "{host} {origin:?}");
        }
    }
}

//! Where a server's access tokens come from, as it says itself: protected-resource metadata (RFC 9728), and metadata of
//! authorization servers (RFC 8414, OpenID Connect discovery). Only asked at addresses that may be called.

use super::guard::{self, Allowed, Refused};
use serde_json::Value;
use std::time::Duration;
use url::Url;

/// How long one document may take.
const DOCUMENT_WAIT: Duration = Duration::from_secs(10);
/// How long the search may take in all.
const SEARCH_WAIT: Duration = Duration::from_secs(30);
/// Longest document, bytes.
const DOCUMENT_BYTES_MAX: usize = 256 * 1024;

/// Endpoints of an authorization server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    pub authorization: Url,
    pub token: Url,
    /// Where clients make themselves known (RFC 7591).
    pub registration: Option<Url>,
    /// Whether codes are proven by PKCE; `None` where the server does not say.
    pub pkce: Option<bool>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("`{host}` cannot be reached: {why}")]
    Unreachable { host: String, why: String },
    #[error("`{0}` did not say in time how it is signed in to")]
    Late(String),
}

/// The authorization server of `resource`; `None` where it names none: then anybody may ask.
pub async fn find(resource: &Url, allowed: &Allowed) -> Result<Option<Endpoints>, MetadataError> {
    let host = || resource.host_str().unwrap_or_default().to_owned();
    tokio::time::timeout(SEARCH_WAIT, search(resource, allowed))
        .await
        .unwrap_or_else(|_| Err(MetadataError::Late(host())))
}

async fn search(resource: &Url, allowed: &Allowed) -> Result<Option<Endpoints>, MetadataError> {
    // That the address is one to call, and that somebody is there.
    guard::check_url(resource.clone(), allowed).await?;
    let mut issuers = Vec::new();
    for place in places(resource, &["oauth-protected-resource"]) {
        if let Some(document) = fetch(&place, allowed).await? {
            let named = document["authorization_servers"].as_array().into_iter().flatten();
            issuers.extend(named.filter_map(Value::as_str).filter_map(|url| Url::parse(url).ok()).take(1));
            if !issuers.is_empty() {
                break;
            }
        }
    }
    issuers.push(resource.clone());
    for issuer in issuers {
        for place in places(&issuer, &["oauth-authorization-server", "openid-configuration"]) {
            let found = match fetch(&place, allowed).await {
                Ok(found) => found,
                // What a server says of another is no reason to fail.
                Err(_) if issuer != *resource => None,
                Err(error) => return Err(error),
            };
            if let Some(endpoints) = found.and_then(|document| endpoints(&place, &document)) {
                return Ok(Some(endpoints));
            }
        }
    }
    Ok(None)
}

/// The well-known places of documents about `url`: with its path, then without.
fn places(url: &Url, names: &[&str]) -> Vec<Url> {
    let path = url.path().trim_end_matches('/');
    let mut all = Vec::new();
    for path in [path, ""] {
        for name in names {
            let mut place = url.clone();
            place.set_query(None);
            place.set_fragment(None);
            place.set_path(&format!("/.well-known/{name}{path}"));
            if !all.contains(&place) {
                all.push(place);
            }
        }
    }
    all
}

/// A document; `None` where there is none that can be read.
async fn fetch(place: &Url, allowed: &Allowed) -> Result<Option<Value>, MetadataError> {
    let target = guard::check_url(place.clone(), allowed).await?;
    let host = target.host().to_owned();
    let failed = |error: reqwest::Error| MetadataError::Unreachable {
        host: host.clone(),
        why: error.without_url().to_string(),
    };
    let http = target.client()?.timeout(DOCUMENT_WAIT).build().map_err(failed)?;
    let mut response = match http.get(target.url).header("accept", "application/json").send().await {
        Ok(response) => response,
        Err(error) if error.is_connect() => return Err(failed(error)),
        Err(_) => return Ok(None),
    };
    if !response.status().is_success() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        bytes.extend_from_slice(&piece);
        if bytes.len() > DOCUMENT_BYTES_MAX {
            return Ok(None);
        }
    }
    Ok(serde_json::from_slice(&bytes).ok().filter(Value::is_object))
}

fn endpoints(place: &Url, document: &Value) -> Option<Endpoints> {
    let url = |field: &str| {
        let text = document[field].as_str().map(str::trim).filter(|text| !text.is_empty())?;
        place.join(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
    };
    let methods = document["code_challenge_methods_supported"].as_array().map(|methods| {
        let methods: Vec<&str> = methods.iter().filter_map(Value::as_str).collect();
        methods.iter().any(|method| method.eq_ignore_ascii_case("S256"))
    });
    Some(Endpoints {
        authorization: url("authorization_endpoint")?,
        token: url("token_endpoint")?,
        registration: url("registration_endpoint"),
        pkce: methods,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_are_looked_for_beside_the_path_first() {
        let url = Url::parse("https://h:8443/a/mcp/?x=1#y").unwrap();
        let places: Vec<String> =
            places(&url, &["oauth-authorization-server"]).into_iter().map(String::from).collect();
        assert_eq!(
            places,
            [
                "https://h:8443/.well-known/oauth-authorization-server/a/mcp",
                "https://h:8443/.well-known/oauth-authorization-server",
            ]
        );
    }

    #[test]
    fn endpoints_are_whole_urls_or_none() {
        let place = Url::parse("https://h/.well-known/x").unwrap();
        let read = |document: Value| endpoints(&place, &document);
        let found = read(json!({"authorization_endpoint": "/a", "token_endpoint": "https://t/b",
            "code_challenge_methods_supported": ["plain", "S256"]}))
        .unwrap();
        assert_eq!((found.authorization.as_str(), found.token.as_str()), ("https://h/a", "https://t/b"));
        assert_eq!((found.pkce, found.registration), (Some(true), None));
        for wrong in [
            json!({}),
            json!({"authorization_endpoint": "/a"}),
            json!({"authorization_endpoint": "/a", "token_endpoint": "javascript:1"}),
            json!({"authorization_endpoint": 7, "token_endpoint": "/b"}),
        ] {
            assert_eq!(read(wrong.clone()), None, "{wrong}");
        }
    }
}

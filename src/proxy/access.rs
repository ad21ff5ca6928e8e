//! Who asks: a participant token as a bearer, or as the cookie of a sign-in.

use super::Shared;
use super::site::Site;
use crate::app::sites::may_visit;
use crate::app::token::Bearer;
use crate::net::hop::asks_for_socket;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use url::Url;

/// The cookie in which the public clients send their token, and in which a sign-in is kept.
pub const COOKIE: &str = "__meshagent_iap";

/// Somebody who may visit.
#[derive(Debug)]
pub struct Visitor {
    pub name: String,
    /// What the token may do in the room, JSON.
    pub api: Option<String>,
    /// The token came as `Authorization`, and is no business of the service.
    pub by_header: bool,
}

/// Why somebody may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// Nobody signed in, or not any more.
    Nobody(String),
    /// Somebody did who has no right to this site.
    Stranger(String),
    /// Another site asks with its visitor's cookie.
    OtherSite,
}

/// Whoever asks, if they may visit the site.
pub async fn visitor(shared: &Shared, site: &Site<'_>, parts: &Parts) -> Result<Visitor, Denied> {
    let (token, by_header) = match (bearer(&parts.headers), cookie(&parts.headers)) {
        (Some(token), _) => (token, true),
        (None, Some(token)) if is_own(parts, site) => (token, false),
        (None, Some(_)) => return Err(Denied::OtherSite),
        (None, None) => {
            return Err(Denied::Nobody(
                "this site is not public; sign in, or send a participant token".to_owned(),
            ));
        }
    };
    let bearer = admit(shared, site, token).await?;
    let api = bearer.api.as_ref().and_then(|api| serde_json::to_string(api).ok());
    Ok(Visitor { name: bearer.name, api, by_header })
}

/// The bearer of a token that may visit the site.
pub async fn admit(shared: &Shared, site: &Site<'_>, token: &str) -> Result<Bearer, Denied> {
    let bearer = shared.app.visitor(token, &site.domain).await;
    let bearer = bearer.map_err(|error| Denied::Nobody(error.to_string()))?;
    if may_visit(site.world, site.room, &bearer) {
        return Ok(bearer);
    }
    // A stranger to the project does not learn who they are taken for, nor which room this is.
    let known = bearer.project == site.room.project();
    let name = if known { format!("`{}`", bearer.name) } else { "this token's bearer".to_owned() };
    Err(Denied::Stranger(format!(
        "{name} may not visit this site; ask those who run it for a role in its room"
    )))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim()).filter(|token| !token.is_empty())
}

/// The first cookie of the name. The site's own beside it may be of any bytes: browsers send all in one header.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(header::COOKIE).into_iter();
    let mut pairs = values.flat_map(|value| super::headers::pairs(value.as_bytes()));
    let (_, value) = pairs.find(|(name, value)| *name == COOKIE.as_bytes() && !value.is_empty())?;
    std::str::from_utf8(value).ok()
}

/// Whether a request that comes with a cookie was made by the site's own pages, or only looks. Sites on sibling
/// domains are "same site" to browsers, so that `SameSite` alone keeps none of them out.
pub fn is_own(parts: &Parts, site: &Site<'_>) -> bool {
    let looks = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&parts.method);
    (looks && !asks_for_socket(&parts.headers)) || is_from(&parts.headers, &site.origin.host)
}

/// Whether a browser says that a page of this host asks. Programs that are no browsers say nothing.
fn is_from(headers: &HeaderMap, host: &str) -> bool {
    let same = |value: &HeaderValue| {
        let url = value.to_str().ok().and_then(|text| Url::parse(text).ok());
        url.is_some_and(|url| {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            let bare = host.strip_suffix(":80").or_else(|| host.strip_suffix(":443")).unwrap_or(host);
            let own = format!("{}{port}", url.host_str().unwrap_or_default());
            own.eq_ignore_ascii_case(bare) || own.eq_ignore_ascii_case(host)
        })
    };
    let fetched = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    fetched.is_none_or(|from| matches!(from, "same-origin" | "none"))
        && headers.get(header::ORIGIN).is_none_or(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_page_of_another_host_is_told_apart() {
        for own in ["http://a.b", "https://A.b", "http://a.b:80"] {
            assert!(is_from(&headers(&[("origin", own)]), "a.b"), "{own}");
        }
        assert!(is_from(&headers(&[("origin", "http://a.b:8080")]), "a.b:8080"));
        assert!(is_from(&headers(&[("sec-fetch-site", "same-origin")]), "a.b"));
        assert!(is_from(&headers(&[]), "a.b"));
        for other in ["http://x.b", "null", "http://a.b.evil", "http://a.b:81", "http://a.b@evil", "nonsense"]
        {
            assert!(!is_from(&headers(&[("origin", other)]), "a.b"), "{other}");
        }
        for site in ["same-site", "cross-site"] {
            assert!(!is_from(&headers(&[("sec-fetch-site", site)]), "a.b"), "{site}");
        }
    }

    #[test]
    fn tokens_are_found_in_headers_and_cookies() {
        assert_eq!(bearer(&headers(&[("authorization", "bearer  x ")])), Some("x"));
        assert_eq!(bearer(&headers(&[("authorization", "Basic x")])), None);
        let found = headers(&[("cookie", "a=1; __meshagent_iap=x.y.z; b=2")]);
        assert_eq!(cookie(&found), Some("x.y.z"));
        assert_eq!(cookie(&headers(&[("cookie", "x__meshagent_iap=1")])), None);
        assert_eq!(cookie(&headers(&[("cookie", "__meshagent_iap; a=1")])), None);
        for beside in ["name=J\u{fc}rgen".as_bytes(), b"name=J\xfcrgen"] {
            let value = [beside, b"; __meshagent_iap=x.y.z"].concat();
            let found = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_bytes(&value).unwrap())]);
            assert_eq!(cookie(&found), Some("x.y.z"), "a cookie of the site itself locks nobody out");
        }
    }
}

//! Which route a request is for: by its `Host` alone, one and the same for everybody on the way.

use super::headers::Origin;
use super::page::Problem;
use crate::domain::route::{Route, canonical};
use crate::id::{RoomId, RouteId};
use crate::projection::World;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};

/// A route that a request is for.
#[derive(Debug)]
pub struct Site<'w> {
    pub world: &'w World,
    pub id: RouteId,
    pub route: &'w Route,
    pub domain: String,
    /// Whose files, services and queues it has.
    pub room: RoomId,
    pub origin: Origin,
}

/// The host that a request names, as it was written; what could be read as another one is refused.
pub fn host(parts: &Parts) -> Result<String, Problem> {
    let bad = |text: &str| Problem::new(StatusCode::BAD_REQUEST, "invalid-request", text);
    if parts.method == Method::CONNECT || parts.method == Method::TRACE {
        let text = format!("routes do not answer {}", parts.method);
        return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "invalid-request", text));
    }
    let mut hosts = parts.headers.get_all(header::HOST).into_iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(bad("a request has exactly one `Host` header"));
    };
    let host = host.to_str().map_err(|_| bad("the `Host` header is no text"))?;
    if parts.uri.authority().is_some_and(|authority| !authority.as_str().eq_ignore_ascii_case(host)) {
        return Err(bad("the `Host` header and the request's own address differ"));
    }
    // A length beside chunks: two servers could see two different ends.
    let lengths = parts.headers.get_all(header::CONTENT_LENGTH).iter().count();
    if lengths > 1 || (lengths == 1 && parts.headers.contains_key(header::TRANSFER_ENCODING)) {
        return Err(bad("the length of the body is given twice"));
    }
    Ok(host.to_owned())
}

/// The domain in a `Host` header: without the port, lower case.
#[must_use]
pub fn domain(host: &str) -> String {
    let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
    let is_port = !port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    canonical(if is_port { name } else { host })
}

/// The route of a domain in a room that is enabled.
pub fn find(world: &World, origin: Origin) -> Result<Site<'_>, Problem> {
    let domain = domain(&origin.host);
    let Some((id, route)) = world.route_of(&domain) else {
        return Err(Problem::not_found("nothing answers at this domain here"));
    };
    let room = route.backend.room();
    match world.room(room) {
        Some(state) if state.enabled => Ok(Site { world, id, route, domain, room, origin }),
        _ => Err(Problem::unavailable("this site is switched off")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    #[test]
    fn a_host_is_one_whoever_reads_it() {
        let parts = |uri: &str, headers: &[(&str, &str)]| {
            let request =
                headers.iter().fold(Request::builder().uri(uri), |r, (name, value)| r.header(*name, *value));
            request.body(()).unwrap().into_parts().0
        };
        assert_eq!(host(&parts("/", &[("host", "a.b:80")])).unwrap(), "a.b:80");
        assert_eq!(host(&parts("http://a.b/x", &[("host", "A.b")])).unwrap(), "A.b");
        for (uri, headers) in [
            ("/", vec![]),
            ("/", vec![("host", "a.b"), ("host", "a.b")]),
            ("http://c.d/", vec![("host", "a.b")]),
            ("/", vec![("host", "a.b"), ("content-length", "1"), ("transfer-encoding", "chunked")]),
            ("/", vec![("host", "a.b"), ("content-length", "1"), ("content-length", "2")]),
        ] {
            assert!(host(&parts(uri, &headers)).is_err(), "{uri} {headers:?}");
        }
        for (written, read) in [
            ("A.b.:8080", "a.b"),
            ("a.b", "a.b"),
            ("a.b:x", "a.b:x"),
            ("[::1]:80", "[::1]"),
            ("a.b:", "a.b:"),
        ] {
            assert_eq!(domain(written), read, "{written}");
        }
    }
}

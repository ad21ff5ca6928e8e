//! Signing in to a site: a page takes a participant token, and a cookie for this one domain comes of it.

use super::Shared;
use super::access::{COOKIE, Denied, admit, is_own};
use super::page::{Problem, escaped, page, wants_page};
use super::port::whole;
use super::site::Site;
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};

/// What the edge answers itself on every domain, as segments of the path.
const OWN: [&str; 2] = [".well-known", "meshagent"];
const SIGN_IN: &str = "/.well-known/meshagent/sign-in";
/// Longest form, bytes.
const FORM_BYTES_MAX: usize = 64 * 1024;
/// Longest address to go back to, bytes.
const RETURN_BYTES_MAX: usize = 4 * 1024;

/// The name of a page of this edge, where the path is of one.
#[must_use]
pub fn own(segments: &[String]) -> Option<&str> {
    let (own, rest) = segments.split_at_checked(OWN.len())?;
    let is_own = own.iter().zip(OWN).all(|(segment, own)| segment == own);
    is_own.then(|| rest.first().map_or("", String::as_str))
}

/// Answers a request for a page of this edge.
pub async fn answer(shared: &Shared, site: &Site<'_>, name: &str, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let result = match (name, &parts.method) {
        ("sign-in", &Method::GET | &Method::HEAD) => Ok(form(site, &parts, StatusCode::OK, "")),
        ("sign-in", &Method::POST) => sign_in(shared, site, &parts, body).await,
        ("sign-out", &Method::POST) if is_own(&parts, site) => Ok(gone(site)),
        ("sign-in" | "sign-out", _) => Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "invalid-request",
            "this page does not take that",
        )),
        _ => Err(Problem::not_found("there is no such page")),
    };
    result.unwrap_or_else(|problem| problem.answer(&parts.headers))
}

/// What those get who may not visit: people the way to sign in, programs an error.
pub fn refused(site: &Site<'_>, parts: &Parts, denied: Denied) -> Response<Body> {
    let unauthorized =
        |text| Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", text).answer(&parts.headers);
    let forbidden =
        |text| Problem::new(StatusCode::FORBIDDEN, "permission-denied", text).answer(&parts.headers);
    let looks = parts.method == Method::GET && wants_page(&parts.headers);
    match denied {
        Denied::OtherSite => forbidden("this request comes from a page of another site".to_owned()),
        Denied::Nobody(_) if looks => {
            let back = parts.uri.path_and_query().map_or("/", |target| target.as_str());
            let back: String = url::form_urlencoded::byte_serialize(local(back).as_bytes()).collect();
            redirect(&format!("{SIGN_IN}?return={back}"))
        }
        Denied::Stranger(text) if looks => form(site, parts, StatusCode::FORBIDDEN, &text),
        Denied::Nobody(text) => unauthorized(text),
        Denied::Stranger(text) => forbidden(text),
    }
}

fn value(query: &[u8], name: &str) -> Option<String> {
    url::form_urlencoded::parse(query).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// An address on this site to go back to; the first page for anything else.
fn local(text: &str) -> &str {
    let inside = text.starts_with('/')
        && !text.starts_with("//")
        && text.len() <= RETURN_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if inside { text } else { "/" }
}

fn form(site: &Site<'_>, parts: &Parts, status: StatusCode, why: &str) -> Response<Body> {
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    let back = value(query, "return").unwrap_or_else(|| "/".to_owned());
    form_to(site, status, why, &back)
}

fn form_to(site: &Site<'_>, status: StatusCode, why: &str, back: &str) -> Response<Body> {
    let domain = escaped(&site.domain);
    let why = if why.is_empty() { String::new() } else { format!("<p role=alert>{}</p>", escaped(why)) };
    let back = escaped(local(back));
    let body = format!(
        "<h1>Sign in</h1><p>{domain} is not public.</p>{why}\
         <form method=post action=\"{SIGN_IN}\"><label>Participant token \
         <input name=token type=password required autofocus autocomplete=off></label>\
         <input type=hidden name=return value=\"{back}\"><button>Sign in</button></form>\
         <p><small>Those who run the site give out tokens: <code>meshagent token</code>.</small></p>"
    );
    page(status, &format!("Sign in to {}", site.domain), &body)
}

async fn sign_in(
    shared: &Shared,
    site: &Site<'_>,
    parts: &Parts,
    body: Body,
) -> Result<Response<Body>, Problem> {
    if !is_own(parts, site) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "permission-denied", "this form is of another site"));
    }
    let (form, _bytes) = whole(shared, site, &parts.headers, body, FORM_BYTES_MAX).await?;
    let token = value(&form, "token").unwrap_or_default();
    let back = value(&form, "return").unwrap_or_default();
    let bearer = match admit(shared, site, token.trim()).await {
        Ok(bearer) => bearer,
        Err(Denied::Nobody(why)) => return Ok(form_to(site, StatusCode::UNAUTHORIZED, &why, &back)),
        Err(Denied::Stranger(why)) => return Ok(form_to(site, StatusCode::FORBIDDEN, &why, &back)),
        Err(Denied::OtherSite) => return Err(Problem::not_found("there is no such page")),
    };
    let room = site.world.room(site.room).map(|room| room.name.to_string()).unwrap_or_default();
    let made = shared.app.site_cookie(&bearer, &site.domain, &room).await;
    let (cookie, seconds) = made.map_err(|error| {
        tracing::error!(%error, "a sign-in failed");
        Problem::unavailable("the sign-in cannot be kept now; try again")
    })?;
    tracing::info!(target: "meshagent::audit", domain = site.domain, name = bearer.name, "sign-in to a site");
    let mut response = redirect(local(&back));
    set(&mut response, &format!("{COOKIE}={cookie}; Max-Age={seconds}{}", attributes(site)));
    Ok(response)
}

fn gone(site: &Site<'_>) -> Response<Body> {
    let mut response = redirect("/");
    set(&mut response, &format!("{COOKIE}=; Max-Age=0{}", attributes(site)));
    response
}

/// For this host only, out of reach of scripts and of other sites.
fn attributes(site: &Site<'_>) -> &'static str {
    if site.origin.https {
        "; Path=/; HttpOnly; SameSite=Lax; Secure"
    } else {
        "; Path=/; HttpOnly; SameSite=Lax"
    }
}

fn set(response: &mut Response<Body>, cookie: &str) {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

fn redirect(to: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/")));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for good in ["/", "/a?b=c", "/a//b", "/@x"] {
            assert_eq!(local(good), good);
        }
        for bad in [
            "",
            "//evil",
            "/\\evil",
            "\\evil",
            "http://evil",
            "javascript:x",
            "/a\r\nx",
            "/a b",
            " /a",
            "/\t/evil",
        ] {
            assert_eq!(local(bad), "/", "{bad:?}");
        }
    }

    #[test]
    fn pages_of_the_edge_are_below_one_path() {
        let of = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(own(&of(".well-known/meshagent/sign-in")), Some("sign-in"));
        assert_eq!(own(&of(".well-known/meshagent")), Some(""));
        assert_eq!(own(&of(".well-known/other")), None);
        assert_eq!(own(&of("a")), None);
    }
}

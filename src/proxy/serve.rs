//! One request from its first line to its answer.

use super::headers::Origin;
use super::page::Problem;
use super::path::TARGET_BYTES_MAX;
use super::places::Place;
use super::port::Asking;
use super::{Shared, content, path, port, sign_in, site};
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use std::net::IpAddr;

/// Answers a request from this address.
pub async fn answer(shared: &Shared, peer: IpAddr, request: Request) -> Response<Body> {
    let asked: HeaderMap = request.headers().clone();
    let mut response = match serve(shared, peer, request).await {
        Ok(response) => response,
        Err(problem) => problem.answer(&asked),
    };
    // A length that was beside the chunks is gone by now. Whatever a server in front took for the next request because of
    // it is not read as one (RFC 9112 §6.1).
    if asked.contains_key(header::TRANSFER_ENCODING) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn serve(shared: &Shared, peer: IpAddr, request: Request) -> Result<Response<Body>, Problem> {
    let (parts, body) = request.into_parts();
    let origin = Origin { peer, host: site::host(&parts)?, https: shared.https };
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    if target.len() > TARGET_BYTES_MAX {
        return Err(Problem::new(StatusCode::URI_TOO_LONG, "too-large", "the address is too long"));
    }
    let asked = path::read(parts.uri.path());
    let asked =
        asked.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "invalid-request", error.to_string()))?;
    let world = shared.app.world();
    let site = site::find(&world, origin)?;
    let place = shared.places.take(site.id).ok_or_else(|| {
        let text = "too many requests for this site are under way; try again in a moment";
        Problem { retry_after: Some(1), ..Problem::new(StatusCode::TOO_MANY_REQUESTS, "busy", text) }
    })?;
    let request = Request::from_parts(parts, body);
    if let Some(name) = sign_in::own(&asked.segments) {
        return Ok(held(sign_in::answer(shared, &site, name, request).await, place));
    }
    let Some((path, rest)) = path::matching(&site.route.spec.paths, &asked) else {
        return Err(Problem::not_found("nothing answers at this path"));
    };
    match (&path.target_content, &path.target_port) {
        (Some(content), _) => {
            let (parts, _) = request.into_parts();
            Ok(held(content::answer(shared, &site, content, (&asked, rest), &parts).await, place))
        }
        (None, Some(target)) => {
            let asking = Asking { path, target, asked: &asked, rest, place };
            Ok(port::answer(shared, &site, asking, request).await)
        }
        (None, None) => Err(Problem::not_found("nothing answers at this path")),
    }
}

/// The answer, with the place that is given up when its body ends.
fn held(response: Response<Body>, place: Place) -> Response<Body> {
    response.map(|body| {
        Body::new(body.map_frame(move |frame: hyper::body::Frame<Bytes>| {
            let _ = &place;
            frame
        }))
    })
}

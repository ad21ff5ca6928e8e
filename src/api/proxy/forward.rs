//! Plain HTTP and event streams: passed on byte by byte, with limits on size, silence and the wait for an answer.

use super::{Turn, bad_gateway, headers};
use crate::api::Problem;
use crate::net::guard::{Refused, Target};
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use futures_util::{Stream, StreamExt};
use std::io;
use std::time::Duration;

/// Most bytes of a body, either way.
pub const BODY_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// How long the target may take to begin its answer.
const ANSWER_WAIT: Duration = Duration::from_mins(10);
/// Longest silence within a body. Event streams send comments more often.
const SILENCE_MAX: Duration = Duration::from_mins(10);

pub(super) async fn pass(
    target: &Target,
    request: Request,
    secrets: HeaderMap,
    turn: Turn,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let failed = |error: reqwest::Error| {
        bad_gateway(format!("`{}` did not answer the request: {}", target.host(), error.without_url()))
    };
    let builder = target.client()?.read_timeout(SILENCE_MAX);
    let client = builder.build().map_err(|error| Refused::Client(error.without_url().to_string()))?;
    let mut sent = headers::onward(&parts.headers);
    for (name, value) in &secrets {
        sent.insert(name.clone(), value.clone());
    }
    let mut url = target.url.clone();
    // An ordinary request to a socket's address.
    let scheme = if matches!(url.scheme(), "wss" | "https") { "https" } else { "http" };
    let _ = url.set_scheme(scheme);
    let mut outgoing = client.request(parts.method, url).headers(sent);
    if has_body(&parts.headers) {
        outgoing = outgoing.body(reqwest::Body::wrap_stream(bounded(body.into_data_stream(), None)));
    }
    let answer = tokio::time::timeout(ANSWER_WAIT, outgoing.send()).await;
    let answer = answer
        .map_err(|_| {
            let text = format!("`{}` did not begin to answer in time", target.host());
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "upstream-unreachable", text)
        })?
        .map_err(failed)?;
    let (status, back) = (answer.status(), headers::back(answer.headers()));
    let stream = answer.bytes_stream().map(|part| part.map_err(reqwest::Error::without_url));
    let mut response = Response::new(Body::from_stream(bounded(stream, Some(turn))));
    *response.status_mut() = status;
    *response.headers_mut() = back;
    Ok(response)
}

fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(axum::http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    length.is_some_and(|text| text != "0") || headers.contains_key(axum::http::header::TRANSFER_ENCODING)
}

/// The parts as they come, an error beyond [`BODY_BYTES_MAX`]. Holds the turn until it ends.
fn bounded<E: std::error::Error + Send + Sync + 'static>(
    parts: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    turn: Option<Turn>,
) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static {
    let mut passed: u64 = 0;
    parts.map(move |part| {
        let _ = &turn;
        let part = part.map_err(io::Error::other)?;
        passed = passed.saturating_add(part.len() as u64);
        if passed > BODY_BYTES_MAX {
            return Err(io::Error::other(format!("a body has at most {BODY_BYTES_MAX} bytes")));
        }
        Ok(part)
    })
}

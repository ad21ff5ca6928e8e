//! A file as an HTTP answer: the headers that say which part of it is sent.

use super::conditional::Send;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use std::ops::Range;

/// Sets a header; what cannot be one is left out.
pub fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[must_use]
pub fn with(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// What is sent of a file of some size, as the headers say then; an error is the status of an answer without a body. All of it is
/// sent with the status `all`.
pub fn part(
    headers: &mut HeaderMap,
    wanted: Send,
    size: u64,
    all: StatusCode,
) -> Result<(StatusCode, Range<u64>), StatusCode> {
    match wanted {
        Send::Nothing => Err(StatusCode::NOT_MODIFIED),
        Send::All => Ok((all, 0..size)),
        Send::Part(range) => {
            let text = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
            put(headers, header::CONTENT_RANGE, &text);
            Ok((StatusCode::PARTIAL_CONTENT, range))
        }
        Send::Outside => {
            put(headers, header::CONTENT_RANGE, &format!("bytes */{size}"));
            Err(StatusCode::RANGE_NOT_SATISFIABLE)
        }
    }
}

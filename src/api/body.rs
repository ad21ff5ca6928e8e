//! JSON bodies, with errors that say where the mistake is.

use super::Problem;
use crate::spec;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Largest JSON body, bytes.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A JSON body of a known shape. The content type is not insisted on; an empty body is `{}`.
#[derive(Debug)]
pub(super) struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state).await.map_err(|_| {
            Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "the body is larger than this request may be; send less at once",
            )
        })?;
        let bytes: &[u8] = if bytes.iter().all(u8::is_ascii_whitespace) { b"{}" } else { &bytes };
        read(bytes).map(Self)
    }
}

/// Reads a document of a known kind; the error names all that is wrong with it.
pub(super) fn spec<T: spec::Spec>(body: Value) -> Result<T, Problem> {
    spec::from_json(body)
        .map_err(|problems| Problem::new(StatusCode::BAD_REQUEST, "spec-invalid", spec::summary(&problems)))
}

/// Reads JSON text; the error names the field.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    // Again, to learn where the mistake is; that costs more.
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let at = if path == "." { String::new() } else { format!(" at `{path}`") };
        Problem::bad_request(format!("the body is not as wanted{at}: {}", error.into_inner()))
    })
}

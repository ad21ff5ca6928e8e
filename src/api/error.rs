//! The only place where a refusal meets HTTP.
//!
//! Body: `{"error": {"message", "code"}}`; the clients print it as it is, so the message is for people.

use crate::app::Error;
use crate::domain::Refusal;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An answer that is not success.
#[derive(Debug)]
pub struct Problem {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-request", message)
    }

    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "permission-denied", message)
    }

    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", message)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Rejected { refusal: Refusal::NotFound, .. } | Error::NotFound { .. } => {
                StatusCode::NOT_FOUND
            }
            Error::Rejected { refusal: Refusal::Exists | Refusal::State, .. } => StatusCode::CONFLICT,
            Error::Rejected { refusal: Refusal::Invalid, .. } | Error::Invalid { .. } => {
                StatusCode::BAD_REQUEST
            }
            Error::Plan(problems) if problems.are_conflicts() => StatusCode::CONFLICT,
            Error::Plan(_) => StatusCode::BAD_REQUEST,
            Error::Forbidden(_) => StatusCode::FORBIDDEN,
            Error::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Error::Busy(_)
            | Error::Read(_)
            | Error::Fold(_)
            | Error::Vault(_)
            | Error::Lease(_)
            | Error::SecretId(_) => StatusCode::SERVICE_UNAVAILABLE,
            Error::Append(crate::eventlog::AppendError::Full { .. }) => StatusCode::INSUFFICIENT_STORAGE,
            Error::Append(crate::eventlog::AppendError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Error::Append(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        if status.is_server_error() {
            tracing::error!(%error, "a request failed");
        }
        Self { status, code: error.code(), message: error.to_string() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({"error": {"message": self.message, "code": self.code}});
        (self.status, Json(body)).into_response()
    }
}

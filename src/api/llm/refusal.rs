//! Answers that are not the provider's, in a shape that the SDKs of all of them read.

use crate::api::Problem;
use crate::llm::upstream::Failure;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Why a request was not passed on, or not answered.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
}

impl Refusal {
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Problem::bad_request(message).into()
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Problem::forbidden(message).into()
    }

    /// `{"type": "error", "error": {"type", "code", "message", "param"}}`: Anthropic's shape and OpenAI's at once.
    pub(super) fn body(&self) -> Value {
        json!({"type": "error", "error": {
            "type": kind(self.status), "code": self.code, "message": self.message, "param": null,
        }})
    }
}

/// The SDKs' word for a status.
fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "invalid_request_error",
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        _ => "api_error",
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { status: problem.status, code: problem.code, message: problem.message }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let message = failure.to_string();
        match failure {
            Failure::Refused(refused) => Problem::from(refused).into(),
            Failure::Key(_) => Self { status: StatusCode::BAD_REQUEST, code: "settings-invalid", message },
            Failure::Unreachable { .. } => {
                Self { status: StatusCode::BAD_GATEWAY, code: "upstream-unreachable", message }
            }
            Failure::Slow { .. } => {
                Self { status: StatusCode::GATEWAY_TIMEOUT, code: "upstream-unreachable", message }
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.body())).into_response()
    }
}

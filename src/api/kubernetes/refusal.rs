//! Refusals as Kubernetes spells them: `Status` objects with a code, a reason, and the fields that are wrong.

use crate::api::Problem;
use crate::app::Error;
use crate::app::plan::{Code, Problems, Resource};
use crate::crd::names::{self, GROUP};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A request that is not carried out.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: StatusCode,
    /// One of the reasons that clients know.
    pub reason: &'static str,
    pub message: String,
    details: Value,
}

/// A field that is wrong.
pub(super) struct Cause {
    pub reason: &'static str,
    pub field: String,
    pub message: String,
}

impl Refusal {
    pub fn new(status: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into(), details: Value::Null }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    pub fn too_large() -> Self {
        let text = "the body is larger than this request may be; send less at once";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", text)
    }

    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    pub fn no_path(path: &str) -> Self {
        let text = format!("this server has no {path}; `kubectl api-resources` lists what it has");
        Self::new(StatusCode::NOT_FOUND, "NotFound", text)
    }

    pub fn no_method(method: &Method) -> Self {
        let text = format!("{method} is not possible here");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", text)
    }

    pub fn no_object(resource: &dyn Resource, name: &str) -> Self {
        let text = format!("{}.{GROUP} {name:?} not found", names::plural(resource.kind()));
        Self::new(StatusCode::NOT_FOUND, "NotFound", text).about(resource, name, &[])
    }

    pub fn exists(resource: &dyn Resource, name: &str, why: &str) -> Self {
        let text = format!("{}.{GROUP} {name:?} already exists{why}", names::plural(resource.kind()));
        Self::new(StatusCode::CONFLICT, "AlreadyExists", text).about(resource, name, &[])
    }

    /// Somebody else changed the object since it was read.
    pub fn stale(resource: &dyn Resource, name: &str) -> Self {
        let text = format!(
            "Operation cannot be fulfilled on {}.{GROUP} {name:?}: the object has been modified; please apply your \
             changes to the latest version and try again",
            names::plural(resource.kind())
        );
        Self::new(StatusCode::CONFLICT, "Conflict", text).about(resource, name, &[])
    }

    /// The object is wrong at these fields.
    pub fn invalid(resource: &dyn Resource, name: &str, causes: &[Cause]) -> Self {
        let told: Vec<String> =
            causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let text = format!("{}.{GROUP} {name:?} is invalid: {}", resource.kind(), told.join(", "));
        let made = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", text);
        made.about_kind(resource.kind().as_str().to_owned(), name, causes)
    }

    /// The object is wrong at one field.
    pub fn invalid_at(
        resource: &dyn Resource,
        name: &str,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        let cause = Cause { reason: "FieldValueInvalid", field: field.into(), message: message.into() };
        Self::invalid(resource, name, &[cause])
    }

    /// What is in the way of a plan with one document.
    pub fn of_plan(resource: &dyn Resource, name: &str, problems: &Problems) -> Self {
        if problems.are_conflicts() {
            return Self::conflict(resource, name, problems);
        }
        let cause = |problem: &crate::app::plan::Problem| {
            let hint = problem.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            let reason = match problem.code {
                Code::Reference => "FieldValueNotFound",
                Code::Duplicate => "FieldValueDuplicate",
                Code::Immutable => "FieldValueForbidden",
                _ => "FieldValueInvalid",
            };
            Cause { reason, field: field(&problem.path), message: format!("{}{hint}", problem.message) }
        };
        let causes: Vec<Cause> = problems.list.iter().map(cause).collect();
        Self::invalid(resource, name, &causes)
    }

    fn conflict(resource: &dyn Resource, name: &str, problems: &Problems) -> Self {
        let cause = |problem: &crate::app::plan::Problem| Cause {
            reason: "FieldManagerConflict",
            field: format!(".{}", field(&problem.path)),
            message: format!("conflict with {:?}", problem.holder.as_deref().unwrap_or_default()),
        };
        let causes: Vec<Cause> = problems.list.iter().map(cause).collect();
        let told: Vec<String> =
            causes.iter().map(|cause| format!("{}: {}", cause.message, cause.field)).collect();
        let plural = if causes.len() == 1 { "" } else { "s" };
        let text = format!("Apply failed with {} conflict{plural}: {}", causes.len(), told.join(", "));
        let made = Self::new(StatusCode::CONFLICT, "Conflict", text);
        made.about(resource, name, &causes)
    }

    fn about(self, resource: &dyn Resource, name: &str, causes: &[Cause]) -> Self {
        self.about_kind(names::plural(resource.kind()), name, causes)
    }

    fn about_kind(mut self, kind: String, name: &str, causes: &[Cause]) -> Self {
        let cause =
            |cause: &Cause| json!({"reason": cause.reason, "field": cause.field, "message": cause.message});
        self.details = json!({"group": GROUP, "kind": kind, "name": name});
        if !causes.is_empty() {
            self.details["causes"] = causes.iter().map(cause).collect();
        }
        self
    }

    /// The object that tells of it.
    pub fn object(&self) -> Value {
        let mut object = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.status.as_u16()});
        if !self.details.is_null() {
            object["details"] = self.details.clone();
        }
        object
    }
}

/// Where a field of a document is in the object.
fn field(path: &str) -> String {
    match path {
        "" => "spec".to_owned(),
        r#"metadata.annotations["meshagent.room"]"# => "spec.room".to_owned(),
        path => format!("spec.{path}"),
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let reason = match problem.status {
            StatusCode::UNAUTHORIZED => "Unauthorized",
            StatusCode::FORBIDDEN => "Forbidden",
            StatusCode::NOT_FOUND => "NotFound",
            StatusCode::CONFLICT => "Conflict",
            StatusCode::GONE => "Expired",
            StatusCode::BAD_REQUEST => "BadRequest",
            StatusCode::PAYLOAD_TOO_LARGE => "RequestEntityTooLarge",
            StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
            _ => "InternalError",
        };
        Self::new(problem.status, reason, problem.message)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::from(Problem::from(error))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        super::json_as(self.status, &self.object())
    }
}

//! Plans and applies of documents.

use super::{ProjectRest, Rest, RestError, error};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Longest wait for a plan, or for it to be carried out.
pub const PLAN_TIMEOUT: Duration = Duration::from_mins(5);

/// What is asked for.
#[derive(Clone, Default, Serialize)]
pub struct PlanRequest {
    pub documents: Vec<Value>,
    /// Values of secrets, by the index of the document whose `value_from` they were read for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<usize, String>,
    pub source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    pub prune: bool,
    pub force: bool,
    pub replace: bool,
    /// Hash of the plan that was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

/// Without the values.
impl fmt::Debug for PlanRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (source, documents) = (&self.source, self.documents.len());
        f.debug_struct("PlanRequest")
            .field("source", source)
            .field("documents", &documents)
            .finish_non_exhaustive()
    }
}

/// A plan as the server tells it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    pub source: String,
    pub hash: String,
    pub base: u64,
    pub summary: Value,
    pub steps: Vec<Step>,
}

/// One resource of a plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// `create`, `update`, `replace`, `delete` or `unchanged`.
    pub action: String,
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    pub name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FieldChange>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One field that differs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FieldChange {
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

/// One thing that is in the way.
#[derive(Debug, Clone, Deserialize)]
pub struct PlanProblem {
    /// `invalid`, `reference`, `duplicate`, `cycle`, `immutable`, `conflict` or `prune`.
    #[serde(default)]
    pub code: String,
    /// Index of the document, where it is about one.
    #[serde(default)]
    pub document: Option<usize>,
    pub kind: String,
    pub name: String,
    #[serde(default)]
    pub path: String,
    pub message: String,
    #[serde(default)]
    pub hint: Option<String>,
}

/// Why there is no plan.
#[derive(Debug)]
pub enum Refusal {
    /// Problems of documents, and how many there are in all.
    Problems(Vec<PlanProblem>, usize),
    Other(RestError),
}

impl From<RestError> for Refusal {
    fn from(error: RestError) -> Self {
        Self::Other(error)
    }
}

impl ProjectRest {
    /// What applying these documents would do.
    pub async fn plan(&self, request: &PlanRequest) -> Result<Plan, Refusal> {
        self.rest.planned(&self.v1(&["plan"]), request).await
    }

    /// Makes everything as the documents say, all or nothing.
    pub async fn apply(&self, request: &PlanRequest) -> Result<Plan, Refusal> {
        self.rest.planned(&self.v1(&["apply"]), request).await
    }
}

impl Rest {
    pub(super) async fn planned(&self, segments: &[&str], request: &impl Serialize) -> Result<Plan, Refusal> {
        let url = self.url(segments)?;
        let asked = format!("POST {}", url.path());
        let request = self.request(Method::POST, url).timeout(PLAN_TIMEOUT).json(request);
        let response = request.send().await.map_err(|error| self.broken(&asked, &error))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| self.broken(&asked, &error))?;
        if status.is_success() {
            let not_json = |error: serde_json::Error| RestError::NotJson {
                asked: asked.clone(),
                reason: error.to_string(),
            };
            return serde_json::from_slice(&bytes).map_err(|error| not_json(error).into());
        }
        let mut body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let problems = body.pointer_mut("/error/problems").map(Value::take);
        let problems: Vec<PlanProblem> =
            problems.and_then(|problems| serde_json::from_value(problems).ok()).unwrap_or_default();
        if problems.is_empty() {
            let (status, message) = (status.as_u16(), error::message(status.as_u16(), &bytes));
            return Err(RestError::Status { status, asked, message }.into());
        }
        let count = body.pointer("/error/problem_count").and_then(Value::as_u64);
        let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(problems.len());
        Err(Refusal::Problems(problems, count))
    }
}

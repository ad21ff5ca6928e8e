//! A project's router document, read once for each of its revisions.

use super::refusal::Refusal;
use crate::api::Api;
use crate::id::ProjectId;
use crate::llm::router::{Policy, Stopped};
use crate::spec::router::Router;
use axum::http::StatusCode;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// Name of the document.
pub(super) const ROUTER: &str = "router";
/// Projects whose documents are kept ready.
const KEPT_MAX: usize = 1_024;

/// Documents that were read, by the revision that they are of.
#[derive(Debug, Default)]
pub(super) struct Policies(Mutex<HashMap<ProjectId, (Uuid, Arc<Policy>)>>);

/// What holds for a project now.
pub(super) fn policy(api: &Api, project: ProjectId) -> Result<Arc<Policy>, Refusal> {
    let Some(settings) = api.app.settings_document(project, ROUTER) else {
        return Ok(Arc::default());
    };
    let mut kept = api.llm.policies.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, policy)) = kept.get(&project).filter(|(revision, _)| *revision == settings.revision) {
        return Ok(Arc::clone(policy));
    }
    // A document that is not understood lets nothing through.
    let read = serde_json::from_value::<Router>(Value::Object(settings.document));
    let router =
        read.map_err(|error| error.to_string()).and_then(Router::checked).map_err(|why| Refusal {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "settings-invalid",
            message: format!("the project's settings `{ROUTER}` cannot be read ({why}); set them anew"),
        })?;
    let policy = Arc::new(Policy::new(router));
    if kept.len() >= KEPT_MAX {
        kept.clear();
    }
    kept.insert(project, (settings.revision, Arc::clone(&policy)));
    Ok(policy)
}

impl From<Stopped> for Refusal {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Malformed(malformed) => malformed.into(),
            stopped => {
                Self { status: StatusCode::FORBIDDEN, code: "router-refused", message: stopped.to_string() }
            }
        }
    }
}

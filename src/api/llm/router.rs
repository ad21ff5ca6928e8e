//! A project's router document, read once for each of its revisions.

use super::refusal::Refusal;
use crate::api::Api;
use crate::id::ProjectId;
use crate::llm::body::Fields;
use crate::llm::router::{Asked, Policy, Stopped};
use crate::spec::router::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// Name of the document.
pub(super) const ROUTER: &str = "router";
/// Projects whose documents are kept ready.
const KEPT_MAX: usize = 1_024;
/// A request that is looked at where it came, bytes: that takes a few milliseconds.
const SMALL_BYTES_MAX: usize = 256 * 1024;
/// Larger ones that are looked at at once.
pub(super) const LOOKS_MAX: usize = 4;

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

/// What one of the rules' functions makes of a request.
pub(super) type Apply = fn(&Policy, &Asked<'_>, &mut Fields) -> Result<bool, Stopped>;

/// A request's members as the rules make them, and its bytes where they may be others then. A large one is looked at on a thread
/// of its own, a few at a time.
pub(super) async fn held_to(
    api: &Api,
    policy: &Arc<Policy>,
    asked: &Asked<'_>,
    mut fields: Fields,
    apply: Apply,
) -> Result<(Fields, Option<Bytes>), Refusal> {
    let of = |changed: bool, fields: &Fields| changed.then(|| Bytes::from(fields.to_bytes()));
    if !policy.has_rules() || fields.bytes() <= SMALL_BYTES_MAX {
        let changed = apply(policy, asked, &mut fields)?;
        let changed = of(changed, &fields);
        return Ok((fields, changed));
    }
    let gone = |_| Refusal {
        status: StatusCode::SERVICE_UNAVAILABLE,
        code: "busy",
        message: "the request could not be held to the project's rules; send it again".to_owned(),
    };
    let _place = api.llm.looks.acquire().await.map_err(|_| gone(()))?;
    let (policy, operation, transport) = (Arc::clone(policy), asked.operation.clone(), asked.transport);
    let (headers, model) = (asked.headers.clone(), asked.model.to_owned());
    let looked = tokio::task::spawn_blocking(move || {
        let asked = Asked { operation: &operation, transport, headers: &headers, model: &model };
        let changed = apply(&policy, &asked, &mut fields)?;
        let changed = of(changed, &fields);
        Ok::<_, Stopped>((fields, changed))
    });
    Ok(looked.await.map_err(|_| gone(()))??)
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

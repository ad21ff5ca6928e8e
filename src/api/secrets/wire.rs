//! Secrets as the clients read them. Never a value.

use crate::api::Problem;
use crate::api::paging::Page;
use crate::domain::secret::{Owner, Secret, Version};
use crate::id::OwnedSecretId;
use axum::Json;
use serde_json::{Value, json};

pub(super) fn secret(id: OwnedSecretId, secret: &Secret) -> Value {
    let (user, account) = match secret.owner {
        Owner::User(id) => (Some(id), None),
        Owner::ServiceAccount(id) => (None, Some(id)),
    };
    let about = &secret.about;
    json!({
        "id": id.to_string(), "project_id": id.project().to_string(),
        "owner_user_id": user, "owner_service_account_id": account,
        "created_by_service_account_id": secret.by,
        "type": about.kind, "name": about.name, "http_only": about.http_only,
        "metadata": about.metadata, "annotations": about.annotations,
        "current_version_id": secret.current,
        "created_at": secret.created_at, "updated_at": secret.updated_at,
    })
}

pub(super) fn version(id: OwnedSecretId, version: &Version) -> Value {
    // A document's values are known by a keyed digest only.
    let sha256 = Some(&version.sha256).filter(|text| !text.is_empty());
    json!({
        "id": version.id, "secret_id": id.to_string(), "version": version.number,
        "value_sha256": sha256, "fingerprint": version.fingerprint, "created_by_service_account_id": version.by,
        "created_at": version.created_at,
    })
}

#[allow(clippy::unnecessary_wraps, reason = "the last line of handlers")]
pub(super) fn page(page: Page<(OwnedSecretId, &Secret)>) -> Result<Json<Value>, Problem> {
    let secrets: Vec<Value> = page.items.into_iter().map(|(id, of)| secret(id, of)).collect();
    Ok(Json(json!({"secrets": secrets, "total": page.total, "continuation_token": page.next})))
}

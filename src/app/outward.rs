//! What the operator chose about the way out: where calls may go, and who signs them.

use super::secrets::Renewals;
use super::{App, Error};
use crate::id::ProjectId;
use crate::net::guard::Allowed;
use crate::vault::{Secret, SecretId};
use std::sync::Arc;

/// The way out.
#[derive(Debug, Clone, Default)]
pub struct Outward {
    pub allowed: Allowed,
    /// Signs calls and webhooks of all projects. Without it every project has one of its own, made at first use.
    pub webhook_secret: Option<Secret>,
    /// Whose turn it is to have the access tokens of OAuth grants renewed.
    pub renewals: Arc<Renewals>,
}

impl App {
    /// The secret that signs a project's calls and webhooks; text, so that receivers can be given it.
    pub async fn webhook_secret(&self, outward: &Outward, project: ProjectId) -> Result<Secret, Error> {
        if let Some(secret) = &outward.webhook_secret {
            return Ok(secret.clone());
        }
        let made = self.vault.get_or_make(&SecretId::new(format!("webhook/{project}"))?).await?;
        Ok(Secret::from(hex::encode(made.expose())))
    }
}

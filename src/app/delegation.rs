//! Leave to spend on models for somebody else, up to a sum: signed by this server, and kept nowhere. What was spent is
//! counted under its id.

use super::token::TOKEN_BYTES_MAX;
use super::{App, Error};
use crate::id::{ApiKeyId, ProjectId, ServiceAccountId};
use crate::spec::llm::Dollars;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use uuid::Uuid;

/// Tells these tokens from participants' ones.
const KIND: &str = "llm-delegation";
/// How long one is good for, seconds, where nobody says.
pub const LIFETIME_SECONDS: i64 = 60 * 60;
/// The longest time it may be good for, seconds.
pub const LIFETIME_SECONDS_MAX: i64 = 30 * 24 * 60 * 60;

/// Who may spend for whom on what.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Delegation {
    pub id: Uuid,
    #[serde(rename = "sub")]
    pub project: ProjectId,
    /// Name of who pays.
    pub delegator: String,
    /// Whose name that is. The delegation ends with the account.
    pub account: ServiceAccountId,
    /// With which it was made. The delegation ends with the key.
    pub key: ApiKeyId,
    pub subject: Subject,
    /// `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub providers: Option<Vec<String>>,
    /// Models, `provider/model`, or beginnings with a closing `*`; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    pub max_budget: Dollars,
    /// Seconds since 1970.
    pub exp: i64,
}

/// Who may spend.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Subject {
    /// `service_account`, `agent` or `user`.
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    typ: String,
    #[serde(flatten)]
    delegation: Delegation,
}

impl App {
    /// The token of a delegation.
    pub async fn mint_delegation(&self, delegation: Delegation) -> Result<String, Error> {
        let secret = self.server_secret().await?;
        let claims = Claims { typ: KIND.to_owned(), delegation };
        let key = EncodingKey::from_secret(secret.expose());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).map_err(|error| Error::Invalid {
            code: "token-unsignable",
            text: format!("the token cannot be signed: {error}"),
        })
    }

    /// Verifies the token of a delegation. `None` where the text is no such token.
    pub async fn verify_delegation(&self, token: &str) -> Option<Result<Delegation, Error>> {
        if !is_delegation(token) {
            return None;
        }
        let refused = |text: &str| Error::Unauthorized(text.to_owned());
        let secret = match self.server_secret().await {
            Ok(secret) => secret,
            Err(error) => return Some(Err(error)),
        };
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims = HashSet::new();
        // Expiry is held against our own clock.
        validation.validate_exp = false;
        validation.validate_aud = false;
        let key = DecodingKey::from_secret(secret.expose());
        let delegation = match jsonwebtoken::decode::<Claims>(token, &key, &validation) {
            Ok(read) => read.claims.delegation,
            Err(_) => {
                return Some(Err(refused("this delegation was not signed by this server; make a new one")));
            }
        };
        if delegation.exp <= self.clock.now().timestamp() {
            return Some(Err(refused("this delegation has expired; make a new one with POST /llm/connect")));
        }
        let world = self.world();
        if world.project(delegation.project).is_none_or(|view| view.project.is_none()) {
            return Some(Err(refused("this delegation's project does not exist here")));
        }
        let made = world.key(delegation.key).is_some_and(|key| key.account == delegation.account);
        if !made || world.account(delegation.account).is_none() {
            return Some(Err(refused(
                "the API key or the account that made this delegation is gone; make a new one with POST /llm/connect",
            )));
        }
        Some(Ok(delegation))
    }
}

/// Reads the kind, unverified.
fn is_delegation(token: &str) -> bool {
    #[derive(Deserialize)]
    struct Kind {
        typ: String,
    }
    let payload = token.split('.').nth(1).filter(|_| token.len() <= TOKEN_BYTES_MAX);
    let payload = payload.and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let kind = payload.and_then(|bytes| serde_json::from_slice::<Kind>(&bytes).ok());
    kind.is_some_and(|kind| kind.typ == KIND)
}

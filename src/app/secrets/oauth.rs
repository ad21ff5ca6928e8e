//! Secrets of the type `oauth`: what it takes to get access tokens, as JSON. The value stays as it was stored; the
//! tokens in use are in the vault beside it, renewed before they end, one request at a time.

use super::renewals::Last;
use crate::app::outward::Outward;
use crate::app::{App, Error};
use crate::clock::Clock;
use crate::id::OwnedSecretId;
use crate::net::guard::Allowed;
use crate::net::oauth::{self, Client, TokenError, Tokens};
use crate::projection::Projection;
use crate::spec::OauthClient;
use crate::vault::{Secret, SecretId, Vault};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

/// The type of a secret whose value is a [`Grant`].
pub const KIND: &str = "oauth";
/// Where the vault keeps the tokens in use.
const TOKENS_PREFIX: &str = "oauth/";
/// How long before its end a token is renewed.
const LEEWAY: chrono::TimeDelta = chrono::TimeDelta::seconds(60);
/// How long a token is taken to be good for where its endpoint does not say.
const LIFETIME: Duration = Duration::from_hours(1);
/// Longest lifetime that is believed.
const LIFETIME_MAX: Duration = Duration::from_hours(24 * 365);

/// Why there is no access token. Names no secret.
#[derive(Debug, thiserror::Error)]
pub enum OauthError {
    #[error(
        "it has no `access_token`, and neither `refresh_token` nor `grant_type: client_credentials` to get one by"
    )]
    NoToken,
    #[error(transparent)]
    Endpoint(#[from] TokenError),
    #[error("{0} (it was asked a moment ago)")]
    Paused(String),
    #[error("too many requests wait for it")]
    Busy,
    #[error("it was deleted meanwhile")]
    Deleted,
    #[error(transparent)]
    Failed(#[from] Error),
}

/// The value of an OAuth secret.
#[derive(Deserialize)]
pub struct Grant {
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
    /// When the access token ends: RFC 3339, or seconds since 1970.
    #[serde(default)]
    expires_at: Option<Moment>,
    #[serde(default)]
    token_endpoint: Option<String>,
    #[serde(default)]
    client_id: Option<String>,
    #[serde(default)]
    client_secret: Option<String>,
    #[serde(default)]
    scopes: Option<Vec<String>>,
    #[serde(default)]
    grant_type: Option<GrantType>,
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant").field("token_endpoint", &self.token_endpoint).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum GrantType {
    RefreshToken,
    AuthorizationCode,
    ClientCredentials,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Moment {
    Text(DateTime<Utc>),
    Seconds(f64),
}

impl Moment {
    fn get(self) -> Option<DateTime<Utc>> {
        match self {
            Self::Text(at) => Some(at),
            #[allow(clippy::cast_possible_truncation, reason = "a time of day in seconds")]
            Self::Seconds(seconds) => DateTime::from_timestamp(seconds as i64, 0),
        }
    }
}

/// The tokens in use, as the vault keeps them.
#[derive(Serialize, Deserialize)]
struct Kept {
    access_token: String,
    #[serde(default)]
    refresh_token: Option<String>,
    expires_at: DateTime<Utc>,
}

/// An access token, and when it ends where that is known.
#[derive(Debug, Clone)]
pub struct AccessToken {
    pub token: Secret,
    pub expires_at: Option<DateTime<Utc>>,
}

impl Kept {
    fn new(tokens: &Tokens, refresh_token: Option<&str>, now: DateTime<Utc>) -> Self {
        let rotated = tokens.refresh_token.as_deref().map(String::as_str);
        Self {
            access_token: tokens.access_token.to_string(),
            refresh_token: rotated.or(refresh_token).map(str::to_owned),
            expires_at: now + tokens.lifetime.unwrap_or(LIFETIME).min(LIFETIME_MAX),
        }
    }

    fn sealed(&self) -> Secret {
        Secret::from(serde_json::json!(self).to_string())
    }

    fn token(&self) -> AccessToken {
        AccessToken { token: Secret::from(self.access_token.clone()), expires_at: Some(self.expires_at) }
    }
}

impl Grant {
    /// What a secret of the type says; none where it is no JSON object with anything of a grant: a token by itself.
    pub fn read(value: &Secret) -> Option<Self> {
        let grant: Self = serde_json::from_slice(value.expose()).ok()?;
        (grant.access_token.is_some() || grant.renewing().is_some()).then_some(grant)
    }

    /// The client, where new tokens can be had.
    fn renewing(&self) -> Option<Client<'_>> {
        let by_itself = self.grant_type == Some(GrantType::ClientCredentials) && self.client_secret.is_some();
        if self.refresh_token.is_none() && !by_itself {
            return None;
        }
        Some(Client {
            id: self.client_id.as_deref()?,
            secret: self.client_secret.as_deref(),
            token_endpoint: self.token_endpoint.as_deref()?,
        })
    }

    /// The token that was stored with the grant.
    fn own(&self) -> Option<AccessToken> {
        let token = Secret::from(self.access_token.clone()?);
        Some(AccessToken { token, expires_at: self.expires_at.and_then(Moment::get) })
    }
}

/// Whether a token is good for a while yet.
fn lasts(token: &AccessToken, now: DateTime<Utc>) -> bool {
    token.expires_at.is_some_and(|end| end - LEEWAY > now)
}

/// Whether a token can be used now.
fn good(token: &AccessToken, now: DateTime<Utc>) -> bool {
    token.expires_at.is_some_and(|end| end > now)
}

impl App {
    /// The access token to use now for a version of a secret. A new one is kept before it is used, also where the
    /// caller is gone by then, so that a refresh token that is good for one use only is never lost.
    pub async fn oauth_token(
        &self,
        outward: &Outward,
        (id, version): (OwnedSecretId, Uuid),
        grant: Grant,
    ) -> Result<AccessToken, OauthError> {
        if grant.renewing().is_none() {
            return grant.own().ok_or(OauthError::NoToken);
        }
        let renewal = Renewal {
            key: tokens_id(id, version)?,
            of: (id, version),
            grant,
            vault: Arc::clone(&self.vault),
            projection: Arc::clone(&self.projection),
            clock: Arc::clone(&self.clock),
            allowed: outward.allowed.clone(),
        };
        let (_, known) = renewal.known().await?;
        let now = self.clock.now();
        if let Some(token) = known.as_ref().filter(|token| lasts(token, now)) {
            return Ok(token.clone());
        }
        let Some(turn) = outward.renewals.turn((id, version), now).await else {
            let now = self.clock.now();
            return known.filter(|token| good(token, now)).ok_or(OauthError::Busy);
        };
        // Goes on when the caller does not wait for it.
        tokio::spawn(renewal.run(turn)).await.unwrap_or(Err(OauthError::Busy))
    }

    /// A token by a client's own credentials.
    pub async fn client_token(
        &self,
        outward: &Outward,
        client: &OauthClient,
    ) -> Result<AccessToken, OauthError> {
        let asking = client_of(client).ok_or(OauthError::NoToken)?;
        let scope = client.scopes.as_deref().unwrap_or_default().join(" ");
        let tokens = oauth::ask(asking, form(None, &scope), &outward.allowed).await?;
        Ok(Kept::new(&tokens, None, self.clock.now()).token())
    }

    /// Forgets the tokens of a version of a secret.
    pub(super) async fn forget_oauth(&self, id: OwnedSecretId, version: Uuid) -> Result<(), Error> {
        self.vault.delete(&tokens_id(id, version)?).await?;
        Ok(())
    }
}

/// What it takes to renew the tokens of a version of a secret.
struct Renewal {
    key: SecretId,
    of: (OwnedSecretId, Uuid),
    grant: Grant,
    vault: Arc<Vault>,
    projection: Arc<Projection>,
    clock: Arc<dyn Clock>,
    allowed: Allowed,
}

impl Renewal {
    /// The tokens in the vault, and the access token that is known by them or by the grant.
    async fn known(&self) -> Result<(Option<Kept>, Option<AccessToken>), Error> {
        let found = self.vault.get(&self.key).await?;
        let kept: Option<Kept> = found.and_then(|secret| serde_json::from_slice(secret.expose()).ok());
        let known = kept.as_ref().map(Kept::token).or_else(|| self.grant.own());
        Ok((kept, known))
    }

    async fn run(self, mut turn: OwnedMutexGuard<Last>) -> Result<AccessToken, OauthError> {
        let (kept, known) = self.known().await?;
        let now = self.clock.now();
        // Who had the turn before may have renewed it.
        if let Some(token) = known.as_ref().filter(|token| lasts(token, now)) {
            return Ok(token.clone());
        }
        if let Some(why) = turn.pause(now) {
            let paused = OauthError::Paused(why.to_owned());
            return known.filter(|token| good(token, now)).ok_or(paused);
        }
        let refresh = kept.as_ref().and_then(|kept| kept.refresh_token.as_deref());
        let refresh = refresh.or(self.grant.refresh_token.as_deref());
        let scope = self.grant.scopes.as_deref().unwrap_or_default().join(" ");
        let client = self.grant.renewing().ok_or(OauthError::NoToken)?;
        match oauth::ask(client, form(refresh, &scope), &self.allowed).await {
            Ok(tokens) => self.keep(Kept::new(&tokens, refresh, now)).await,
            Err(error) => {
                let now = self.clock.now();
                turn.failed(error.to_string(), now);
                // Another server may have used the refresh token up; and a token that ends soon is better than none.
                let (_, known) = self.known().await?;
                known.filter(|token| good(token, now)).ok_or(OauthError::Endpoint(error))
            }
        }
    }

    /// Puts new tokens into the vault, unless their secret went meanwhile.
    async fn keep(&self, new: Kept) -> Result<AccessToken, OauthError> {
        if !self.is_there() {
            return Err(OauthError::Deleted);
        }
        self.vault.put(&self.key, &new.sealed()).await.map_err(Error::from)?;
        if !self.is_there() {
            // Who deleted it may have looked for its tokens before they were put.
            self.vault.delete(&self.key).await.map_err(Error::from)?;
            return Err(OauthError::Deleted);
        }
        Ok(new.token())
    }

    fn is_there(&self) -> bool {
        let (id, version) = self.of;
        self.projection.world().secret(id).is_some_and(|secret| secret.version(version).is_some())
    }
}

/// The client, where an endpoint's `oauth` says all that it takes to get tokens without a person.
fn client_of(client: &OauthClient) -> Option<Client<'_>> {
    Some(Client {
        id: client.client_id.as_deref()?,
        secret: Some(client.client_secret.as_deref()?),
        token_endpoint: client.token_endpoint.as_deref()?,
    })
}

/// Whether an endpoint's `oauth` is a client's own, which needs no person.
#[must_use]
pub fn needs_no_person(client: &OauthClient) -> bool {
    client.authorization_endpoint.is_none() && client_of(client).is_some()
}

fn form<'a>(refresh: Option<&'a str>, scope: &'a str) -> Vec<(&'a str, &'a str)> {
    match refresh {
        // The scope stays as it was granted.
        Some(token) => vec![("grant_type", "refresh_token"), ("refresh_token", token)],
        None if scope.is_empty() => vec![("grant_type", "client_credentials")],
        None => vec![("grant_type", "client_credentials"), ("scope", scope)],
    }
}

fn tokens_id(id: OwnedSecretId, version: Uuid) -> Result<SecretId, Error> {
    Ok(SecretId::new(format!("{TOKENS_PREFIX}{}/{id}/{version}", id.project()))?)
}

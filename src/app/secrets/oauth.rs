//! Secrets of the type `oauth`: what it takes to get access tokens, as JSON. The value stays as it was stored; the
//! tokens in use are in the vault beside it, renewed before they end, one request at a time.

use crate::app::outward::Outward;
use crate::app::{App, Error};
use crate::id::OwnedSecretId;
use crate::net::oauth::{self, Client, TokenError, Tokens};
use crate::spec::OauthClient;
use crate::vault::{Secret, SecretId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;
use std::time::Duration;
use tokio::sync::Mutex;
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
/// Secrets whose tokens are renewed at once, at most; of one secret, one at a time.
const LANES: usize = 64;

static RENEWING: LazyLock<[Mutex<()>; LANES]> = LazyLock::new(|| std::array::from_fn(|_| Mutex::new(())));

/// Why there is no access token. Names no secret.
#[derive(Debug, thiserror::Error)]
pub enum OauthError {
    #[error(
        "it has no `access_token`, and neither `refresh_token` nor `grant_type: client_credentials` to get one by"
    )]
    NoToken,
    #[error(transparent)]
    Endpoint(#[from] TokenError),
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

impl App {
    /// The access token to use now for a version of a secret. A new one is kept before it is used, so that a refresh
    /// token that is good for one use only is never lost.
    pub async fn oauth_token(
        &self,
        outward: &Outward,
        (id, version): (OwnedSecretId, Uuid),
        grant: &Grant,
    ) -> Result<AccessToken, OauthError> {
        let Some(client) = grant.renewing() else { return grant.own().ok_or(OauthError::NoToken) };
        let key = tokens_id(id, version)?;
        let lane = usize::try_from(version.as_u128() % LANES as u128).unwrap_or_default();
        let _turn = match RENEWING.get(lane) {
            Some(lane) => Some(lane.lock().await),
            None => None,
        };
        let kept = self.kept(&key).await?;
        let known = kept.as_ref().map(Kept::token).or_else(|| grant.own());
        let now = self.clock.now();
        if let Some(token) = known.as_ref().filter(|token| lasts(token, now)) {
            return Ok(token.clone());
        }
        let refresh = kept.as_ref().and_then(|kept| kept.refresh_token.as_deref());
        let refresh = refresh.or(grant.refresh_token.as_deref());
        let scope = grant.scopes.as_deref().unwrap_or_default().join(" ");
        match oauth::ask(client, form(refresh, &scope), &outward.allowed).await {
            Ok(tokens) => {
                let new = Kept::new(&tokens, refresh, now);
                self.vault.put(&key, &new.sealed()).await.map_err(Error::from)?;
                Ok(new.token())
            }
            Err(error) => {
                // Another server may have used the refresh token up; and a token that ends soon is better than none.
                let other = self.kept(&key).await?.map(|kept| kept.token());
                let good = |token: &AccessToken| token.expires_at.is_some_and(|end| end > now);
                other.filter(good).or(known.filter(good)).ok_or(OauthError::Endpoint(error))
            }
        }
    }

    async fn kept(&self, key: &SecretId) -> Result<Option<Kept>, Error> {
        let found = self.vault.get(key).await?;
        Ok(found.and_then(|secret| serde_json::from_slice(secret.expose()).ok()))
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

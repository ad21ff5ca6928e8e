//! Participant tokens: who somebody is in a room, and what they may do there. JWTs, HS256 only.
//!
//! `kid` is a payload claim and names the API key whose secret signed the token; without it the server's own secret
//! did (REST reference §3.2).

use super::{App, Error};
use crate::domain::member;
use crate::id::{ApiKeyId, ProjectId, ServiceId};
use crate::spec::ApiScope;
use crate::vault::{Secret, SecretId};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use uuid::Uuid;

/// Longest token read, bytes.
pub const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// Vault id of the secret that signs the server's own tokens.
pub const SERVER_SECRET: &str = "server/signing";
/// Tokens up to this version had no `api` grant and could use everything (text comparison, as the clients do).
const LAST_VERSION_WITHOUT_API_GRANT: &str = "0.3.5";
/// Written into tokens that we mint.
const VERSION: &str = "0.55.1";

/// One permission in a token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Grant {
    pub name: String,
    pub scope: Value,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    name: String,
    grants: Vec<Grant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Grant of a token by which a person acts in the project, with the roles it has there then: its address.
pub const USER_GRANT: &str = "user";
/// Grant by which a token's bearer may visit the sites of a room: its name.
pub const SITE_GRANT: &str = "site";
/// Grant of cookies of sites: the domain where they count.
pub(super) const ROUTE_GRANT: &str = "route";
/// Grant of cookies of sites: the key that signed the token that was signed in with.
pub(super) const SIGNED_IN_GRANT: &str = "signed-in-with";

/// A participant as a verified token describes it.
#[derive(Clone, Debug)]
pub struct Bearer {
    pub project: ProjectId,
    pub name: String,
    /// `user`, `agent`, `tool`, …
    pub role: String,
    /// Name of the one room the token is for.
    pub room: Option<String>,
    /// `None`: no room API at all.
    pub api: Option<ApiScope>,
    /// Name of the one managed agent that the token lets its bearer talk to.
    pub agent: Option<String>,
    /// Name of the room whose sites its bearer may visit.
    pub site: Option<String>,
    /// The person who acts by the token, where it is for a person and for nothing else.
    pub user: Option<String>,
    /// The one domain where it counts; it is a cookie of a site then, and no participant.
    pub route: Option<String>,
    /// Of a cookie: the key it ends with. It gives nothing.
    pub signed_in_with: Option<ApiKeyId>,
    /// Seconds since 1970.
    pub expires_at: Option<i64>,
    /// The API key that signed it; `None` for the server's own.
    pub key: Option<ApiKeyId>,
    /// Set in tokens the server minted for a service it runs.
    pub service: Option<ServiceId>,
}

/// Why a token is not accepted. Never repeats the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error(
        "the participant token is not a JWT with a name and grants; mint one with `meshagent token` or connect through the REST API"
    )]
    Malformed,
    #[error("the participant token is signed with an algorithm other than HS256; only HS256 is accepted")]
    WrongAlgorithm,
    #[error(
        "the participant token names API key {0}, which does not exist here or was revoked; make a new key and mint again"
    )]
    UnknownKey(String),
    #[error(
        "the participant token's project does not exist on this server; check MESHAGENT_PROJECT_ID and MESHAGENT_API_URL"
    )]
    UnknownProject,
    #[error(
        "the participant token's signature does not fit its key; mint it again with the project's present key"
    )]
    BadSignature,
    #[error("the participant token has expired; mint a new one")]
    Expired,
    #[error("this is the cookie of a site, and good for that site only; use a participant token")]
    OfSite,
    #[error("the participant token cannot be checked now; try again")]
    Unavailable,
}

/// What to mint a token from.
#[derive(Debug)]
pub struct Mint {
    pub project: ProjectId,
    pub name: String,
    pub role: Option<String>,
    pub room: Option<String>,
    pub api: Option<ApiScope>,
    pub service: Option<ServiceId>,
    /// Further grants, taken as they are.
    pub grants: Vec<Grant>,
    /// Seconds from now; `None` for one that does not expire.
    pub lifetime_seconds: Option<i64>,
}

impl Mint {
    #[must_use]
    pub fn new(project: ProjectId, name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            project,
            name,
            role: None,
            room: None,
            api: None,
            service: None,
            grants: vec![],
            lifetime_seconds: None,
        }
    }
}

impl App {
    /// Mints a token under the server's own secret.
    pub async fn mint(&self, mint: Mint) -> Result<String, Error> {
        let secret = self.server_secret().await?;
        let mut grants = mint.grants;
        if let Some(role) = mint.role.filter(|r| r != "user") {
            grants.push(Grant { name: "role".into(), scope: json!(role) });
        }
        if let Some(api) = &mint.api {
            grants.push(Grant { name: "api".into(), scope: json!(api) });
        }
        if let Some(room) = mint.room {
            grants.push(Grant { name: "room".into(), scope: json!(room) });
        }
        let mut rest = Map::new();
        if let Some(service) = mint.service {
            rest.insert("service".into(), json!(service.uuid()));
        }
        let claims = Claims {
            name: mint.name,
            grants,
            sub: Some(mint.project.to_string()),
            kid: None,
            version: Some(VERSION.to_owned()),
            exp: mint.lifetime_seconds.map(|s| self.clock.now().timestamp() + s),
            rest,
        };
        sign(&claims, &secret)
    }

    /// Verifies a token and reads it. The room grant is not compared with anything here.
    pub async fn verify(&self, token: &str) -> Result<Bearer, TokenError> {
        let bearer = self.verify_any(token).await?;
        if bearer.route.is_some() { Err(TokenError::OfSite) } else { Ok(bearer) }
    }

    /// As [`App::verify`], cookies of sites too.
    pub(super) async fn verify_any(&self, token: &str) -> Result<Bearer, TokenError> {
        let claims = peek(token)?;
        let project: ProjectId =
            claims.sub.as_deref().and_then(|s| s.parse().ok()).ok_or(TokenError::UnknownProject)?;
        let (secret, key) = match &claims.kid {
            None => {
                let secret = self.server_secret().await.map_err(|_| TokenError::Unavailable)?;
                (secret, None)
            }
            Some(kid) => {
                let unknown = || TokenError::UnknownKey(kid.chars().take(64).collect());
                let id = ApiKeyId::new(project, Uuid::parse_str(kid).map_err(|_| unknown())?);
                let secret = self.key_secret(id).await.map_err(|_| TokenError::Unavailable)?;
                (secret.ok_or_else(unknown)?, Some(id))
            }
        };
        let world = self.world();
        world.project(project).and_then(|v| v.project.as_ref()).ok_or(TokenError::UnknownProject)?;
        check_signature(token, &secret)?;
        if claims.exp.is_some_and(|exp| exp <= self.clock.now().timestamp()) {
            return Err(TokenError::Expired);
        }
        let service = match key {
            // Only the server says which service a participant belongs to.
            None => claims.rest.get("service").and_then(Value::as_str).and_then(|s| Uuid::parse_str(s).ok()),
            Some(_) => None,
        };
        read(claims, project, key, service.map(|s| ServiceId::new(project, s)))
    }

    pub async fn server_secret(&self) -> Result<Secret, Error> {
        Ok(self.vault.get_or_make(&SecretId::new(SERVER_SECRET)?).await?)
    }
}

fn sign(claims: &Claims, secret: &Secret) -> Result<String, Error> {
    let header = Header::new(Algorithm::HS256);
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(secret.expose())).map_err(|error| {
        Error::Invalid { code: "token-unsignable", text: format!("the token cannot be signed: {error}") }
    })
}

/// The claims, unverified, after checking the algorithm.
fn peek(token: &str) -> Result<Claims, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Malformed);
    }
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenError::Malformed);
    };
    let json = |part: &str| URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok();
    let header: Value =
        json(header).and_then(|b| serde_json::from_slice(&b).ok()).ok_or(TokenError::Malformed)?;
    if header.get("alg").and_then(Value::as_str) != Some("HS256") {
        return Err(TokenError::WrongAlgorithm);
    }
    let claims: Claims =
        json(payload).and_then(|b| serde_json::from_slice(&b).ok()).ok_or(TokenError::Malformed)?;
    if claims.name.is_empty() { Err(TokenError::Malformed) } else { Ok(claims) }
}

fn check_signature(token: &str, secret: &Secret) -> Result<(), TokenError> {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.required_spec_claims = HashSet::new();
    // Expiry is held against our own clock.
    validation.validate_exp = false;
    validation.validate_aud = false;
    jsonwebtoken::decode::<Value>(token, &DecodingKey::from_secret(secret.expose()), &validation)
        .map(|_| ())
        .map_err(|_| TokenError::BadSignature)
}

fn read(
    claims: Claims,
    project: ProjectId,
    key: Option<ApiKeyId>,
    service: Option<ServiceId>,
) -> Result<Bearer, TokenError> {
    let text = |name: &str| {
        claims.grants.iter().find(|g| g.name == name).and_then(|g| g.scope.as_str()).map(str::to_owned)
    };
    let role = claims
        .grants
        .iter()
        .filter(|g| g.name == "role")
        .filter_map(|g| g.scope.as_str())
        .find(|role| *role != "user")
        .unwrap_or("user")
        .to_owned();
    let api = match claims.grants.iter().find(|g| g.name == "api") {
        Some(grant) => Some(serde_json::from_value(grant.scope.clone()).map_err(|_| TokenError::Malformed)?),
        None if claims.version.as_deref().is_some_and(|v| v <= LAST_VERSION_WITHOUT_API_GRANT) => {
            Some(ApiScope::full())
        }
        None => None,
    };
    // A token that is for a room, an agent or a site never reaches beyond it, whomever it names.
    let beside = ["room", "agent", SITE_GRANT, ROUTE_GRANT];
    let is_of_user = service.is_none() && role == "user" && beside.iter().all(|name| text(name).is_none());
    let user = text(USER_GRANT).map(|user| member::key(&user));
    let user = user.filter(|user| is_of_user && *user == member::key(&claims.name));
    let signed_in = text(SIGNED_IN_GRANT).and_then(|key| Uuid::parse_str(&key).ok());
    Ok(Bearer {
        project,
        role,
        api,
        key,
        service,
        room: text("room"),
        agent: text("agent"),
        site: text(SITE_GRANT),
        user,
        route: text(ROUTE_GRANT),
        signed_in_with: signed_in.map(|uuid| ApiKeyId::new(project, uuid)),
        expires_at: claims.exp,
        name: claims.name,
    })
}

//! Who may use a secret, and for what: to read it, through the proxy, as a variable of a service, for pulling images.

use super::oauth::{self, Grant, OauthError};
use super::{find, vault_id};
use crate::app::outward::Outward;
use crate::app::{App, DEFAULT_ACCOUNT, Error};
use crate::domain::secret::{Owner, Secret, Version};
use crate::id::{OwnedSecretId, ProjectId, ServiceAccountId, ServiceId};
use crate::projection::World;
use crate::spec::{Container, RunAs};
use crate::vault;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Scope of a service's `run_as` by which it may use secrets through the proxy.
pub const PROXY_SCOPE: &str = "secrets:proxy";

/// Who uses a secret.
#[derive(Clone, Copy, Debug)]
pub struct Acting {
    pub account: ServiceAccountId,
    /// It does so itself, by its key. A service that names an account may use the account's secrets and those granted
    /// to it, not what callers with its key made for themselves.
    pub itself: bool,
}

/// Why a secret cannot be used. Says nothing of secrets that the caller may not know.
#[derive(Debug, thiserror::Error)]
pub enum UseError {
    #[error(
        "no secret `{0}` here that `{1}` may use; give its id, or have its owner run `meshagent secret grant-proxy`"
    )]
    NotAllowed(String, String),
    #[error("secret `{0}` has no current version; add one with `meshagent secret add-version`")]
    NoVersion(String),
    #[error("secret `{0}` is for the proxy only, and is given to nobody; call through /proxy-request")]
    ProxyOnly(String),
    #[error(
        "no service account `{0}` in this project; `meshagent service-account list` shows those there are"
    )]
    NoAccount(String),
    #[error("`run_as` does not have the scope `{PROXY_SCOPE}`; add it to use secrets through the proxy")]
    NoScope,
    #[error(
        "secret `{0}` gives no access token: {1}; store a new grant with `meshagent secret authorize` or `secret add-version`"
    )]
    NoToken(String, OauthError),
    #[error("too many requests wait for the access token of secret `{0}`; try again in a moment")]
    Busy(String),
    #[error("{0}")]
    Failed(#[from] Error),
}

/// A value for a request.
#[derive(Debug)]
pub struct Proxied {
    /// Of an OAuth grant the access token.
    pub value: vault::Secret,
    /// Type of the secret.
    pub kind: String,
    /// When the value ends, where that is known.
    pub expires_at: Option<DateTime<Utc>>,
}

impl App {
    /// The value of a version, for who may read it. Refused for what is `http_only`.
    pub async fn read_secret(&self, id: OwnedSecretId, version: Uuid) -> Result<vault::Secret, UseError> {
        let world = self.world();
        let secret = find(&world, id)?;
        let version = secret.version(version).ok_or_else(|| missing(version))?;
        if !secret.readable(version) {
            return Err(UseError::ProxyOnly(id.to_string()));
        }
        self.value(id, version).await
    }

    /// The current value and the type, for a request that is made for a service account. `user`: it must be that
    /// caller's own.
    pub async fn proxied_secret(
        &self,
        outward: &Outward,
        Acting { account, itself }: Acting,
        id: &str,
        user: Option<&str>,
    ) -> Result<Proxied, UseError> {
        let world = self.world();
        let (name, project) = (account_name(&world, account), account.project());
        let of_user = |secret: &Secret| match (user, secret.owner) {
            (None, _) => true,
            (Some(user), Owner::User(owner)) => {
                find_account(&world, project, user).is_some_and(|found| found.uuid() == owner)
            }
            (Some(_), Owner::ServiceAccount(_)) => false,
        };
        let (id, secret) = lookup(&world, project, id)
            .filter(|(_, secret)| secret.usable_by(account.uuid(), itself) && of_user(secret))
            .ok_or_else(|| UseError::NotAllowed(id.to_owned(), name))?;
        let version = secret.current_version().ok_or_else(|| UseError::NoVersion(id.to_string()))?;
        let (value, kind) = (self.value(id, version).await?, secret.about.kind.clone());
        let grant = if kind == oauth::KIND { Grant::read(&value) } else { None };
        let Some(grant) = grant else { return Ok(Proxied { value, kind, expires_at: None }) };
        let token =
            self.oauth_token(outward, (id, version.id), grant).await.map_err(|error| match error {
                OauthError::Busy => UseError::Busy(id.to_string()),
                error => UseError::NoToken(id.to_string(), error),
            })?;
        Ok(Proxied { value: token.token, kind, expires_at: token.expires_at })
    }

    /// The current value of a secret, by its id or name, of the service account that a container runs as, to be one of its variables, or
    /// what its images are pulled with. Not for what is `http_only`: a process could read it.
    pub async fn container_secret(
        &self,
        project: ProjectId,
        run_as: &RunAs,
        id: &str,
    ) -> Result<vault::Secret, UseError> {
        let world = self.world();
        let account = acting_as(&world, project, run_as)?;
        let own =
            |(_, secret): &(OwnedSecretId, &Secret)| secret.owner == Owner::ServiceAccount(account.uuid());
        let (id, secret) = lookup(&world, project, id)
            .filter(own)
            .or_else(|| world.secrets(project).filter(own).find(|(_, secret)| secret.about.name == id))
            .ok_or_else(|| UseError::NotAllowed(id.to_owned(), account_name(&world, account)))?;
        let version = secret.current_version().ok_or_else(|| UseError::NoVersion(id.to_string()))?;
        if !secret.readable(version) {
            return Err(UseError::ProxyOnly(id.to_string()));
        }
        self.value(id, version).await
    }

    async fn value(&self, id: OwnedSecretId, version: &Version) -> Result<vault::Secret, UseError> {
        let found = self.vault.get(&vault_id(id, version.id)?).await.map_err(Error::from)?;
        found.ok_or_else(|| missing(version.id))
    }
}

/// As whom a service's own process uses secrets: as its `run_as`, which needs the scope.
pub fn acting_for(world: &World, service: ServiceId) -> Result<Acting, UseError> {
    let run_as = world.service(service).and_then(|s| s.spec.container.as_ref()?.run_as.as_ref());
    let run_as = run_as.ok_or(UseError::NoScope)?;
    if !run_as.scopes.iter().any(|scope| scope == PROXY_SCOPE) {
        return Err(UseError::NoScope);
    }
    Ok(Acting { account: acting_as(world, service.project(), run_as)?, itself: false })
}

/// As whom the room connects to the tool servers of a service: as its `run_as`, else as the project's account of the
/// name [`DEFAULT_ACCOUNT`].
pub fn connecting_for(world: &World, service: ServiceId) -> Result<Acting, UseError> {
    let container = world.service(service).and_then(|s| s.spec.container.as_ref());
    if container.is_some_and(|container| container.run_as.is_some()) {
        return acting_for(world, service);
    }
    let account = find_account(world, service.project(), DEFAULT_ACCOUNT)
        .ok_or_else(|| UseError::NoAccount(DEFAULT_ACCOUNT.to_owned()))?;
    Ok(Acting { account, itself: false })
}

/// Ids of the secrets that a container pulls its images with: the one its spec names, then its account's.
#[must_use]
pub fn pull_secrets(world: &World, project: ProjectId, container: &Container) -> Vec<String> {
    let account = container.run_as.as_ref().and_then(|run_as| acting_as(world, project, run_as).ok());
    let named = container.pull_secret.iter().map(|secret| secret.id.clone());
    let of_account = world
        .secrets(project)
        .filter(|(_, secret)| account.is_some_and(|account| secret.pull.contains(&account.uuid())));
    named.chain(of_account.map(|(id, _)| id.to_string())).collect()
}

/// The service account that a spec names by its address, name, key or id.
pub fn acting_as(world: &World, project: ProjectId, run_as: &RunAs) -> Result<ServiceAccountId, UseError> {
    find_account(world, project, &run_as.email).ok_or_else(|| UseError::NoAccount(run_as.email.clone()))
}

/// A service account by address, name, key or id, whatever the case.
#[must_use]
pub fn find_account(world: &World, project: ProjectId, text: &str) -> Option<ServiceAccountId> {
    let local = text.split('@').next().unwrap_or(text);
    let is = |known: &str| known.eq_ignore_ascii_case(local) || known.eq_ignore_ascii_case(text);
    let mut all = world.accounts(project);
    all.find(|(id, account)| is(&account.profile.key) || is(&account.profile.name) || is(&id.to_string()))
        .map(|(id, _)| id)
}

fn account_name(world: &World, account: ServiceAccountId) -> String {
    world.account(account).map(|a| a.profile.name.clone()).unwrap_or_default()
}

fn lookup<'a>(world: &'a World, project: ProjectId, id: &str) -> Option<(OwnedSecretId, &'a Secret)> {
    let id = OwnedSecretId::new(project, Uuid::parse_str(id).ok()?);
    Some((id, world.secret(id)?))
}

fn missing(version: Uuid) -> UseError {
    UseError::Failed(Error::NotFound {
        kind: "version of this secret",
        name: version.to_string(),
        hint: "`meshagent secret versions` shows those it has",
    })
}

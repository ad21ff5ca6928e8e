//! Secrets of users and service accounts: facts in the log, values in the vault.
//!
//! A value is in the vault before the fact that tells of it, and the fact that it is gone before the value goes: what
//! the log shows can be read, whenever the server ends. [`use_of`] says who may use one, without giving it out; [`oauth`]
//! has fresh tokens of those that are grants.

pub mod oauth;
mod renewals;
mod sweep;
pub mod use_of;

pub use renewals::Renewals;

use super::rooms::names_change;
use super::{Actor, App, Change, Decision, Error};
use crate::domain::names::{self, Kind};
use crate::domain::secret::{About, Command, Created, Owner, Secret, VersionAdded};
use crate::domain::{Entity, Refusal};
use crate::id::{OwnedSecretId, ProjectId, ServiceAccountId};
use crate::projection::World;
use crate::vault::{self, SECRET_BYTES_MAX, SecretId};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Where the vault keeps the values of secrets.
pub const VAULT_PREFIX: &str = "secret/";

/// What of a secret is to be different. `None` keeps what is.
#[derive(Debug, Default)]
pub struct Patch {
    pub name: Option<String>,
    pub kind: Option<String>,
    pub http_only: Option<bool>,
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    pub annotations: Option<serde_json::Map<String, serde_json::Value>>,
}

impl App {
    /// Makes a secret without a value. Its name is unique among its owner's. `by` is the identity that makes it.
    pub async fn create_secret(
        &self,
        actor: &Actor,
        project: ProjectId,
        created: Created,
    ) -> Result<OwnedSecretId, Error> {
        let id = OwnedSecretId::new(project, self.ids.fresh());
        self.transact(actor, |world| {
            exists(world, project, created.owner)?;
            let claimed = name(world, project, created.owner, &created.about.name, Some(id.uuid()))?;
            let made = Secret::decide(None, Command::Create(created.clone())).map_err(Error::rejected)?;
            Ok(Decision { changes: vec![claimed, Change::new(project, id.stream(), made)], answer: id })
        })
        .await
    }

    /// Changes what is said of a secret; its values stay.
    pub async fn update_secret(&self, actor: &Actor, id: OwnedSecretId, patch: Patch) -> Result<(), Error> {
        let project = id.project();
        self.transact(actor, |world| {
            let secret = find(world, id)?;
            let old = &secret.about;
            let about = About {
                name: patch.name.clone().unwrap_or_else(|| old.name.clone()),
                kind: patch.kind.clone().unwrap_or_else(|| old.kind.clone()),
                http_only: patch.http_only.unwrap_or(old.http_only),
                metadata: patch.metadata.clone().unwrap_or_else(|| old.metadata.clone()),
                annotations: patch.annotations.clone().unwrap_or_else(|| old.annotations.clone()),
            };
            let mut changes = vec![];
            if about.name != old.name {
                changes.push(name(world, project, secret.owner, &about.name, Some(id.uuid()))?);
                changes.push(name(world, project, secret.owner, &old.name, None)?);
            }
            let events = Secret::decide(Some(secret), Command::Update(about)).map_err(Error::rejected)?;
            changes.push(Change::new(project, id.stream(), events));
            Ok(Decision { changes, answer: () })
        })
        .await
    }

    /// Deletes a secret and the values of all its versions.
    pub async fn delete_secret(&self, actor: &Actor, id: OwnedSecretId) -> Result<(), Error> {
        let versions = self
            .transact(actor, |world| {
                let secret = find(world, id)?;
                let gone = Secret::decide(Some(secret), Command::Delete).map_err(Error::rejected)?;
                let released = name(world, id.project(), secret.owner, &secret.about.name, None)?;
                let answer: Vec<Uuid> = secret.versions.iter().map(|version| version.id).collect();
                Ok(Decision { changes: vec![Change::new(id.project(), id.stream(), gone), released], answer })
            })
            .await?;
        for version in versions {
            self.forget_value(id, version).await?;
        }
        Ok(())
    }

    /// Deletes all secrets of a service account, its own and those it made for itself.
    pub(super) async fn delete_secrets_of(
        &self,
        actor: &Actor,
        account: ServiceAccountId,
    ) -> Result<(), Error> {
        let uuid = account.uuid();
        let owners = [Owner::User(uuid), Owner::ServiceAccount(uuid)];
        let world = self.world();
        let owned: Vec<OwnedSecretId> = world
            .secrets(account.project())
            .filter(|(_, secret)| owners.contains(&secret.owner))
            .map(|(id, _)| id)
            .collect();
        for id in owned {
            match self.delete_secret(actor, id).await {
                Ok(()) | Err(Error::Rejected { refusal: Refusal::NotFound, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Adds a value as a new version and answers its id. `current`: it is the one used from now on.
    pub async fn add_secret_version(
        &self,
        actor: &Actor,
        id: OwnedSecretId,
        by: Uuid,
        value: vault::Secret,
        current: bool,
    ) -> Result<Uuid, Error> {
        find(&self.world(), id)?;
        let bytes = value.expose().len();
        if bytes > SECRET_BYTES_MAX {
            let text = format!("the value has {bytes} bytes, a secret has at most {SECRET_BYTES_MAX}");
            return Err(Error::Invalid { code: "secret-invalid", text });
        }
        let version = self.ids.fresh();
        let kept = vault_id(id, version)?;
        self.vault.put(&kept, &value).await?;
        let added = VersionAdded { id: version, number: 0, sha256: sha256(value.expose()), current, by };
        let recorded = self.secret_change(actor, id, Command::AddVersion(added)).await;
        if recorded.is_err() {
            // Nobody knows of it; left behind it would only take room.
            self.vault.delete(&kept).await?;
        }
        recorded.map(|()| version)
    }

    /// Deletes one version with its value. Where it was the current one, there is none until another is set.
    pub async fn delete_secret_version(
        &self,
        actor: &Actor,
        id: OwnedSecretId,
        version: Uuid,
    ) -> Result<(), Error> {
        self.secret_change(actor, id, Command::DeleteVersion(version)).await?;
        self.forget_value(id, version).await
    }

    /// Puts the value of a version that a document gives into the vault.
    pub(super) async fn keep_value(
        &self,
        id: OwnedSecretId,
        version: Uuid,
        value: &vault::Secret,
    ) -> Result<(), Error> {
        Ok(self.vault.put(&vault_id(id, version)?, value).await?)
    }

    /// Takes the value of a version out of the vault, and what was got by it.
    pub(super) async fn forget_value(&self, id: OwnedSecretId, version: Uuid) -> Result<(), Error> {
        self.vault.delete(&vault_id(id, version)?).await?;
        self.forget_oauth(id, version).await
    }

    /// Lets a service account use a user's secret through the proxy, or no longer.
    pub async fn grant_secret(
        &self,
        actor: &Actor,
        id: OwnedSecretId,
        account: ServiceAccountId,
        granted: bool,
    ) -> Result<(), Error> {
        same_project(&self.world(), id, account)?;
        let account = account.uuid();
        let command = if granted { Command::GrantProxy(account) } else { Command::RevokeProxy(account) };
        self.secret_change(actor, id, command).await
    }

    /// Has a service account pull images with a secret of its own, or no longer.
    pub async fn pull_with_secret(
        &self,
        actor: &Actor,
        id: OwnedSecretId,
        account: ServiceAccountId,
        pulls: bool,
    ) -> Result<(), Error> {
        let world = self.world();
        same_project(&world, id, account)?;
        let account = account.uuid();
        if pulls && find(&world, id)?.owner != Owner::ServiceAccount(account) {
            return Err(no_secret(id));
        }
        let command = if pulls { Command::UseForPulls(account) } else { Command::StopUseForPulls(account) };
        self.secret_change(actor, id, command).await
    }

    async fn secret_change(&self, actor: &Actor, id: OwnedSecretId, command: Command) -> Result<(), Error> {
        self.transact(actor, |world| {
            let events = Secret::decide(Some(find(world, id)?), command.clone()).map_err(Error::rejected)?;
            Ok(Decision { changes: vec![Change::new(id.project(), id.stream(), events)], answer: () })
        })
        .await
    }
}

/// Where the vault keeps the value of one version. Sealed values open under this id only.
fn vault_id(id: OwnedSecretId, version: Uuid) -> Result<SecretId, Error> {
    Ok(SecretId::new(format!("{VAULT_PREFIX}{}/{id}/{version}", id.project()))?)
}

fn exists(world: &World, project: ProjectId, owner: Owner) -> Result<(), Error> {
    let account = match owner {
        Owner::User(_) => return Ok(()),
        Owner::ServiceAccount(uuid) => ServiceAccountId::new(project, uuid),
    };
    world.account(account).map(drop).ok_or_else(|| Error::no_account(&account.to_string()))
}

/// Takes a name for a secret, or gives it back where there is no `holder`.
fn name(
    world: &World,
    project: ProjectId,
    owner: Owner,
    name: &str,
    holder: Option<Uuid>,
) -> Result<Change, Error> {
    let (kind, scope) = match owner {
        Owner::User(id) => (Kind::UserSecret, id),
        Owner::ServiceAccount(id) => (Kind::Secret, id),
    };
    let key = names::Key { kind, scope: Some(scope), name: name.to_owned() };
    names_change(
        world,
        project,
        match holder {
            Some(id) => names::Command::Claim { key, id },
            None => names::Command::Release { key },
        },
    )
}

fn same_project(world: &World, id: OwnedSecretId, account: ServiceAccountId) -> Result<(), Error> {
    let known = account.project() == id.project() && world.account(account).is_some();
    if known { Ok(()) } else { Err(Error::no_account(&account.to_string())) }
}

fn find(world: &World, id: OwnedSecretId) -> Result<&Secret, Error> {
    world.secret(id).ok_or_else(|| no_secret(id))
}

fn no_secret(id: OwnedSecretId) -> Error {
    Error::NotFound {
        kind: "secret",
        name: id.to_string(),
        hint: "`meshagent secret list` shows those that exist",
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

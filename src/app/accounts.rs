//! Service accounts and API keys.

use super::key::{ApiKeyText, fresh_secret};
use super::plan::NewKeyText;
use super::rooms::{claim, release};
use super::{Actor, App, Change, Decision, Error};
use crate::domain::Entity;
use crate::domain::account::{self, ApiKey, KeyCommand, KeyCreated, Profile, ServiceAccount};
use crate::domain::names::Kind;
use crate::id::{ApiKeyId, ProjectId, ServiceAccountId};
use crate::projection::World;
use crate::spec;
use crate::vault::{InvalidSecretId, Secret, SecretId};
use std::sync::Arc;

/// How the ids of keys begin in the vault.
pub(super) const KEY_PREFIX: &str = "apikey/";

/// A key to make. Identity and secret are given when an operator brings them.
#[derive(Debug, Default)]
pub struct NewKey {
    pub name: String,
    pub description: String,
    pub given: Option<ApiKeyText>,
}

impl App {
    pub async fn create_account(
        &self,
        actor: &Actor,
        project: ProjectId,
        profile: Profile,
    ) -> Result<ServiceAccountId, Error> {
        let id = ServiceAccountId::new(project, self.ids.fresh());
        self.transact(actor, |world| {
            let claimed = claim(world, project, Kind::ServiceAccount, None, &profile.name, id.uuid())?;
            let made = ServiceAccount::decide(None, account::Command::Create(profile.clone()))
                .map_err(Error::rejected)?;
            Ok(Decision { changes: vec![claimed, Change::new(project, id.stream(), made)], answer: id })
        })
        .await
    }

    pub async fn update_account(
        &self,
        actor: &Actor,
        id: ServiceAccountId,
        profile: Profile,
    ) -> Result<bool, Error> {
        let project = id.project();
        self.transact(actor, |world| {
            let account = find(world, id)?;
            let mut changes = vec![];
            if profile.name != account.profile.name {
                changes.push(claim(world, project, Kind::ServiceAccount, None, &profile.name, id.uuid())?);
                changes.push(release(world, project, Kind::ServiceAccount, None, &account.profile.name)?);
            }
            let events = ServiceAccount::decide(Some(account), account::Command::Update(profile.clone()))
                .map_err(Error::rejected)?;
            let changed = !events.is_empty();
            changes.push(Change::new(project, id.stream(), events));
            Ok(Decision { changes, answer: changed })
        })
        .await
    }

    /// Deletes an account with its secrets and its keys, those of documents too.
    pub async fn delete_account(self: &Arc<Self>, actor: &Actor, id: ServiceAccountId) -> Result<(), Error> {
        find(&self.world(), id)?;
        self.delete_resource(actor, id.project(), (spec::Kind::ServiceAccount, id.uuid())).await
    }

    /// Makes the text of a key, and puts it into the vault: its secret, and as a version of the secret that has it.
    pub(super) async fn keep_key(&self, new: &NewKeyText) -> Result<(), Error> {
        let text = ApiKeyText { key: new.key.uuid(), project: new.key.project(), secret: fresh_secret()? };
        self.vault.put(&secret_id(new.key)?, &text.secret).await?;
        self.keep_value(new.secret, new.version, &Secret::from(text.reveal())).await
    }

    /// Removes the secrets of keys that were revoked.
    pub(super) async fn forget_keys(&self, keys: &[ApiKeyId]) -> Result<(), Error> {
        for key in keys {
            self.vault.delete(&secret_id(*key)?).await?;
        }
        Ok(())
    }

    /// Makes an API key. The whole text is in the answer and nowhere else; the vault keeps the secret sealed.
    pub async fn create_key(
        &self,
        actor: &Actor,
        account: ServiceAccountId,
        new: NewKey,
    ) -> Result<(ApiKeyId, ApiKeyText), Error> {
        let project = account.project();
        let text = match new.given {
            Some(given) => given,
            None => ApiKeyText { key: self.ids.fresh(), project, secret: fresh_secret()? },
        };
        let id = ApiKeyId::new(project, text.key);
        // The secret first: a key that exists can be used.
        self.vault.put(&secret_id(id)?, &text.secret).await?;
        let created = KeyCreated { account, name: new.name, description: new.description };
        self.transact(actor, |world| {
            find(world, account)?;
            let events = ApiKey::decide(world.key(id), KeyCommand::Create(created.clone()))
                .map_err(Error::rejected)?;
            Ok(Decision { changes: vec![Change::new(project, id.stream(), events)], answer: () })
        })
        .await?;
        Ok((id, text))
    }

    pub async fn revoke_key(&self, actor: &Actor, id: ApiKeyId) -> Result<(), Error> {
        self.transact(actor, |world| {
            let events = ApiKey::decide(world.key(id), KeyCommand::Revoke).map_err(Error::rejected)?;
            Ok(Decision { changes: vec![Change::new(id.project(), id.stream(), events)], answer: () })
        })
        .await?;
        self.vault.delete(&secret_id(id)?).await?;
        Ok(())
    }

    /// The secret of a key that exists and was not revoked.
    pub async fn key_secret(&self, id: ApiKeyId) -> Result<Option<Secret>, Error> {
        if self.world().key(id).is_none() {
            return Ok(None);
        }
        Ok(self.vault.get(&secret_id(id)?).await?)
    }
}

fn secret_id(key: ApiKeyId) -> Result<SecretId, InvalidSecretId> {
    SecretId::new(format!("{KEY_PREFIX}{}/{key}", key.project()))
}

fn find(world: &World, id: ServiceAccountId) -> Result<&ServiceAccount, Error> {
    world.account(id).ok_or_else(|| Error::no_account(&id.to_string()))
}

//! Settings documents of projects. What is secret of one is in the vault, under the document's revision; the log has the
//! rest.

use super::{Actor, App, Change, Decision, Error};
use crate::domain::Entity;
use crate::domain::project::{Command, Project, Settings, SettingsRemoved, SettingsSet};
use crate::id::ProjectId;
use crate::projection::World;
use crate::vault::{Secret, SecretId};
use serde_json::{Map, Value};
use uuid::Uuid;

fn secret_id(project: ProjectId, revision: Uuid) -> Result<SecretId, Error> {
    Ok(SecretId::new(format!("settings/{project}/{revision}"))?)
}

fn find(world: &World, project: ProjectId) -> Option<&Project> {
    world.project(project).and_then(|view| view.project.as_ref()).map(|slot| &slot.state)
}

impl App {
    /// A project's settings document; `None` where it is not set.
    #[must_use]
    pub fn settings_document(&self, project: ProjectId, name: &str) -> Option<Settings> {
        find(&self.world(), project)?.settings.get(name).cloned()
    }

    /// What is secret of a settings document.
    pub async fn settings_secret(
        &self,
        project: ProjectId,
        settings: &Settings,
    ) -> Result<Option<Secret>, Error> {
        if !settings.has_secret {
            return Ok(None);
        }
        Ok(self.vault.get(&secret_id(project, settings.revision)?).await?)
    }

    /// Sets or replaces a settings document.
    pub async fn set_settings(
        &self,
        actor: &Actor,
        project: ProjectId,
        name: &str,
        document: Map<String, Value>,
        secret: Option<Secret>,
    ) -> Result<(), Error> {
        let revision = self.ids.fresh();
        if let Some(secret) = &secret {
            self.vault.put(&secret_id(project, revision)?, secret).await?;
        }
        let annotations =
            self.settings_document(project, name).map(|old| old.annotations).unwrap_or_default();
        let settings = Settings { revision, document, has_secret: secret.is_some(), annotations };
        let set = SettingsSet { name: name.to_owned(), settings };
        let done = self.change_settings(actor, project, name, Command::SetSettings(set)).await;
        if done.is_err() && secret.is_some() {
            self.vault.delete(&secret_id(project, revision)?).await?;
        }
        self.drop_secret(project, done?).await
    }

    /// Removes a settings document.
    pub async fn remove_settings(&self, actor: &Actor, project: ProjectId, name: &str) -> Result<(), Error> {
        let command = Command::RemoveSettings(SettingsRemoved { name: name.to_owned() });
        let old = self.change_settings(actor, project, name, command).await?;
        self.drop_secret(project, old).await
    }

    /// Answers what was there before.
    async fn change_settings(
        &self,
        actor: &Actor,
        project: ProjectId,
        name: &str,
        command: Command,
    ) -> Result<Option<Settings>, Error> {
        self.transact(actor, |world| {
            let state = find(world, project);
            let events = Project::decide(state, command.clone()).map_err(Error::rejected)?;
            let answer = state.and_then(|state| state.settings.get(name)).cloned();
            Ok(Decision { changes: vec![Change::new(project, Project::stream(project), events)], answer })
        })
        .await
    }

    async fn drop_secret(&self, project: ProjectId, old: Option<Settings>) -> Result<(), Error> {
        if let Some(old) = old.filter(|old| old.has_secret) {
            self.vault.delete(&secret_id(project, old.revision)?).await?;
        }
        Ok(())
    }
}

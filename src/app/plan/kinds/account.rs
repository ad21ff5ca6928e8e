//! `kind: ServiceAccount`.

use super::{Change, Found, Home, Key, Resource, differing, document_of, typed};
use crate::app::plan::Ground;
use crate::app::plan::draft::Draft;
use crate::app::plan::problem::{Code, Problem};
use crate::app::{DEFAULT_ACCOUNT, Error};
use crate::domain::account::{Command, OPERATOR, Profile, ServiceAccount};
use crate::domain::names;
use crate::domain::secret::Owner;
use crate::id::{ApiKeyId, ProjectId, ServiceAccountId, StreamId};
use crate::projection::{ProjectView, World};
use crate::spec::{self, Kind, NamedMetadata, ServiceAccountKind, Version};
use serde_json::Value;
use uuid::Uuid;

pub struct Accounts;

impl Resource for Accounts {
    fn kind(&self) -> Kind {
        Kind::ServiceAccount
    }

    fn home(&self) -> Home {
        Home::Project
    }

    fn all(&self, world: &World, project: ProjectId) -> Vec<(Uuid, Key)> {
        let key =
            |account: &ServiceAccount| Key::new(Kind::ServiceAccount, None, account.profile.name.as_str());
        world.accounts(project).map(|(id, account)| (id.uuid(), key(account))).collect()
    }

    fn read(&self, world: &World, project: ProjectId, id: Uuid) -> Option<Found> {
        let account = world.account(ServiceAccountId::new(project, id))?;
        let profile = &account.profile;
        let mut annotations = profile.annotations.clone();
        annotations.remove(OPERATOR);
        let document = spec::ServiceAccount {
            version: Version::V1,
            kind: ServiceAccountKind::Mark,
            metadata: NamedMetadata { name: profile.name.clone(), annotations },
            display_name: profile.display_name.clone(),
            description: Some(profile.description.clone()).filter(|text| !text.is_empty()),
        };
        let stream = self.stream(project, id);
        Some(Found {
            key: Key::new(Kind::ServiceAccount, None, profile.name.as_str()),
            document: document_of(&document),
            generation: world.version(project, &stream),
            created_at: Some(account.created_at),
        })
    }

    fn generation(&self, world: &World, project: ProjectId, id: Uuid) -> Option<u64> {
        Some(world.version(project, &self.stream(project, id))).filter(|version| *version > 0)
    }

    fn stream(&self, project: ProjectId, id: Uuid) -> StreamId {
        ServiceAccountId::new(project, id).stream()
    }

    fn check(&self, _: &Ground<'_>, key: &Key, document: &Value, _: Option<Uuid>) -> Vec<Problem> {
        let notes = document.pointer("/metadata/annotations").and_then(Value::as_object);
        if !notes.is_some_and(|notes| notes.contains_key(OPERATOR)) {
            return vec![];
        }
        let text = format!("the annotation `{OPERATOR}` is set by the server only");
        let problem = Problem::of(Code::Invalid, None, key, text).at("metadata.annotations");
        vec![problem.hint("leave it out")]
    }

    fn keep(&self, key: &Key) -> Option<&'static str> {
        (key.name == DEFAULT_ACCOUNT).then_some("it is the project's own account")
    }

    fn contents(&self, world: &World, project: ProjectId, id: Uuid) -> Vec<(Kind, Uuid)> {
        let own = world.secrets(project).filter(|(_, secret)| secret.owner == Owner::ServiceAccount(id));
        let secrets = own.map(|(secret, _)| (Kind::Secret, secret.uuid()));
        let keys = world.declared_keys(project).filter(|(_, declared)| {
            let key = ApiKeyId::new(project, declared.wanted.key);
            let account = &declared.wanted.spec.account;
            // Also of keys that were revoked by hand.
            world.key(key).is_some_and(|key| key.account.uuid() == id)
                || world.named(project, names::Kind::ServiceAccount, None, account) == Some(id)
        });
        let keys = keys.map(|(key, _)| (Kind::ApiKey, key.uuid()));
        // Keys first: what they end is then still there.
        keys.chain(secrets).collect()
    }

    fn changed(&self, old: &ProjectView, new: &ProjectView) -> Vec<Uuid> {
        differing(&old.accounts, &new.accounts)
    }

    fn change(&self, draft: &mut Draft<'_>, change: Change<'_>) -> Result<(), Error> {
        let project = draft.project();
        match change {
            Change::Create { id, key, document } => {
                let profile = profile(typed(key, document)?, None);
                draft.claim(project, names::Kind::ServiceAccount, None, &key.name, id)?;
                let id = ServiceAccountId::new(project, id);
                draft.decide::<ServiceAccount>(id.stream(), None, Command::Create(profile))?;
            }
            Change::Update { id, key, document } => {
                let id = ServiceAccountId::new(project, id);
                let old = draft.world().account(id);
                let profile = profile(typed(key, document)?, old.map(|old| &old.profile));
                draft.decide(id.stream(), old, Command::Update(profile))?;
            }
            Change::Delete { id } => {
                let id = ServiceAccountId::new(project, id);
                draft.delete_account(id)?;
            }
        }
        Ok(())
    }
}

/// What documents cannot say stays as it is.
fn profile(spec: spec::ServiceAccount, old: Option<&Profile>) -> Profile {
    let mut annotations = spec.metadata.annotations;
    annotations.remove(OPERATOR);
    if let Some(operator) = old.and_then(|old| old.annotations.get(OPERATOR)) {
        annotations.insert(OPERATOR.to_owned(), operator.clone());
    }
    let name = spec.metadata.name;
    Profile {
        key: old.map_or_else(|| name.clone(), |old| old.key.clone()),
        name,
        display_name: spec.display_name,
        description: spec.description.unwrap_or_default(),
        metadata: old.map(|old| old.metadata.clone()).unwrap_or_default(),
        annotations,
    }
}

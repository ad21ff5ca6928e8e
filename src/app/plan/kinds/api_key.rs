//! `kind: ApiKey`: a key of a service account whose text goes into a secret. The text is made when the plan is carried out;
//! no plan, no fact and no answer has it.

use super::{Change, Found, Home, Key, Reference, Resource, differing, document_of, typed};
use crate::app::Error;
use crate::app::plan::Ground;
use crate::app::plan::draft::Draft;
use crate::app::plan::problem::{Code, Problem};
use crate::domain::account::{self, KeyCommand, KeyCreated, OPERATOR};
use crate::domain::declared_key::{Command, DeclaredKey, KEYS_MAX, Refused, Wanted};
use crate::domain::secret::{self, About, Owner, VersionAdded};
use crate::domain::{Entity, names};
use crate::id::{ApiKeyId, DeclaredKeyId, OwnedSecretId, ProjectId, ServiceAccountId, StreamId};
use crate::projection::{ProjectView, World};
use crate::spec::{self, Kind};
use serde_json::{Map, Value};
use uuid::Uuid;

pub struct ApiKeys;

fn key(declared: &DeclaredKey) -> Key {
    Key::new(Kind::ApiKey, None, declared.wanted.spec.metadata.name.as_str())
}

impl Resource for ApiKeys {
    fn kind(&self) -> Kind {
        Kind::ApiKey
    }

    fn home(&self) -> Home {
        Home::Project
    }

    fn all(&self, world: &World, project: ProjectId) -> Vec<(Uuid, Key)> {
        world.declared_keys(project).map(|(id, declared)| (id.uuid(), key(declared))).collect()
    }

    fn read(&self, world: &World, project: ProjectId, id: Uuid) -> Option<Found> {
        let declared = world.declared_key(DeclaredKeyId::new(project, id))?;
        Some(Found {
            key: key(declared),
            document: document_of(&declared.wanted.spec),
            generation: declared.generation,
            created_at: Some(declared.created_at),
        })
    }

    fn generation(&self, world: &World, project: ProjectId, id: Uuid) -> Option<u64> {
        world.declared_key(DeclaredKeyId::new(project, id)).map(|declared| declared.generation)
    }

    fn stream(&self, project: ProjectId, id: Uuid) -> StreamId {
        DeclaredKeyId::new(project, id).stream()
    }

    fn references(&self, document: &Value) -> Vec<Reference> {
        let named = |path: &str, pointer: &str| {
            let key = Key::new(Kind::ServiceAccount, None, document.pointer(pointer)?.as_str()?);
            Some(Reference { path: path.to_owned(), key })
        };
        [named("account", "/account"), named("secret.account", "/secret/account")]
            .into_iter()
            .flatten()
            .collect()
    }

    fn immutable(&self) -> &'static [&'static str] {
        &["/account", "/secret/account", "/secret/secret"]
    }

    fn check(&self, ground: &Ground<'_>, key: &Key, document: &Value, old: Option<Uuid>) -> Vec<Problem> {
        let (world, project) = (ground.world, ground.project);
        let problem = |text: String| Problem::of(Code::Invalid, None, key, text);
        let spec: spec::ApiKey = match typed(key, document) {
            Ok(spec) => spec,
            Err(error) => return vec![problem(error.to_string())],
        };
        let named = |name: &str| {
            let id = world.named(project, names::Kind::ServiceAccount, None, name);
            id.map(|id| ServiceAccountId::new(project, id))
        };
        for (at, account) in [("account", &spec.account), ("secret.account", &spec.secret.account)] {
            if named(account).is_some_and(|id| operates(world, id)) {
                let text = Refused::OfOperator(account.clone()).to_string();
                return vec![problem(text).at(at).hint("make another account, and a key of that")];
            }
        }
        let old = old.and_then(|id| world.declared_key(DeclaredKeyId::new(project, id)));
        let secret = OfSecret { ground, spec: &spec, key, account: named(&spec.secret.account) };
        secret.taken(old).into_iter().collect()
    }

    fn changed(&self, old: &ProjectView, new: &ProjectView) -> Vec<Uuid> {
        differing(&old.declared_keys, &new.declared_keys)
    }

    fn change(&self, draft: &mut Draft<'_>, change: Change<'_>) -> Result<(), Error> {
        let (project, world) = (draft.project(), draft.world());
        match change {
            Change::Create { id, key, document } => {
                let there = || world.declared_keys(project).count();
                if draft.count(Kind::ApiKey, project.uuid(), there) >= KEYS_MAX {
                    return Err(Error::rejected(Refused::TooMany));
                }
                draft.claim(project, names::Kind::ApiKey, None, &key.name, id)?;
                let wanted = made(draft, typed(key, document)?)?;
                let stream = DeclaredKeyId::new(project, id).stream();
                draft.decide::<DeclaredKey>(stream, None, Command::Create(wanted))
            }
            Change::Update { id, key, document } => {
                let id = DeclaredKeyId::new(project, id);
                let old = world.declared_key(id).ok_or_else(|| Error::rejected(Refused::NotFound))?;
                let spec: spec::ApiKey = typed(key, document)?;
                let wanted = if spec.rotation == old.wanted.spec.rotation {
                    Wanted { spec, ..old.wanted.clone() }
                } else {
                    let wanted = made(draft, spec)?;
                    end(draft, &old.wanted)?;
                    wanted
                };
                draft.decide(id.stream(), Some(old), Command::Update(wanted))
            }
            Change::Delete { id } => {
                let id = DeclaredKeyId::new(project, id);
                let old = world.declared_key(id).ok_or_else(|| Error::rejected(Refused::NotFound))?;
                end(draft, &old.wanted)?;
                draft.release(project, names::Kind::ApiKey, None, &old.wanted.spec.metadata.name)?;
                draft.decide(id.stream(), Some(old), Command::Delete)
            }
        }
    }
}

/// The secret that a key is to be in.
struct OfSecret<'a> {
    ground: &'a Ground<'a>,
    spec: &'a spec::ApiKey,
    key: &'a Key,
    account: Option<ServiceAccountId>,
}

impl OfSecret<'_> {
    /// Why the text of the key would not stay there, or would take the place of what others put there.
    fn taken(&self, old: Option<&DeclaredKey>) -> Option<Problem> {
        let (world, project) = (self.ground.world, self.ground.project);
        let (name, asked) = (&self.spec.secret.secret, self.ground.asked);
        let problem = |text: String| Problem::of(Code::Invalid, None, self.key, text).at("secret.secret");
        let place = (self.spec.secret.account.clone(), name.clone());
        let with = asked.writers.get(&place).into_iter().flatten().find(|other| *other != self.key);
        if let Some(other) = with {
            let text = format!("{other} gives the secret `{name}` a value too, and it has one");
            return Some(problem(text).hint("name another secret in one of them"));
        }
        let own =
            names::Key { kind: names::Kind::Secret, scope: Some(self.account?.uuid()), name: name.clone() };
        let id = world.project(project)?.names.as_ref()?.state.get(own.kind, own.scope, &own.name)?;
        let others = world.declared_keys(project).filter(|(_, other)| other.wanted.secret == id);
        let mut others = others.filter(|(id, other)| {
            other.wanted.spec.metadata.name != self.spec.metadata.name && !asked.going.contains(&id.uuid())
        });
        if let Some((_, other)) = others.next() {
            let other = &other.wanted.spec.metadata.name;
            let text = format!("the text of api-key/{other} is in the secret `{name}`, and it has one value");
            return Some(problem(text).hint("name another secret"));
        }
        let secret = world.secret(OwnedSecretId::new(project, id))?;
        // One that stays as it is keeps what it wrote; whoever put something else there is told by the status.
        let is_new = old.is_none_or(|old| old.wanted.spec.rotation != self.spec.rotation);
        let its_own = old.map(|old| old.wanted.version);
        let mut all = world.declared_keys(project);
        // The text of a key that goes goes with it.
        let ends = asked.going.contains(&id)
            || all.any(|(id, key)| {
                Some(key.wanted.version) == secret.current && asked.going.contains(&id.uuid())
            });
        let foreign = secret.current.is_some() && secret.current != its_own && !ends;
        if is_new && foreign && !asked.force {
            let text = format!(
                "the secret `{name}` has a value that is not this key's, and the key would take its place"
            );
            let hint = "name another secret, or replace the value with --force-conflicts";
            return Some(problem(text).hint(hint));
        }
        None
    }
}

fn operates(world: &World, account: ServiceAccountId) -> bool {
    world.account(account).is_some_and(|account| account.profile.annotations.contains_key(OPERATOR))
}

/// Makes a key, and a version of the secret that is its text.
fn made(draft: &mut Draft<'_>, spec: spec::ApiKey) -> Result<Wanted, Error> {
    let project = draft.project();
    let account = draft.account(&spec.account)?;
    if operates(draft.world(), account) {
        return Err(Error::rejected(Refused::OfOperator(spec.account)));
    }
    let owner = draft.account(&spec.secret.account)?;
    if operates(draft.world(), owner) {
        return Err(Error::rejected(Refused::OfOperator(spec.secret.account)));
    }
    let owner = owner.uuid();
    let names_key =
        names::Key { kind: names::Kind::Secret, scope: Some(owner), name: spec.secret.secret.clone() };
    let secret = match draft.drafted(&names_key) {
        Some(secret) => OwnedSecretId::new(project, secret),
        None => {
            let id = OwnedSecretId::new(project, draft.fresh());
            let name = spec.secret.secret.clone();
            let (metadata, annotations) = (Map::new(), Map::new());
            let about = About { name, kind: "opaque".to_owned(), http_only: false, metadata, annotations };
            let owner = Owner::ServiceAccount(owner);
            let by = account.uuid();
            draft.on_names(project, names::Command::Claim { key: names_key, id: id.uuid() })?;
            draft.on_secret(id, secret::Command::Create(secret::Created { owner, by, about }))?;
            id
        }
    };
    let key = ApiKeyId::new(project, draft.fresh());
    let version = draft.fresh();
    let created =
        KeyCreated { account, name: spec.metadata.name.clone(), description: spec.description.clone() };
    draft.decide::<account::ApiKey>(key.stream(), None, KeyCommand::Create(created))?;
    // Nobody guesses the text, but its digest would tell who has it.
    let (sha256, by) = (String::new(), account.uuid());
    let added = VersionAdded { id: version, number: 0, sha256, current: true, by };
    draft.on_secret(secret, secret::Command::AddVersion(added))?;
    draft.make_key(key, secret, version);
    Ok(Wanted { spec, key: key.uuid(), secret: secret.uuid(), version })
}

/// Ends a key, and the version of the secret that was its text.
fn end(draft: &mut Draft<'_>, was: &Wanted) -> Result<(), Error> {
    let (project, world) = (draft.project(), draft.world());
    let key = ApiKeyId::new(project, was.key);
    if let Some(state) = world.key(key) {
        let revoked = account::ApiKey::decide(Some(state), KeyCommand::Revoke).map_err(Error::rejected)?;
        draft.push(key.stream(), revoked);
        draft.forget_key(key);
    }
    let secret = OwnedSecretId::new(project, was.secret);
    let there = world.secret(secret).is_some_and(|secret| secret.version(was.version).is_some());
    if there && !draft.is_gone(was.secret) {
        draft.on_secret(secret, secret::Command::DeleteVersion(was.version))?;
        draft.forget_values(secret, [was.version]);
    }
    Ok(())
}

//! `kind: Secret`: the secrets of service accounts. Those that callers keep for themselves are nobody else's.
//!
//! A document has the fingerprint of its value, never the value. Where several accounts have a secret of one name, the
//! oldest is the one that documents mean.

use super::{Change, Found, Home, Key, Reference, Resource, differing, document_of, typed};
use crate::app::Error;
use crate::app::plan::Ground;
use crate::app::plan::draft::Draft;
use crate::app::plan::problem::{Code, Problem};
use crate::app::secrets::use_of::acting_as;
use crate::domain::names;
use crate::domain::secret::{self, About, Command, Declaration, DeclaredValue, Owner, Refused, Secret};
use crate::id::{OwnedSecretId, ProjectId, ServiceAccountId, StreamId};
use crate::projection::{ProjectView, World};
use crate::spec::{self, Kind, NamedMetadata, SecretKind, Version};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashSet};
use uuid::Uuid;

pub struct Secrets;

impl Resource for Secrets {
    fn kind(&self) -> Kind {
        Kind::Secret
    }

    fn home(&self) -> Home {
        Home::Project
    }

    fn all(&self, world: &World, project: ProjectId) -> Vec<(Uuid, Key)> {
        let mut first: BTreeMap<&str, Uuid> = BTreeMap::new();
        for (id, secret) in world.secrets(project).filter(|(_, secret)| owner(secret).is_some()) {
            first.entry(secret.about.name.as_str()).or_insert(id.uuid());
        }
        first.into_iter().map(|(name, id)| (id, Key::new(Kind::Secret, None, name))).collect()
    }

    fn read(&self, world: &World, project: ProjectId, id: Uuid) -> Option<Found> {
        let secret = world.secret(OwnedSecretId::new(project, id))?;
        let account = world.account(ServiceAccountId::new(project, owner(secret)?))?;
        let about = &secret.about;
        let document = spec::Secret {
            version: Version::V1,
            kind: SecretKind::Mark,
            metadata: NamedMetadata { name: about.name.clone(), annotations: texts(&about.annotations) },
            account: account.profile.name.clone(),
            r#type: about.kind.clone(),
            http_only: about.http_only,
            value_from: None,
            encrypted: None,
            sops: None,
            fingerprint: secret.fingerprint().map(str::to_owned),
        };
        Some(Found {
            key: Key::new(Kind::Secret, None, about.name.as_str()),
            document: document_of(&document),
            generation: secret.generation,
            created_at: Some(secret.created_at),
        })
    }

    fn generation(&self, world: &World, project: ProjectId, id: Uuid) -> Option<u64> {
        let secret = world.secret(OwnedSecretId::new(project, id))?;
        owner(secret).map(|_| secret.generation)
    }

    fn stream(&self, project: ProjectId, id: Uuid) -> StreamId {
        OwnedSecretId::new(project, id).stream()
    }

    fn references(&self, document: &Value) -> Vec<Reference> {
        let account = document.get("account").and_then(Value::as_str);
        let key = account.map(|name| Key::new(Kind::ServiceAccount, None, name));
        key.map(|key| Reference { path: "account".to_owned(), key }).into_iter().collect()
    }

    fn immutable(&self) -> &'static [&'static str] {
        &["/account"]
    }

    fn unsaid(&self) -> &'static [&'static str] {
        &["/fingerprint"]
    }

    fn check(&self, ground: &Ground<'_>, key: &Key, document: &Value, old: Option<Uuid>) -> Vec<Problem> {
        let problem = |error: &dyn ToString| Problem::of(Code::Invalid, None, key, error.to_string());
        let spec: spec::Secret = match typed(key, document) {
            Ok(spec) => spec,
            Err(error) => return vec![problem(&error)],
        };
        let old = old.and_then(|id| ground.world.secret(OwnedSecretId::new(ground.project, id)));
        let mut problems = vec![];
        if let Err(refused) = secret::check(&about(&spec, old)) {
            problems.push(problem(&refused));
        }
        if spec.value_from.is_some() || spec.encrypted.is_some() || spec.sops.is_some() {
            // Whoever plans reads values first; a secret without its value is never made in silence.
            let hint = "apply the document with `meshagent apply`";
            problems.push(problem(&"the value was not read").at("value_from").hint(hint));
        }
        if let Some(account) = old.and_then(owner)
            && ground
                .world
                .account(ServiceAccountId::new(ground.project, account))
                .is_none_or(|found| found.profile.name != spec.account)
        {
            let text = "another service account has a secret of this name, and documents mean that one";
            problems
                .push(problem(&text).at("account").hint("choose another name, or delete that secret first"));
        }
        let given = |fingerprint: &str| ground.values.get(fingerprint).is_some();
        problems.extend(of_a_key(ground, key, &spec, old));
        if value(&spec, old, given).is_none() {
            let text = "no version of the secret has this value";
            let hint = "it is gone, or another project's: say the value by `value_from` or `encrypted`, or leave the fingerprint \
                        out and give it a value by `meshagent secret`";
            problems.push(problem(&text).at("fingerprint").hint(hint));
        }
        problems
    }

    fn changed(&self, old: &ProjectView, new: &ProjectView) -> Vec<Uuid> {
        differing(&old.secrets, &new.secrets)
    }

    fn in_use(&self, world: &World, project: ProjectId, id: Uuid, going: &HashSet<Uuid>) -> Option<String> {
        let secret = world.secret(OwnedSecretId::new(project, id))?;
        let account = ServiceAccountId::new(project, owner(secret)?);
        let mut services = world.services(project).filter(|(service, _)| !going.contains(&service.uuid()));
        let user = services.find(|(_, service)| {
            let container = service.spec.container.as_ref();
            let uses = |container| uses(world, project, container, (id, &secret.about.name, account));
            container.is_some_and(uses)
        });
        user.map(|(_, service)| format!("service/{} uses it", service.spec.metadata.name))
    }

    fn change(&self, draft: &mut Draft<'_>, change: Change<'_>) -> Result<(), Error> {
        match change {
            Change::Create { id, key, document } => declare(draft, id, None, typed(key, document)?),
            Change::Update { id, key, document } => {
                let old = draft.world().secret(OwnedSecretId::new(draft.project(), id));
                declare(draft, id, old, typed(key, document)?)
            }
            Change::Delete { id } => {
                let id = OwnedSecretId::new(draft.project(), id);
                let Some(old) = draft.world().secret(id) else { return Ok(()) };
                let Some(account) = owner(old) else { return Ok(()) };
                let key = names_key(account, &old.about.name);
                draft.on_names(id.project(), names::Command::Release { key })?;
                draft.forget_values(id, old.versions.iter().map(|version| version.id));
                draft.on_secret(id, Command::Delete)
            }
        }
    }
}

/// Whether a container has a secret in its environment, or pulls its image with it.
fn uses(
    world: &World,
    project: ProjectId,
    container: &spec::Container,
    (id, name, account): (Uuid, &str, ServiceAccountId),
) -> bool {
    let run_as = container.run_as.as_ref();
    let of_account = || run_as.is_some_and(|run_as| acting_as(world, project, run_as).ok() == Some(account));
    let variables = container.environment().iter().filter_map(|variable| variable.secret.as_ref());
    let mut named = variables.chain(container.pull_secret.as_ref());
    named.any(|secret| secret.id == id.to_string() || (secret.id == name && of_account()))
}

/// Why a secret is not given a value: a key has its text there.
fn of_a_key(ground: &Ground<'_>, key: &Key, spec: &spec::Secret, old: Option<&Secret>) -> Option<Problem> {
    let (Some(old), Some(fingerprint)) = (old, &spec.fingerprint) else { return None };
    if old.fingerprint() == Some(fingerprint) {
        return None;
    }
    let keys = ground.world.declared_keys(ground.project);
    let mut keys = keys.filter(|(id, _)| !ground.asked.going.contains(&id.uuid()));
    let (_, declared) = keys.find(|(_, declared)| {
        old.current == Some(declared.wanted.version) && old.version(declared.wanted.version).is_some()
    })?;
    let name = &declared.wanted.spec.metadata.name;
    let text = format!("the text of api-key/{name} is in it, and a secret has one value");
    let problem = Problem::of(Code::Invalid, None, key, text).at("fingerprint");
    Some(problem.hint("have the document give no value, or the key name another secret"))
}

/// A document of the past without the fingerprint of a value that is not kept any more.
pub fn without_lost_value(world: &World, project: ProjectId, id: Uuid, document: &mut Value) {
    let kept = |fingerprint: &str| {
        let secret = world.secret(OwnedSecretId::new(project, id));
        secret.is_some_and(|secret| secret.version_of(fingerprint, true).is_some())
    };
    let lost = document.get("fingerprint").and_then(Value::as_str).is_some_and(|text| !kept(text));
    if let Some(members) = document.as_object_mut().filter(|_| lost) {
        members.remove("fingerprint");
    }
}

/// Makes a secret, or changes one.
fn declare(draft: &mut Draft<'_>, id: Uuid, old: Option<&Secret>, spec: spec::Secret) -> Result<(), Error> {
    let id = OwnedSecretId::new(draft.project(), id);
    let account = draft.account(&spec.account)?.uuid();
    let found = value(&spec, old, |fingerprint| draft.has_value(fingerprint));
    let wanted = match found.ok_or_else(|| Error::rejected(Refused::NotFound))? {
        Wanted::Kept => DeclaredValue::Kept,
        Wanted::Version(version) => DeclaredValue::Version(version),
        Wanted::New(fingerprint) => {
            DeclaredValue::New { id: draft.keep_value(id, &fingerprint), fingerprint }
        }
    };
    if old.is_none() {
        let key = names_key(account, &spec.metadata.name);
        draft.on_names(id.project(), names::Command::Claim { key, id: id.uuid() })?;
    }
    let owner = Owner::ServiceAccount(account);
    let declaration = Declaration { owner, by: account, about: about(&spec, old), value: wanted };
    draft.on_secret(id, Command::Declare(declaration))
}

/// What becomes of a value.
enum Wanted {
    Kept,
    Version(Uuid),
    /// A new version, of the value with this fingerprint.
    New(String),
}

/// What becomes of the value; `None` where nobody has it.
fn value(spec: &spec::Secret, old: Option<&Secret>, given: impl Fn(&str) -> bool) -> Option<Wanted> {
    let Some(fingerprint) = &spec.fingerprint else { return Some(Wanted::Kept) };
    let version = old.and_then(|old| old.version_of(fingerprint, spec.http_only));
    let current = old.and_then(|old| old.current);
    match version {
        Some(version) if current == Some(version.id) => Some(Wanted::Kept),
        _ if given(fingerprint) && version.is_none() => Some(Wanted::New(fingerprint.clone())),
        Some(version) => Some(Wanted::Version(version.id)),
        None => old.filter(|old| old.fingerprint() == Some(fingerprint)).map(|_| Wanted::Kept),
    }
}

/// What a document says of a secret. What documents cannot say stays as it is.
fn about(spec: &spec::Secret, old: Option<&Secret>) -> About {
    let mut annotations = old.map(|old| old.about.annotations.clone()).unwrap_or_default();
    annotations.retain(|_, value| !value.is_string());
    let said = spec.metadata.annotations.iter();
    annotations.extend(said.map(|(key, text)| (key.clone(), Value::from(text.as_str()))));
    About {
        name: spec.metadata.name.clone(),
        kind: spec.r#type.clone(),
        http_only: spec.http_only,
        metadata: old.map(|old| old.about.metadata.clone()).unwrap_or_default(),
        annotations,
    }
}

fn texts(annotations: &Map<String, Value>) -> BTreeMap<String, String> {
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    annotations.iter().filter_map(text).collect()
}

fn owner(secret: &Secret) -> Option<Uuid> {
    match secret.owner {
        Owner::ServiceAccount(account) => Some(account),
        Owner::User(_) => None,
    }
}

fn names_key(account: Uuid, name: &str) -> names::Key {
    names::Key { kind: names::Kind::Secret, scope: Some(account), name: name.to_owned() }
}

//! A plan as facts: everything it does, for one transaction of the log.

use super::kinds::{self, Change as Todo};
use super::{Action, Plan, Step, Values};
use crate::app::{Change, Error};
use crate::clock::IdSource;
use crate::domain::account::{self, ApiKey, KeyCommand, ServiceAccount};
use crate::domain::inventory::{Applied, Dropped, Held, Holding, Inventory};
use crate::domain::names::{self, Names};
use crate::domain::object::Object;
use crate::domain::secret::{self, Secret};
use crate::domain::template::Render;
use crate::domain::{Entity, Event, feed};
use crate::id::{
    ApiKeyId, FeedId, ManagedAgentId, OwnedSecretId, ProjectId, RoomId, ServiceAccountId, StreamId,
};
use crate::projection::World;
use crate::spec::Kind;
use std::collections::{BTreeMap, HashMap, HashSet};
use uuid::Uuid;

mod facts;

pub use facts::{With, changes, deletion};

/// Bytes of one fact of the inventory, about; far below what the log takes.
const HELD_BYTES: usize = 256 * 1024;
/// About what a holding has beside its fields.
const HOLDING_BYTES: usize = 160;
/// Resources in one fact that they are not held any more.
const DROPPED_PER_FACT: usize = 4_000;

/// Facts in the making. What was drafted before is seen by what comes after where names are concerned.
pub struct Draft<'a> {
    world: &'a World,
    project: ProjectId,
    ids: &'a dyn IdSource,
    rendering: &'a dyn Render,
    names: BTreeMap<ProjectId, (Option<Names>, Vec<Event>)>,
    rooms: HashMap<String, RoomId>,
    agents: HashMap<String, ManagedAgentId>,
    gone: HashSet<Uuid>,
    /// What is referred to, and must not end meanwhile.
    stood_on: HashSet<Uuid>,
    /// What the plan changes.
    changed: HashSet<Uuid>,
    /// Texts of templates that it makes or changes, by name.
    templates: HashMap<String, String>,
    /// How many of a kind there are in something, with those made here.
    counts: HashMap<(Kind, Uuid), usize>,
    changes: Vec<Change>,
    accounts_gone: Vec<ServiceAccountId>,
    keys_gone: Vec<ApiKeyId>,
    values: &'a Values,
    values_in: Vec<(OwnedSecretId, Uuid, String)>,
    values_gone: Vec<(OwnedSecretId, Uuid)>,
    keys_in: Vec<NewKeyText>,
    /// Secrets as this plan has them so far.
    secrets: HashMap<OwnedSecretId, Option<Secret>>,
}

impl std::fmt::Debug for Draft<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft").field("changes", &self.changes.len()).finish_non_exhaustive()
    }
}

/// What is to be appended, and what is to be tidied up when it was.
#[derive(Debug, Default)]
pub struct Facts {
    pub changes: Vec<Change>,
    /// Accounts that end: their secrets go.
    pub accounts_gone: Vec<ServiceAccountId>,
    /// Keys that end: their secrets go.
    pub keys_gone: Vec<ApiKeyId>,
    /// Versions of secrets that begin, each with the fingerprint of its value: these go into the vault first.
    pub values_in: Vec<(OwnedSecretId, Uuid, String)>,
    /// Versions of secrets that end: their values go.
    pub values_gone: Vec<(OwnedSecretId, Uuid)>,
    /// Keys that begin: their texts are made, and go into the vault first.
    pub keys_in: Vec<NewKeyText>,
}

/// A key that begins, and the version of a secret that is its text.
#[derive(Clone, Copy, Debug)]
pub struct NewKeyText {
    pub key: ApiKeyId,
    pub secret: OwnedSecretId,
    pub version: Uuid,
}

impl<'a> Draft<'a> {
    fn new(world: &'a World, project: ProjectId, with: With<'a>) -> Self {
        Self {
            world,
            project,
            ids: with.ids,
            rendering: with.templates,
            names: BTreeMap::new(),
            rooms: HashMap::new(),
            agents: HashMap::new(),
            gone: HashSet::new(),
            stood_on: HashSet::new(),
            changed: HashSet::new(),
            templates: HashMap::new(),
            counts: HashMap::new(),
            changes: vec![],
            accounts_gone: vec![],
            keys_gone: vec![],
            values: with.values,
            values_in: vec![],
            values_gone: vec![],
            keys_in: vec![],
            secrets: HashMap::new(),
        }
    }

    #[must_use]
    pub fn world(&self) -> &'a World {
        self.world
    }

    #[must_use]
    pub fn project(&self) -> ProjectId {
        self.project
    }

    /// Facts for one stream.
    pub fn push(&mut self, stream: StreamId, events: Vec<Event>) {
        self.changes.push(Change::new(self.project, stream, events));
    }

    /// Facts for one stream, as its rules decide.
    pub fn decide<E: Entity>(
        &mut self,
        stream: StreamId,
        state: Option<&E>,
        command: E::Command,
    ) -> Result<(), Error> {
        self.push(stream, E::decide(state, command).map_err(Error::rejected)?);
        Ok(())
    }

    /// Takes a name for something.
    pub fn claim(
        &mut self,
        project: ProjectId,
        kind: names::Kind,
        scope: Option<RoomId>,
        name: &str,
        id: Uuid,
    ) -> Result<(), Error> {
        let key = names::Key { kind, scope: scope.map(RoomId::uuid), name: name.to_owned() };
        self.on_names(project, names::Command::Claim { key, id })
    }

    /// Gives a name back.
    pub fn release(
        &mut self,
        project: ProjectId,
        kind: names::Kind,
        scope: Option<RoomId>,
        name: &str,
    ) -> Result<(), Error> {
        let key = names::Key { kind, scope: scope.map(RoomId::uuid), name: name.to_owned() };
        self.on_names(project, names::Command::Release { key })
    }

    pub(super) fn on_names(&mut self, project: ProjectId, command: names::Command) -> Result<(), Error> {
        let world = self.world;
        let (state, events) = self.names.entry(project).or_insert_with(|| {
            let state = world.project(project).and_then(|view| view.names.as_ref());
            (state.map(|slot| slot.state.clone()), vec![])
        });
        for event in Names::decide(state.as_ref(), command).map_err(Error::rejected)? {
            *state = Names::evolve(state.take(), &event, chrono::DateTime::UNIX_EPOCH);
            events.push(event);
        }
        Ok(())
    }

    /// A room by its name, also one that this plan makes.
    pub fn room(&self, name: &str) -> Result<RoomId, Error> {
        let made = self.rooms.get(name).copied();
        let there = || self.world.room_named(self.project, name).map(|(id, _)| id);
        made.or_else(there).ok_or_else(|| Error::no_room(name))
    }

    /// A managed agent by its name, also one that this plan makes.
    pub fn agent(&self, name: &str) -> Result<ManagedAgentId, Error> {
        let kind = names::Kind::ManagedAgent;
        let there = || self.world.named(self.project, kind, None, name);
        let made = self.agents.get(name).copied();
        made.or_else(|| there().map(|id| ManagedAgentId::new(self.project, id)))
            .ok_or_else(|| Error::no_agent(name))
    }

    /// Whether the plan changes or deletes something by a step of its own.
    #[must_use]
    pub fn is_changed(&self, id: Uuid) -> bool {
        self.changed.contains(&id)
    }

    /// Has what is made of a template made of this text.
    pub fn keep_template(&mut self, name: &str, source: &str) {
        self.templates.insert(name.to_owned(), source.to_owned());
    }

    /// What renders templates.
    pub fn rendering(&self) -> &'a dyn Render {
        self.rendering
    }

    /// The text of a template that this plan makes or changes.
    #[must_use]
    pub fn template(&self, name: &str) -> Option<String> {
        self.templates.get(name).cloned()
    }

    /// Counts one more of a kind in something; answers how many there are with those that this plan made before it.
    pub fn count(&mut self, kind: Kind, of: Uuid, there: impl FnOnce() -> usize) -> usize {
        let count = self.counts.entry((kind, of)).or_insert_with(there);
        *count += 1;
        *count - 1
    }

    /// A feed by its name, also one that this plan makes.
    pub fn feed(&self, name: &str) -> Result<FeedId, Error> {
        let missing = || Error::rejected(feed::Refused::NotFound);
        let found = self.named(names::Kind::Feed, name);
        found.map(|id| FeedId::new(self.project, id)).ok_or_else(missing)
    }

    /// A service account by its name, also one that this plan makes.
    pub fn account(&self, name: &str) -> Result<ServiceAccountId, Error> {
        let found = self.named(names::Kind::ServiceAccount, name);
        found.map(|id| ServiceAccountId::new(self.project, id)).ok_or_else(|| Error::no_account(name))
    }

    /// What a name of the project means in this plan so far.
    fn named(&self, kind: names::Kind, name: &str) -> Option<Uuid> {
        self.drafted(&names::Key { kind, scope: None, name: name.to_owned() })
    }

    /// What a name of the project means in this plan so far.
    #[must_use]
    pub fn drafted(&self, key: &names::Key) -> Option<Uuid> {
        let kept = || self.world.project(self.project)?.names.as_ref().map(|slot| &slot.state);
        let names = match self.names.get(&self.project) {
            Some((drafted, _)) => drafted.as_ref(),
            None => kept(),
        };
        names?.get(key.kind, key.scope, &key.name)
    }

    /// An identifier that nothing has.
    #[must_use]
    pub fn fresh(&self) -> Uuid {
        self.ids.fresh()
    }

    /// Whether this plan deleted something already.
    #[must_use]
    pub fn is_gone(&self, id: Uuid) -> bool {
        self.gone.contains(&id)
    }

    /// What becomes of a secret; what was drafted of it before is seen.
    pub fn on_secret(&mut self, id: OwnedSecretId, command: secret::Command) -> Result<(), Error> {
        let world = self.world;
        let state = self.secrets.entry(id).or_insert_with(|| world.secret(id).cloned());
        let events = Secret::decide(state.as_ref(), command).map_err(Error::rejected)?;
        for event in &events {
            *state = Secret::evolve(state.take(), event, chrono::DateTime::UNIX_EPOCH);
            if let Event::SecretDeclared(declared) = event {
                self.values_gone.extend(declared.dropped.iter().map(|version| (id, *version)));
            }
        }
        self.push(id.stream(), events);
        Ok(())
    }

    /// Has the text of a key made, and kept as a version of a secret.
    pub fn make_key(&mut self, key: ApiKeyId, secret: OwnedSecretId, version: Uuid) {
        self.keys_in.push(NewKeyText { key, secret, version });
    }

    /// Has the secret of a key forgotten.
    pub fn forget_key(&mut self, key: ApiKeyId) {
        self.keys_gone.push(key);
    }

    /// Whether the value of a fingerprint came with the documents.
    #[must_use]
    pub fn has_value(&self, fingerprint: &str) -> bool {
        self.values.get(fingerprint).is_some()
    }

    /// Has the value of a fingerprint kept as a new version of a secret, and answers its id.
    pub fn keep_value(&mut self, of: OwnedSecretId, fingerprint: &str) -> Uuid {
        let version = self.ids.fresh();
        self.values_in.push((of, version, fingerprint.to_owned()));
        version
    }

    /// Has the values of versions that end forgotten.
    pub fn forget_values(&mut self, of: OwnedSecretId, versions: impl IntoIterator<Item = Uuid>) {
        self.values_gone.extend(versions.into_iter().map(|version| (of, version)));
    }

    /// Ends an account with its keys.
    pub fn delete_account(&mut self, id: ServiceAccountId) -> Result<(), Error> {
        let account = self.world.account(id).ok_or_else(|| Error::no_account(&id.to_string()))?;
        let gone =
            ServiceAccount::decide(Some(account), account::Command::Delete).map_err(Error::rejected)?;
        self.release(self.project, names::Kind::ServiceAccount, None, &account.profile.name)?;
        self.push(id.stream(), gone);
        let ended = self.keys_gone.clone();
        let keys =
            self.world.keys(self.project).filter(|(key, state)| state.account == id && !ended.contains(key));
        for (key, state) in keys {
            let revoked = ApiKey::decide(Some(state), KeyCommand::Revoke).map_err(Error::rejected)?;
            self.push(key.stream(), revoked);
            self.keys_gone.push(key);
        }
        self.accounts_gone.push(id);
        Ok(())
    }

    /// Deletes a resource with what is in it; once, however often it is asked for.
    fn delete(&mut self, kind: Kind, id: Uuid) -> Result<(), Error> {
        let Some(resource) = kinds::resource(kind) else { return Ok(()) };
        for (kind, id) in resource.contents(self.world, self.project, id) {
            self.delete(kind, id)?;
        }
        if self.gone.insert(id) { resource.change(self, Todo::Delete { id }) } else { Ok(()) }
    }

    /// What clients of Kubernetes keep of a resource, where that changes.
    fn note(&mut self, kind: Kind, id: Uuid, object: &Object) {
        let Some(resource) = kinds::resource(kind) else { return };
        let known = self.world.project(self.project).and_then(|view| view.objects.get(&id));
        if known.map_or_else(|| object.is_plain(), |known| known == object) {
            return;
        }
        self.push(resource.stream(self.project, id), vec![Event::ObjectNoted(object.clone())]);
    }

    /// Creates or updates; answers the id of the resource, where there is one then.
    fn step(&mut self, step: &Step) -> Result<Option<Uuid>, Error> {
        let Some(resource) = kinds::resource(step.key.kind) else { return Ok(None) };
        let (key, document) = (&step.key, &step.wanted);
        match step.action {
            Action::Create | Action::Replace => {
                let id = self.ids.fresh();
                if key.kind == Kind::Room {
                    self.rooms.insert(key.name.clone(), RoomId::new(self.project, id));
                }
                if key.kind == Kind::ManagedAgent {
                    self.agents.insert(key.name.clone(), ManagedAgentId::new(self.project, id));
                }
                resource.change(self, Todo::Create { id, key, document })?;
                Ok(Some(id))
            }
            Action::Update => {
                if let Some(id) = step.id {
                    resource.change(self, Todo::Update { id, key, document })?;
                }
                Ok(step.id)
            }
            Action::Delete => Ok(None),
            Action::Unchanged => Ok(step.id),
        }
    }

    /// What a step's document refers to must not end at the same moment.
    fn stands_on(&mut self, step: &Step) {
        let resource = kinds::resource(step.key.kind);
        let named = resource.map(|resource| resource.references(&step.wanted)).unwrap_or_default();
        let room = step.key.room.as_ref().map(|room| kinds::Key::new(Kind::Room, None, room.as_str()));
        for key in named.into_iter().map(|reference| reference.key).chain(room) {
            let Some((resource, kind)) = kinds::resource(key.kind).zip(names::Kind::of(key.kind)) else {
                continue;
            };
            // Scoped names are of things that go with what they are in.
            let id = self.world.named(kind.holder(self.project), kind, None, &key.name);
            let Some(id) = id.filter(|id| !self.gone.contains(id) && self.stood_on.insert(*id)) else {
                continue;
            };
            self.changes.push(Change::stands(self.project, resource.stream(self.project, id)));
        }
    }

    fn names_last(&mut self) {
        for (project, (_, events)) in std::mem::take(&mut self.names) {
            self.changes.push(Change::new(project, Names::stream(project), events));
        }
    }

    fn facts(self) -> Facts {
        let Self { changes, accounts_gone, keys_gone, values_in, values_gone, keys_in, .. } = self;
        Facts { changes, accounts_gone, keys_gone, values_in, values_gone, keys_in }
    }

    fn finish(mut self, plan: &Plan, held: Vec<Holding>, dropped: &[Uuid]) -> Facts {
        self.names_last();
        let mut facts = vec![];
        for chunk in dropped.chunks(DROPPED_PER_FACT) {
            let resources = chunk.to_vec();
            facts.push(Event::InventoryDropped(Dropped { source: plan.source.clone(), resources }));
        }
        for (source, holdings) in &plan.taken {
            facts.extend(in_portions(source, None, holdings.clone()));
        }
        facts.extend(in_portions(&plan.source, plan.revision.as_ref(), held));
        if plan.changes_anything() || !facts.is_empty() {
            let summary = plan.summary;
            let applied = Applied {
                source: plan.source.clone(),
                plan: plan.hash.clone(),
                base: plan.base,
                created: summary.create,
                updated: summary.update,
                replaced: summary.replace,
                deleted: summary.delete,
                unchanged: summary.unchanged,
            };
            facts.insert(0, Event::InventoryApplied(applied));
            // What was asked for stands before what came of it.
            self.changes.insert(0, Change::new(self.project, Inventory::stream(self.project), facts));
        }
        self.facts()
    }
}

/// Holdings as facts of a bounded size.
fn in_portions(source: &str, revision: Option<&String>, holdings: Vec<Holding>) -> Vec<Event> {
    let mut facts = vec![];
    let (mut portion, mut bytes) = (vec![], 0);
    let fact = |resources| {
        let (source, revision) = (source.to_owned(), revision.cloned());
        Event::InventoryHeld(Held { source, revision, resources })
    };
    for holding in holdings {
        let size = HOLDING_BYTES + holding.fields.iter().map(|field| field.len() + 3).sum::<usize>();
        if bytes + size > HELD_BYTES && !portion.is_empty() {
            facts.push(fact(std::mem::take(&mut portion)));
            bytes = 0;
        }
        bytes += size;
        portion.push(holding);
    }
    if !portion.is_empty() {
        facts.push(fact(portion));
    }
    facts
}

//! Documents and state in, plan or problems out.

mod prune;

use super::fields::{diff, shown};
use super::holdings::{self, own_fields};
use super::kinds::{self, Home, KINDS, Key, Reference, Resource};
use super::order;
use super::problem::{Code, PROBLEMS_MAX, Problem, Problems, unreadable};
use super::{Action, Asked, DEPENDS_ON, DOCUMENTS_MAX, Ground, Plan, Request, Step, is_source, short_hash};
use crate::domain::inventory::{Holding, Inventory};
use crate::spec::{self, Kind, nearest};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use uuid::Uuid;

/// What would have to be done so that everything is as the documents say; or all that is in the way.
pub fn plan(ground: &Ground<'_>, request: &Request) -> Result<Plan, Problems> {
    let mut planner = Planner::new(ground, request)?;
    let read = planner.read();
    planner.resolve(&read);
    let mut steps = planner.steps(&read);
    let dropped = planner.prune(&read, &mut steps);
    let planned = read.iter().map(|one| (one.index, &one.key, one.references.as_slice()));
    let nodes = order::nodes(planned);
    match order::sorted(&nodes) {
        Ok(places) => arrange(&mut steps, &places),
        Err(problem) => planner.problems.push(problem),
    }
    if planner.problems.is_empty() {
        let mut plan = Plan::new(&request.source, ground.world.position, steps);
        plan.taken = planner.taken;
        plan.dropped = dropped.into_iter().chain(planner.released).collect();
        plan.object.clone_from(&request.object);
        return Ok(plan);
    }
    Err(Problems::new(planner.problems))
}

/// Puts the first steps, one per document, into this order; what is pruned stays behind them.
fn arrange(steps: &mut Vec<Step>, places: &[usize]) {
    let rest = steps.split_off(places.len().min(steps.len()));
    let mut slots: Vec<Option<Step>> = std::mem::take(steps).into_iter().map(Some).collect();
    steps.extend(places.iter().filter_map(|place| slots.get_mut(*place).and_then(Option::take)));
    steps.extend(rest);
}

/// One document, looked at.
struct Read<'a> {
    index: usize,
    resource: &'static dyn Resource,
    key: Key,
    value: &'a Value,
    digest: String,
    references: Vec<Reference>,
    /// As its type has it; none where the document is the same as last time.
    wanted: Option<Value>,
}

struct Planner<'a> {
    ground: &'a Ground<'a>,
    request: &'a Request,
    inventory: Inventory,
    /// Everything that is there.
    known: HashMap<Key, Uuid>,
    /// What the documents are about; only looked for where one declares what it needs, which is rare.
    asked: OnceCell<HashSet<Key>>,
    problems: Vec<Problem>,
    taken: BTreeMap<String, Vec<Holding>>,
    /// What the source is to hold nothing of any more.
    released: Vec<Uuid>,
}

/// What a document is about: its kind, its name, and its room where its kind has one. `room` is for those that do not
/// say theirs.
fn key_of(ground: &Ground<'_>, resource: &dyn Resource, value: &Value, room: Option<&str>) -> Key {
    let written = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let said = Some(written("/metadata/annotations/meshagent.room")).filter(|room| !room.is_empty()).or(room);
    let room = match resource.home() {
        Home::Project => None,
        Home::Room | Home::RoomOrProject => said.map(str::to_owned),
    };
    let name = resource.named(ground.world, ground.project, written(resource.name_at()));
    Key::new(resource.kind(), room, name)
}

impl<'a> Planner<'a> {
    fn new(ground: &'a Ground<'a>, request: &'a Request) -> Result<Self, Problems> {
        let refuse = |message: String| {
            let code = Code::Invalid;
            let (kind, name) = ("source".to_owned(), request.source.clone());
            let path = String::new();
            let holder = None;
            Problems::new(vec![Problem {
                code,
                document: None,
                kind,
                name,
                path,
                message,
                hint: None,
                holder,
            }])
        };
        if !is_source(&request.source) {
            return Err(refuse("a source is named by letters, digits and -_./:@, at most 128".to_owned()));
        }
        if request.documents.len() > DOCUMENTS_MAX {
            let got = request.documents.len();
            return Err(refuse(format!("{got} documents, at most {DOCUMENTS_MAX} are applied at once")));
        }
        let all = KINDS.iter().flat_map(|resource| resource.all(ground.world, ground.project));
        Ok(Self {
            ground,
            request,
            inventory: ground.world.inventory(ground.project).cloned().unwrap_or_default(),
            known: all.map(|(id, key)| (key, id)).collect(),
            asked: OnceCell::new(),
            problems: vec![],
            taken: BTreeMap::new(),
            released: vec![],
        })
    }

    /// Reads every document; what cannot be read is a problem.
    fn read(&mut self) -> Vec<Read<'a>> {
        let mut first: HashMap<Key, usize> = HashMap::new();
        let mut all = vec![];
        for (index, value) in self.request.documents.iter().enumerate() {
            let read = match self.read_one(index, value) {
                Ok(read) => read,
                Err(problems) => {
                    self.problems.extend(problems);
                    continue;
                }
            };
            if let Some(earlier) = first.get(&read.key) {
                let text = format!("document {} is about {} too", earlier + 1, read.key);
                let problem = Problem::of(Code::Duplicate, Some(index), &read.key, text);
                self.problems.push(problem.hint("give one of them another name, or remove it"));
                continue;
            }
            first.insert(read.key.clone(), index);
            all.push(read);
        }
        all
    }

    fn read_one(&self, index: usize, value: &'a Value) -> Result<Read<'a>, Vec<Problem>> {
        let written = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let kind_text = written("/kind");
        let found = Kind::from_text(kind_text);
        let Some(resource) = found.and_then(kinds::resource) else {
            return Err(unreadable(index, kind_text, written("/metadata/name"), value));
        };
        let name = written(resource.name_at());
        let key = key_of(self.ground, resource, value, self.request.room.as_deref());
        if let Some(missing) = self.ground.values.missing(index) {
            return Err(vec![missing.problem(index, &key)]);
        }
        let exact = self.request.exact.is_some();
        let digest = if exact { String::new() } else { digest(value, key.room.as_deref()) };
        if !exact && self.is_as_applied(resource, &key, &digest) {
            return Ok(Read { index, resource, key, value, digest, references: vec![], wanted: None });
        }
        let of_spec = |problem| Problem::of_spec(index, kind_text, name, problem);
        let document = spec::document_from_json(value.clone())
            .map_err(|problems| problems.into_iter().map(of_spec).collect::<Vec<_>>())?;
        let wanted = resource.plain(kinds::document_of(&document));
        self.named(index, resource, &key)?;
        let references = self.references(index, resource, &key, &wanted)?;
        Ok(Read { index, resource, key, value, digest, references, wanted: Some(wanted) })
    }

    /// What lives somewhere says where, and by which name.
    fn named(&self, index: usize, resource: &dyn Resource, key: &Key) -> Result<(), Vec<Problem>> {
        let problem = |text: &str| Problem::of(Code::Invalid, Some(index), key, text);
        if key.name.is_empty() {
            let problem = problem("it has no name, and each apply would make another").at("metadata.name");
            return Err(vec![problem.hint("give it `metadata.name`")]);
        }
        if resource.home() == Home::Room && key.room.is_none() {
            let problem = problem("it belongs to a room and does not say to which");
            return Err(vec![problem.hint("pass --room ROOM or annotate it with `meshagent.room`")]);
        }
        Ok(())
    }

    fn references(
        &self,
        index: usize,
        resource: &dyn Resource,
        key: &Key,
        wanted: &Value,
    ) -> Result<Vec<Reference>, Vec<Problem>> {
        let mut references = resource.references(wanted);
        if let Some(room) = &key.room {
            let path = order::ROOM_PATH.to_owned();
            references.push(Reference { path, key: Key::new(Kind::Room, None, room.as_str()) });
        }
        let known = |key: &Key| self.known.contains_key(key) || self.is_asked_for(key);
        match order::declared(wanted, key, known) {
            Ok(more) => references.extend(more),
            Err(text) => {
                let problem = Problem::of(Code::Reference, Some(index), key, text).at("metadata.annotations");
                return Err(vec![problem.hint(format!("write `{DEPENDS_ON}: kind/name, kind/name`"))]);
            }
        }
        Ok(references)
    }

    /// Whether a document is about this resource.
    fn is_asked_for(&self, key: &Key) -> bool {
        self.asked.get_or_init(|| self.keys()).contains(key)
    }

    /// What the documents are about.
    fn keys(&self) -> HashSet<Key> {
        let key = |value: &Value| {
            let kind = value.pointer("/kind").and_then(Value::as_str).and_then(Kind::from_text)?;
            Some(key_of(self.ground, kinds::resource(kind)?, value, self.request.room.as_deref()))
        };
        self.request.documents.iter().filter_map(key).collect()
    }

    /// The very same document was applied by this source last, and nothing changed since.
    fn is_as_applied(&self, resource: &dyn Resource, key: &Key, digest: &str) -> bool {
        let Some(id) = self.known.get(key) else { return false };
        let Some(share) = self.inventory.share(*id, &self.request.source) else { return false };
        let now = || resource.generation(self.ground.world, self.ground.project, *id);
        share.digest == digest && now() == Some(share.generation)
    }

    /// Everything that documents need is there, or is among them.
    fn resolve(&mut self, read: &[Read<'_>]) {
        let asked: HashSet<&Key> = read.iter().map(|one| &one.key).collect();
        let mut problems = vec![];
        for one in read {
            for reference in &one.references {
                if self.known.contains_key(&reference.key) || asked.contains(&reference.key) {
                    continue;
                }
                let names = self.known.keys().chain(asked.iter().copied());
                let same = names.filter(|key| key.kind == reference.key.kind).map(|key| key.name.as_str());
                let text = format!("there is no {}", named(&reference.key));
                let problem =
                    Problem::of(Code::Reference, Some(one.index), &one.key, text).at(&reference.path);
                // No more are shown.
                let near =
                    if problems.len() < PROBLEMS_MAX { nearest(&reference.key.name, same) } else { None };
                problems.push(match near {
                    Some(near) => problem.hint(format!("did you mean `{near}`?")),
                    None => problem.hint("add a document for it, or make it first"),
                });
            }
        }
        self.problems.extend(problems);
    }

    /// One step per document, in their order.
    fn steps(&mut self, read: &[Read<'_>]) -> Vec<Step> {
        let wanted = read.iter().filter_map(|one| Some((&one.key, one.wanted.as_ref()?)));
        let asked = Asked { going: self.going(read), force: self.request.force, ..Asked::of(wanted) };
        read.iter().map(|one| self.step(one, &asked)).collect()
    }

    fn step(&mut self, one: &Read<'_>, asked: &Asked) -> Step {
        let (world, project) = (self.ground.world, self.ground.project);
        let id = self.known.get(&one.key).copied();
        let mut step = Step {
            action: Action::Unchanged,
            key: one.key.clone(),
            document: Some(one.index),
            changes: vec![],
            note: None,
            id,
            generation: id.and_then(|id| one.resource.generation(world, project, id)).unwrap_or_default(),
            wanted: Value::Null,
            holding: None,
        };
        let Some(mut wanted) = one.wanted.clone() else { return step };
        let found = id.and_then(|id| one.resource.read(world, project, id));
        one.resource.settle(world, project, &mut wanted);
        if let Some(found) = &found {
            holdings::keep_unsaid(one.resource, &found.document, &mut wanted);
        }
        let own = || own_fields(&one.resource.plain(one.value.clone()));
        let fields = self.request.exact.clone().unwrap_or_else(own);
        step.action = match (id, &found) {
            (Some(id), Some(found)) => {
                self.heed_others(one, id, &found.document, &mut wanted, &fields);
                step.changes = diff(&found.document, &wanted);
                self.difference(one, &found.document, &wanted)
            }
            _ => Action::Create,
        };
        // What other sources hold of it is in it now.
        let checked = one.resource.check(&Ground { asked, ..*self.ground }, &one.key, &wanted, id);
        self.problems
            .extend(checked.into_iter().map(|problem| Problem { document: Some(one.index), ..problem }));
        let generation = match step.action {
            Action::Update => step.generation + 1,
            Action::Create | Action::Replace => 1,
            Action::Unchanged | Action::Delete => step.generation,
        };
        let held = id.and_then(|id| self.inventory.share(id, &self.request.source));
        if step.action == Action::Unchanged && held.is_none() && !step.generation.eq(&0) {
            step.note = Some(format!("now held by `{}`", self.request.source));
        }
        let same = held.is_some_and(|share| {
            share.fields == fields && share.digest == one.digest && share.generation == generation
        });
        let holds_nothing = self.request.exact.is_some() && fields.is_empty();
        let lets_go = holds_nothing && self.request.object.is_none();
        if let (true, Some(id), true) = (lets_go, id, held.is_some()) {
            self.released.push(id);
        } else if !same && !(holds_nothing && held.is_none()) {
            let (kind, digest) = (one.key.kind, one.digest.clone());
            step.holding = Some(Holding { id: id.unwrap_or_default(), kind, fields, digest, generation });
        }
        step.wanted = wanted;
        step
    }

    fn heed_others(&mut self, one: &Read<'_>, id: Uuid, is: &Value, wanted: &mut Value, fields: &[String]) {
        let request = self.request;
        let of = (id, &one.key, request.source.as_str());
        let ours = (fields, request.force);
        let others = match &request.exact {
            Some(_) => holdings::reconcile_exact(&self.inventory, of, is, wanted, ours),
            None => holdings::reconcile(&self.inventory, of, is, wanted, ours),
        };
        let placed = |problem| Problem { document: Some(one.index), ..problem };
        self.problems.extend(others.conflicts.into_iter().map(placed));
        for (source, holding) in others.taken {
            self.taken.entry(source).or_default().push(holding);
        }
    }

    /// How a resource gets from what it is to what is wanted.
    fn difference(&mut self, one: &Read<'_>, is: &Value, wanted: &Value) -> Action {
        if is == wanted {
            return Action::Unchanged;
        }
        let fixed = one.resource.immutable().iter();
        let differing: Vec<&&str> =
            fixed.filter(|field| is.pointer(field) != wanted.pointer(field)).collect();
        if differing.is_empty() {
            return Action::Update;
        }
        if !self.request.replace {
            for field in differing {
                let text = "this field cannot be changed in place";
                let problem = Problem::of(Code::Immutable, Some(one.index), &one.key, text).at(shown(field));
                let hint = "put it back, or delete and make the resource anew with --replace";
                self.problems.push(problem.hint(hint));
            }
        }
        Action::Replace
    }
}

/// `room `x``, with the room it would be in.
fn named(key: &Key) -> String {
    let room = key.room.as_ref().map(|room| format!(" in room `{room}`")).unwrap_or_default();
    format!("{} `{}`{room}", key.kind.slug(), key.name)
}

/// The digest of a document as this version reads it.
fn digest(value: &Value, room: Option<&str>) -> String {
    let mut hash = Sha256::new();
    hash.update(env!("CARGO_PKG_VERSION"));
    hash.update(room.unwrap_or_default());
    hash.update([0]);
    hash.update(serde_json::to_vec(value).unwrap_or_default());
    short_hash(hash)
}

//! From documents to a plan: what would be created, changed, replaced, deleted, and why that cannot be.
//!
//! Pure: a plan follows from the documents and one [`World`]. It knows no clock, no log and no edge. `kinds` is the table
//! of what can be applied, `planner` compares, `order` sorts by dependence, `draft` turns a plan into facts.

mod draft;
mod fields;
mod holdings;
pub mod kinds;
mod order;
mod planner;
mod problem;
mod values;

pub use draft::{Draft, Facts, NewKeyText, With, changes, deletion};
pub use fields::{FieldChange, at, diff, put};
pub use holdings::own_fields;
pub(super) use kinds::secret::without_lost_value;
pub use kinds::{Found, KINDS, Key, Reference, Resource, resource};
pub use planner::plan;
pub use problem::{Code, Problem, Problems};
pub use values::{Missing, Values};

use crate::app::Settings;
use crate::domain::inventory::Holding;
use crate::domain::object::Object;
use crate::id::{Position, ProjectId};
use crate::projection::World;
use crate::spec::Kind;
use crate::vault;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use uuid::Uuid;

/// Most documents of one plan.
pub const DOCUMENTS_MAX: usize = 20_000;
/// Longest name of a source, bytes.
pub const SOURCE_BYTES_MAX: usize = 128;
/// The source of those who name none.
pub const SOURCE_DEFAULT: &str = "cli";
/// The source that holds the annotations of those who pause by hand. It keeps nothing alive.
pub const PAUSE: &str = "pause";
/// Annotation of any document: what has to be there before it, as `kind/name`, separated by commas.
pub const DEPENDS_ON: &str = "meshagent.depends-on";

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Who keeps the documents: a repository, a pipeline, a person.
    pub source: String,
    pub documents: Vec<Value>,
    /// Values of secrets, by the index of the document whose `value_from` they are read for.
    pub values: BTreeMap<usize, vault::Secret>,
    /// Room of the documents that live in one and do not say theirs.
    pub room: Option<String>,
    /// Delete what this source applied before and has no document any more.
    pub prune: bool,
    /// Take fields that other sources hold, and prune rooms with what others put in them.
    pub force: bool,
    /// Delete and make anew what cannot be changed in place.
    pub replace: bool,
    /// What pruning lets go of and does not delete.
    pub spared: BTreeSet<Uuid>,
    /// The only document is all that the resource is to be, and the source holds just these fields of it then, as
    /// [`own_fields`] names them. Fields that change are taken from other sources; those of them that are named here
    /// by `force` only.
    pub exact: Option<Vec<String>>,
    /// What clients of Kubernetes keep of the resource of the only document; none leaves that as it is.
    pub object: Option<Object>,
}

/// What the plan stands on.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    pub world: &'a World,
    pub project: ProjectId,
    /// What the operator chose.
    pub settings: &'a Settings,
    /// Values of secrets that came with the documents.
    pub values: &'a Values,
    /// What others among the documents are to be.
    pub asked: &'a Asked,
}

/// What documents are to be, for those that are made of them.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Texts of templates, by name.
    pub templates: BTreeMap<String, String>,
    /// The instances among them.
    pub instances: BTreeSet<Key>,
    /// By account and name of a secret: who among them gives it a value.
    pub writers: BTreeMap<(String, String), Vec<Key>>,
    /// What goes with the same plan.
    pub going: BTreeSet<Uuid>,
    /// What others hold may be taken.
    pub force: bool,
    /// Whether what roles may do in rooms is a document of its own.
    pub room_roles: bool,
}

impl Asked {
    fn of<'a>(documents: impl Iterator<Item = (&'a Key, &'a Value)>) -> Self {
        let mut asked = Self::default();
        for (key, wanted) in documents {
            if key.kind == Kind::ServiceTemplate {
                asked.templates.extend(kinds::template_source(wanted));
            } else if key.kind == Kind::RoomRoles {
                asked.room_roles = true;
            } else if key.kind == Kind::ServiceInstance {
                asked.instances.insert(key.clone());
            }
            if let Some(secret) = kinds::written_secret(key, wanted) {
                asked.writers.entry(secret).or_default().push(key.clone());
            }
        }
        asked
    }
}

/// What becomes of one resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Create,
    Update,
    /// Deleted and made anew: what differs cannot be changed in place.
    Replace,
    Delete,
    Unchanged,
}

/// What became of a resource.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "created",
            Self::Update => "configured",
            Self::Replace => "replaced",
            Self::Delete => "deleted",
            Self::Unchanged => "unchanged",
        })
    }
}

/// One resource of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    pub action: Action,
    #[serde(flatten)]
    pub key: Key,
    /// Index of its document; none for what is pruned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FieldChange>,
    /// What is worth knowing beside, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// None for what does not exist yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// Of the resource when the plan was made; 0 for what does not exist yet.
    pub generation: u64,
    /// What it is to be.
    #[serde(skip)]
    pub wanted: Value,
    /// What the source holds of it then; none where that stays as it is.
    #[serde(skip)]
    pub holding: Option<Holding>,
}

/// How many resources of each action.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Summary {
    pub create: usize,
    pub update: usize,
    pub replace: usize,
    pub delete: usize,
    pub unchanged: usize,
}

/// All that would be done, in order.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    pub source: String,
    /// Same plan, same hash: give it to `apply` to have only this done.
    pub hash: String,
    pub base: Position,
    pub summary: Summary,
    pub steps: Vec<Step>,
    /// What other sources hold after fields were taken from them.
    #[serde(skip)]
    pub taken: BTreeMap<String, Vec<Holding>>,
    /// What this source does not hold any more.
    #[serde(skip)]
    pub dropped: Vec<Uuid>,
    /// The commit that the documents are of, where they are of one.
    #[serde(skip)]
    pub revision: Option<String>,
    /// As [`Request::object`].
    #[serde(skip)]
    pub object: Option<Object>,
}

impl Plan {
    fn new(source: &str, base: Position, steps: Vec<Step>) -> Self {
        let mut plan = Self {
            source: source.to_owned(),
            hash: String::new(),
            base,
            summary: Summary::of(&steps),
            steps,
            taken: BTreeMap::new(),
            dropped: vec![],
            revision: None,
            object: None,
        };
        plan.hash = plan.fingerprint();
        plan
    }

    /// One resource deleted, with what is in it; whoever holds it.
    #[must_use]
    pub fn deletion(source: &str, base: Position, key: Key, id: Uuid, generation: u64) -> Self {
        let (changes, wanted, id) = (vec![], Value::Null, Some(id));
        let (action, document, note, holding) = (Action::Delete, None, None, None);
        let step = Step { action, key, document, changes, note, id, generation, wanted, holding };
        let mut plan = Self::new(source, base, vec![step]);
        plan.dropped.extend(id);
        plan
    }

    /// Whether resources would change.
    #[must_use]
    pub fn changes_anything(&self) -> bool {
        let Summary { create, update, replace, delete, .. } = self.summary;
        create + update + replace + delete > 0
    }

    /// Over everything that would be done, and what it would be done to. Not over what stays as it is.
    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.source.as_bytes());
        for step in self.steps.iter().filter(|step| step.action != Action::Unchanged) {
            for text in [serde_json::to_vec(step), serde_json::to_vec(&step.wanted)] {
                let text = text.unwrap_or_default();
                hash.update((text.len() as u64).to_be_bytes());
                hash.update(text);
            }
        }
        short_hash(hash)
    }
}

impl Summary {
    fn of(steps: &[Step]) -> Self {
        let mut summary = Self::default();
        for step in steps {
            *match step.action {
                Action::Create => &mut summary.create,
                Action::Update => &mut summary.update,
                Action::Replace => &mut summary.replace,
                Action::Delete => &mut summary.delete,
                Action::Unchanged => &mut summary.unchanged,
            } += 1;
        }
        summary
    }
}

/// Bytes of a hash that are shown.
const HASH_BYTES: usize = 16;

fn short_hash(hash: Sha256) -> String {
    hex::encode(&hash.finalize()[..HASH_BYTES])
}

/// Whether a text can name a source.
#[must_use]
pub fn is_source(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '@');
    !text.is_empty() && text.len() <= SOURCE_BYTES_MAX && text.chars().all(plain)
}

/// Everything that a resource needs: what its kind says, its room, and what it declares itself.
pub fn references(found: &Found, known: impl Fn(&Key) -> bool) -> Vec<Reference> {
    let own = resource(found.key.kind).map(|resource| resource.references(&found.document));
    let mut references = own.unwrap_or_default();
    if let Some(room) = &found.key.room {
        references.push(Reference {
            path: order::ROOM_PATH.to_owned(),
            key: Key::new(Kind::Room, None, room.as_str()),
        });
    }
    references.extend(order::declared(&found.document, &found.key, known).unwrap_or_default());
    references
}

/// The kinds that documents of resources can have, as text.
pub(crate) fn kind_names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|resource| Kind::as_str(resource.kind()))
}

//! One object and the server, brought together. Takes no argument about what changed: the path after a crash is the path
//! after a change.

use super::health::{Health, Outcome};
use super::mesh::Mesh;
use super::names::{self, FIELD_MANAGER, FINALIZER, FORCE, ON_DELETE, SUSPEND};
use super::status::{self, Look, Verdict};
use crate::app::plan::Resource;
use crate::client::rest::{Plan, PlanProblem, PlanRequest, Refusal, RestError};
use crate::clock::Clock;
use crate::crd::convert;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Api, Resource as _, ResourceExt};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// First wait after a failure; the next is twice as long.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// Longest wait after failures.
const BACKOFF_MAX: Duration = Duration::from_mins(5);
/// How often something on its way is looked at, besides when the server tells of it.
const PROGRESS_EVERY: Duration = Duration::from_secs(15);
/// How often everything is looked at, besides when somebody tells of it.
const RESYNC_EVERY: Duration = Duration::from_mins(10);
/// Longest text of an event, bytes.
const NOTE_BYTES_MAX: usize = 1000;
/// Problems that a status spells out.
const PROBLEMS_SHOWN: usize = 5;

/// What all objects share.
#[derive(Clone)]
pub struct Shared {
    pub client: kube::Client,
    pub mesh: Arc<dyn Mesh>,
    /// Name of this cluster among those that one server serves.
    pub cluster: String,
    pub recorder: Recorder,
    pub clock: Arc<dyn Clock>,
    pub health: Arc<Health>,
}

/// The work on the objects of one kind.
pub struct Work {
    pub shared: Shared,
    pub resource: &'static dyn Resource,
    pub api: ApiResource,
    /// Failures in a row, by object.
    failures: Mutex<HashMap<String, u32>>,
}

/// The cluster did not take what was written to it. What the server says is in the status, and no error here.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to the cluster: {0}")]
pub struct ClusterError(#[from] kube::Error);

impl Work {
    pub fn new(shared: Shared, resource: &'static dyn Resource) -> Self {
        let api = names::api_resource(resource.kind());
        Self { shared, resource, api, failures: Mutex::default() }
    }

    /// Name of the source that an object is.
    pub fn source(&self, object: &DynamicObject) -> String {
        let namespace = object.namespace().unwrap_or_default();
        names::source(&self.shared.cluster, &namespace, self.resource.kind(), &object.name_any())
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, HashMap<String, u32>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long to wait after one more failure: longer each time, not all at once, and never too long.
    fn backoff(&self, object: &DynamicObject) -> Duration {
        let mut failures = self.failures();
        let key = key(object);
        let count = failures.entry(key.clone()).or_insert(0);
        let wait = BACKOFF_FIRST.saturating_mul(1 << (*count).min(16)).min(BACKOFF_MAX);
        *count = count.saturating_add(1);
        jittered(wait, &key, *count)
    }

    fn succeeded(&self, object: &DynamicObject) {
        self.failures().remove(&key(object));
    }

    /// What to do after the cluster refused a write.
    pub fn after_error(&self, object: &DynamicObject) -> Action {
        Action::requeue(self.backoff(object))
    }
}

fn key(object: &DynamicObject) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// Up to a quarter more, another for each object.
fn jittered(wait: Duration, key: &str, salt: u32) -> Duration {
    let mut hasher = DefaultHasher::new();
    (key, salt).hash(&mut hasher);
    let share = u32::try_from(hasher.finish() % 256).unwrap_or_default();
    wait + wait / 1024 * share
}

/// What became of a write to an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrote {
    Done,
    /// Somebody else changed the object in between: it is looked at again.
    Changed,
    /// There is no such object any more.
    Gone,
}

/// Brings an object and the server together.
pub async fn reconcile(object: Arc<DynamicObject>, work: Arc<Work>) -> Result<Action, ClusterError> {
    let mut one = One::new(&object, &work);
    if object.meta().deletion_timestamp.is_some() {
        return one.delete().await;
    }
    if object.annotations().get(SUSPEND).is_some_and(|text| text == "true") {
        return Ok(Action::await_change());
    }
    one.apply().await
}

/// The work on one object.
struct One<'a> {
    object: &'a DynamicObject,
    work: &'a Work,
    api: Api<DynamicObject>,
    source: String,
    /// The status as it was written last.
    status: Value,
}

impl<'a> One<'a> {
    fn new(object: &'a DynamicObject, work: &'a Work) -> Self {
        let client = work.shared.client.clone();
        let namespace = object.namespace().unwrap_or_default();
        Self {
            object,
            work,
            api: Api::namespaced_with(client, &namespace, &work.api),
            source: work.source(object),
            status: object.data.get("status").cloned().unwrap_or_default(),
        }
    }

    fn generation(&self) -> i64 {
        self.object.meta().generation.unwrap_or_default()
    }

    fn is_noted(&self, annotation: &str, value: &str) -> bool {
        self.object.annotations().get(annotation).is_some_and(|text| text == value)
    }

    fn request(&self, documents: Vec<Value>) -> PlanRequest {
        PlanRequest {
            values: BTreeMap::default(),
            documents,
            source: self.source.clone(),
            prune: true,
            force: self.is_noted(FORCE, "true"),
            ..PlanRequest::default()
        }
    }

    async fn apply(&mut self) -> Result<Action, ClusterError> {
        if !self.object.finalizers().iter().any(|name| name == FINALIZER) {
            let mut names = self.object.finalizers().to_vec();
            names.push(FINALIZER.to_owned());
            match self.write_finalizers(&names).await? {
                Wrote::Done => {}
                Wrote::Changed => return Ok(Action::requeue(BACKOFF_FIRST)),
                // It was deleted before anything came of it.
                Wrote::Gone => return Ok(Action::await_change()),
            }
        }
        let known = self.status["observedGeneration"] == self.generation();
        if !known {
            self.write(&Verdict::Begun).await?;
        }
        let spec = self.object.data.get("spec").cloned().unwrap_or_default();
        let (verdict, told) = match convert::to_document(self.work.resource, &self.object.name_any(), &spec) {
            Ok(document) => self.ask(document, known).await,
            Err(error) => (Verdict::Refused(error.to_string()), None),
        };
        self.conclude(&verdict, told).await
    }

    /// Has the server make it as the document says; what it is then, and what is worth telling.
    async fn ask(&self, document: Value, known: bool) -> (Verdict, Option<Told>) {
        let (room, name) = convert::key_of(self.work.resource, &document);
        let mesh = &self.work.shared.mesh;
        let plan = match mesh.apply(&self.request(vec![document])).await {
            Ok(plan) => plan,
            Err(refusal) => return (of_refusal(refusal), None),
        };
        let told = told_of(&plan, known && status::holds(&self.status, "Ready"));
        let kind = self.work.resource.kind().slug();
        let verdict = match mesh.resource(kind, &name, room.as_deref()).await {
            Ok(Some(found)) => {
                Verdict::Applied { status: found.status, id: found.id, generation: found.generation }
            }
            Ok(None) => Verdict::Unreachable(
                "the server took it, and does not have it any more; it is applied again".to_owned(),
            ),
            Err(error) => of_error(error),
        };
        (verdict, told)
    }

    /// Writes what came of it, tells it, and says when to look again.
    async fn conclude(&mut self, verdict: &Verdict, told: Option<Told>) -> Result<Action, ClusterError> {
        let before = status::reason(&self.status).to_owned();
        self.write(verdict).await?;
        let reason = status::reason(&self.status).to_owned();
        if let Some((reason, note)) = told {
            self.tell(EventType::Normal, reason, note).await;
        }
        let bad = !matches!(verdict, Verdict::Applied { .. }) || status::holds(&self.status, "Stalled");
        if bad && reason != before {
            let text = self.status.pointer("/conditions/0/message").and_then(Value::as_str);
            self.tell(EventType::Warning, &reason, text.unwrap_or_default().to_owned()).await;
        }
        let outcome = match verdict {
            Verdict::Applied { .. } => Outcome::Applied,
            Verdict::Refused(_) => Outcome::Refused,
            Verdict::Waiting(_) | Verdict::Begun => Outcome::Waiting,
            Verdict::Unreachable(_) | Verdict::Deleting(_) => Outcome::Unreachable,
        };
        self.work.shared.health.count(outcome);
        if outcome != Outcome::Applied {
            return Ok(Action::requeue(self.work.backoff(self.object)));
        }
        self.work.succeeded(self.object);
        let every = if status::holds(&self.status, "Reconciling") { PROGRESS_EVERY } else { RESYNC_EVERY };
        Ok(Action::requeue(jittered(every, &key(self.object), 0)))
    }

    /// Has the server let go of what came of the object, then lets the object go.
    async fn delete(&mut self) -> Result<Action, ClusterError> {
        if !self.object.finalizers().iter().any(|name| name == FINALIZER) {
            return Ok(Action::await_change());
        }
        if self.is_noted(ON_DELETE, "orphan") {
            let note = "what came of it is left on the server, as its annotation says";
            self.tell(EventType::Normal, "Orphaned", note.to_owned()).await;
        } else {
            let refusal = match self.work.shared.mesh.apply(&self.request(vec![])).await {
                Ok(_) => None,
                Err(Refusal::Problems(problems, count)) => Some(spelled(&problems, count)),
                Err(Refusal::Other(error)) => Some(error.to_string()),
            };
            if let Some(why) = refusal {
                let text = format!(
                    "it is deleted when the server let go of it: {why}; the annotation {ON_DELETE}=orphan lets it go at once"
                );
                return self.conclude(&Verdict::Deleting(text), None).await;
            }
        }
        let names: Vec<String> =
            self.object.finalizers().iter().filter(|name| *name != FINALIZER).cloned().collect();
        if self.write_finalizers(&names).await? == Wrote::Changed {
            return Ok(Action::requeue(BACKOFF_FIRST));
        }
        self.work.shared.health.count(Outcome::Deleted);
        self.work.succeeded(self.object);
        Ok(Action::await_change())
    }

    async fn write_finalizers(&self, names: &[String]) -> Result<Wrote, ClusterError> {
        let patch = json!({"metadata": {
            "resourceVersion": self.object.resource_version(), "finalizers": names}});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match self.api.patch(&self.object.name_any(), &params, &Patch::Merge(&patch)).await {
            Ok(_) => Ok(Wrote::Done),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Wrote::Changed),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Wrote::Gone),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the status, if it says anything new.
    async fn write(&mut self, verdict: &Verdict) -> Result<(), ClusterError> {
        let look = Look {
            now: self.work.shared.clock.now(),
            generation: self.generation(),
            source: &self.source,
            before: &self.status,
        };
        let status = look.status(verdict);
        if status::same(&self.status, &status) {
            return Ok(());
        }
        let name = self.object.name_any();
        let patch = json!({"apiVersion": self.work.api.api_version, "kind": self.work.api.kind,
            "metadata": {"name": name}, "status": status});
        let params = PatchParams::apply(FIELD_MANAGER).force();
        match self.api.patch_status(&name, &params, &Patch::Apply(&patch)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error.into()),
        }
        self.status = status;
        Ok(())
    }

    /// Tells of the object by a Kubernetes event. One that is lost is no reason to stop.
    async fn tell(&self, type_: EventType, reason: &str, mut note: String) {
        while note.len() > NOTE_BYTES_MAX {
            note.pop();
        }
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let about = self.object.object_ref(&self.work.api);
        if let Err(error) = self.work.shared.recorder.publish(&event, &about).await {
            tracing::warn!(%error, object = %key(self.object), "an event was not taken");
        }
    }
}

/// Reason and text of an event.
type Told = (&'static str, String);

/// What a plan is worth telling of. What changes although the object did not, somebody else had changed.
fn told_of(plan: &Plan, was_ready: bool) -> Option<Told> {
    let step = plan.steps.iter().find(|step| step.action != "unchanged")?;
    let paths: Vec<&str> = step.changes.iter().map(|change| change.path.as_str()).collect();
    let of = if paths.is_empty() { String::new() } else { format!(": {}", paths.join(", ")) };
    let (reason, what) = match (step.action.as_str(), was_ready) {
        ("create", false) => ("Applied", "created on the server".to_owned()),
        ("create", true) => ("DriftCorrected", "it was gone from the server, and is there again".to_owned()),
        ("delete", _) => ("Applied", format!("{} {} deleted from the server", step.kind, step.name)),
        (_, true) => ("DriftCorrected", format!("changed by somebody else, and made as wanted again{of}")),
        (_, false) => ("Applied", format!("changed on the server{of}")),
    };
    Some((reason, what))
}

fn of_refusal(refusal: Refusal) -> Verdict {
    match refusal {
        Refusal::Problems(problems, count) => {
            let text = spelled(&problems, count);
            let awaited = problems.iter().all(|problem| problem.code == "reference");
            if awaited { Verdict::Waiting(text) } else { Verdict::Refused(text) }
        }
        Refusal::Other(error) => of_error(error),
    }
}

/// What the server has against the document is the document's; all else is about reaching the server.
fn of_error(error: RestError) -> Verdict {
    match error.status() {
        Some(400 | 409 | 413 | 422) => {
            Verdict::Refused(error.server_message().map_or_else(|| error.to_string(), str::to_owned))
        }
        _ => Verdict::Unreachable(error.to_string()),
    }
}

fn spelled(problems: &[PlanProblem], count: usize) -> String {
    let one = |problem: &PlanProblem| {
        let place = if problem.path.is_empty() { String::new() } else { format!("{}: ", problem.path) };
        let hint = match (problem.code.as_str(), &problem.hint) {
            ("conflict", _) => {
                format!(" (agree with it, leave the field out, or take it with the annotation {FORCE}=true)")
            }
            (_, Some(hint)) => format!(" ({hint})"),
            (_, None) => String::new(),
        };
        format!("{place}{}{hint}", problem.message)
    };
    let mut text = problems.iter().take(PROBLEMS_SHOWN).map(one).collect::<Vec<_>>().join("; ");
    if count > PROBLEMS_SHOWN {
        text.push_str(&format!("; and {} more", count - PROBLEMS_SHOWN));
    }
    text
}

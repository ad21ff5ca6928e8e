//! One object after another through `reconcile`, by named scenarios: each says which requests are made to the cluster and to
//! the server, in which order, and how they are answered. Any other request fails the scenario.

use super::health::Health;
use super::mesh::{Changes, Mesh};
use super::names;
use super::reconcile::{Shared, Work, reconcile};
use crate::client::rest::{Plan, PlanProblem, PlanRequest, Refusal, Resource, RestError};
use crate::clock::Fixed;
use crate::spec::Kind;
use async_trait::async_trait;
use axum::http::{Request, Response};
use chrono::DateTime;
use kube::client::Body;
use kube::core::DynamicObject;
use kube::runtime::controller::Action;
use kube::runtime::events::{Recorder, Reporter};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const ROOM: &str = "/apis/meshagent.dev/v1/namespaces/shop/rooms/desk";
const SOURCE: &str = "kubernetes/prod/shop/room/desk";

/// A request that is to come, with what it is to carry at least, and its answer.
enum Step {
    /// `METHOD PATH`; the answer is the object, or a status that is not good.
    Cluster(String, Value, u16),
    Apply(Value, Result<Plan, Refusal>),
    Get(&'static str, Result<Option<Value>, RestError>),
}

#[derive(Default, Debug)]
struct Script {
    steps: Mutex<VecDeque<Step>>,
    faults: Mutex<Vec<String>>,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cluster(request, body, _) => write!(f, "{request} {body}"),
            Self::Apply(request, _) => write!(f, "apply {request}"),
            Self::Get(what, _) => write!(f, "get {what}"),
        }
    }
}

impl Script {
    fn next(&self) -> Option<Step> {
        self.steps.lock().unwrap().pop_front()
    }

    fn fault(&self, text: String) {
        self.faults.lock().unwrap().push(text);
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let asked = format!("{} {}", request.method(), request.uri().path());
        let bytes = request.into_body().collect_bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let (status, answer) = match self.next() {
            Some(Step::Cluster(wanted, part, status)) if wanted == asked && has(&body, &part) => {
                let failed = json!({"kind": "Status", "code": status, "message": "no", "reason": "no"});
                (status, if status < 400 { echoed(&asked, body) } else { failed })
            }
            other => {
                self.fault(format!("the cluster was asked {asked} {body}, to be {other:?}"));
                (500, json!({"kind": "Status", "code": 500, "message": "unexpected", "reason": "test"}))
            }
        };
        let bytes = serde_json::to_vec(&answer).unwrap();
        Response::builder().status(status).body(Body::from(bytes)).unwrap()
    }
}

/// What the cluster answers to a write: what was written, as an object.
fn echoed(asked: &str, body: Value) -> Value {
    if asked.contains("/events") {
        return body;
    }
    json!({"apiVersion": "meshagent.dev/v1", "kind": "Room", "metadata": {"name": "desk"}})
}

/// Whether a value has all of a part.
fn has(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(name, part)| whole.get(name).is_some_and(|whole| has(whole, part)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| has(whole, part))
        }
        (Value::String(whole), Value::String(part)) if part.starts_with('~') => whole.contains(&part[1..]),
        _ => whole == part,
    }
}

#[async_trait]
impl Mesh for Script {
    async fn apply(&self, request: &PlanRequest) -> Result<Plan, Refusal> {
        let request = serde_json::to_value(request).unwrap();
        match self.next() {
            Some(Step::Apply(part, answer)) if has(&request, &part) => answer,
            other => {
                self.fault(format!("the server was asked to apply {request}, to be {other:?}"));
                Err(down().into())
            }
        }
    }

    async fn resource(
        &self,
        kind: &str,
        name: &str,
        room: Option<&str>,
    ) -> Result<Option<Resource>, RestError> {
        let asked = format!("{kind}/{name} {}", room.unwrap_or_default());
        match self.next() {
            Some(Step::Get(wanted, answer)) if wanted == asked.trim() => {
                answer.map(|found| found.map(|found| serde_json::from_value(found).unwrap()))
            }
            other => {
                self.fault(format!("the server was asked for {asked}, to be {other:?}"));
                Err(down())
            }
        }
    }

    async fn watch(&self, _kind: &str, _since: Option<u64>) -> Result<Box<dyn Changes>, RestError> {
        Err(down())
    }
}

fn down() -> RestError {
    RestError::Unreachable { url: "http://mesh".into(), reason: "connection refused".into() }
}

fn plan(action: &str) -> Result<Plan, Refusal> {
    let steps = json!([{"action": action, "kind": "Room", "name": "desk",
        "changes": if action == "update" { json!([{"path": "enabled", "from": false, "to": true}]) } else { json!([]) }}]);
    Ok(serde_json::from_value(
        json!({"source": SOURCE, "hash": "h", "base": 1, "summary": {}, "steps": steps}),
    )
    .unwrap())
}

fn problem(code: &str, message: &str) -> Refusal {
    let problem: PlanProblem = serde_json::from_value(
        json!({"code": code, "kind": "Room", "name": "desk", "path": "enabled", "message": message}),
    )
    .unwrap();
    Refusal::Problems(vec![problem], 1)
}

/// The room as the server has it, with these conditions.
fn found(conditions: &Value) -> Result<Option<Value>, RestError> {
    Ok(Some(json!({"kind": "Room", "name": "desk", "id": "id-1", "generation": 4, "document": {},
        "status": {"observedGeneration": 4, "conditions": conditions}})))
}

fn ready() -> Value {
    json!([{"type": "Ready", "status": "True", "reason": "Running", "message": "the room is open"}])
}

/// The object, with these changes.
fn room(changes: &Value) -> Value {
    let mut object = json!({"apiVersion": "meshagent.dev/v1", "kind": "Room",
        "metadata": {"name": "desk", "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 2,
            "finalizers": [names::FINALIZER]},
        "spec": {"enabled": true}});
    merge(&mut object, changes);
    object
}

fn merge(whole: &mut Value, part: &Value) {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (name, part) in part {
                merge(whole.entry(name.as_str()).or_insert(Value::Null), part);
            }
        }
        (whole, part) => *whole = part.clone(),
    }
}

/// A status that the operator wrote before.
fn status(generation: i64, reason: &str, kinds: &[(&str, &str)]) -> Value {
    let conditions: Vec<Value> = kinds
        .iter()
        .map(|(kind, status)| {
            json!({"type": kind, "status": status, "reason": reason, "message": "m",
                "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z"})
        })
        .collect();
    json!({"status": {"observedGeneration": generation, "source": SOURCE, "id": "id-1", "generation": 4,
        "conditions": conditions}})
}

fn write_status(part: Value) -> Step {
    let part = json!({"apiVersion": "meshagent.dev/v1", "kind": "Room", "status": part});
    Step::Cluster(format!("PATCH {ROOM}/status"), part, 200)
}

fn begun() -> Step {
    write_status(json!({"observedGeneration": 2, "conditions": [
        {"type": "Ready", "status": "Unknown", "reason": "Reconciling"},
        {"type": "Reconciling", "status": "True"}]}))
}

fn is_ready() -> Step {
    write_status(
        json!({"observedGeneration": 2, "source": SOURCE, "id": "id-1", "generation": 4, "conditions": [
        {"type": "Ready", "status": "True", "reason": "Running", "message": "the room is open",
            "observedGeneration": 2, "lastTransitionTime": "2026-01-31T12:00:00Z"}]}),
    )
}

fn event(kind: &str, reason: &str, note: &str) -> Step {
    let part =
        json!({"type": kind, "reason": reason, "note": note, "regarding": {"kind": "Room", "name": "desk"}});
    Step::Cluster("POST /apis/events.k8s.io/v1/namespaces/shop/events".into(), part, 201)
}

fn applied(answer: Result<Plan, Refusal>) -> Step {
    let request = json!({"source": SOURCE, "prune": true, "force": false, "documents": [
        {"version": "v1", "kind": "Room", "metadata": {"name": "desk"}, "enabled": true}]});
    Step::Apply(request, answer)
}

fn pruned(answer: Result<Plan, Refusal>) -> Step {
    Step::Apply(json!({"source": SOURCE, "prune": true, "documents": []}), answer)
}

fn finalizers(names: &Value) -> Step {
    let part = json!({"metadata": {"resourceVersion": "7", "finalizers": names}});
    Step::Cluster(format!("PATCH {ROOM}"), part, 200)
}

/// Runs a scenario; what is to happen next.
async fn play(object: Value, steps: Vec<Step>) -> Action {
    let script = Arc::new(Script { steps: Mutex::new(steps.into()), ..Script::default() });
    let told = Arc::clone(&script);
    let service = tower::service_fn(move |request: Request<Body>| {
        let script = Arc::clone(&told);
        async move { Ok::<_, Infallible>(script.answer(request).await) }
    });
    let client = kube::Client::new(service, "default");
    let reporter = Reporter { controller: names::FIELD_MANAGER.into(), instance: Some("one".into()) };
    let shared = Shared {
        recorder: Recorder::new(client.clone(), reporter),
        client,
        mesh: Arc::clone(&script) as Arc<dyn Mesh>,
        cluster: "prod".into(),
        clock: Arc::new(Fixed::at(DateTime::parse_from_rfc3339("2026-01-31T12:00:00Z").unwrap().to_utc())),
        health: Arc::new(Health::default()),
    };
    let work = Arc::new(Work::new(shared, crate::app::plan::resource(Kind::Room).unwrap()));
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    let ended = reconcile(Arc::new(object), work).await;
    assert_eq!(*script.faults.lock().unwrap(), Vec::<String>::new());
    assert!(script.steps.lock().unwrap().is_empty(), "not asked: {:?}", script.steps);
    ended.unwrap()
}

/// Whether it is looked at again within these seconds.
fn again_within(action: &Action, seconds: std::ops::Range<u64>) -> bool {
    (seconds.start..seconds.end * 1000)
        .map(Duration::from_millis)
        .map(Action::requeue)
        .any(|other| format!("{other:?}").split('.').next() == format!("{action:?}").split('.').next())
}

#[tokio::test]
async fn a_new_object_is_held_applied_and_told() {
    let new = room(&json!({"metadata": {"finalizers": ["other/one"]}}));
    let steps = vec![
        finalizers(&json!(["other/one", names::FINALIZER])),
        begun(),
        applied(plan("create")),
        Step::Get("room/desk", found(&ready())),
        is_ready(),
        event("Normal", "Applied", "created on the server"),
    ];
    let next = play(new, steps).await;
    assert_ne!(next, Action::await_change());
}

#[tokio::test]
async fn an_object_that_is_as_wanted_is_only_looked_at() {
    let known = room(&status(2, "Running", &[("Ready", "True")]));
    let mut known = known;
    known["status"]["conditions"][0]["message"] = json!("the room is open");
    play(known, vec![applied(plan("unchanged")), Step::Get("room/desk", found(&ready()))]).await;
}

#[tokio::test]
async fn an_edit_is_begun_anew() {
    let edited = room(&status(1, "Running", &[("Ready", "True")]));
    let steps = vec![
        begun(),
        applied(plan("update")),
        Step::Get("room/desk", found(&ready())),
        is_ready(),
        event("Normal", "Applied", "changed on the server: enabled"),
    ];
    play(edited, steps).await;
}

#[tokio::test]
async fn what_somebody_else_changed_is_made_right_again_and_told() {
    let mut known = room(&status(2, "Running", &[("Ready", "True")]));
    known["status"]["conditions"][0]["message"] = json!("the room is open");
    let steps = vec![
        applied(plan("update")),
        Step::Get("room/desk", found(&ready())),
        event("Normal", "DriftCorrected", "~made as wanted again: enabled"),
    ];
    play(known, steps).await;
}

#[tokio::test]
async fn a_document_that_is_wrong_is_stalled_with_the_problem() {
    let wrong = room(&status(2, "Reconciling", &[("Ready", "Unknown"), ("Reconciling", "True")]));
    let steps = vec![
        applied(Err(problem("invalid", "want true or false"))),
        write_status(json!({"conditions": [
            {"type": "Ready", "status": "False", "reason": "Refused", "message": "enabled: want true or false"},
            {"type": "Stalled", "status": "True", "reason": "Refused"}]})),
        event("Warning", "Refused", "enabled: want true or false"),
    ];
    let next = play(wrong, steps).await;
    assert!(again_within(&next, 1..2), "{next:?}");
    // Told once, not each time it is tried.
    let still = {
        let mut still = room(&status(2, "Refused", &[("Ready", "False"), ("Stalled", "True")]));
        for index in [0, 1] {
            still["status"]["conditions"][index]["message"] = json!("enabled: want true or false");
        }
        still
    };
    play(still, vec![applied(Err(problem("invalid", "want true or false")))]).await;
}

#[tokio::test]
async fn a_conflict_with_another_source_names_it() {
    let known = room(&status(2, "Running", &[("Ready", "True")]));
    let text = "the source `cli` holds this field";
    let steps = vec![
        applied(Err(problem("conflict", text))),
        write_status(
            json!({"conditions": [{"reason": "Refused", "message": "~meshagent.dev/force-conflicts=true"}, {"type": "Stalled"}]}),
        ),
        event("Warning", "Refused", "~the source `cli` holds this field"),
    ];
    play(known, steps).await;
    let forced = room(&json!({"metadata": {"annotations": {names::FORCE: "true"}}}));
    let steps = vec![
        begun(),
        Step::Apply(json!({"force": true}), plan("update")),
        Step::Get("room/desk", found(&ready())),
        is_ready(),
        event("Normal", "Applied", "~changed on the server"),
    ];
    play(forced, steps).await;
}

#[tokio::test]
async fn what_waits_for_another_is_in_progress_and_not_wrong() {
    let known = room(&status(2, "Reconciling", &[("Ready", "Unknown"), ("Reconciling", "True")]));
    let steps = vec![
        applied(Err(problem("reference", "there is no room `x`"))),
        write_status(json!({"conditions": [
            {"type": "Ready", "status": "False", "reason": "DependencyMissing"},
            {"type": "Reconciling", "status": "True"}]})),
        event("Warning", "DependencyMissing", "~there is no room"),
    ];
    play(known, steps).await;
}

#[tokio::test]
async fn a_server_that_is_down_is_said_and_asked_again() {
    let known = room(&status(2, "Running", &[("Ready", "True")]));
    let steps = vec![
        applied(Err(down().into())),
        write_status(json!({"observedGeneration": 2, "id": "id-1", "conditions": [
            {"type": "Ready", "status": "Unknown", "reason": "ServerUnreachable", "message": "~connection refused"},
            {"type": "Reconciling", "status": "True"}]})),
        event("Warning", "ServerUnreachable", "~connection refused"),
    ];
    let next = play(known, steps).await;
    assert!(again_within(&next, 1..2), "{next:?}");
    let back = room(&status(2, "ServerUnreachable", &[("Ready", "Unknown"), ("Reconciling", "True")]));
    play(back, vec![applied(plan("unchanged")), Step::Get("room/desk", found(&ready())), is_ready()]).await;
}

#[tokio::test]
async fn a_deleted_object_goes_when_the_server_let_go() {
    let deleted = json!({"metadata": {"deletionTimestamp": "2026-01-31T11:00:00Z",
        "finalizers": ["other/one", names::FINALIZER]}});
    let next = play(room(&deleted), vec![pruned(plan("delete")), finalizers(&json!(["other/one"]))]).await;
    assert_eq!(next, Action::await_change());
    let released =
        json!({"metadata": {"deletionTimestamp": "2026-01-31T11:00:00Z", "finalizers": ["other/one"]}});
    play(room(&released), vec![]).await;
}

#[tokio::test]
async fn a_deletion_waits_for_the_server_and_says_so() {
    let deleted = json!({"metadata": {"deletionTimestamp": "2026-01-31T11:00:00Z"}});
    let steps = vec![
        pruned(Err(down().into())),
        write_status(json!({"conditions": [
            {"type": "Ready", "status": "False", "reason": "Deleting", "message": "~meshagent.dev/on-delete=orphan"},
            {"type": "Reconciling", "status": "True"}]})),
        event("Warning", "Deleting", "~connection refused"),
    ];
    let next = play(room(&deleted), steps).await;
    assert!(again_within(&next, 1..2), "{next:?}");
    let orphaned = json!({"metadata": {"deletionTimestamp": "2026-01-31T11:00:00Z",
        "annotations": {names::ON_DELETE: "orphan"}}});
    let steps = vec![event("Normal", "Orphaned", "~left on the server"), finalizers(&json!([]))];
    play(room(&orphaned), steps).await;
}

#[tokio::test]
async fn a_suspended_object_is_left_alone() {
    let suspended = room(&json!({"metadata": {"annotations": {names::SUSPEND: "true"}}}));
    assert_eq!(play(suspended, vec![]).await, Action::await_change());
}

#[tokio::test]
async fn an_object_that_changed_in_between_is_looked_at_again() {
    let new = room(&json!({"metadata": {"finalizers": []}}));
    let conflict = Step::Cluster(format!("PATCH {ROOM}"), json!({}), 409);
    let next = play(new, vec![conflict]).await;
    assert_eq!(next, Action::requeue(Duration::from_secs(1)));
}

#[tokio::test]
async fn a_spec_that_is_no_document_never_reaches_the_server() {
    let mut odd = room(&json!({}));
    odd["spec"] = json!("text");
    let steps = vec![
        begun(),
        write_status(
            json!({"conditions": [{"reason": "Refused", "message": "~no `spec` that is a mapping"}, {}]}),
        ),
        event("Warning", "Refused", "~no `spec`"),
    ];
    play(odd, steps).await;
}

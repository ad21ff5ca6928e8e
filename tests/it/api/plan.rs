//! Plans, applies, watches and looks back, over HTTP.

use super::Platform;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use futures_util::StreamExt;
use meshagent::app::Actor;
use meshagent::app::plan;
use meshagent::domain::room::Created;
use meshagent::name::RoomName;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;

const LIMIT: Duration = Duration::from_secs(20);

struct Desk {
    platform: Platform,
}

impl Desk {
    async fn new() -> Self {
        Self { platform: Platform::new().await }
    }

    fn path(&self, path: &str) -> String {
        format!("/v1/projects/{}/{path}", self.platform.project)
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        self.platform.send(method, &self.path(path), Some(&self.platform.key), body).await
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.send(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    async fn apply(&self, body: Value) -> (StatusCode, Value) {
        self.send(Method::POST, "apply", Some(body)).await
    }

    /// Applies what can be applied.
    async fn made(&self, source: &str, documents: Value) -> Value {
        let (status, answer) = self.apply(json!({"source": source, "documents": documents})).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }
}

fn room(name: &str, note: &str) -> Value {
    json!({"version": "v1", "kind": "Room", "metadata": {"name": name, "annotations": {"note": note}}})
}

fn service(name: &str, room: &str) -> Value {
    json!({"version": "v1", "kind": "Service", "external": {},
        "metadata": {"name": name, "annotations": {"meshagent.room": room}}})
}

#[tokio::test]
async fn documents_are_applied_once_and_conflicts_are_told() {
    let desk = Desk::new().await;
    let made = desk.made("a", json!([service("web", "den"), room("den", "x")])).await;
    assert_eq!(made["summary"]["create"], 2, "{made}");
    let head = desk.platform.app.log.head().await.unwrap();
    let again = desk.made("a", json!([service("web", "den"), room("den", "x")])).await;
    assert_eq!(again["summary"]["unchanged"], 2);
    assert_eq!(
        desk.platform.app.log.head().await.unwrap(),
        head,
        "nothing is recorded where nothing changes"
    );

    let theirs = json!({"source": "b", "documents": [room("den", "y")]});
    let (status, conflict) = desk.apply(theirs.clone()).await;
    assert_eq!((status, &conflict["error"]["code"]), (StatusCode::CONFLICT, &json!("field-conflict")));
    let message = conflict["error"]["problems"][0]["message"].as_str().unwrap();
    assert!(message.contains("`a`"), "the other owner is named: {conflict}");
    let mut forced = theirs;
    forced["force"] = json!(true);
    assert_eq!(desk.apply(forced).await.0, StatusCode::OK);
    let (status, _) = desk.apply(json!({"source": "a", "documents": [room("den", "x")]})).await;
    assert_eq!(status, StatusCode::CONFLICT, "now the first has a conflict");

    let stale = json!({"documents": [room("den2", "")], "expected": "0"});
    let (status, answer) = desk.apply(stale).await;
    assert_eq!((status, &answer["error"]["code"]), (StatusCode::CONFLICT, &json!("plan-stale")), "{answer}");
    let (status, answer) = desk.apply(json!({"documents": [room("den2", "")], "dry": true})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
}

#[tokio::test]
async fn resources_are_told_with_their_status_and_as_they_were() {
    let desk = Desk::new().await;
    desk.made("a", json!([room("den", "x"), service("web", "den")])).await;
    let one = desk.get("resources/services/web").await;
    assert_eq!(one["document"]["metadata"]["annotations"]["meshagent.room"], "den");
    assert_eq!(one["status"]["observedGeneration"], 1);
    assert_eq!(one["status"]["conditions"][0]["type"], "Ready");
    assert_eq!(one["sources"]["a"], json!(["/external/"]));
    let before = one["resource_version"].to_string();
    desk.made("a", json!([room("den", "y")])).await;
    let now = desk.get("resources/room/den").await;
    let then = desk.get(&format!("resources/Room/den?at={before}")).await;
    let note = |of: &Value| of["document"]["metadata"]["annotations"]["note"].clone();
    assert_eq!((note(&now), note(&then)), (json!("y"), json!("x")));
    let listed = desk.get("resources/rooms?page_size=1").await;
    assert_eq!((listed["total"].as_u64(), &listed["items"][0]["name"]), (Some(1), &json!("den")));

    let history = desk.get("resources/rooms/den/history").await;
    let events: Vec<&str> =
        history["history"].as_array().unwrap().iter().map(|past| past["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["room.created", "room.updated"]);
    assert_eq!(history["history"][1]["changes"][0]["to"], "y");
    assert_eq!(history["history"][1]["actor"], "service-account:default");
    let differences = desk.get(&format!("differences?from={before}")).await;
    assert_eq!(differences["steps"][0]["changes"][0]["from"], "x", "{differences}");

    for (path, status) in [
        ("resources/sandwich", StatusCode::NOT_FOUND),
        ("resources/room/nobody", StatusCode::NOT_FOUND),
        ("resources/room/den?at=yesterday", StatusCode::BAD_REQUEST),
        ("resources/room/den?at=99999999", StatusCode::BAD_REQUEST),
        ("resources/rooms?watch=true&resource_version=99999999", StatusCode::BAD_REQUEST),
        ("differences", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(desk.send(Method::GET, path, None).await.0, status, "{path}");
    }
}

#[tokio::test]
async fn what_was_exported_changes_nothing_and_what_was_applied_rolls_back() {
    let desk = Desk::new().await;
    let account = json!({"version": "v1", "kind": "ServiceAccount", "metadata": {"name": "ci"}});
    let task = json!({"version": "v1", "kind": "ScheduledTask", "schedule": "1 day", "queue": {"name": "q"},
        "metadata": {"name": "t", "annotations": {"meshagent.room": "den"}}});
    let mailbox =
        json!({"version": "v1", "kind": "Mailbox", "address": "A@mail.example", "room": "den", "queue": "q"});
    desk.made("a", json!([room("den", "x"), service("web", "den"), account, task, mailbox])).await;
    let before = desk.platform.app.log.head().await.unwrap().to_string();
    let exported = desk.get("documents").await["documents"].clone();
    let (_, plan) = desk.send(Method::POST, "plan", Some(json!({"documents": exported}))).await;
    assert_eq!(plan["summary"]["unchanged"], exported.as_array().unwrap().len(), "{plan}");

    let documents = json!([room("den", "y"), room("late", "")]);
    let body = json!({"source": "a", "documents": documents, "prune": true});
    let (status, pruned) = desk.apply(body).await;
    assert_eq!(status, StatusCode::OK, "{pruned}");
    assert_eq!(pruned["summary"]["delete"], 4, "{pruned}");
    let gone = desk.get("resources/services/web/history").await;
    assert_eq!(gone["history"].as_array().unwrap().last().unwrap()["event"], "service.deleted");

    let dry = json!({"to": before, "dry_run": true});
    let (_, dry) = desk.send(Method::POST, "rollback", Some(dry)).await;
    assert_eq!((&dry["summary"]["create"], &dry["summary"]["delete"]), (&json!(4), &json!(1)), "{dry}");
    let (status, back) = desk.send(Method::POST, "rollback", Some(json!({"to": before}))).await;
    assert_eq!(status, StatusCode::OK, "{back}");
    let now = desk.get("documents").await["documents"].clone();
    assert_eq!(now, exported);
}

#[tokio::test]
async fn a_rollback_lets_go_of_what_was_there_before_and_deletes_what_was_made_since() {
    let desk = Desk::new().await;
    let actor = Actor::new("test", "by hand");
    let created = Created {
        name: RoomName::new("old").unwrap(),
        metadata: serde_json::Map::new(),
        annotations: std::collections::BTreeMap::new(),
        enabled: true,
        users: None,
    };
    desk.platform.app.create_room(&actor, desk.platform.project, created, false).await.unwrap();
    desk.made("a", json!([room("den", "x")])).await;
    let before = desk.platform.app.log.head().await.unwrap().to_string();
    desk.made("a", json!([room("den", "x"), room("old", "adopted"), room("late", "")])).await;
    let (status, back) = desk.send(Method::POST, "rollback", Some(json!({"to": before}))).await;
    assert_eq!(status, StatusCode::OK, "{back}");
    assert_eq!((&back["summary"]["delete"], &back["summary"]["unchanged"]), (&json!(1), &json!(2)), "{back}");
    assert!(back.to_string().contains("it was there before"), "{back}");
    assert_eq!(desk.send(Method::GET, "resources/rooms/late", None).await.0, StatusCode::NOT_FOUND);
    desk.get("resources/rooms/old").await;
    // It is not held any more: pruning leaves it alone.
    let (_, pruned) = desk.apply(json!({"source": "a", "documents": [], "prune": true})).await;
    assert_eq!(pruned["summary"]["delete"], 1, "{pruned}");
    desk.get("resources/rooms/old").await;
}

#[tokio::test]
async fn a_graph_tells_what_needs_what() {
    let desk = Desk::new().await;
    desk.made("a", json!([room("den", "x"), service("web", "den")])).await;
    let graph = desk.get("graph").await;
    let nodes = graph["nodes"].as_array().unwrap();
    let find = |name: &str| nodes.iter().find(|node| node["name"] == name).unwrap();
    assert_eq!(find("web")["needs"][0]["id"], find("den")["id"]);
}

/// Lines of a watch, as they come.
struct Watch {
    body: axum::body::BodyDataStream,
    text: String,
}

impl Watch {
    async fn open(desk: &Desk, query: &str, accept: &str) -> (StatusCode, Self) {
        let request = Request::builder()
            .uri(desk.path(&format!("resources/rooms?watch=true{query}")))
            .header(header::AUTHORIZATION, format!("Bearer {}", desk.platform.key))
            .header(header::ACCEPT, accept)
            .body(Body::empty())
            .unwrap();
        let answer = desk.platform.router.clone().oneshot(request).await.unwrap();
        (answer.status(), Self { body: answer.into_body().into_data_stream(), text: String::new() })
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some((line, rest)) = self.text.clone().split_once('\n') {
                rest.clone_into(&mut self.text);
                return line.to_owned();
            }
            let more = tokio::time::timeout(LIMIT, self.body.next()).await.expect("the watch says something");
            self.text.push_str(std::str::from_utf8(&more.unwrap().unwrap()).unwrap());
        }
    }

    async fn event(&mut self) -> (String, String) {
        let value: Value = serde_json::from_str(&self.line().await).unwrap();
        let name = value["object"]["name"].as_str().unwrap_or_default().to_owned();
        (value["type"].as_str().unwrap().to_owned(), name)
    }
}

#[tokio::test]
async fn a_watch_tells_what_there_is_then_what_changes_and_resumes() {
    let desk = Desk::new().await;
    desk.made("a", json!([room("den", "x")])).await;
    let start = desk.platform.app.log.head().await.unwrap();
    let (status, mut watch) = Watch::open(&desk, "", "*/*").await;
    assert_eq!(status, StatusCode::OK);
    let pair = |word: &str, name: &str| (word.to_owned(), name.to_owned());
    assert_eq!(watch.event().await, pair("ADDED", "den"));
    assert_eq!(watch.event().await, pair("BOOKMARK", ""));
    desk.made("a", json!([room("den", "y")])).await;
    assert_eq!(watch.event().await, pair("MODIFIED", "den"));
    desk.made("a", json!([room("den", "y"), room("hut", "")])).await;
    assert_eq!(watch.event().await, pair("ADDED", "hut"));
    let (status, answer) =
        desk.apply(json!({"source": "a", "documents": [room("hut", "")], "prune": true})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(watch.event().await, pair("DELETED", "den"));
    drop(watch);

    let (_, mut resumed) = Watch::open(&desk, &format!("&resource_version={start}"), "*/*").await;
    let both = [resumed.event().await, resumed.event().await];
    assert!(both.contains(&pair("DELETED", "den")) && both.contains(&pair("ADDED", "hut")), "{both:?}");
    assert_eq!(resumed.event().await, pair("BOOKMARK", ""));
    let (_, mut events) = Watch::open(&desk, "", "text/event-stream").await;
    assert_eq!(events.line().await, "event: ADDED");
    assert!(events.line().await.starts_with("id: "));
    assert!(events.line().await.starts_with("data: {"));
}

#[tokio::test]
async fn a_watcher_that_is_too_far_behind_lists_again() {
    let desk = Desk::new().await;
    for note in ["x", "y"] {
        let documents: Vec<Value> = (0..10_100).map(|n| room(&format!("r{n}"), note)).collect();
        // Not over HTTP: the answer would be more than these tests read.
        let request =
            Arc::new(plan::Request { source: "a".to_owned(), documents, ..plan::Request::default() });
        let actor = Actor::new("test", "watch");
        desk.platform.app.apply(&actor, desk.platform.project, request, None).await.unwrap();
    }
    let (status, mut watch) = Watch::open(&desk, "&resource_version=1", "*/*").await;
    assert_eq!(status, StatusCode::GONE);
    let more = tokio::time::timeout(LIMIT, watch.body.next()).await.unwrap().unwrap().unwrap();
    assert!(String::from_utf8_lossy(&more).contains("watch-expired"));
}

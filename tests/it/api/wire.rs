//! The other resources, in the field names the official client reads.

use super::Platform;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

fn service(name: &str) -> Value {
    json!({"version": "v1", "kind": "Service", "metadata": {"name": name}, "ports": [],
        "container": {"image": "meshagent/cli:default", "command": "meshagent process join", "private": true}})
}

#[tokio::test]
async fn services_answer_with_the_bare_spec_and_its_id() {
    let p = Platform::new().await;
    p.ok(Method::POST, "/rooms", Some(json!({"name": "den"}))).await;
    for base in ["/services", "/rooms/den/services"] {
        let made = p.ok(Method::POST, base, Some(service("web"))).await;
        let id = made["id"].as_str().unwrap().to_owned();
        assert_eq!(p.ok(Method::GET, &format!("{base}/{id}"), None).await, made);
        assert_eq!(p.ok(Method::GET, &format!("{base}/by-name/web"), None).await, made);
        assert_eq!(p.ok(Method::GET, base, None).await["services"], json!([made]));
        let mut changed = made.clone();
        changed["enabled"] = json!(false);
        changed["external"] = Value::Null;
        let answer = p.ok(Method::PUT, &format!("{base}/{id}"), Some(changed)).await;
        assert_eq!(answer["enabled"], false);
        let path = format!("/accounts/projects/{}{base}", p.project);
        let (status, _) = p.send(Method::POST, &path, Some(&p.key), Some(service("web"))).await;
        assert_eq!(status, StatusCode::CONFLICT);
        let mut bad = service("bad");
        bad["container"]["imagee"] = json!("x");
        let (status, answer) = p.send(Method::POST, &path, Some(&p.key), Some(bad)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(answer["error"]["message"].as_str().unwrap().contains("imagee"), "{answer}");
        p.ok(Method::DELETE, &format!("{base}/{id}"), None).await;
        assert_eq!(p.ok(Method::GET, base, None).await["services"], json!([]));
    }
}

#[tokio::test]
async fn mailboxes_and_scheduled_tasks_are_kept() {
    let p = Platform::new().await;
    let room = p.ok(Method::POST, "/rooms", Some(json!({"name": "den"}))).await["id"].clone();
    let body = json!({"room": "den", "queue": "q", "address": "a@b.c", "public": false, "annotations": {}});
    p.ok(Method::POST, "/mailboxes", Some(body.clone())).await;
    let mailbox = json!({"address": "a@b.c", "room": "den", "room_id": room, "queue": "q", "public": false,
        "annotations": {}});
    assert_eq!(p.ok(Method::GET, "/mailboxes/a@b.c", None).await, json!({"mailbox": mailbox}));
    let path = format!("/accounts/projects/{}/mailboxes", p.project);
    let (status, _) = p.send(Method::POST, &path, Some(&p.key), Some(body)).await;
    assert_eq!(status, StatusCode::CONFLICT);

    let spec = json!({"version": "v1", "kind": "ScheduledTask", "metadata": {"annotations": {}},
        "schedule": "30 17 * * *", "active": true, "once": false, "queue": {"name": "q", "payload": {"a": 1}}});
    let id = p.ok(Method::POST, "/rooms/den/scheduled-tasks", Some(json!({"spec": spec}))).await["task_id"]
        .clone();
    let listed = p
        .ok(Method::GET, &format!("/scheduled-tasks?room_id={}&offset=0", room.as_str().unwrap()), None)
        .await;
    assert_eq!(listed["total"], 1);
    let task = &listed["tasks"][0];
    assert_eq!((&task["id"], &task["queue_name"], &task["payload"]), (&id, &json!("q"), &json!({"a": 1})));
    let path = format!("/accounts/projects/{}/rooms/den/scheduled-tasks", p.project);
    for schedule in ["31 2 30 2 *", "nonsense"] {
        let mut bad = spec.clone();
        bad["schedule"] = json!(schedule);
        let (status, answer) = p.send(Method::POST, &path, Some(&p.key), Some(json!({"spec": bad}))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{schedule}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("schedule"), "{answer}");
    }
    p.ok(Method::DELETE, &format!("/scheduled-tasks/{}", id.as_str().unwrap()), None).await;
    // What lives in a room goes with it.
    p.ok(Method::DELETE, "/rooms/den", None).await;
    assert_eq!(p.ok(Method::GET, "/mailboxes", None).await["total"], 0);
}

#[tokio::test]
async fn keys_are_shown_once_and_work_until_revoked() {
    let p = Platform::new().await;
    let accounts = p.ok(Method::GET, "/service-accounts?page_size=100&filter=default", None).await;
    let account = accounts["service_accounts"][0]["id"].as_str().unwrap().to_owned();
    let base = format!("/service-accounts/{account}/api-keys");
    let key = p.ok(Method::POST, &base, Some(json!({"name": "ci", "description": ""}))).await;
    let value = key["value"].as_str().unwrap().to_owned();
    let (status, who) = p.send(Method::GET, "/accounts/whoami", Some(&value), None).await;
    assert_eq!((status, &who["type"]), (StatusCode::OK, &json!("service_account")));
    let listed = p.ok(Method::GET, &base, None).await.to_string();
    assert!(listed.contains("\"ci\"") && !listed.contains(&value), "{listed}");
    p.ok(Method::DELETE, &format!("{base}/{}", key["id"].as_str().unwrap()), None).await;
    let (status, _) = p.send(Method::GET, "/accounts/whoami", Some(&value), None).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let events = p.send(Method::GET, "/v1/events", Some(&p.key), None).await.1.to_string();
    assert!(events.contains("apikey.created") && !events.contains(value.rsplit('-').next().unwrap()));
}

#[tokio::test]
async fn files_go_in_and_out() {
    let p = Platform::new().await;
    p.ok(Method::POST, "/rooms", Some(json!({"name": "den"}))).await;
    let base = format!("/files/{}/rooms/den/", p.project);
    let file = format!("{base}dir/a.json");
    let (status, _) = p.send(Method::HEAD, &file, Some(&p.key), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) =
        p.send(Method::PUT, &format!("{file}?overwrite=true"), Some(&p.key), Some(json!({"x": 1}))).await;
    assert_eq!(status, StatusCode::OK);
    let (status, body) = p.send(Method::GET, &file, Some(&p.key), None).await;
    assert_eq!((status, body), (StatusCode::OK, json!({"x": 1})));
    let (_, list) =
        p.send(Method::GET, &format!("{base}?list=&prefix=dir&limit=1000"), Some(&p.key), None).await;
    assert_eq!(list["entries"][0]["name"], "a.json");
    let (status, _) =
        p.send(Method::PUT, &format!("{file}?overwrite=false"), Some(&p.key), Some(json!({}))).await;
    assert_eq!(status, StatusCode::CONFLICT);
    for evil in ["../x", "%2e%2e/x", "a/../../x"] {
        let (status, _) = p.send(Method::PUT, &format!("{base}{evil}"), Some(&p.key), Some(json!({}))).await;
        assert!(status.is_client_error(), "{evil}: {status}");
    }
    let (status, _) = p.send(Method::DELETE, &file, Some(&p.key), None).await;
    assert_eq!(status, StatusCode::OK);
}

/// `UPDATE_SCHEMAS=1` writes the file anew.
#[test]
fn the_checked_in_openapi_document_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/openapi.json");
    let now = format!("{:#}\n", meshagent::api::openapi::document());
    #[allow(clippy::disallowed_methods, reason = "a switch of the test run")]
    if std::env::var("UPDATE_SCHEMAS").is_ok() {
        std::fs::write(path, &now).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == now, "schemas/openapi.json is stale; run the tests once with UPDATE_SCHEMAS=1");
}

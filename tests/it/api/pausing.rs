//! Resources that controllers leave alone, over HTTP.

use super::Platform;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

fn service(notes: Value) -> Value {
    json!({"version": "v1", "kind": "Service", "metadata": {"name": "web", "annotations": notes},
        "container": {"image": "meshagent/cli:default", "command": "x"}})
}

async fn apply(platform: &Platform, documents: Value) -> (StatusCode, Value) {
    let path = format!("/v1/projects/{}/apply", platform.project);
    let body = json!({"source": "shop", "documents": documents, "prune": true});
    platform.send(Method::POST, &path, Some(&platform.key), Some(body)).await
}

async fn on(platform: &Platform, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    let path = format!("/v1/projects/{}/resources/{path}", platform.project);
    let body = (method != Method::GET).then_some(body);
    platform.send(method, &path, Some(&platform.key), body).await
}

async fn ok(platform: &Platform, method: Method, path: &str) -> Value {
    let (status, answer) = on(platform, method, path, json!({})).await;
    assert_eq!(status, StatusCode::OK, "{path}: {answer}");
    answer
}

fn paused(resource: &Value) -> bool {
    let of = &resource["document"]["metadata"]["annotations"]["meshagent.dev/paused"];
    let noted = *of == "true";
    assert_eq!(resource["status"]["reconcile"]["pausedSince"].is_string(), noted, "{resource}");
    noted
}

#[tokio::test]
async fn a_resource_is_paused_beside_what_its_source_says() {
    let platform = Platform::new().await;
    let documents = || {
        json!([service(json!({"meshagent.dev/priority": "700", "meshagent.dev/reconcile-interval": "5m"}))])
    };
    assert_eq!(apply(&platform, documents()).await.0, StatusCode::OK);
    let made = ok(&platform, Method::GET, "service/web").await;
    let reconcile = json!({"intervalSeconds": 300, "priority": 700, "attempts": 0});
    assert_eq!(made["status"]["reconcile"], reconcile);

    let held = ok(&platform, Method::POST, "service/web/pause").await;
    assert!(paused(&held));
    assert_eq!(held["sources"]["pause"], json!(["/metadata/annotations/meshagent.dev~1paused"]));
    let again = ok(&platform, Method::POST, "service/web/pause").await;
    assert_eq!(again["generation"], held["generation"], "the same again is nothing");

    // What the source applies does not end it.
    let (status, answer) = apply(&platform, documents()).await;
    assert_eq!((status, &answer["summary"]["unchanged"]), (StatusCode::OK, &json!(1)), "{answer}");
    assert!(paused(&ok(&platform, Method::GET, "service/web").await));

    assert!(!paused(&ok(&platform, Method::POST, "service/web/resume").await));
    let (_, answer) = apply(&platform, documents()).await;
    assert_eq!(answer["summary"]["unchanged"], 1, "{answer}");
}

#[tokio::test]
async fn what_a_source_says_is_not_undone_behind_its_back() {
    let platform = Platform::new().await;
    let (status, _) = apply(&platform, json!([service(json!({"meshagent.dev/paused": "true"}))])).await;
    assert_eq!(status, StatusCode::OK);
    let (status, answer) = on(&platform, Method::POST, "service/web/resume", json!({})).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (StatusCode::CONFLICT, &json!("field-conflict")),
        "{answer}"
    );
    assert!(answer["error"]["message"].as_str().unwrap().contains("`shop`"), "{answer}");
    let (status, answer) = on(&platform, Method::POST, "service/web/resume", json!({"force": true})).await;
    assert!(status == StatusCode::OK && !paused(&answer), "{answer}");

    let (status, _) = apply(&platform, json!([service(json!({"meshagent.dev/paused": "false"}))])).await;
    assert_eq!(status, StatusCode::OK);
    let (status, answer) = on(&platform, Method::POST, "service/web/pause", json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
}

#[tokio::test]
async fn what_cannot_be_paused_and_bad_values_are_refused() {
    let platform = Platform::new().await;
    platform.ok(Method::POST, "/rooms", Some(json!({"name": "den"}))).await;
    let table = [
        ("room/den/pause", json!({}), StatusCode::BAD_REQUEST, "can be paused: service"),
        ("service/web/pause", json!({}), StatusCode::NOT_FOUND, "no service `web`"),
        ("sandwich/web/pause", json!({}), StatusCode::NOT_FOUND, "no kind"),
        ("service/web/pause", json!({"forse": true}), StatusCode::BAD_REQUEST, "forse"),
    ];
    for (path, body, want, text) in table {
        let (status, answer) = on(&platform, Method::POST, path, body).await;
        assert_eq!(status, want, "{path}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(text), "{path}: {answer}");
    }
    for notes in [
        json!({"meshagent.dev/paused": "yes"}),
        json!({"meshagent.dev/reconcile-interval": "5"}),
        json!({"meshagent.dev/priority": "1001"}),
    ] {
        let key = notes.as_object().unwrap().keys().next().unwrap().clone();
        let (status, answer) = apply(&platform, json!([service(notes.clone())])).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        let path = format!("metadata.annotations[\"{key}\"]");
        assert_eq!(answer["error"]["problems"][0]["path"], path, "{answer}");
        // The older route too.
        let path = format!("/accounts/projects/{}/services", platform.project);
        let sent = platform.send(Method::POST, &path, Some(&platform.key), Some(service(notes)));
        assert_eq!(sent.await.0, StatusCode::BAD_REQUEST);
    }
}

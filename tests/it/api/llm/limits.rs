//! Bodies, paths and credentials that are refused.

use super::{LIMIT, Rig};
use axum::body::Body;
use axum::http::{Method, Request};
use meshagent::app::token::Mint;
use meshagent::spec::ApiScope;
use serde_json::json;
use tower::ServiceExt;

#[tokio::test]
async fn bad_requests_are_refused_before_they_go_out() {
    let rig = Rig::new().await;
    let key = rig.platform.key.clone();
    for (path, kind, body, code) in [
        ("/openai/v1/files", "application/json", "{}", 404),
        ("/openai/v1/models/%2e%2e/files", "application/json", "{}", 404),
        ("/openai/v1/responses", "application/json", "nonsense", 400),
        ("/openai/v1/responses", "application/json", r#"{"model":"a","model":"b"}"#, 400),
        ("/openai/v1/responses", "application/json", r#"{"model":["a"]}"#, 400),
        ("/openai/v1/responses", "text/plain", r#"{"model":"a"}"#, 400),
        ("/openai/v1/audio/transcriptions", "multipart/form-data", "x", 400),
        ("/grok/v1/responses", "application/json", r#"{"model":"a"}"#, 404),
        // What others left under the server's key.
        ("/grok/v1/responses/r1", "application/json", "{}", 403),
        ("/anthropic/v1/messages/batches", "application/json", "{}", 403),
    ] {
        let answer = rig.post(path, &key).header("content-type", kind).body(body).send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!(status, code, "{path}: {text}");
        assert!(text.contains("\"error\""), "{path}: {text}");
    }
    assert!(rig.seen().is_empty());
}

#[tokio::test]
async fn models_are_only_looked_at_and_only_ones_own() {
    let rig = Rig::new().await;
    let (key, ann) = (rig.platform.key.clone(), rig.token("ann", Some(&["openai/m*"])).await);
    let ask = async |method: Method, path: &str, bearer: &str| {
        let request = rig.client.request(method, format!("http://{}{path}", rig.here)).bearer_auth(bearer);
        request.send().await.unwrap().status().as_u16()
    };
    for path in ["/openai/v1/models/ft:m", "/openai/v1/models", "/anthropic/v1/models/m"] {
        for method in [Method::DELETE, Method::POST, Method::PUT, Method::HEAD] {
            assert_eq!(ask(method.clone(), path, &key).await, 405, "{method} {path}");
        }
    }
    assert_eq!(ask(Method::GET, "/openai/v1/models/o3", &ann).await, 403);
    assert!(rig.seen().is_empty());
    assert_eq!(ask(Method::GET, "/openai/v1/models/m1", &ann).await, 200);
    assert_eq!(ask(Method::GET, "/openai/v1/models", &ann).await, 200);
}

#[tokio::test]
async fn what_names_other_models_is_refused_to_a_restricted_token() {
    let rig = Rig::new().await;
    let ann = rig.token("ann", Some(&["openai/m"])).await;
    let tools = json!({"model": "m", "tools": [{"type": "image_generation", "model": "other"}]});
    assert_eq!(rig.ask("/openai/v1/responses", &ann, tools).await.0, 403);
    let part = "Content-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n";
    let hidden = part.replace("\r\n\r\nm", "\r\n\r\nother");
    let kind = "multipart/form-data; boundary=b";
    for (path, body, code) in [
        ("audio/transcriptions", format!("--b\r\n{part}--b \r\n{hidden}--b--"), 400),
        ("audio/transcriptions", format!("--b\r\n{part}--b--"), 200),
        ("realtime/calls", format!("--b\r\n{part}--b--"), 403),
    ] {
        let request = rig.post(&format!("/openai/v1/{path}"), &ann).header("content-type", kind);
        let answer = request.body(body.clone()).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), code, "{path} {body}");
    }
    assert_eq!(rig.seen().len(), 1);
}

#[tokio::test]
async fn what_needs_no_look_at_the_body_is_refused_before_it_is_read() {
    let rig = Rig::new().await;
    let limits = json!({"limits": [{"per": "hour", "tokens": 14}]});
    rig.platform.ok(Method::PUT, "/settings/budgets", Some(limits)).await;
    for path in ["/anthropic/v1/messages/batches", "/grok/v1/responses/r1", "/openai/v1/audio/speech"] {
        let never = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
        let request = Request::post(path)
            .header("authorization", format!("Bearer {}", rig.platform.key))
            .body(Body::from_stream(never))
            .unwrap();
        let answer = tokio::time::timeout(LIMIT, rig.platform.router.clone().oneshot(request)).await;
        assert_eq!(answer.unwrap().unwrap().status().as_u16(), 403, "{path}");
    }
}

#[tokio::test]
async fn credentials_of_elsewhere_are_refused() {
    let rig = Rig::new().await;
    let mint = |room: Option<&str>| {
        let mut mint = Mint::new(rig.platform.project, "ann");
        mint.room = room.map(str::to_owned);
        mint.api = Some(ApiScope::agent_default());
        mint
    };
    let no_room = rig.platform.app.mint(mint(None)).await.unwrap();
    let gone = rig.platform.app.mint(mint(Some("gone"))).await.unwrap();
    for bearer in [&no_room, &gone] {
        let (status, answer) = rig.ask("/openai/v1/responses", bearer, json!({"model": "m"})).await;
        assert_eq!(status, 403, "{answer}");
    }
    let answer = rig
        .post("/openai/v1/responses", &rig.platform.other_key)
        .header("meshagent-project-id", rig.platform.project.to_string())
        .json(&json!({"model": "m"}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 403);
    let den = rig.platform.app.mint(mint(Some("den"))).await.unwrap();
    rig.platform.ok(Method::PUT, "/rooms/den", Some(json!({"name": "den", "enabled": false}))).await;
    assert_eq!(rig.ask("/openai/v1/responses", &den, json!({"model": "m"})).await.0, 403);
    assert!(rig.seen().is_empty());
}

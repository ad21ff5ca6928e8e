//! Bodies, paths and credentials that are refused.

use super::Rig;
use axum::http::Method;
use meshagent::app::token::Mint;
use meshagent::spec::ApiScope;
use serde_json::json;

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

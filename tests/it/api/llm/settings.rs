//! A project's own provider: its key is kept, used and never told.

use super::Rig;
use axum::http::Method;
use serde_json::{Value, json};

const OWN: &str = "sk-project-needle";

impl Rig {
    async fn settings(&self, method: Method, name: &str, body: Option<Value>) -> (u16, Value) {
        let path = format!("/accounts/projects/{}/settings/{name}", self.platform.project);
        let (status, answer) = self.platform.send(method, &path, Some(&self.platform.key), body).await;
        (status.as_u16(), answer)
    }
}

#[tokio::test]
async fn a_projects_own_provider_is_used_and_its_key_is_not_told() {
    let rig = Rig::new().await;
    assert_eq!(rig.settings(Method::GET, "grok", None).await.0, 404);
    let base = format!("http://{}/own/v1", rig.there);
    let (status, answer) =
        rig.settings(Method::PUT, "grok", Some(json!({"api_key": OWN, "base_url": base}))).await;
    assert_eq!(status, 200, "{answer}");
    let (status, answer) = rig.settings(Method::GET, "grok", None).await;
    assert_eq!((status, answer), (200, json!({"api_key": "********", "base_url": base})));
    let key = rig.platform.key.clone();
    assert_eq!(rig.ask("/grok/v1/responses", &key, json!({"model": "grok-1"})).await.0, 200);
    let seen = rig.seen();
    assert_eq!(seen[0].path, "/own/v1/responses");
    assert_eq!(seen[0].headers["authorization"], format!("Bearer {OWN}"));
    let (_, log) =
        rig.platform.send(Method::GET, "/v1/events?limit=100", Some(&rig.platform.key), None).await;
    let log = log.to_string();
    assert!(log.contains("project.settings-set") && !log.contains("needle"), "{log}");
    // The asterisks stand for the key that is kept, for the same address only.
    let kept = json!({"api_key": "********", "base_url": base});
    assert_eq!(rig.settings(Method::PUT, "grok", Some(kept)).await.0, 200);
    assert_eq!(rig.ask("/grok/v1/responses", &key, json!({"model": "grok-1"})).await.0, 200);
    assert_eq!(rig.seen()[1].headers["authorization"], format!("Bearer {OWN}"));
    let elsewhere = json!({"api_key": "********", "base_url": format!("http://{}/evil", rig.there)});
    assert_eq!(rig.settings(Method::PUT, "grok", Some(elsewhere)).await.0, 400);
    assert_eq!(rig.settings(Method::DELETE, "grok", None).await.0, 200);
    assert_eq!(rig.ask("/grok/v1/responses", &key, json!({"model": "grok-1"})).await.0, 404);
    assert_eq!(rig.settings(Method::DELETE, "grok", None).await.0, 404);
}

#[tokio::test]
async fn settings_that_are_not_as_wanted_are_refused_and_not_repeated() {
    let rig = Rig::new().await;
    for (name, body) in [
        ("openai", json!({})),
        ("openai", json!({"api_key": "********"})),
        ("openai", json!({"api_key": "sk-needle\nx"})),
        ("openai", json!({"key": "sk-needle"})),
        ("openai", json!({"api_key": ["sk-needle"]})),
        ("openai", json!({"base_url": "http://u:needle@h/"})),
        ("openai", json!({"base_url": "file:///needle"})),
        ("openai", json!("sk-needle")),
        ("budgets", json!({"limits": [{"per": "day"}]})),
        ("budgets", json!({"limits": [{"per": "day", "dollars": "1,5"}]})),
    ] {
        let (status, answer) = rig.settings(Method::PUT, name, Some(body.clone())).await;
        assert_eq!(status, 400, "{name} {body}: {answer}");
        assert!(!answer.to_string().contains("needle"), "{answer}");
    }
    assert_eq!(rig.settings(Method::PUT, "otel", Some(json!({}))).await.0, 501);
    assert_eq!(rig.settings(Method::PUT, "nonsense", Some(json!({}))).await.0, 404);
}

#[tokio::test]
async fn an_address_within_is_the_operators_to_allow() {
    let rig = Rig::new().await;
    for url in ["http://169.254.169.254/v1", "http://localhost:1/v1", "http://[::ffff:10.0.0.1]/v1"] {
        assert_eq!(rig.settings(Method::PUT, "openai", Some(json!({"base_url": url}))).await.0, 200);
        let (status, answer) =
            rig.ask("/openai/v1/responses", &rig.platform.key.clone(), json!({"model": "m"})).await;
        assert_eq!(status, 403, "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("not a public address"), "{answer}");
    }
}

//! A project's router document: kept as the clients write it, and held for every request.

use super::sockets::{ask, dial, next};
use super::{Rig, StandIn};
use axum::http::Method;
use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite;

impl Rig {
    async fn set_router(&self, document: Value) {
        self.platform.ok(Method::PUT, "/settings/router", Some(document)).await;
    }

    /// Asks as the program of this name.
    async fn ask_as(&self, agent: Option<&str>, body: Value) -> (u16, Value) {
        let request = self.post("/openai/v1/responses", &self.platform.key).json(&body);
        let request = match agent {
            Some(agent) => request.header("user-agent", agent),
            None => request,
        };
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }
}

fn last(stand_in: &StandIn) -> Value {
    stand_in.seen.lock().unwrap().last().unwrap().body.clone()
}

#[tokio::test]
async fn a_document_is_kept_and_bad_ones_are_refused() {
    let rig = Rig::new().await;
    let list = json!([{"provider": "openai", "model": "m"}]);
    rig.set_router(list.clone()).await;
    let kept = rig.platform.ok(Method::GET, "/settings/router", None).await;
    assert_eq!((&kept["allowedModels"], &kept["apps"]["mode"]), (&list, &json!("blocked")));
    for (bad, why) in [
        (json!({"alowedModels": []}), "alowedModels"),
        (
            json!({"rules": [{"then": {"tools": {"ensure": [{"type": "static", "name": "a", "description": "b", "content": "c"}]}}}]}),
            "answers none itself",
        ),
        (
            json!({"rules": [{"when": {"apis": ["realtime"]}, "then": {"tools": {"ensure": [{"type": "web_search"}]}}}]}),
            "rules[0]",
        ),
        (json!("secret"), "string, expected an object with allowedModels, apps and rules"),
    ] {
        let (status, answer) = rig
            .platform
            .send(Method::PUT, &rig.path("/settings/router"), Some(&rig.platform.key), Some(bad.clone()))
            .await;
        assert_eq!(
            (status.as_u16(), answer["error"]["code"].as_str().unwrap_or_default()),
            (400, "settings-invalid"),
            "{bad}: {answer}"
        );
        assert!(answer.to_string().contains(why), "{bad}: {answer}");
        assert!(!answer.to_string().contains("secret"), "what was written is not repeated: {answer}");
    }
    assert_eq!(rig.platform.ok(Method::GET, "/settings/router", None).await, kept, "nothing was changed");
}

#[tokio::test]
async fn only_the_allowed_models_are_asked() {
    let rig = Rig::new().await;
    rig.set_router(json!([{"provider": "openai", "model": "m*"}])).await;
    let key = rig.platform.key.clone();
    assert_eq!(rig.ask("/openai/v1/responses", &key, json!({"model": "m1"})).await.0, 200);
    for (path, body, want) in [
        ("/openai/v1/responses", json!({"model": "o3"}), 403),
        (
            "/openai/v1/responses",
            json!({"model": "m1", "tools": [{"type": "image_generation", "model": "gpt-image"}]}),
            403,
        ),
        ("/openai/v1/responses", json!({"prompt": {"id": "p"}}), 400),
        ("/openai/v1/embeddings", json!({"model": "e"}), 403),
        ("/anthropic/v1/messages", json!({"model": "m1"}), 403),
    ] {
        let (status, answer) = rig.ask(path, &key, body.clone()).await;
        assert_eq!(status, want, "{path} {body}: {answer}");
        if want == 403 {
            assert_eq!(answer["error"]["code"], "router-refused", "{answer}");
        }
    }
    assert_eq!(rig.seen().len(), 1);
    rig.platform.ok(Method::DELETE, "/settings/router", None).await;
    assert_eq!(rig.ask("/openai/v1/responses", &key, json!({"model": "o3"})).await.0, 200, "at once");
}

#[tokio::test]
async fn programs_are_held_to_the_list() {
    let rig = Rig::new().await;
    let body = json!({"model": "m"});
    rig.set_router(json!({"apps": {"userAgentPatterns": ["curl/*"], "blockMissingUserAgent": true}})).await;
    assert_eq!(rig.ask_as(Some("codex/1.0"), body.clone()).await.0, 200);
    let (status, answer) = rig.ask_as(Some("curl/8.1"), body.clone()).await;
    assert_eq!((status, answer["error"]["type"].as_str().unwrap()), (403, "permission_error"), "{answer}");
    assert_eq!(rig.ask_as(None, body.clone()).await.0, 403);
    rig.set_router(json!({"apps": {"mode": "allowed", "userAgentPatterns": ["meshagent*"]}})).await;
    assert_eq!(rig.ask_as(Some("meshagent/0.1"), body.clone()).await.0, 200);
    assert_eq!(rig.ask_as(Some("codex/1.0"), body).await.0, 403);
    let refused = dial(&rig, "/openai/v1/responses", &rig.platform.key).await.unwrap_err();
    assert!(matches!(&refused, tungstenite::Error::Http(answer) if answer.status() == 403), "{refused}");
    assert_eq!(rig.seen().len(), 2);
}

#[tokio::test]
async fn rules_change_what_the_provider_gets() {
    let rig = Rig::new().await;
    let search = json!({"type": "web_search", "allowed_domains": ["example.com"]});
    rig.set_router(json!({"rules": [
        {"name": "policy", "when": {"apis": ["responses", "messages"]}, "then": {"instructions": {"append": "Follow policy."},
            "tools": {"deny": [{"type": "code_interpreter"}], "ignore": [{"type": "image_generation"}], "ensure": [search]}}},
        {"when": {"header": {"x-app": "nightly"}, "models": ["openai/m2"]}, "then": {"instructions": {"replace": "Only this."}}},
    ]}))
    .await;
    let key = rig.platform.key.clone();
    let body = json!({"model": "m", "instructions": "Be kind.", "tools": [{"type": "image_generation"}], "input": "hi"});
    assert_eq!(rig.ask("/openai/v1/responses", &key, body).await.0, 200);
    let got = last(&rig.stand_in);
    assert_eq!(got["instructions"], "Be kind.\n\nFollow policy.");
    assert_eq!(
        got["tools"],
        json!([{"type": "web_search", "filters": {"allowed_domains": ["example.com"]}}])
    );
    assert_eq!(
        rig.ask("/anthropic/v1/messages", &key, json!({"model": "claude", "messages": []})).await.0,
        200
    );
    let got = last(&rig.stand_in);
    assert_eq!(
        (&got["system"], &got["tools"][0]["type"]),
        (&json!("Follow policy."), &json!("web_search_20250305"))
    );
    let denied = json!({"model": "m", "tools": [{"type": "code_interpreter"}]});
    let (status, answer) = rig.ask("/openai/v1/responses", &key, denied).await;
    assert_eq!(status, 403, "{answer}");
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("(`policy`) denies the tool `code_interpreter`")
    );
    let nightly =
        rig.post("/openai/v1/responses", &key).header("x-app", "nightly").json(&json!({"model": "m2"}));
    assert_eq!(nightly.send().await.unwrap().status().as_u16(), 200);
    assert_eq!(last(&rig.stand_in)["instructions"], "Only this.");
    let chat = json!({"model": "chat", "messages": [], "stream": true});
    assert_eq!(
        rig.post("/openai/v1/chat/completions", &key).json(&chat).send().await.unwrap().status().as_u16(),
        200
    );
    assert!(last(&rig.stand_in).get("tools").is_none(), "the rule is about other interfaces");
}

#[tokio::test]
async fn what_is_not_looked_into_does_not_go_past_the_document() {
    let rig = Rig::new().await;
    let key = rig.platform.key.clone();
    let form = async |path: &str, field: &str, value: &str| {
        let body = format!("--b\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n--b--");
        let request = rig.post(&format!("/openai/v1/{path}"), &key);
        let answer = request.header("content-type", "multipart/form-data; boundary=b").body(body).send();
        let answer = answer.await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap_or_default())
    };
    let session = r#"{"type": "realtime", "model": "o3", "instructions": "Anything goes."}"#;
    assert_eq!(form("realtime/calls", "session", session).await.0, 200, "there is no document");
    // An allowed name in the form's own field does not speak for the session beside it.
    rig.set_router(json!([{"provider": "openai", "model": "m"}])).await;
    for (path, want) in [("realtime/calls", 403), ("realtime/client_secrets", 400)] {
        for (field, value) in [("session", session), ("model", "m")] {
            let (status, answer) = form(path, field, value).await;
            assert_eq!(status, want, "{path} {field}: {answer}");
        }
    }
    let brief = json!({"instructions": {"append": "Be brief."}});
    rig.set_router(json!({"rules": [{"when": {"providers": ["openai"]}, "then": brief}]})).await;
    for path in ["realtime/calls", "realtime/client_secrets", "responses"] {
        let (status, answer) = form(path, "session", session).await;
        assert_eq!((status, &answer["error"]["code"]), (403, &json!("router-refused")), "{path}: {answer}");
        assert!(answer.to_string().contains("rules[0]"), "{path}: {answer}");
    }
    assert_eq!(form("audio/transcriptions", "model", "whisper-1").await.0, 200, "rules are not about it");
    rig.set_router(json!({"rules": [{"when": {"providers": ["grok"]}, "then": brief}]})).await;
    assert_eq!(form("realtime/calls", "session", session).await.0, 200, "the rule is about another provider");
    assert_eq!(rig.seen().len(), 3);
}

#[tokio::test]
async fn every_message_of_a_socket_is_held_to_the_document() {
    let rig = Rig::new().await;
    let mut socket = dial(&rig, "/openai/v1/responses", &rig.platform.key).await.unwrap();
    next(&mut socket).await;
    assert_eq!(ask(&mut socket, "m").await["type"], "response.completed");
    // Set while the socket is open.
    rig.set_router(json!({"allowedModels": [{"provider": "openai", "model": "m"}], "rules": [
        {"when": {"transports": ["websocket"]}, "then": {"tools": {"deny": [{"type": "mcp"}]}}}]}))
        .await;
    assert_eq!(ask(&mut socket, "o3").await["status"], 403);
    let denied =
        json!({"type": "response.create", "model": "m", "tools": [{"type": "mcp", "server_label": "x"}]});
    socket.send(tungstenite::Message::text(denied.to_string())).await.unwrap();
    let refused = next(&mut socket).await;
    assert_eq!(
        (&refused["status"], &refused["error"]["code"]),
        (&json!(403), &json!("router-refused")),
        "{refused}"
    );
    assert_eq!(ask(&mut socket, "m").await["type"], "response.completed", "the socket lives on");
    let over_http = json!({"model": "m", "tools": [{"type": "mcp", "server_label": "x"}]});
    assert_eq!(rig.ask("/openai/v1/responses", &rig.platform.key.clone(), over_http).await.0, 200);
}

#[tokio::test]
async fn what_a_socket_sends_is_changed() {
    let rig = Rig::new().await;
    rig.set_router(json!({"rules": [{"then": {"instructions": {"append": "Be brief."}}}]})).await;
    let mut socket = dial(&rig, "/openai/v1/responses", &rig.platform.key).await.unwrap();
    next(&mut socket).await;
    let create = json!({"type": "response.create", "model": "echo", "instructions": "Hi.", "input": []});
    socket.send(tungstenite::Message::text(create.to_string())).await.unwrap();
    let told = next(&mut socket).await;
    assert_eq!(told["response"]["asked"]["instructions"], "Hi.\n\nBe brief.", "{told}");
    let mut socket = dial(&rig, "/openai/v1/realtime?model=echo", &rig.platform.key).await.unwrap();
    next(&mut socket).await;
    let opening = next(&mut socket).await;
    assert_eq!(
        opening["response"]["asked"]["session"],
        json!({"type": "realtime", "instructions": "Be brief."}),
        "{opening}"
    );
}

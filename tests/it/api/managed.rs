//! Managed agents over REST, in the field names the official client reads and writes.

use super::Platform;
use axum::http::{Method, StatusCode};
use meshagent::app::token::Mint;
use meshagent::spec::ApiScope;
use serde_json::{Value, json};

/// A document as the official client sends it: everything is there, and much of it null.
fn document(name: &str) -> Value {
    json!({"version": "v1", "kind": "ManagedAgent", "id": null, "metadata": {"name": name, "annotations": {}},
        "allowed_models": [{"provider": "openai", "model": "builtin/echo", "output_modalities": null}],
        "guardrails": null, "run_as": null, "llm_delegation": "optional", "thread_isolation": "global",
        "instructions": "Be brief.", "toolkits": null, "tools": [], "connections": {}, "environment": [],
        "output_modalities": null, "store": true})
}

fn made(name: &str) -> Value {
    json!({"configuration": document(name), "if_not_exists": false})
}

async fn refused(p: &Platform, method: Method, path: &str, body: Value, want: StatusCode) -> String {
    let path = format!("/accounts/projects/{}{path}", p.project);
    let (status, body) = p.send(method, &path, Some(&p.key), Some(body)).await;
    assert_eq!(status, want, "{path}: {body}");
    body["error"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn agents_are_made_changed_listed_and_deleted() {
    let p = Platform::new().await;
    let agent = p.ok(Method::POST, "/agents", Some(made(" Helper "))).await;
    assert_eq!((&agent["name"], &agent["configuration"]["id"]), (&json!("helper"), &agent["id"]));
    assert_eq!(agent["configuration"]["instructions"], "Be brief.");
    let id = agent["id"].as_str().unwrap();
    for path in ["/agents/helper", "/agents/Helper", &format!("/agents/{id}")] {
        assert_eq!(p.ok(Method::GET, path, None).await, agent, "{path}");
    }
    let taken = refused(&p, Method::POST, "/agents", made("helper"), StatusCode::CONFLICT).await;
    assert!(taken.contains("agent `helper` exists already"), "{taken}");
    let mut again = made("helper");
    again["if_not_exists"] = json!(true);
    assert_eq!(p.ok(Method::POST, "/agents", Some(again)).await["id"], agent["id"]);
    p.ok(Method::POST, "/agents", Some(made("another"))).await;
    let page = p.ok(Method::GET, "/agents?page_size=1&view=my", None).await;
    assert_eq!((&page["agents"][0]["name"], &page["total"]), (&json!("another"), &json!(2)));
    let next = page["continuation_token"].as_str().unwrap();
    let last =
        p.ok(Method::GET, &format!("/agents?page_size=1&view=my&continuation_token={next}"), None).await;
    assert_eq!((&last["agents"][0], &last["continuation_token"]), (&agent, &Value::Null));
    assert_eq!(p.ok(Method::GET, "/agents?filter=HELP", None).await["total"], 1);

    // A new name: the agent stays what it is, and the old name is free.
    p.ok(Method::PUT, &format!("/agents/{id}"), Some(json!({"configuration": document("assistant")}))).await;
    assert_eq!(p.ok(Method::GET, "/agents/assistant", None).await["id"], agent["id"]);
    refused(&p, Method::GET, "/agents/helper", json!({}), StatusCode::NOT_FOUND).await;
    let taken = json!({"configuration": document("another")});
    refused(&p, Method::PUT, &format!("/agents/{id}"), taken, StatusCode::CONFLICT).await;
    p.ok(Method::DELETE, &format!("/agents/{id}"), None).await;
    p.ok(Method::POST, "/agents", Some(made("assistant"))).await;
    refused(&p, Method::DELETE, &format!("/agents/{id}"), json!({}), StatusCode::NOT_FOUND).await;
}

#[tokio::test]
async fn an_agents_room_and_service_are_its_own() {
    let p = Platform::new().await;
    let agent = p.ok(Method::POST, "/agents", Some(made("helper"))).await;
    let id = agent["id"].as_str().unwrap();
    assert_eq!(p.ok(Method::GET, "/rooms?view=my", None).await["total"], 0, "not among the rooms of people");
    let rooms = p.ok(Method::GET, "/rooms?view=all", None).await;
    let room = rooms["rooms"][0]["name"].as_str().unwrap().to_owned();
    assert_eq!((&rooms["total"], &rooms["rooms"][0]["id"]), (&json!(1), &agent["id"]));
    let services = format!("/rooms/{room}/services");
    let service = p.ok(Method::GET, &services, None).await["services"][0].clone();
    assert_eq!((&service["metadata"]["name"], &service["id"]), (&json!("helper"), &agent["id"]));
    for (method, path, body) in [
        (Method::DELETE, format!("/rooms/{room}"), json!({})),
        (Method::PUT, format!("/rooms/{room}"), json!({"enabled": false})),
        (Method::POST, services.clone(), service.clone()),
        (Method::PUT, format!("{services}/{id}"), service.clone()),
        (Method::DELETE, format!("{services}/{id}"), json!({})),
    ] {
        let path = format!("/accounts/projects/{}{path}", p.project);
        let (status, body) = p.send(method, &path, Some(&p.key), Some(body)).await;
        assert!(status.is_client_error(), "{path}: {body}");
        let text = body["error"]["message"].as_str().unwrap();
        assert!(text.contains("belongs to managed agent `helper`"), "{text}");
    }
    let mut changed = document("helper");
    changed["instructions"] = json!("Be long.");
    p.ok(Method::PUT, &format!("/agents/{id}"), Some(json!({"configuration": changed}))).await;
    let service = p.ok(Method::GET, &services, None).await["services"][0].to_string();
    assert!(service.contains("Be long."), "{service}");
    p.ok(Method::DELETE, &format!("/agents/{id}"), None).await;
    assert_eq!(p.ok(Method::GET, "/rooms?view=all", None).await["total"], 0, "all of it is gone");
    assert_eq!(p.ok(Method::GET, "/agents/sessions?limit=25", None).await["sessions"], json!([]));
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused_and_nothing_is_made() {
    let p = Platform::new().await;
    for (field, value, why) in [
        ("guardrails", json!({"input": [{"name": "polite"}]}), "guardrails"),
        ("tools", json!([{"type": "python", "name": "add"}]), "Python tools"),
        ("llm_delegation", json!("required"), "llm_delegation"),
        ("allowed_models", json!([]), "allowed_models"),
        ("metadata", json!({"name": "a/b"}), "name"),
        ("colour", json!("red"), "unknown field `colour`"),
        ("environment", json!([{"name": "MESHAGENT_TOKEN", "value": "x"}]), "environment"),
    ] {
        let mut bad = made("helper");
        bad["configuration"][field] = value;
        let text = refused(&p, Method::POST, "/agents", bad, StatusCode::BAD_REQUEST).await;
        assert!(text.contains(why), "{text}");
    }
    refused(&p, Method::POST, "/agents", json!({}), StatusCode::BAD_REQUEST).await;
    assert_eq!(p.ok(Method::GET, "/agents", None).await, {
        json!({"agents": [], "total": 0, "continuation_token": null})
    });
}

#[tokio::test]
async fn an_agent_has_files_of_its_own() {
    let p = Platform::new().await;
    p.ok(Method::POST, "/agents", Some(made("helper"))).await;
    p.ok(Method::POST, "/rooms", Some(json!({"name": "den"}))).await;
    let base = format!("/files/{}/agents/helper/", p.project);
    let file = format!("{base}notes/a.json");
    let send = async |method, path: &str, body| p.send(method, path, Some(&p.key), body).await;
    assert_eq!(send(Method::HEAD, &file, None).await.0, StatusCode::NOT_FOUND);
    assert_eq!(send(Method::PUT, &file, Some(json!({"x": 1}))).await.0, StatusCode::OK);
    assert_eq!(send(Method::GET, &file, None).await, (StatusCode::OK, json!({"x": 1})));
    let (_, list) = send(Method::GET, &format!("{base}?list=&prefix=notes"), None).await;
    assert_eq!(list["entries"][0]["name"], "a.json");
    let source = json!({"target": {"project_id": p.project.to_string(), "kind": "agent", "name": "helper"},
        "path": "notes/a.json"});
    let copy = format!("/files/{}/rooms/den/b.json?action=copy", p.project);
    assert_eq!(send(Method::POST, &copy, Some(json!({"source": source}))).await.0, StatusCode::OK);
    let copied = format!("/files/{}/rooms/den/b.json", p.project);
    assert_eq!(send(Method::GET, &copied, None).await.1, json!({"x": 1}));
    let nobody = format!("/files/{}/agents/nobody/a", p.project);
    assert_eq!(send(Method::GET, &nobody, None).await.0, StatusCode::NOT_FOUND);

    // A participant of a room reaches that room, and learns of no agent.
    let mut mint = Mint::new(p.project, "visitor");
    mint.room = Some("den".to_owned());
    mint.api = Some(ApiScope::full());
    let visitor = p.app.mint(mint).await.unwrap();
    let source = json!({"source": source});
    let of = async |path: &str| p.send(Method::GET, path, Some(&visitor), None).await;
    assert_eq!(of(&file).await, of(&nobody).await, "one that is there is refused in the same words");
    for (method, path, body) in
        [(Method::GET, &file, None), (Method::GET, &nobody, None), (Method::POST, &copy, Some(source))]
    {
        let (status, body) = p.send(method, path, Some(&visitor), body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {body}");
    }
    assert_eq!(send(Method::DELETE, &file, None).await.0, StatusCode::OK);
}

//! Routes over REST, as the public clients call them.

use super::Platform;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

fn spec(domain: &str, room: &str) -> Value {
    json!({"version": "v1", "kind": "Route", "metadata": {"name": domain, "annotations": {}}, "domain": domain,
        "backend": {"room": {"name": room}},
        "paths": [{"path": "/", "pathType": "prefix", "targetPort": "8000"}]})
}

async fn refused(p: &Platform, method: Method, path: &str, body: Value) -> (StatusCode, String) {
    let path = format!("/accounts/projects/{}{path}", p.project);
    let (status, answer) = p.send(method, &path, Some(&p.key), Some(body)).await;
    (status, answer["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_route_is_made_listed_changed_and_deleted() {
    let p = Platform::new().await;
    p.ok(Method::POST, "/rooms", Some(json!({"name": "den"}))).await;
    // The clients write nulls, and room and agent both.
    let mut body = spec("Shop.Example", "den");
    body["backend"]["agent"] = Value::Null;
    p.ok(Method::POST, "/routes", Some(json!({"spec": body}))).await;
    let wanted = json!({"domain": "shop.example", "spec": spec("Shop.Example", "den")});
    let got = p.ok(Method::GET, "/routes/SHOP.example", None).await;
    assert_eq!(got, json!({"route": wanted}));
    let (status, code) =
        refused(&p, Method::POST, "/routes", json!({"spec": spec("shop.example.", "den")})).await;
    assert_eq!((status, code.as_str()), (StatusCode::CONFLICT, "name-taken"));
    // The older flat form.
    let flat = json!({"domain": "old.example", "room_name": "den", "port": "80", "annotations": {"a": "b"}});
    p.ok(Method::POST, "/routes", Some(flat)).await;
    let listed = p.ok(Method::GET, "/routes?page_size=1", None).await;
    assert_eq!((&listed["total"], &listed["routes"][0]["domain"]), (&json!(2), &json!("old.example")));
    let token = listed["continuation_token"].as_str().unwrap();
    let next = p.ok(Method::GET, &format!("/routes?page_size=1&continuation_token={token}"), None).await;
    assert_eq!(
        (&next["routes"][0]["domain"], &next["continuation_token"]),
        (&json!("shop.example"), &Value::Null)
    );
    assert_eq!(p.ok(Method::GET, "/routes?filter=SHOP", None).await["total"], 1);
    assert_eq!(p.ok(Method::GET, "/rooms/den/routes?count=5&offset=0", None).await["total"], 2);

    let mut changed = spec("shop.example", "den");
    changed["paths"][0]["targetPort"] = json!(9);
    p.ok(Method::PUT, "/routes/shop.example", Some(json!({"spec": changed}))).await;
    let got = p.ok(Method::GET, "/routes/shop.example", None).await;
    assert_eq!(got["route"]["spec"]["paths"][0]["targetPort"], 9);
    let (status, _) =
        refused(&p, Method::PUT, "/routes/shop.example", json!({"spec": spec("new.example", "den")})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "the domain stays");
    p.ok(Method::DELETE, "/routes/old.example", None).await;
    let (status, _) = refused(&p, Method::DELETE, "/routes/old.example", Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    // A room takes its routes along, and the domain is free again.
    p.ok(Method::DELETE, "/rooms/den", None).await;
    assert_eq!(p.ok(Method::GET, "/routes", None).await["total"], 0);
    p.ok(Method::POST, "/rooms", Some(json!({"name": "new"}))).await;
    p.ok(Method::POST, "/routes", Some(json!({"spec": spec("shop.example", "new")}))).await;
}

#[tokio::test]
async fn routes_follow_renamed_rooms_and_lead_to_agents() {
    let p = Platform::new().await;
    let id = p.ok(Method::POST, "/rooms", Some(json!({"name": "den"}))).await["id"].clone();
    p.ok(Method::POST, "/routes", Some(json!({"spec": spec("a.example", "den")}))).await;
    let path = format!("/rooms/{}", id.as_str().unwrap());
    p.ok(Method::PUT, &path, Some(json!({"name": "cave"}))).await;
    let got = p.ok(Method::GET, "/routes/a.example", None).await;
    assert_eq!(got["route"]["spec"]["backend"], json!({"room": {"name": "cave"}}));

    let agent =
        json!({"metadata": {"name": "helper"}, "allowed_models": [{"provider": "openai", "model": "m"}]});
    let id = p.ok(Method::POST, "/agents", Some(json!({"configuration": agent}))).await["id"].clone();
    let mut files = spec("b.example", "x");
    files["backend"] = json!({"agent": {"name": "Helper"}});
    files["paths"] = json!([{"path": "/", "targetContent": {"subpath": "/site/", "index": true}}]);
    p.ok(Method::POST, "/routes", Some(json!({"spec": files}))).await;
    let listed = p.ok(Method::GET, "/agents/helper/routes", None).await;
    assert_eq!(listed["routes"][0]["spec"]["backend"], json!({"agent": {"name": "helper"}}));
    p.ok(Method::DELETE, &format!("/agents/{}", id.as_str().unwrap()), None).await;
    assert_eq!(p.ok(Method::GET, "/routes?filter=b.example", None).await["total"], 0);
}

#[tokio::test]
async fn what_is_no_route_is_refused_with_the_reason() {
    let p = Platform::new().await;
    p.ok(Method::POST, "/rooms", Some(json!({"name": "den"}))).await;
    let with = |path: &str, value: Value| {
        let mut spec = spec("a.example", "den");
        *spec.pointer_mut(path).unwrap() = value;
        json!({"spec": spec})
    };
    let content = |content: Value| with("/paths/0", json!({"path": "/", "targetContent": content}));
    let many: Vec<Value> = (0..101).map(|n| json!({"path": format!("/{n}"), "targetPort": 1})).collect();
    let bad_request = [
        with("/domain", json!("host")),
        with("/domain", json!("127.0.0.1")),
        with("/domain", json!("a.example:80")),
        with("/domain", json!("a/b")),
        with("/paths", json!([])),
        with("/paths", json!(many)),
        with("/paths/0/path", json!("nope")),
        with("/paths/0/path", json!("/a/../b")),
        with("/paths/0/path", json!("/a%2f")),
        with("/paths/0/targetPort", json!("")),
        with("/paths/0/targetPort", json!(70_000)),
        with("/paths", json!([{"path": "/", "targetPort": 1}, {"path": "/", "targetPort": 2}])),
        with("/paths/0", json!({"path": "/", "targetPort": 1, "unavailable": "../x"})),
        with("/paths/0", json!({"path": "/", "targetPort": 1, "targetContent": {}})),
        with("/backend", json!({"room": {"name": "den"}, "agent": {"name": "a"}})),
        content(json!({"subpath": "a/../b"})),
        content(json!({"notFound": "/"})),
        content(json!({"cors": [{"allowedOrigins": []}]})),
        content(json!({"cors": [{"allowedOrigins": ["a\r\nb"]}]})),
        content(json!({"cors": [{"allowedOrigins": ["*"], "allowCredentials": true}]})),
        content(json!({"compression": "zip"})),
        json!({"spec": {"domain": "a.example"}}),
        json!({}),
    ];
    for body in bad_request {
        let (status, _) = refused(&p, Method::POST, "/routes", body.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    }
    for body in
        [with("/backend/room/name", json!("other")), with("/backend", json!({"agent": {"name": "x"}}))]
    {
        let (status, _) = refused(&p, Method::POST, "/routes", body.clone()).await;
        assert!([StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST].contains(&status), "{body}: {status}");
    }
    assert_eq!(p.ok(Method::GET, "/routes", None).await["total"], 0);
}

#[tokio::test]
async fn a_domain_is_one_projects_and_other_projects_learn_nothing_of_it() {
    let p = Platform::new().await;
    p.ok(Method::POST, "/rooms", Some(json!({"name": "den"}))).await;
    p.ok(Method::POST, "/routes", Some(json!({"spec": spec("a.example", "den")}))).await;
    let (_, me) = p.send(Method::GET, "/accounts/projects", Some(&p.other_key), None).await;
    let other = me["projects"][0]["id"].as_str().unwrap().to_owned();
    let at = |path: &str| format!("/accounts/projects/{other}{path}");
    let key = Some(p.other_key.as_str());
    let (status, _) = p.send(Method::POST, &at("/rooms"), key, Some(json!({"name": "den"}))).await;
    assert_eq!(status, StatusCode::OK);
    let taken =
        p.send(Method::POST, &at("/routes"), key, Some(json!({"spec": spec("a.example", "den")}))).await;
    assert_eq!(taken.0, StatusCode::CONFLICT, "{}", taken.1);
    for (method, body) in [
        (Method::GET, None),
        (Method::DELETE, None),
        (Method::PUT, Some(json!({"spec": spec("a.example", "den")}))),
    ] {
        let (status, answer) = p.send(method.clone(), &at("/routes/a.example"), key, body).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{method}: {answer}");
    }
    assert_eq!(p.send(Method::GET, &at("/routes"), key, None).await.1["total"], 0);
}

//! Rooms over REST, as the official client asks.

use super::Platform;
use axum::http::{Method, StatusCode};
use serde_json::json;

#[tokio::test]
async fn a_room_lives_by_name_and_by_id() {
    let p = Platform::new().await;
    let body = json!({"name": "den", "if_not_exists": false, "metadata": null, "annotations": null,
        "permissions": {"__local__": {"admin": {"config": true}, "secrets": null}}});
    let made = p.ok(Method::POST, "/rooms", Some(body.clone())).await;
    let id = made["id"].as_str().unwrap().to_owned();
    assert_eq!(made, json!({"id": id, "name": "den", "metadata": {}, "annotations": {}, "enabled": true}));
    for key in ["den", &id] {
        assert_eq!(p.ok(Method::GET, &format!("/rooms/{key}"), None).await, made);
    }
    let path = format!("/accounts/projects/{}/rooms", p.project);
    let (status, answer) = p.send(Method::POST, &path, Some(&p.key), Some(body)).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(answer["error"]["message"].as_str().unwrap().contains("room `den` exists already"), "{answer}");
    let again = p.ok(Method::POST, "/rooms", Some(json!({"name": "den", "if_not_exists": true}))).await;
    assert_eq!(again["id"], id.as_str());

    p.ok(Method::PUT, &format!("/rooms/{id}"), Some(json!({"name": "lair", "annotations": {"a": "b"}})))
        .await;
    assert_eq!(p.ok(Method::GET, "/rooms/lair", None).await["annotations"], json!({"a": "b"}));
    p.ok(Method::DELETE, &format!("/rooms/{id}"), None).await;
    let (status, _) = p.send(Method::GET, &format!("{path}/lair"), Some(&p.key), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(p.ok(Method::GET, "/rooms", None).await["total"], 0);
}

#[tokio::test]
async fn connecting_opens_a_session_and_a_disabled_room_is_locked() {
    let p = Platform::new().await;
    let id = p.ok(Method::POST, "/rooms", Some(json!({"name": "den"}))).await["id"].clone();
    assert_eq!(p.ok(Method::GET, "/rooms/den/status", None).await["status"], "Unallocated");
    let connected = p.ok(Method::POST, "/rooms/den/connect", Some(json!({}))).await;
    assert_eq!(connected["room_url"], "ws://host/rooms/den");
    let bearer = p.app.verify(connected["jwt"].as_str().unwrap()).await.unwrap();
    assert_eq!((bearer.room.as_deref(), bearer.role.as_str()), (Some("den"), "user"));
    assert_eq!(p.ok(Method::GET, "/rooms/den/status", None).await["status"], "Allocated");
    let sessions = p.ok(Method::GET, "/sessions?limit=25", None).await;
    assert_eq!(sessions["sessions"][0]["room_id"], id);
    assert_eq!(sessions["sessions"][0]["is_active"], true);
    p.ok(Method::PUT, "/rooms/den", Some(json!({"enabled": false}))).await;
    let path = format!("/accounts/projects/{}/rooms/den/connect", p.project);
    let (status, answer) = p.send(Method::POST, &path, Some(&p.key), Some(json!({}))).await;
    assert_eq!(status, StatusCode::LOCKED);
    assert!(answer["error"]["message"].as_str().unwrap().contains("enable it with"), "{answer}");
}

#[tokio::test]
async fn rooms_are_paged_and_filtered() {
    let p = Platform::new().await;
    for n in 0..5 {
        p.ok(Method::POST, "/rooms", Some(json!({"name": format!("room-{n}")}))).await;
    }
    let mut names = vec![];
    let mut query = "/rooms?page_size=2&view=my".to_owned();
    loop {
        let page = p.ok(Method::GET, &query, None).await;
        names
            .extend(page["rooms"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap().to_owned()));
        assert_eq!(page["total"], 5);
        match page["continuation_token"].as_str() {
            Some(token) => query = format!("/rooms?page_size=2&continuation_token={token}"),
            None => break,
        }
    }
    assert_eq!(names, ["room-0", "room-1", "room-2", "room-3", "room-4"]);
    assert_eq!(p.ok(Method::GET, "/rooms?filter=M-3", None).await["total"], 1);
}

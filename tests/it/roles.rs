//! Users of rooms and members of projects: what their roles let them do, and who is told of it.

use crate::events::{command, rest};
use crate::support::server::Server;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use meshagent::client::rest::{Bearer, ProjectRest, Rest, ServiceBody, ServiceScope};
use serde_json::{Value, json};
use std::fs;

const ROOM: [&str; 4] = ["--resource-type", "room", "--resource-id", "desk"];
const ANN: [&str; 4] = ["--subject-type", "user", "--subject-id", "Ann@example.com"];

/// The `api` grant of the token that a user gets.
async fn scope(project: &ProjectRest, user: &str) -> Value {
    let jwt = project.connect_as("desk", user).await.unwrap().jwt;
    let payload = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(claims["name"], user);
    let grants = claims["grants"].as_array().unwrap();
    let mut api = grants.iter().find(|grant| grant["name"] == "api").unwrap()["scope"].clone();
    api.as_object_mut().unwrap().retain(|_, grant| !grant.is_null());
    api
}

fn grants_of(api: &Value) -> Vec<&str> {
    api.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_role_says_what_it_may_do_in_a_room() {
    let server = Server::start(&[]);
    let project = rest(&server).project(&server.project_id);
    command(&server, &["rooms", "create", "--name", "desk"]);
    assert!(grants_of(&scope(&project, "bob@example.com").await).contains(&"admin"), "nobody is named yet");

    command(&server, &[&["iam", "grant"], &ROOM[..], &ANN, &["--role", "viewer,guest"]].concat());
    let viewer = scope(&project, "ann@example.com").await;
    assert_eq!(grants_of(&viewer), ["livekit", "messaging"]);
    assert_eq!(viewer["messaging"]["send"], false);
    let refused = project.connect_as("desk", "bob@example.com").await.unwrap_err().to_string();
    assert!(refused.contains("`bob@example.com` has no role in room `desk`"), "{refused}");
    let own = project.connect("desk").await.unwrap();
    assert!(!own.jwt.is_empty(), "the key itself is no user");

    let file = server.data_dir().join("roles.yaml");
    let text = "version: v1\nkind: RoomRoles\nroles:\n  viewer:\n    participant:\n      api: {queues: {send: [in]}}\n";
    fs::write(&file, text).unwrap();
    command(&server, &["project", "set-room-roles", file.to_str().unwrap()]);
    let custom = scope(&project, "ann@example.com").await;
    assert_eq!((grants_of(&custom), &custom["queues"]["send"]), (vec!["queues"], &json!(["in"])));
    let test = |relation: &str| {
        json!({"subject": {"type": "user", "id": "ann@example.com"}, "relation": relation,
            "resource": {"type": "room", "id": "desk"}})
    };
    let segments = ["accounts", "projects", &server.project_id, "access:test"];
    for (relation, allowed) in [("guest", true), ("viewer", true), ("operator", false), ("owner", false)] {
        let answer = rest(&server).post(&segments, &test(relation)).await.unwrap();
        assert_eq!(answer["allowed"], allowed, "{relation}");
    }
    command(&server, &["project", "reset-room-roles"]);
    assert_eq!(scope(&project, "ann@example.com").await, viewer);

    let shown = command(&server, &[&["iam", "policy"], &ROOM[..]].concat());
    assert!(shown.contains("ann@example.com") && shown.contains("guest, viewer"), "{shown}");
    command(&server, &[&["iam", "revoke"], &ROOM[..], &ANN].concat());
    assert_eq!(project.policy("room", "desk").await.unwrap(), Vec::<Value>::new());
    for user in ["ann@example.com", "bob@example.com"] {
        let refused = project.connect_as("desk", user).await.unwrap_err().to_string();
        assert!(refused.contains(&format!("`{user}` has no role in room `desk`")), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_that_cannot_be_are_refused() {
    let server = Server::start(&[]);
    let project = rest(&server).project(&server.project_id);
    command(&server, &["rooms", "create", "--name", "desk"]);
    let user = json!({"type": "user", "id": "ann@example.com"});
    for (kind, id, body, why) in [
        ("room", "desk", json!({"subject": user, "roles": ["owner"]}), "there is no role `owner`"),
        ("room", "desk", json!({"subject": user, "roles": []}), "no role was named"),
        (
            "room",
            "desk",
            json!({"subject": {"type": "user", "id": "me"}, "roles": ["admin"]}),
            "name the user",
        ),
        (
            "room",
            "desk",
            json!({"subject": {"type": "group", "id": "g"}, "roles": ["admin"]}),
            "type `group`",
        ),
        ("room", "attic", json!({"subject": user, "roles": ["admin"]}), "no room `attic`"),
        ("project", "desk", json!({"subject": user, "roles": ["admin"]}), "not the project"),
        ("feed", "desk", json!({"subject": user, "roles": ["admin"]}), "type `feed`"),
    ] {
        let said = project.change_policy(kind, id, "grant", &body).await.unwrap_err().to_string();
        assert!(said.contains(why), "{said}");
    }
    for document in
        [json!({"roles": {"owner": {}}}), json!({"rolls": {}}), json!({"roles": {"guest": {"api": {}}}})]
    {
        assert!(project.set_settings("room-roles", &document).await.is_err(), "{document}");
    }
}

/// Killed at once after each change: who subscribed is told of each, once.
#[tokio::test(flavor = "multi_thread")]
async fn subscribers_hear_of_users_over_kills() {
    let mut server = Server::start(&[]);
    command(&server, &["rooms", "create", "--name", "desk"]);
    let annotations: serde_json::Map<String, Value> = ["create", "update", "delete"]
        .map(|verb| (format!("meshagent.events.room.user.grant.{verb}"), json!("users")))
        .into_iter()
        .collect();
    let clerk = json!({"version": "v1", "kind": "Service", "metadata": {"name": "clerk"},
        "agents": [{"name": "clerk", "annotations": annotations}]});
    let scope = ServiceScope::Room("desk".to_owned());
    let project = rest(&server).project(&server.project_id);
    project.create_service(&scope, &ServiceBody::Spec(clerk)).await.unwrap();
    for arguments in [
        [&["iam", "grant"], &ROOM[..], &ANN, &["--role", "viewer"]].concat(),
        [&["iam", "grant"], &ROOM[..], &ANN, &["--role", "viewer"]].concat(),
        [&["iam", "grant"], &ROOM[..], &ANN, &["--role", "admin"]].concat(),
        [&["iam", "revoke"], &ROOM[..], &ANN].concat(),
    ] {
        command(&server, &arguments);
        server.kill_9();
        server.restart();
    }
    for (event, roles) in [
        ("room.user.grant.create", json!(["viewer"])),
        ("room.user.grant.update", json!(["admin"])),
        ("room.user.grant.delete", json!([])),
    ] {
        let receive = ["room", "queue", "receive", "--room", "desk", "--queue", "users", "--wait"];
        let item: Value = serde_json::from_str(&command(&server, &receive)).unwrap();
        assert_eq!((&item["event"], &item["data"]["user"]["roles"]), (&json!(event), &roles), "{item}");
        assert_eq!(item["data"]["user"]["email"], "ann@example.com");
    }
}

/// Over kills: what was granted last holds, for tokens that were made before.
#[tokio::test(flavor = "multi_thread")]
async fn members_work_by_their_roles_from_the_command_line() {
    let mut server = Server::start(&[]);
    fn users<'a>(verb: &[&'a str]) -> Vec<&'a str> {
        [&["project", "users"], verb].concat()
    }
    command(&server, &users(&["add", "Ann@example.com", "--role", "developer,api_key_inventory"]));
    let shown = command(&server, &users(&["list"]));
    assert!(shown.contains("ann@example.com") && shown.contains("developer, api_key_inventory"), "{shown}");
    let token = command(&server, &users(&["token", "ann@example.com"]));
    let ann = Rest::new(&server.url, Some(Bearer::new(token.trim()))).unwrap();
    let project = ann.project(&server.project_id);
    project.create_room("desk", false, &json!(null), &json!(null)).await.unwrap();
    assert!(project.add_member("eve@example.com", &["admin".to_owned()]).await.is_err());
    assert_eq!(project.own_role().await.unwrap()["role"], "developer");
    command(&server, &users(&["update", "ann@example.com", "--role", "member"]));
    server.kill_9();
    server.restart();
    let refused =
        project.create_room("two", false, &json!(null), &json!(null)).await.unwrap_err().to_string();
    assert!(refused.contains("has not the role room_creator"), "{refused}");
    assert_eq!(command(&server, &users(&["list", "-o", "json"])).matches("@").count(), 1);
    command(&server, &users(&["remove", "ann@example.com"]));
    let refused = project.own_role().await.unwrap_err().to_string();
    assert!(refused.contains("is no member of the project"), "{refused}");
}

//! The kinds `Project` and `RoomRoles` over HTTP: applied, exported, looked back at, watched; beside the commands that change the
//! same.

use super::Platform;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

impl Platform {
    async fn v1(&self, bearer: &str, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        self.send(method, &format!("/v1/projects/{}/{path}", self.project), Some(bearer), body).await
    }

    async fn get_v1(&self, path: &str) -> Value {
        let (status, answer) = self.v1(&self.key, Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    async fn apply(&self, documents: Value, prune: bool) -> (StatusCode, Value) {
        let body = json!({"source": "cli", "documents": documents, "prune": prune});
        self.v1(&self.key.clone(), Method::POST, "apply", Some(body)).await
    }

    async fn applied(&self, documents: Value, prune: bool) -> Value {
        let (status, answer) = self.apply(documents, prune).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["summary"].clone()
    }
}

fn project(name: &str, rest: Value) -> Value {
    let mut document = json!({"version": "v1", "kind": "Project", "metadata": {"name": name}});
    document.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    document
}

fn roles(rest: Value) -> Value {
    json!({"version": "v1", "kind": "RoomRoles", "roles": rest})
}

fn unchanged(count: u64) -> Value {
    json!({"create": 0, "update": 0, "replace": 0, "delete": 0, "unchanged": count})
}

#[tokio::test]
async fn a_project_is_exported_and_applied_again_without_a_change() {
    let p = Platform::new().await;
    let router = json!({"allowedModels": [{"provider": "openai", "model": "gpt-*"}]});
    let provider = json!({"api_key": "sk-secret", "base_url": "https://models.example.com/v1"});
    p.ok(Method::PUT, "/settings/openai", Some(provider)).await;
    p.ok(Method::PUT, "/settings/room-roles", Some(json!({"roles": {"guest": {"site_user": true}}}))).await;
    p.ok(Method::POST, "/users", Some(json!({"user_id": "Ann@example.com", "roles": ["admin"]}))).await;
    let wanted = project(
        "one",
        json!({"members": {"ANN@example.com": ["admin", "member"]}, "settings": {"router": router}}),
    );
    assert_eq!(p.applied(json!([wanted.clone()]), false).await["update"], 1);
    assert_eq!(p.applied(json!([wanted]), false).await, unchanged(1));

    let all = p.get_v1("documents").await;
    let text = all.to_string();
    assert!(!text.contains("sk-secret") && text.contains("https://models.example.com/v1"), "{text}");
    let documents = all["documents"].as_array().unwrap();
    let of = |kind: &str| documents.iter().find(|one| one["kind"] == kind).cloned().unwrap();
    assert_eq!(of("Project")["members"], json!({"ann@example.com": ["admin"]}));
    assert_eq!(of("Project")["settings"]["router"]["allowedModels"], router["allowedModels"]);
    assert_eq!(of("RoomRoles")["roles"], json!({"guest": {"site_user": true}}));
    let again = p.applied(json!([of("Project"), of("RoomRoles")]), false).await;
    assert_eq!(again, unchanged(2));
    let head = p.app.log.head().await.unwrap();
    assert_eq!(p.applied(json!([of("Project"), of("RoomRoles")]), false).await, unchanged(2));
    assert_eq!(p.app.log.head().await.unwrap(), head, "nothing is written where nothing changes");

    // By its key the project is the same.
    assert!(of("Project").get("key").is_none(), "documents go from one server to another");
    let key = p.ok(Method::GET, "", None).await["project_key"].as_str().unwrap().to_owned();
    assert_eq!(p.applied(json!([project(&key, json!({"key": key}))]), false).await["create"], 0);
    let got = p.get_v1(&format!("resources/project/{key}")).await;
    assert_eq!((&got["name"], &got["status"]["conditions"][0]["status"]), (&json!("one"), &json!("True")));
}

#[tokio::test]
async fn members_by_documents_are_those_that_rest_has() {
    let p = Platform::new().await;
    let of = |members: Value| project("one", json!({"members": members}));
    p.applied(json!([of(json!({"ann@example.com": ["admin"], "bob@example.com": ["developer"]}))]), false)
        .await;
    assert_eq!(p.ok(Method::GET, "/users", None).await["total"], 2);
    // A change by hand is put back, and what is left out goes.
    p.ok(Method::POST, "/users", Some(json!({"user_id": "eve@example.com", "roles": ["member"]}))).await;
    p.applied(json!([of(json!({"ann@example.com": ["admin"]}))]), false).await;
    assert_eq!(p.ok(Method::GET, "/users", None).await["total"], 1);
    for (members, why) in [
        (json!({"bob@example.com": ["developer"]}), "nobody who can manage the project"),
        (json!({}), "no member is named"),
        (json!({"ann@example.com": ["admim"]}), "did you mean `admin`?"),
    ] {
        let (status, answer) = p.apply(json!([of(members)]), false).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(answer.to_string().contains(why), "{answer}");
    }
    // Left out they stay, also where documents let go of the project.
    p.applied(json!([project("one", json!({}))]), false).await;
    p.applied(json!([]), true).await;
    assert_eq!(p.ok(Method::GET, "/users", None).await["total"], 1);
    let (status, answer) = p.v1(&p.key, Method::DELETE, "resources/project/one", None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    let history = p.get_v1("resources/project/one/history").await.to_string();
    for event in ["project.created", "project.updated", "project.member-granted"] {
        assert!(history.contains(event), "{history}");
    }
}

#[tokio::test]
async fn only_those_who_manage_the_project_apply() {
    let p = Platform::new().await;
    let documents = json!([project("one", json!({"members": {"dev@example.com": ["admin"]}}))]);
    let body = json!({"source": "cli", "documents": documents});
    let mint = async |user: &str, role: &str| {
        p.ok(Method::POST, "/users", Some(json!({"user_id": user, "roles": [role]}))).await;
        let answer = p.ok(Method::POST, "/participant-tokens", Some(json!({"email": user}))).await;
        answer["token"].as_str().unwrap().to_owned()
    };
    let developer = mint("dev@example.com", "developer").await;
    for path in ["plan", "apply"] {
        let (status, answer) = p.v1(&developer, Method::POST, path, Some(body.clone())).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {answer}");
    }
    let admin = mint("ann@example.com", "admin").await;
    let (status, answer) = p.v1(&admin, Method::POST, "plan", Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let other = format!("/v1/projects/{}/apply", p.project);
    let (status, _) = p
        .send(Method::POST, &other, Some(&p.other_key), Some(json!({"source": "cli", "documents": []})))
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_providers_key_does_not_move_by_a_document() {
    let p = Platform::new().await;
    let settings = json!({"api_key": "sk-secret", "base_url": "https://models.example.com/v1"});
    p.ok(Method::PUT, "/settings/openai", Some(settings)).await;
    let to = |url: &str| json!([project("one", json!({"settings": {"openai": {"base_url": url}}}))]);
    assert_eq!(p.applied(to("https://models.example.com/v1"), false).await["update"], 0);
    let (status, answer) = p.apply(to("https://evil.example.com/v1"), false).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer.to_string().contains("settings.openai.base_url"), "{answer}");
    let kept = p.ok(Method::GET, "/settings/openai", None).await;
    assert_eq!(
        (&kept["base_url"], &kept["api_key"]),
        (&json!("https://models.example.com/v1"), &json!("********"))
    );
}

#[tokio::test]
async fn roles_in_rooms_come_change_and_go_as_a_resource() {
    let p = Platform::new().await;
    assert_eq!(p.applied(json!([roles(json!({"guest": {}}))]), false).await["create"], 1);
    assert_eq!(p.applied(json!([roles(json!({"guest": {}}))]), false).await, unchanged(1));
    assert_eq!(p.ok(Method::GET, "/settings/room-roles", None).await["roles"].as_object().unwrap().len(), 1);
    let got = p.get_v1("resources/room-roles/default").await;
    assert_eq!(
        (&got["generation"], &got["document"]["roles"]),
        (&json!(1), &json!({"guest": {"site_user": false}}))
    );
    // The commands that set and forget it work on the same.
    p.ok(Method::PUT, "/settings/room-roles", Some(json!({"roles": {"viewer": {}}}))).await;
    assert_eq!(p.get_v1("resources/room-roles/default").await["generation"], 2);
    assert_eq!(p.applied(json!([roles(json!({"guest": {}}))]), false).await["update"], 1);
    let history = p.get_v1("resources/room-roles/default/history").await;
    assert_eq!(history.to_string().matches("project.settings-set").count(), 3, "{history}");
    assert_eq!(p.applied(json!([]), true).await["delete"], 1);
    let (status, _) = p.v1(&p.key, Method::GET, "resources/room-roles/default", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    // What comes again is another, as documents that did not change find out.
    assert_eq!(p.applied(json!([roles(json!({"guest": {}}))]), false).await["create"], 1);
    let (status, _) = p.v1(&p.key, Method::DELETE, "resources/room-roles/default", None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(p.get_v1("resources/room-roles").await["total"], 0);
}

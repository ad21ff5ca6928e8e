//! Secrets over REST: what their owner sees, what others do not, and what is never shown.

use super::Platform;
use axum::http::{Method, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use meshagent::app::{Actor, NewKey};
use meshagent::domain::account::Profile;
use meshagent::eventlog::Filter;
use meshagent::id::{Position, ServiceAccountId};
use serde_json::{Value, json};

const MINE: &str = "/accounts/users/me/secrets";
/// Events read when looking through the whole log.
const LOG_EVENTS_MAX: usize = 1_000;

/// A service account with a key of its own.
pub async fn account(platform: &Platform, name: &str) -> (ServiceAccountId, String) {
    let actor = Actor::new("test", "setup");
    let profile = Profile { name: name.to_owned(), key: name.to_owned(), ..Profile::default() };
    let id = platform.app.create_account(&actor, platform.project, profile).await.unwrap();
    let (_, key) = platform.app.create_key(&actor, id, NewKey::default()).await.unwrap();
    (id, key.reveal())
}

pub async fn ok(platform: &Platform, method: Method, path: &str, key: &str, body: Value) -> Value {
    let (status, answer) = platform.send(method, path, Some(key), Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{path}: {answer}");
    answer
}

/// Makes a secret with a value; its id.
pub async fn secret(platform: &Platform, all: &str, key: &str, about: Value, value: &str) -> String {
    let made = ok(platform, Method::POST, all, key, about).await;
    let id = made["id"].as_str().unwrap().to_owned();
    let body = json!({"value_base64": STANDARD.encode(value), "set_current": true});
    ok(platform, Method::POST, &format!("{all}/{id}/versions"), key, body).await;
    id
}

async fn status(platform: &Platform, method: Method, path: &str, key: &str, body: Value) -> StatusCode {
    platform.send(method, path, Some(key), Some(body)).await.0
}

#[tokio::test]
async fn a_secret_has_versions_and_its_owner_reads_them() {
    let platform = Platform::new().await;
    let key = platform.key.clone();
    let project = platform.project.to_string();
    let about = json!({"project_id": project, "name": "github", "type": "opaque", "http_only": false,
        "metadata": {"a": 1}, "annotations": {"provider": "github"}});
    let made = ok(&platform, Method::POST, MINE, &key, about.clone()).await;
    for (field, value) in about.as_object().unwrap() {
        assert_eq!(&made[field], value, "{field}");
    }
    assert_eq!(made["current_version_id"], Value::Null);
    let again = platform.send(Method::POST, MINE, Some(&key), Some(about)).await;
    assert_eq!(again.0, StatusCode::CONFLICT, "{}", again.1);

    let one = format!("{MINE}/{}", made["id"].as_str().unwrap());
    let versions = format!("{one}/versions");
    let body =
        |value: &str, current: bool| json!({"value_base64": STANDARD.encode(value), "set_current": current});
    let first = ok(&platform, Method::POST, &versions, &key, body("first", true)).await;
    assert_eq!((&first["version"], &first["secret_id"]), (&json!(1), &made["id"]));
    assert_eq!(first["value_sha256"].as_str().unwrap().len(), 64);
    let second = ok(&platform, Method::POST, &versions, &key, body("second", false)).await;
    let read = ok(&platform, Method::GET, &format!("{one}?include_value=true"), &key, json!({})).await;
    assert_eq!(read["value_base64"], STANDARD.encode("first"));
    let plain = ok(&platform, Method::GET, &one, &key, json!({})).await;
    assert!(plain.get("value_base64").is_none(), "{plain}");
    let path = format!("{versions}/{}:access", second["id"].as_str().unwrap());
    let value = ok(&platform, Method::GET, &path, &key, json!({})).await;
    assert_eq!(
        value,
        json!({"secret_id": made["id"], "version_id": second["id"],
        "value_base64": STANDARD.encode("second")})
    );
    let list = ok(&platform, Method::GET, &versions, &key, json!({})).await;
    assert_eq!(list["versions"].as_array().unwrap().len(), 2);

    let delete = format!("{versions}/{}", first["id"].as_str().unwrap());
    ok(&platform, Method::DELETE, &delete, &key, json!({})).await;
    assert_eq!(status(&platform, Method::DELETE, &delete, &key, json!({})).await, StatusCode::NOT_FOUND);
    let now = ok(&platform, Method::GET, &one, &key, json!({})).await;
    assert_eq!(now["current_version_id"], Value::Null, "the current version is gone");
    ok(&platform, Method::PATCH, &one, &key, json!({"name": "gitlab"})).await;
    let found = ok(&platform, Method::GET, &format!("{MINE}?filter=LAB"), &key, json!({})).await;
    assert_eq!(found["secrets"][0]["metadata"], json!({"a": 1}), "what a patch does not name stays: {found}");
    ok(&platform, Method::DELETE, &one, &key, json!({})).await;
    assert_eq!(status(&platform, Method::GET, &one, &key, json!({})).await, StatusCode::NOT_FOUND);
    let left = platform.app.vault.list_ids("secret/", None).await.unwrap();
    assert!(left.is_empty(), "values of a deleted secret remain: {left:?}");
}

#[tokio::test]
async fn what_is_for_the_proxy_only_is_read_by_nobody() {
    let platform = Platform::new().await;
    let key = platform.key.clone();
    let id = secret(&platform, MINE, &key, json!({"name": "k", "http_only": true}), "needle-value").await;
    let one = format!("{MINE}/{id}");
    let about = ok(&platform, Method::GET, &one, &key, json!({})).await;
    let version = about["current_version_id"].as_str().unwrap().to_owned();
    let value = format!("{one}/versions/{version}:access");
    for path in [format!("{one}?include_value=true"), value.clone()] {
        let (status, body) = platform.send(Method::GET, &path, Some(&key), None).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
        assert!(body["error"]["message"].as_str().unwrap().contains("/proxy-request"), "{body}");
    }
    // Turning the flag off does not open what was stored under it.
    ok(&platform, Method::PATCH, &one, &key, json!({"http_only": false})).await;
    assert_eq!(status(&platform, Method::GET, &value, &key, json!({})).await, StatusCode::FORBIDDEN);

    let log = platform.app.log.read(Position(0), &Filter::all(), LOG_EVENTS_MAX).await.unwrap();
    assert!(log.iter().any(|event| event.kind == "secret.version-added"));
    for event in &log {
        let leaked =
            event.data.contains("needle-value") || event.data.contains(&STANDARD.encode("needle-value"));
        assert!(!leaked, "{}: {}", event.kind, event.data);
    }
}

#[tokio::test]
async fn a_secret_is_its_owners_alone() {
    let platform = Platform::new().await;
    let key = platform.key.clone();
    let (agent, agent_key) = account(&platform, "agent").await;
    let mine = secret(&platform, MINE, &key, json!({"name": "mine"}), "m").await;
    // The same name is free for another owner.
    secret(&platform, MINE, &agent_key, json!({"name": "mine"}), "n").await;
    for other in [&agent_key, &platform.other_key] {
        for (method, path) in [
            (Method::GET, format!("{MINE}/{mine}")),
            (Method::DELETE, format!("{MINE}/{mine}")),
            (Method::PATCH, format!("{MINE}/{mine}")),
            (Method::POST, format!("{MINE}/{mine}/versions")),
            (Method::GET, format!("{MINE}/{mine}/access")),
            (Method::POST, format!("{MINE}/{mine}/access:grant-proxy")),
        ] {
            let body =
                json!({"value_base64": "", "subject": {"type": "service_account", "id": agent.to_string()}});
            let (status, body) = platform.send(method.clone(), &path, Some(other), Some(body)).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{method} {path}: {body}");
        }
    }
    let project = json!({"project_id": "5f0c7a52-6d0e-4a57-9b7a-1f8d6c9a1e02", "name": "x"});
    assert_eq!(status(&platform, Method::POST, MINE, &key, project).await, StatusCode::FORBIDDEN);

    let agents = format!("/accounts/projects/{}/service-accounts/agent/secrets", platform.project);
    let its = secret(&platform, &agents, &key, json!({"name": "its"}), "s").await;
    let listed = ok(&platform, Method::GET, &agents, &key, json!({})).await;
    assert_eq!(listed["secrets"].as_array().unwrap().len(), 1);
    assert_eq!(listed["secrets"][0]["owner_service_account_id"], agent.to_string());
    // A caller's own secret is not among a service account's, nor the other way round.
    for path in [format!("{agents}/{mine}"), format!("{MINE}/{its}")] {
        assert_eq!(status(&platform, Method::GET, &path, &key, json!({})).await, StatusCode::NOT_FOUND);
    }
    let pulls = format!("/accounts/projects/{}/service-accounts/{agent}/pull-secrets", platform.project);
    ok(&platform, Method::PUT, &format!("{pulls}/{its}"), &key, json!({})).await;
    let listed = ok(&platform, Method::GET, &pulls, &key, json!({})).await;
    assert_eq!(listed["secrets"][0]["id"], its.as_str());
    assert_eq!(
        status(&platform, Method::PUT, &format!("{pulls}/{mine}"), &key, json!({})).await,
        StatusCode::NOT_FOUND
    );
    ok(&platform, Method::DELETE, &format!("{pulls}/{its}"), &key, json!({})).await;
    assert_eq!(ok(&platform, Method::GET, &pulls, &key, json!({})).await["secrets"], json!([]));

    // With an account go its secrets.
    let account = format!("/service-accounts/{agent}");
    platform.ok(Method::DELETE, &account, None).await;
    assert_eq!(platform.app.vault.list_ids("secret/", None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn secrets_are_found_by_what_is_said_of_them() {
    let platform = Platform::new().await;
    let key = platform.key.clone();
    for (name, about) in [
        ("a", json!({"type": "opaque", "http_only": true, "annotations": {"provider": "github"}})),
        ("b", json!({"type": "docker", "metadata": {"team": "x"}})),
        (
            "c",
            json!({"type": "opaque", "annotations": {"meshagent.secret.provider": "github", "note": "Blue"}}),
        ),
    ] {
        let mut body = about;
        body["name"] = json!(name);
        ok(&platform, Method::POST, MINE, &key, body).await;
    }
    for (search, wanted) in [
        (json!({}), "abc"),
        (json!({"provider": "github"}), "ac"),
        (json!({"provider": "github", "http_only": true}), "a"),
        (json!({"type": "docker"}), "b"),
        (json!({"metadata": {"team": "x"}}), "b"),
        (json!({"metadata": {"team": "y"}}), ""),
        (json!({"filter": "blue"}), "c"),
        (json!({"name": "a", "type": "docker"}), ""),
        (json!({"page_size": 2}), "ab"),
    ] {
        let found = ok(&platform, Method::POST, &format!("{MINE}:search"), &key, search.clone()).await;
        let names: String =
            found["secrets"].as_array().unwrap().iter().filter_map(|s| s["name"].as_str()).collect();
        assert_eq!(names, wanted, "{search}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_secret_is_said() {
    let platform = Platform::new().await;
    let key = platform.key.clone();
    let id = secret(&platform, MINE, &key, json!({"name": "k"}), "v").await;
    let one = format!("{MINE}/{id}");
    let huge = STANDARD.encode(vec![b'x'; 65 * 1024]);
    let subject = |kind: &str, id: &str| json!({"subject": {"type": kind, "id": id}});
    for (method, path, body, code, said) in [
        (Method::POST, MINE.to_owned(), json!({}), 400, "`name`"),
        (Method::POST, MINE.to_owned(), json!({"name": " "}), 400, "1 to 255 bytes"),
        (Method::PATCH, one.clone(), json!({"type": ""}), 400, "opaque"),
        (Method::POST, format!("{one}/versions"), json!({"value_base64": "%"}), 400, "base64"),
        (Method::POST, format!("{one}/versions"), json!({"value_base64": huge}), 400, "65536"),
        (Method::POST, format!("{one}/access:grant-proxy"), subject("user", "u"), 400, "service_account"),
        (
            Method::POST,
            format!("{one}/access:grant-proxy"),
            subject("service_account", "nobody"),
            404,
            "nobody",
        ),
        (Method::GET, format!("{MINE}/nonsense"), json!({}), 404, "secret list"),
    ] {
        let (status, answer) = platform.send(method.clone(), &path, Some(&key), Some(body)).await;
        assert_eq!(status.as_u16(), code, "{method} {path}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(said), "{method} {path}: {message}");
    }
}

#[tokio::test]
async fn the_webhook_secret_is_the_projects_and_stays() {
    let platform = Platform::new().await;
    let one = platform.ok(Method::GET, "/webhook-secret", None).await;
    assert!(one["secret"].as_str().unwrap().len() >= 64);
    assert_eq!(platform.ok(Method::GET, "/webhook-secret", None).await, one);
    let path = format!("/accounts/projects/{}/webhook-secret", platform.project);
    assert_eq!(
        status(&platform, Method::GET, &path, &platform.other_key, json!({})).await,
        StatusCode::FORBIDDEN
    );
}

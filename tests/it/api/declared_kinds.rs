//! Services made of templates and keys made by documents, over HTTP.

use super::{Platform, secrets};
use axum::http::{Method, StatusCode};
use meshagent::eventlog::Filter;
use meshagent::id::Position;
use serde_json::{Value, json};

const EVENTS_MAX: usize = 1_000;

fn template(image: &str) -> Value {
    let source = format!(
        "version: v1\nkind: ServiceTemplate\nmetadata: {{name: greeter}}\n\
         variables: [{{name: queue, description: Where the work is}}]\n\
         container: {{image: {image}, command: 'run {{{{ queue }}}}'}}\n"
    );
    json!({"version": "v1", "kind": "ServiceTemplate",
        "metadata": {"name": "greeter", "annotations": {"meshagent.service.template.yaml": source}}})
}

fn instance(name: &str, values: Value) -> Value {
    json!({"version": "v1", "kind": "ServiceInstance", "metadata": {"name": name}, "template": "greeter",
        "values": values})
}

fn key(rotation: u64) -> Value {
    json!({"version": "v1", "kind": "ApiKey", "metadata": {"name": "ci"}, "account": "robot",
        "secret": {"secret": "ci-key", "account": "robot"}, "rotation": rotation})
}

async fn apply(platform: &Platform, documents: Value) -> (StatusCode, Value) {
    let path = format!("/v1/projects/{}/apply", platform.project);
    let body = json!({"source": "shop", "documents": documents, "prune": true});
    platform.send(Method::POST, &path, Some(&platform.key), Some(body)).await
}

async fn applied(platform: &Platform, documents: Value) -> Value {
    let (status, answer) = apply(platform, documents).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

async fn resource(platform: &Platform, method: Method, path: &str) -> (StatusCode, Value) {
    let path = format!("/v1/projects/{}/resources/{path}", platform.project);
    platform.send(method, &path, Some(&platform.key), None).await
}

async fn services(platform: &Platform) -> Vec<Value> {
    platform.ok(Method::GET, "/services", None).await["services"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_service_follows_its_template_and_its_values_and_goes_with_its_instance() {
    let platform = Platform::new().await;
    let (status, answer) = apply(&platform, json!([template("a"), instance("one", json!({}))])).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    let problem = &answer["error"]["problems"][0];
    assert_eq!(problem["path"], "values.queue", "{answer}");
    assert!(problem["message"].as_str().unwrap().contains("Where the work is"), "{answer}");

    let both = |image| {
        json!([
            template(image),
            instance("one", json!({"queue": "a"})),
            instance("two", json!({"queue": "b"}))
        ])
    };
    applied(&platform, both("first")).await;
    let all = services(&platform).await;
    assert_eq!(all.len(), 2, "{all:?}");
    let one = all.iter().find(|service| service["metadata"]["name"] == "one").unwrap();
    assert_eq!(
        (&one["container"]["image"], &one["container"]["command"]),
        (&json!("first"), &json!("run a"))
    );
    let head = platform.app.log.head().await.unwrap();
    applied(&platform, both("first")).await;
    assert_eq!(platform.app.log.head().await.unwrap(), head, "the same again is no fact");

    // Only the template changes, and both services do.
    applied(&platform, both("second")).await;
    let images: Vec<Value> =
        services(&platform).await.iter().map(|one| one["container"]["image"].clone()).collect();
    assert_eq!(images, ["second", "second"]);
    let (_, told) = resource(&platform, Method::GET, "service-instance/one").await;
    assert_eq!(told["generation"], 1, "the instance is as it was: {told}");
    assert_eq!(told["status"]["conditions"][0]["type"], "Ready", "{told}");
    let (status, none) = resource(&platform, Method::GET, "service/one").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "the service is the instance's: {none}");

    // Nobody changes the service but by the instance.
    let id = one["id"].as_str().unwrap();
    let path = format!("/accounts/projects/{}/services/{id}", platform.project);
    let (status, refused) = platform.send(Method::DELETE, &path, Some(&platform.key), None).await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (StatusCode::CONFLICT, &json!("service-of-instance")),
        "{refused}"
    );
    let (status, refused) = resource(&platform, Method::DELETE, "service-template/greeter").await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (StatusCode::CONFLICT, &json!("template-in-use")),
        "{refused}"
    );

    let (status, answer) = resource(&platform, Method::DELETE, "service-instance/two").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(services(&platform).await.len(), 1);
    applied(&platform, json!([])).await;
    assert_eq!(services(&platform).await.len(), 0);
    assert_eq!(platform.app.world().templates(platform.project).count(), 0);
}

#[tokio::test]
async fn a_room_takes_what_is_made_in_it_along() {
    let platform = Platform::new().await;
    let mut inside = instance("one", json!({"queue": "a"}));
    inside["metadata"]["annotations"] = json!({"meshagent.room": "den"});
    let room = json!({"version": "v1", "kind": "Room", "metadata": {"name": "den"}});
    applied(&platform, json!([room, template("a"), inside])).await;
    let (_, found) = resource(&platform, Method::GET, "room/den").await;
    let path = format!("/rooms/{}", found["id"].as_str().unwrap());
    platform.ok(Method::DELETE, &path, None).await;
    let world = platform.app.world();
    assert_eq!(world.service_instances(platform.project).count(), 0);
    assert_eq!(world.services(platform.project).count(), 0);
}

/// The text of the key, as a service would get it.
async fn key_text(platform: &Platform) -> String {
    let (_, found) = resource(platform, Method::GET, "secret/ci-key").await;
    let id = found["id"].as_str().unwrap_or_else(|| panic!("{found}"));
    let path = format!("/service-accounts/robot/secrets/{id}?include_value=true");
    let secret = platform.ok(Method::GET, &path, None).await;
    let text = secret["value_base64"].as_str().unwrap_or_else(|| panic!("no value: {secret}"));
    let engine = &base64::engine::general_purpose::STANDARD;
    String::from_utf8(base64::Engine::decode(engine, text).unwrap()).unwrap()
}

async fn whoami(platform: &Platform, key: &str) -> (StatusCode, Value) {
    platform.send(Method::GET, "/accounts/whoami", Some(key), None).await
}

#[tokio::test]
async fn a_key_is_in_its_secret_and_nowhere_else_and_is_turned_and_revoked() {
    let platform = Platform::new().await;
    let account = json!({"version": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}});
    let answer = applied(&platform, json!([key(0), account])).await;
    let first = key_text(&platform).await;
    let (status, who) = whoami(&platform, &first).await;
    assert_eq!((status, &who["service_account"]["name"]), (StatusCode::OK, &json!("robot")), "{who}");
    let head = platform.app.log.head().await.unwrap();
    applied(&platform, json!([key(0), account])).await;
    assert_eq!(platform.app.log.head().await.unwrap(), head, "the same again is no fact");

    applied(&platform, json!([key(1), account])).await;
    let second = key_text(&platform).await;
    assert_ne!(first, second);
    assert_eq!(whoami(&platform, &first).await.0, StatusCode::UNAUTHORIZED, "the key before it is revoked");
    assert_eq!(whoami(&platform, &second).await.0, StatusCode::OK);
    let (_, told) = resource(&platform, Method::GET, "api-key/ci").await;
    let (_, past) = resource(&platform, Method::GET, "api-key/ci/history").await;
    let events = platform.app.log.read(Position(0), &Filter::all(), EVENTS_MAX).await.unwrap();
    let log: String = events.iter().map(|event| event.data.clone()).collect();
    for text in [answer.to_string(), told.to_string(), past.to_string(), log] {
        for key in [&first, &second] {
            let secret = key.rsplit('-').next().unwrap();
            assert!(!text.contains(key.as_str()) && !text.contains(secret), "{text}");
        }
    }

    // Somebody revokes it by hand: that is told.
    let path = format!("/accounts/projects/{}/service-accounts/robot/api-keys", platform.project);
    let (_, keys) = platform.send(Method::GET, &path, Some(&platform.key), None).await;
    let id = keys["keys"][0]["id"].as_str().unwrap_or_else(|| panic!("{keys}"));
    platform.send(Method::DELETE, &format!("{path}/{id}"), Some(&platform.key), None).await;
    let (_, told) = resource(&platform, Method::GET, "api-key/ci").await;
    assert_eq!(told["status"]["conditions"][1]["type"], "Stalled", "{told}");
    applied(&platform, json!([key(2), account])).await;
    let third = key_text(&platform).await;
    assert_eq!(whoami(&platform, &third).await.0, StatusCode::OK);

    let (status, answer) = resource(&platform, Method::DELETE, "api-key/ci").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(whoami(&platform, &third).await.0, StatusCode::UNAUTHORIZED);
    applied(&platform, json!([key(0), account])).await;
    let (status, answer) = apply(&platform, json!([])).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "the account's secret was not applied: {answer}");
    assert!(answer.to_string().contains("ci-key"), "{answer}");
    let (status, answer) = resource(&platform, Method::DELETE, "service-account/robot").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    for (prefix, left) in [("apikey/", 2), ("secret/", 0)] {
        let kept = platform.app.vault.list_ids(prefix, None).await.unwrap();
        assert_eq!(kept.len(), left, "{prefix}: {kept:?}");
    }
}

#[tokio::test]
async fn documents_make_no_key_of_who_operates_the_server_and_strangers_delete_nothing() {
    let platform = Platform::new().await;
    let account = json!({"version": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}});
    applied(&platform, json!([account])).await;
    let operator = meshagent::domain::account::OPERATOR;
    let (id, _) = secrets::account(&platform, "root").await;
    let mut profile = platform.app.world().account(id).unwrap().profile.clone();
    profile.annotations.insert(operator.to_owned(), "true".to_owned());
    let actor = meshagent::app::Actor::new("test", "setup");
    platform.app.update_account(&actor, id, profile).await.unwrap();
    let mut wanted = key(0);
    wanted["account"] = json!("root");
    let (status, answer) = apply(&platform, json!([account, wanted])).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    assert_eq!(answer["error"]["problems"][0]["path"], "account", "{answer}");
    assert!(answer.to_string().contains("operates this server"), "{answer}");

    let path = format!("/accounts/projects/{}/service-accounts/root/api-keys", platform.project);
    let (status, answer) =
        platform.send(Method::POST, &path, Some(&platform.key), Some(json!({"name": "mine"}))).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");

    let path = format!("/v1/projects/{}/resources/service-account/robot", platform.project);
    for key in [Some(platform.other_key.as_str()), Some("ma-nonsense"), None] {
        let (status, answer) = platform.send(Method::DELETE, &path, key, None).await;
        assert!([StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED].contains(&status), "{answer}");
    }
    let (status, answer) = resource(&platform, Method::DELETE, "service-account/default").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
}

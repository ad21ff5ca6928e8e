//! Documents that stand in each other's way, and what goes with what, over HTTP.

use super::Platform;
use axum::http::{Method, StatusCode};
use meshagent::app::Actor;
use meshagent::domain::account::{OPERATOR, Profile};
use meshagent::id::ServiceAccountId;
use meshagent::vault::{Secret, SecretId};
use serde_json::{Value, json};
use uuid::{NoContext, Timestamp, Uuid};

async fn apply(platform: &Platform, documents: Value, more: Value) -> (StatusCode, Value) {
    let path = format!("/v1/projects/{}/apply", platform.project);
    let mut body = json!({"source": "shop", "documents": documents});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    platform.send(Method::POST, &path, Some(&platform.key), Some(body)).await
}

async fn applied(platform: &Platform, documents: Value) -> Value {
    let (status, answer) = apply(platform, documents, json!({"prune": true})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

/// What is wrong, each as `path: message`.
async fn refused(platform: &Platform, documents: Value, more: Value) -> String {
    let (status, answer) = apply(platform, documents, more).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    let problems = answer["error"]["problems"].as_array().unwrap().iter();
    let said = problems
        .map(|p| format!("{}: {}\n", p["path"].as_str().unwrap_or_default(), p["message"].as_str().unwrap()));
    said.collect()
}

async fn resource(platform: &Platform, method: Method, path: &str) -> (StatusCode, Value) {
    let path = format!("/v1/projects/{}/resources/{path}", platform.project);
    platform.send(method, &path, Some(&platform.key), None).await
}

fn account(name: &str) -> Value {
    json!({"version": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
}

fn key(name: &str, secret: &str, rotation: u64) -> Value {
    json!({"version": "v1", "kind": "ApiKey", "metadata": {"name": name}, "account": "robot",
        "secret": {"secret": secret, "account": "robot"}, "rotation": rotation})
}

fn secret(name: &str) -> Value {
    json!({"version": "v1", "kind": "Secret", "metadata": {"name": name}, "account": "robot",
        "value_from": {"env": "X"}})
}

fn template(name: &str) -> Value {
    let source = format!(
        "version: v1\nkind: ServiceTemplate\nmetadata: {{name: {name}}}\ncontainer: {{image: i, command: {name}}}\n"
    );
    json!({"version": "v1", "kind": "ServiceTemplate",
        "metadata": {"name": name, "annotations": {"meshagent.service.template.yaml": source}}})
}

fn instance(name: &str, template: &str) -> Value {
    json!({"version": "v1", "kind": "ServiceInstance", "metadata": {"name": name}, "template": template})
}

fn service(name: &str, more: Value) -> Value {
    let mut service = json!({"version": "v1", "kind": "Service", "metadata": {"name": name},
        "container": {"image": "i", "command": "x"}});
    service["container"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    service
}

#[tokio::test]
async fn a_secret_has_one_writer() {
    let platform = Platform::new().await;
    let none = || json!({});
    let two = json!([account("robot"), key("a", "s", 0), key("b", "s", 0)]);
    let said = refused(&platform, two, none()).await;
    assert!(said.contains("secret.secret: api-key/b gives the secret `s`"), "{said}");
    assert!(said.contains("api-key/a gives the secret `s`"), "both are named: {said}");
    let with_value = json!([account("robot"), secret("s"), key("a", "s", 0)]);
    let said = refused(&platform, with_value, json!({"values": {"1": "plain"}})).await;
    assert!(said.contains("secret/s gives the secret `s`"), "{said}");

    // Whoever comes later is told too.
    let own = || vec![account("robot"), key("a", "s", 0)];
    applied(&platform, json!(own())).await;
    let later = [own(), vec![key("b", "s", 0)]].concat();
    let said = refused(&platform, json!(later), none()).await;
    assert!(said.contains("the text of api-key/a is in the secret `s`"), "{said}");
    let later = [own(), vec![secret("s")]].concat();
    let said = refused(&platform, json!(later), json!({"values": {"2": "plain"}})).await;
    assert!(
        said.contains("gives the secret `s`") || said.contains("the text of api-key/a is in it"),
        "{said}"
    );
    let said = refused(&platform, json!([secret("s")]), json!({"values": {"0": "plain"}})).await;
    assert!(said.contains("the text of api-key/a is in it"), "{said}");
    // The key itself may turn, and another may take its place.
    applied(&platform, json!([account("robot"), key("a", "s", 1)])).await;
    applied(&platform, json!([account("robot"), key("b", "s", 0)])).await;
}

#[tokio::test]
async fn a_value_that_is_there_is_replaced_only_by_force() {
    let platform = Platform::new().await;
    let (status, answer) =
        apply(&platform, json!([account("robot"), secret("s")]), json!({"values": {"1": "plain"}})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let said = refused(&platform, json!([key("a", "s", 0)]), json!({})).await;
    assert!(said.contains("the secret `s` has a value that is not this key's"), "{said}");
    let (status, answer) = apply(&platform, json!([key("a", "s", 0)]), json!({"force": true})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

#[tokio::test]
async fn the_operators_secrets_are_not_written() {
    let platform = Platform::new().await;
    let profile = Profile {
        name: "boss".into(),
        annotations: [(OPERATOR.to_owned(), "true".to_owned())].into(),
        ..Profile::default()
    };
    platform.app.create_account(&Actor::controller("test"), platform.project, profile).await.unwrap();
    let mut document = key("a", "s", 0);
    document["secret"]["account"] = "boss".into();
    let said = refused(&platform, json!([account("robot"), document]), json!({})).await;
    assert!(said.starts_with("secret.account: "), "{said}");
}

#[tokio::test]
async fn a_template_is_renamed_while_its_instance_moves() {
    let platform = Platform::new().await;
    applied(&platform, json!([template("old"), instance("one", "old")])).await;
    let answer = applied(&platform, json!([template("new"), instance("one", "new")])).await;
    let summary = &answer["summary"];
    assert_eq!(
        (&summary["create"], &summary["update"], &summary["delete"]),
        (&json!(1), &json!(1), &json!(1))
    );
    // One that stays with it still holds it.
    let said = refused(&platform, json!([instance("one", "new")]), json!({"prune": true})).await;
    assert!(said.contains("needs it"), "{said}");
    let service = platform.ok(Method::GET, "/services", None).await["services"][0].clone();
    let notes = service["metadata"]["annotations"].to_string();
    assert!(!notes.contains("template"), "the instance has the text: {notes}");
}

#[tokio::test]
async fn a_service_and_an_instance_have_two_names() {
    let platform = Platform::new().await;
    let both = json!([template("t"), instance("x", "t"), service("x", json!({}))]);
    let said = refused(&platform, both, json!({})).await;
    assert!(said.contains("metadata.name: service-instance/x makes a service of this name"), "{said}");
    applied(&platform, json!([template("t"), instance("x", "t")])).await;
    let more = json!([template("t"), instance("x", "t"), service("x", json!({}))]);
    let said = refused(&platform, more, json!({})).await;
    assert!(said.contains("service-instance/x makes"), "{said}");
    // One takes the other's place.
    applied(&platform, json!([template("t"), service("x", json!({}))])).await;
    applied(&platform, json!([template("t"), instance("x", "t")])).await;
}

#[tokio::test]
async fn an_accounts_declared_keys_go_with_it() {
    let platform = Platform::new().await;
    let documents = || json!([account("robot"), key("a", "s", 0)]);
    applied(&platform, documents()).await;
    let (_, found) = resource(&platform, Method::GET, "service-account/robot").await;
    let id: Uuid = found["id"].as_str().unwrap().parse().unwrap();
    let id = ServiceAccountId::new(platform.project, id);
    platform.app.delete_account(&Actor::controller("test"), id).await.unwrap();
    let world = platform.app.world();
    assert_eq!(world.declared_keys(platform.project).count(), 0);
    assert!(!world.secrets(platform.project).any(|(_, secret)| secret.about.name == "s"));
    let answer = applied(&platform, documents()).await;
    assert_eq!(answer["summary"]["create"], 2, "{answer}");
    let (_, found) = resource(&platform, Method::GET, "api-key/a").await;
    assert_eq!(found["status"]["conditions"][0]["status"], "True", "{found}");
}

#[tokio::test]
async fn what_is_deleted_by_hand_is_held_by_nobody_and_made_again() {
    let platform = Platform::new().await;
    let documents = || json!([service("x", json!({}))]);
    applied(&platform, documents()).await;
    let (_, found) = resource(&platform, Method::GET, "service/x").await;
    let id: Uuid = found["id"].as_str().unwrap().parse().unwrap();
    let held = || platform.app.world().inventory(platform.project).unwrap().sources(id).count();
    assert_eq!(held(), 1);
    let (status, answer) = resource(&platform, Method::DELETE, "service/x").await;
    assert_eq!((status, held()), (StatusCode::OK, 0), "{answer}");
    assert_eq!(applied(&platform, documents()).await["summary"]["create"], 1);
}

#[tokio::test]
async fn a_secret_that_a_service_uses_is_not_pruned() {
    let platform = Platform::new().await;
    let uses = json!({"run_as": {"email": "robot", "scopes": ["secrets:read"]},
        "environment": [{"name": "T", "secret": {"id": "s"}}]});
    let mut plain = secret("s");
    plain.as_object_mut().unwrap().remove("value_from");
    let robot = || account("robot");
    applied(&platform, json!([robot(), plain, service("x", uses.clone())])).await;
    // Its document stays, and names it still.
    let said = refused(&platform, json!([robot(), service("x", uses.clone())]), json!({"prune": true})).await;
    assert!(said.contains("service/x uses it"), "{said}");
    // The service is another source's now, so that its document says nothing here.
    let (status, _) = apply(&platform, json!([service("y", uses)]), json!({"source": "other"})).await;
    assert_eq!(status, StatusCode::OK);
    let said = refused(&platform, json!([robot()]), json!({"prune": true})).await;
    assert!(said.contains("service/y uses it"), "{said}");
    let (status, _) = apply(&platform, json!([service("y", json!({}))]), json!({"source": "other"})).await;
    assert_eq!(status, StatusCode::OK);
    // One that names it no more in the same apply is not in the way.
    applied(&platform, json!([robot(), service("x", json!({}))])).await;
}

#[tokio::test]
async fn a_resource_that_was_paused_is_pruned_as_any() {
    let platform = Platform::new().await;
    for resume in [false, true] {
        applied(&platform, json!([service("x", json!({}))])).await;
        assert_eq!(resource(&platform, Method::POST, "service/x/pause").await.0, StatusCode::OK);
        if resume {
            let (_, found) = resource(&platform, Method::POST, "service/x/resume").await;
            assert!(found["sources"].get("pause").is_none(), "{found}");
        }
        assert_eq!(applied(&platform, json!([])).await["summary"]["delete"], 1, "resumed: {resume}");
    }
}

#[tokio::test]
async fn what_was_not_recorded_is_not_kept() {
    let platform = Platform::new().await;
    let kept = async |prefix: &str| platform.app.vault.list_ids(prefix, None).await.unwrap().len();
    let before = (kept("apikey/").await, kept("secret/").await);
    let mut huge = service("x", json!({}));
    huge["files"] = json!([{"path": "a", "text": "x".repeat(2 << 20)}]);
    let documents = json!([account("robot"), key("a", "s", 0), secret("t"), huge]);
    let (status, answer) = apply(&platform, documents, json!({"values": {"2": "plain"}})).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{answer}");
    assert_eq!((kept("apikey/").await, kept("secret/").await), before, "{answer}");
}

#[tokio::test]
async fn values_that_nobody_has_are_swept_and_those_being_written_are_not() {
    let platform = Platform::new().await;
    applied(&platform, json!([account("robot"), key("a", "s", 0)])).await;
    let (project, vault) = (platform.project, &platform.app.vault);
    let now = platform.app.clock.now().timestamp().unsigned_abs();
    let at = |seconds: u64| Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, 0));
    let (old, young) = (at(now - 7_200), at(now - 60));
    let texts = [
        (format!("secret/{project}/{}/{old}", at(now)), true),
        (format!("apikey/{project}/{old}"), true),
        (format!("secret/{project}/{}/{young}", at(now)), false),
        (format!("apikey/{project}/{young}"), false),
        // Chosen by somebody: its age is not known.
        (format!("apikey/{project}/{}", Uuid::from_u128(7)), false),
    ];
    for (text, _) in &texts {
        vault.put(&SecretId::new(text.as_str()).unwrap(), &Secret::from("x".to_owned())).await.unwrap();
    }
    assert_eq!(platform.app.sweep_values().await.unwrap(), 2);
    for (text, swept) in &texts {
        let there = vault.get(&SecretId::new(text.as_str()).unwrap()).await.unwrap().is_some();
        assert_eq!(there, !swept, "{text}");
    }
    assert_eq!(platform.app.sweep_values().await.unwrap(), 0);
}

//! Secrets as documents: what becomes of their values, and who never sees them.

use super::Platform;
use axum::http::{Method, StatusCode};
use meshagent::eventlog::Filter;
use meshagent::id::Position;
use serde_json::{Value, json};

const EVENTS_MAX: usize = 1_000;
const PLAIN: &str = "hunter2-and-more";

fn encrypted() -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/age/value.age");
    std::fs::read_to_string(file).unwrap()
}

fn document(name: &str, value: Value) -> Value {
    let mut document = json!({"version": "v1", "kind": "Secret", "metadata": {"name": name}});
    for (key, value) in value.as_object().unwrap() {
        document[key] = value.clone();
    }
    document
}

async fn send(platform: &Platform, path: &str, key: &str, body: Value) -> (StatusCode, Value) {
    let path = format!("/v1/projects/{}/{path}", platform.project);
    platform.send(Method::POST, &path, Some(key), Some(body)).await
}

async fn get(platform: &Platform, path: &str) -> Value {
    let path = format!("/v1/projects/{}/{path}", platform.project);
    let (status, answer) = platform.send(Method::GET, &path, Some(&platform.key), None).await;
    assert_eq!(status, StatusCode::OK, "{path}: {answer}");
    answer
}

async fn applied(platform: &Platform, documents: Value, values: Value) -> Value {
    let body = json!({"source": "shop", "documents": documents, "values": values});
    let (status, answer) = send(platform, "apply", &platform.key, body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

async fn whole_log(platform: &Platform) -> String {
    let events = platform.app.log.read(Position(0), &Filter::all(), EVENTS_MAX).await.unwrap();
    events.iter().map(|event| format!("{} {} {:?}\n", event.kind, event.data, event.metadata)).collect()
}

/// The current value, as REST gives it to who manages the account.
async fn value(platform: &Platform, name: &str) -> (Value, String) {
    let found = get(platform, &format!("resources/secret/{name}")).await;
    let id = found["id"].as_str().unwrap();
    let path = format!("/service-accounts/default/secrets/{id}?include_value=true");
    let secret = platform.ok(Method::GET, &path, None).await;
    let bytes = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD,
        secret["value_base64"].as_str().unwrap_or_else(|| panic!("no value: {secret}")),
    );
    (found, String::from_utf8(bytes.unwrap()).unwrap())
}

#[tokio::test]
async fn a_value_goes_into_the_vault_and_nowhere_else() {
    let platform = Platform::new().await;
    let documents = json!([document("token", json!({"value_from": {"env": "TOKEN"}}))]);
    let plan = json!({"documents": documents, "values": {"0": PLAIN}});
    let (status, planned) = send(&platform, "plan", &platform.key, plan).await;
    assert_eq!((status, &planned["summary"]["create"]), (StatusCode::OK, &json!(1)), "{planned}");
    let answer = applied(&platform, documents.clone(), json!({"0": PLAIN})).await;
    let (found, got) = value(&platform, "token").await;
    assert_eq!(got, PLAIN);
    let fingerprint = found["document"]["fingerprint"].as_str().unwrap().to_owned();
    assert!(fingerprint.starts_with("hmac-sha256:"), "{found}");
    assert_eq!(found["status"]["conditions"][0]["reason"], "Accepted", "{found}");

    let head = platform.app.log.head().await.unwrap();
    applied(&platform, documents.clone(), json!({"0": PLAIN})).await;
    assert_eq!(platform.app.log.head().await.unwrap(), head, "the same again is no fact");

    applied(&platform, documents.clone(), json!({"0": "another value"})).await;
    let (changed, got) = value(&platform, "token").await;
    assert_eq!((got.as_str(), &changed["generation"]), ("another value", &json!(2)), "{changed}");
    let history = get(&platform, "resources/secret/token/history").await;
    let log = whole_log(&platform).await;
    // Nor a digest that could be tried: that of REST is not keyed.
    let bare = "f15edafa33d8f8c0";
    for text in [planned, answer, found, changed, history, json!(log)] {
        let text = text.to_string();
        assert!(!text.contains(PLAIN) && !text.contains("another value") && !text.contains(bare), "{text}");
    }
    assert!(log.contains("secret.declared"), "{log}");

    // A rollback brings the value back that was there.
    let body = json!({"to": head.0.to_string()});
    let (status, answer) = send(&platform, "rollback", &platform.key, body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (back, got) = value(&platform, "token").await;
    assert_eq!((got.as_str(), back["document"]["fingerprint"].as_str()), (PLAIN, Some(fingerprint.as_str())));
}

#[tokio::test]
async fn what_is_exported_is_applied_again_without_the_value() {
    let platform = Platform::new().await;
    let one = document("token", json!({"value_from": {"env": "TOKEN"}}));
    let empty = document("later", json!({}));
    applied(&platform, json!([one, empty]), json!({"0": PLAIN})).await;
    let later = get(&platform, "resources/secret/later").await;
    assert_eq!(later["status"]["conditions"][0]["reason"], "NoValue", "{later}");
    // Its document wants none.
    assert_eq!(later["status"]["conditions"][0]["status"], "True", "{later}");

    let exported = get(&platform, "documents").await;
    assert!(!exported.to_string().contains(PLAIN));
    let secrets: Vec<&Value> =
        exported["documents"].as_array().unwrap().iter().filter(|one| one["kind"] == "Secret").collect();
    assert_eq!(secrets.len(), 2, "{exported}");
    let body = json!({"source": "other", "documents": secrets});
    let (status, answer) = send(&platform, "apply", &platform.key, body).await;
    assert_eq!((status, &answer["summary"]["unchanged"]), (StatusCode::OK, &json!(2)), "{answer}");
    assert_eq!(value(&platform, "token").await.1, PLAIN);

    let head = platform.app.log.head().await.unwrap();
    // Whoever deletes the document's secret deletes its value.
    let body = json!({"source": "shop", "documents": [], "prune": true});
    let (status, answer) = send(&platform, "apply", &platform.key, body).await;
    assert_eq!((status, &answer["summary"]["delete"]), (StatusCode::OK, &json!(0)), "`other` holds them");
    let body = json!({"source": "other", "documents": [], "prune": true});
    let (status, answer) = send(&platform, "apply", &platform.key, body).await;
    assert_eq!((status, &answer["summary"]["delete"]), (StatusCode::OK, &json!(2)), "{answer}");
    let left = platform.app.vault.list_ids("secret/", None).await.unwrap();
    assert_eq!(left, [], "values are left in the vault");

    // A value that is gone holds up no way back.
    let body = json!({"to": head.0.to_string(), "source": "other"});
    let (status, answer) = send(&platform, "rollback", &platform.key, body).await;
    assert_eq!((status, &answer["summary"]["create"]), (StatusCode::OK, &json!(2)), "{answer}");
    let back = get(&platform, "resources/secret/token").await;
    assert_eq!(back["status"]["conditions"][0]["reason"], "NoValue", "{back}");
}

#[tokio::test]
async fn encrypted_values_open_for_the_project_that_they_are_for() {
    let platform = Platform::new().await;
    let documents = json!([document("token", json!({"encrypted": encrypted()}))]);
    applied(&platform, documents.clone(), json!({})).await;
    assert_eq!(value(&platform, "token").await.1, "correct horse");
    let log = whole_log(&platform).await;
    assert!(!log.contains("correct horse") && !log.contains("BEGIN AGE"), "{log}");
    let head = platform.app.log.head().await.unwrap();
    applied(&platform, documents.clone(), json!({})).await;
    assert_eq!(platform.app.log.head().await.unwrap(), head);

    // Another project that copies the document does not get the value.
    let other = platform.app.world().projects().map(|(id, _)| id).find(|id| *id != platform.project).unwrap();
    let path = format!("/v1/projects/{other}/apply");
    let body = json!({"documents": documents});
    let (status, answer) = platform.send(Method::POST, &path, Some(&platform.other_key), Some(body)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    let problem = &answer["error"]["problems"][0];
    assert_eq!(problem["path"], "encrypted", "{answer}");
    assert!(problem["message"].as_str().unwrap().contains("no identity"), "{answer}");
}

#[tokio::test]
async fn the_server_reads_nothing_of_its_own_for_a_document() {
    let platform = Platform::new().await;
    for from in [json!({"env": "PATH"}), json!({"file": "/etc/hostname"})] {
        let body = json!({"documents": [document("token", json!({"value_from": from}))]});
        let (status, answer) = send(&platform, "apply", &platform.key, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        let problem = &answer["error"]["problems"][0];
        assert_eq!(problem["path"], "value_from", "{answer}");
        assert!(problem["message"].as_str().unwrap().contains("the server does not read it"), "{answer}");
    }
    for key in [platform.other_key.as_str(), "ma-nonsense"] {
        let body = json!({"documents": [document("token", json!({}))]});
        let (status, answer) = send(&platform, "apply", key, body).await;
        assert!([StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED].contains(&status), "{answer}");
    }
    assert_eq!(platform.app.world().secrets(platform.project).count(), 0);
}

fn by_sops(file: &str) -> Value {
    let path = format!("{}/tests/fixtures/sops/{file}.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let read =
        meshagent::spec::parse_files(&[(file, text)]).unwrap_or_else(|problems| panic!("{problems:?}"));
    read[0].value.clone()
}

#[tokio::test]
async fn a_file_that_sops_encrypted_is_a_document() {
    let platform = Platform::new().await;
    let file = by_sops("value");
    assert!(file.get("value").is_none() && file["sops"].is_string(), "{file}");
    applied(&platform, json!([file]), json!({})).await;
    let (found, kept) = value(&platform, "token").await;
    assert_eq!(kept, "correct horse battery");
    let document = &found["document"];
    assert!(document.get("sops").is_none() && document["fingerprint"].is_string(), "{document}");
    assert_eq!(document["metadata"]["annotations"]["team"], "web");
    let log = whole_log(&platform).await;
    assert!(
        !log.contains("correct horse") && !log.contains("ENC[AES256"),
        "neither value nor text is in the log"
    );
    let again = applied(&platform, json!([by_sops("value")]), json!({})).await;
    assert_eq!(again["summary"]["unchanged"], 1, "{again}");
    let other = applied(&platform, json!([by_sops("several")]), json!({})).await;
    assert_eq!(other["summary"]["update"], 1, "{other}");
    assert_eq!(value(&platform, "token").await.1, "battery staple\nin two lines\n");
}

#[tokio::test]
async fn a_file_of_sops_that_does_not_fit_changes_nothing() {
    let platform = Platform::new().await;
    let text = by_sops("value")["sops"].as_str().unwrap().to_owned();
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}: {text}");
        let mut file = by_sops("value");
        file["sops"] = text.replacen(from, to, 1).into();
        file
    };
    let mut renamed = by_sops("value");
    renamed["metadata"]["name"] = "other".into();
    let mut both = with("\"name\": \"token\"", "\"name\": \"other\"");
    both["metadata"]["name"] = "other".into();
    let mut block = by_sops("value");
    block["sops"] = json!({"age": []});
    let table = [
        (renamed, "is another document than this"),
        (both, "its code is another"),
        (by_sops("elsewhere"), "none of its recipients is this server's"),
        (by_sops("number"), "no text"),
        (with("\"age\": ", "\"pgp\": "), "`pgp`"),
        (
            with("\"encrypted_regex\"", "\"mac_only_encrypted\": true, \"encrypted_regex\""),
            "encrypted values only",
        ),
        (with("\"mac\": ", "\"code\": "), "`sops.mac` is missing"),
        (block, "which JSON does not keep"),
    ];
    let head = platform.app.log.head().await.unwrap();
    for (document, text) in table {
        let body = json!({"source": "shop", "documents": [document]});
        let (status, answer) = send(&platform, "apply", &platform.key, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        let problem = &answer["error"]["problems"][0];
        assert_eq!(problem["path"], "sops", "{answer}");
        assert!(problem["message"].as_str().unwrap().contains(text), "{text}: {answer}");
        assert!(!answer.to_string().contains("correct horse"), "{answer}");
    }
    assert_eq!(platform.app.log.head().await.unwrap(), head);
    // Another project has no identity.
    let other = platform.app.world().projects().map(|(id, _)| id).find(|id| *id != platform.project).unwrap();
    let path = format!("/v1/projects/{other}/apply");
    let body = json!({"source": "shop", "documents": [by_sops("value")]});
    let (status, answer) = platform.send(Method::POST, &path, Some(&platform.other_key), Some(body)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    assert!(answer.to_string().contains("no identity"), "{answer}");
}

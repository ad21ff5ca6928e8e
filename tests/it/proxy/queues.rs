//! Webhooks that become items of a queue: signed ones.

use super::Desk;
use crate::cli::Person;
use aws_lc_rs::hmac;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const HOST: &str = "hooks.example";
const BODY: &str = r#"{"action": "opened", "number": 7}"#;

/// A room whose service takes webhooks at `/`, and GitHub's at `/github`.
async fn desk(secret: &str) -> Desk {
    let desk = Desk::start("den").await;
    let accounts = desk.rest(Method::GET, "/service-accounts", json!({})).await;
    let account = accounts["service_accounts"][0]["id"].as_str().unwrap().to_owned();
    let secrets = format!("/service-accounts/{account}/secrets");
    let made =
        desk.rest(Method::POST, &secrets, json!({"name": "hook", "type": "opaque", "http_only": true})).await;
    let id = made["id"].as_str().unwrap().to_owned();
    let value = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, secret);
    desk.rest(
        Method::POST,
        &format!("{secrets}/{id}/versions"),
        json!({"value_base64": value, "set_current": true}),
    )
    .await;
    let github = json!({"meshagent.request.queue": "pushes", "meshagent.request.validation.method": "github",
        "meshagent.request.validation.secret": id});
    let broken = json!({"meshagent.request.queue": "pushes", "meshagent.request.validation.method": "github",
        "meshagent.request.validation.secret": "00000000-0000-4000-8000-000000000000"});
    let unknown =
        json!({"meshagent.request.queue": "pushes", "meshagent.request.validation.method": "nonsense"});
    let ports = json!([{"num": 9000, "published": true, "public": true,
        "annotations": {"meshagent.request.queue": "forms"},
        "endpoints": [{"path": "/github", "annotations": github}, {"path": "/broken", "annotations": broken},
            {"path": "/unknown", "annotations": unknown}]},
        {"num": 9001, "published": true, "annotations": {"meshagent.request.queue": "inside"}}]);
    let service = json!({"version": "v1", "kind": "Service", "metadata": {"name": "hooks"}, "ports": ports,
        "external": {"url": "https://hooks.example"}});
    desk.rest(Method::POST, "/rooms/den/services", service).await;
    desk.route(
        HOST,
        "den",
        json!([{"path": "/", "targetPort": 9000}, {"path": "/inside", "targetPort": 9001}]),
    )
    .await;
    desk
}

fn sign(secret: &str, body: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body.as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

/// What waits in a queue, oldest first.
fn items(desk: &Desk, queue: &str) -> Vec<Value> {
    let person = Person::of(&desk.server);
    let mut items = vec![];
    loop {
        let ran = person.run(&["room", "queue", "receive", "--room", "den", "--queue", queue]);
        if ran.code != 0 {
            return items;
        }
        items.push(ran.json());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_github_webhook_lands_in_a_queue_and_a_forged_one_does_not() {
    let desk = desk("It's a Secret").await;
    let post = |signature: String, body: &'static str| {
        let desk = &desk;
        async move {
            let headers = [
                ("x-hub-signature-256", signature.as_str()),
                ("x-github-event", "pull_request"),
                ("content-type", "application/json"),
            ];
            desk.ask(Method::POST, HOST, "/github", &headers, body).await
        }
    };
    let taken = post(sign("It's a Secret", BODY), BODY).await;
    assert_eq!(taken.status, StatusCode::ACCEPTED, "{}", taken.text());
    for (signature, body) in [
        (sign("another", BODY), BODY),
        (sign("It's a Secret", BODY), "{\"action\": \"forged\"}"),
        (sign("", BODY), BODY),
        ("sha256=".to_owned(), BODY),
        ("nonsense".to_owned(), BODY),
    ] {
        let refused = post(signature.clone(), body).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{signature}: {}", refused.text());
    }
    let unsigned = desk.ask(Method::POST, HOST, "/github", &[], BODY).await;
    assert_eq!(unsigned.status, StatusCode::UNAUTHORIZED);
    let token = desk.token(json!({"name": "ann", "room_name": "den"})).await;
    let bearer =
        desk.ask(Method::POST, HOST, "/github", &[("authorization", &format!("Bearer {token}"))], BODY).await;
    assert_eq!(bearer.status, StatusCode::UNAUTHORIZED, "a token is no signature");
    // An address that cannot check takes nothing.
    for path in ["/broken", "/unknown"] {
        let signed = [("x-hub-signature-256", sign("", BODY))];
        let signed: Vec<(&str, &str)> = signed.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let got = desk.ask(Method::POST, HOST, path, &signed, BODY).await;
        assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {}", got.text());
    }
    let large = "x".repeat(2 * 1024 * 1024);
    let large = desk
        .ask(
            Method::POST,
            HOST,
            "/github",
            &[("x-hub-signature-256", &sign("It's a Secret", &large))],
            &large,
        )
        .await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    let items = tokio::task::block_in_place(|| items(&desk, "pushes"));
    assert_eq!(items.len(), 1, "{items:?}");
    let item = items[0].pointer("/message").unwrap_or(&items[0]);
    assert_eq!(
        (&item["body"], &item["headers"]["x-github-event"]),
        (&json!(BODY), &json!("pull_request")),
        "{item}"
    );
    assert!(!item.to_string().contains("sha256="), "the signature is not kept: {item}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_wait_in_a_queue_for_who_may_send_them() {
    let desk = desk("s").await;
    let form = desk.ask(Method::POST, HOST, "/contact", &[("content-type", "text/plain")], "hello").await;
    assert_eq!(form.status, StatusCode::ACCEPTED, "{}", form.text());
    assert_eq!(desk.get(HOST, "/contact", &[]).await.status, StatusCode::METHOD_NOT_ALLOWED);
    let binary = desk
        .client
        .post(format!("http://{}/contact", desk.proxy))
        .header("host", HOST)
        .body(vec![0xff, 0xfe]);
    assert_eq!(binary.send().await.unwrap().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(desk.ask(Method::POST, HOST, "/inside", &[], "x").await.status, StatusCode::UNAUTHORIZED);
    let token = desk.token(json!({"name": "ann", "room_name": "den"})).await;
    let bearer = format!("Bearer {token}");
    let inside = desk.ask(Method::POST, HOST, "/inside", &[("authorization", &bearer)], "x").await;
    assert_eq!(inside.status, StatusCode::ACCEPTED);
    let (forms, inside) = tokio::task::block_in_place(|| (items(&desk, "forms"), items(&desk, "inside")));
    assert_eq!((forms.len(), inside.len()), (1, 1), "{forms:?} {inside:?}");
    assert!(inside[0].to_string().contains("\"user\":\"ann\""), "{inside:?}");
    assert!(forms[0].to_string().contains("\"body\":\"hello\""), "{forms:?}");
}

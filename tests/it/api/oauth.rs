//! Secrets that are OAuth grants, used through the proxy; and documents for tool servers elsewhere.

use super::Platform;
use super::secrets::secret;
use crate::support::oauth::AuthServer;
use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::routing::get;
use meshagent::app::outward::Outward;
use meshagent::eventlog::Filter;
use meshagent::id::Position;
use meshagent::net::guard::Allowed;
use serde_json::{Value, json};
use std::time::Duration;

const MINE: &str = "/accounts/users/me/secrets";
const LOG_EVENTS_MAX: usize = 1_000;
const LIMIT: Duration = Duration::from_mins(1);

struct Rig {
    platform: Platform,
    /// Answers with the credential it got.
    target: String,
}

async fn rig() -> Rig {
    let outward = Outward { allowed: Allowed::new(["127.0.0.1".to_owned()]), ..Outward::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}/", listener.local_addr().unwrap());
    let told = |headers: HeaderMap| async move {
        let credential = headers.get("authorization").and_then(|value| value.to_str().ok());
        axum::Json(json!({"credential": credential}))
    };
    let router = Router::new().route("/", get(told));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Rig { platform: Platform::with(outward).await, target }
}

impl Rig {
    async fn grant(&self, name: &str, value: &Value) -> String {
        let about = json!({"name": name, "type": "oauth", "http_only": true});
        secret(&self.platform, MINE, &self.platform.key, about, &value.to_string()).await
    }

    async fn used(&self, id: &str) -> (StatusCode, Value) {
        let url: String = url::form_urlencoded::byte_serialize(self.target.as_bytes()).collect();
        let path = format!("/proxy-request?url={url}&secret-id={id}");
        self.platform.send(Method::GET, &path, Some(&self.platform.key), None).await
    }

    async fn credential(&self, id: &str) -> Value {
        let (status, mut answer) = self.used(id).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["credential"].take()
    }
}

fn refreshing(auth: &AuthServer) -> Value {
    json!({"refresh_token": "refresh-0", "token_endpoint": auth.url("/token"), "client_id": "me",
        "client_secret": "hush"})
}

#[tokio::test]
async fn a_grant_gets_its_token_once_for_all_who_use_it() {
    let rig = rig().await;
    let auth = AuthServer::start("refresh-0", 3_600).await;
    let id = rig.grant("wiki", &refreshing(&auth)).await;
    let all = futures_util::future::join_all((0..20).map(|_| rig.credential(&id))).await;
    assert!(all.iter().all(|credential| credential == "Bearer access-1"), "{all:?}");
    assert_eq!(auth.given(), 1);
    let form = auth.told.lock().unwrap().forms[0].clone();
    assert_eq!((form["client_id"].as_str(), form["client_secret"].as_str()), ("me", "hush"));

    // What came of it is sealed, and nobody else's.
    let log = rig.platform.app.log.read(Position(0), &Filter::all(), LOG_EVENTS_MAX).await.unwrap();
    let text: String = log.iter().map(|event| event.data.clone()).collect();
    assert!(text.contains("oauth"));
    for hidden in ["access-1", "refresh-1", "hush", "refresh-0"] {
        assert!(!text.contains(hidden), "the log has {hidden}");
    }
    // With the secret its tokens go.
    let path = format!("{MINE}/{id}");
    rig.platform.send(Method::DELETE, &path, Some(&rig.platform.key), None).await;
    let left = rig.platform.app.vault.list_ids("oauth/", None).await.unwrap();
    assert_eq!(left, []);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends_with_the_newest_refresh_token() {
    let rig = rig().await;
    let auth = AuthServer::start("refresh-0", 30).await;
    let id = rig.grant("wiki", &refreshing(&auth)).await;
    for n in 1..=3 {
        assert_eq!(rig.credential(&id).await, format!("Bearer access-{n}"));
    }
    // The endpoint no longer takes it, but the token is good for some seconds yet.
    auth.told.lock().unwrap().refresh = "withdrawn".to_owned();
    assert_eq!(rig.credential(&id).await, "Bearer access-3");

    let own = json!({"access_token": "own", "expires_at": "2999-01-01T00:00:00Z"});
    let mut later = refreshing(&auth);
    later.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    let asked = auth.told.lock().unwrap().forms.len();
    let id = rig.grant("later", &later).await;
    assert_eq!(rig.credential(&id).await, "Bearer own");
    assert_eq!(auth.told.lock().unwrap().forms.len(), asked, "a token that is good is not renewed");
    let id = rig.grant("bare", &json!({"access_token": "alone"})).await;
    assert_eq!(rig.credential(&id).await, "Bearer alone");
}

/// Waits until the endpoint was asked so many times.
async fn until_asked(auth: &AuthServer, times: usize) {
    let wait = async {
        while auth.told.lock().unwrap().forms.len() < times {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, wait).await.unwrap();
}

#[tokio::test]
async fn a_token_is_kept_though_nobody_waits_for_it_any_more() {
    let rig = rig().await;
    let auth = AuthServer::start("refresh-0", 3_600).await;
    let id = rig.grant("wiki", &refreshing(&auth)).await;
    auth.gate.send_replace(false);
    tokio::select! {
        answer = rig.used(&id) => panic!("{answer:?}"),
        () = until_asked(&auth, 1) => {}
    }
    // The caller is gone; another secret's tokens are to be had meanwhile.
    let other = AuthServer::start("refresh-0", 3_600).await;
    let second = rig.grant("other", &refreshing(&other)).await;
    assert_eq!(rig.credential(&second).await, "Bearer access-1");
    auth.gate.send_replace(true);
    assert_eq!(rig.credential(&id).await, "Bearer access-1");
    assert_eq!(auth.given(), 1, "refresh-0 is used up: asked again, the endpoint would have refused");
}

#[tokio::test]
async fn tokens_of_a_secret_that_is_deleted_meanwhile_are_not_kept() {
    let rig = rig().await;
    let auth = AuthServer::start("refresh-0", 3_600).await;
    let id = rig.grant("wiki", &refreshing(&auth)).await;
    auth.gate.send_replace(false);
    let delete = async {
        until_asked(&auth, 1).await;
        let path = format!("{MINE}/{id}");
        rig.platform.send(Method::DELETE, &path, Some(&rig.platform.key), None).await;
        auth.gate.send_replace(true);
    };
    let ((status, answer), ()) = tokio::join!(rig.used(&id), delete);
    assert_eq!(status, StatusCode::BAD_GATEWAY, "{answer}");
    assert!(answer.to_string().contains("deleted"), "{answer}");
    assert_eq!(rig.platform.app.vault.list_ids("oauth/", None).await.unwrap(), []);
}

#[tokio::test]
async fn a_client_by_itself_gets_tokens_too() {
    let rig = rig().await;
    let auth = AuthServer::start("", 3_600).await;
    let grant = json!({"grant_type": "client_credentials", "client_id": "me", "client_secret": "client-s3cr3t",
        "token_endpoint": auth.url("/token"), "scopes": ["a", "b"]});
    let id = rig.grant("machine", &grant).await;
    assert_eq!(rig.credential(&id).await, "Bearer access-1");
    assert_eq!(auth.told.lock().unwrap().forms[0]["scope"], "a b");
}

#[tokio::test]
async fn what_gives_no_token_is_said_without_what_was_sent() {
    let rig = rig().await;
    let auth = AuthServer::start("another", 3_600).await;
    let id = rig.grant("wiki", &refreshing(&auth)).await;
    let (status, answer) = rig.used(&id).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY, "{answer}");
    let text = answer.to_string();
    assert!(text.contains("invalid_grant") && text.contains("secret authorize"), "{text}");
    assert!(!text.contains("hush") && !text.contains("refresh-0"), "{text}");
    // It is not asked again at once.
    let (status, answer) = rig.used(&id).await;
    assert_eq!((status, auth.told.lock().unwrap().forms.len()), (StatusCode::BAD_GATEWAY, 1));
    assert!(answer.to_string().contains("invalid_grant"), "{answer}");

    // A token endpoint within is not asked, whoever stored it.
    let mut within = refreshing(&auth);
    within["token_endpoint"] = json!("http://10.0.0.1/token");
    let id = rig.grant("within", &within).await;
    let (status, answer) = rig.used(&id).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(answer.to_string().contains("token endpoint"), "{answer}");
}

async fn discovered(rig: &Rig, body: Value) -> (StatusCode, Value) {
    rig.platform.send(Method::POST, "/mcp/discover", Some(&rig.platform.key), Some(body)).await
}

#[tokio::test]
async fn a_tool_server_says_itself_how_it_is_signed_in_to() {
    let rig = rig().await;
    let auth = AuthServer::start("", 1).await;
    let elsewhere = auth.url("");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let about = move || async move { axum::Json(json!({"authorization_servers": [elsewhere]})) };
    let router = Router::new().route("/.well-known/oauth-protected-resource/wiki/mcp", get(about));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

    let (status, made) = discovered(&rig, json!({"url": format!("http://{address}/wiki/mcp/")})).await;
    assert_eq!((status, &made["kind"]), (StatusCode::OK, &json!("Service")), "{made}");
    let endpoint = &made["ports"][0]["endpoints"][0];
    assert_eq!((&made["ports"][0]["num"], &endpoint["path"]), (&json!(address.port()), &json!("/wiki/mcp")));
    let oauth = &endpoint["mcp"]["oauth"];
    assert_eq!(oauth["authorization_endpoint"], auth.url("/authorize"));
    assert_eq!((&oauth["token_endpoint"], &oauth["no_pkce"]), (&json!(auth.url("/token")), &json!(false)));

    // What needs no sign-in has no `oauth`; what is made can be made a service.
    let body = json!({"url": rig.target, "format": "template"});
    let (status, open) = discovered(&rig, body).await;
    assert_eq!((status, &open["kind"]), (StatusCode::OK, &json!("ServiceTemplate")), "{open}");
    assert!(open["ports"][0]["endpoints"][0]["mcp"].get("oauth").is_none());
    rig.platform.ok(Method::POST, "/services", Some(made)).await;
}

#[tokio::test]
async fn nothing_is_found_out_about_hosts_within_or_that_are_not_there() {
    let rig = rig().await;
    for (body, status) in [
        (json!({"url": "http://10.0.0.1/mcp"}), StatusCode::FORBIDDEN),
        (json!({"url": "http://169.254.169.254/latest"}), StatusCode::FORBIDDEN),
        (json!({"url": "file:///etc/passwd"}), StatusCode::BAD_REQUEST),
        (json!({"url": "no url"}), StatusCode::BAD_REQUEST),
        (json!({}), StatusCode::BAD_REQUEST),
        (json!({"url": "http://127.0.0.1:1/mcp"}), StatusCode::BAD_GATEWAY),
        (json!({"url": "http://127.0.0.1/mcp", "format": "yaml"}), StatusCode::BAD_REQUEST),
    ] {
        let (got, answer) = discovered(&rig, body.clone()).await;
        assert_eq!(got, status, "{body}: {answer}");
    }
    let path = "/mcp/discover";
    let (status, _) = rig.platform.send(Method::POST, path, None, Some(json!({"url": "http://h/"}))).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

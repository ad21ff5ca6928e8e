//! `/proxy-request` against a target that tells what it got.

use super::Platform;
use super::secrets::{account, ok, secret};
use axum::Router;
use axum::body::Body;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use futures_util::{SinkExt, StreamExt};
use meshagent::app::outward::Outward;
use meshagent::app::token::Mint;
use meshagent::net::guard::Allowed;
use meshagent::spec::ApiScope;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const MINE: &str = "/accounts/users/me/secrets";
const LIMIT: Duration = Duration::from_secs(20);
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Tells method, path, headers and body.
async fn echo(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await.unwrap();
    let headers: Value = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap_or_default())))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let told = json!({"method": parts.method.as_str(), "uri": parts.uri.to_string(), "headers": headers,
        "body": String::from_utf8_lossy(&body)});
    ([("set-cookie", "a=b"), ("x-told", "yes")], axum::Json(told)).into_response()
}

/// One event at once, the next when `go` says so.
async fn events(State(go): State<Arc<Notify>>) -> Response {
    let parts = futures_util::stream::unfold(0, move |n| {
        let go = Arc::clone(&go);
        async move {
            match n {
                0 => {}
                1 => go.notified().await,
                _ => return None,
            }
            Some((Ok::<_, std::convert::Infallible>(format!("data: {n}\n\n")), n + 1))
        }
    });
    ([("content-type", "text/event-stream")], Body::from_stream(parts)).into_response()
}

async fn socket(headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let credential =
        headers.get("authorization").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    upgrade.protocols(["mcp"]).on_upgrade(move |mut socket| async move {
        let _ = socket.send(Message::text(credential)).await;
        while let Some(Ok(Message::Binary(data))) = socket.recv().await {
            let _ = socket.send(Message::Binary(data)).await;
        }
    })
}

async fn listen(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

struct Rig {
    platform: Platform,
    /// Our server.
    here: SocketAddr,
    target: SocketAddr,
    go: Arc<Notify>,
}

async fn rig() -> Rig {
    let outward = Outward { allowed: Allowed::new(["127.0.0.1".to_owned()]), ..Outward::default() };
    let platform = Platform::with(outward).await;
    let go = Arc::new(Notify::new());
    let router = Router::new()
        .route("/echo", any(echo))
        .route("/events", get(events))
        .route("/socket", get(socket))
        .route("/away", get(|| async { (StatusCode::FOUND, [("location", "http://127.0.0.1:1/")]) }))
        .with_state(Arc::clone(&go));
    let target = listen(router).await;
    let here = listen(platform.router.clone()).await;
    Rig { platform, here, target, go }
}

impl Rig {
    fn path(&self, target: &str, more: &str) -> String {
        let url = format!("http://{}{target}", self.target);
        let url: String = url::form_urlencoded::byte_serialize(url.as_bytes()).collect();
        format!("/proxy-request?url={url}&{more}")
    }

    async fn send(&self, method: Method, path: &str, bearer: &str) -> (StatusCode, Value) {
        self.platform.send(method, path, Some(bearer), None).await
    }
}

#[tokio::test]
async fn a_request_arrives_with_the_secret_and_without_the_callers_credential() {
    let rig = rig().await;
    let key = rig.platform.key.clone();
    let id = secret(&rig.platform, MINE, &key, json!({"name": "k", "http_only": true}), "needle").await;
    let second = secret(&rig.platform, MINE, &key, json!({"name": "l"}), "thread").await;
    let path = rig.path("/echo?a=1&b=%20", &format!("secret-id={id}"));
    for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let client = reqwest::Client::new();
        let url = format!("http://{}{path}", rig.here);
        let answer = client
            .request(method.clone(), url)
            .bearer_auth(&key)
            .header("x-own", "1")
            .header("meshagent-project-id", "p")
            .body("hello")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.headers()["x-told"], "yes");
        assert!(answer.headers().get("set-cookie").is_none());
        let told: Value = answer.json().await.unwrap();
        assert_eq!((&told["method"], &told["uri"]), (&json!(method.as_str()), &json!("/echo?a=1&b=%20")));
        assert_eq!(
            (&told["headers"]["authorization"], &told["body"]),
            (&json!("Bearer needle"), &json!("hello"))
        );
        assert_eq!(told["headers"]["x-own"], "1");
        assert!(told["headers"].get("meshagent-project-id").is_none(), "{told}");
        assert!(!told.to_string().contains(&key), "the caller's key reached the target");
    }
    let headers =
        json!({"authorization": {"secret_id": id, "prefix": "Token "}, "x-api-key": {"secret_id": second}});
    let headers: String = url::form_urlencoded::byte_serialize(headers.to_string().as_bytes()).collect();
    let path = rig.path("/echo", &format!("secret-headers={headers}"));
    let (status, told) = rig.send(Method::GET, &path, &key).await;
    assert_eq!(status, StatusCode::OK, "{told}");
    assert_eq!(told["headers"]["authorization"], "Token needle");
    assert_eq!(told["headers"]["x-api-key"], "thread");
}

#[tokio::test]
async fn events_come_as_they_are_sent() {
    let rig = rig().await;
    let key = rig.platform.key.clone();
    let id = secret(&rig.platform, MINE, &key, json!({"name": "k"}), "v").await;
    let url = format!("http://{}{}", rig.here, rig.path("/events", &format!("secret-id={id}")));
    let answer = reqwest::Client::new().get(url).bearer_auth(&key).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut parts = answer.bytes_stream();
    let first = tokio::time::timeout(LIMIT, parts.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(&first[..], b"data: 0\n\n", "the first event came before the second was sent");
    rig.go.notify_one();
    let second = tokio::time::timeout(LIMIT, parts.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(&second[..], b"data: 1\n\n");
    assert!(parts.next().await.is_none());
}

#[tokio::test]
async fn sockets_pass_both_ways() {
    let rig = rig().await;
    let key = rig.platform.key.clone();
    let id = secret(&rig.platform, MINE, &key, json!({"name": "k"}), "needle").await;
    let url = format!("ws://{}{}", rig.here, rig.path("/socket", &format!("secret-id={id}")));
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    request.headers_mut().insert("sec-websocket-protocol", "other, mcp".parse().unwrap());
    let (mut socket, answer) = tokio_tungstenite::connect_async(request).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "mcp");
    let hello = tokio::time::timeout(LIMIT, socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(hello.to_text().unwrap(), "Bearer needle");
    let data = vec![7_u8; 300_000];
    socket.send(tungstenite::Message::binary(data.clone())).await.unwrap();
    let back = tokio::time::timeout(LIMIT, socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(back.into_data(), data);
    socket.close(None).await.unwrap();

    let url = format!("ws://{}{}", rig.here, rig.path("/echo", &format!("secret-id={id}")));
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    let refused = tokio_tungstenite::connect_async(request).await.unwrap_err();
    assert!(matches!(&refused, tungstenite::Error::Http(a) if a.status() == 502), "{refused}");
}

#[tokio::test]
async fn a_secret_is_used_by_whom_it_is_granted_to() {
    let rig = rig().await;
    let platform = &rig.platform;
    let key = platform.key.clone();
    let (agent, agent_key) = account(platform, "agent").await;
    let id = secret(platform, MINE, &key, json!({"name": "k", "http_only": true}), "needle").await;
    let path = rig.path("/echo", &format!("secret-id={id}"));
    let subject = json!({"subject": {"type": "service_account", "id": agent.to_string()}});
    let (status, body) = rig.send(Method::GET, &path, &agent_key).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
    ok(platform, Method::POST, &format!("{MINE}/{id}/access:grant-proxy"), &key, subject.clone()).await;
    let grants = ok(platform, Method::GET, &format!("{MINE}/{id}/access"), &key, json!({})).await;
    assert_eq!(grants["access_grants"][0]["subject"]["id"], agent.to_string());
    assert_eq!(grants["access_grants"][0]["roles"], json!(["use_proxy"]));
    let (status, told) = rig.send(Method::GET, &path, &agent_key).await;
    assert_eq!((status, &told["headers"]["authorization"]), (StatusCode::OK, &json!("Bearer needle")));
    // It uses it; it does not read it.
    let (status, _) = rig.send(Method::GET, &format!("{MINE}/{id}?include_value=true"), &agent_key).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    for (user, wanted) in [("default", 200), ("default@any.host", 200), ("agent", 403), ("nobody", 403)] {
        let (status, body) = rig.send(Method::GET, &format!("{path}&user={user}"), &agent_key).await;
        assert_eq!(status.as_u16(), wanted, "{user}: {body}");
    }
    ok(platform, Method::POST, &format!("{MINE}/{id}/access:revoke-proxy"), &key, subject).await;
    assert_eq!(rig.send(Method::GET, &path, &agent_key).await.0, StatusCode::FORBIDDEN);
    assert_eq!(rig.send(Method::GET, &path, &platform.other_key).await.0, StatusCode::FORBIDDEN);

    // A room token alone uses nobody's secrets.
    let mut mint = Mint::new(platform.project, "visitor");
    mint.room = Some("den".to_owned());
    mint.api = Some(ApiScope::full());
    let visitor = platform.app.mint(mint).await.unwrap();
    let (status, body) = rig.send(Method::GET, &path, &visitor).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
    assert!(!body.to_string().contains("needle"));
}

#[tokio::test]
async fn requests_that_may_not_go_out_do_not() {
    let rig = rig().await;
    let key = rig.platform.key.clone();
    let id = secret(&rig.platform, MINE, &key, json!({"name": "k"}), "needle").await;
    let many = secret(&rig.platform, MINE, &key, json!({"name": "two lines"}), "a\nb").await;
    let empty = ok(&rig.platform, Method::POST, MINE, &key, json!({"name": "empty"})).await;
    let empty = empty["id"].as_str().unwrap();
    let at = |url: &str| format!("/proxy-request?secret-id={id}&url={url}");
    for (path, code, said) in [
        (at("http://169.254.169.254/latest/meta-data"), 403, "not a public address"),
        (at("http://localhost:1/"), 403, "not a public address"),
        (at("http://[::ffff:10.0.0.1]/"), 403, "not a public address"),
        (at("http://user:hidden@127.0.0.1/"), 400, "a user or a password"),
        (at("file:///etc/passwd"), 400, "not file"),
        (at("http://127.0.0.1:1/"), 502, "did not answer"),
        ("/proxy-request?url=http://127.0.0.1/".to_owned(), 400, "`secret-id`"),
        (format!("/proxy-request?secret-id={id}"), 400, "`url`"),
        (rig.path("/echo", "secret-headers=%5B%5D"), 400, "`secret-id`"),
        (rig.path("/echo", "secret-headers=nonsense"), 400, "neither an object nor a list"),
        (
            rig.path("/echo", &format!("secret-headers=%7B%22host%22:%7B%22secret_id%22:%22{id}%22%7D%7D")),
            400,
            "no header that may be set",
        ),
        (rig.path("/echo", &format!("secret-id={many}")), 400, "no header can carry"),
        (rig.path("/echo", &format!("secret-id={empty}")), 404, "no current version"),
        (rig.path("/echo", "secret-id=nonsense"), 403, "grant-proxy"),
    ] {
        let (status, body) = rig.send(Method::GET, &path, &key).await;
        assert_eq!(status.as_u16(), code, "{path}: {body}");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(said), "{path}: {message}");
        assert!(!message.contains("needle") && !message.contains("hidden"), "{message}");
    }
    // A redirect is the caller's to follow, without the secret.
    let url = format!("http://{}{}", rig.here, rig.path("/away", &format!("secret-id={id}")));
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let answer = client.get(url).bearer_auth(&key).send().await.unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["location"]),
        (StatusCode::FOUND, &"http://127.0.0.1:1/".parse().unwrap())
    );
}

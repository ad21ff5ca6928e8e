//! Services that run elsewhere, on a real server: an agent that is called by its webhook and joins, a tool server
//! whose tools are in the room, secrets that the room sends along; and what is left of it all after `kill -9`.

use crate::agent::joined;
use crate::cli::Person;
use crate::support::mcp::McpServer;
use crate::support::oauth::AuthServer;
use crate::support::server::Server;
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use meshagent::client::rest::{Bearer, ProjectRest, Rest, SecretOwner, ServiceBody, ServiceScope};
use meshagent::client::room::{Options, RoomClient, Target, Token, ToolkitFilter};
use meshagent::wire::Content;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Stdio};
use std::time::Duration;
use tokio::sync::mpsc;

const LIMIT: Duration = Duration::from_mins(1);
const ROOM: &str = "support";

async fn webhook() -> (SocketAddr, mpsc::Receiver<(HeaderMap, String)>) {
    let (sender, receiver) = mpsc::channel(8);
    let handler = move |headers: HeaderMap, body: String| async move {
        let _ = sender.try_send((headers, body));
        StatusCode::OK
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/agent", post(handler));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (address, receiver)
}

fn project(server: &Server) -> ProjectRest {
    let rest = Rest::new(&server.url, Some(Bearer::new(server.api_key.clone()))).unwrap();
    rest.project(&server.project_id)
}

fn service(name: &str, url: &str, endpoint: Value) -> ServiceBody {
    ServiceBody::Spec(json!({
        "version": "v1", "kind": "Service", "metadata": {"name": name}, "external": {"url": url},
        "ports": [{"num": "*", "endpoints": [endpoint]}],
    }))
}

/// Waits until the room shows this toolkit, or no longer does.
async fn until_toolkit(room: &RoomClient, name: &str, there: bool) {
    let wait = async {
        loop {
            let all = room.list_toolkits(&ToolkitFilter::default()).await.unwrap();
            if all.iter().any(|toolkit| toolkit.name == name) == there {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("waited in vain for {name} ({there})"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_and_tools_elsewhere_are_in_the_room_and_come_back_after_a_crash() {
    let mut server = Server::start(&["--allow-host", "127.0.0.1"]);
    let rest = project(&server);
    let secrets = rest.secrets(SecretOwner::Me);
    let secret = secrets.create(json!({"name": "wiki", "type": "opaque", "http_only": true})).await.unwrap();
    let id = secret["id"].as_str().unwrap().to_owned();
    secrets.add_version(&id, b"needle", true).await.unwrap();
    // The room connects as the project's default account, not as whoever made the secret.
    secrets.grant_proxy(&id, "default", true).await.unwrap();

    let mcp = McpServer::start(&[("echo", true)], Some("Bearer needle")).await;
    let (address, mut calls) = webhook().await;
    let wiki = json!({"path": "/mcp", "mcp": {"label": "wiki", "use_proxy_secret": id}});
    let scope = ServiceScope::Project;
    rest.create_service(&scope, &service("wiki", &format!("http://{}", mcp.address), wiki)).await.unwrap();
    let agent = json!({"path": "/agent", "meshagent": {"identity": "helper"}});
    rest.create_service(&scope, &service("helper", &format!("http://{address}"), agent)).await.unwrap();

    let room = joined::client(&server, "visitor", ROOM).await;
    until_toolkit(&room, "wiki", true).await;
    let (headers, body) = tokio::time::timeout(LIMIT, calls.recv()).await.unwrap().unwrap();
    signed(&rest, &headers, &body).await;
    let event: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&event["event"], &event["data"]["room_name"]), (&json!("room.call"), &json!(ROOM)));
    let token = Token::new(event["data"]["token"].as_str().unwrap().to_owned());
    let url = event["data"]["room_url"].as_str().unwrap().to_owned();
    let helper = RoomClient::connect(Options::new(url, token)).await.unwrap();
    helper.list_toolkits(&ToolkitFilter::default()).await.unwrap();
    drop(helper);

    server.kill_9();
    server.restart();
    until_toolkit(&room, "wiki", true).await;
    let again = tokio::time::timeout(LIMIT, calls.recv()).await.unwrap().unwrap();
    signed(&rest, &again.0, &again.1).await;
    let kept = secrets.get(&id, false).await.unwrap();
    assert_eq!(kept["name"], "wiki");
    assert!(secrets.get(&id, true).await.is_err(), "what is for the proxy only is read by nobody");

    // A server that no longer takes the credential is lost with the next call, and its toolkit goes.
    secrets.grant_proxy(&id, "default", false).await.unwrap();
    mcp.told.lock().unwrap().wants = Some("Bearer another".to_owned());
    assert!(room.invoke_json("wiki", "echo", json!({"text": "x"})).await.is_err());
    until_toolkit(&room, "wiki", false).await;
}

/// Checks the signature as the clients' webhook server does.
async fn signed(rest: &ProjectRest, headers: &HeaderMap, body: &str) {
    let secret = rest.webhook_secret().await.unwrap();
    let token = headers["meshagent-signature"].to_str().unwrap().strip_prefix("Bearer ").unwrap();
    let mut rules = Validation::new(Algorithm::HS256);
    rules.required_spec_claims.clear();
    rules.validate_exp = false;
    let key = DecodingKey::from_secret(secret.as_bytes());
    let claims = jsonwebtoken::decode::<Value>(token, &key, &rules).unwrap().claims;
    let digest: String = Sha256::digest(body.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(claims["sha256"], json!(digest));
}

/// The page to sign in at, that a command prints; and what it says then.
fn page(command: &mut Child) -> (String, BufReader<ChildStderr>) {
    let mut said = BufReader::new(command.stderr.take().unwrap());
    let mut page = String::new();
    while !page.starts_with("http") {
        page.clear();
        assert_ne!(said.read_line(&mut page).unwrap(), 0, "the command ended without a page to sign in at");
    }
    (page.trim().to_owned(), said)
}

/// Follows the page that the command prints, as a browser would; what the command prints then.
async fn sign_in(mut command: Child) -> String {
    let (page, _said) = page(&mut command);
    let done = reqwest::get(page).await.unwrap();
    assert_eq!(done.status(), StatusCode::OK);
    let mut printed = String::new();
    command.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert!(command.wait().unwrap().success());
    for hidden in ["access-1", "refresh-1", "the-code"] {
        assert!(!printed.contains(hidden));
    }
    printed.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_server_that_wants_a_sign_in_is_used_with_what_came_of_it_after_a_crash_too() {
    let mut server = Server::start(&["--allow-host", "127.0.0.1"]);
    let person = Person::of(&server);
    let auth = AuthServer::start("", 1).await;
    let words = ["secret", "authorize", "wiki", "--subject", "default", "--mcp"];
    let mut command = person.command(&[&words[..], &[&auth.url("/mcp")]].concat());
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = sign_in(command).await;
    assert_eq!(auth.told.lock().unwrap().forms[0]["client_id"], "registered");
    person.run(&["secret", "access", "--subject", "default", &id]).fails(1, &["proxy"]);

    // The token of the sign-in is over already: it is renewed.
    auth.told.lock().unwrap().lifetime = 3_600;
    let mcp = McpServer::start(&[("echo", true)], Some("Bearer access-2")).await;
    let wiki = json!({"path": "/mcp", "mcp": {"label": "wiki", "use_proxy_secret": id,
        "oauth": {"authorization_endpoint": auth.url("/authorize"), "token_endpoint": auth.url("/token")}}});
    let rest = project(&server);
    let base = format!("http://{}", mcp.address);
    rest.create_service(&ServiceScope::Project, &service("wiki", &base, wiki)).await.unwrap();
    let room = joined::client(&server, "visitor", ROOM).await;
    until_toolkit(&room, "wiki", true).await;
    let echo = Target::new("wiki", "echo");
    let answer = room.invoke(&echo, Content::Json(json!({"text": "x"}))).await.unwrap();
    assert_eq!(answer, Content::Text("x".into()));
    assert_eq!(mcp.told.lock().unwrap().called, ["echo"]);

    server.kill_9();
    server.restart();
    mcp.told.lock().unwrap().called.clear();
    until_toolkit(&room, "wiki", true).await;
    assert_eq!(auth.given(), 2, "the token that was got is still there");

    // A client of its own needs nobody.
    let own = json!({"path": "/mcp", "mcp": {"label": "own", "oauth": {"client_id": "c",
        "client_secret": "client-s3cr3t", "token_endpoint": auth.url("/token")}}});
    let machine = McpServer::start(&[("echo", true)], Some("Bearer access-3")).await;
    let base = format!("http://{}", machine.address);
    rest.create_service(&ServiceScope::Project, &service("own", &base, own)).await.unwrap();
    until_toolkit(&room, "own", true).await;

    // Without what a person has to give, the service says what to do.
    let asks = json!({"path": "/mcp", "mcp": {"label": "asks", "oauth": {
        "authorization_endpoint": auth.url("/authorize"), "token_endpoint": auth.url("/token")}}});
    rest.create_service(&ServiceScope::Project, &service("asks", &base, asks)).await.unwrap();
    let words = ["room", "service", "describe", "--room", ROOM, "--name", "asks"];
    let shown = person.run(&words).ok().stdout;
    assert!(shown.contains("secret authorize"), "{shown}");
}

/// A tool server that names these endpoints for the sign-in; its URL.
async fn naming(registration: String, token: String, authorization: String) -> String {
    let about = json!({"authorization_endpoint": authorization, "token_endpoint": token,
        "registration_endpoint": registration, "code_challenge_methods_supported": ["S256"]});
    let told = move || async move { axum::Json(about) };
    let router = Router::new().route("/.well-known/oauth-authorization-server", get(told));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}/mcp")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_server_cannot_have_a_service_of_this_machine_called_that_nobody_named() {
    let server = Server::start(&[]);
    let person = Person::of(&server);
    let auth = AuthServer::start("", 1).await;
    let within = |path: &str| format!("http://localhost:{}{path}", auth.address.port());
    let words = ["secret", "authorize", "wiki", "--subject", "default", "--mcp"];

    let url = naming(within("/register"), auth.url("/token"), auth.url("/authorize")).await;
    person.run(&[&words[..], &[&url]].concat()).fails(1, &["localhost", "--allow-host"]);
    let url = naming(auth.url("/register"), within("/token"), auth.url("/authorize")).await;
    let mut command = person.command(&[&words[..], &[&url]].concat());
    let mut command = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (page, mut said) = page(&mut command);
    assert_eq!(reqwest::get(page).await.unwrap().status(), StatusCode::OK);
    let mut why = String::new();
    said.read_to_string(&mut why).unwrap();
    assert_eq!(command.wait().unwrap().code(), Some(1), "{why}");
    assert!(why.contains("--allow-host localhost"), "{why}");
    assert_eq!(auth.told.lock().unwrap().forms.len(), 0, "no code was sent there");

    let command = [&words[..], &[&url, "--allow-host", "localhost"]].concat();
    let command = person.command(&command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    sign_in(command).await;
    assert_eq!(auth.given(), 1);
    person.run(&["secret", "authorize", "x", "--allow-host", "localhost"]).fails(2, &["--mcp"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_made_of_what_a_tool_server_says_of_itself() {
    let server = Server::start(&["--allow-host", "127.0.0.1"]);
    let person = Person::of(&server);
    let auth = AuthServer::start("", 1).await;
    let url = auth.url("/wiki/mcp");
    let printed = person.run(&["service", "spec", "--mcp", &url, "--format", "template"]).ok().stdout;
    assert!(printed.contains("kind: ServiceTemplate") && printed.contains("/authorize"), "{printed}");
    let made = person.run(&["service", "create", "--mcp", &url, "--global", "--service-id", "w"]).ok().stdout;
    let stored = person.run(&["service", "get", made.trim()]).json();
    assert_eq!(stored["metadata"]["annotations"]["meshagent.service.id"], "w");
    assert_eq!(stored["ports"][0]["endpoints"][0]["path"], "/wiki/mcp");
    person.run(&["service", "spec", "--mcp", "http://10.0.0.1/mcp"]).fails(1, &["10.0.0.1"]);
    person.run(&["service", "spec", "--mcp", &url, "--url", &url]).fails(2, &["--mcp"]);
    person
        .run(&["secret", "authorize", "x", "--token-endpoint", &url])
        .fails(2, &["--authorization-endpoint"]);
    person.run(&["secret", "authorize", "x"]).fails(2, &["--mcp"]);
    person.run(&["secret", "authorize", "x", "--mcp", &server.url]).fails(1, &["does not say"]);
}

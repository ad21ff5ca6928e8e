//! Sites whose room runs on another server: any server of the installation answers for them.

use super::ports::{free_port, service};
use super::*;
use crate::support::postgres;

/// Longer than the lease of a dead host, and than starting the room and its service anew.
const TAKE_OVER_LIMIT: Duration = Duration::from_mins(2);
const LOOK_EVERY: Duration = Duration::from_millis(200);
const HOST: &str = "app.example";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_is_answered_by_every_server_and_outlives_its_own() {
    let Some(url) = postgres::database().await else { return };
    let shared = tempfile::tempdir().unwrap();
    let dir = shared.path().to_str().unwrap();
    let start = |name: &str| {
        let args =
            ["--proxy", "127.0.0.1:0", "--database-url", &url, "--shared-dir", dir, "--server-name", name];
        Desk::of(Server::start(&args))
    };
    let (mut one, two) = (start("one"), start("two"));
    one.rest(Method::POST, "/rooms", json!({"name": "den"})).await;
    let port = free_port();
    let ports = json!([{"num": port, "published": true, "public": true, "liveness": "/"}]);
    one.rest(Method::POST, "/rooms/den/services", service("web", &[port], ports)).await;
    one.route(HOST, "den", json!([{"path": "/", "targetPort": port.to_string()}])).await;

    // Whoever is asked first runs the room; the other passes its requests on.
    let told = one.get(HOST, "/a", &[]).await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.text());
    let large = "x".repeat(2_000_000);
    let told = two.ask(Method::POST, HOST, "/b?c=1", &[("x-own", "1")], &large).await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.text());
    let told = told.json();
    assert_eq!((&told["path"], &told["length"]), (&json!("/b?c=1"), &json!(large.len())));
    assert_eq!(told["headers"]["x-forwarded-host"], HOST, "{told}");
    let sessions = one.rest(Method::GET, "/sessions", json!(null)).await;
    let active =
        sessions["sessions"].as_array().unwrap().iter().filter(|session| session["is_active"] == true);
    assert_eq!(active.count(), 1, "the room runs once: {sessions}");

    // Sockets pass too.
    let mut socket = TcpStream::connect(two.proxy).unwrap();
    socket.set_read_timeout(Some(RAW_LIMIT)).unwrap();
    let ask = format!("GET /s HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    socket.write_all(ask.as_bytes()).unwrap();
    let mut heard = Vec::new();
    let mut block = [0; 1024];
    while !heard.ends_with(b"\r\n\r\n") {
        let read = socket.read(&mut block).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&block[..read]);
    }
    assert!(heard.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&heard));
    socket.write_all(b"hello").unwrap();
    let mut echoed = [0; 10];
    socket.read_exact(&mut echoed).unwrap();
    assert_eq!(&echoed, b"echo hello");

    one.server.kill_9();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let back = tokio::time::timeout(TAKE_OVER_LIMIT, async {
        loop {
            let told = two.get(HOST, "/c", &[]).await;
            if told.status == StatusCode::OK {
                return told.json();
            }
            looks.tick().await;
        }
    });
    assert_eq!(back.await.expect("the site did not come back")["path"], "/c");
}

/// The way between servers is for them alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_comes_the_way_of_servers() {
    let desk = Desk::start("den").await;
    let port = free_port();
    let ports = json!([{"num": port, "published": false}]);
    let service = desk.rest(Method::POST, "/rooms/den/services", service("web", &[port], ports)).await;
    let room = desk.rest(Method::GET, "/rooms/den", json!(null)).await;
    let (room, service) = (room["id"].as_str().unwrap(), service["id"].as_str().unwrap());
    let path = format!("/between-servers/ports/{}/{room}/{service}/0", desk.server.project_id);
    let far = chrono::Utc::now().timestamp() + 50;
    let participant = desk.token(json!({"room_name": "den", "name": "ann"})).await;
    for bearer in ["", &desk.server.api_key, &participant, &format!("{far}."), &format!("{far}.AAAA")] {
        let request = desk.client.get(format!("{}{path}", desk.server.url)).bearer_auth(bearer);
        let answer =
            request.header("connection", "upgrade").header("upgrade", "meshagent-port").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{bearer}");
    }
}

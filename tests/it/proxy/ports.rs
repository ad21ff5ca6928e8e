//! Ports of services behind host names.

use super::Desk;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// Tells what it was sent; the end of `/slow` waits for `/go`; echoes bytes after an upgrade.
const PROGRAM: &str = r#"
import http.server, json, os, threading
go = threading.Event()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def answer(self):
        if self.headers.get("Upgrade") == "websocket":
            self.send_response(101); self.send_header("Upgrade", "websocket"); self.send_header("Connection", "Upgrade")
            self.end_headers(); self.wfile.flush()
            while data := self.connection.recv(1024): self.connection.sendall(b"echo " + data)
            self.close_connection = True
            return
        body = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size); self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/slow":
            self.send_response(200); self.send_header("Transfer-Encoding", "chunked"); self.end_headers()
            self.wfile.write(b"5\r\nfirst\r\n"); self.wfile.flush()
            go.wait(30)
            self.wfile.write(b"4\r\nlast\r\n0\r\n\r\n")
            return
        if self.path == "/go": go.set()
        told = json.dumps({"method": self.command, "path": self.path, "length": len(body), "headers": {k.lower(): v for k, v in self.headers.items()}}).encode()
        self.send_response(200); self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "X-Hop"); self.send_header("X-Hop", "1"); self.send_header("Set-Cookie", "own=1")
        self.send_header("Content-Length", str(len(told))); self.end_headers(); self.wfile.write(told)
    do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = answer
ports = [int(port) for port in os.environ["PORTS"].split()]
for port in ports[1:]:
    threading.Thread(target=http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever, daemon=True).start()
http.server.ThreadingHTTPServer(("127.0.0.1", ports[0]), Handler).serve_forever()
"#;

/// A port that was free a moment ago.
pub(super) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(super) fn service(name: &str, listens: &[u16], ports: Value) -> Value {
    let listens = listens.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let command = shlex::try_join(["/usr/bin/python3", "-c", PROGRAM]).unwrap();
    json!({"version": "v1", "kind": "Service", "metadata": {"name": name}, "ports": ports,
        "container": {"image": "meshagent/cli:default", "command": command,
            "environment": [{"name": "PORTS", "value": listens}]}})
}

async fn desk() -> (Desk, u16, u16) {
    let desk = Desk::start("den").await;
    let (open, closed) = (free_port(), free_port());
    let ports = json!([
        {"num": open, "published": true, "public": true, "liveness": "/"},
        {"num": closed, "published": true},
    ]);
    desk.rest(Method::POST, "/rooms/den/services", service("web", &[open, closed], ports)).await;
    desk.file("den", "down.html", "<h1>back soon</h1>").await;
    let paths = json!([
        {"path": "/", "targetPort": open.to_string()},
        {"path": "/api", "targetPort": "web", "stripPrefix": true},
        {"path": "/inside", "targetPort": format!("web:{closed}")},
        {"path": "/gone", "targetPort": "nobody", "unavailable": "down.html"},
    ]);
    desk.route("app.example", "den", paths).await;
    (desk, open, closed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_answers_behind_a_name() {
    let (desk, ..) = desk().await;
    const HOST: &str = "app.example";
    // The room starts with the first request, and the request waits for it.
    let hostile = [
        ("x-meshagent-user", "root"),
        ("x_meshagent_user", "root"),
        ("x-forwarded-for", "10.0.0.1"),
        ("cookie", "a=1; __meshagent_iap=secret"),
        ("te", "trailers"),
        ("authorization", "Bearer own"),
    ];
    let told = desk.get(HOST, "/x/%20y?q=1", &hostile).await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.text());
    assert_eq!(told.header("set-cookie"), "own=1");
    assert!(!told.headers.contains_key("x-hop"), "{:?}", told.headers);
    let told = told.json();
    assert_eq!((&told["path"], &told["headers"]["host"]), (&json!("/x/%20y?q=1"), &json!(HOST)));
    let headers = &told["headers"];
    for gone in ["x-meshagent-user", "x_meshagent_user", "te"] {
        assert_eq!(headers[gone], Value::Null, "{headers}");
    }
    assert_eq!((&headers["cookie"], &headers["authorization"]), (&json!("a=1"), &json!("Bearer own")));
    assert_eq!(
        (&headers["x-forwarded-for"], &headers["x-forwarded-host"]),
        (&json!("127.0.0.1"), &json!(HOST))
    );
    // Bodies, prefixes.
    let posted = desk.ask(Method::POST, HOST, "/api//v1/%61?b", &[], &"x".repeat(3_000_000)).await.json();
    assert_eq!((&posted["path"], &posted["length"]), (&json!("/v1/%61?b"), &json!(3_000_000)));
    assert_eq!(desk.get(HOST, "/api", &[]).await.json()["path"], "/");
    // A request without a body has none there, and no chunks.
    for method in [Method::POST, Method::DELETE, Method::OPTIONS, Method::GET] {
        let told = desk.ask(method.clone(), HOST, "/", &[], "").await.json();
        assert_eq!(
            (&told["length"], &told["headers"]["transfer-encoding"]),
            (&json!(0), &Value::Null),
            "{method}"
        );
    }
    let chunked = ["Transfer-Encoding: chunked", "", "3", "abc", "0", ""];
    let (_, told) = desk.line("/", HOST, &chunked);
    assert!(told.contains(r#""length": 3"#), "a GET keeps its body: {told}");
    // A cookie of the site's own is not read, and is passed on as it is.
    let told = desk.raw(&format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nCookie: n=J\u{fc}; __meshagent_iap=x\r\n\r\n")).1;
    assert!(told.contains("n=J") && !told.contains("__meshagent_iap"), "{told}");
    // An answer comes as it is made.
    let mut answer =
        desk.client.get(format!("http://{}/slow", desk.proxy)).header("host", HOST).send().await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "first");
    // The first part did not wait for the last.
    assert_eq!(desk.get(HOST, "/go", &[]).await.status, StatusCode::OK);
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "last");
    let gone = desk.get(HOST, "/gone", &[]).await;
    assert_eq!((gone.status, gone.text().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "<h1>back soon</h1>"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_not_public_hears_who_asks() {
    let (desk, ..) = desk().await;
    const HOST: &str = "app.example";
    assert_eq!(
        desk.get(HOST, "/inside", &[("x-meshagent-user", "root")]).await.status,
        StatusCode::UNAUTHORIZED
    );
    // However the path is written, it is the same path.
    for target in ["//inside", "/%69nside", "/inside/"] {
        assert_eq!(desk.line(target, HOST, &[]).0, 401, "{target}");
    }
    let token = desk.token(json!({"name": "ann", "room_name": "den", "api": {"queues": {}}})).await;
    let bearer = format!("Bearer {token}");
    let told = desk.get(HOST, "/inside", &[("authorization", &bearer)]).await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.text());
    let headers = told.json()["headers"].clone();
    assert_eq!(
        (&headers["x-meshagent-user"], &headers["authorization"]),
        (&json!("ann"), &Value::Null),
        "{headers}"
    );
    let api: Value = serde_json::from_str(headers["x-meshagent-api-scope"].as_str().unwrap()).unwrap();
    assert!(api["queues"].is_object(), "{api}");
    // Pages of sibling domains are "same site" to browsers: their cookie is not enough to change something.
    let cookie = format!("__meshagent_iap={token}");
    let posted = |origin: &'static str| {
        let headers = vec![("cookie".to_owned(), cookie.clone()), ("origin".to_owned(), origin.to_owned())];
        let desk = &desk;
        async move {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            desk.ask(Method::POST, HOST, "/inside", &headers, "x").await.status
        }
    };
    assert_eq!(posted("http://app.example").await, StatusCode::OK);
    assert_eq!(posted("http://evil.example").await, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_pass_as_they_are() {
    let (desk, ..) = desk().await;
    assert_eq!(desk.get("app.example", "/", &[]).await.status, StatusCode::OK);
    let mut stream = TcpStream::connect(desk.proxy).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let head = "GET /socket HTTP/1.1\r\nHost: app.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut block = [0; 4096];
    let read = stream.read(&mut block).unwrap();
    let answer = String::from_utf8_lossy(&block[..read]).to_lowercase();
    assert!(answer.starts_with("http/1.1 101") && answer.contains("upgrade: websocket"), "{answer}");
    stream.write_all(b"hello").unwrap();
    let read = stream.read(&mut block).unwrap();
    assert_eq!(&block[..read], b"echo hello");
    // From a page of another site, with its visitor's cookie, nothing passes.
    let token = desk.token(json!({"name": "ann", "room_name": "den"})).await;
    let other = desk.line(
        "/inside",
        "app.example",
        &[
            "Upgrade: websocket",
            "Connection: upgrade",
            "Origin: http://evil.example",
            &format!("Cookie: __meshagent_iap={token}"),
        ],
    );
    assert_eq!(other.0, 403, "{}", other.1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_reaches_published_ports_of_its_own_room_only() {
    let (desk, open, _) = desk().await;
    assert_eq!(desk.get("app.example", "/", &[]).await.status, StatusCode::OK);
    // Another room's route to that port, and a service there that says the port, or one of the host, is its own.
    desk.rest(Method::POST, "/rooms", json!({"name": "thief"})).await;
    let api: u16 = desk.server.url.rsplit(':').next().unwrap().parse().unwrap();
    let own = free_port();
    let ports = json!([{"num": open, "published": true, "public": true}, {"num": api, "published": true, "public": true},
        {"num": own, "public": true}]);
    desk.rest(Method::POST, "/rooms/thief/services", service("thief", &[own], ports)).await;
    let paths = json!([{"path": "/a", "targetPort": open}, {"path": "/b", "targetPort": api},
        {"path": "/c", "targetPort": own}, {"path": "/d", "targetPort": "web"}]);
    desk.route("thief.example", "thief", paths).await;
    for path in ["/a", "/b", "/c", "/d"] {
        let got = desk.get("thief.example", path, &[]).await;
        assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {}", got.text());
    }
    // Too long a body is refused before it is sent on.
    let head =
        "POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 9999999999\r\nConnection: close\r\n\r\n";
    assert_eq!(desk.raw(head).0, 413);
}

//! Routes, as clients and browsers meet them: the real server, raw requests.

mod browser;
mod content;
mod domain;
mod elsewhere;
mod ports;
mod private;
mod queues;

use crate::support::server::Server;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for a raw answer.
const RAW_LIMIT: Duration = Duration::from_secs(40);

/// A server that serves routes, and who uses it.
struct Desk {
    server: Server,
    proxy: SocketAddr,
    client: Client,
}

/// An answer, read whole.
#[derive(Debug)]
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Got {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

impl Desk {
    /// With a room.
    async fn start(room: &str) -> Self {
        let desk = Self::of(Server::start(&["--proxy", "127.0.0.1:0"]));
        desk.rest(Method::POST, "/rooms", json!({"name": room})).await;
        desk
    }

    /// On a server that serves routes.
    fn of(server: Server) -> Self {
        let connection: Value =
            serde_json::from_str(&fs::read_to_string(server.data_dir().join("connection.json")).unwrap())
                .unwrap();
        let proxy = connection["proxy"].as_str().unwrap().parse().unwrap();
        let client =
            Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
        Self { server, proxy, client }
    }

    /// A request to the project, as its operator.
    async fn rest(&self, method: Method, path: &str, body: Value) -> Value {
        let url = format!("{}/accounts/projects/{}{path}", self.server.url, self.server.project_id);
        let request = self.client.request(method, url).bearer_auth(&self.server.api_key).json(&body);
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    async fn file(&self, room: &str, path: &str, data: impl Into<Vec<u8>>) {
        let url = format!("{}/files/{}/rooms/{room}/{path}", self.server.url, self.server.project_id);
        let sent =
            self.client.put(url).bearer_auth(&self.server.api_key).body(data.into()).send().await.unwrap();
        assert!(sent.status().is_success(), "{}", sent.text().await.unwrap());
    }

    /// A route of these paths to a room.
    async fn route(&self, domain: &str, room: &str, paths: Value) {
        let spec = json!({"metadata": {"name": domain}, "domain": domain, "backend": {"room": {"name": room}}, "paths": paths});
        self.rest(Method::POST, "/routes", json!({ "spec": spec })).await;
    }

    async fn token(&self, body: Value) -> String {
        let made = self.rest(Method::POST, "/participant-tokens", body).await;
        made["token"].as_str().unwrap().to_owned()
    }

    /// A request for a host.
    async fn ask(&self, method: Method, host: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Got {
        let mut request =
            self.client.request(method, format!("http://{}{path}", self.proxy)).header("host", host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.body(body.to_owned()).send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        Got { status, headers, body: answer.bytes().await.unwrap().to_vec() }
    }

    async fn get(&self, host: &str, path: &str, headers: &[(&str, &str)]) -> Got {
        self.ask(Method::GET, host, path, headers, "").await
    }

    /// Sends bytes as they are, and reads until the end; the status, and all of it.
    fn raw(&self, text: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.proxy).unwrap();
        stream.set_read_timeout(Some(RAW_LIMIT)).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        let _cut_off_is_an_answer_too = stream.read_to_end(&mut bytes);
        let answer = String::from_utf8_lossy(&bytes).into_owned();
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        (status, answer)
    }

    /// A raw request line and host, with further headers.
    fn line(&self, target: &str, host: &str, more: &[&str]) -> (u16, String) {
        let mut text = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        for header in more {
            let _ = write!(text, "{header}\r\n");
        }
        self.raw(&format!("{text}\r\n"))
    }
}

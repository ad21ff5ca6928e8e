//! What integration tests share: servers under test, programs beside them, and the public clients.

pub mod browser;
pub mod clients;
pub mod dns;
pub mod mail;
pub mod mcp;
pub mod node;
pub mod oauth;
pub mod podman;
pub mod postgres;
pub mod realtime;
pub mod sandbox;
pub mod script;
pub mod server;

use std::time::{Duration, Instant};

/// Longest wait for something that happens in another program.
const UNTIL_LIMIT: Duration = Duration::from_mins(2);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Waits until something holds.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + UNTIL_LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come to be within {UNTIL_LIMIT:?}");
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// Posts to the server's project, as its operator.
pub fn post(server: &server::Server, path: &str, body: &serde_json::Value) {
    let url = format!("{}/accounts/projects/{}{path}", server.url, server.project_id);
    let sent = async {
        let request = reqwest::Client::new().post(url).bearer_auth(&server.api_key).json(body);
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
    };
    tokio::runtime::Runtime::new().unwrap().block_on(sent);
}

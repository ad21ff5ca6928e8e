//! A real browser on sites behind host names.

use super::Desk;
use crate::support::browser;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;

const LIMIT: Duration = Duration::from_mins(1);

/// Chromium for which every host is this server, ended when dropped.
struct Browser {
    child: Child,
    _home: tempfile::TempDir,
    debug: String,
}

impl Browser {
    fn start(desk: &Desk) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut child = Command::new("chromium")
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-dev-shm-usage",
                "--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable",
            ])
            .arg(format!("--host-resolver-rules=MAP *.example {}", desk.proxy))
            .arg(format!("--user-data-dir={}", home.path().display()))
            .args(["--remote-debugging-port=0", "about:blank"])
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let port = loop {
            let mut line = String::new();
            assert!(said.read_line(&mut line).unwrap() > 0, "chromium does not start");
            if let Some((_, address)) = line.split_once("DevTools listening on ws://127.0.0.1:") {
                break address.split('/').next().unwrap().to_owned();
            }
        };
        thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { child, _home: home, debug: format!("http://127.0.0.1:{port}") }
    }

    /// Runs a script in the one page, again until it answers what is wanted.
    async fn until(&self, script: &str, wanted: &str) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let got = self.run(script).await;
            if got == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "`{script}` answers {got}, not {wanted}");
            tokio::task::yield_now().await;
        }
    }

    async fn run(&self, script: &str) -> Value {
        self.call("Runtime.evaluate", json!({"expression": script, "returnByValue": true})).await["result"]["value"].clone()
    }

    async fn call(&self, method: &str, params: Value) -> Value {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let pages: Value =
            client.get(format!("{}/json", self.debug)).send().await.unwrap().json().await.unwrap();
        let page = pages.as_array().unwrap().iter().find(|page| page["type"] == "page").unwrap();
        let url = page["webSocketDebuggerUrl"].as_str().unwrap();
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        let asked = json!({"id": 1, "method": method, "params": params});
        socket.send(Message::text(asked.to_string())).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            let Ok(read) = serde_json::from_str::<Value>(message.to_text().unwrap_or_default()) else {
                continue;
            };
            if read["id"] == 1 {
                return read["result"].clone();
            }
        }
        Value::Null
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_shows_a_site_and_signs_in_to_another() {
    if !browser::is_here() {
        return;
    }
    let desk = Desk::start("den").await;
    let page = "<!doctype html><h1>plain</h1><script src=\"/app.js\"></script>";
    desk.file("den", "site/index.html", page).await;
    desk.file("den", "site/app.js", "document.querySelector('h1').textContent = 'alive';".repeat(20)).await;
    desk.file("den", "inside/index.html", "<!doctype html><h1>inside</h1>").await;
    let content = |subpath: &str, iap: bool| json!([{"path": "/", "targetContent": {"subpath": subpath, "index": true, "iap": iap}}]);
    desk.route("open.example", "den", content("site", false)).await;
    desk.route("private.example", "den", content("inside", true)).await;
    let token = desk.token(json!({"name": "ann", "room_name": "den"})).await;
    let browser = tokio::task::block_in_place(|| Browser::start(&desk));
    let heading = "document.querySelector('h1') ? document.querySelector('h1').textContent : ''";
    browser.call("Page.navigate", json!({"url": "http://open.example/"})).await;
    browser.until(heading, "alive").await;
    browser.call("Page.navigate", json!({"url": "http://private.example/?a=b"})).await;
    browser.until(heading, "Sign in").await;
    let fill = |token: &str| {
        format!(
            "document.querySelector('[name=token]').value = '{token}'; document.querySelector('button').click(); 'sent'"
        )
    };
    browser.until(&fill("nonsense"), "sent").await;
    browser.until("document.querySelector('[role=alert]') ? 'refused' : ''", "refused").await;
    browser.until(&fill(&token), "sent").await;
    browser.until(heading, "inside").await;
    browser.until("location.href", "http://private.example/?a=b").await;
    browser.until("document.cookie", "").await;
}

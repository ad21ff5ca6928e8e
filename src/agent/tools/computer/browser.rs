//! One Chromium without a window, and pages in it that know nothing of each other.

use super::cdp::Cdp;
use super::keys::{self, Key};
use super::proxy::Proxy;
use crate::agent::config::ComputerConfig;
use crate::child::{Group, surroundings};
use crate::net::guard::Allowed;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

/// Size of a page, in pixels.
pub(super) const WIDTH: u32 = 1440;
pub(super) const HEIGHT: u32 = 900;
/// How long a page may load until it is looked at as it is.
const LOAD_MAX: Duration = Duration::from_secs(15);
/// Waits in the page until what an action began shows, and until the page is loaded.
const SETTLED: &str = "new Promise(done => setTimeout(() => document.readyState === 'complete' ? done() \
                       : addEventListener('load', () => done(), {once: true}), 200))";
/// Keeps links and scripts that would open other windows in the one there is.
const ONE_WINDOW: &str = "window.open = url => { if (url) location.href = url; return window; }; \
                          addEventListener('click', event => { const link = event.target.closest?.('a[target]'); \
                          if (link) link.target = '_self'; }, true);";
/// Hands the two pipes to the browser where it looks for them.
const WRAPPER: &str = "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null";

/// A running browser; it ends with all it started when dropped.
pub(super) struct Browser {
    cdp: Arc<Cdp>,
    _group: Group,
    _child: Child,
    _proxy: Proxy,
}

/// A page with cookies and storage of its own; they end when it is dropped.
pub(super) struct Page {
    context: Context,
    session: String,
}

/// What a page has to itself in the browser.
struct Context {
    cdp: Arc<Cdp>,
    id: String,
}

impl Drop for Context {
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else { return };
        let (cdp, context) = (self.cdp.clone(), json!({"browserContextId": self.id}));
        runtime.spawn(async move {
            if let Err(error) = cdp.call(None, "Target.disposeBrowserContext", context).await {
                tracing::debug!(error, "a page of the browser was not closed");
            }
        });
    }
}

impl Browser {
    pub async fn start(config: &ComputerConfig) -> Result<Self, String> {
        let proxy = Proxy::start(Allowed::new(config.allowed_hosts.clone())).await;
        let proxy = proxy.map_err(|error| format!("the browser's proxy cannot listen: {error}"))?;
        let mut child = spawn(config, &proxy).map_err(|error| {
            format!("the browser `{}` cannot be started: {error}", config.program.display())
        })?;
        let group = Group::of(&child);
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the browser has no pipes".to_owned());
        };
        let cdp = Arc::new(Cdp::new(to, from));
        Ok(Self { cdp, _group: group, _child: child, _proxy: proxy })
    }

    pub fn is_up(&self) -> bool {
        self.cdp.is_up()
    }

    pub async fn page(&self) -> Result<Page, String> {
        let cdp = &self.cdp;
        let text = |value: Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let context = cdp.call(None, "Target.createBrowserContext", json!({})).await?;
        let context = Context { cdp: cdp.clone(), id: text(context, "browserContextId") };
        let downloads = json!({"behavior": "deny", "browserContextId": context.id});
        cdp.call(None, "Browser.setDownloadBehavior", downloads).await?;
        let target = json!({"url": "about:blank", "browserContextId": context.id});
        let target = text(cdp.call(None, "Target.createTarget", target).await?, "targetId");
        let attach = json!({"targetId": target, "flatten": true});
        let session = text(cdp.call(None, "Target.attachToTarget", attach).await?, "sessionId");
        let page = Page { context, session };
        page.call("Page.enable", json!({})).await?;
        let size = json!({"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": false});
        page.call("Emulation.setDeviceMetricsOverride", size).await?;
        page.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": ONE_WINDOW})).await?;
        Ok(page)
    }
}

fn spawn(config: &ComputerConfig, proxy: &Proxy) -> std::io::Result<Child> {
    let profile = config.profile.path();
    let mut words: Vec<OsString> = config.prefix.iter().map(OsString::from).collect();
    words.extend(["sh", "-c", WRAPPER, "sh"].map(OsString::from));
    words.push(config.program.clone().into_os_string());
    words.push(format!("--user-data-dir={}", profile.join("profile").display()).into());
    words.push(format!("--proxy-server=http://{}", proxy.address).into());
    words.push(format!("--window-size={WIDTH},{HEIGHT}").into());
    words.extend(FLAGS.map(OsString::from));
    if !config.prefix.is_empty() || rustix::process::geteuid().is_root() {
        // Its own sandbox needs rights that it has not there.
        words.push("--no-sandbox".into());
    }
    let mut words = words.into_iter();
    let mut command = Command::new(words.next().unwrap_or_default());
    command
        .args(words)
        .arg("about:blank")
        .env_clear()
        .envs(surroundings())
        .env("HOME", profile)
        .env("TMPDIR", profile)
        .current_dir(profile);
    if config.prefix.is_empty() {
        // What confines it makes a session of its own.
        command.process_group(0);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn()
}

const FLAGS: [&str; 16] = [
    "--headless=new",
    "--remote-debugging-pipe",
    // Everything goes through the proxy, this machine's own addresses too, and names mean nothing without it.
    "--proxy-bypass-list=<-loopback>",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--mute-audio",
    "--hide-scrollbars",
];

impl Page {
    async fn call(&self, method: &str, params: Value) -> Result<Value, String> {
        self.context.cdp.call(Some(&self.session), method, params).await
    }

    pub async fn goto(&self, url: &str) -> Result<(), String> {
        let answer = self.call("Page.navigate", json!({"url": url})).await?;
        match answer["errorText"].as_str().filter(|error| !error.is_empty()) {
            Some(error) => Err(format!("the page cannot be opened: {error}")),
            None => {
                self.settle().await;
                Ok(())
            }
        }
    }

    /// Goes a step in the page's history.
    pub async fn step(&self, by: i64) -> Result<(), String> {
        let history = self.call("Page.getNavigationHistory", json!({})).await?;
        let at = history["currentIndex"].as_i64().unwrap_or(0) + by;
        let entry = usize::try_from(at).ok().and_then(|at| history["entries"].get(at));
        let Some(id) = entry.and_then(|entry| entry["id"].as_i64()) else {
            return Err("there is no such page in the history".to_owned());
        };
        self.call("Page.navigateToHistoryEntry", json!({"entryId": id})).await.map(drop)
    }

    /// Waits until the page is loaded, as far as it gets.
    pub async fn settle(&self) {
        let wait = json!({"expression": SETTLED, "awaitPromise": true});
        let loaded = async {
            // The page may be another one by now: that one is waited for too.
            if self.call("Runtime.evaluate", wait.clone()).await.is_err() {
                let _ = self.call("Runtime.evaluate", wait).await;
            }
        };
        if tokio::time::timeout(LOAD_MAX, loaded).await.is_err() {
            tracing::debug!("a page takes long to load");
        }
    }

    /// The page as it looks, a PNG.
    pub async fn screenshot(&self) -> Result<Bytes, String> {
        let mut answer = self.call("Page.captureScreenshot", json!({"format": "png"})).await?;
        let data = match answer["data"].take() {
            Value::String(data) => BASE64_STANDARD.decode(data).ok(),
            _ => None,
        };
        data.map(Bytes::from).ok_or_else(|| "the browser made no picture".to_owned())
    }

    /// Address and title.
    pub async fn place(&self) -> Result<(String, String), String> {
        let ask = json!({"expression": "[location.href, document.title]", "returnByValue": true});
        let answer = self.call("Runtime.evaluate", ask).await?;
        let text = |n: usize| answer["result"]["value"][n].as_str().unwrap_or_default().to_owned();
        Ok((text(0), text(1)))
    }

    /// `kind` is `mouseMoved`, `mousePressed` or `mouseReleased`.
    pub async fn mouse(
        &self,
        kind: &str,
        (x, y): (f64, f64),
        button: &str,
        clicks: u32,
    ) -> Result<(), String> {
        let held = match button {
            _ if kind == "mouseReleased" => 0,
            "left" => 1,
            "right" => 2,
            "middle" => 4,
            _ => 0,
        };
        let event =
            json!({"type": kind, "x": x, "y": y, "button": button, "buttons": held, "clickCount": clicks});
        self.call("Input.dispatchMouseEvent", event).await.map(drop)
    }

    pub async fn click(&self, at: (f64, f64), button: &str, count: u32) -> Result<(), String> {
        self.mouse("mouseMoved", at, "none", 0).await?;
        for n in 1..=count {
            self.mouse("mousePressed", at, button, n).await?;
            self.mouse("mouseReleased", at, button, n).await?;
        }
        Ok(())
    }

    pub async fn scroll(&self, (x, y): (f64, f64), (dx, dy): (f64, f64)) -> Result<(), String> {
        let event = json!({"type": "mouseWheel", "x": x, "y": y, "deltaX": dx, "deltaY": dy});
        self.call("Input.dispatchMouseEvent", event).await.map(drop)
    }

    /// Types a text as if it were pasted; a line's end is the key Enter.
    pub async fn write(&self, text: &str) -> Result<(), String> {
        for (n, line) in text.split('\n').enumerate() {
            if n > 0 {
                self.press(&["ENTER".to_owned()]).await?;
            }
            if !line.is_empty() {
                self.call("Input.insertText", json!({"text": line})).await?;
            }
        }
        Ok(())
    }

    /// Presses keys together and lets them go again.
    pub async fn press(&self, names: &[String]) -> Result<(), String> {
        let unknown = |name: &String| format!("there is no key `{name}`");
        let pressed: Vec<Key> = names
            .iter()
            .map(|name| keys::key(name).ok_or_else(|| unknown(name)))
            .collect::<Result<_, _>>()?;
        let mut held = 0;
        for key in &pressed {
            held |= key.modifier;
            // With Control or the like a letter is a command, and types nothing.
            let text = key.text.as_ref().filter(|_| held & (keys::ALT | keys::CONTROL | keys::META) == 0);
            let shifted = held & keys::SHIFT != 0 && key.modifier == 0;
            let shown = |text: &String| if shifted { text.to_uppercase() } else { text.clone() };
            let kind = if text.is_some() { "keyDown" } else { "rawKeyDown" };
            self.key(kind, key, held, text.map(shown)).await?;
        }
        for key in pressed.iter().rev() {
            held &= !key.modifier;
            self.key("keyUp", key, held, None).await?;
        }
        Ok(())
    }

    async fn key(&self, kind: &str, key: &Key, held: u32, text: Option<String>) -> Result<(), String> {
        let mut event = json!({"type": kind, "key": key.key, "code": key.code, "modifiers": held,
            "windowsVirtualKeyCode": key.virtual_code});
        if let Some(text) = text {
            event["text"] = json!(text);
        }
        self.call("Input.dispatchKeyEvent", event).await.map(drop)
    }
}

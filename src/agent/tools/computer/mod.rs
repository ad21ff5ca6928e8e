//! A browser that the model sees and steers (`--computer-use`): for models of OpenAI their own tool `computer`, for others a
//! function that takes the same actions. It runs confined, reaches public addresses and named hosts only, and every picture
//! that the model sees is kept in the room's table `images` and told in the thread.

mod browser;
mod cdp;
mod keys;
mod proxy;

use super::images::Kept;
use super::{CallContext, Tool, ToolError, ToolOutput, ToolSpec, arguments, spec};
use crate::agent::config::ComputerConfig;
use crate::agent::history::{Part, ToolCall};
use crate::client::room::RoomClient;
use crate::clock::{Clock, IdSource};
use browser::{Browser, HEIGHT, Page, WIDTH};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// The toolkit, by the official agent's name.
pub const KIT: &str = "meshagent.openai.computer";
/// The tool that takes what models do.
pub const CALL: &str = "computer_call";
/// Pages that are open at once, one for each thread; the one that was used the longest ago makes room.
const PAGES_MAX: usize = 8;
/// Actions of one call.
const ACTIONS_MAX: usize = 64;
/// Keys that are pressed together, and points of a way that the mouse takes.
const KEYS_MAX: usize = 8;
const POINTS_MAX: usize = 256;
/// Longest text that is typed at once, characters.
const TEXT_CHARS_MAX: usize = 10_000;
/// How long a model may have the browser wait, and what it waits where the model does not say.
const WAIT_MAX: Duration = Duration::from_secs(10);
const WAIT: Duration = Duration::from_secs(1);

/// The browser of an agent.
pub struct Computer {
    config: ComputerConfig,
    kept: Kept,
    clock: Arc<dyn Clock>,
    agent_name: String,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    browser: Option<Browser>,
    /// By thread, with the number of the last use.
    pages: BTreeMap<String, (u64, Arc<Mutex<Tab>>)>,
    uses: u64,
}

/// The page of a thread.
struct Tab {
    page: Page,
    /// Whether it has been where it is to begin.
    began: bool,
}

impl Running {
    /// Gives up a page that nobody works with, else the one that was used the longest ago: that ends with the call that it is in.
    fn make_room(&mut self) {
        let idle = |tab: &Arc<Mutex<Tab>>| Arc::strong_count(tab) == 1;
        let oldest = self.pages.iter().min_by_key(|(_, (used, tab))| (!idle(tab), *used));
        let oldest = oldest.map(|(thread, _)| thread.clone()).unwrap_or_default();
        self.pages.remove(&oldest);
    }
}

impl std::fmt::Debug for Computer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Computer").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Whether a person must approve a call that a model made: its provider found something to check.
#[must_use]
pub fn asks(call: &ToolCall) -> bool {
    if call.toolkit != KIT {
        return false;
    }
    let given: Value = serde_json::from_str(&call.arguments).unwrap_or_default();
    match given.get("pending_safety_checks") {
        None | Some(Value::Null) => false,
        Some(checks) => checks.as_array().is_none_or(|all| !all.is_empty()),
    }
}

impl Computer {
    pub fn new(
        config: ComputerConfig,
        client: &RoomClient,
        agent_name: &str,
        (clock, ids): (Arc<dyn Clock>, Arc<dyn IdSource>),
    ) -> Self {
        let kept = Kept::new(client.clone(), clock.clone(), ids);
        Self { config, kept, clock, agent_name: agent_name.to_owned(), running: Mutex::default() }
    }

    pub fn tools(self: &Arc<Self>) -> Vec<Arc<dyn Tool>> {
        let about = format!(
            "Does actions in a browser whose page has {WIDTH} × {HEIGHT} pixels, and shows the page after them. With no action \
             the page is shown as it is."
        );
        let mut call = spec(KIT, CALL, &about, json!({"actions": actions()}));
        call.strict = false;
        let mut tools: Vec<Arc<dyn Tool>> =
            vec![Arc::new(ComputerTool { goto: false, spec: call, computer: self.clone() })];
        if self.config.goto {
            let url =
                json!({"type": "string", "description": "address that begins with https:// or http://"});
            let spec = spec(KIT, "goto", "Opens a page in the browser and shows it.", json!({"url": url}));
            tools.push(Arc::new(ComputerTool { goto: true, spec, computer: self.clone() }));
        }
        tools
    }

    /// The page of a thread. What takes long is done with the page alone, so that other threads have theirs meanwhile.
    async fn tab(&self, thread: &str) -> Result<Arc<Mutex<Tab>>, String> {
        let mut running = self.running.lock().await;
        if running.browser.as_ref().is_none_or(|browser| !browser.is_up()) {
            *running = Running::default();
            running.browser = Some(Browser::start(&self.config).await?);
        }
        running.uses += 1;
        let now = running.uses;
        if let Some((used, tab)) = running.pages.get_mut(thread) {
            *used = now;
            return Ok(tab.clone());
        }
        if running.pages.len() >= PAGES_MAX {
            running.make_room();
        }
        let Some(browser) = &running.browser else { return Err("the browser has ended".to_owned()) };
        let tab = Arc::new(Mutex::new(Tab { page: browser.page().await?, began: false }));
        running.pages.insert(thread.to_owned(), (now, tab.clone()));
        Ok(tab)
    }

    /// Goes where pages begin, unless this one has been there or goes elsewhere at once.
    async fn begin(&self, tab: &mut Tab, goes: bool) -> Result<(), String> {
        if let Some(url) = self.config.starting_url.as_ref().filter(|_| !tab.began && !goes) {
            tab.page.goto(url).await?;
        }
        tab.began = true;
        Ok(())
    }

    /// Ends the browser.
    pub async fn close(&self) {
        *self.running.lock().await = Running::default();
    }

    /// Keeps a picture and tells of it in the thread.
    async fn keep(&self, picture: &Bytes, call: &CallContext) -> Result<(), ToolError> {
        let notes = [("source", "computer_toolkit"), ("thread_path", call.thread.as_str())];
        let id = self.kept.save(picture.clone(), "image/png", &self.agent_name, &notes).await?;
        let event = json!({
            "type": "computer.screenshot",
            "uri": format!("dataset://images?id={id}"),
            "mime_type": "image/png",
            "created_at": crate::agent::message::timestamp(self.clock.now()),
            "created_by": self.agent_name,
            "width": WIDTH,
            "height": HEIGHT,
            "status": "completed",
        });
        call.tell(event.as_object().cloned().unwrap_or_default()).await;
        Ok(())
    }
}

struct ComputerTool {
    goto: bool,
    spec: ToolSpec,
    computer: Arc<Computer>,
}

#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    actions: Vec<Value>,
    /// In place of several.
    #[serde(default)]
    action: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Goto {
    url: String,
}

#[async_trait::async_trait]
impl Tool for ComputerTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, given: Value, call: &CallContext) -> Result<ToolOutput, ToolError> {
        let steps = if self.goto {
            let Goto { url } = arguments(given)?;
            vec![Action::Goto { url: web(&url)? }]
        } else {
            let Given { mut actions, action } = arguments(given)?;
            actions.extend(action);
            if actions.len() > ACTIONS_MAX {
                return Err(format!("more than {ACTIONS_MAX} actions in one call; do fewer at once").into());
            }
            actions.into_iter().map(read).collect::<Result<Vec<_>, _>>()?
        };
        let tab = self.computer.tab(&call.thread).await?;
        // One after another: a thread has one page.
        let mut tab = tab.lock().await;
        self.computer.begin(&mut tab, self.goto).await?;
        let page = &tab.page;
        for step in &steps {
            step.act(page).await?;
        }
        page.settle().await;
        let picture = page.screenshot().await?;
        let (address, title) = page.place().await.unwrap_or_default();
        self.computer.keep(&picture, call).await?;
        let text = json!({"url": address, "title": title}).to_string();
        let file = Part::File { name: "page.png".into(), mime_type: "image/png".into(), data: picture };
        Ok(ToolOutput { text, files: vec![file] })
    }
}

/// An address of the web; what is within this network is refused when it is asked for, by whatever way.
fn web(text: &str) -> Result<String, String> {
    let text = text.trim();
    let full = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    match url::Url::parse(&full) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url.into()),
        Ok(url) => Err(format!("an address begins with https:// or http://, not {}:", url.scheme())),
        Err(error) => Err(format!("`{text}` is no address: {error}")),
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
struct Point {
    x: f64,
    y: f64,
}

/// What a model does, as OpenAI's models write it. Fields that are not known are left.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Action {
    Screenshot,
    Click {
        x: f64,
        y: f64,
        button: Option<String>,
    },
    DoubleClick {
        x: f64,
        y: f64,
    },
    Move {
        x: f64,
        y: f64,
    },
    Scroll {
        x: f64,
        y: f64,
        #[serde(default)]
        scroll_x: f64,
        #[serde(default)]
        scroll_y: f64,
    },
    Drag {
        path: Vec<Point>,
    },
    Type {
        text: String,
    },
    Keypress {
        keys: Vec<String>,
    },
    Wait {
        ms: Option<u64>,
    },
    Back,
    Forward,
    /// Of the tool `goto` only.
    #[serde(skip)]
    Goto {
        url: String,
    },
}

fn read(action: Value) -> Result<Action, String> {
    let kind = action["type"].as_str().unwrap_or("?").to_owned();
    let action: Action = serde_json::from_value(action)
        .map_err(|error| format!("the action `{kind}` cannot be done: {error}"))?;
    let too_much = match &action {
        Action::Drag { path } => path.len() > POINTS_MAX || path.is_empty(),
        Action::Keypress { keys } => keys.len() > KEYS_MAX || keys.is_empty(),
        Action::Type { text } => text.chars().count() > TEXT_CHARS_MAX,
        _ => false,
    };
    if too_much { Err(format!("the action `{kind}` has too much or nothing in it")) } else { Ok(action) }
}

impl Action {
    async fn act(&self, page: &Page) -> Result<(), String> {
        match self {
            Self::Screenshot => Ok(()),
            Self::Click { x, y, button } => match button.as_deref().unwrap_or("left") {
                "back" => page.step(-1).await,
                "forward" => page.step(1).await,
                "wheel" | "middle" => page.click((*x, *y), "middle", 1).await,
                "right" => page.click((*x, *y), "right", 1).await,
                _ => page.click((*x, *y), "left", 1).await,
            },
            Self::DoubleClick { x, y } => page.click((*x, *y), "left", 2).await,
            Self::Move { x, y } => page.mouse("mouseMoved", (*x, *y), "none", 0).await,
            Self::Scroll { x, y, scroll_x, scroll_y } => page.scroll((*x, *y), (*scroll_x, *scroll_y)).await,
            Self::Drag { path } => drag(page, path).await,
            Self::Type { text } => page.write(text).await,
            Self::Keypress { keys } => page.press(keys).await,
            Self::Wait { ms } => {
                tokio::time::sleep(ms.map_or(WAIT, Duration::from_millis).min(WAIT_MAX)).await;
                Ok(())
            }
            Self::Back => page.step(-1).await,
            Self::Forward => page.step(1).await,
            Self::Goto { url } => page.goto(url).await,
        }
    }
}

async fn drag(page: &Page, path: &[Point]) -> Result<(), String> {
    let at = |point: &Point| (point.x, point.y);
    let (Some(first), Some(last)) = (path.first(), path.last()) else { return Ok(()) };
    page.mouse("mouseMoved", at(first), "none", 0).await?;
    page.mouse("mousePressed", at(first), "left", 1).await?;
    for point in path {
        page.mouse("mouseMoved", at(point), "left", 0).await?;
    }
    page.mouse("mouseReleased", at(last), "left", 1).await
}

/// Schema of the actions, for models that do not know them.
fn actions() -> Value {
    let number = json!({"type": "number"});
    let one = |kind: &str, more: Value| {
        let mut properties = Map::from_iter([("type".to_owned(), json!({"type": "string", "enum": [kind]}))]);
        properties.extend(more.as_object().cloned().unwrap_or_default());
        let required: Vec<&String> = properties.keys().collect();
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
    };
    let at = json!({"x": number, "y": number});
    let button = json!({"type": "string", "enum": ["left", "right", "wheel", "back", "forward"]});
    let texts = json!({"type": "array", "items": {"type": "string"}});
    let all = [
        one("screenshot", json!({})),
        one("click", json!({"x": number, "y": number, "button": button})),
        one("double_click", at.clone()),
        one("move", at.clone()),
        one("scroll", json!({"x": number, "y": number, "scroll_x": number, "scroll_y": number})),
        one(
            "drag",
            json!({"path": {"type": "array", "items": {"type": "object", "properties": at,
            "required": ["x", "y"], "additionalProperties": false}}}),
        ),
        one("type", json!({"text": {"type": "string"}})),
        one("keypress", json!({"keys": texts})),
        one("wait", json!({})),
        one("back", json!({})),
        one("forward", json!({})),
    ];
    json!({"type": "array", "items": {"anyOf": all}, "description": "what to do, one after another"})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_read_as_models_write_them() {
        let click = json!({"type": "click", "x": 10, "y": 20.5, "button": "left", "keys": null});
        assert_eq!(read(click), Ok(Action::Click { x: 10.0, y: 20.5, button: Some("left".into()) }));
        assert_eq!(read(json!({"type": "wait"})), Ok(Action::Wait { ms: None }));
        assert_eq!(read(json!({"type": "screenshot"})), Ok(Action::Screenshot));
        for bad in [
            json!({"type": "goto", "url": "file:///etc/passwd"}),
            json!({"type": "click", "x": "a", "y": 1}),
            json!({"type": "keypress", "keys": []}),
            json!({"type": "drag", "path": []}),
            json!({"type": "type", "text": "x".repeat(TEXT_CHARS_MAX + 1)}),
            json!({"type": "__proto__"}),
            json!(7),
            json!({}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn pages_of_the_web_only_are_gone_to() {
        assert_eq!(web("example.com").unwrap(), "https://example.com/");
        for bad in [
            "file:///etc/passwd",
            "chrome://settings",
            "javascript://x/%0aalert(1)",
            "view-source://x",
            "https://",
        ] {
            assert!(web(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_person_is_asked_where_the_provider_found_something() {
        let call = |toolkit: &str, arguments: Value| ToolCall {
            id: "1".into(),
            item_id: "1".into(),
            toolkit: toolkit.into(),
            tool: CALL.into(),
            arguments: arguments.to_string(),
        };
        let check = json!([{"id": "c", "code": "malicious_instructions", "message": "m"}]);
        assert!(asks(&call(KIT, json!({"actions": [], "pending_safety_checks": check}))));
        assert!(asks(&call(KIT, json!({"pending_safety_checks": "?"}))));
        assert!(!asks(&call(KIT, json!({"actions": [], "pending_safety_checks": []}))));
        assert!(!asks(&call(KIT, json!({"actions": []}))));
        assert!(!asks(&call("other", json!({"pending_safety_checks": check}))));
    }
}

//! Tool `web_fetch`: one page of the web as text. Public addresses only, and the hosts that were allowed by name.

use super::{CallContext, Tool, ToolError, ToolOutput, ToolSpec, arguments, spec};
use crate::net::guard::{self, Allowed, Target};
use reqwest::header::{CONTENT_TYPE, LOCATION};
use serde::Deserialize;
use serde_json::{Value, json};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Largest page that is read, bytes; the rest is left out.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Characters that one call gives.
const TEXT_CHARS_MAX: usize = 40_000;
/// Redirects followed, each checked anew.
const REDIRECTS_MAX: usize = 5;
/// Elements of a page that may be within each other.
const DEPTH_MAX: usize = 1024;
/// The same, as far as it can be told without parsing.
const SEEMING_DEPTH_MAX: usize = 4096;
/// Stack of the thread that turns a page into text, bytes: enough for [`DEPTH_MAX`].
const STACK_BYTES: usize = 64 * 1024 * 1024;
/// Elements that hold nothing, or that are often left open though what follows is beside them.
const CHILDLESS: [&str; 22] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track",
    "wbr", "p", "li", "dt", "dd", "option", "tr", "td", "th",
];
/// How long one page may take.
const PAGE_MAX: Duration = Duration::from_secs(30);

/// The tool of `--web-fetch`.
pub fn web_fetch(allowed: Allowed) -> Arc<dyn Tool> {
    let spec = spec(
        "web",
        "web_fetch",
        "Reads a page of the web and gives its text.",
        json!({
            "url": {"type": "string", "description": "address that begins with https:// or http://"},
            "offset": {"type": ["integer", "null"], "description": "character to begin at; null is 0"},
        }),
    );
    Arc::new(WebFetch { spec, allowed })
}

struct WebFetch {
    spec: ToolSpec,
    allowed: Allowed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fetch {
    url: String,
    offset: Option<usize>,
}

/// What came from an address.
pub(super) struct Page {
    url: Url,
    mime_type: String,
    pub bytes: Vec<u8>,
    /// There was more than was asked for.
    pub cut: bool,
}

#[async_trait::async_trait]
impl Tool for WebFetch {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, given: Value, _: &CallContext) -> Result<ToolOutput, ToolError> {
        let asked: Fetch = arguments(given)?;
        let page = load(&asked.url, &self.allowed, PAGE_BYTES_MAX).await?;
        let cut = page.cut;
        let url = page.url.to_string();
        let text = tokio::time::timeout(PAGE_MAX, convert(page)).await;
        let text = text.map_err(|_| "the page takes too long to be turned into text".to_owned())??;
        Ok(window(&url, &text, asked.offset.unwrap_or(0), cut).into())
    }
}

/// What is at an address, up to so many bytes. Redirects are followed, each to where it is allowed.
pub(super) async fn load(url: &str, allowed: &Allowed, bytes_max: usize) -> Result<Page, String> {
    let all = async {
        let mut target = guard::check(url, allowed).await.map_err(|error| refusal(&error))?;
        for _ in 0..=REDIRECTS_MAX {
            let response = get(&target).await?;
            if !response.status().is_redirection() {
                return read(target.url, response, bytes_max).await;
            }
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            let to = to.ok_or("the page redirects, and does not say where to")?;
            let next =
                target.url.join(to).map_err(|error| format!("the page redirects to no URL: {error}"))?;
            target = guard::check_url(next, allowed).await.map_err(|error| refusal(&error))?;
        }
        Err(format!("the page redirects more than {REDIRECTS_MAX} times"))
    };
    let loaded = tokio::time::timeout(PAGE_MAX, all).await;
    loaded.map_err(|_| format!("the page did not come within {} s", PAGE_MAX.as_secs()))?
}

/// As the model is told; what the server's operator would do does not help it.
fn refusal(error: &guard::Refused) -> String {
    match error {
        guard::Refused::NotPublic(host) => {
            format!("`{host}` is not a public address, and pages within this network are not read")
        }
        other => other.to_string(),
    }
}

async fn get(target: &Target) -> Result<reqwest::Response, String> {
    let client = target.client().map_err(|error| error.to_string())?;
    let client = client.user_agent(concat!("meshagent/", env!("CARGO_PKG_VERSION"))).build();
    let client = client.map_err(|error| error.to_string())?;
    let sent =
        client.get(target.url.clone()).header("accept", "text/html, text/*, application/json, */*;q=0.1");
    sent.send().await.map_err(|error| format!("the page cannot be reached: {}", error.without_url()))
}

async fn read(url: Url, mut response: reqwest::Response, bytes_max: usize) -> Result<Page, String> {
    let status = response.status();
    if !status.is_success() {
        return Err(format!("{url} answered {}", status.as_u16()));
    }
    let mime_type = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let mime_type = mime_type.unwrap_or("text/plain").to_ascii_lowercase();
    let mut bytes = Vec::new();
    let mut cut = false;
    while let Some(chunk) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
        let room = bytes_max - bytes.len();
        bytes.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if chunk.len() > room {
            cut = true;
            break;
        }
    }
    Ok(Page { url, mime_type, bytes, cut })
}

/// Turns a page into text, which takes a while, on a thread of its own: the depth of a page is a depth of the stack.
async fn convert(page: Page) -> Result<String, String> {
    let (done, text_of) = tokio::sync::oneshot::channel();
    let work = move || {
        // Whoever waited may be gone.
        let _ = done.send(text(&page));
    };
    let thread = std::thread::Builder::new().name("web-fetch".into()).stack_size(STACK_BYTES).spawn(work);
    thread.map_err(|error| format!("the page could not be read: {error}"))?;
    text_of.await.map_err(|_| "the page could not be read".to_owned())?
}

/// The most elements that seem to be open at once: a first look, since parsing takes the longer the deeper a page is.
fn seeming_depth(html: &str) -> usize {
    let (mut open, mut deepest, mut script) = (0_usize, 0_usize, false);
    for tag in html.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap_or_default();
        let name = tag.trim_start_matches('/');
        let end = name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len());
        let name = name.get(..end).unwrap_or_default().to_ascii_lowercase();
        // What looks like a tag within a script is none.
        if script || name == "script" {
            script = name != "script" || !tag.starts_with('/');
            continue;
        }
        if name.is_empty() || tag.ends_with('/') || CHILDLESS.contains(&name.as_str()) {
            continue;
        }
        open = if tag.starts_with('/') { open.saturating_sub(1) } else { open + 1 };
        deepest = deepest.max(open);
    }
    deepest
}

/// How deep a page is, found without recursion.
fn depth(tree: &Rc<htmd::Node>) -> usize {
    let mut deepest = 0;
    let mut left = vec![(tree.clone(), 0)];
    while let Some((node, depth)) = left.pop() {
        deepest = deepest.max(depth);
        left.extend(node.children.borrow().iter().map(|child| (child.clone(), depth + 1)));
    }
    deepest
}

fn markdown(url: &Url, html: &str) -> Result<String, String> {
    let too_deep = |depth: usize| format!("{url} nests {depth} elements, which is too deep, and is not read");
    let seeming = seeming_depth(html);
    if seeming > SEEMING_DEPTH_MAX {
        return Err(too_deep(seeming));
    }
    let left_out = vec!["script", "style", "noscript", "svg", "iframe", "template"];
    let converter = htmd::HtmlToMarkdown::builder().skip_tags(left_out).build();
    let tree = converter.html_to_tree(html).map_err(|error| format!("the page is no HTML: {error}"))?;
    let depth = depth(&tree);
    if depth > DEPTH_MAX {
        return Err(too_deep(depth));
    }
    Ok(converter.tree_to_markdown(&tree))
}

fn text(page: &Page) -> Result<String, String> {
    let kind = page.mime_type.split(';').next().unwrap_or_default().trim();
    let written = || String::from_utf8_lossy(&page.bytes).into_owned();
    match kind {
        "text/html" | "application/xhtml+xml" => markdown(&page.url, &written()),
        "application/json" => {
            let value: Value = serde_json::from_slice(&page.bytes).unwrap_or(Value::Null);
            Ok(if value.is_null() { written() } else { format!("{value:#}") })
        }
        kind if kind.starts_with("text/") || kind.ends_with("+json") || kind.ends_with("xml") => {
            Ok(written())
        }
        kind => {
            Err(format!("{} is {kind}, {} bytes, and cannot be shown as text", page.url, page.bytes.len()))
        }
    }
}

/// The part of a text that one call gives.
fn window(url: &str, text: &str, offset: usize, cut: bool) -> String {
    let total = text.chars().count();
    let part: String = text.chars().skip(offset).take(TEXT_CHARS_MAX).collect();
    let end = offset + part.chars().count();
    if offset > 0 && part.is_empty() {
        return format!("{url} has {total} characters; there is nothing from {offset} on");
    }
    let more = match (end < total, cut) {
        (true, _) => format!("\n\n[{end} of {total} characters; go on with offset {end}]"),
        (false, true) => format!("\n\n[only the first {PAGE_BYTES_MAX} bytes of the page were read]"),
        (false, false) => String::new(),
    };
    format!("{url}\n\n{part}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::response::{Html, Redirect};
    use axum::routing::get;

    async fn site() -> String {
        let long = "x".repeat(TEXT_CHARS_MAX + 7);
        let app = Router::new()
            .route("/", get(|| async { Html("<h1>Hi</h1><script>no()</script><p>a <b>b</b></p>") }))
            .route("/long", get(move || async move { long }))
            .route("/json", get(|| async { axum::Json(json!({"a": 1})) }))
            .route("/away", get(|| async { Redirect::to("/") }))
            .route("/circle", get(|| async { Redirect::to("/circle") }))
            .route("/within", get(|| async { Redirect::to("http://10.1.2.3/") }))
            .route("/deep", get(|| async { Html("<div>".repeat(50_000)) }))
            .route("/hidden", get(|| async { Html("<div><!--</div>-->".repeat(5_000)) }))
            .route("/within-bounds", get(|| async { Html(format!("{}deep down", "<div>".repeat(1_000))) }))
            .route("/items", get(|| async { Html("<ul><li>a</li><p>b<br></p></ul>".repeat(20_000)) }))
            .route("/image", get(|| async { ([("content-type", "image/png")], "x") }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        format!("http://{address}")
    }

    async fn fetch(tool: &dyn Tool, url: &str, offset: Option<usize>) -> String {
        let context = CallContext::new("t", "u", "i");
        match tool.run(json!({"url": url, "offset": offset}), &context).await {
            Ok(output) => output.text,
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn pages_are_read_as_text() {
        let site = site().await;
        let tool = web_fetch(Allowed::new(["127.0.0.1".to_owned()]));
        let page = fetch(&*tool, &site, None).await;
        assert!(page.contains("# Hi") && page.contains("a **b**") && !page.contains("no()"), "{page}");
        assert!(fetch(&*tool, &format!("{site}/away"), None).await.contains("# Hi"));
        assert!(fetch(&*tool, &format!("{site}/json"), None).await.contains("\"a\": 1"));
        assert!(fetch(&*tool, &format!("{site}/items"), None).await.contains('a'));
        assert!(fetch(&*tool, &format!("{site}/within-bounds"), None).await.contains("deep down"));
        let long = fetch(&*tool, &format!("{site}/long"), None).await;
        assert!(
            long.ends_with(&format!("go on with offset {TEXT_CHARS_MAX}]")),
            "{}",
            &long[long.len() - 60..]
        );
        let rest = fetch(&*tool, &format!("{site}/long"), Some(TEXT_CHARS_MAX)).await;
        assert!(rest.ends_with("\n\nxxxxxxx"), "{rest}");
        assert!(fetch(&*tool, &format!("{site}/long"), Some(1_000_000)).await.contains("nothing from"));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_said() {
        let site = site().await;
        let tool = web_fetch(Allowed::new(["127.0.0.1".to_owned()]));
        for (path, why) in [
            ("/none", "answered 404"),
            ("/circle", "redirects more than"),
            ("/deep", "nests 50000 elements"),
            ("/hidden", "which is too deep"),
            ("/within", "is not a public address"),
            ("/image", "cannot be shown as text"),
        ] {
            let said = fetch(&*tool, &format!("{site}{path}"), None).await;
            assert!(said.contains(why), "{path}: {said}");
        }
        assert!(fetch(&*tool, "file:///etc/passwd", None).await.contains("begins with http"));
        let strict = web_fetch(Allowed::default());
        assert!(fetch(&*strict, &site, None).await.contains("is not a public address"));
    }
}

//! Tool `web_fetch`: one page of the web as text. Public addresses only, and the hosts that were allowed by name.

use super::{CallContext, Tool, ToolError, ToolOutput, ToolSpec, arguments, spec};
use crate::net::guard::{self, Allowed, Target};
use reqwest::header::{CONTENT_TYPE, LOCATION};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Largest page that is read, bytes; the rest is left out.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Characters that one call gives.
const TEXT_CHARS_MAX: usize = 40_000;
/// Redirects followed, each checked anew.
const REDIRECTS_MAX: usize = 5;
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
struct Page {
    url: Url,
    mime_type: String,
    bytes: Vec<u8>,
    /// There was more than [`PAGE_BYTES_MAX`].
    cut: bool,
}

#[async_trait::async_trait]
impl Tool for WebFetch {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, given: Value, _: &CallContext) -> Result<ToolOutput, ToolError> {
        let asked: Fetch = arguments(given)?;
        let page = tokio::time::timeout(PAGE_MAX, self.page(&asked.url)).await;
        let page = page.map_err(|_| format!("the page did not come within {} s", PAGE_MAX.as_secs()))??;
        let cut = page.cut;
        let url = page.url.to_string();
        // Turning a large page into text takes a while.
        let text = tokio::task::spawn_blocking(move || text(&page)).await;
        let text = text.map_err(|_| "the page could not be read".to_owned())??;
        Ok(window(&url, &text, asked.offset.unwrap_or(0), cut).into())
    }
}

impl WebFetch {
    async fn page(&self, url: &str) -> Result<Page, String> {
        let mut target = guard::check(url, &self.allowed).await.map_err(|error| refusal(&error))?;
        for _ in 0..=REDIRECTS_MAX {
            let response = get(&target).await?;
            if !response.status().is_redirection() {
                return read(target.url, response).await;
            }
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            let to = to.ok_or("the page redirects, and does not say where to")?;
            let next =
                target.url.join(to).map_err(|error| format!("the page redirects to no URL: {error}"))?;
            target = guard::check_url(next, &self.allowed).await.map_err(|error| refusal(&error))?;
        }
        Err(format!("the page redirects more than {REDIRECTS_MAX} times"))
    }
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

async fn read(url: Url, mut response: reqwest::Response) -> Result<Page, String> {
    let status = response.status();
    if !status.is_success() {
        return Err(format!("{url} answered {}", status.as_u16()));
    }
    let mime_type = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let mime_type = mime_type.unwrap_or("text/plain").to_ascii_lowercase();
    let mut bytes = Vec::new();
    let mut cut = false;
    while let Some(chunk) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
        let room = PAGE_BYTES_MAX - bytes.len();
        bytes.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if chunk.len() > room {
            cut = true;
            break;
        }
    }
    Ok(Page { url, mime_type, bytes, cut })
}

fn text(page: &Page) -> Result<String, String> {
    let kind = page.mime_type.split(';').next().unwrap_or_default().trim();
    let written = || String::from_utf8_lossy(&page.bytes).into_owned();
    match kind {
        "text/html" | "application/xhtml+xml" => {
            let left_out = vec!["script", "style", "noscript", "svg", "iframe", "template"];
            let converter = htmd::HtmlToMarkdown::builder().skip_tags(left_out).build();
            converter.convert(&written()).map_err(|error| format!("the page is no HTML: {error}"))
        }
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

//! Tool `web_search` by an endpoint that the operator names: a SearXNG server, or an API of Brave's form. Where none is
//! named, models that search by themselves are asked to.

use super::{CallContext, Tool, ToolError, ToolOutput, ToolSpec, arguments, spec};
use crate::agent::config::SearchConfig;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// How long a search may take.
const SEARCH_MAX: Duration = Duration::from_secs(20);
/// Largest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Results that the model is told.
const RESULTS_MAX: usize = 10;
/// Characters of one result's text.
const RESULT_CHARS_MAX: usize = 500;

/// The tool of `--web-search` where an endpoint is named.
pub fn web_search(config: SearchConfig) -> Arc<dyn Tool> {
    let properties = json!({"query": {"type": "string", "description": "what to search for"}});
    let spec =
        spec("web", "web_search", "Searches the web; gives titles, addresses and short texts.", properties);
    Arc::new(WebSearch { spec, config })
}

struct WebSearch {
    spec: ToolSpec,
    config: SearchConfig,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    query: String,
}

#[async_trait::async_trait]
impl Tool for WebSearch {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, given: Value, _: &CallContext) -> Result<ToolOutput, ToolError> {
        let asked: Search = arguments(given)?;
        if asked.query.trim().is_empty() {
            return Err("there is nothing to search for".into());
        }
        let answer = tokio::time::timeout(SEARCH_MAX, self.ask(&asked.query)).await;
        let answer =
            answer.map_err(|_| format!("the search did not end within {} s", SEARCH_MAX.as_secs()))??;
        Ok(shown(&answer).into())
    }
}

impl WebSearch {
    async fn ask(&self, query: &str) -> Result<Value, String> {
        let mut url =
            Url::parse(&self.config.url).map_err(|error| format!("the search has no URL: {error}"))?;
        url.query_pairs_mut().append_pair("q", query).append_pair("format", "json");
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
        let mut request =
            client.map_err(|error| error.to_string())?.get(url).header("accept", "application/json");
        if let Some(key) = &self.config.key {
            request = request.header("x-subscription-token", key).bearer_auth(key);
        }
        let sent = request.send().await;
        let mut response =
            sent.map_err(|error| format!("the search cannot be reached: {}", error.without_url()))?;
        if !response.status().is_success() {
            return Err(format!("the search answered {}", response.status().as_u16()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(format!("the search gave more than {ANSWER_BYTES_MAX} bytes"));
            }
        }
        serde_json::from_slice(&bytes)
            .map_err(|_| "the search answered with something that is no JSON".to_owned())
    }
}

/// Results of SearXNG stand in `results` with `content`, those of Brave in `web.results` with `description`.
fn shown(answer: &Value) -> String {
    let results = answer.get("results").or_else(|| answer.pointer("/web/results")).and_then(Value::as_array);
    let line = |(n, result): (usize, &Value)| {
        let text = |key: &str| result.get(key).and_then(Value::as_str).unwrap_or_default();
        let content = [text("content"), text("description")].into_iter().find(|text| !text.is_empty());
        let content: String = content.unwrap_or_default().chars().take(RESULT_CHARS_MAX).collect();
        format!("{}. {}\n{}\n{content}", n + 1, text("title"), text("url"))
    };
    let lines: Vec<_> = results.into_iter().flatten().take(RESULTS_MAX).enumerate().map(line).collect();
    if lines.is_empty() { "nothing was found".to_owned() } else { lines.join("\n\n") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::extract::Query;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::get;
    use std::collections::HashMap;

    async fn search(query: &str, path: &str) -> String {
        let results = |Query(asked): Query<HashMap<String, String>>, headers: HeaderMap| async move {
            assert_eq!((asked["format"].as_str(), &headers["x-subscription-token"] == "k"), ("json", true));
            let result = |n: usize| json!({"title": format!("{} {n}", asked["q"]), "url": "https://a", "content": "c"});
            axum::Json(json!({"results": (0..30).map(result).collect::<Vec<_>>()}))
        };
        let app = Router::new()
            .route("/search", get(results))
            .route("/none", get(|| async { axum::Json(json!({"web": {"results": []}})) }))
            .route("/html", get(|| async { "<html>" }))
            .route("/busy", get(|| async { StatusCode::TOO_MANY_REQUESTS }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/{path}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let tool = web_search(SearchConfig { url, key: Some("k".into()) });
        match tool.run(json!({"query": query}), &CallContext::new("t", "u", "i")).await {
            Ok(output) => output.text,
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn results_are_shown_up_to_a_bound() {
        let said = search("ants & bees", "search").await;
        assert!(said.starts_with("1. ants & bees 0\nhttps://a\nc\n\n2."), "{said}");
        assert_eq!(said.matches("https://a").count(), RESULTS_MAX);
        assert_eq!(search("x", "none").await, "nothing was found");
    }

    #[tokio::test]
    async fn what_goes_wrong_is_told() {
        for (query, path, why) in [
            (" ", "search", "nothing to search for"),
            ("x", "html", "no JSON"),
            ("x", "busy", "answered 429"),
            ("x", "missing", "answered 404"),
        ] {
            assert!(search(query, path).await.contains(why), "{path}");
        }
    }

    #[test]
    fn the_key_is_not_printed() {
        let config = SearchConfig { url: "https://s".into(), key: Some("s3cret".into()) };
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}

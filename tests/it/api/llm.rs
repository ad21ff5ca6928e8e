//! The proxy of model providers against a stand-in that tells what it got.

mod budgets;
mod limits;
mod records;
mod router;
mod settings;
mod sockets;

use super::Platform;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use meshagent::app::outward::Outward;
use meshagent::app::token::Mint;
use meshagent::llm::Provider;
use meshagent::llm::upstream::Endpoint;
use meshagent::net::guard::Allowed;
use meshagent::spec::ApiScope;
use meshagent::spec::grant::LlmGrant;
use meshagent::vault::Secret;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const BODY_BYTES_MAX: usize = 1024 * 1024;
const LIMIT: Duration = Duration::from_secs(20);
/// The operator's key; it may be seen by the stand-in only.
const KEY: &str = "sk-operator-needle";

/// What the stand-in was asked.
#[derive(Clone, Debug)]
struct Seen {
    path: String,
    headers: HeaderMap,
    body: Value,
}

#[derive(Clone, Default)]
struct StandIn {
    seen: Arc<Mutex<Vec<Seen>>>,
}

fn events(parts: &[&str]) -> Response {
    let parts: Vec<Result<String, std::io::Error>> =
        parts.iter().map(|part| Ok(format!("data: {part}\n\n"))).collect();
    let body = Body::from_stream(futures_util::stream::iter(parts));
    ([("content-type", "text/event-stream")], body).into_response()
}

/// A stream that breaks off after two events.
fn cut() -> Response {
    let parts = futures_util::stream::unfold(1, |n| async move {
        // What came before goes out before the stream breaks.
        tokio::task::yield_now().await;
        let part =
            if n < 3 { Ok(format!("data: {{\"a\":{n}}}\n\n")) } else { Err(std::io::Error::other("cut")) };
        (n <= 3).then_some((part, n + 1))
    });
    ([("content-type", "text/event-stream")], Body::from_stream(parts)).into_response()
}

/// Answers as the model in the body says.
async fn stand_in(State(own): State<StandIn>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(answer) = sockets::upgraded(&parts).await {
        return answer;
    }
    let bytes = axum::body::to_bytes(body, BODY_BYTES_MAX).await.unwrap();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    own.seen.lock().unwrap().push(Seen { path: path.clone(), headers: parts.headers, body: body.clone() });
    let usage = json!({"input_tokens": 10, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 5});
    match body["model"].as_str().unwrap_or_default() {
        "slow-down" => {
            let told = json!({"error": {"message": "slow down", "type": "rate_limit_error"}});
            (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")], axum::Json(told)).into_response()
        }
        "broken" => (StatusCode::INTERNAL_SERVER_ERROR, "no").into_response(),
        "garbage" => ([("content-type", "application/json")], "{\"usage\": {{{").into_response(),
        "cut" => cut(),
        "never" => std::future::pending().await,
        "no-key" => (StatusCode::UNAUTHORIZED, format!("Incorrect API key provided: {KEY}")).into_response(),
        "chat" => events(&[
            r#"{"choices":[{"delta":{"content":"hi"}}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
            "[DONE]",
        ]),
        _ if path.contains("messages") => axum::Json(
            json!({"usage": {"input_tokens": 7, "cache_read_input_tokens": 1, "output_tokens": 2}}),
        )
        .into_response(),
        _ => ([("openai-organization", "org"), ("x-request-id", "r1")], axum::Json(json!({"usage": usage})))
            .into_response(),
    }
}

async fn listen(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

struct Rig {
    platform: Platform,
    stand_in: StandIn,
    here: SocketAddr,
    there: SocketAddr,
    client: reqwest::Client,
}

impl Rig {
    async fn new() -> Self {
        let stand_in = StandIn::default();
        let there = listen(Router::new().fallback(any(stand_in_of)).with_state(stand_in.clone())).await;
        let endpoint = |base: &str| Endpoint {
            base_url: Some(format!("http://{there}{base}").parse().unwrap()),
            api_key: Some(Secret::from(KEY.to_owned())),
        };
        let operator = vec![(Provider::OpenAi, endpoint("/v1")), (Provider::Anthropic, endpoint(""))];
        let outward = Outward { allowed: Allowed::new([there.to_string()]), ..Outward::default() };
        let platform = Platform::with_models(outward, operator).await;
        platform.ok(axum::http::Method::POST, "/rooms", Some(json!({"name": "den"}))).await;
        let here = listen(platform.router.clone()).await;
        Self { platform, stand_in, here, there, client: reqwest::Client::new() }
    }

    /// A path of the project.
    fn path(&self, below: &str) -> String {
        format!("/accounts/projects/{}{below}", self.platform.project)
    }

    fn seen(&self) -> Vec<Seen> {
        self.stand_in.seen.lock().unwrap().clone()
    }

    /// A participant of the room with these models, or with no `llm` grant at all.
    async fn token(&self, name: &str, models: Option<&[&str]>) -> String {
        let models = models.map(|all| all.iter().map(|one| (*one).to_owned()).collect());
        self.scoped(name, ApiScope { llm: Some(LlmGrant { models }), ..ApiScope::user_default() }).await
    }

    async fn scoped(&self, name: &str, api: ApiScope) -> String {
        let mut mint = Mint::new(self.platform.project, name);
        mint.room = Some("den".to_owned());
        mint.api = Some(api);
        self.platform.app.mint(mint).await.unwrap()
    }

    fn post(&self, path: &str, bearer: &str) -> reqwest::RequestBuilder {
        self.client.post(format!("http://{}{path}", self.here)).bearer_auth(bearer).timeout(LIMIT)
    }

    async fn ask(&self, path: &str, bearer: &str, body: Value) -> (u16, Value) {
        let answer = self.post(path, bearer).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// The row of a model, once there is one.
    async fn counted(&self, model: &str) -> Value {
        let looked = async {
            loop {
                let rows = self.usage(&format!("model={model}")).await;
                if let Some(row) = rows.first() {
                    return row.clone();
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, looked).await.unwrap()
    }

    /// Rows of usage as REST tells them.
    async fn usage(&self, query: &str) -> Vec<Value> {
        let answer = self.platform.ok(axum::http::Method::GET, &format!("/usage?{query}"), None).await;
        answer["usage"].as_array().unwrap().clone()
    }
}

async fn stand_in_of(state: State<StandIn>, request: Request) -> Response {
    stand_in(state, request).await
}

#[tokio::test]
async fn a_request_arrives_with_the_providers_key_and_without_the_callers() {
    let rig = Rig::new().await;
    let body = r#"{"model":"m", "z": 1, "input": "hi", "a": 2}"#;
    let key = rig.platform.key.clone();
    let token = rig.token("ann", None).await;
    for bearer in [&key, &token] {
        let answer = rig
            .post("/openai/v1/responses?x=1", bearer)
            .header("content-type", "application/json")
            .header("openai-beta", "b1")
            .header("openai-organization", "theirs")
            .header("x-meshagent-annotation-job", "nightly")
            .header("meshagent-project-id", rig.platform.project.to_string())
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["x-request-id"], "r1");
        assert!(!answer.headers().contains_key("openai-organization"));
        assert!(!format!("{:?}", answer.headers()).contains("needle"));
    }
    for seen in rig.seen() {
        assert_eq!(seen.path, "/v1/responses?x=1");
        assert_eq!(seen.body["input"], "hi");
        assert_eq!(seen.headers["authorization"], format!("Bearer {KEY}"));
        assert_eq!(seen.headers["openai-beta"], "b1");
        let all = format!("{:?}", seen.headers);
        for gone in [key.as_str(), token.as_str(), "meshagent", "theirs"] {
            assert!(!all.contains(gone), "{gone}: {all}");
        }
    }
}

#[tokio::test]
async fn anthropics_credential_is_taken_and_given_where_its_sdk_has_it() {
    let rig = Rig::new().await;
    let url = format!("http://{}/anthropic/v1/messages", rig.here);
    let body = json!({"model": "claude-x", "messages": []});
    let answer =
        rig.client.post(&url).header("x-api-key", &rig.platform.key).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen = rig.seen();
    assert_eq!(
        (seen[0].path.as_str(), seen[0].headers["x-api-key"].to_str().unwrap()),
        ("/v1/messages", KEY)
    );
    assert!(!seen[0].headers.contains_key("authorization"));
    let rows = rig.usage("provider=anthropic").await;
    assert_eq!((&rows[0]["input_tokens"], &rows[0]["cached_tokens"]), (&json!(8), &json!(1)));
    let refused = rig.client.post(&url).header("x-api-key", "nonsense").json(&body).send().await.unwrap();
    assert_eq!(refused.status(), 401);
}

#[tokio::test]
async fn a_scope_without_the_model_is_refused() {
    let rig = Rig::new().await;
    let some = rig.token("ann", Some(&["openai/gpt-4*", "anthropic/claude-x"])).await;
    let none = rig.scoped("bob", ApiScope::user_default()).await;
    let path = "/openai/v1/responses";
    assert_eq!(rig.ask(path, &some, json!({"model": "gpt-4o"})).await.0, 200);
    for (bearer, path, body, code) in [
        (&some, path, json!({"model": "o3"}), 403),
        (&some, path, json!({"input": "no model"}), 400),
        (&some, "/anthropic/v1/messages", json!({"model": "claude-y"}), 403),
        (&some, "/grok/v1/responses", json!({"model": "grok"}), 403),
        (&some, "/openai/v1/realtime/client_secrets", json!({"session": {"model": "o3"}}), 403),
        (&none, path, json!({"model": "gpt-4o"}), 403),
    ] {
        let (status, answer) = rig.ask(path, bearer, body.clone()).await;
        assert_eq!(status, code, "{path} {body}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().len() > 20, "{answer}");
        assert_eq!(answer["type"], "error");
    }
    assert_eq!(rig.seen().len(), 1, "what is refused does not go out");
    let other = rig.ask(path, &rig.platform.other_key, json!({"model": "m"})).await;
    assert_eq!(other.0, 200, "another project's key is that project's: {}", other.1);
    assert_eq!(rig.usage("").await.len(), 1, "and is not counted here");
}

#[tokio::test]
async fn usage_adds_up_to_the_token() {
    let rig = Rig::new().await;
    let (ann, bob) = (rig.token("ann", None).await, rig.token("bob", None).await);
    for (bearer, model) in [(&ann, "m"), (&ann, "m"), (&ann, "n"), (&bob, "m")] {
        assert_eq!(rig.ask("/openai/v1/responses", bearer, json!({"model": model})).await.0, 200);
    }
    let rows = rig.usage("").await;
    let row = |user: &str, model: &str| {
        rows.iter().find(|row| row["user"] == user && row["model"] == model).unwrap().clone()
    };
    let both = row("ann", "m");
    assert_eq!((&both["requests"], &both["input_tokens"]), (&json!(2), &json!(20)));
    assert_eq!((&both["cached_tokens"], &both["output_tokens"]), (&json!(8), &json!(10)));
    assert_eq!((&both["room"], &both["total_tokens"]), (&json!("den"), &json!(30)));
    assert_eq!(row("bob", "m")["requests"], 1);
    assert_eq!(rows.len(), 3);
    assert_eq!(rig.usage("users=bob&model=m&room=den").await.len(), 1);
    assert_eq!(rig.usage("interval=hour").await.len(), 3);
    assert!(rig.usage("start=2999-01-01T00:00:00Z").await.is_empty());
    let own = format!("/accounts/projects/{}/llm-proxy/usage", rig.platform.project);
    let (status, answer) = rig.platform.send(axum::http::Method::GET, &own, Some(&bob), None).await;
    assert_eq!((status.as_u16(), answer["usage"].as_array().unwrap().len()), (200, 1));
}

#[tokio::test]
async fn a_chat_stream_is_counted_without_its_caller_seeing_how() {
    let rig = Rig::new().await;
    let ann = rig.token("ann", None).await;
    let ask = async |body: Value| {
        rig.post("/openai/v1/chat/completions", &ann).json(&body).send().await.unwrap().text().await.unwrap()
    };
    let plain = ask(json!({"model": "chat", "stream": true})).await;
    assert!(plain.contains("hi") && plain.contains("[DONE]") && !plain.contains("usage"), "{plain}");
    let asked = json!({"model": "chat", "stream": true, "stream_options": {"include_usage": true}});
    assert!(ask(asked).await.contains("completion_tokens"));
    let seen = rig.seen();
    assert!(seen.iter().all(|seen| seen.body["stream_options"]["include_usage"] == true));
    let rows = rig.usage("").await;
    assert_eq!((&rows[0]["input_tokens"], &rows[0]["output_tokens"]), (&json!(6), &json!(4)));
    assert_eq!(rows[0]["estimated_requests"], 0);
}

#[tokio::test]
async fn what_a_provider_does_wrong_is_passed_on_as_it_is_but_for_its_words_about_the_key() {
    let rig = Rig::new().await;
    let ann = rig.token("ann", None).await;
    let path = "/openai/v1/responses";
    let answer = rig.post(path, &ann).json(&json!({"model": "slow-down"})).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"7".parse().unwrap()));
    assert_eq!(answer.json::<Value>().await.unwrap()["error"]["message"], "slow down");
    let answer = rig.post(path, &ann).json(&json!({"model": "broken"})).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (500, "no"));
    let answer = rig.post(path, &ann).json(&json!({"model": "garbage"})).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "{\"usage\": {{{"));
    let answer = rig.post(path, &ann).json(&json!({"model": "cut", "stream": true})).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.is_err(), "a stream that broke off does not end well");
    let (status, answer) = rig.ask(path, &ann, json!({"model": "no-key"})).await;
    assert_eq!((status, answer["error"]["code"].as_str().unwrap()), (424, "provider-refused"));
    assert!(!answer.to_string().contains("needle"), "{answer}");
    let rows = rig.usage("").await;
    let cut = rows.iter().find(|row| row["model"] == "cut").unwrap();
    assert_eq!((&cut["estimated_requests"], &cut["output_tokens"]), (&json!(1), &json!(2)));
    let garbage = rows.iter().find(|row| row["model"] == "garbage").unwrap();
    assert_eq!((&garbage["requests"], &garbage["estimated_requests"]), (&json!(1), &json!(1)));
    assert_eq!((&garbage["input_tokens"], &garbage["output_tokens"]), (&json!(4), &json!(0)));
    assert_eq!(rows.len(), 2, "what failed used nothing: {rows:?}");
}

#[tokio::test]
async fn who_leaves_before_the_answer_is_counted_by_an_estimate() {
    let rig = Rig::new().await;
    let ann = rig.token("ann", None).await;
    let request =
        rig.post("/openai/v1/responses", &ann).json(&json!({"model": "never", "input": "0123456789"}));
    let asking = tokio::spawn(request.send());
    let arrived = async {
        while rig.seen().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, arrived).await.unwrap();
    asking.abort();
    let row = rig.counted("never").await;
    assert_eq!((&row["requests"], &row["estimated_requests"]), (&json!(1), &json!(1)));
    assert_eq!(row["input_tokens"], 9, "a quarter of the body's bytes");
}

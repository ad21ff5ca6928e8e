use super::*;
use crate::agent::history::{Item, Part};
use crate::agent::provider::openai::Responses;
use axum::extract::{Json, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response as HttpResponse};
use std::collections::VecDeque;
use std::sync::Mutex;

type Script = Arc<Mutex<(VecDeque<(u16, String)>, Vec<(HeaderMap, Value)>)>>;

async fn respond(State(script): State<Script>, headers: HeaderMap, Json(body): Json<Value>) -> HttpResponse {
    let mut script = script.lock().unwrap();
    script.1.push((headers, body));
    let (status, text) = script.0.pop_front().unwrap_or((500, "the script is over".into()));
    (StatusCode::from_u16(status).unwrap(), [("retry-after", "0")], text).into_response()
}

async fn endpoint(answers: Vec<(u16, String)>) -> (Endpoint<Responses>, Script) {
    let script: Script = Arc::new(Mutex::new((answers.into(), Vec::new())));
    let app = axum::Router::new().route("/v1/responses", axum::routing::post(respond));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
    let app = app.with_state(script.clone());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let config = EndpointConfig {
        base_url,
        api_key: "s3cret".into(),
        max_output_tokens: Some(9),
        ..EndpointConfig::default()
    };
    let quick = Backoff { first: Duration::from_millis(1), max: Duration::from_millis(2) };
    let provider = Endpoint::new(Responses::OpenAi, config, Arc::new(crate::clock::System));
    (Endpoint { backoff: quick, ..provider }, script)
}

fn stream(events: &[Value]) -> (u16, String) {
    (200, events.iter().map(|e| format!("event: x\ndata: {e}\n\n")).collect())
}

fn said(text: &str) -> (u16, String) {
    let item = json!({"type": "message", "content": [{"type": "output_text", "text": text}]});
    stream(&[
        json!({"type": "response.output_item.done", "item": item}),
        json!({"type": "response.completed", "response": {"usage": {"input_tokens": 1, "output_tokens": 2}}}),
    ])
}

async fn ask(provider: &Endpoint<Responses>) -> Result<Response, Failure> {
    let item = Item::User(vec![Part::Text("hi".into())]);
    let request = Request {
        model: "m",
        instructions: "i",
        items: &[&item],
        tools: &[],
        answer_schema: None,
        web_search: true,
    };
    provider.respond(request, &Say::nobody()).await
}

#[tokio::test]
async fn an_answer_streams_in_under_the_key() {
    let (provider, script) = endpoint(vec![said("hello")]).await;
    let response = ask(&provider).await.unwrap();
    assert_eq!(response.items, [Item::Answer { text: "hello".into(), phase: None }]);
    let (headers, body) = script.lock().unwrap().1.remove(0);
    assert_eq!(headers["authorization"], "Bearer s3cret");
    assert_eq!((&body["model"], &body["max_output_tokens"]), (&json!("m"), &json!(9)));
    assert!(!format!("{provider:?}").contains("s3cret"));
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let cut = stream(&[json!({"type": "response.created"})]);
    let failed =
        stream(&[json!({"type": "response.failed", "response": {"error": {"code": "server_error"}}})]);
    let answers = vec![(503, String::new()), (429, "{}".into()), cut, failed, said("at last")];
    let (provider, script) = endpoint(answers).await;
    let response = ask(&provider).await.unwrap();
    assert_eq!(response.items, [Item::Answer { text: "at last".into(), phase: None }]);
    assert_eq!(script.lock().unwrap().1.len(), 5);
}

#[tokio::test]
async fn an_answer_that_breaks_off_begins_anew() {
    let half = stream(&[
        json!({"type": "response.output_item.added", "item": {"type": "message", "id": "a"}}),
        json!({"type": "response.output_text.delta", "item_id": "a", "delta": "half"}),
    ]);
    let (provider, _) = endpoint(vec![half, said("whole")]).await;
    let (to, mut heard) = tokio::sync::mpsc::channel(16);
    let item = Item::User(vec![Part::Text("hi".into())]);
    let request = Request {
        model: "m",
        instructions: "i",
        items: &[&item],
        tools: &[],
        answer_schema: None,
        web_search: false,
    };
    provider.respond(request, &Say::new(to)).await.unwrap();
    let mut kinds = Vec::new();
    while let Some(said) = heard.recv().await {
        kinds.push(match said {
            Said::Text { delta, .. } => delta,
            Said::Restart => "restart".to_owned(),
            Said::Notice(event) => event["name"].as_str().unwrap().to_owned(),
            _ => continue,
        });
    }
    assert_eq!(kinds, ["half", "restart", "openai.retry", "whole"]);
}

#[tokio::test]
async fn what_cannot_pass_is_told_with_the_next_step() {
    let refusal = json!({"error": {"message": "no such model"}}).to_string();
    let (provider, script) = endpoint(vec![(404, refusal)]).await;
    let error = ask(&provider).await.unwrap_err().to_string();
    assert!(error.contains("no such model") && error.contains("OPENAI_BASE_URL"), "{error}");
    assert_eq!(script.lock().unwrap().1.len(), 1);

    let (provider, script) = endpoint(vec![]).await;
    let error = ask(&provider).await.unwrap_err().to_string();
    assert!(error.contains("after 10 more attempts"), "{error}");
    assert_eq!(script.lock().unwrap().1.len(), 11);
}

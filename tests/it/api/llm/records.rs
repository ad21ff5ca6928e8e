//! What loggers tell of requests to models.

use super::sockets::{ask, dial, next};
use super::{KEY, LIMIT, Rig};
use axum::http::Method;
use chrono::DateTime;
use futures_util::SinkExt;
use meshagent::id::{FeedId, FeedSubscriptionId};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite;

/// A feed that the room `den` gets, and what is in it.
struct Told<'a> {
    rig: &'a Rig,
    feed: String,
    subscription: String,
}

impl<'a> Told<'a> {
    async fn new(rig: &'a Rig) -> Self {
        let made = rig.platform.ok(Method::POST, "/feeds", Some(json!({"name": "calls"}))).await;
        let feed = made["feed"]["id"].as_str().unwrap().to_owned();
        let body = json!({"room": "den", "path": "calls"});
        let made = rig.platform.ok(Method::POST, &format!("/feeds/{feed}/subscriptions"), Some(body)).await;
        let subscription = made["subscription"]["id"].as_str().unwrap().to_owned();
        Self { rig, feed, subscription }
    }

    async fn logger(&self, filter: &str) -> String {
        let body = json!({"destination_feed_id": self.feed, "filter_expression": filter});
        let made = self.rig.platform.ok(Method::POST, "/llm-loggers", Some(body)).await;
        made["logger"]["id"].as_str().unwrap().to_owned()
    }

    /// All records, once there are so many.
    async fn records(&self, count: usize) -> Vec<Value> {
        let project = self.rig.platform.project;
        let feed = FeedId::new(project, self.feed.parse().unwrap());
        let subscription = FeedSubscriptionId::new(project, self.subscription.parse().unwrap());
        let looked = async {
            loop {
                let store = &self.rig.platform.feeds.store;
                let all = store.batch(subscription, feed, DateTime::UNIX_EPOCH).await.unwrap();
                if all.len() >= count {
                    return all.iter().map(|one| serde_json::from_str(&one.body).unwrap()).collect();
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, looked).await.unwrap()
    }
}

#[tokio::test]
async fn a_record_tells_all_but_the_keys() {
    let rig = Rig::new().await;
    let told = Told::new(&rig).await;
    told.logger("provider == 'openai' && model != 'quiet'").await;
    let ann = rig.token("ann", None).await;
    let tools = json!([{"type": "mcp", "server_label": "x", "authorization": "sk-their-needle"}]);
    let asked = rig
        .post("/openai/v1/responses", &ann)
        .header("x-meshagent-annotation-job", "nightly")
        .json(&json!({"model": "m", "input": "hi", "tools": tools}));
    assert_eq!(asked.send().await.unwrap().status().as_u16(), 200);
    assert_eq!(rig.ask("/openai/v1/responses", &ann, json!({"model": "quiet"})).await.0, 200);
    assert_eq!(rig.ask("/anthropic/v1/messages", &ann, json!({"model": "c"})).await.0, 200);
    let chat = json!({"model": "chat", "messages": [], "stream": true});
    let answer = rig.post("/openai/v1/chat/completions", &ann).json(&chat).send().await.unwrap();
    answer.bytes().await.unwrap();
    assert_eq!(rig.ask("/openai/v1/responses", &ann, json!({"model": "broken"})).await.0, 500);
    assert_eq!(rig.ask("/openai/v1/responses", &ann, json!({"model": "no-key"})).await.0, 424);
    let mut records = told.records(4).await;
    records.sort_by_key(|record| record["model"].to_string());
    let of =
        |n: usize, names: &[&str]| names.iter().map(|name| records[n][*name].clone()).collect::<Vec<_>>();
    assert_eq!(of(0, &["model", "status", "usage"]), [json!("broken"), json!(500), Value::Null]);
    assert_eq!(of(1, &["model", "path"]), [json!("chat"), json!("chat/completions")]);
    assert_eq!(records[1]["response"][0]["choices"][0]["delta"]["content"], "hi", "{}", records[1]);
    assert_eq!(
        of(2, &["room", "user", "provider", "transport"]),
        [json!("den"), json!("ann"), json!("openai"), json!("http")]
    );
    assert_eq!(of(3, &["model", "status", "response"]), [json!("no-key"), json!(424), Value::Null]);
    let record = &records[2];
    assert_eq!(
        (&record["usage"]["total_tokens"], &record["annotations"]["job"]),
        (&json!(15), &json!("nightly"))
    );
    assert_eq!(
        (&record["request"]["input"], &record["response"]["usage"]["output_tokens"]),
        (&json!("hi"), &json!(5))
    );
    assert!(record["duration_ms"].is_i64() && record["started_at"].is_string());
    let text = json!(records).to_string();
    assert!(!text.contains("needle") && !text.contains(KEY) && !text.contains(&ann), "{text}");
}

#[tokio::test]
async fn a_logger_that_is_paused_or_gone_tells_nothing() {
    let rig = Rig::new().await;
    let told = Told::new(&rig).await;
    let (paused, gone, listening) =
        (told.logger("").await, told.logger("").await, told.logger("model == 'last'").await);
    let body = json!({"destination_feed_id": told.feed, "filter_expression": "", "paused": true});
    rig.platform.ok(Method::PUT, &format!("/llm-loggers/{paused}"), Some(body)).await;
    rig.platform.ok(Method::DELETE, &format!("/llm-loggers/{gone}"), None).await;
    let key = rig.platform.key.clone();
    for model in ["first", "last"] {
        assert_eq!(rig.ask("/openai/v1/responses", &key, json!({"model": model})).await.0, 200);
    }
    let records = told.records(1).await;
    assert_eq!((records.len(), &records[0]["model"]), (1, &json!("last")), "{listening}");
}

#[tokio::test]
async fn answers_over_a_socket_are_told_one_by_one() {
    let rig = Rig::new().await;
    let told = Told::new(&rig).await;
    told.logger("transport == 'websocket'").await;
    let mut socket = dial(&rig, "/openai/v1/responses", &rig.platform.key).await.unwrap();
    next(&mut socket).await;
    for model in ["a", "b"] {
        let create = json!({"type": "response.create", "model": model, "input": []});
        socket.send(tungstenite::Message::text(create.to_string())).await.unwrap();
        assert_eq!(next(&mut socket).await["type"], "response.completed");
    }
    let mut records = told.records(2).await;
    records.sort_by_key(|record| record["model"].to_string());
    assert_eq!((&records[0]["model"], &records[0]["usage"]["total_tokens"]), (&json!("a"), &json!(7)));
    assert_eq!(
        (&records[1]["request"]["model"], &records[1]["response"]["type"]),
        (&json!("b"), &json!("response.completed"))
    );
}

#[tokio::test]
async fn who_hangs_up_early_is_told_of_too() {
    let rig = Rig::new().await;
    let told = Told::new(&rig).await;
    told.logger("").await;
    let mut socket = dial(&rig, "/openai/v1/responses", &rig.platform.key).await.unwrap();
    next(&mut socket).await;
    assert_eq!(ask(&mut socket, "endless").await["type"], "response.output_text.delta");
    drop(socket);
    let record = told.records(1).await.remove(0);
    assert_eq!((&record["model"], &record["usage"]), (&json!("endless"), &Value::Null), "{record}");
    assert_eq!((&record["request"]["type"], &record["response"]), (&json!("response.create"), &Value::Null));
}

#[tokio::test]
async fn what_a_realtime_session_hears_by_itself_is_told() {
    let rig = Rig::new().await;
    let told = Told::new(&rig).await;
    told.logger("").await;
    let mut socket = dial(&rig, "/openai/v1/realtime?model=gpt-realtime", &rig.platform.key).await.unwrap();
    next(&mut socket).await;
    let heard = json!({"type": "input_audio_buffer.append", "audio": ""});
    socket.send(tungstenite::Message::text(heard.to_string())).await.unwrap();
    for want in ["response.created", "error", "response.done"] {
        assert_eq!(next(&mut socket).await["type"], want);
    }
    let record = told.records(1).await.remove(0);
    assert_eq!((&record["model"], &record["request"]), (&json!("gpt-realtime"), &Value::Null), "{record}");
    assert_eq!(
        (&record["response"]["type"], &record["usage"]["total_tokens"]),
        (&json!("response.done"), &json!(7))
    );
    assert_eq!(rig.usage("").await[0]["total_tokens"], 7, "the error ends no answer");
}

//! The memory toolkit of a whole server, through our own client: bad input, grants that reach into other toolkits, and
//! a model behind a local provider.

use axum::routing::post;
use axum::{Json, Router};
use meshagent::app::token::Mint;
use meshagent::client::room::{
    Options as ClientOptions, Reading, RoomClient, RoomError, Target, Token, room_url,
};
use meshagent::control::Provider;
use meshagent::server::{Options, Server};
use meshagent::vault::Secret;
use meshagent::wire::Content;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

struct Rig {
    server: Server,
    _dir: tempfile::TempDir,
}

impl Rig {
    async fn start(provider: Option<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(dir.path().to_owned(), "127.0.0.1:0".parse().unwrap());
        if let Some(url) = provider {
            let api_key = Secret::from("sk-test".to_owned());
            options.control.openai = Some(Provider { base_url: Some(url), api_key });
            options.embedding_model = Some("letters".to_owned());
        }
        Self { server: Server::start(options).await.unwrap(), _dir: dir }
    }

    async fn join(&self, api: Option<Value>) -> RoomClient {
        let connection = self.server.connection();
        let mut mint = Mint::new(connection.project_id.parse().unwrap(), "somebody");
        mint.room = Some("room".to_owned());
        mint.api = api.map(|api| serde_json::from_value(api).unwrap());
        let token = self.server.app().mint(mint).await.unwrap();
        let url = room_url(&connection.api_url, "room");
        RoomClient::connect(ClientOptions::new(url, Token::new(token))).await.unwrap()
    }
}

fn everything() -> Option<Value> {
    Some(json!({"memory": {}, "storage": {}, "dataset": {}}))
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, RoomError>, wanted: u16, text: &str) {
    match result {
        Err(RoomError::Failed { code, text: said, .. }) => {
            assert_eq!(code, Some(wanted), "{said}");
            assert!(said.contains(text), "{said}");
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn memory_refuses_what_is_wrong_and_says_what() {
    let rig = Rig::start(None).await;
    let room = rig.join(everything()).await;
    let memory = room.memory("facts", None);
    refused(memory.inspect().await, 2001, "memory does not exist: facts");
    memory.create(false, false).await.unwrap();
    refused(memory.create(false, false).await, 2002, "memory already exists: facts");
    refused(memory.query("MATCH (n) RETURN m").await, 1002, "line 1, column 18");
    refused(memory.upsert_nodes(&json!([{"entity_id": "x"}]), true).await, 1002, "missing field `name`");
    refused(memory.upsert_nodes(&json!([{"name": "x", "nam": 1}]), true).await, 1002, "[0]");
    let one_end = json!([{"source_entity_id": "x", "target_entity_id": ""}]);
    refused(memory.upsert_relationships(&one_end, true).await, 1002, "no `target_entity_id`");
    refused(memory.upsert_table("t", &json!([{"a": {"date": "never"}}]), true).await, 1002, "column `a`");
    memory.upsert_table("t", &json!([{"id": 1, "n": 1}]), true).await.unwrap();
    refused(memory.upsert_table("t", &json!([{"id": 2, "n": "text"}]), true).await, 1002, "`n`");
    let rows = memory.query("MATCH (t:t) RETURN t.id").await.unwrap();
    assert_eq!(rows, [json!({"t.id": 1})]);
    let call = |tool: &'static str, input: Value| {
        let room = room.clone();
        async move { room.invoke(&Target::new("memory", tool), Content::Json(input)).await }
    };
    refused(call("query", json!({"name": "facts"})).await, 1002, "statement");
    refused(call("list", json!({"namespace": [1]})).await, 1002, "namespace");
    refused(call("upsert_nodes", json!({"name": "facts", "records_json": "{"})).await, 1002, "records_json");
    refused(call("ingest_image", json!({"name": "facts"})).await, 1002, "nothing to remember");
    let broken = json!({"name": "facts", "caption": "x", "data_base64": "!"});
    refused(call("ingest_image", broken).await, 1002, "not base64");
    refused(call("ingest_file", json!({"name": "facts"})).await, 1002, "give the path");
    let how = json!({"name": "facts", "text": "x", "strategy": "guess"});
    refused(call("ingest_text", how).await, 1002, "guess");
    room.close().await;
    rig.server.stop().await;
}

#[tokio::test]
async fn memory_is_no_way_around_other_grants() {
    let rig = Rig::start(None).await;
    let owner = rig.join(everything()).await;
    let files = owner.storage();
    files.upload("secret.txt", true, None, &b"Ada owns gold."[..]).await.unwrap();
    let other = rig.join(Some(json!({"memory": {}, "storage": {"paths": [{"path": "open"}]}}))).await;
    let memory = other.memory("facts", None);
    memory.create(false, false).await.unwrap();
    let reading = Reading::default();
    refused(memory.ingest("ingest_file", json!({"path": "secret.txt"}), &reading).await, 1001, "secret.txt");
    refused(
        memory.ingest("ingest_from_storage", json!({"paths": ["secret.txt"]}), &reading).await,
        1001,
        "storage",
    );
    refused(memory.ingest("ingest_from_table", json!({"table": "t"}), &reading).await, 1001, "dataset");
    let own = owner.memory("facts", None);
    own.ingest("ingest_from_storage", json!({"paths": ["secret.txt"]}), &reading).await.unwrap();
    let found = own.recall("gold", 5, true).await.unwrap();
    assert_eq!(found["items"][0]["name"], "gold", "{found}");
    other.close().await;
    owner.close().await;
    rig.server.stop().await;
}

/// Answers chat completions with one person, and embeddings with the letters of each text. Keeps what it was asked.
async fn provider(asked: Arc<Mutex<Vec<Value>>>) -> String {
    let chat = {
        let asked = Arc::clone(&asked);
        move |Json(body): Json<Value>| async move {
            asked.lock().unwrap().push(body.clone());
            let said = body["messages"][1]["content"][0]["text"].as_str().unwrap_or_default().to_owned();
            let found = json!({
                "entities": [{"name": "Ada", "type": "person", "context": said, "confidence": 2.0}],
                "relationships": [{"source": "Ada", "target": "Engines", "type": "writes about"}],
            });
            let content =
                if said == "nonsense" { "sorry".to_owned() } else { format!("```json\n{found}\n```") };
            Json(json!({"choices": [{"message": {"content": content}}]}))
        }
    };
    let embed = |Json(body): Json<Value>| async move {
        let letters =
            |text: &str| ('a'..='z').map(|c| f32::from(u8::from(text.contains(c)))).collect::<Vec<f32>>();
        let texts = body["input"].as_array().cloned().unwrap_or_default();
        let data: Vec<Value> = texts
            .iter()
            .enumerate()
            .map(
                |(n, text)| json!({"index": n, "embedding": letters(&text.as_str().unwrap().to_lowercase())}),
            )
            .collect();
        Json(json!({"data": data}))
    };
    let app = Router::new().route("/v1/chat/completions", post(chat)).route("/v1/embeddings", post(embed));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/v1")
}

#[tokio::test]
async fn memory_reads_with_the_configured_model() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let rig = Rig::start(Some(provider(Arc::clone(&asked)).await)).await;
    let room = rig.join(everything()).await;
    let memory = room.memory("facts", None);
    memory.create(false, false).await.unwrap();
    let reading = Reading { llm: true, model: Some("tiny".into()), temperature: Some(0.5) };
    let done =
        memory.ingest("ingest_text", json!({"text": "Ada writes about engines."}), &reading).await.unwrap();
    assert_eq!(done["stats"], json!({"entities": 3, "relationships": 3, "sources": 1}));
    let rows = memory
        .query("MATCH (a:PERSON)-[r:WRITES_ABOUT]->(b) RETURN a.name AS a, b.name AS b, a.confidence AS c")
        .await
        .unwrap();
    assert_eq!(rows, [json!({"a": "Ada", "b": "Engines", "c": 1.0})]);
    let picture = json!({"caption": "a picture", "data_base64": "iVBORw=="});
    memory.ingest("ingest_image", picture, &reading).await.unwrap();
    {
        let asked = asked.lock().unwrap();
        assert_eq!((&asked[0]["model"], &asked[0]["temperature"]), (&json!("tiny"), &json!(0.5)));
        assert_eq!(
            asked[1]["messages"][1]["content"][1]["image_url"]["url"],
            "data:image/png;base64,iVBORw=="
        );
    }
    let nonsense = memory.ingest("ingest_text", json!({"text": "nonsense"}), &reading).await;
    refused(nonsense, 1008, "did not answer with the JSON");
    // No word in common; the vectors find it.
    let found = memory.recall("dada", 1, false).await.unwrap();
    assert_eq!(found["items"][0]["name"], "Ada", "{found}");
    room.close().await;
    rig.server.stop().await;
}

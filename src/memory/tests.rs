//! A memory on the SQLite engine, and what it remembers.

use super::extract::{Ask, Extraction, FoundEntity, FoundRelationship, Model, ModelError};
use super::*;
use crate::clock::Fixed;
use crate::columnar::typed::{Row, Typed};
use crate::dataset::SqliteDatasets;
use crate::error_code::RoomCode;
use crate::id::ProjectId;
use crate::volume::Volume;
use async_trait::async_trait;
use chrono::DateTime;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

struct Rig {
    memories: Memories,
    at: MemoryAt,
    dir: TempDir,
}

fn open(dir: &TempDir, model: Option<Arc<dyn Model>>) -> Memories {
    let fixed = Arc::new(Fixed::at(DateTime::from_timestamp(1_000_000_000, 0).unwrap()));
    let store = SqliteDatasets::new(Volume::new(dir.path()), fixed.clone(), fixed.clone());
    Memories::new(Arc::new(store), model, fixed.clone(), fixed)
}

fn place(name: &str) -> MemoryAt {
    let room = RoomId::new(ProjectId::new(Uuid::from_u128(1)), Uuid::from_u128(2));
    MemoryAt { room, namespace: vec!["team".into()], name: name.into() }
}

async fn rig_with(model: Option<Arc<dyn Model>>) -> Rig {
    let dir = TempDir::new().unwrap();
    let (memories, at) = (open(&dir, model), place("facts"));
    memories.create(&at, false, false).await.unwrap();
    Rig { memories, at, dir }
}

async fn rig() -> Rig {
    rig_with(None).await
}

fn entity(name: &str, kind: Option<&str>) -> EntityRecord {
    EntityRecord { name: name.into(), entity_type: kind.map(str::to_owned), ..EntityRecord::default() }
}

fn with_id(id: &str) -> EntityRecord {
    EntityRecord { entity_id: Some(id.into()), ..entity(&id.to_uppercase(), Some("PERSON")) }
}

fn knows(source: &str, target: &str) -> RelationshipRecord {
    serde_json::from_value(json!({
        "source_entity_id": source, "target_entity_id": target, "relationship_type": "KNOWS",
    }))
    .unwrap()
}

impl Rig {
    async fn ask(&self, statement: &str) -> Value {
        let rows = self.memories.query(&self.at, statement).await.unwrap();
        rows.into_iter().map(|row| row.into_iter().map(|(_, value)| value).collect::<Value>()).collect()
    }

    async fn ingest(&self, text: &str) -> Ingested {
        let text =
            Text { text: text.into(), image: None, origin: Origin { kind: "text", ..Origin::default() } };
        self.memories.ingest(&self.at, vec![text], &Strategy::Heuristic).await.unwrap()
    }

    async fn recall(&self, query: &str) -> Vec<Recalled> {
        let ask = Recall { query: query.into(), limit: 10, relationships: true };
        self.memories.recall(&self.at, ask).await.unwrap()
    }
}

fn row(columns: &[(&str, Typed)]) -> Row {
    columns.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

#[tokio::test]
async fn memories_come_and_go() {
    let rig = rig().await;
    let (memories, at) = (&rig.memories, &rig.at);
    let code = |result: Result<(), MemoryError>| result.unwrap_err().code;
    assert_eq!(code(memories.create(at, false, false).await), RoomCode::MemoryAlreadyExists);
    memories.create(at, false, true).await.unwrap();
    memories.upsert_entities(at, vec![entity("Ada", None)], true).await.unwrap();
    assert_eq!(rig.ask("MATCH (n) RETURN n.name").await, json!([["Ada"]]));
    memories.create(at, true, false).await.unwrap();
    assert_eq!(rig.ask("MATCH (n) RETURN n.name").await, json!([]));
    assert_eq!(memories.list(at.room, &at.namespace).await.unwrap(), ["facts"]);
    assert_eq!(memories.list(at.room, &[]).await.unwrap(), Vec::<String>::new());
    memories.remove(at, false).await.unwrap();
    assert_eq!(code(memories.remove(at, false).await), RoomCode::MemoryNotFound);
    memories.remove(at, true).await.unwrap();
    let missing = memories.query(at, "RETURN 1").await.unwrap_err();
    assert_eq!(missing.code, RoomCode::MemoryNotFound);
    assert!(missing.text.starts_with("memory does not exist: facts"), "{missing}");
    let nameless = MemoryAt { name: String::new(), ..at.clone() };
    assert_eq!(code(memories.create(&nameless, false, false).await), RoomCode::InvalidRequest);
}

#[tokio::test]
async fn merging_keeps_what_is_not_given_and_replacing_does_not() {
    let rig = rig().await;
    let mut ada = with_id("ada");
    ada.context = Some("writes".into());
    ada.metadata = Some([("a".to_owned(), "1".to_owned())].into());
    rig.memories.upsert_entities(&rig.at, vec![ada], true).await.unwrap();
    let mut more = with_id("ada");
    more.confidence = Some(0.5);
    more.metadata = Some([("b".to_owned(), "2".to_owned())].into());
    rig.memories.upsert_entities(&rig.at, vec![more], true).await.unwrap();
    let all = "MATCH (n) RETURN n.context, n.confidence, n.metadata, n.created_at";
    let metadata = json!({"struct": {"a": "1", "b": "2"}});
    assert_eq!(rig.ask(all).await, json!([["writes", 0.5, metadata, "2001-09-09T01:46:40.000Z"]]));
    rig.memories.upsert_entities(&rig.at, vec![with_id("ada")], false).await.unwrap();
    assert_eq!(rig.ask(all).await, json!([[null, null, null, "2001-09-09T01:46:40.000Z"]]));
    // Without ids: the same name and type are the same entity.
    rig.memories
        .upsert_entities(&rig.at, vec![entity("Bob", None), entity("BOB", None)], true)
        .await
        .unwrap();
    rig.memories.upsert_entities(&rig.at, vec![entity("bob", None)], true).await.unwrap();
    assert_eq!(rig.ask("MATCH (n) WHERE n.entity_type = 'ENTITY' RETURN count(n)").await, json!([[1]]));
}

#[tokio::test]
async fn relationships_always_have_their_ends() {
    let rig = rig().await;
    rig.memories.upsert_entities(&rig.at, vec![with_id("ada")], true).await.unwrap();
    let mut named = knows("ada", "bob");
    named.target_entity_name = Some("Bob".into());
    rig.memories.upsert_relationships(&rig.at, vec![named, knows("bob", "cy")], true).await.unwrap();
    rig.memories.upsert_relationships(&rig.at, vec![knows("ada", "bob")], true).await.unwrap();
    let pairs = "MATCH (a)-[r:KNOWS]->(b) RETURN a.name, b.name, r.source_entity_name ORDER BY a.name";
    assert_eq!(rig.ask(pairs).await, json!([["ADA", "Bob", "ADA"], ["Bob", "cy", "Bob"]]));
    let rows = "MATCH (r:RELATIONSHIP) WHERE r.relationship_type = 'KNOWS' RETURN count(*)";
    assert_eq!(rig.ask(rows).await, json!([[2]]));
    let removed = rig.memories.delete_entities(&rig.at, &["bob".into(), "nobody".into()]).await.unwrap();
    assert_eq!(removed, Removed { entities: 1, relationships: 2 });
    rig.memories
        .upsert_relationships(&rig.at, vec![knows("ada", "cy"), knows("cy", "ada")], true)
        .await
        .unwrap();
    let between = |kind: Option<&str>| Selector {
        source_entity_id: "ada".into(),
        target_entity_id: "cy".into(),
        relationship_type: kind.map(str::to_owned),
    };
    let (likes, any) = ([between(Some("LIKES"))], [between(None)]);
    assert_eq!(rig.memories.delete_relationships(&rig.at, &likes).await.unwrap(), 0);
    assert_eq!(rig.memories.delete_relationships(&rig.at, &any).await.unwrap(), 1);
    assert_eq!(rig.ask("MATCH (a)-->(b) RETURN a.name").await, json!([["cy"]]));
}

#[tokio::test]
async fn tables_of_the_user() {
    let rig = rig().await;
    let put = |table: &'static str, rows, merge| rig.memories.upsert_table(&rig.at, table, rows, merge);
    let drink = |id: i64, name: &str| row(&[("id", Typed::Int(id)), ("name", Typed::Text(name.into()))]);
    put("Drink", vec![drink(1, "tea"), drink(2, "milk")], true).await.unwrap();
    put("Drink", vec![row(&[("id", Typed::Int(2)), ("hot", Typed::Bool(false))])], true).await.unwrap();
    let all = "MATCH (d:drink) RETURN d.id, d.name, d.hot ORDER BY d.id";
    assert_eq!(rig.ask(all).await, json!([[1, "tea", null], [2, "milk", false]]));
    put("Drink", vec![row(&[("id", Typed::Int(2))])], false).await.unwrap();
    assert_eq!(rig.ask(all).await, json!([[1, "tea", null], [2, null, null]]));
    // Without a key, the same row is there once, or as often as it is put.
    let seen = || vec![row(&[("at", Typed::Text("x".into())), ("bytes", Typed::Binary(b"hi".to_vec()))])];
    put("Log", seen(), true).await.unwrap();
    put("Log", seen(), true).await.unwrap();
    assert_eq!(rig.ask("MATCH (l:Log) RETURN l.bytes").await, json!([[{"binary": "aGk="}]]));
    put("Log", seen(), false).await.unwrap();
    assert_eq!(rig.ask("MATCH (l:Log) RETURN count(l)").await, json!([[2]]));
    // Entities by the name of their table, with a column more.
    let ada = row(&[("name", Typed::Text("Ada".into())), ("age", Typed::Int(36))]);
    put("entity", vec![ada], true).await.unwrap();
    assert_eq!(rig.ask("MATCH (n {name: 'Ada'}) RETURN n.age").await, json!([[36]]));
    assert_eq!(rig.ask("MATCH (n) RETURN count(n)").await, json!([[1]]));
    let refused = put("Source", seen(), true).await.unwrap_err();
    assert!(refused.text.contains("kept by the memory itself"), "{refused}");
    let keyless = put("Drink", vec![row(&[("name", Typed::Text("x".into()))])], true).await.unwrap_err();
    assert!(keyless.text.contains("record 0 has no `id`"), "{keyless}");
    let tables = rig.memories.inspect(&rig.at).await.unwrap();
    let names: Vec<(&str, u64)> = tables.iter().map(|t| (t.name.as_str(), t.rows)).collect();
    assert_eq!(names, [("Drink", 2), ("Entity", 1), ("Log", 2)]);
    assert_eq!(tables[0].columns, ["id", "name", "hot"]);
}

#[tokio::test]
async fn a_text_is_remembered_once() {
    let rig = rig().await;
    let text = "Alice works at Acme Corp. She likes tea.";
    let first = rig.ingest(text).await;
    assert_eq!((first.entities, first.relationships, first.sources), (4, 5, 1));
    assert_eq!(rig.ingest(text).await, first);
    let counts = "MATCH (n) OPTIONAL MATCH (n)-[r]->() RETURN count(DISTINCT n), count(r)";
    assert_eq!(rig.ask(counts).await, json!([[4, 5]]));
    assert_eq!(rig.ask("MATCH (s:Source) RETURN s.kind, s.text").await, json!([["text", text]]));
    let memory = format!("MATCH (m:MEMORY {{entity_id: '{}'}}) RETURN m.context", first.entity_ids[0]);
    assert_eq!(rig.ask(&memory).await, json!([[text]]));
    // Another text goes on with the entities that are there, and knows more of them.
    rig.ingest("Alice lives in Paris.").await;
    assert_eq!(
        rig.ask("MATCH (a:PERSON {name: 'Alice'})-[r]->(b) RETURN type(r), b.name ORDER BY b.name").await,
        json!([["WORKS_AT", "Acme Corp"], ["LIVES_IN", "Paris"], ["LIKES", "tea"]])
    );
    let llm = Strategy::Llm { model: None, temperature: None };
    let text = Text { text: "x".into(), image: None, origin: Origin::default() };
    let error = rig.memories.ingest(&rig.at, vec![text], &llm).await.unwrap_err();
    assert_eq!(error.code, RoomCode::DependencyMissing);
    assert!(error.text.contains("OPENAI_API_KEY"), "{error}");
}

#[tokio::test]
async fn recalling_by_words() {
    let rig = rig().await;
    rig.ingest("Alice works at Acme Corp. She likes green tea.").await;
    rig.ingest("Bob lives in Paris.").await;
    let found = rig.recall("Where does Bob live?").await;
    assert_eq!(found[0].name, "Bob lives in Paris.", "{found:?}");
    let bob = found.iter().find(|item| item.name == "Bob").unwrap();
    assert!(found.iter().all(|item| item.score > 0.0 && item.score < 1.0));
    assert!(found.windows(2).all(|pair| pair[0].score >= pair[1].score));
    let kinds: Vec<&str> = bob.relationships.iter().map(|r| r.relationship_type.as_str()).collect();
    assert_eq!(kinds, ["LIVES_IN", "MENTIONS"]);
    assert!(rig.recall("zebra").await.is_empty());
    assert!(rig.recall("").await.is_empty());
    assert_eq!(rig.recall("teas").await[0].name, "green tea");
}

#[tokio::test]
async fn optimizing_forgets_versions_and_no_rows() {
    let rig = rig().await;
    for n in 0..5 {
        rig.memories.upsert_entities(&rig.at, vec![with_id(&format!("e{n}"))], true).await.unwrap();
    }
    let reports = rig.memories.optimize(&rig.at, true, true).await.unwrap();
    assert_eq!(reports[0].0, "Entity");
    assert_eq!(rig.ask("MATCH (n) RETURN count(n)").await, json!([[5]]));
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_opening_again() {
    let rig = rig().await;
    rig.ingest("Alice likes tea.").await;
    let before = rig.ask("MATCH (n) RETURN n ORDER BY n.name").await;
    rig.memories.close_room(rig.at.room).await;
    let again = Rig { memories: open(&rig.dir, None), at: rig.at.clone(), dir: TempDir::new().unwrap() };
    assert_eq!(again.ask("MATCH (n) RETURN n ORDER BY n.name").await, before);
}

/// Finds what it is told to; vectors count letters.
#[derive(Debug)]
struct FakeModel;

#[async_trait]
impl Model for FakeModel {
    async fn extract(&self, ask: Ask) -> Result<Extraction, ModelError> {
        if ask.text == "fail" {
            return Err(ModelError("the fake model fails".into()));
        }
        let entity = |name: &str| FoundEntity {
            name: name.into(),
            kind: "PERSON".into(),
            context: None,
            confidence: 0.9,
        };
        let said = FoundRelationship {
            source: "Ada".into(),
            target: "Bob".into(),
            kind: "TRUSTS".into(),
            description: None,
            confidence: 0.9,
        };
        Ok(Extraction { entities: vec![entity("Ada"), entity("Bob")], relationships: vec![said] })
    }

    fn embedding_model(&self) -> Option<&str> {
        Some("letters")
    }

    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, ModelError> {
        let vector = |text: &String| {
            ('a'..='z').map(|c| if text.to_lowercase().contains(c) { 1.0 } else { 0.0 }).collect()
        };
        Ok(texts.iter().map(vector).collect())
    }
}

#[tokio::test]
async fn a_model_reads_and_compares() {
    let rig = rig_with(Some(Arc::new(FakeModel))).await;
    let llm = Strategy::Llm { model: Some("any".into()), temperature: Some(0.1) };
    let text = |text: &str| Text { text: text.into(), image: None, origin: Origin::default() };
    rig.memories.ingest(&rig.at, vec![text("Ada trusts Bob.")], &llm).await.unwrap();
    assert_eq!(rig.ask("MATCH (a)-[:TRUSTS]->(b) RETURN a.name, b.name").await, json!([["Ada", "Bob"]]));
    let failed = rig.memories.ingest(&rig.at, vec![text("fail")], &llm).await.unwrap_err();
    assert_eq!(failed.code, RoomCode::OperationFailed);
    // No word in common; the vectors say which is nearer. What is made once is kept.
    let found = rig.recall("bobo").await;
    assert!(!found.is_empty() && found.iter().all(|item| item.score <= 1.0), "{found:?}");
    let tables = rig.memories.inspect(&rig.at).await.unwrap();
    let vectors = tables.iter().find(|table| table.name == "Embedding").unwrap();
    assert_eq!(vectors.rows, 3);
    rig.memories.delete_entities(&rig.at, &[found[0].entity_id.clone()]).await.unwrap();
    rig.recall("bobo").await;
    let tables = rig.memories.inspect(&rig.at).await.unwrap();
    assert_eq!(tables.iter().find(|table| table.name == "Embedding").unwrap().rows, 2);
}

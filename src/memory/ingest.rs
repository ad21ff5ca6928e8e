//! Remembering texts: what is found in them, and where it came from.

use super::extract::{Ask, Extraction, Image, TEXT_BYTES_MAX, heuristic};
use super::rows::{self, set, text};
use super::tables::{self, ENTITY, MEMORY, SOURCE, optional_text};
use super::upsert::Merge;
use super::{Memories, MemoryAt, MemoryError, RelationshipRecord, table_at};
use crate::columnar::typed::{Row, Typed};
use crate::dataset::Place;
use crate::error_code::RoomCode;
use std::collections::{BTreeMap, HashMap};

/// Characters of a text that name it.
const NAME_CHARS_MAX: usize = 80;
/// Bytes of a text that are kept with its entity and its source.
const KEPT_BYTES_MAX: usize = 64 * 1024;
/// Most texts of one call.
pub const TEXTS_MAX: usize = 10_000;

/// Where a text comes from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Origin {
    /// `text`, `image`, `file`, `table` or `storage`.
    pub kind: &'static str,
    /// Path or other name of the source.
    pub uri: Option<String>,
    pub mime_type: Option<String>,
    pub annotations: BTreeMap<String, String>,
}

/// A text to remember.
#[derive(Debug, Clone)]
pub struct Text {
    pub text: String,
    pub image: Option<Image>,
    pub origin: Origin,
}

/// How texts are read.
#[derive(Debug, Clone, PartialEq)]
pub enum Strategy {
    /// By rules.
    Heuristic,
    /// By a model.
    Llm { model: Option<String>, temperature: Option<f64> },
}

/// What was remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ingested {
    pub entities: u64,
    pub relationships: u64,
    pub sources: u64,
    /// Each text's own entity, of type MEMORY, before what was found in it.
    pub entity_ids: Vec<String>,
}

impl Memories {
    /// Remembers texts. Each becomes an entity of type `MEMORY` that `MENTIONS` what is found in it. The same text of
    /// the same source gives the same entities again, never more of them.
    pub async fn ingest(
        &self,
        at: &MemoryAt,
        texts: Vec<Text>,
        strategy: &Strategy,
    ) -> Result<Ingested, MemoryError> {
        if texts.len() > TEXTS_MAX {
            return Err(MemoryError::invalid(format!(
                "one call takes at most {TEXTS_MAX} texts; send several"
            )));
        }
        // Before any model is asked.
        let lock = self.room_lock(at.room);
        {
            let _reading = lock.read().await;
            self.find(at).await?;
        }
        let mut read = Vec::with_capacity(texts.len());
        for text in texts {
            let found = self.read(&text, strategy).await?;
            read.push((text, found));
        }
        let _writing = lock.write().await;
        let place = self.find(at).await?;
        self.remember(&place, read).await
    }

    async fn read(&self, text: &Text, strategy: &Strategy) -> Result<Extraction, MemoryError> {
        if text.text.len() > TEXT_BYTES_MAX {
            return Err(MemoryError::invalid(format!(
                "a text of {} bytes is larger than the {TEXT_BYTES_MAX} that are read; split it",
                text.text.len()
            )));
        }
        match strategy {
            Strategy::Heuristic => {
                let text = text.text.clone();
                let found = tokio::task::spawn_blocking(move || heuristic::extract(&text)).await;
                found.map_err(|error| MemoryError::failed(format!("reading the text broke off: {error}")))
            }
            Strategy::Llm { model, temperature } => {
                let Some(reader) = &self.model else {
                    return Err(MemoryError::new(
                        RoomCode::DependencyMissing,
                        "strategy=llm needs a model, and none is configured; set OPENAI_API_KEY (and OPENAI_BASE_URL \
                         for another provider) for the server, or use strategy=heuristic",
                    ));
                };
                let ask = Ask {
                    text: text.text.clone(),
                    image: text.image.clone(),
                    model: model.clone(),
                    temperature: *temperature,
                };
                let found = reader.extract(ask).await;
                found.map_err(|error| {
                    MemoryError::failed(format!("the model could not read the text: {error}"))
                })
            }
        }
    }

    async fn remember(&self, place: &Place, read: Vec<(Text, Extraction)>) -> Result<Ingested, MemoryError> {
        let known = self.known_names(place, &read).await?;
        let now = self.now();
        let mut made = Made { known, ..Made::default() };
        for (text, found) in read {
            made.text(text, found, &now);
        }
        let (relationships, sources) = (made.relationships.len() as u64, made.sources.len() as u64);
        let ingested = Ingested {
            entities: made.ids.len() as u64,
            relationships,
            sources,
            entity_ids: made.ids.clone(),
        };
        if made.entities.is_empty() {
            return Ok(ingested);
        }
        self.put_entities(place, made.entities, Merge::Fill).await?;
        if !made.relationships.is_empty() {
            self.put_relationships(place, made.relationships, Merge::Fill).await?;
        }
        self.merge_rows(place, SOURCE, "source_id", made.sources, Merge::Fill, &mut |_, _| {}).await?;
        Ok(ingested)
    }

    /// Ids of the entities that have one of the names found, by name in lower case.
    async fn known_names(
        &self,
        place: &Place,
        read: &[(Text, Extraction)],
    ) -> Result<HashMap<String, String>, MemoryError> {
        let mut names: Vec<&String> =
            read.iter().flat_map(|(_, found)| &found.entities).map(|e| &e.name).collect();
        names.sort();
        names.dedup();
        let names: Vec<Typed> = names.into_iter().cloned().map(Typed::Text).collect();
        let at = table_at(place, ENTITY);
        let mut known = HashMap::new();
        let max = super::cypher::NODES_MAX;
        for some in names.chunks(500) {
            let filter = rows::among("name", some)?;
            let mut found = rows::all(self.store.as_ref(), &at, Some(filter), max).await?;
            // Of several with one name the first by id, so that it is always the same.
            found.sort_by(|a, b| text(a, "entity_id").cmp(&text(b, "entity_id")));
            for row in found.iter().filter(|row| text(row, "entity_type") != Some(MEMORY)) {
                if let (Some(name), Some(id)) = (text(row, "name"), text(row, "entity_id")) {
                    known.entry(name.to_lowercase()).or_insert_with(|| id.to_owned());
                }
            }
        }
        Ok(known)
    }
}

/// Rows made of texts.
#[derive(Default)]
struct Made {
    known: HashMap<String, String>,
    ids: Vec<String>,
    entities: Vec<Row>,
    relationships: Vec<Row>,
    sources: Vec<Row>,
}

impl Made {
    fn text(&mut self, text: Text, found: Extraction, now: &str) {
        let Text { text, origin, .. } = text;
        let kept = text[..text.floor_char_boundary(KEPT_BYTES_MAX)].to_owned();
        let uri = origin.uri.clone().unwrap_or_default();
        let memory = tables::made_id(&["memory", origin.kind, &uri, &text]);
        let name = name_of(&text, &origin);
        self.entity(&memory, &name, MEMORY, Some(kept.clone()), 1.0, &origin.annotations);
        let mut ids: HashMap<&str, String> = HashMap::new();
        for entity in &found.entities {
            let lower = entity.name.to_lowercase();
            let id = self.known.entry(lower).or_insert_with(|| tables::entity_id("", &entity.name)).clone();
            let context = entity.context.clone();
            self.entity(&id, &entity.name, &entity.kind, context, entity.confidence, &BTreeMap::new());
            self.relationship(&memory, &id, "MENTIONS", None, entity.confidence);
            ids.insert(&entity.name, id);
        }
        for said in &found.relationships {
            if let (Some(source), Some(target)) =
                (ids.get(said.source.as_str()), ids.get(said.target.as_str()))
            {
                let (source, target) = (source.clone(), target.clone());
                self.relationship(&source, &target, &said.kind, said.description.clone(), said.confidence);
            }
        }
        let mut source = Row::new();
        set(&mut source, "source_id", Typed::Text(tables::made_id(&["source", origin.kind, &uri, &text])));
        set(&mut source, "kind", Typed::Text(origin.kind.to_owned()));
        set(&mut source, "uri", optional_text(origin.uri));
        set(&mut source, "mime_type", optional_text(origin.mime_type));
        set(&mut source, "text", Typed::Text(kept));
        set(&mut source, "created_at", Typed::Text(now.to_owned()));
        set(&mut source, "memory_id", Typed::Text(memory));
        set(&mut source, "metadata", annotations(&origin.annotations));
        self.sources.push(source);
    }

    fn entity(
        &mut self,
        id: &str,
        name: &str,
        kind: &str,
        context: Option<String>,
        confidence: f64,
        metadata: &BTreeMap<String, String>,
    ) {
        if !self.ids.iter().any(|known| known == id) {
            self.ids.push(id.to_owned());
        }
        let mut row = Row::new();
        set(&mut row, "entity_id", Typed::Text(id.to_owned()));
        set(&mut row, "name", Typed::Text(name.to_owned()));
        set(&mut row, "entity_type", Typed::Text(kind.to_owned()));
        set(&mut row, "context", optional_text(context));
        set(&mut row, "confidence", Typed::Float(confidence));
        set(&mut row, "metadata", annotations(metadata));
        self.entities.push(row);
    }

    fn relationship(
        &mut self,
        source: &str,
        target: &str,
        kind: &str,
        description: Option<String>,
        confidence: f64,
    ) {
        let record = RelationshipRecord {
            source_entity_id: source.to_owned(),
            target_entity_id: target.to_owned(),
            relationship_type: kind.to_owned(),
            description,
            confidence: Some(confidence),
            created_at: None,
            valid_at: None,
            expired_at: None,
            invalid_at: None,
            source_entity_name: None,
            target_entity_name: None,
            metadata: None,
        };
        let row = record.into_row();
        if !self
            .relationships
            .iter()
            .any(|known| text(known, "relationship_id") == text(&row, "relationship_id"))
        {
            self.relationships.push(row);
        }
    }
}

fn annotations(map: &BTreeMap<String, String>) -> Typed {
    if map.is_empty() { Typed::Null } else { Typed::Json(serde_json::json!(map)) }
}

/// The beginning of the text, or the name of its source.
fn name_of(text: &str, origin: &Origin) -> String {
    let words: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let name: String = words.chars().take(NAME_CHARS_MAX).collect();
    match (name.is_empty(), &origin.uri) {
        (true, Some(uri)) => uri.clone(),
        (true, None) => origin.kind.to_owned(),
        (false, _) => name,
    }
}

//! Finding entities by what a question says: by its words, and by its vector where an embedding model is configured.
//!
//! The score is between 0 and 1. Words: BM25 over name (counted three times), type, context and metadata, as
//! `b / (1 + b)`. With vectors it is the mean of that and of the cosine similarity, which is not less than 0.

use super::rows::{self, text, value};
use super::tables::{self, EMBEDDING, ENTITY, RELATIONSHIP};
use super::{Memories, MemoryAt, MemoryError, table_at};
use crate::columnar::typed::{Row, Typed};
use crate::dataset::Place;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Most entities of one answer.
pub const LIMIT_MAX: usize = 1_000;
/// Most relationships shown of one entity, newest first.
pub const RELATIONSHIPS_MAX: usize = 100;
/// Most vectors that one question makes of entities that have none yet; the next one goes on.
const EMBED_MAX: usize = 512;
/// Texts that a model gets at once.
const EMBED_BATCH: usize = 64;
/// Bytes of an entity that a vector is made of.
const EMBED_BYTES_MAX: usize = 8 * 1024;
/// BM25: how soon repetition stops to count, and how much length does.
const K1: f64 = 1.2;
const B: f64 = 0.75;
/// How often the name counts.
const NAME_WEIGHT: usize = 3;

/// Words that say nothing, left out of a question unless it has no others.
const EMPTY_WORDS: &[&str] = &[
    "a", "about", "an", "and", "are", "at", "be", "by", "did", "do", "does", "for", "from", "has", "have",
    "he", "her", "his", "how", "i", "in", "is", "it", "me", "my", "of", "on", "or", "she", "tell", "that",
    "the", "their", "them", "they", "this", "to", "was", "we", "what", "when", "where", "which", "who",
    "why", "with", "you", "your",
];

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recall {
    pub query: String,
    /// Entities in the answer at most.
    pub limit: usize,
    pub relationships: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recalled {
    pub entity_id: String,
    pub name: String,
    pub entity_type: String,
    pub context: Option<String>,
    pub confidence: Option<f64>,
    pub created_at: Option<String>,
    pub valid_at: Option<String>,
    pub score: f64,
    pub relationships: Vec<RecalledRelationship>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecalledRelationship {
    pub source_entity_id: String,
    pub target_entity_id: String,
    pub relationship_type: String,
    pub description: Option<String>,
    pub created_at: Option<String>,
    pub valid_at: Option<String>,
    pub expired_at: Option<String>,
    pub invalid_at: Option<String>,
}

impl Memories {
    /// The entities that fit best, best first; those that do not fit at all are left out.
    pub async fn recall(&self, at: &MemoryAt, ask: Recall) -> Result<Vec<Recalled>, MemoryError> {
        let question = self.question(&ask.query).await;
        let lock = self.room_lock(at.room);
        if question.is_some() {
            let _writing = lock.write().await;
            let place = self.find(at).await?;
            self.make_vectors(&place).await;
        }
        let _reading = lock.read().await;
        let place = self.find(at).await?;
        let max = super::cypher::NODES_MAX;
        let entities = rows::all(self.store.as_ref(), &table_at(&place, ENTITY), None, max).await?;
        let vectors = match question {
            Some(_) => rows::all(self.store.as_ref(), &table_at(&place, EMBEDDING), None, max).await?,
            None => Vec::new(),
        };
        let limit = ask.limit.min(LIMIT_MAX);
        let query = ask.query;
        let ranked =
            tokio::task::spawn_blocking(move || rank(&query, entities, question.as_deref(), &vectors, limit));
        let ranked =
            ranked.await.map_err(|error| MemoryError::failed(format!("recalling broke off: {error}")))?;
        let mut items: Vec<Recalled> = ranked.iter().map(|(score, row)| item(*score, row)).collect();
        if ask.relationships {
            self.add_relationships(&place, &mut items).await?;
        }
        Ok(items)
    }

    /// The vector of a question. A model that fails leaves the search to words.
    async fn question(&self, query: &str) -> Option<Vec<f32>> {
        let model = self.model.as_ref().filter(|model| model.embedding_model().is_some())?;
        match model.embed(&[query.to_owned()]).await {
            Ok(vectors) => vectors.into_iter().next(),
            Err(error) => {
                tracing::warn!(%error, "recalling by words only");
                None
            }
        }
    }

    /// Makes vectors of entities that have none, or whose text is another one now.
    async fn make_vectors(&self, place: &Place) {
        let made = async {
            let Some((model, name)) =
                self.model.as_ref().and_then(|m| Some((Arc::clone(m), m.embedding_model()?)))
            else {
                return Ok(());
            };
            let max = super::cypher::NODES_MAX;
            let table = table_at(place, EMBEDDING);
            let known = rows::all(self.store.as_ref(), &table, None, max).await?;
            let known: HashSet<(String, String)> = known
                .iter()
                .filter_map(|row| Some((text(row, "entity_id")?.to_owned(), text(row, "digest")?.to_owned())))
                .collect();
            let mut wanted = Vec::new();
            for row in rows::all(self.store.as_ref(), &table_at(place, ENTITY), None, max).await? {
                let (id, said) = (text(&row, "entity_id").unwrap_or_default().to_owned(), said(&row));
                let digest = tables::made_id(&["vector", name, &said]);
                if wanted.len() < EMBED_MAX && !known.contains(&(id.clone(), digest.clone())) {
                    wanted.push((id, digest, said));
                }
            }
            for some in wanted.chunks(EMBED_BATCH) {
                let texts: Vec<String> = some.iter().map(|(_, _, said)| said.clone()).collect();
                let vectors =
                    model.embed(&texts).await.map_err(|error| MemoryError::failed(error.to_string()))?;
                let rows =
                    some.iter().zip(vectors).map(|((id, digest, _), vector)| vector_row(id, digest, &vector));
                rows::write(
                    self.store.as_ref(),
                    &table,
                    &tables::base(EMBEDDING),
                    Some("entity_id"),
                    rows.collect(),
                )
                .await?;
            }
            Ok::<(), MemoryError>(())
        };
        if let Err(error) = made.await {
            tracing::warn!(%error, "some entities have no vectors");
        }
    }

    async fn add_relationships(&self, place: &Place, items: &mut [Recalled]) -> Result<(), MemoryError> {
        let ids: Vec<Typed> = items.iter().map(|item| Typed::Text(item.entity_id.clone())).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let (source, target) =
            (rows::among("source_entity_id", &ids)?, rows::among("target_entity_id", &ids)?);
        let max = super::cypher::EDGES_MAX;
        let filter = format!("{source} OR {target}");
        let rows = rows::all(self.store.as_ref(), &table_at(place, RELATIONSHIP), Some(filter), max).await?;
        let mut all: Vec<RecalledRelationship> = rows.iter().map(relationship).collect();
        all.sort_by(|a, b| {
            let key = |r: &RecalledRelationship| (r.valid_at.clone(), r.created_at.clone());
            let names = |r: &RecalledRelationship| (r.relationship_type.clone(), r.target_entity_id.clone());
            key(b).cmp(&key(a)).then_with(|| names(a).cmp(&names(b)))
        });
        for item in items {
            let own = |r: &&RecalledRelationship| {
                r.source_entity_id == item.entity_id || r.target_entity_id == item.entity_id
            };
            item.relationships = all.iter().filter(own).take(RELATIONSHIPS_MAX).cloned().collect();
        }
        Ok(())
    }
}

fn vector_row(id: &str, digest: &str, vector: &[f32]) -> Row {
    let vector = vector.iter().map(|n| Typed::Float(f64::from(*n))).collect();
    vec![
        ("entity_id".to_owned(), Typed::Text(id.to_owned())),
        ("digest".to_owned(), Typed::Text(digest.to_owned())),
        ("vector".to_owned(), Typed::List(vector)),
    ]
}

/// What an entity says, for its vector.
fn said(row: &Row) -> String {
    let part = |column| text(row, column).unwrap_or_default();
    let said = format!("{} ({}) {}", part("name"), part("entity_type"), part("context"));
    said[..said.floor_char_boundary(EMBED_BYTES_MAX)].to_owned()
}

fn own(row: &Row, column: &str) -> Option<String> {
    text(row, column).map(str::to_owned)
}

fn item(score: f64, row: &Row) -> Recalled {
    let confidence = match value(row, "confidence") {
        Some(Typed::Float(n)) => Some(*n),
        _ => None,
    };
    let entity_type = own(row, "entity_type").unwrap_or_else(|| tables::PLAIN_ENTITY.to_owned());
    Recalled {
        entity_id: own(row, "entity_id").unwrap_or_default(),
        name: own(row, "name").unwrap_or_default(),
        entity_type,
        context: own(row, "context"),
        confidence,
        created_at: own(row, "created_at"),
        valid_at: own(row, "valid_at"),
        score,
        relationships: Vec::new(),
    }
}

fn relationship(row: &Row) -> RecalledRelationship {
    RecalledRelationship {
        source_entity_id: own(row, "source_entity_id").unwrap_or_default(),
        target_entity_id: own(row, "target_entity_id").unwrap_or_default(),
        relationship_type: own(row, "relationship_type").unwrap_or_else(|| tables::RELATED_TO.to_owned()),
        description: own(row, "description"),
        created_at: own(row, "created_at"),
        valid_at: own(row, "valid_at"),
        expired_at: own(row, "expired_at"),
        invalid_at: own(row, "invalid_at"),
    }
}

/// Words in lower case; a plural counts as its singular.
fn terms(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| singular(word.to_lowercase())).collect()
}

fn singular(word: String) -> String {
    match word.strip_suffix('s') {
        Some(stem) if stem.chars().count() > 2 && !stem.ends_with(['s', 'u', 'i']) => stem.to_owned(),
        _ => word,
    }
}

/// Terms of an entity and how often each counts.
fn document(row: &Row) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    let mut add = |text: &str, weight: usize| {
        for term in terms(text) {
            *counts.entry(term).or_insert(0) += weight;
        }
    };
    add(text(row, "name").unwrap_or_default(), NAME_WEIGHT);
    for column in ["entity_type", "context"] {
        add(text(row, column).unwrap_or_default(), 1);
    }
    if let Some(Typed::Json(serde_json::Value::Object(metadata))) = value(row, "metadata") {
        metadata.values().filter_map(serde_json::Value::as_str).for_each(|said| add(said, 1));
    }
    counts
}

#[allow(clippy::cast_precision_loss, reason = "numbers of words")]
fn rank(
    query: &str,
    entities: Vec<Row>,
    question: Option<&[f32]>,
    vectors: &[Row],
    limit: usize,
) -> Vec<(f64, Row)> {
    let asked: HashSet<String> = terms(query).into_iter().collect();
    let telling: HashSet<&String> =
        asked.iter().filter(|term| !EMPTY_WORDS.contains(&term.as_str())).collect();
    let asked: HashSet<&String> = if telling.is_empty() { asked.iter().collect() } else { telling };
    let documents: Vec<HashMap<String, usize>> = entities.iter().map(document).collect();
    let lengths: Vec<f64> = documents.iter().map(|d| d.values().sum::<usize>() as f64).collect();
    let total = documents.len().max(1) as f64;
    let average = (lengths.iter().sum::<f64>() / total).max(1.0);
    let rarity: HashMap<&str, f64> = asked
        .iter()
        .map(|term| {
            let with = documents.iter().filter(|d| d.contains_key(term.as_str())).count() as f64;
            (term.as_str(), (1.0 + (total - with + 0.5) / (with + 0.5)).ln())
        })
        .collect();
    let near: HashMap<&str, f64> =
        question.map(|question| similarities(question, vectors)).unwrap_or_default();
    let mut ranked: Vec<(f64, Row)> = Vec::new();
    for ((row, document), length) in entities.into_iter().zip(&documents).zip(&lengths) {
        let one = |(term, rarity): (&&str, &f64)| {
            let count = document.get(*term).copied().unwrap_or(0) as f64;
            rarity * count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length / average))
        };
        let words: f64 = rarity.iter().map(one).sum();
        let words = words / (1.0 + words);
        let score = match text(&row, "entity_id").and_then(|id| near.get(id)) {
            Some(near) => f64::midpoint(words, *near),
            None if question.is_some() => words / 2.0,
            None => words,
        };
        if score > 0.0 {
            ranked.push((score, row));
        }
    }
    ranked.sort_by(|(a, left), (b, right)| {
        let time = |row: &Row| (own(row, "valid_at"), own(row, "created_at"));
        b.total_cmp(a)
            .then_with(|| time(right).cmp(&time(left)))
            .then_with(|| text(left, "entity_id").cmp(&text(right, "entity_id")))
    });
    ranked.truncate(limit);
    ranked
}

/// Cosines with the question's vector, by entity; vectors of another model's length count for nothing.
fn similarities<'v>(question: &[f32], vectors: &'v [Row]) -> HashMap<&'v str, f64> {
    let own = norm(question.iter().map(|n| f64::from(*n)));
    let one = |row: &'v Row| {
        let (Some(id), Some(Typed::List(items))) = (text(row, "entity_id"), value(row, "vector")) else {
            return None;
        };
        let number = |item: &Typed| if let Typed::Float(n) = item { *n } else { 0.0 };
        if items.len() != question.len() {
            return None;
        }
        let dot: f64 = items.iter().zip(question).map(|(a, b)| number(a) * f64::from(*b)).sum();
        let lengths = own * norm(items.iter().map(number));
        (lengths > 0.0).then(|| (id, (dot / lengths).clamp(0.0, 1.0)))
    };
    vectors.iter().filter_map(one).collect()
}

fn norm(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.map(|n| n * n).sum::<f64>().sqrt()
}

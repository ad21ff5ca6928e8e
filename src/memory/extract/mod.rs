//! Texts into entities and the relationships between them: by rules (`heuristic`), or by a language model (`llm`).
//!
//! The rules are pure and give the same for the same text. The model is behind a trait; [`openai`] is its adapter for
//! every endpoint that speaks OpenAI's chat completions and embeddings.
//!
//! Knows no datasets, rooms or grants.

pub mod heuristic;
pub mod openai;
mod phrases;
mod sentences;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use std::fmt;

/// Longest text that is read, bytes.
pub const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// Most entities, and most relationships, taken from one text.
pub const FOUND_MAX: usize = 2_000;

/// Something that a text speaks of.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundEntity {
    pub name: String,
    /// Upper case: `PERSON`, `ORGANIZATION`, `LOCATION`, `CONCEPT`, … or `ENTITY`.
    pub kind: String,
    /// What the text says of it, such as the sentence it stands in.
    pub context: Option<String>,
    /// 0 to 1.
    pub confidence: f64,
}

/// What a text says of two entities, by their names.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundRelationship {
    pub source: String,
    pub target: String,
    /// Upper case with underscores, such as `WORKS_AT`.
    pub kind: String,
    pub description: Option<String>,
    /// 0 to 1.
    pub confidence: f64,
}

/// What was found in a text. Every end of a relationship is among the entities.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Extraction {
    pub entities: Vec<FoundEntity>,
    pub relationships: Vec<FoundRelationship>,
}

/// A text to be read by a model.
#[derive(Debug, Clone)]
pub struct Ask {
    pub text: String,
    /// A picture that goes with it.
    pub image: Option<Image>,
    /// `None`: the configured one.
    pub model: Option<String>,
    pub temperature: Option<f64>,
}

#[derive(Clone)]
pub struct Image {
    pub mime_type: String,
    pub data: bytes::Bytes,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image").field("mime_type", &self.mime_type).field("bytes", &self.data.len()).finish()
    }
}

/// Why a model gave nothing. Says what to check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ModelError(pub String);

/// A language model.
#[async_trait]
pub trait Model: Send + Sync + fmt::Debug + 'static {
    async fn extract(&self, ask: Ask) -> Result<Extraction, ModelError>;
    /// Name of the model that makes vectors, if one is configured.
    fn embedding_model(&self) -> Option<&str>;
    /// One vector per text.
    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, ModelError>;
}

//! The memories of all rooms: datasets beside those that are reached as such, so that a grant on those does not reach
//! these; and the model that reads for them.

use super::options::Options;
use crate::clock::{Clock, IdSource};
use crate::dataset::SqliteDatasets;
use crate::memory::Memories;
use crate::memory::extract::Model;
use crate::memory::extract::openai::{OpenAi, OpenAiSettings};
use crate::volume::Volume;
use std::ops::Deref;
use std::sync::Arc;

/// Address of the models where the operator names a key and no address.
const OPENAI_URL: &str = "https://api.openai.com/v1";
/// The folder of memories, beside that of rooms.
const FOLDER: &str = "memories";

/// Memories with the store they are in.
pub(super) struct MemoryStore {
    memories: Arc<Memories>,
    store: Arc<SqliteDatasets>,
}

impl MemoryStore {
    pub fn new(options: &Options, clock: &Arc<dyn Clock>, ids: &Arc<dyn IdSource>) -> Self {
        let volume = Volume::new(options.shared_dir().join(FOLDER));
        let store = Arc::new(SqliteDatasets::new(volume, Arc::clone(clock), Arc::clone(ids)));
        let memories = Memories::new(store.clone(), model(options), Arc::clone(clock), Arc::clone(ids));
        Self { memories: Arc::new(memories), store }
    }

    /// Closes what is open; for the end of the server.
    pub async fn close(&self) {
        self.store.close().await;
    }
}

impl Deref for MemoryStore {
    type Target = Arc<Memories>;

    fn deref(&self) -> &Self::Target {
        &self.memories
    }
}

/// The model of the operator's provider; none without a key.
fn model(options: &Options) -> Option<Arc<dyn Model>> {
    let provider = options.control.openai.as_ref()?;
    let url = provider.base_url.as_deref().unwrap_or(OPENAI_URL);
    Some(Arc::new(OpenAi::new(OpenAiSettings {
        base_url: url.trim_end_matches('/').to_owned(),
        api_key: provider.api_key.clone(),
        model: options.memory_model.clone(),
        embedding_model: options.embedding_model.clone(),
    })))
}

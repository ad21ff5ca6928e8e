//! Settings documents, and what models were used.

use super::{ProjectRest, RestError, optional};
use serde_json::Value;

impl ProjectRest {
    /// A settings document, such as `openai`; `None` where it is not set.
    pub async fn settings(&self, name: &str) -> Result<Option<Value>, RestError> {
        optional(self.rest.get(&self.at(&["settings", name]), &[]).await)
    }

    pub async fn set_settings(&self, name: &str, document: &Value) -> Result<(), RestError> {
        self.rest.put(&self.at(&["settings", name]), document).await.map(drop)
    }

    pub async fn delete_settings(&self, name: &str) -> Result<(), RestError> {
        self.rest.delete(&self.at(&["settings", name])).await.map(drop)
    }

    /// Rows of usage; `query` narrows them.
    pub async fn usage(&self, query: &[(&str, String)]) -> Result<Vec<Value>, RestError> {
        let mut answer = self.rest.get(&self.at(&["usage"]), query).await?;
        super::parse("usage", answer["usage"].take())
    }
}

//! Webhooks of a project.

use super::{ProjectRest, RestError};
use serde_json::{Value, json};

impl ProjectRest {
    pub async fn webhooks(&self) -> Result<Vec<Value>, RestError> {
        self.rest.pages(&self.at(&["webhooks"]), &[], "webhooks").await
    }

    pub async fn webhook(&self, id: &str) -> Result<Value, RestError> {
        self.rest.get(&self.at(&["webhooks", id]), &[]).await
    }

    /// Makes a webhook of `name`, `url`, `events`, `description`; answers it with its id.
    pub async fn create_webhook(&self, body: &Value) -> Result<Value, RestError> {
        self.rest.post(&self.at(&["webhooks"]), body).await
    }

    /// Replaces it whole.
    pub async fn update_webhook(&self, id: &str, body: &Value) -> Result<Value, RestError> {
        self.rest.put(&self.at(&["webhooks", id]), body).await
    }

    pub async fn delete_webhook(&self, id: &str) -> Result<(), RestError> {
        self.rest.delete(&self.at(&["webhooks", id])).await.map(drop)
    }

    /// `{"waiting": […], "dead": […]}`: calls that are still to be made, and those that were given up.
    pub async fn webhook_deliveries(&self, id: &str) -> Result<Value, RestError> {
        self.rest.get(&self.at(&["webhooks", id, "deliveries"]), &[]).await
    }

    /// Has calls that were given up made again, all of them where none are named. Says how many.
    pub async fn replay_webhook(&self, id: &str, deliveries: &[String]) -> Result<u64, RestError> {
        let body = if deliveries.is_empty() { json!({}) } else { json!({"ids": deliveries}) };
        let answer = self.rest.post(&self.at(&["webhooks", id, "deliveries:replay"]), &body).await?;
        Ok(answer["replayed"].as_u64().unwrap_or_default())
    }
}

//! Feeds, their subscriptions and loggers of models.

use super::{ProjectRest, RestError};
use serde_json::{Value, json};

impl ProjectRest {
    pub async fn feeds(&self) -> Result<Vec<Value>, RestError> {
        self.rest.pages(&self.at(&["feeds"]), &[], "feeds").await
    }

    /// Those that a room has subscribed to.
    pub async fn room_feeds(&self, room: &str) -> Result<Vec<Value>, RestError> {
        let mut answer =
            self.rest.get(&self.at(&["rooms", room, "feeds"]), &[("count", "1000".to_owned())]).await?;
        super::parse("feeds", answer["feeds"].take())
    }

    pub async fn feed(&self, id: &str) -> Result<Value, RestError> {
        Ok(self.rest.get(&self.at(&["feeds", id]), &[]).await?["feed"].take())
    }

    /// Makes a feed of `name`, `description`, `visibility`, `paused`, `annotations`, `message_schema`.
    pub async fn create_feed(&self, body: &Value) -> Result<Value, RestError> {
        Ok(self.rest.post(&self.at(&["feeds"]), body).await?["feed"].take())
    }

    /// Replaces all that a feed is.
    pub async fn update_feed(&self, id: &str, body: &Value) -> Result<(), RestError> {
        self.rest.put(&self.at(&["feeds", id]), body).await.map(drop)
    }

    pub async fn delete_feed(&self, id: &str) -> Result<(), RestError> {
        self.rest.delete(&self.at(&["feeds", id])).await.map(drop)
    }

    pub async fn publish(&self, id: &str, message: &Value) -> Result<(), RestError> {
        self.rest.post(&self.at(&["feeds", id, "messages"]), message).await.map(drop)
    }

    pub async fn publish_batch(&self, id: &str, messages: &[Value]) -> Result<(), RestError> {
        self.rest.post(&self.at(&["feeds", id, "messages", "batch"]), &json!(messages)).await.map(drop)
    }

    pub async fn feed_subscriptions(&self, feed: &str) -> Result<Vec<Value>, RestError> {
        let mut answer = self.rest.get(&self.at(&["feeds", feed, "subscriptions"]), &[]).await?;
        super::parse("subscriptions", answer["subscriptions"].take())
    }

    pub async fn feed_subscription(&self, feed: &str, id: &str) -> Result<Value, RestError> {
        Ok(self.rest.get(&self.at(&["feeds", feed, "subscriptions", id]), &[]).await?["subscription"].take())
    }

    pub async fn create_feed_subscription(&self, feed: &str, body: &Value) -> Result<Value, RestError> {
        Ok(self.rest.post(&self.at(&["feeds", feed, "subscriptions"]), body).await?["subscription"].take())
    }

    pub async fn update_feed_subscription(
        &self,
        feed: &str,
        id: &str,
        body: &Value,
    ) -> Result<(), RestError> {
        self.rest.put(&self.at(&["feeds", feed, "subscriptions", id]), body).await.map(drop)
    }

    pub async fn delete_feed_subscription(&self, feed: &str, id: &str) -> Result<(), RestError> {
        self.rest.delete(&self.at(&["feeds", feed, "subscriptions", id])).await.map(drop)
    }

    pub async fn llm_loggers(&self) -> Result<Vec<Value>, RestError> {
        let mut answer = self.rest.get(&self.at(&["llm-loggers"]), &[]).await?;
        super::parse("loggers", answer["loggers"].take())
    }

    pub async fn llm_logger(&self, id: &str) -> Result<Value, RestError> {
        Ok(self.rest.get(&self.at(&["llm-loggers", id]), &[]).await?["logger"].take())
    }

    pub async fn create_llm_logger(&self, body: &Value) -> Result<Value, RestError> {
        Ok(self.rest.post(&self.at(&["llm-loggers"]), body).await?["logger"].take())
    }

    pub async fn update_llm_logger(&self, id: &str, body: &Value) -> Result<(), RestError> {
        self.rest.put(&self.at(&["llm-loggers", id]), body).await.map(drop)
    }

    pub async fn delete_llm_logger(&self, id: &str) -> Result<(), RestError> {
        self.rest.delete(&self.at(&["llm-loggers", id])).await.map(drop)
    }
}

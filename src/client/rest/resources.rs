//! Services and mailboxes.

use super::{Mailbox, ProjectRest, Rest, RestError, optional};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Where a service lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceScope {
    /// In every room of the project.
    Project,
    /// In the room of this name.
    Room(String),
}

/// What a service is made of: a document, or a template's text with values.
#[derive(Debug, Clone)]
pub enum ServiceBody {
    /// A `Service` document.
    Spec(Value),
    Template {
        template: String,
        values: Map<String, Value>,
    },
}

impl ServiceBody {
    fn json(&self) -> Value {
        match self {
            Self::Spec(spec) => spec.clone(),
            Self::Template { template, values } => json!({"template": template, "values": values}),
        }
    }
}

impl ServiceScope {
    fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let head: &[&str] = match self {
            Self::Project => &["services"],
            Self::Room(room) => &["rooms", room, "services"],
        };
        [head, rest].concat()
    }
}

impl Rest {
    /// A `Service` document for a tool server elsewhere, made of what it says of itself.
    pub async fn discover_mcp(&self, url: &str) -> Result<Value, RestError> {
        self.post(&["mcp", "discover"], &json!({"url": url, "format": "service"})).await
    }
}

impl ProjectRest {
    /// The services of a scope, each a `Service` document with its `id`.
    pub async fn services(&self, scope: &ServiceScope) -> Result<Vec<Value>, RestError> {
        let mut answer = self.rest.get(&self.at(&scope.path(&[])), &[]).await?;
        super::parse("services", answer["services"].take())
    }

    /// A service by id (a UUID) or name.
    pub async fn service(&self, scope: &ServiceScope, id_or_name: &str) -> Result<Option<Value>, RestError> {
        let path = match Uuid::parse_str(id_or_name) {
            Ok(_) => scope.path(&[id_or_name]),
            Err(_) => scope.path(&["by-name", id_or_name]),
        };
        optional(self.rest.get(&self.at(&path), &[]).await)
    }

    /// Makes a service; the answer is the whole document with its `id`.
    pub async fn create_service(&self, scope: &ServiceScope, body: &ServiceBody) -> Result<Value, RestError> {
        self.rest.post(&self.at(&scope.path(&[])), &body.json()).await
    }

    /// Replaces a service.
    pub async fn update_service(
        &self,
        scope: &ServiceScope,
        id: &str,
        body: &ServiceBody,
    ) -> Result<(), RestError> {
        let mut json = body.json();
        if let (ServiceBody::Spec(_), Some(object)) = (body, json.as_object_mut()) {
            object.insert("id".into(), id.into());
        }
        self.rest.put(&self.at(&scope.path(&[id])), &json).await.map(drop)
    }

    pub async fn delete_service(&self, scope: &ServiceScope, id: &str) -> Result<(), RestError> {
        self.rest.delete(&self.at(&scope.path(&[id]))).await.map(drop)
    }

    pub async fn create_mailbox(&self, mailbox: &Mailbox) -> Result<(), RestError> {
        let body = json!({
            "address": mailbox.address, "room": mailbox.room, "queue": mailbox.queue,
            "public": mailbox.public, "annotations": mailbox.annotations,
        });
        self.rest.post(&self.at(&["mailboxes"]), &body).await.map(drop)
    }

    /// All mailboxes, or one room's.
    pub async fn mailboxes(
        &self,
        room: Option<&str>,
        filter: Option<&str>,
    ) -> Result<Vec<Mailbox>, RestError> {
        let query: Vec<_> = filter.map(|filter| ("filter", filter.to_owned())).into_iter().collect();
        let Some(room) = room else {
            return self.rest.pages(&self.at(&["mailboxes"]), &query, "mailboxes").await;
        };
        let segments = self.at(&["rooms", room, "mailboxes"]);
        self.rest.offset_pages(&segments, &query, "mailboxes", "count").await
    }

    pub async fn mailbox(&self, address: &str) -> Result<Option<Mailbox>, RestError> {
        let answer = optional(self.rest.get(&self.at(&["mailboxes", address]), &[]).await)?;
        answer.map(|mut answer| super::parse("mailbox", answer["mailbox"].take())).transpose()
    }

    pub async fn update_mailbox(&self, mailbox: &Mailbox) -> Result<(), RestError> {
        let body = json!({
            "room": mailbox.room, "queue": mailbox.queue,
            "public": mailbox.public, "annotations": mailbox.annotations,
        });
        self.rest.put(&self.at(&["mailboxes", &mailbox.address]), &body).await.map(drop)
    }

    /// What became of mail that a mailbox sent, newest first: the server's answer as it is. `query` are the filters
    /// and the place of the page.
    pub async fn mailbox_deliveries(
        &self,
        address: &str,
        query: &[(&str, String)],
    ) -> Result<Value, RestError> {
        self.rest.get(&self.at(&["mailboxes", address, "deliveries"]), query).await
    }

    /// One delivery; `None` where there is none.
    pub async fn mailbox_delivery(&self, address: &str, id: &str) -> Result<Option<Value>, RestError> {
        let answer = self.rest.get(&self.at(&["mailboxes", address, "deliveries", id]), &[]).await;
        Ok(optional(answer)?.map(|mut answer| answer["delivery"].take()))
    }

    /// What happened to a delivery, in order: the server's answer as it is.
    pub async fn mailbox_delivery_events(
        &self,
        address: &str,
        id: &str,
        query: &[(&str, String)],
    ) -> Result<Value, RestError> {
        self.rest.get(&self.at(&["mailboxes", address, "deliveries", id, "events"]), query).await
    }

    pub async fn delete_mailbox(&self, address: &str) -> Result<(), RestError> {
        self.rest.delete(&self.at(&["mailboxes", address])).await.map(drop)
    }
}

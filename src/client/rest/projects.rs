//! `/config`, `/accounts/projects` and who the caller is.

use super::{Config, Project, Rest, RestError, optional};
use serde_json::{Value, json};
use std::time::Duration;

/// Longest wait for `/config`, which clients ask before every command.
const CONFIG_TIMEOUT: Duration = Duration::from_millis(1500);

impl Rest {
    /// `GET /config`: version and domains. Needs no credential.
    pub async fn config(&self) -> Result<Config, RestError> {
        match tokio::time::timeout(CONFIG_TIMEOUT, self.get_as(&["config"], &[])).await {
            Ok(answer) => answer,
            Err(_) => {
                Err(RestError::Timeout { url: self.base().to_owned(), asked: "GET /config".to_owned() })
            }
        }
    }

    /// `GET /accounts/whoami`.
    pub async fn whoami(&self) -> Result<Value, RestError> {
        self.get(&["accounts", "whoami"], &[]).await
    }

    /// The projects this caller may see.
    pub async fn projects(&self) -> Result<Vec<Project>, RestError> {
        let mut answer = self.get(&["accounts", "projects"], &[]).await?;
        super::parse("GET /accounts/projects", answer["projects"].take())
    }

    /// A project by id, else by key; none if neither is known.
    pub async fn find_project(&self, id_or_key: &str) -> Result<Option<Project>, RestError> {
        let by_id = optional(self.get_as(&["accounts", "projects", id_or_key], &[]).await)?;
        if by_id.is_some() {
            return Ok(by_id);
        }
        optional(self.get_as(&["accounts", "projects", "by-key", id_or_key], &[]).await)
    }

    /// Makes a project.
    pub async fn create_project(&self, name: &str) -> Result<Project, RestError> {
        self.post_as(&["accounts", "projects"], &json!({"name": name})).await
    }

    /// `GET /v1/events`: facts of the log after a position, `{"events": […], "next": N}`.
    pub async fn events(&self, query: &[(&str, String)]) -> Result<Value, RestError> {
        self.get(&["v1", "events"], query).await
    }

    /// `POST /templates/render`: a template's text with its values put in, as a `ServiceTemplate` document.
    pub async fn render_template(&self, template: &str, values: &Value) -> Result<Value, RestError> {
        self.post(&["templates", "render"], &json!({"template": template, "values": values})).await
    }
}

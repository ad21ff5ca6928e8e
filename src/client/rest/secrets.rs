//! Secrets of the caller, or of a service account.

use super::{ProjectRest, Rest, RestError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Whose secrets are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretOwner {
    /// The caller's own.
    Me,
    /// A service account's, by its id.
    ServiceAccount(String),
}

/// The secrets of one owner.
#[derive(Debug, Clone)]
pub struct Secrets {
    rest: Rest,
    project: String,
    owner: SecretOwner,
}

impl ProjectRest {
    #[must_use]
    pub fn secrets(&self, owner: SecretOwner) -> Secrets {
        Secrets { rest: self.rest.clone(), project: self.id.clone(), owner }
    }

    /// The secret that signs the project's calls and webhooks.
    pub async fn webhook_secret(&self) -> Result<String, RestError> {
        let mut answer = self.rest.get(&self.at(&["webhook-secret"]), &[]).await?;
        super::parse("webhook secret", answer["secret"].take())
    }
}

impl Rest {
    /// Seals all secrets of the server under a fresh key; how many were.
    pub async fn rekey_secrets(&self) -> Result<u64, RestError> {
        let mut answer = self.post(&["v1", "secrets:rekey"], &json!({})).await?;
        super::parse("POST /v1/secrets:rekey", answer["rewrapped"].take())
    }
}

impl Secrets {
    fn at<'a>(&'a self, segments: &[&'a str]) -> Vec<&'a str> {
        let owner: &[&str] = match &self.owner {
            SecretOwner::Me => &["accounts", "users", "me"],
            SecretOwner::ServiceAccount(id) => {
                &["accounts", "projects", &self.project, "service-accounts", id]
            }
        };
        [owner, segments].concat()
    }

    pub async fn list(&self, filter: Option<&str>) -> Result<Vec<Value>, RestError> {
        let query: Vec<_> = filter.map(|filter| ("filter", filter.to_owned())).into_iter().collect();
        self.rest.pages(&self.at(&["secrets"]), &query, "secrets").await
    }

    /// `search` as the route takes it; its pages are read to the end.
    pub async fn search(&self, search: &Value) -> Result<Vec<Value>, RestError> {
        let (mut search, mut all) = (search.clone(), Vec::new());
        for _ in 0..super::PAGES_MAX {
            let mut page = self.rest.post(&self.at(&["secrets:search"]), &search).await?;
            all.extend(super::parse::<Vec<Value>>("secrets", page["secrets"].take())?);
            match page["continuation_token"].take() {
                Value::String(token) if search["continuation_token"] != token => {
                    search["continuation_token"] = Value::String(token);
                }
                Value::Null => return Ok(all),
                _ => break,
            }
        }
        Err(RestError::Endless { asked: "POST secrets:search".to_owned() })
    }

    pub async fn get(&self, id: &str, include_value: bool) -> Result<Value, RestError> {
        let query: &[(&str, String)] =
            if include_value { &[("include_value", "true".to_owned())] } else { &[] };
        self.rest.get(&self.at(&["secrets", id]), query).await
    }

    /// `about`: `{name, type, http_only, metadata?, annotations?}`.
    pub async fn create(&self, mut about: Value) -> Result<Value, RestError> {
        if self.owner == SecretOwner::Me {
            about["project_id"] = json!(self.project);
        }
        self.rest.post(&self.at(&["secrets"]), &about).await
    }

    /// Members of `about` that are there replace what is.
    pub async fn update(&self, id: &str, about: &Value) -> Result<Value, RestError> {
        self.rest.patch(&self.at(&["secrets", id]), about).await
    }

    pub async fn delete(&self, id: &str) -> Result<(), RestError> {
        self.rest.delete(&self.at(&["secrets", id])).await.map(drop)
    }

    pub async fn versions(&self, id: &str) -> Result<Vec<Value>, RestError> {
        let mut answer = self.rest.get(&self.at(&["secrets", id, "versions"]), &[]).await?;
        super::parse("versions", answer["versions"].take())
    }

    pub async fn add_version(&self, id: &str, value: &[u8], current: bool) -> Result<Value, RestError> {
        let body = json!({"value_base64": STANDARD.encode(value), "set_current": current});
        self.rest.post(&self.at(&["secrets", id, "versions"]), &body).await
    }

    pub async fn delete_version(&self, id: &str, version: &str) -> Result<(), RestError> {
        self.rest.delete(&self.at(&["secrets", id, "versions", version])).await.map(drop)
    }

    /// The value of one version.
    pub async fn access(&self, id: &str, version: &str) -> Result<Vec<u8>, RestError> {
        let version = format!("{version}:access");
        let answer = self.rest.get(&self.at(&["secrets", id, "versions", &version]), &[]).await?;
        let asked = || RestError::Unexpected {
            asked: "the value of a secret".to_owned(),
            reason: "`value_base64` is not there or not base64".to_owned(),
        };
        let text = answer["value_base64"].as_str().ok_or_else(asked)?;
        STANDARD.decode(text).map_err(|_| asked())
    }

    /// Service accounts that may use a secret of the caller through the proxy.
    pub async fn grants(&self, id: &str) -> Result<Vec<Value>, RestError> {
        self.rest.pages(&self.at(&["secrets", id, "access"]), &[], "access_grants").await
    }

    pub async fn grant_proxy(&self, id: &str, account: &str, granted: bool) -> Result<(), RestError> {
        let verb = if granted { "access:grant-proxy" } else { "access:revoke-proxy" };
        let body = json!({"subject": {"type": "service_account", "id": account}});
        self.rest.post(&self.at(&["secrets", id, verb]), &body).await.map(drop)
    }

    pub async fn pull_secrets(&self) -> Result<Vec<Value>, RestError> {
        let mut answer = self.rest.get(&self.at(&["pull-secrets"]), &[]).await?;
        super::parse("pull secrets", answer["secrets"].take())
    }

    pub async fn add_pull_secret(&self, id: &str) -> Result<(), RestError> {
        self.rest.put(&self.at(&["pull-secrets", id]), &json!({})).await.map(drop)
    }

    pub async fn remove_pull_secret(&self, id: &str) -> Result<(), RestError> {
        self.rest.delete(&self.at(&["pull-secrets", id])).await.map(drop)
    }
}

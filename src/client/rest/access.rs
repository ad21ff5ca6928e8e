//! Service accounts, their API keys, participant tokens, and roles of users.

use super::{ApiKey, ProjectRest, RestError, ServiceAccount, optional};
use serde_json::{Value, json};

impl ProjectRest {
    pub async fn service_accounts(&self) -> Result<Vec<ServiceAccount>, RestError> {
        self.rest.pages(&self.at(&["service-accounts"]), &[], "service_accounts").await
    }

    /// A service account by id or name.
    pub async fn service_account(&self, id_or_name: &str) -> Result<Option<ServiceAccount>, RestError> {
        let by_id = self.at(&["service-accounts", id_or_name]);
        if let Some(account) = optional(self.rest.get_as(&by_id, &[]).await)? {
            return Ok(Some(account));
        }
        let by_name = self.at(&["service-accounts", "by-name", id_or_name]);
        optional(self.rest.get_as(&by_name, &[]).await)
    }

    /// `account`: `{name, description, display_name?, metadata?, annotations?}`.
    pub async fn create_service_account(&self, account: &Value) -> Result<ServiceAccount, RestError> {
        self.rest.post_as(&self.at(&["service-accounts"]), account).await
    }

    /// Replaces a service account; `account` as in [`Self::create_service_account`].
    pub async fn update_service_account(&self, id: &str, account: &Value) -> Result<(), RestError> {
        self.rest.put(&self.at(&["service-accounts", id]), account).await.map(drop)
    }

    pub async fn delete_service_account(&self, id: &str) -> Result<(), RestError> {
        self.rest.delete(&self.at(&["service-accounts", id])).await.map(drop)
    }

    pub async fn api_keys(&self, account_id: &str) -> Result<Vec<ApiKey>, RestError> {
        let segments = self.at(&["service-accounts", account_id, "api-keys"]);
        let mut answer = self.rest.get(&segments, &[]).await?;
        super::parse("api keys", answer["keys"].take())
    }

    /// Makes a key; its `value` is in this answer and in no other.
    pub async fn create_api_key(
        &self,
        account_id: &str,
        name: &str,
        description: &str,
    ) -> Result<ApiKey, RestError> {
        let segments = self.at(&["service-accounts", account_id, "api-keys"]);
        self.rest.post_as(&segments, &json!({"name": name, "description": description})).await
    }

    pub async fn delete_api_key(&self, account_id: &str, key_id: &str) -> Result<(), RestError> {
        let segments = self.at(&["service-accounts", account_id, "api-keys", key_id]);
        self.rest.delete(&segments).await.map(drop)
    }

    /// Grants of a resource: `{resource, subject, direct_roles}` each.
    pub async fn policy(&self, resource_type: &str, resource_id: &str) -> Result<Vec<Value>, RestError> {
        let segments = self.at(&["iam", resource_type, resource_id, "policy"]);
        self.rest.pages(&segments, &[], "access_grants").await
    }

    /// Gives roles (`grant`, `{subject, roles}`) or takes them (`revoke`, `{subject}`).
    pub async fn change_policy(
        &self,
        resource_type: &str,
        resource_id: &str,
        verb: &str,
        body: &Value,
    ) -> Result<(), RestError> {
        let last = format!("policy:{verb}");
        self.rest.post(&self.at(&["iam", resource_type, resource_id, &last]), body).await.map(drop)
    }

    /// Members of the project: `{user, direct_roles}` each.
    pub async fn members(&self, filter: Option<&str>) -> Result<Vec<Value>, RestError> {
        let query: Vec<(&str, String)> =
            filter.map(|filter| ("filter", filter.to_owned())).into_iter().collect();
        self.rest.pages(&self.at(&["users"]), &query, "users").await
    }

    /// Gives somebody roles in the project, in place of those they had.
    pub async fn add_member(&self, user: &str, roles: &[String]) -> Result<(), RestError> {
        let body = json!({"user_id": user, "roles": roles});
        self.rest.post(&self.at(&["users"]), &body).await.map(drop)
    }

    pub async fn update_member(&self, user: &str, roles: &[String]) -> Result<(), RestError> {
        self.rest.put(&self.at(&["users", user]), &json!({"roles": roles})).await.map(drop)
    }

    pub async fn remove_member(&self, user: &str) -> Result<(), RestError> {
        self.rest.delete(&self.at(&["users", user])).await.map(drop)
    }

    /// The caller's roles in the project, and what follows from them.
    pub async fn own_role(&self) -> Result<Value, RestError> {
        self.rest.get(&self.at(&["role"]), &[]).await
    }

    /// Mints a participant token; `request` is `{name, grants}` or `{name, room_name, role, api}`.
    pub async fn participant_token(&self, request: &Value) -> Result<String, RestError> {
        let mut answer = self.rest.post(&self.at(&["participant-tokens"]), request).await?;
        super::parse("participant token", answer["token"].take())
    }
}

//! What the `secrets` toolkit needs: records in the vault, and token endpoints asked over the internet.

use crate::app::App;
use crate::id::RoomId;
use crate::net::guard::Allowed;
use crate::net::oauth;
use crate::room::world::{Consent, GivenTokens, OAuthClient, RoomSecrets};
use crate::vault::{Secret, SecretId, Vault};
use async_trait::async_trait;
use std::sync::Arc;

/// Records of participants, sealed like every other secret.
pub(super) struct VaultRecords {
    pub app: Arc<App>,
}

fn prefix(room: RoomId) -> String {
    format!("room-secret/{}/{}/", room.project(), room.uuid())
}

fn id(room: RoomId, key: &str) -> Result<SecretId, String> {
    SecretId::new(format!("{}{key}", prefix(room))).map_err(|error| error.to_string())
}

async fn ids(vault: &Vault, room: RoomId) -> Result<Vec<SecretId>, String> {
    let prefix = prefix(room);
    let mut all: Vec<SecretId> = vec![];
    loop {
        let page = vault.list_ids(&prefix, all.last()).await.map_err(|error| error.to_string())?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// Forgets the records of a deleted room.
pub(super) async fn delete_room(vault: &Vault, room: RoomId) -> Result<(), String> {
    for id in ids(vault, room).await? {
        vault.delete(&id).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[async_trait]
impl RoomSecrets for VaultRecords {
    async fn all(&self, room: RoomId) -> Result<Vec<Secret>, String> {
        let mut records = vec![];
        for id in ids(&self.app.vault, room).await? {
            // One that was deleted in between is not missed.
            records.extend(self.app.vault.get(&id).await.map_err(|error| error.to_string())?);
        }
        Ok(records)
    }

    async fn put(&self, room: RoomId, key: &str, record: Secret, most: usize) -> Result<(), String> {
        let id = id(room, key)?;
        let there = ids(&self.app.vault, room).await?;
        if there.len() >= most && !there.contains(&id) {
            return Err(format!("the room keeps {most} secrets already; delete some first"));
        }
        self.app.vault.put(&id, &record).await.map_err(|error| error.to_string())
    }

    async fn delete(&self, room: RoomId, key: &str) -> Result<(), String> {
        self.app.vault.delete(&id(room, key)?).await.map(drop).map_err(|error| error.to_string())
    }
}

/// Token endpoints at public addresses, and at hosts that the operator allowed.
pub(super) struct TokenEndpoints {
    pub allowed_hosts: Allowed,
}

impl TokenEndpoints {
    async fn ask(&self, client: &OAuthClient, form: Vec<(&str, &str)>) -> Result<GivenTokens, String> {
        let asking = oauth::Client {
            id: &client.id,
            secret: client.secret.as_ref().and_then(Secret::expose_str),
            token_endpoint: &client.token_endpoint,
        };
        let tokens =
            oauth::ask(asking, form, &self.allowed_hosts).await.map_err(|error| error.to_string())?;
        let secret = |text: &str| Secret::from(text.to_owned());
        Ok(GivenTokens {
            access_token: secret(&tokens.access_token),
            refresh_token: tokens.refresh_token.as_ref().map(|token| secret(token)),
        })
    }
}

#[async_trait]
impl Consent for TokenEndpoints {
    async fn exchange(
        &self,
        client: &OAuthClient,
        code: &str,
        redirect_uri: &str,
        verifier: Option<&str>,
    ) -> Result<GivenTokens, String> {
        let mut form =
            vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect_uri)];
        form.extend(verifier.map(|verifier| ("code_verifier", verifier)));
        self.ask(client, form).await
    }

    async fn refresh(&self, client: &OAuthClient, refresh_token: &Secret) -> Result<GivenTokens, String> {
        let refresh = refresh_token.expose_str().unwrap_or_default();
        self.ask(client, vec![("grant_type", "refresh_token"), ("refresh_token", refresh)]).await
    }
}

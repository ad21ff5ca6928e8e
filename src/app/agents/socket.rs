//! Tokens of conversations with managed agents: those of callers, and those that the agents' own sockets take.

use crate::app::token::{Grant, Mint};
use crate::app::{App, Error};
use crate::id::ManagedAgentId;
use crate::vault::Secret;
use aws_lc_rs::hmac;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

/// Name of the grant whose scope is the name of an agent that its bearer may talk to.
pub const AGENT_GRANT: &str = "agent";
/// How long a token for an agent's own socket is good for, seconds. It is used at once.
const SOCKET_TOKEN_SECONDS: i64 = 5 * 60;
/// Sets the secrets of agents apart from everything else that is made of the server's.
const PURPOSE: &str = "managed-agent-socket";

impl App {
    /// A token by which `name` may talk to an agent, and do nothing else.
    pub async fn caller_token(
        &self,
        agent: ManagedAgentId,
        agent_name: &str,
        name: String,
        lifetime_seconds: i64,
    ) -> Result<String, Error> {
        let mut mint = Mint::new(agent.project(), name);
        mint.grants = vec![Grant { name: AGENT_GRANT.to_owned(), scope: json!(agent_name) }];
        mint.lifetime_seconds = Some(lifetime_seconds);
        self.mint(mint).await
    }

    /// What the tokens of an agent's own socket are signed with. No other agent's is the same, and none tells the server's.
    pub async fn agent_secret(&self, agent: ManagedAgentId) -> Result<Secret, Error> {
        let server = self.server_secret().await?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, server.expose());
        let tag = hmac::sign(&key, format!("{PURPOSE}/{}/{agent}", agent.project()).as_bytes());
        Ok(Secret::from(hex::encode(tag.as_ref())))
    }

    /// What an agent's own socket takes for `name`.
    pub async fn agent_token(&self, agent: ManagedAgentId, name: &str) -> Result<String, Error> {
        let world = self.world();
        let known = world.agent(agent).ok_or_else(|| Error::no_agent(&agent.to_string()))?;
        let claims = json!({
            "name": name, "sub": agent.project().to_string(),
            "grants": [{"name": AGENT_GRANT, "scope": known.spec.metadata.name}],
            "exp": self.clock.now().timestamp() + SOCKET_TOKEN_SECONDS,
        });
        let secret = self.agent_secret(agent).await?;
        let key = EncodingKey::from_secret(secret.expose());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).map_err(|error| Error::Invalid {
            code: "token-unsignable",
            text: format!("the token of the agent's socket cannot be signed: {error}"),
        })
    }
}

//! `secrets`: what participants keep for themselves and for those they trust, and how an agent asks a person for a
//! secret or for consent. Spoken by the npm SDK 0.39.9; the Python SDK uses REST for the same.
//!
//! A secret belongs to the participant name that set it. One that is `delegated_to` a name may be read by that name
//! too. Values go to the vault and to their readers, nowhere else.

mod ask;
mod oauth;
mod store;

use crate::clock::IdSource;
use crate::room::toolkit::{Call, Takes, ToolError, ToolInfo, Toolkit, ToolkitInfo};
use crate::room::world::{Consent, RoomSecrets};
use crate::wire::Content;
use ask::Asks;
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;
use store::Kept;

/// The toolkit.
pub struct Secrets {
    port: Arc<dyn RoomSecrets>,
    consent: Arc<dyn Consent>,
    asks: Asks,
    renewals: oauth::Renewals,
    info: ToolkitInfo,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

#[derive(Deserialize, JsonSchema)]
struct Exists {
    secret_id: String,
    #[serde(default)]
    delegated_to: Option<String>,
    #[serde(default)]
    for_identity: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
struct Delete {
    id: String,
    #[serde(default)]
    delegated_to: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
struct DeleteRequested {
    url: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    delegated_to: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
struct Get {
    #[serde(default)]
    secret_id: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    delegated_to: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
struct Set {
    #[serde(default)]
    secret_id: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    delegated_to: Option<String>,
    #[serde(default)]
    for_identity: Option<String>,
}

impl Secrets {
    pub fn new(port: Arc<dyn RoomSecrets>, consent: Arc<dyn Consent>, ids: Arc<dyn IdSource>) -> Self {
        let (json, empty, file) = (["json"], ["empty"], ["file", "empty"]);
        let binary = |name, description| ToolInfo::stream(name, Takes::Unary, description);
        let tools = vec![
            ToolInfo::unary::<Nothing>(
                "list_secrets",
                &json,
                "Lists what the caller keeps, without the values.",
            ),
            ToolInfo::unary::<Exists>("exists", &json, "Tells whether a secret is kept."),
            ToolInfo::unary::<Get>(
                "get_secret",
                &file,
                "Reads a secret of the caller's, or one delegated to it.",
            ),
            binary("set_secret", "Keeps a secret."),
            ToolInfo::unary::<Delete>("delete_secret", &empty, "Forgets a secret."),
            ToolInfo::unary::<DeleteRequested>(
                "delete_requested_secret",
                &empty,
                "Forgets a secret that was given on request.",
            ),
            ToolInfo::unary::<ask::Request>("request_secret", &file, "Asks a participant for a secret.")
                .waiting(),
            binary("provide_secret", "Answers a request for a secret."),
            ToolInfo::unary::<oauth::Request>(
                "request_oauth_token",
                &json,
                "Asks a participant for consent and gets an access token.",
            )
            .waiting(),
            ToolInfo::unary::<oauth::Provide>(
                "provide_oauth_authorization",
                &empty,
                "Answers a request for consent.",
            ),
            ToolInfo::unary::<oauth::Offline>(
                "get_offline_oauth_token",
                &json,
                "Gets an access token by a consent that was delegated before.",
            ),
        ];
        let info = ToolkitInfo {
            name: "secrets",
            title: "Secrets",
            description: "Secrets of participants, and requests for them.",
            tools,
        };
        Self { port, consent, asks: Asks::new(ids), renewals: oauth::Renewals::default(), info }
    }

    async fn list(&self, call: &Call) -> Result<Content, ToolError> {
        let kept = store::all(&*self.port, call.session.room.id).await?;
        let listed: Vec<Value> =
            kept.iter().filter(|s| s.owner == call.caller.name).map(Kept::listing).collect();
        Ok(Content::Json(json!({"secrets": listed})))
    }

    async fn exists(&self, call: &Call) -> Result<Content, ToolError> {
        let args: Exists = call.args()?;
        let owner = store::owner(call, args.for_identity.as_deref())?;
        let kept = store::all(&*self.port, call.session.room.id).await?;
        let found = kept.iter().any(|s| s.is(owner, &args.secret_id, args.delegated_to.as_deref()));
        Ok(Content::Json(json!({"exists": found})))
    }

    async fn get(&self, call: &Call) -> Result<Content, ToolError> {
        let args: Get = call.args()?;
        let reader = call.caller.name.as_str();
        let kept = store::all(&*self.port, call.session.room.id).await?;
        let found = kept.into_iter().find(|secret| {
            let asked = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|w| w == is);
            let delegated = args.delegated_to.is_none() || args.delegated_to == secret.delegated_to;
            secret.may_be_read_by(reader)
                && delegated
                && asked(&args.secret_id, &secret.id)
                && asked(&args.kind, &secret.kind)
                && asked(&args.name, &secret.name)
        });
        Ok(found.map_or(Content::Empty, Kept::into_file))
    }

    async fn set(&self, call: &Call) -> Result<Content, ToolError> {
        let args: Set = call.args()?;
        let owner = store::owner(call, args.for_identity.as_deref())?.to_owned();
        let data = store::data(&call.content)?;
        let id = args.secret_id.or_else(|| args.name.clone()).ok_or_else(|| {
            ToolError::invalid("the arguments of secrets.set_secret are wrong: give `secret_id` or `name`")
        })?;
        let name = args.name.unwrap_or_else(|| id.clone());
        let kind = args.kind.unwrap_or_else(|| "application/octet-stream".to_owned());
        let kept = Kept { owner, id, name, kind, delegated_to: args.delegated_to, data };
        store::put(&*self.port, call.session.room.id, &kept).await?;
        Ok(Content::Empty)
    }

    async fn delete(&self, call: &Call) -> Result<Content, ToolError> {
        let args: Delete = call.args()?;
        store::delete(&*self.port, call, &args.id, args.delegated_to.as_deref()).await
    }

    async fn delete_requested(&self, call: &Call) -> Result<Content, ToolError> {
        let args: DeleteRequested = call.args()?;
        let id = ask::stored_id(&args.url, &args.kind);
        store::delete(&*self.port, call, &id, args.delegated_to.as_deref()).await
    }
}

#[async_trait]
impl Toolkit for Secrets {
    fn describe(&self) -> &ToolkitInfo {
        &self.info
    }

    async fn invoke(&self, call: &mut Call) -> Result<Content, ToolError> {
        match call.tool {
            "list_secrets" => self.list(call).await,
            "exists" => self.exists(call).await,
            "get_secret" => self.get(call).await,
            "set_secret" => self.set(call).await,
            "delete_secret" => self.delete(call).await,
            "delete_requested_secret" => self.delete_requested(call).await,
            "request_secret" => ask::request(&self.asks, &*self.port, call).await,
            "provide_secret" => ask::provide(&self.asks, call),
            "request_oauth_token" => {
                oauth::request(&self.asks, &self.renewals, &*self.port, &*self.consent, call).await
            }
            "provide_oauth_authorization" => oauth::provide(&self.asks, call),
            _ => {
                let (port, consent) = (Arc::clone(&self.port), Arc::clone(&self.consent));
                oauth::offline(&self.renewals, port, consent, call).await
            }
        }
    }
}

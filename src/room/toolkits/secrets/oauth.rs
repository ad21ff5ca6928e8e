//! Consent: a participant is asked to sign in somewhere, its code becomes an access token, and the consent may be
//! kept for a delegate (authorization code with PKCE, RFC 6749 and 7636).

use super::ask::Asks;
use super::store::{self, Kept};
use crate::error_code::RoomCode;
use crate::id::RoomId;
use crate::room::toolkit::{Call, ToolError};
use crate::room::world::{Consent, OAuthClient, RoomSecrets};
use crate::share::Turns;
use crate::vault::Secret;
use crate::wire::Content;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Type of a kept consent.
const KIND: &str = "oauth";
/// Tries to keep a renewed consent: the old one is worth nothing any more.
const KEEP_TRIES: u32 = 4;
/// Wait between two of them.
const KEEP_PAUSE: Duration = Duration::from_millis(250);
/// Calls that may wait for one consent.
const WAITING_MAX: usize = 16;
/// Random bytes of a PKCE verifier.
const VERIFIER_BYTES: usize = 32;

#[derive(Deserialize, JsonSchema)]
pub(super) struct Request {
    #[serde(default)]
    connector: Option<Value>,
    #[serde(default)]
    oauth: Option<Config>,
    redirect_uri: String,
    /// Seconds.
    #[serde(default)]
    timeout: Option<u64>,
    participant_id: String,
    #[serde(default)]
    delegate_to: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Offline {
    #[serde(default)]
    connector: Option<Value>,
    #[serde(default)]
    oauth: Option<Config>,
    #[serde(default)]
    delegated_to: Option<String>,
    #[serde(default)]
    delegated_by: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Provide {
    request_id: String,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
struct Config {
    client_id: String,
    #[serde(default)]
    client_secret: Option<String>,
    authorization_endpoint: String,
    token_endpoint: String,
    #[serde(default)]
    no_pkce: Option<bool>,
    #[serde(default)]
    scopes: Option<Vec<String>>,
}

impl Config {
    fn id(&self) -> String {
        format!(
            "{} {} {}",
            self.client_id,
            self.token_endpoint,
            self.scopes.as_deref().unwrap_or_default().join(" ")
        )
    }

    fn client(self) -> OAuthClient {
        OAuthClient {
            id: self.client_id,
            secret: self.client_secret.map(Secret::from),
            token_endpoint: self.token_endpoint,
        }
    }
}

fn config(oauth: Option<Config>, connector: Option<&Value>) -> Result<Config, ToolError> {
    oauth.ok_or_else(|| match connector {
        Some(_) => ToolError::missing_dependency(
            "this server knows no connectors; give `oauth` with the client and the endpoints",
        ),
        None => ToolError::invalid("the arguments are wrong: give `oauth` with the client and the endpoints"),
    })
}

pub(super) async fn request(
    asks: &Asks,
    renewals: &Renewals,
    port: &dyn RoomSecrets,
    consent: &dyn Consent,
    call: &Call,
) -> Result<Content, ToolError> {
    let args: Request = call.args()?;
    let config = config(args.oauth, args.connector.as_ref())?;
    let id = config.id();
    let verifier = if config.no_pkce.unwrap_or(false) { None } else { Some(verifier()?) };
    let challenge = verifier.as_ref().map(|v| URL_SAFE_NO_PAD.encode(Sha256::digest(v.as_bytes())));
    let asked = json!({
        "challenge": challenge,
        "request": {"oauth": {
            "client_id": config.client_id,
            "authorization_endpoint": config.authorization_endpoint,
            "token_endpoint": config.token_endpoint,
            "scopes": config.scopes,
        }},
    });
    // Before anybody is asked: what they give must find a place.
    let line = renewals.line(call.session.room.id, &id)?;
    let code =
        asks.ask(call, &args.participant_id, "secrets.request_oauth_token", asked, args.timeout).await?;
    let code = String::from_utf8_lossy(&code).into_owned();
    let given = consent
        .exchange(&config.client(), &code, &args.redirect_uri, verifier.as_deref())
        .await
        .map_err(ToolError::failed)?;
    if let (Some(delegate), Some(refresh)) = (args.delegate_to, given.refresh_token) {
        let owner = call
            .session
            .peer(&args.participant_id)
            .map_or_else(|| call.caller.name.clone(), |p| p.name.clone());
        let data = Bytes::copy_from_slice(refresh.expose());
        let kept =
            Kept { owner, name: id.clone(), id, kind: KIND.to_owned(), delegated_to: Some(delegate), data };
        let _alone = line.lock().await;
        store::put(port, call.session.room.id, &kept).await?;
    }
    Ok(token(given.access_token.expose_str()))
}

fn verifier() -> Result<String, ToolError> {
    let random = Secret::random(VERIFIER_BYTES).map_err(|error| ToolError::failed(error.to_string()))?;
    Ok(URL_SAFE_NO_PAD.encode(random.expose()))
}

fn token(token: Option<&str>) -> Content {
    Content::Json(json!({"access_token": token}))
}

pub(super) fn provide(asks: &Asks, call: &Call) -> Result<Content, ToolError> {
    let args: Provide = call.args()?;
    let answer = match (args.code, args.error) {
        (Some(code), None) => Ok(Bytes::from(code)),
        (_, why) => Err(why.unwrap_or_else(|| "no reason given".to_owned())),
    };
    asks.answer(call, &args.request_id, answer)
}

/// Renewals under way, by room and consent. One at a time: a token that is used up by one caller must be replaced before
/// the next one reads it.
#[derive(Debug, Default)]
pub(super) struct Renewals(Turns<(RoomId, String)>);

impl Renewals {
    /// The line of a consent, unless too many wait in it.
    fn line(&self, room: RoomId, id: &str) -> Result<Arc<Mutex<()>>, ToolError> {
        let line = self.0.line((room, id.to_owned()));
        if Arc::strong_count(&line) > 1 + WAITING_MAX {
            let text = format!("{WAITING_MAX} calls wait for this consent already; try again later");
            return Err(ToolError::new(RoomCode::InvalidState, text));
        }
        Ok(line)
    }
}

/// A fresh access token by a kept consent; `null` when there is none for the caller. What was begun is done whatever
/// becomes of the call: the provider may have taken the old token back already.
pub(super) async fn offline(
    renewals: &Renewals,
    port: Arc<dyn RoomSecrets>,
    consent: Arc<dyn Consent>,
    call: &Call,
) -> Result<Content, ToolError> {
    let args: Offline = call.args()?;
    let config = config(args.oauth, args.connector.as_ref())?;
    let (id, reader, room) = (config.id(), call.caller.name.clone(), call.session.room.id);
    let alone = renewals.line(room, &id)?.lock_owned().await;
    let wanted = move |secret: &Kept| {
        let by = args.delegated_by.as_deref().is_none_or(|by| by == secret.owner);
        let to = args.delegated_to.is_none() || args.delegated_to == secret.delegated_to;
        secret.kind == KIND && secret.id == id && secret.may_be_read_by(&reader) && by && to
    };
    let renewal = tokio::spawn(async move {
        let _alone = alone;
        let Some(mut kept) = store::all(&*port, room).await?.into_iter().find(wanted) else {
            return Ok(token(None));
        };
        let refresh = Secret::new(kept.data.to_vec());
        let given = consent.refresh(&config.client(), &refresh).await.map_err(ToolError::failed)?;
        if let Some(rotated) = given.refresh_token {
            kept.data = Bytes::copy_from_slice(rotated.expose());
            keep(&*port, room, &kept).await?;
        }
        Ok(token(given.access_token.expose_str()))
    });
    renewal.await.map_err(|error| ToolError::failed(format!("the consent could not be renewed: {error}")))?
}

async fn keep(port: &dyn RoomSecrets, room: RoomId, kept: &Kept) -> Result<(), ToolError> {
    let mut tried = 1;
    loop {
        match store::put(port, room, kept).await {
            Err(error) if tried < KEEP_TRIES => {
                tracing::warn!(%room, error = %error.text, "a renewed consent is not kept yet");
                tokio::time::sleep(KEEP_PAUSE * tried).await;
                tried += 1;
            }
            kept => return kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ProjectId;
    use uuid::Uuid;

    #[test]
    fn renewals_of_one_consent_wait_for_each_other_and_for_no_other() {
        let renewals = Renewals::default();
        let room = |n| RoomId::new(ProjectId::new(Uuid::from_u128(1)), Uuid::from_u128(n));
        let line = |n, id| renewals.line(room(n), id).unwrap();
        let first = line(1, "a");
        let alone = first.try_lock().unwrap();
        assert!(line(1, "a").try_lock().is_err());
        assert!(line(1, "b").try_lock().is_ok() && line(2, "a").try_lock().is_ok());
        let waiting: Vec<_> = (0..WAITING_MAX).map(|_| line(1, "a")).collect();
        assert!(renewals.line(room(1), "a").is_err() && renewals.line(room(1), "b").is_ok());
        drop((alone, waiting));
        assert!(line(1, "a").try_lock().is_ok());
        drop(first);
        line(2, "b");
        assert_eq!(renewals.0.len(), 1, "lines that nobody waits in are forgotten");
    }
}

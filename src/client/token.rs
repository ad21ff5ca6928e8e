//! Participant tokens signed here, with an API key, without asking the server (REST reference §3.2).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// Client version that the token names; servers treat the scope by it.
const VERSION: &str = "0.55.1";

/// Who takes part, where, and what they may do.
#[derive(Debug, Clone, Default)]
pub struct Participant {
    pub name: String,
    /// Room the token opens; none for a token that opens no room.
    pub room: Option<String>,
    /// `user`, `agent` or `tool`; none is `user`.
    pub role: Option<String>,
    /// An `ApiScope` as JSON; none can call nothing.
    pub api: Option<Value>,
}

/// Why no token was signed. Never repeats the key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SignError {
    #[error("the API key is not of the form `ma-…`; copy it whole")]
    NotAKey,
    #[error("the token could not be signed: {0}")]
    Signing(String),
}

#[derive(Serialize)]
struct Claims<'a> {
    name: &'a str,
    grants: Vec<Value>,
    sub: String,
    kid: String,
    version: &'static str,
}

/// The project an API key belongs to.
pub fn project_of_key(key: &str) -> Option<Uuid> {
    split(key).map(|parts| parts.project)
}

/// Signs a token for a participant with an API key; it does not expire.
pub fn sign(key: &str, participant: &Participant) -> Result<String, SignError> {
    let parts = split(key).ok_or(SignError::NotAKey)?;
    let role = participant.role.as_ref().filter(|role| *role != "user");
    let grants = [
        role.map(|role| json!({"name": "role", "scope": role})),
        participant.api.as_ref().map(|api| json!({"name": "api", "scope": api})),
        participant.room.as_ref().map(|room| json!({"name": "room", "scope": room})),
    ];
    let claims = Claims {
        name: &participant.name,
        grants: grants.into_iter().flatten().collect(),
        sub: parts.project.to_string(),
        kid: parts.key.to_string(),
        version: VERSION,
    };
    let secret = EncodingKey::from_secret(parts.secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &secret)
        .map_err(|error| SignError::Signing(error.to_string()))
}

/// The participant name in a token; none where the text is no token. The signature is not looked at: only the server
/// can check it.
pub fn participant_name(token: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    claims.get("name")?.as_str().filter(|name| !name.is_empty()).map(str::to_owned)
}

struct Parts<'a> {
    key: Uuid,
    project: Uuid,
    secret: &'a str,
}

/// `ma-<key id>-<project>-<secret>`; the ids are URL-safe base64 with `.` for `-`.
fn split(key: &str) -> Option<Parts<'_>> {
    let mut parts = key.trim().strip_prefix("ma-")?.splitn(3, '-');
    let (key, project, secret) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Parts { key: id(key)?, project: id(project)?, secret: Some(secret).filter(|s| !s.is_empty())? })
}

fn id(text: &str) -> Option<Uuid> {
    let bytes = URL_SAFE_NO_PAD.decode(text.replace('.', "-").trim_end_matches('=')).ok()?;
    Uuid::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{DecodingKey, Validation};

    const KEY: &str = "ma-C297Ho8.THCaPD0qGwydjg-Xwx6Um0OSlebeh.NbJoeAg-s3cr3t-with-dash";

    #[test]
    fn the_payload_is_what_servers_look_for() {
        let participant = Participant {
            name: "bot".into(),
            room: Some("r".into()),
            role: Some("agent".into()),
            api: Some(json!({"llm": {}})),
        };
        let token = sign(KEY, &participant).unwrap();
        assert_eq!(participant_name(&token).as_deref(), Some("bot"));
        assert_eq!(participant_name("a.b.c"), None);
        let mut rules = Validation::new(Algorithm::HS256);
        rules.required_spec_claims.clear();
        let key = DecodingKey::from_secret(b"s3cr3t-with-dash");
        let claims = jsonwebtoken::decode::<Value>(&token, &key, &rules).unwrap().claims;
        assert_eq!(claims["kid"], "0b6f7b1e-8f3e-4c70-9a3c-3d2a1b0c9d8e");
        assert_eq!(claims["sub"], "5f0c7a52-6d0e-4a57-9b7a-1f8d6c9a1e02");
        let names: Vec<&str> = claims["grants"]
            .as_array()
            .unwrap()
            .iter()
            .map(|grant| grant["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["role", "api", "room"]);
        assert!(claims.get("exp").is_none());
    }

    #[test]
    fn a_wrong_key_is_refused_without_repeating_it() {
        let error = sign("ma-a-b-hush", &Participant::default()).unwrap_err();
        assert_eq!(error, SignError::NotAKey);
        assert!(!error.to_string().contains("hush"));
    }
}

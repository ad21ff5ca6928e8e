//! API keys as text: `ma-<key id>-<project>-<secret>`, both UUIDs as URL-safe base64 with `-` written `.`
//! (REST reference §3.1).

use crate::id::ProjectId;
use crate::vault::{Secret, VaultError};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// Random bytes behind a key's secret; written as twice as many hex digits.
pub const SECRET_BYTES: usize = 32;

/// A key's three parts.
#[derive(Debug)]
pub struct ApiKeyText {
    pub key: Uuid,
    pub project: ProjectId,
    pub secret: Secret,
}

/// Why a text is no API key. The text itself is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not an API key; one begins with `ma-` and has three more parts")]
pub struct NotAKey;

impl ApiKeyText {
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        let mut parts = text.trim().strip_prefix("ma-").ok_or(NotAKey)?.splitn(3, '-');
        let (Some(key), Some(project), Some(secret)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NotAKey);
        };
        if secret.is_empty() {
            return Err(NotAKey);
        }
        Ok(Self {
            key: unpack(key)?,
            project: ProjectId::new(unpack(project)?),
            secret: Secret::new(secret.as_bytes().to_vec()),
        })
    }

    /// The whole key. Shown once, at its making.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!(
            "ma-{}-{}-{}",
            pack(self.key),
            pack(self.project.uuid()),
            self.secret.expose_str().unwrap_or_default()
        )
    }
}

/// A fresh secret: [`SECRET_BYTES`] random bytes in hexadecimal, so that it is text everywhere.
pub(super) fn fresh_secret() -> Result<Secret, VaultError> {
    let random = Secret::random(SECRET_BYTES)?;
    Ok(Secret::from(hex::encode(random.expose())))
}

fn pack(uuid: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(uuid.as_bytes()).replace('-', ".")
}

fn unpack(text: &str) -> Result<Uuid, NotAKey> {
    let bytes = URL_SAFE_NO_PAD.decode(text.replace('.', "-").trim_end_matches('=')).map_err(|_| NotAKey)?;
    Uuid::from_slice(&bytes).map_err(|_| NotAKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_vectors() {
        let text = "ma-C297Ho8.THCaPD0qGwydjg-Xwx6Um0OSlebeh.NbJoeAg-s3cr3t-with-dash";
        let key = ApiKeyText::parse(text).unwrap();
        assert_eq!(key.key.to_string(), "0b6f7b1e-8f3e-4c70-9a3c-3d2a1b0c9d8e");
        assert_eq!(key.project.to_string(), "5f0c7a52-6d0e-4a57-9b7a-1f8d6c9a1e02");
        assert_eq!(key.secret.expose_str(), Some("s3cr3t-with-dash"));
        assert_eq!(key.reveal(), text);
        assert!(!format!("{key:?}").contains("s3cr3t"));
    }

    #[test]
    fn nonsense_is_refused_without_repeating_it() {
        for text in ["", "ma-", "ma-a-b-c", "sk-abc", "ma-C297Ho8.THCaPD0qGwydjg-Xwx6Um0OSlebeh.NbJoeAg-"] {
            assert_eq!(ApiKeyText::parse(text).unwrap_err(), NotAKey, "{text}");
        }
    }
}

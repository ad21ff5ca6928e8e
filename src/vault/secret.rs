//! The value that must not be shown, and its id.

use super::VaultError;
use std::fmt;
use zeroize::Zeroizing;

/// A secret value: never printed, never compared by `==`, wiped from memory when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Fresh random bytes.
    pub fn random(len: usize) -> Result<Self, VaultError> {
        let mut bytes = vec![0; len];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| VaultError::NoRandomness)?;
        Ok(Self::new(bytes))
    }

    /// The value, for the one place that uses it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The value as text, `None` when it is not UTF-8.
    #[must_use]
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Longest id, bytes.
pub const SECRET_ID_BYTES_MAX: usize = 512;

/// Names a secret: a path such as `apikey/<project>/<uuid>`. May be logged.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SecretId(String);

/// The text cannot be the id of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a secret's id; use 1 to 512 bytes of letters, digits and `/-_.:@`")]
pub struct InvalidSecretId(pub String);

impl SecretId {
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidSecretId> {
        let text = text.into();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"/-_.:@".contains(&b);
        if text.is_empty() || text.len() > SECRET_ID_BYTES_MAX || !text.bytes().all(allowed) {
            return Err(InvalidSecretId(text));
        }
        Ok(Self(text))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

//! Secrets at rest: envelope encryption under one key-encryption key. The log holds references, this holds the values.
//!
//! Every secret has a data key of its own; the key-encryption key wraps it. Both layers are AES-256-GCM with the
//! secret's id as associated data, so that a row copied under another id does not open.
//!
//! Knows nothing of what its secrets are for. No secret is ever formatted: [`Secret`] prints as `Secret(…)`.

mod kek;
mod memory;
mod postgres;
mod seal;
mod secret;
mod sqlite;

pub use kek::{KEK_FILE, Kek};
pub use memory::MemorySecrets;
pub use postgres::PostgresSecrets;
pub use seal::Sealed;
pub use secret::{InvalidSecretId, Secret, SecretId};
pub use sqlite::SqliteSecrets;

use crate::store::StoreError;
use async_trait::async_trait;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Most ids on one page.
pub const LIST_PAGE_MAX: usize = 500;
/// Bytes of a secret that the vault makes itself.
pub const MADE_SECRET_BYTES: usize = 48;
/// Longest value of a secret, bytes.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;

/// Where sealed secrets are kept. Sees no plain value and no key.
#[async_trait]
pub trait SecretStore: Send + Sync + fmt::Debug + 'static {
    /// Stores or replaces.
    async fn put(&self, id: &SecretId, sealed: Sealed) -> Result<(), VaultError>;
    /// Stores unless the id is there already; false when it was.
    async fn put_new(&self, id: &SecretId, sealed: Sealed) -> Result<bool, VaultError>;
    async fn get(&self, id: &SecretId) -> Result<Option<Sealed>, VaultError>;
    /// False when there was none.
    async fn delete(&self, id: &SecretId) -> Result<bool, VaultError>;
    /// Ids that begin with `prefix`, in order, after `after`, at most [`LIST_PAGE_MAX`].
    async fn list(&self, prefix: &str, after: Option<&SecretId>) -> Result<Vec<SecretId>, VaultError>;
}

/// Why the vault did not answer. Names ids and files, never values.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error(
        "the key file {path} is missing, but the store holds encrypted secrets; restore it from your backup (a new key cannot open them)"
    )]
    KekMissing { path: PathBuf },
    #[error(
        "the key file {path} may be read by others (mode {mode:o}); run `chmod 600` on it and change the secrets if others had access"
    )]
    KekReadable { path: PathBuf, mode: u32 },
    #[error("the key file {path} is not 32 bytes written in hexadecimal; restore it from your backup")]
    KekMalformed { path: PathBuf },
    #[error("cannot {action} the key file {path}: {detail}; check the data directory and its owner")]
    KekIo { action: &'static str, path: PathBuf, detail: String },
    #[error(
        "secret `{id}` does not open with the key in use: it was sealed with another key, or changed; restore the key file that belongs to this store"
    )]
    DoesNotOpen { id: SecretId },
    #[error("secret `{id}` has {bytes} bytes, at most {limit} are allowed")]
    TooLarge { id: SecretId, bytes: usize, limit: usize },
    #[error("cannot reach secret `{id}`: {error}")]
    Store { id: String, error: StoreError },
    #[error("secret `{id}` was deleted while it was made; try again")]
    Vanished { id: SecretId },
    #[error("the system gave no random bytes; check that getrandom works on this machine")]
    NoRandomness,
}

/// Reads and writes secrets: seals on the way in, opens on the way out.
#[derive(Debug, Clone)]
pub struct Vault {
    kek: Arc<Kek>,
    store: Arc<dyn SecretStore>,
}

impl Vault {
    #[must_use]
    pub fn new(kek: Kek, store: Arc<dyn SecretStore>) -> Self {
        Self { kek: Arc::new(kek), store }
    }

    /// Loads the key-encryption key from the data directory. Makes it at the first start only: where secrets exist
    /// and the file does not, that is [`VaultError::KekMissing`].
    pub async fn open(data_dir: &std::path::Path, store: Arc<dyn SecretStore>) -> Result<Self, VaultError> {
        let path = data_dir.join(KEK_FILE);
        let kek = match Kek::load(&path)? {
            Some(kek) => kek,
            None if store.list("", None).await?.is_empty() => Kek::generate(&path)?,
            None => return Err(VaultError::KekMissing { path }),
        };
        let vault = Self::new(kek, store);
        vault.check().await?;
        Ok(vault)
    }

    /// A key that belongs to another store is found at start, not at the first use.
    async fn check(&self) -> Result<(), VaultError> {
        match self.store.list("", None).await?.first() {
            Some(id) => self.get(id).await.map(drop),
            None => Ok(()),
        }
    }

    pub async fn put(&self, id: &SecretId, secret: &Secret) -> Result<(), VaultError> {
        let sealed = self.seal(id, secret)?;
        self.store.put(id, sealed).await
    }

    /// `None` when there is no such secret.
    pub async fn get(&self, id: &SecretId) -> Result<Option<Secret>, VaultError> {
        match self.store.get(id).await? {
            Some(sealed) => seal::open(&self.kek, id, &sealed).map(Some),
            None => Ok(None),
        }
    }

    /// False when there was none.
    pub async fn delete(&self, id: &SecretId) -> Result<bool, VaultError> {
        self.store.delete(id).await
    }

    /// Ids that begin with `prefix`, after `after`, at most [`LIST_PAGE_MAX`].
    pub async fn list_ids(
        &self,
        prefix: &str,
        after: Option<&SecretId>,
    ) -> Result<Vec<SecretId>, VaultError> {
        self.store.list(prefix, after).await
    }

    /// The secret with this id; at first use [`MADE_SECRET_BYTES`] random bytes. All servers of a store agree on it.
    pub async fn get_or_make(&self, id: &SecretId) -> Result<Secret, VaultError> {
        if let Some(secret) = self.get(id).await? {
            return Ok(secret);
        }
        let made = Secret::random(MADE_SECRET_BYTES)?;
        if self.store.put_new(id, self.seal(id, &made)?).await? {
            return Ok(made);
        }
        self.get(id).await?.ok_or_else(|| VaultError::Vanished { id: id.clone() })
    }

    fn seal(&self, id: &SecretId, secret: &Secret) -> Result<Sealed, VaultError> {
        let bytes = secret.expose().len();
        if bytes > SECRET_BYTES_MAX {
            return Err(VaultError::TooLarge { id: id.clone(), bytes, limit: SECRET_BYTES_MAX });
        }
        seal::seal(&self.kek, id, secret)
    }
}

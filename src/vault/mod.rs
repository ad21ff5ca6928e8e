//! Secrets at rest: envelope encryption under one key-encryption key. The log holds references, this holds the values.
//!
//! Every secret has a data key of its own; the key-encryption key wraps it ([`KeyEncryption`]). Both layers are
//! AES-256-GCM with the secret's id as associated data, so that a row copied under another id does not open. The
//! key-encryption key is changed while servers run ([`Vault::rekey`]): the values stay, their data keys are wrapped anew.
//!
//! Knows nothing of what its secrets are for. No secret is ever formatted: [`Secret`] prints as `Secret(…)`.

pub mod age;
mod kek;
mod keys;
mod memory;
mod postgres;
mod seal;
mod secret;
pub mod sops;
mod sqlite;

pub use kek::{KEK_FILE, KEKS_MAX, Kek};
pub use keys::{EnvKeys, FileKeys, FixedKey, KeyEncryption, Unwrapped};
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
/// How often the key may change while one secret is written.
const KEY_CHANGES_MAX: usize = 4;
/// How often all secrets are gone through in one rekeying, at most.
const REKEY_PASSES_MAX: usize = 16;
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
    /// Replaces the wrapped data key, if it is still `old`; false when it is not.
    async fn rewrap(&self, id: &SecretId, old: &[u8], new: &[u8]) -> Result<bool, VaultError>;
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
    #[error("the key file {path} is not lines of 64 hexadecimal digits; restore it from your backup")]
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
    #[error(
        "MESHAGENT_KEK and MESHAGENT_KEK_PREVIOUS are keys of 64 hexadecimal digits; make one with `openssl rand -hex 32`"
    )]
    KekVariable,
    #[error("there is no key to encrypt with; restore the key file from your backup")]
    NoKey,
    #[error("the key-encryption key cannot be changed: {0}")]
    NotRotated(&'static str),
    #[error(
        "secrets are being written faster than they can be rekeyed; the former key stays until `meshagent secret rekey` is run again"
    )]
    NotSettled,
    #[error("the system gave no random bytes; check that getrandom works on this machine")]
    NoRandomness,
}

/// Reads and writes secrets: seals on the way in, opens on the way out.
#[derive(Debug, Clone)]
pub struct Vault {
    keys: Arc<dyn KeyEncryption>,
    store: Arc<dyn SecretStore>,
    rekeying: Arc<tokio::sync::Mutex<()>>,
}

impl Vault {
    /// A vault under one key that does not change, for tests.
    #[must_use]
    pub fn new(kek: Kek, store: Arc<dyn SecretStore>) -> Self {
        Self::under(Arc::new(FixedKey(kek)), store)
    }

    fn under(keys: Arc<dyn KeyEncryption>, store: Arc<dyn SecretStore>) -> Self {
        Self { keys, store, rekeying: Arc::default() }
    }

    /// Loads the key-encryption key from the data directory. Makes it at the first start only: where secrets exist
    /// and the file does not, that is [`VaultError::KekMissing`].
    pub async fn open(data_dir: &std::path::Path, store: Arc<dyn SecretStore>) -> Result<Self, VaultError> {
        let path = data_dir.join(KEK_FILE);
        let keys = match FileKeys::load(&path)? {
            Some(keys) => keys,
            None if store.list("", None).await?.is_empty() => FileKeys::generate(&path)?,
            None => return Err(VaultError::KekMissing { path }),
        };
        Self::open_with(Arc::new(keys), store).await
    }

    /// As [`Vault::open`], with keys from elsewhere.
    pub async fn open_with(
        keys: Arc<dyn KeyEncryption>,
        store: Arc<dyn SecretStore>,
    ) -> Result<Self, VaultError> {
        let vault = Self::under(keys, store);
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
        self.keys.refresh().await?;
        self.store.put(id, self.seal(id, secret).await?).await?;
        self.keep_up(id, secret).await
    }

    /// Seals a secret just stored again, where another server brought a new key into use meanwhile: it may be the only
    /// one soon.
    async fn keep_up(&self, id: &SecretId, secret: &Secret) -> Result<(), VaultError> {
        for _ in 0..KEY_CHANGES_MAX {
            if !self.keys.refresh().await? {
                return Ok(());
            }
            self.store.put(id, self.seal(id, secret).await?).await?;
        }
        Err(VaultError::NotSettled)
    }

    /// `None` when there is no such secret.
    pub async fn get(&self, id: &SecretId) -> Result<Option<Secret>, VaultError> {
        let Some(sealed) = self.store.get(id).await? else { return Ok(None) };
        if let Some(secret) = seal::open(&*self.keys, id, &sealed).await? {
            return Ok(Some(secret));
        }
        // Another server may have changed the key since.
        self.keys.refresh().await?;
        let Some(sealed) = self.store.get(id).await? else { return Ok(None) };
        let opened = seal::open(&*self.keys, id, &sealed).await?;
        opened.map(Some).ok_or_else(|| VaultError::DoesNotOpen { id: id.clone() })
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
        self.keys.refresh().await?;
        let made = Secret::random(MADE_SECRET_BYTES)?;
        if self.store.put_new(id, self.seal(id, &made).await?).await? {
            self.keep_up(id, &made).await?;
            return Ok(made);
        }
        self.get(id).await?.ok_or_else(|| VaultError::Vanished { id: id.clone() })
    }

    /// Brings a fresh key-encryption key into use and wraps every data key anew, while secrets are read and written.
    /// Answers how many were. Wherever it ends early, all secrets open, and the next call goes on from there.
    pub async fn rekey(&self) -> Result<u64, VaultError> {
        let _alone = self.rekeying.lock().await;
        self.keys.rotate().await?;
        let mut rewrapped = 0;
        for _ in 0..REKEY_PASSES_MAX {
            let (changed, settled) = self.rekey_pass().await?;
            rewrapped += changed;
            if settled {
                self.keys.retire().await?;
                return Ok(rewrapped);
            }
        }
        Err(VaultError::NotSettled)
    }

    /// One look at every secret: how many were wrapped anew, and whether all had been before.
    async fn rekey_pass(&self) -> Result<(u64, bool), VaultError> {
        let (mut changed, mut settled, mut after) = (0, true, None);
        loop {
            let page = self.store.list("", after.as_ref()).await?;
            for id in &page {
                let Some(sealed) = self.store.get(id).await? else { continue };
                if let Some(wrapped) = seal::rewrap(&*self.keys, id, &sealed).await? {
                    settled = false;
                    changed += u64::from(self.store.rewrap(id, &sealed.wrapped_key, &wrapped).await?);
                }
            }
            match page.last() {
                Some(last) => after = Some(last.clone()),
                None => return Ok((changed, settled)),
            }
        }
    }

    async fn seal(&self, id: &SecretId, secret: &Secret) -> Result<Sealed, VaultError> {
        let bytes = secret.expose().len();
        if bytes > SECRET_BYTES_MAX {
            return Err(VaultError::TooLarge { id: id.clone(), bytes, limit: SECRET_BYTES_MAX });
        }
        seal::seal(&*self.keys, id, secret).await
    }
}

//! Who wraps data keys: the shape of a key management service, with keys from a file and from the environment.

use super::kek::{KEKS_MAX, Kek, load_all, replace_all};
use super::seal::{decrypt, encrypt};
use super::{Secret, VaultError};
use async_trait::async_trait;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

/// A data key that was wrapped.
#[derive(Debug)]
pub struct Unwrapped {
    pub data_key: Secret,
    /// Wrapped by the key in use, not by one before it.
    pub current: bool,
}

/// Wraps and unwraps data keys. `context` is bound to the wrapping: another one does not unwrap.
#[async_trait]
pub trait KeyEncryption: Send + Sync + fmt::Debug + 'static {
    /// Wraps under the key in use.
    async fn wrap(&self, context: &[u8], data_key: &Secret) -> Result<Vec<u8>, VaultError>;

    /// Unwraps with the key in use or one before it; `None` when none of them did it.
    async fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<Option<Unwrapped>, VaultError>;

    /// Looks whether the keys were changed by another server; true when they were.
    async fn refresh(&self) -> Result<bool, VaultError> {
        Ok(false)
    }

    /// Brings a fresh key into use; those before it go on unwrapping. Where an earlier rotation is not done, that one
    /// goes on instead.
    async fn rotate(&self) -> Result<(), VaultError>;

    /// Forgets all keys but the one in use. Called when nothing is wrapped by them any more.
    async fn retire(&self) -> Result<(), VaultError>;
}

fn wrap_with(keys: &[Kek], context: &[u8], data_key: &Secret) -> Result<Vec<u8>, VaultError> {
    let current = keys.first().ok_or(VaultError::NoKey)?;
    encrypt(current.bytes(), context, data_key.expose())
}

fn unwrap_with(keys: &[Kek], context: &[u8], wrapped: &[u8]) -> Option<Unwrapped> {
    let one = |(index, key): (usize, &Kek)| {
        let data_key = decrypt(key.bytes(), context, wrapped)?;
        Some(Unwrapped { data_key, current: index == 0 })
    };
    keys.iter().enumerate().find_map(one)
}

/// One key for ever, for tests.
#[derive(Debug)]
pub struct FixedKey(pub Kek);

#[async_trait]
impl KeyEncryption for FixedKey {
    async fn wrap(&self, context: &[u8], data_key: &Secret) -> Result<Vec<u8>, VaultError> {
        wrap_with(std::slice::from_ref(&self.0), context, data_key)
    }

    async fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<Option<Unwrapped>, VaultError> {
        Ok(unwrap_with(std::slice::from_ref(&self.0), context, wrapped))
    }

    async fn rotate(&self) -> Result<(), VaultError> {
        Err(VaultError::NotRotated("this key is fixed"))
    }

    async fn retire(&self) -> Result<(), VaultError> {
        Ok(())
    }
}

/// Keys that the operator's environment gave at the start: the one in use, and those before it.
#[derive(Debug)]
pub struct EnvKeys {
    keys: Vec<Kek>,
}

impl EnvKeys {
    /// `current` and each of `previous`, which commas separate, are 64 hexadecimal digits.
    pub fn parse(current: &str, previous: Option<&str>) -> Result<Self, VaultError> {
        let texts = previous.unwrap_or_default().split(',').map(str::trim).filter(|text| !text.is_empty());
        let keys: Option<Vec<Kek>> = std::iter::once(current).chain(texts).map(Kek::parse).collect();
        match keys {
            Some(keys) if keys.len() <= KEKS_MAX => Ok(Self { keys }),
            _ => Err(VaultError::KekVariable),
        }
    }
}

#[async_trait]
impl KeyEncryption for EnvKeys {
    async fn wrap(&self, context: &[u8], data_key: &Secret) -> Result<Vec<u8>, VaultError> {
        wrap_with(&self.keys, context, data_key)
    }

    async fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<Option<Unwrapped>, VaultError> {
        Ok(unwrap_with(&self.keys, context, wrapped))
    }

    async fn rotate(&self) -> Result<(), VaultError> {
        if self.keys.len() > 1 {
            return Ok(());
        }
        Err(VaultError::NotRotated(
            "the key comes from the environment: restart every server with the new one in MESHAGENT_KEK and the present one in MESHAGENT_KEK_PREVIOUS, then rekey",
        ))
    }

    async fn retire(&self) -> Result<(), VaultError> {
        // The operator takes the former key out of the environment.
        Ok(())
    }
}

/// How a file looks when it has not changed.
type Stamp = (SystemTime, u64, u64);

#[derive(Debug)]
struct Ring {
    keys: Vec<Kek>,
    stamp: Option<Stamp>,
}

/// Keys in a file, which every server on the store reads.
#[derive(Debug, Clone)]
pub struct FileKeys {
    path: PathBuf,
    ring: Arc<RwLock<Ring>>,
}

impl FileKeys {
    /// Reads the file; `None` where there is none.
    pub fn load(path: &Path) -> Result<Option<Self>, VaultError> {
        let stamp = stamp(path);
        let found = load_all(path)?;
        let ring = found.map(|keys| Arc::new(RwLock::new(Ring { keys, stamp })));
        Ok(ring.map(|ring| Self { path: path.to_owned(), ring }))
    }

    /// Makes a key and its file; never overwrites one.
    pub fn generate(path: &Path) -> Result<Self, VaultError> {
        let keys = vec![Kek::generate(path)?];
        let ring = Arc::new(RwLock::new(Ring { keys, stamp: stamp(path) }));
        Ok(Self { path: path.to_owned(), ring })
    }

    fn keys(&self) -> Vec<Kek> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).keys.clone()
    }

    fn read_again(&self) -> Result<bool, VaultError> {
        let seen = stamp(&self.path);
        {
            let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
            if ring.stamp == seen && seen.is_some() {
                return Ok(false);
            }
        }
        let keys = load_all(&self.path)?.ok_or_else(|| VaultError::KekMissing { path: self.path.clone() })?;
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Ring { keys, stamp: seen };
        Ok(true)
    }

    fn put_in_front(&self) -> Result<(), VaultError> {
        self.read_again()?;
        let mut keys = self.keys();
        if keys.len() > 1 {
            return Ok(());
        }
        keys.insert(0, Kek::random()?);
        replace_all(&self.path, &keys)?;
        self.read_again().map(drop)
    }

    fn forget_former(&self) -> Result<(), VaultError> {
        let used = self.keys();
        self.read_again()?;
        let now = self.keys();
        // Another server may have begun the next rotation meanwhile.
        let same = used.first().zip(now.first()).is_some_and(|(used, now)| used.is(now));
        if same && now.len() > 1 {
            replace_all(&self.path, &now[..1])?;
            self.read_again()?;
        }
        Ok(())
    }

    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, VaultError> {
        let own = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&own)).await;
        done.unwrap_or_else(|error| {
            Err(VaultError::KekIo { action: "use", path: self.path.clone(), detail: error.to_string() })
        })
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

#[async_trait]
impl KeyEncryption for FileKeys {
    async fn wrap(&self, context: &[u8], data_key: &Secret) -> Result<Vec<u8>, VaultError> {
        wrap_with(&self.keys(), context, data_key)
    }

    async fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<Option<Unwrapped>, VaultError> {
        Ok(unwrap_with(&self.keys(), context, wrapped))
    }

    async fn refresh(&self) -> Result<bool, VaultError> {
        self.off_thread(Self::read_again).await
    }

    async fn rotate(&self) -> Result<(), VaultError> {
        self.off_thread(Self::put_in_front).await
    }

    async fn retire(&self) -> Result<(), VaultError> {
        self.off_thread(Self::forget_former).await
    }
}

//! Sealed secrets in memory, for tests.

use super::{LIST_PAGE_MAX, Sealed, SecretId, SecretStore, VaultError};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Secrets that end with the process.
#[derive(Debug, Default)]
pub struct MemorySecrets {
    rows: Mutex<BTreeMap<SecretId, Sealed>>,
}

impl MemorySecrets {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<SecretId, Sealed>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SecretStore for MemorySecrets {
    async fn put(&self, id: &SecretId, sealed: Sealed) -> Result<(), VaultError> {
        self.rows().insert(id.clone(), sealed);
        Ok(())
    }

    async fn put_new(&self, id: &SecretId, sealed: Sealed) -> Result<bool, VaultError> {
        let mut rows = self.rows();
        if rows.contains_key(id) {
            return Ok(false);
        }
        rows.insert(id.clone(), sealed);
        Ok(true)
    }

    async fn get(&self, id: &SecretId) -> Result<Option<Sealed>, VaultError> {
        Ok(self.rows().get(id).cloned())
    }

    async fn rewrap(&self, id: &SecretId, old: &[u8], new: &[u8]) -> Result<bool, VaultError> {
        match self.rows().get_mut(id) {
            Some(sealed) if sealed.wrapped_key == old => {
                sealed.wrapped_key = new.to_vec();
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    async fn delete(&self, id: &SecretId) -> Result<bool, VaultError> {
        Ok(self.rows().remove(id).is_some())
    }

    async fn list(&self, prefix: &str, after: Option<&SecretId>) -> Result<Vec<SecretId>, VaultError> {
        let rows = self.rows();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let ids = rows.range((start, Bound::Unbounded)).map(|(id, _)| id);
        Ok(ids.filter(|id| id.as_str().starts_with(prefix)).take(LIST_PAGE_MAX).cloned().collect())
    }
}

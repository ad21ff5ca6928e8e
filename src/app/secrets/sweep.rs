//! Values in the vault that no fact names: of secrets and keys whose end, or whose beginning, a server that was killed did not
//! live to see.

use super::VAULT_PREFIX;
use crate::app::accounts::KEY_PREFIX;
use crate::app::{App, Error};
use crate::id::{ApiKeyId, OwnedSecretId, ProjectId};
use crate::vault::SecretId;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// How old an entry is that is looked at: what is being written now is named by a fact a moment later.
pub const AGE_MIN: TimeDelta = TimeDelta::hours(1);
/// Pages of entries that are looked through at one start.
const PAGES_MAX: usize = 10_000;

/// What an entry is of.
enum Entry {
    Version(OwnedSecretId, Uuid),
    Key(ApiKeyId),
}

impl Entry {
    fn read(id: &SecretId) -> Option<Self> {
        let text = id.as_str();
        let uuid = |text: &str| Uuid::parse_str(text).ok();
        if let Some(rest) = text.strip_prefix(VAULT_PREFIX) {
            let parts: Vec<Uuid> = rest.split('/').map(uuid).collect::<Option<_>>()?;
            let [project, secret, version] = parts.as_slice() else { return None };
            return Some(Self::Version(OwnedSecretId::new(ProjectId::new(*project), *secret), *version));
        }
        let parts: Vec<Uuid> = text.strip_prefix(KEY_PREFIX)?.split('/').map(uuid).collect::<Option<_>>()?;
        let [project, key] = parts.as_slice() else { return None };
        Some(Self::Key(ApiKeyId::new(ProjectId::new(*project), *key)))
    }

    /// When it was made, as its id tells; those that somebody chose tell nothing, and stay.
    fn made_at(&self) -> Option<DateTime<Utc>> {
        let id = match self {
            Self::Version(_, version) => *version,
            Self::Key(key) => key.uuid(),
        };
        let (seconds, _) = id.get_timestamp().filter(|_| id.get_version_num() == 7)?.to_unix();
        DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)
    }
}

impl App {
    /// Removes what nobody can use any more; answers how many entries that were. Called when a server starts.
    pub async fn sweep_values(&self) -> Result<usize, Error> {
        let before = self.clock.now() - AGE_MIN;
        let mut swept = 0;
        for prefix in [VAULT_PREFIX, KEY_PREFIX] {
            let mut after = None;
            for _ in 0..PAGES_MAX {
                let page = self.vault.list_ids(prefix, after.as_ref()).await?;
                for id in &page {
                    let entry = Entry::read(id).filter(|entry| entry.made_at().is_some_and(|at| at < before));
                    swept += usize::from(self.sweep(entry).await?);
                }
                after = page.last().cloned();
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(swept)
    }

    async fn sweep(&self, entry: Option<Entry>) -> Result<bool, Error> {
        let world = self.world();
        match entry {
            Some(Entry::Version(secret, version))
                if world.secret(secret).is_none_or(|known| known.version(version).is_none()) =>
            {
                self.forget_value(secret, version).await?;
            }
            Some(Entry::Key(key)) if world.key(key).is_none() => self.forget_keys(&[key]).await?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

//! How durable a database is, kept in a file beside it.

use super::SqliteError;
use super::names::{beside, make_folder, sync_folder};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

const FLUSH_INTERVAL_MS_DEFAULT: u64 = 1_000;
const FLUSH_INTERVAL_MS_MAX: u64 = 3_600_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replication {
    /// A write is on disk when it is acknowledged.
    Synchronous,
    /// A write is on disk within the flush interval.
    Asynchronous,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub replication_mode: Replication,
    pub flush_interval_ms: u64,
}

/// What to change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SettingsChange {
    pub replication_mode: Option<Replication>,
    pub flush_interval_ms: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { replication_mode: Replication::Synchronous, flush_interval_ms: FLUSH_INTERVAL_MS_DEFAULT }
    }
}

impl SettingsChange {
    pub(super) fn on(self, old: Settings) -> Result<Settings, SqliteError> {
        let interval = self.flush_interval_ms.unwrap_or(old.flush_interval_ms);
        if !(1..=FLUSH_INTERVAL_MS_MAX).contains(&interval) {
            return Err(SqliteError::invalid(format!(
                "`flush_interval_ms` is {interval} and must be 1 to {FLUSH_INTERVAL_MS_MAX}"
            )));
        }
        Ok(Settings {
            replication_mode: self.replication_mode.unwrap_or(old.replication_mode),
            flush_interval_ms: interval,
        })
    }
}

impl Settings {
    pub(super) fn flush_interval(self) -> Duration {
        Duration::from_millis(self.flush_interval_ms)
    }

    /// A database without a file of settings has the default ones.
    pub(super) fn load(database: &Path) -> Result<Self, SqliteError> {
        let path = beside(database, ".json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                SqliteError::failed(format!("the settings of the database are damaged: {error}"))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(SqliteError::io("read the settings of", database, &error)),
        }
    }

    pub(super) fn save(self, database: &Path) -> Result<(), SqliteError> {
        make_folder(database)?;
        let (path, new) = (beside(database, ".json"), beside(database, ".json.new"));
        let text = serde_json::to_vec(&self).unwrap_or_default();
        let written = File::create(&new)
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&new, &path));
        written.map_err(|error| SqliteError::io("write the settings of", database, &error))?;
        sync_folder(database)
    }
}

//! Sealed secrets in the server's SQLite database.

use super::{LIST_PAGE_MAX, Sealed, SecretId, SecretStore, VaultError};
use crate::store::StoreError;
use crate::store::sqlite::Sqlite;
use async_trait::async_trait;
use rusqlite::{OptionalExtension as _, Row, params};
use std::sync::Arc;

/// Secrets in SQLite.
#[derive(Debug)]
pub struct SqliteSecrets {
    database: Arc<Sqlite>,
}

impl SqliteSecrets {
    #[must_use]
    pub fn new(database: Arc<Sqlite>) -> Self {
        Self { database }
    }

    async fn insert(&self, id: &SecretId, sealed: Sealed, sql: &'static str) -> Result<bool, VaultError> {
        let own = id.clone();
        let stored = self.database.write(move |c| {
            let values = params![own.as_str(), sealed.layout, sealed.wrapped_key, sealed.value];
            Ok(c.prepare_cached(sql)?.execute(values)? == 1)
        });
        stored.await.map_err(|error: StoreError| VaultError::Store { id: id.to_string(), error })
    }
}

#[async_trait]
impl SecretStore for SqliteSecrets {
    async fn put(&self, id: &SecretId, sealed: Sealed) -> Result<(), VaultError> {
        let sql =
            "INSERT OR REPLACE INTO secrets (secret_id, layout, wrapped_key, value) VALUES (?1, ?2, ?3, ?4)";
        self.insert(id, sealed, sql).await.map(drop)
    }

    async fn put_new(&self, id: &SecretId, sealed: Sealed) -> Result<bool, VaultError> {
        let sql = "INSERT INTO secrets (secret_id, layout, wrapped_key, value) VALUES (?1, ?2, ?3, ?4) \
                   ON CONFLICT DO NOTHING";
        self.insert(id, sealed, sql).await
    }

    async fn get(&self, id: &SecretId) -> Result<Option<Sealed>, VaultError> {
        let own = id.clone();
        let read =
            |row: &Row<'_>| Ok(Sealed { layout: row.get(0)?, wrapped_key: row.get(1)?, value: row.get(2)? });
        let found = self.database.read(move |c| {
            let sql = "SELECT layout, wrapped_key, value FROM secrets WHERE secret_id = ?1";
            Ok(c.prepare_cached(sql)?.query_row([own.as_str()], read).optional()?)
        });
        found.await.map_err(|error: StoreError| VaultError::Store { id: id.to_string(), error })
    }

    async fn rewrap(&self, id: &SecretId, old: &[u8], new: &[u8]) -> Result<bool, VaultError> {
        let (own, old, new) = (id.clone(), old.to_vec(), new.to_vec());
        let replaced = self.database.write(move |c| {
            let sql = "UPDATE secrets SET wrapped_key = ?3 WHERE secret_id = ?1 AND wrapped_key = ?2";
            Ok(c.prepare_cached(sql)?.execute(params![own.as_str(), old, new])? == 1)
        });
        replaced.await.map_err(|error: StoreError| VaultError::Store { id: id.to_string(), error })
    }

    async fn delete(&self, id: &SecretId) -> Result<bool, VaultError> {
        let own = id.clone();
        let deleted = self.database.write(move |c| {
            let sql = "DELETE FROM secrets WHERE secret_id = ?1";
            Ok(c.prepare_cached(sql)?.execute([own.as_str()])? == 1)
        });
        deleted.await.map_err(|error: StoreError| VaultError::Store { id: id.to_string(), error })
    }

    async fn list(&self, prefix: &str, after: Option<&SecretId>) -> Result<Vec<SecretId>, VaultError> {
        let (own, after) = (prefix.to_owned(), after.map_or(String::new(), SecretId::to_string));
        let found = self.database.read(move |c| {
            let sql = "SELECT secret_id FROM secrets WHERE secret_id > ?1 AND secret_id >= ?2 \
                       AND substr(secret_id, 1, length(?2)) = ?2 ORDER BY secret_id LIMIT ?3";
            let mut statement = c.prepare_cached(sql)?;
            let limit = i64::try_from(LIST_PAGE_MAX).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![after, own, limit], |row| row.get::<_, String>(0))?;
            Ok(rows.collect::<Result<Vec<_>, _>>()?)
        });
        let texts =
            found.await.map_err(|error: StoreError| VaultError::Store { id: prefix.to_owned(), error })?;
        Ok(texts.into_iter().filter_map(|text| SecretId::new(text).ok()).collect())
    }
}

//! Sealed secrets in Postgres.

use super::{LIST_PAGE_MAX, Sealed, SecretId, SecretStore, VaultError};
use crate::store::StoreError;
use crate::store::postgres::Postgres;
use async_trait::async_trait;
use std::sync::Arc;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// Secrets in Postgres.
#[derive(Debug)]
pub struct PostgresSecrets {
    store: Arc<Postgres>,
}

impl PostgresSecrets {
    #[must_use]
    pub fn new(store: Arc<Postgres>) -> Self {
        Self { store }
    }

    async fn rows(
        &self,
        id: &str,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, VaultError> {
        let work = async {
            let client = self.store.client().await?;
            client.query(sql, params).await.map_err(|error| self.store.error(&error))
        };
        work.await.map_err(|error: StoreError| VaultError::Store { id: id.to_owned(), error })
    }

    async fn insert(&self, id: &SecretId, sealed: &Sealed, sql: &str) -> Result<bool, VaultError> {
        let params: [&(dyn ToSql + Sync); 4] =
            [&id.as_str(), &sealed.layout, &sealed.wrapped_key, &sealed.value];
        Ok(!self.rows(id.as_str(), sql, &params).await?.is_empty())
    }
}

#[async_trait]
impl SecretStore for PostgresSecrets {
    async fn put(&self, id: &SecretId, sealed: Sealed) -> Result<(), VaultError> {
        let sql = "INSERT INTO secrets (secret_id, layout, wrapped_key, value) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (secret_id) DO UPDATE SET layout = EXCLUDED.layout, \
                   wrapped_key = EXCLUDED.wrapped_key, value = EXCLUDED.value RETURNING layout";
        self.insert(id, &sealed, sql).await.map(drop)
    }

    async fn put_new(&self, id: &SecretId, sealed: Sealed) -> Result<bool, VaultError> {
        let sql = "INSERT INTO secrets (secret_id, layout, wrapped_key, value) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT DO NOTHING RETURNING layout";
        self.insert(id, &sealed, sql).await
    }

    async fn get(&self, id: &SecretId) -> Result<Option<Sealed>, VaultError> {
        let sql = "SELECT layout, wrapped_key, value FROM secrets WHERE secret_id = $1";
        let rows = self.rows(id.as_str(), sql, &[&id.as_str()]).await?;
        Ok(rows.first().map(|row| Sealed { layout: row.get(0), wrapped_key: row.get(1), value: row.get(2) }))
    }

    async fn rewrap(&self, id: &SecretId, old: &[u8], new: &[u8]) -> Result<bool, VaultError> {
        let sql =
            "UPDATE secrets SET wrapped_key = $3 WHERE secret_id = $1 AND wrapped_key = $2 RETURNING layout";
        Ok(!self.rows(id.as_str(), sql, &[&id.as_str(), &old, &new]).await?.is_empty())
    }

    async fn delete(&self, id: &SecretId) -> Result<bool, VaultError> {
        let sql = "DELETE FROM secrets WHERE secret_id = $1 RETURNING layout";
        Ok(!self.rows(id.as_str(), sql, &[&id.as_str()]).await?.is_empty())
    }

    async fn list(&self, prefix: &str, after: Option<&SecretId>) -> Result<Vec<SecretId>, VaultError> {
        let sql = "SELECT secret_id FROM secrets WHERE secret_id > $1 AND starts_with(secret_id, $2) \
                   ORDER BY secret_id LIMIT $3";
        let after = after.map_or("", SecretId::as_str);
        let limit = i64::try_from(LIST_PAGE_MAX).unwrap_or(i64::MAX);
        let rows = self.rows(prefix, sql, &[&after, &prefix, &limit]).await?;
        Ok(rows.iter().filter_map(|row| SecretId::new(row.get::<_, String>(0)).ok()).collect())
    }
}

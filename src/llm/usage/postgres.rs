//! Usage in Postgres; several servers add to the same rows.

use super::{Account, Columns, Filter, ROWS_MAX, Sums, UsageError, UsageStore, annotations_text};
use crate::store::postgres::Postgres;
use async_trait::async_trait;
use std::sync::Arc;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// Usage in Postgres.
#[derive(Debug)]
pub struct PostgresUsage {
    store: Arc<Postgres>,
}

const WHERE: &str = "project = $1 AND hour_ms >= $2 AND hour_ms < $3 AND ($4::text IS NULL OR provider = $4) \
    AND ($5::text IS NULL OR model = $5) AND starts_with(model, $6) AND ($7::text IS NULL OR room = $7) \
    AND ($8::text IS NULL OR participant = $8) AND ($9::text IS NULL OR delegation = $9)";
const SUMS: &str = "coalesce(sum(requests), 0)::bigint, coalesce(sum(estimated), 0)::bigint, \
    coalesce(sum(input_tokens), 0)::bigint, coalesce(sum(cached_tokens), 0)::bigint, \
    coalesce(sum(cache_write_tokens), 0)::bigint, coalesce(sum(output_tokens), 0)::bigint, \
    coalesce(sum(reasoning_tokens), 0)::bigint, coalesce(sum(cost_nanos), 0)::bigint";
const ADD: &str = "INSERT INTO llm_usage AS u (project, hour_ms, provider, model, room, participant, delegation, \
    annotations, requests, estimated, input_tokens, cached_tokens, cache_write_tokens, output_tokens, \
    reasoning_tokens, cost_nanos) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
    ON CONFLICT (project, hour_ms, provider, model, room, participant, delegation, annotations) DO UPDATE SET \
    requests = u.requests + EXCLUDED.requests, estimated = u.estimated + EXCLUDED.estimated, \
    input_tokens = u.input_tokens + EXCLUDED.input_tokens, cached_tokens = u.cached_tokens + EXCLUDED.cached_tokens, \
    cache_write_tokens = u.cache_write_tokens + EXCLUDED.cache_write_tokens, \
    output_tokens = u.output_tokens + EXCLUDED.output_tokens, \
    reasoning_tokens = u.reasoning_tokens + EXCLUDED.reasoning_tokens, cost_nanos = u.cost_nanos + EXCLUDED.cost_nanos";

impl PostgresUsage {
    #[must_use]
    pub fn new(store: Arc<Postgres>) -> Self {
        Self { store }
    }

    async fn ask(&self, sql: &str, filter: &Filter) -> Result<Vec<Row>, UsageError> {
        let client = self.store.client().await?;
        let failed = |error| self.store.error(&error);
        let statement = client.prepare_cached(sql).await.map_err(failed)?;
        let (model, begin) = filter.model_columns();
        let project = filter.project.to_string();
        let provider = filter.provider.map(super::Provider::name);
        let delegation = filter.delegation.map(|id| id.to_string());
        let values: [&(dyn ToSql + Sync); 9] = [
            &project,
            &filter.from_ms,
            &filter.to_ms,
            &provider,
            &model,
            &begin,
            &filter.room,
            &filter.user,
            &delegation,
        ];
        Ok(client.query(&statement, &values).await.map_err(failed)?)
    }
}

fn sums(row: &Row, first: usize) -> Sums {
    let mut columns = [0; 8];
    for (n, column) in columns.iter_mut().enumerate() {
        *column = row.get(first + n);
    }
    Sums::of_columns(columns)
}

#[async_trait]
impl UsageStore for PostgresUsage {
    async fn add(&self, rows: Vec<(Account, Sums)>) -> Result<(), UsageError> {
        let mut client = self.store.client().await?;
        let failed = |error| self.store.error(&error);
        let statement = client.prepare_cached(ADD).await.map_err(failed)?;
        let transaction = client.transaction().await.map_err(failed)?;
        for (account, sums) in &rows {
            let columns = sums.columns();
            let (project, provider) = (account.project.to_string(), account.provider.name());
            let delegation = account.delegation.map(|id| id.to_string()).unwrap_or_default();
            let annotations = annotations_text(&account.annotations);
            let mut values: Vec<&(dyn ToSql + Sync)> = vec![
                &project,
                &account.hour_ms,
                &provider,
                &account.model,
                &account.room,
                &account.user,
                &delegation,
                &annotations,
            ];
            values.extend(columns.iter().map(|column| -> &(dyn ToSql + Sync) { column }));
            transaction.execute(&statement, &values).await.map_err(failed)?;
        }
        Ok(transaction.commit().await.map_err(failed)?)
    }

    async fn rows(&self, filter: &Filter, span_ms: i64) -> Result<Vec<(Account, Sums)>, UsageError> {
        let sql = format!(
            "SELECT (hour_ms / {span_ms}) * {span_ms} AS span, provider, model, room, participant, delegation, annotations, \
             {SUMS} FROM llm_usage WHERE {WHERE} GROUP BY span, provider, model, room, participant, delegation, annotations \
             ORDER BY span, provider, model, room, participant, delegation, annotations LIMIT {}",
            ROWS_MAX + 1
        );
        let rows = self.ask(&sql, filter).await?;
        if rows.len() > ROWS_MAX {
            return Err(UsageError::Many);
        }
        let read = |row: &Row| {
            let columns = Columns {
                span_start_ms: row.get(0),
                provider: row.get(1),
                model: row.get(2),
                room: row.get(3),
                user: row.get(4),
                delegation: row.get(5),
                annotations: row.get(6),
            };
            (columns.account(filter.project), sums(row, 7))
        };
        Ok(rows.iter().map(read).collect())
    }

    async fn sum(&self, filter: &Filter) -> Result<Sums, UsageError> {
        let rows = self.ask(&format!("SELECT {SUMS} FROM llm_usage WHERE {WHERE}"), filter).await?;
        Ok(rows.first().map(|row| sums(row, 0)).unwrap_or_default())
    }

    async fn forget(&self, before_ms: i64) -> Result<u64, UsageError> {
        let client = self.store.client().await?;
        let gone = client.execute("DELETE FROM llm_usage WHERE hour_ms < $1", &[&before_ms]).await;
        Ok(gone.map_err(|error| self.store.error(&error))?)
    }
}

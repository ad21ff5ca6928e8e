//! Usage in the server's SQLite database.

use super::{Account, Columns, Filter, ROWS_MAX, Sums, UsageError, UsageStore, annotations_text};
use crate::store::sqlite::Sqlite;
use async_trait::async_trait;
use rusqlite::{Connection, Row, named_params, params};
use std::sync::Arc;

/// Usage in SQLite.
#[derive(Debug)]
pub struct SqliteUsage {
    database: Arc<Sqlite>,
}

/// Which rows; every question binds all of these.
const WHERE: &str = "project = :project AND hour_ms >= :from AND hour_ms < :to \
    AND (:provider IS NULL OR provider = :provider) AND (:model IS NULL OR model = :model) \
    AND substr(model, 1, length(:begin)) = :begin AND (:room IS NULL OR room = :room) \
    AND (:user IS NULL OR participant = :user) AND (:delegation IS NULL OR delegation = :delegation)";
const SUMS: &str = "coalesce(sum(requests), 0), coalesce(sum(estimated), 0), coalesce(sum(input_tokens), 0), \
    coalesce(sum(cached_tokens), 0), coalesce(sum(cache_write_tokens), 0), coalesce(sum(output_tokens), 0), \
    coalesce(sum(reasoning_tokens), 0), coalesce(sum(cost_nanos), 0)";

impl SqliteUsage {
    #[must_use]
    pub fn new(database: Arc<Sqlite>) -> Self {
        Self { database }
    }
}

fn add(c: &Connection, rows: &[(Account, Sums)]) -> Result<(), UsageError> {
    let sql = "INSERT INTO llm_usage (project, hour_ms, provider, model, room, participant, delegation, annotations, \
               requests, estimated, input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens, \
               cost_nanos) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) \
               ON CONFLICT DO UPDATE SET requests = requests + ?9, estimated = estimated + ?10, \
               input_tokens = input_tokens + ?11, cached_tokens = cached_tokens + ?12, \
               cache_write_tokens = cache_write_tokens + ?13, output_tokens = output_tokens + ?14, \
               reasoning_tokens = reasoning_tokens + ?15, cost_nanos = cost_nanos + ?16";
    let mut statement = c.prepare_cached(sql)?;
    for (account, sums) in rows {
        let [requests, estimated, input, cached, written, output, reasoning, cost] = sums.columns();
        statement.execute(params![
            account.project.to_string(),
            account.hour_ms,
            account.provider.name(),
            account.model,
            account.room,
            account.user,
            account.delegation.map(|id| id.to_string()).unwrap_or_default(),
            annotations_text(&account.annotations),
            requests,
            estimated,
            input,
            cached,
            written,
            output,
            reasoning,
            cost,
        ])?;
    }
    Ok(())
}

fn sums(row: &Row<'_>, first: usize) -> rusqlite::Result<Sums> {
    let mut columns = [0; 8];
    for (n, column) in columns.iter_mut().enumerate() {
        *column = row.get(first + n)?;
    }
    Ok(Sums::of_columns(columns))
}

/// Runs a question about `filter`; `read` gets each row.
fn ask<T>(
    c: &Connection,
    sql: &str,
    filter: &Filter,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, UsageError> {
    let (model, begin) = filter.model_columns();
    let values = named_params! {
        ":project": filter.project.to_string(),
        ":from": filter.from_ms,
        ":to": filter.to_ms,
        ":provider": filter.provider.map(super::Provider::name),
        ":model": model,
        ":begin": begin,
        ":room": filter.room,
        ":user": filter.user,
        ":delegation": filter.delegation.map(|id| id.to_string()),
    };
    let mut statement = c.prepare_cached(sql)?;
    Ok(statement.query_map(values, read)?.collect::<Result<Vec<_>, _>>()?)
}

#[async_trait]
impl UsageStore for SqliteUsage {
    async fn add(&self, rows: Vec<(Account, Sums)>) -> Result<(), UsageError> {
        self.database.write(move |c| add(c, &rows)).await
    }

    async fn rows(&self, filter: &Filter, span_ms: i64) -> Result<Vec<(Account, Sums)>, UsageError> {
        let own = filter.clone();
        let sql = format!(
            "SELECT (hour_ms / {span_ms}) * {span_ms} AS span, provider, model, room, participant, delegation, annotations, \
             {SUMS} FROM llm_usage WHERE {WHERE} GROUP BY span, provider, model, room, participant, delegation, annotations \
             ORDER BY span, provider, model, room, participant, delegation, annotations LIMIT {}",
            ROWS_MAX + 1
        );
        let read = |filter: &Filter, row: &Row<'_>| {
            let columns = Columns {
                span_start_ms: row.get(0)?,
                provider: row.get(1)?,
                model: row.get(2)?,
                room: row.get(3)?,
                user: row.get(4)?,
                delegation: row.get(5)?,
                annotations: row.get(6)?,
            };
            Ok((columns.account(filter.project), sums(row, 7)?))
        };
        let job = move |c: &Connection| ask(c, &sql, &own, |row| read(&own, row));
        let rows: Vec<(Account, Sums)> = self.database.read(job).await?;
        if rows.len() > ROWS_MAX { Err(UsageError::Many) } else { Ok(rows) }
    }

    async fn sum(&self, filter: &Filter) -> Result<Sums, UsageError> {
        let own = filter.clone();
        let sql = format!("SELECT {SUMS} FROM llm_usage WHERE {WHERE}");
        let job = move |c: &Connection| ask(c, &sql, &own, |row| sums(row, 0));
        let rows: Vec<Sums> = self.database.read(job).await?;
        Ok(rows.first().copied().unwrap_or_default())
    }

    async fn forget(&self, before_ms: i64) -> Result<u64, UsageError> {
        let job = move |c: &Connection| {
            let gone = c.prepare_cached("DELETE FROM llm_usage WHERE hour_ms < ?1")?.execute([before_ms])?;
            Ok(gone as u64)
        };
        self.database.write(job).await
    }
}

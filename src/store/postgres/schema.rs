//! The schema of a Postgres database, brought up to date by one server at a time.

use super::{StoreError, statement_error};
use crate::store::migrations::{MIGRATIONS, SCHEMA_VERSION};
use tokio_postgres::{Client, Error};

/// Servers that start together migrate one after the other. The number is arbitrary, and ours.
const MIGRATION_LOCK: i64 = 0x6d65_7368_0001;

/// Reads the settings: an acknowledgement must mean that the data is on the disk.
pub(super) async fn assert_durable(client: &Client) -> Result<Result<(), String>, Error> {
    let row = client
        .query_one("SELECT current_setting('synchronous_commit'), current_setting('fsync')", &[])
        .await?;
    let (commit, fsync): (&str, &str) = (row.get(0), row.get(1));
    if commit == "off" {
        return Ok(Err(
            "it acknowledges before it writes; set synchronous_commit = on for this user".to_owned()
        ));
    }
    if fsync != "on" {
        tracing::warn!(
            "the Postgres server runs with fsync = off: a power failure may lose or damage everything"
        );
    }
    Ok(Ok(()))
}

pub(super) async fn migrate(client: &mut Client, place: &str) -> Result<(), StoreError> {
    let found = steps(client).await.map_err(|e| statement_error(place, &e))?;
    if found > SCHEMA_VERSION {
        return Err(StoreError::Newer { place: place.to_owned(), found, known: SCHEMA_VERSION });
    }
    Ok(())
}

/// Takes the steps that are missing, all or none; gives the version found before.
async fn steps(client: &mut Client) -> Result<i64, Error> {
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK]).await?;
    transaction
        .batch_execute("CREATE TABLE IF NOT EXISTS meshagent_schema (version bigint NOT NULL)")
        .await?;
    let row = transaction.query_one("SELECT coalesce(max(version), 0) FROM meshagent_schema", &[]).await?;
    let found: i64 = row.get(0);
    for migration in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.batch_execute(migration.postgres).await?;
        tracing::info!(migration = migration.name, "database schema brought up to date");
    }
    if found < SCHEMA_VERSION {
        transaction.execute("INSERT INTO meshagent_schema VALUES ($1)", &[&SCHEMA_VERSION]).await?;
    }
    transaction.commit().await?;
    Ok(found)
}

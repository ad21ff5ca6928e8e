//! Postgres as a peer: a plain table with the constraints that our log has, written by hand.

use super::{Contestant, ReplayFigure, Writer};
use crate::bench::BenchError;
use crate::bench::measure::Cpu;
use crate::clock::{IdSource, System};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Mutex;
use tokio_postgres::{Client, NoTls, Statement};
use uuid::Uuid;

/// Most connections; more writers share them.
const CONNECTIONS_MAX: usize = 64;
/// Rows of one page of the replay.
const PAGE: i64 = 4096;

const TABLE: &str = "CREATE TABLE peer_events (
  position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_id uuid NOT NULL UNIQUE, stream text NOT NULL,
  version bigint NOT NULL, type text NOT NULL, data jsonb NOT NULL, metadata jsonb NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(), UNIQUE (stream, version))";
const METADATA: &str = r#"{"project":"00000000-0000-0000-0000-000000000000","actor":"user:bench","correlation":"00000000-0000-0000-0000-000000000000"}"#;

/// A database made for this run.
pub(super) struct Database {
    admin: Client,
    name: String,
    pub url: String,
}

fn failed(error: &tokio_postgres::Error) -> BenchError {
    let reason = error.as_db_error().map_or_else(|| error.to_string(), |e| e.message().to_owned());
    BenchError::Failed { name: "postgres".to_owned(), reason }
}

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // Ends with its client.
    tokio::spawn(connection);
    Ok(client)
}

impl Database {
    pub(super) async fn create(url: &str) -> Result<Self, BenchError> {
        let admin = connect(url).await.map_err(|e| failed(&e))?;
        let name = format!("meshagent_bench_{}", System.fresh().simple());
        admin.batch_execute(&format!("CREATE DATABASE {name}")).await.map_err(|e| failed(&e))?;
        let url = with_database(url, &name);
        let client = connect(&url).await.map_err(|e| failed(&e))?;
        client.batch_execute(TABLE).await.map_err(|e| failed(&e))?;
        Ok(Self { admin, name, url })
    }

    /// The table, written with so many rows per statement.
    pub(super) fn table(&self, batch: usize) -> impl Contestant + use<> {
        Table { url: self.url.clone(), batch, connections: Mutex::default() }
    }

    /// Reads every row of the table, a page at a time.
    pub(super) async fn replay(&self) -> Result<ReplayFigure, BenchError> {
        let failed = |e| failed(&e);
        let client = connect(&self.url).await.map_err(failed)?;
        let sql = "SELECT position, event_id, stream, version, type, data::text, metadata::text, recorded_at \
                   FROM peer_events WHERE position > $1 ORDER BY position LIMIT $2";
        let statement = client.prepare(sql).await.map_err(failed)?;
        let (begun, cpu) = (Instant::now(), Cpu::now());
        let (mut after, mut events, mut payload_bytes) = (0_i64, 0, 0);
        loop {
            let page = client.query(&statement, &[&after, &PAGE]).await.map_err(failed)?;
            let Some(last) = page.last() else { break };
            after = last.get(0);
            events += page.len() as u64;
            payload_bytes += page.iter().map(|row| row.get::<_, &str>(5).len() as u64).sum::<u64>();
        }
        let (seconds, cpu) = (begun.elapsed().as_secs_f64(), Cpu::now().since(cpu));
        Ok(ReplayFigure::new("postgres cursor", events, payload_bytes, seconds, cpu))
    }

    pub(super) async fn remove(self) -> Result<(), BenchError> {
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        self.admin.batch_execute(&sql).await.map_err(|e| failed(&e))
    }
}

/// The same server, another database; in either form of a URL.
fn with_database(url: &str, name: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut parsed) if !parsed.cannot_be_a_base() => {
            parsed.set_path(name);
            parsed.to_string()
        }
        _ => format!("{url} dbname={name}"),
    }
}

struct Table {
    url: String,
    batch: usize,
    connections: Mutex<Vec<Arc<Connection>>>,
}

struct Connection {
    client: Client,
    insert: Statement,
    insert_many: Statement,
}

#[async_trait]
impl Contestant for Table {
    fn name(&self) -> String {
        if self.batch == 1 { "postgres table, insert" } else { "postgres table, insert unnest" }.to_owned()
    }

    fn batch(&self) -> usize {
        self.batch
    }

    async fn writer(&self) -> Result<Box<dyn Writer>, String> {
        let mut connections = self.connections.lock().await;
        // Writers of one measurement take the connections in turn.
        let connection = if connections.len() < CONNECTIONS_MAX {
            Arc::new(open(&self.url).await.map_err(|e| e.to_string())?)
        } else {
            connections.remove(0)
        };
        connections.push(Arc::clone(&connection));
        Ok(Box::new(TableWriter { connection, stream: format!("room-{}", System.fresh()), version: 0 }))
    }
}

async fn open(url: &str) -> Result<Connection, tokio_postgres::Error> {
    let client = connect(url).await?;
    let insert = "INSERT INTO peer_events (event_id, stream, version, type, data, metadata) \
                  VALUES ($1, $2, $3, $4, $5::text::jsonb, $6::text::jsonb)";
    let insert_many = "INSERT INTO peer_events (event_id, stream, version, type, data, metadata) \
                       SELECT i, $2, v, $4, d::jsonb, $6::text::jsonb \
                       FROM unnest($1::uuid[], $3::bigint[], $5::text[]) AS e(i, v, d)";
    let (insert, insert_many) = (client.prepare(insert).await?, client.prepare(insert_many).await?);
    Ok(Connection { client, insert, insert_many })
}

struct TableWriter {
    connection: Arc<Connection>,
    stream: String,
    version: i64,
}

#[async_trait]
impl Writer for TableWriter {
    async fn append(&mut self, payload: &str, events: usize) -> Result<(), String> {
        let Connection { client, insert, insert_many } = &*self.connection;
        let first = self.version + 1;
        self.version += i64::try_from(events).unwrap_or(i64::MAX);
        let (stream, kind) = (&self.stream, "room.changed");
        let done = if events == 1 {
            client.execute(insert, &[&System.fresh(), stream, &first, &kind, &payload, &METADATA]).await
        } else {
            let ids: Vec<Uuid> = (0..events).map(|_| System.fresh()).collect();
            let versions: Vec<i64> = (first..=self.version).collect();
            let data = vec![payload; events];
            client.execute(insert_many, &[&ids, stream, &versions, &kind, &data, &METADATA]).await
        };
        done.map(drop).map_err(|e| e.to_string())
    }
}

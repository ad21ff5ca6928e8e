//! Our engines as contestants.

use super::{Contestant, Options, ReplayFigure, Writer};
use crate::bench::BenchError;
use crate::bench::measure::Cpu;
use crate::clock::{IdSource, System};
use crate::eventlog::postgres::PostgresLog;
use crate::eventlog::sqlite::SqliteLog;
use crate::eventlog::{EventLog, Expected, Filter, Metadata, NewEvent, PAGE_EVENTS_MAX, StreamWrite};
use crate::id::{Position, ProjectId, StreamId};
use crate::store::postgres::Postgres as Pool;
use crate::store::sqlite::Sqlite as File;
use async_trait::async_trait;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Events per append when a log is filled, and streams they go to.
const FILL_EVENTS: u64 = 1000;
const FILL_STREAMS: u64 = 97;

/// A log of ours, with so many events per append.
#[derive(Clone)]
struct Ours {
    name: &'static str,
    batch: usize,
    log: Arc<dyn EventLog>,
}

#[async_trait]
impl Contestant for Ours {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn batch(&self) -> usize {
        self.batch
    }

    async fn writer(&self) -> Result<Box<dyn Writer>, String> {
        let stream = StreamId::new("room", System.fresh());
        Ok(Box::new(OurWriter { log: Arc::clone(&self.log), stream, version: 0 }))
    }
}

struct OurWriter {
    log: Arc<dyn EventLog>,
    stream: StreamId,
    version: u64,
}

#[async_trait]
impl Writer for OurWriter {
    async fn append(&mut self, payload: &str, events: usize) -> Result<(), String> {
        let expected = Expected::Exact(self.version);
        let events: Vec<_> = (0..events).map(|_| event("room.changed", payload.to_owned())).collect();
        self.version += events.len() as u64;
        let write = StreamWrite { stream: self.stream.clone(), expected, events };
        self.log.append(vec![write]).await.map(drop).map_err(|e| e.to_string())
    }
}

fn event(kind: &str, data: String) -> NewEvent {
    let metadata = Metadata {
        project: Some(ProjectId::PLATFORM),
        actor: "user:bench".to_owned(),
        correlation: Some(uuid::Uuid::nil()),
        ..Metadata::default()
    };
    NewEvent { event_id: System.fresh(), kind: kind.to_owned(), schema_version: 1, data, metadata }
}

/// The log on a file.
pub(super) struct Sqlite {
    file: Arc<File>,
    log: Arc<dyn EventLog>,
}

const SQLITE: &str = "meshagent sqlite";
const POSTGRES: &str = "meshagent postgres";

impl Sqlite {
    pub(super) async fn open(dir: &Path) -> Result<Self, BenchError> {
        let failed = |reason: String| BenchError::Failed { name: SQLITE.to_owned(), reason };
        let file = Arc::new(File::open(dir).map_err(|e| failed(e.to_string()))?);
        let log =
            SqliteLog::open(Arc::clone(&file), Arc::new(System)).await.map_err(|e| failed(e.to_string()))?;
        Ok(Self { file, log: Arc::new(log) })
    }

    pub(super) fn with_batch(&self, batch: usize) -> impl Contestant + use<> {
        Ours { name: SQLITE, batch, log: Arc::clone(&self.log) }
    }

    /// Mixed events, for the replay.
    pub(super) async fn fill(&self, options: &Options) -> Result<(), BenchError> {
        let failed = |reason: String| BenchError::Failed { name: SQLITE.to_owned(), reason };
        let kinds = ["room.created", "room.changed", "service.started", "task.fired", "session.ended"];
        for n in 0..options.replay_events.div_ceil(FILL_EVENTS) {
            let stream = StreamId::new("room", n % FILL_STREAMS);
            let made = (0..FILL_EVENTS).zip(kinds.iter().cycle()).map(|(m, kind)| {
                let size = options.payload_bytes / 2 + usize::try_from(m % 7).unwrap_or_default() * 32;
                event(kind, format!("{{\"n\":{m},\"text\":\"{}\"}}", "x".repeat(size)))
            });
            let write = StreamWrite { stream, expected: Expected::Any, events: made.collect() };
            self.log.append(vec![write]).await.map_err(|e| failed(e.to_string()))?;
        }
        Ok(())
    }

    pub(super) async fn replay(&self) -> Result<ReplayFigure, BenchError> {
        replay(SQLITE, &*self.log).await
    }

    pub(super) async fn close(&self) {
        self.file.close().await;
    }
}

/// The log on a Postgres database.
pub(super) struct Postgres {
    log: Arc<dyn EventLog>,
}

impl Postgres {
    pub(super) async fn open(url: &str) -> Result<Self, BenchError> {
        let failed = |reason: String| BenchError::Failed { name: POSTGRES.to_owned(), reason };
        let pool = Arc::new(Pool::open(url).await.map_err(|e| failed(e.to_string()))?);
        let log = PostgresLog::open(pool, Arc::new(System)).await.map_err(|e| failed(e.to_string()))?;
        Ok(Self { log: Arc::new(log) })
    }

    pub(super) fn with_batch(&self, batch: usize) -> impl Contestant + use<> {
        Ours { name: POSTGRES, batch, log: Arc::clone(&self.log) }
    }

    pub(super) async fn replay(&self) -> Result<ReplayFigure, BenchError> {
        replay(POSTGRES, &*self.log).await
    }
}

/// Reads and decodes everything, as a projection that is rebuilt does.
async fn replay(name: &str, log: &dyn EventLog) -> Result<ReplayFigure, BenchError> {
    let failed = |reason: String| BenchError::Failed { name: name.to_owned(), reason };
    let (begun, cpu) = (Instant::now(), Cpu::now());
    let (mut after, mut events, mut payload_bytes) = (Position(0), 0, 0);
    loop {
        let page =
            log.read(after, &Filter::all(), PAGE_EVENTS_MAX).await.map_err(|e| failed(e.to_string()))?;
        let Some(last) = page.last() else { break };
        after = last.position;
        events += page.len() as u64;
        payload_bytes += page.iter().map(|event| event.data.len() as u64).sum::<u64>();
    }
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), Cpu::now().since(cpu));
    Ok(ReplayFigure::new(name, events, payload_bytes, seconds, cpu))
}

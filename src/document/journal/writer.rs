//! The thread that owns a room's database.

use super::{BATCH_MAX, Done, Entry, JournalError, Task, rows};
use rusqlite::Connection;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;

/// Stack of the thread, bytes.
const STACK_BYTES: usize = 512 * 1024;
/// Pages kept in memory, KiB.
const CACHE_KIB: i64 = 1024;
/// `PRAGMA synchronous` as read back: 2 is FULL.
const SYNCHRONOUS_FULL: i64 = 2;
const STATEMENTS_MAX: usize = 16;
/// How long another process, such as a backup, may hold the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Commits whose callers were not called back yet, before the thread waits.
const UNCALLED_MAX: usize = 4;

/// What one commit was for, and how it went.
type Group = (Vec<Done>, Result<(), JournalError>);

/// Must be called within a runtime. Callers are called back by one task of it, a commit at a time: they wake the tasks
/// of sockets, which from a thread outside would be one system call each.
pub(super) fn start(path: &Path, queue: mpsc::Receiver<Entry>) -> Result<(), JournalError> {
    let connection = open(path)?;
    let (written, groups) = mpsc::channel(UNCALLED_MAX);
    let thread = std::thread::Builder::new().name("documents".to_owned()).stack_size(STACK_BYTES);
    let thread = thread.spawn(move || run(&connection, queue, &written));
    thread.map_err(|error| JournalError::Failed(error.to_string()))?;
    tokio::spawn(call_back(groups));
    Ok(())
}

async fn call_back(mut groups: mpsc::Receiver<Group>) {
    while let Some((called, outcome)) = groups.recv().await {
        for done in called {
            done(outcome.clone());
        }
    }
}

fn open(path: &Path) -> Result<Connection, JournalError> {
    let io = |error: std::io::Error| JournalError::Failed(error.to_string());
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    }
    // Made here so that only the owner can read it; SQLite gives its other files the same mode.
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(io)?;
    let connection = Connection::open(path)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    if mode != "wal" || synchronous != SYNCHRONOUS_FULL {
        let text = format!(
            "{} is not on a file system with a durable write-ahead log (journal_mode={mode}); put the data \
             directory on a local disk",
            path.display()
        );
        return Err(JournalError::Failed(text));
    }
    rows::prepare(&connection)?;
    Ok(connection)
}

/// Ends when it is told to, or nobody is left to hand something in.
fn run(connection: &Connection, mut queue: mpsc::Receiver<Entry>, written: &mpsc::Sender<Group>) {
    let mut broken = None;
    while let Some(first) = queue.blocking_recv() {
        let mut closing = matches!(first.task, Task::Close);
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX && !closing {
            let Ok(entry) = queue.try_recv() else { break };
            closing = matches!(entry.task, Task::Close);
            batch.push(entry);
        }
        let mut called: Vec<Done> = Vec::with_capacity(batch.len());
        let outcome = match &broken {
            Some(error) => {
                called.extend(batch.into_iter().map(|entry| entry.done));
                Err(JournalError::clone(error))
            }
            None => write(connection, batch, &mut called),
        };
        if let Err(error) = &outcome {
            tracing::error!(%error, "documents could not be written");
            // After a failed sync nobody knows what the disk holds: nothing more is promised.
            if matches!(error, JournalError::Disk(_)) {
                broken = Some(error.clone());
            }
        }
        // Refused only where the runtime is gone, and with it all who wait.
        if written.blocking_send((called, outcome)).is_err() || closing {
            return;
        }
    }
}

/// Does all of it in one transaction, or none of it.
fn write(connection: &Connection, batch: Vec<Entry>, called: &mut Vec<Done>) -> Result<(), JournalError> {
    let mut outcome = Ok(());
    let mut begun = false;
    for Entry { task, done } in batch {
        called.push(done);
        let Task::Do(work) = task else { continue };
        if outcome.is_err() {
            continue;
        }
        if !begun {
            outcome = execute(connection, "BEGIN IMMEDIATE");
            begun = true;
        }
        if outcome.is_ok() {
            outcome = work(connection);
        }
    }
    if begun && outcome.is_ok() {
        outcome = execute(connection, "COMMIT");
    }
    if outcome.is_err() && !connection.is_autocommit() {
        let _ = execute(connection, "ROLLBACK");
    }
    outcome.map_err(JournalError::from)
}

fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute(()).map(drop)
}

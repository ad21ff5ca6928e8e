//! What only the SQLite engine can show: the file, the directory's lock, damage, a panicking job.

use super::{clock, write};
use meshagent::eventlog::sqlite::SqliteLog;
use meshagent::eventlog::{AppendError, EventLog, Expected, Filter};
use meshagent::id::Position;
use meshagent::store::StoreError;
use meshagent::store::sqlite::{DATABASE_FILE, Sqlite};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

async fn open(dir: &Path) -> (Arc<Sqlite>, SqliteLog) {
    let store = Arc::new(Sqlite::open(dir).unwrap());
    let log = SqliteLog::open(Arc::clone(&store), clock()).await.unwrap();
    (store, log)
}

/// Runs a statement on the closed file, as a user with the `sqlite3` tool would.
fn with_tool(dir: &Path, sql: &str) {
    rusqlite::Connection::open(dir.join(DATABASE_FILE)).unwrap().execute_batch(sql).unwrap();
}

#[tokio::test]
async fn a_reopened_log_goes_on_where_it_was() {
    let dir = TempDir::new().unwrap();
    let (store, log) = open(dir.path()).await;
    let first = log.append(vec![write("room-a", Expected::Any, [1, 2])]).await.unwrap();
    store.close().await;
    let closed = log.append(vec![write("room-a", Expected::Any, [3])]).await.unwrap_err();
    assert!(closed.to_string().contains("it was closed"), "{closed}");
    let (_store, log) = open(dir.path()).await;
    assert_eq!(log.head().await.unwrap(), Position(2));
    assert_eq!(log.read(Position(0), &Filter::all(), 10).await.unwrap(), first.events);
    log.append(vec![write("room-a", Expected::Exact(2), [3])]).await.unwrap();
    assert!(log.verify().await.unwrap().is_sound());
}

#[tokio::test]
async fn a_second_server_on_one_directory_is_refused() {
    let dir = TempDir::new().unwrap();
    let (store, _log) = open(dir.path()).await;
    let error = Sqlite::open(dir.path()).unwrap_err();
    let pid = std::process::id().to_string();
    assert_eq!(error, StoreError::InUse { dir: dir.path().display().to_string(), pid });
    assert!(error.to_string().contains("in use by another server"), "{error}");
    store.close().await;
    Sqlite::open(dir.path()).unwrap();
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let dir = TempDir::new().unwrap();
    Sqlite::open(dir.path()).unwrap().close().await;
    with_tool(dir.path(), "PRAGMA user_version = 999");
    let error = Sqlite::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 999, .. }), "{error}");
    assert!(error.to_string().contains("newer version (schema 999"), "{error}");
}

#[tokio::test]
async fn what_is_not_a_database_is_refused() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join(DATABASE_FILE), "not a database, certainly".repeat(100)).unwrap();
    let error = Sqlite::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    let dir = TempDir::new().unwrap();
    let (_store, log) = open(&dir.path().join("data")).await;
    log.append(vec![write("room-a", Expected::Any, [1])]).await.unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(dir.path().join("data")).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
        files += 1;
    }
    assert_eq!(files, 4, "database, log, index of the log, lock");
}

#[tokio::test]
async fn a_job_that_panics_or_fails_harms_no_other() {
    let dir = TempDir::new().unwrap();
    let (store, log) = open(dir.path()).await;
    let panics = store.write::<(), StoreError, _>(|c| {
        c.execute("INSERT INTO snapshots VALUES ('lost', 1, 1, x'00', 0)", ())?;
        panic!("a defect in a job")
    });
    let fails = store.write::<(), StoreError, _>(|c| {
        c.execute("INSERT INTO snapshots VALUES ('lost too', 1, 1, x'00', 0)", ())?;
        Err(c.execute("no statement", ()).unwrap_err().into())
    });
    let good = log.append(vec![write("room-a", Expected::Any, [1])]);
    let (panicked, failed, good) = tokio::join!(panics, fails, good);
    assert!(panicked.unwrap_err().to_string().contains("broken off"));
    assert!(matches!(failed, Err(StoreError::Statement { .. })));
    good.unwrap();
    let kept = |c: &rusqlite::Connection| {
        Ok::<i64, StoreError>(c.query_row("SELECT count(*) FROM snapshots", (), |r| r.get(0))?)
    };
    assert_eq!(store.read(kept).await.unwrap(), 0);
}

#[tokio::test]
async fn facts_cannot_be_changed_with_a_tool() {
    let dir = TempDir::new().unwrap();
    let (store, log) = open(dir.path()).await;
    log.append(vec![write("room-a", Expected::Any, [1])]).await.unwrap();
    for sql in ["UPDATE events SET data = '{}'", "DELETE FROM events"] {
        let error = store.write::<usize, StoreError, _>(|c| Ok(c.execute(sql, ())?)).await.unwrap_err();
        assert!(error.to_string().contains("events are never"), "{error}");
    }
    let error = store.read::<usize, StoreError, _>(|c| Ok(c.execute("DROP TABLE events", ())?)).await;
    assert!(error.is_err(), "a reader cannot write");
}

/// Whatever four bytes of the file are overwritten: the damage is reported, or nothing that is read differs.
#[tokio::test]
async fn damage_anywhere_in_the_file_is_found() {
    let dir = TempDir::new().unwrap();
    let (store, log) = open(dir.path()).await;
    for n in 0..60 {
        log.append(vec![write(&format!("room-{}", n % 7), Expected::Any, [n * 2 + 1, n * 2 + 2])])
            .await
            .unwrap();
    }
    let sound = log.read(Position(0), &Filter::all(), 1000).await.unwrap();
    store.close().await;
    drop((store, log));
    let file = std::fs::read(dir.path().join(DATABASE_FILE)).unwrap();
    let (mut detected, mut harmless) = (0, 0);
    // A prime step visits every page at different places.
    for at in (0..file.len()).step_by(211) {
        let mut damaged = file.clone();
        damaged[at] ^= 0x55;
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join(DATABASE_FILE), damaged).unwrap();
        if found(dir.path(), &sound).await { detected += 1 } else { harmless += 1 }
    }
    // The empty tables of the other stores take about three quarters of the pages.
    assert!(detected > file.len() / 211 / 5, "{detected} detected, {harmless} harmless");
}

/// Whether the damage is reported; panics where the log reads differently in silence.
async fn found(dir: &Path, sound: &[meshagent::eventlog::Recorded]) -> bool {
    let Ok(store) = Sqlite::open(dir) else { return true };
    let store = Arc::new(store);
    let Ok(log) = SqliteLog::open(Arc::clone(&store), clock()).await else { return true };
    let report = log.verify().await.unwrap();
    let read = log.read(Position(0), &Filter::all(), 1000).await;
    store.close().await;
    if !report.is_sound() {
        return true;
    }
    assert_eq!(read.unwrap(), sound, "verification said that all is well");
    assert_eq!(report.events, sound.len() as u64);
    false
}

/// A damaged page does not read as if it were empty.
#[tokio::test]
async fn a_damaged_event_is_an_error_to_its_reader() {
    let dir = TempDir::new().unwrap();
    let (store, log) = open(dir.path()).await;
    log.append(vec![write("room-a", Expected::Any, 1..=3)]).await.unwrap();
    store.close().await;
    with_tool(
        dir.path(),
        "DROP TRIGGER events_are_never_changed; UPDATE events SET type = 'a.lie' WHERE position = 2",
    );
    let (_store, log) = open(dir.path()).await;
    let error = log.read(Position(0), &Filter::all(), 10).await.unwrap_err();
    assert!(error.to_string().contains("event 2 is damaged"), "{error}");
    assert_eq!(log.read(Position(2), &Filter::all(), 10).await.unwrap().len(), 1, "the others can be read");
    let report = log.verify().await.unwrap();
    assert_eq!((report.events, report.problems_total), (3, 2), "{:?}", report.problems);
    let again = log.append(vec![write("room-a", Expected::Any, [1, 2, 3])]).await.unwrap_err();
    assert!(matches!(again, AppendError::Unavailable { .. } | AppendError::Damaged { .. }), "{again}");
}

async fn set_pages_max(store: &Sqlite, pages: i64) {
    let set = move |c: &rusqlite::Connection| {
        c.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).map_err(StoreError::from)
    };
    store.write(set).await.unwrap();
}

/// The file may not grow: SQLite reports that as it does a full disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_reads_go_on_and_writes_come_back() {
    let dir = TempDir::new().unwrap();
    let (store, log) = open(dir.path()).await;
    set_pages_max(&store, 40).await;
    let mut written = 0_u64;
    let mut id = 0;
    let full = loop {
        // Several at one time, so that good and refused ones share a transaction.
        id += 8;
        let append = |n: u128| log.append(vec![write("room-a", Expected::Any, [id + n])]);
        let results = futures_util::future::join_all((0..8).map(append)).await;
        written += results.iter().filter(|result| result.is_ok()).count() as u64;
        if let Some(error) = results.into_iter().find_map(Result::err) {
            break error;
        }
    };
    let said = full.to_string();
    assert!(matches!(full, AppendError::Full { .. } | AppendError::Unavailable { .. }), "{said}");
    let alone = loop {
        id += 8;
        match log.append(vec![write("room-b", Expected::Any, [id])]).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(alone, AppendError::Full { .. }), "{alone}");
    assert!(
        alone.to_string().contains("the disk is full") && alone.to_string().contains("no restart"),
        "{alone}"
    );
    assert_eq!(log.head().await.unwrap(), Position(written));
    assert_eq!(log.read(Position(0), &Filter::all(), 4096).await.unwrap().len() as u64, written);
    set_pages_max(&store, 100_000).await;
    log.append(vec![write("room-b", Expected::Any, [1_000_000])]).await.unwrap();
    let report = log.verify().await.unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
    assert_eq!(report.events, written + 1);
}

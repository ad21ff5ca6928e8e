//! A private Postgres for this test process: started with the first test that asks, stopped and removed when the
//! process ends, however it ends.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio_postgres::NoTls;

/// Postgres refuses to run as root; then it runs as `nobody`.
const NOBODY: u32 = 65_534;

pub struct Server {
    socket_dir: PathBuf,
    bin: PathBuf,
    /// Its standard input stays open as long as this process lives; its end stops the server.
    _watchdog: Child,
}

/// URL of a fresh, empty database. `None`, said aloud, where Postgres is not installed; under `CI=true` that fails.
pub async fn database() -> Option<String> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    static DATABASES: AtomicU32 = AtomicU32::new(1);
    let server = tokio::task::spawn_blocking(|| SERVER.get_or_init(start)).await.unwrap();
    let Some(server) = server else {
        println!(
            "SKIPPED: this test needs Postgres; install it (initdb and pg_ctl in PATH or in /usr/lib/postgresql)"
        );
        return None;
    };
    let number = DATABASES.fetch_add(1, Ordering::Relaxed);
    let (client, connection) = tokio_postgres::connect(&server.url("postgres"), NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(&format!("CREATE DATABASE test_{number}")).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
    Some(server.url(&format!("test_{number}")))
}

/// [`database`] for tests that are not async.
pub fn blocking_database() -> Option<String> {
    tokio::runtime::Runtime::new().unwrap().block_on(database())
}

/// A server for one test alone, which may crash it.
pub async fn server() -> Option<Server> {
    tokio::task::spawn_blocking(start).await.unwrap()
}

impl Server {
    /// Kills it without a word to anybody, and starts it again.
    pub fn crash(&self) {
        let mut restart = Command::new(self.bin.join("pg_ctl"));
        restart
            .args(["-D", "data", "-m", "immediate", "-w", "-l", "server.log", "restart"])
            .stdout(Stdio::null());
        let done = as_nobody(&mut restart).current_dir(&self.socket_dir).status().unwrap();
        assert!(done.success());
    }

    pub fn url(&self, database: &str) -> String {
        format!("host={} user=meshagent dbname={database}", self.socket_dir.display())
    }
}

fn start() -> Option<Server> {
    let Some(bin) = binaries() else {
        #[allow(clippy::disallowed_methods, reason = "the variable that every CI service sets")]
        let ci = std::env::var("CI").is_ok_and(|value| value == "true");
        assert!(!ci, "Postgres is not installed; CI must test it");
        return None;
    };
    let dir = tempfile::Builder::new().prefix("meshagent-pg-").tempdir().unwrap().keep();
    Some(start_in(dir, &bin))
}

fn start_in(dir: PathBuf, bin: &Path) -> Server {
    if is_root() {
        std::os::unix::fs::chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    // Runs until its input ends, which is when this process does.
    let script = r#"
        cd "$1" || exit 1
        "$2/initdb" -D data -U meshagent -A trust -E UTF8 --locale=C --no-sync >initdb.log 2>&1 &&
        "$2/pg_ctl" -D data -w -l server.log start >/dev/null \
            -o "-c listen_addresses='' -c unix_socket_directories='$1' -c fsync=off -c max_connections=300" &&
        echo ready && cat >/dev/null
        "$2/pg_ctl" -D data -m immediate stop >/dev/null 2>&1
        cd / && rm -rf "$1"
    "#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(&dir).arg(bin).stdin(Stdio::piped()).stdout(Stdio::piped());
    // A terminal's interrupt is for the tests; the watchdog then cleans up.
    command.process_group(0);
    let mut watchdog = as_nobody(&mut command).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(watchdog.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "ready\n", "Postgres did not start in {}", dir.display());
    Server { socket_dir: dir, bin: bin.to_owned(), _watchdog: watchdog }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

fn as_nobody(command: &mut Command) -> &mut Command {
    if is_root() { command.uid(NOBODY).gid(NOBODY) } else { command }
}

/// The folder that holds `initdb` and `pg_ctl`: of the PATH, or the newest that Debian installed.
fn binaries() -> Option<PathBuf> {
    let here = |dir: &Path| dir.join("initdb").exists() && dir.join("pg_ctl").exists();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut debian: Vec<_> = debian.map(|version| version.path().join("bin")).collect();
    debian.sort();
    std::env::split_paths(&path).chain(debian.into_iter().rev()).find(|dir| here(dir))
}

//! A server under test: the real binary on a port of its own, with a data directory that goes with it.

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a start may take on a busy machine.
const READY_LIMIT: Duration = Duration::from_mins(1);
const PROBE_LIMIT: Duration = Duration::from_secs(5);
const LINES_WAITING_MAX: usize = 64 * 1024;

/// A running `meshagent up`, killed when dropped.
#[derive(Debug)]
pub struct Server {
    pub url: String,
    pub project_id: String,
    pub api_key: String,
    data: TempDir,
    arguments: Vec<String>,
    env: Vec<(String, String)>,
    child: Child,
    lines: Receiver<String>,
}

impl Server {
    /// Starts it with these arguments of `meshagent up` besides its own, and waits until it is ready.
    pub fn start(arguments: &[&str]) -> Server {
        Self::start_with(arguments, &[])
    }

    /// The same with these variables in its environment.
    pub fn start_with(arguments: &[&str], env: &[(&str, &str)]) -> Server {
        let data = tempfile::tempdir().unwrap();
        let arguments: Vec<String> = arguments.iter().map(|each| (*each).to_owned()).collect();
        let env: Vec<(String, String)> =
            env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (child, lines) = spawn(data.path(), "127.0.0.1:0", &arguments, &env);
        let mut server = Server {
            url: String::new(),
            project_id: String::new(),
            api_key: String::new(),
            data,
            arguments,
            env,
            child,
            lines,
        };
        server.wait_until_ready();
        server
    }

    /// Ends it as a power cut would.
    pub fn kill_9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it as a person would, and waits until it has ended by itself.
    pub fn terminate(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let ended = self.child.wait().unwrap();
        assert!(ended.success(), "{ended}");
    }

    /// Starts it again where it was.
    pub fn restart(&mut self) {
        let address = self.address().to_owned();
        (self.child, self.lines) = spawn(self.data.path(), &address, &self.arguments, &self.env);
        self.wait_until_ready();
    }

    /// Where its data is.
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Looks after each line that it prints; what it prints last is how to connect.
    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + READY_LIMIT;
        let mut said = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            said.push(line);
            if self.read_connection() && is_ready(self.address()) {
                return;
            }
        }
        let ended = self.child.try_wait();
        panic!("the server was not ready after {READY_LIMIT:?} ({ended:?}); it said\n{}", said.join("\n"));
    }

    fn read_connection(&mut self) -> bool {
        let Ok(text) = fs::read_to_string(self.data.path().join("connection.json")) else { return false };
        let Ok(connection) = serde_json::from_str::<Value>(&text) else { return false };
        let field = |name: &str| connection[name].as_str().unwrap_or_default().to_owned();
        (self.url, self.project_id, self.api_key) = (field("api_url"), field("project_id"), field("api_key"));
        !self.api_key.is_empty()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
        if thread::panicking() {
            let said: Vec<String> = self.lines.try_iter().collect();
            eprintln!("--- the server said after it was ready\n{}", said.join("\n"));
        }
    }
}

fn spawn(
    data: &Path,
    listen: &str,
    arguments: &[String],
    env: &[(String, String)],
) -> (Child, Receiver<String>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_meshagent"))
        .args(["up", "--listen", listen, "--data-dir"])
        .arg(data)
        .args(arguments)
        .env("HOME", data)
        .env_remove("MESHAGENT_API_KEY")
        .env_remove("MESHAGENT_API_URL")
        .env_remove("MESHAGENT_PROJECT_ID")
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, lines) = sync_channel(LINES_WAITING_MAX);
    let streams: [Box<dyn Read + Send>; 2] =
        [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
    for stream in streams {
        let sender = sender.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let _a_full_or_closed_channel_loses_lines = sender.try_send(line);
            }
        });
    }
    (child, lines)
}

fn is_ready(address: &str) -> bool {
    health(address).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn health(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PROBE_LIMIT))?;
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

//! A forge: a bare repository behind the real `git http-backend`, and a working copy that pushes to it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use tempfile::TempDir;

/// What the server of a forge shares with its test.
#[derive(Debug, Default)]
struct Shared {
    /// Answers nothing but errors.
    down: AtomicBool,
    fetches: AtomicUsize,
    /// `Basic` credentials that it wants, where it wants some.
    credentials: Mutex<Option<String>>,
    /// What was posted to `/status`: path, authorization, body.
    posted: Mutex<Vec<(String, String, String)>>,
}

#[derive(Debug)]
pub struct Forge {
    folder: TempDir,
    port: u16,
    shared: Arc<Shared>,
}

impl Forge {
    /// An empty repository whose default branch is `main`.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), &["init", "-q", "--bare", "-b", "main", "origin.git"]);
        run(folder.path(), &["init", "-q", "-b", "main", "work"]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let (root, seen) = (folder.path().to_owned(), Arc::clone(&shared));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (root, seen) = (root.clone(), Arc::clone(&seen));
                thread::spawn(move || {
                    let _whoever_asked_may_be_gone = answer(stream, &root, &seen);
                });
            }
        });
        Self { folder, port, shared }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/origin.git", self.port)
    }

    /// The base of its interface for commit statuses.
    pub fn api(&self) -> String {
        format!("http://127.0.0.1:{}/status", self.port)
    }

    pub fn bare(&self) -> PathBuf {
        self.folder.path().join("origin.git")
    }

    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Runs git in the working copy.
    pub fn git(&self, words: &[&str]) -> String {
        run(&self.work(), words)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.work().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn remove(&self, name: &str) {
        let path = self.work().join(name);
        if path.is_dir() {
            return std::fs::remove_dir_all(path).unwrap();
        }
        std::fs::remove_file(path).unwrap();
    }

    /// Commits everything there is and pushes it, whatever is there; the commit's hash.
    pub fn push(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["push", "-q", "--force", self.bare().to_str().unwrap(), "HEAD"]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    pub fn set_down(&self, down: bool) {
        self.shared.down.store(down, Ordering::SeqCst);
    }

    pub fn want_credentials(&self, basic: &str) {
        *self.shared.credentials.lock().unwrap() = Some(basic.to_owned());
    }

    /// How often something was fetched, or asked for.
    pub fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }

    pub fn posted(&self) -> Vec<(String, String, String)> {
        self.shared.posted.lock().unwrap().clone()
    }
}

fn run(folder: &Path, words: &[&str]) -> String {
    let done = Command::new("git")
        .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false"])
        .args(words)
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "git {words:?}: {said}");
    String::from_utf8(done.stdout).unwrap()
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

fn read(stream: &TcpStream) -> std::io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').map_or((target.as_str(), ""), |both| both);
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or_default();
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Request { method, path: path.to_owned(), query: query.to_owned(), headers, body })
}

fn answer(mut stream: TcpStream, root: &Path, shared: &Shared) -> std::io::Result<()> {
    let request = read(&stream)?;
    let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
    if request.path.starts_with("/status") {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        shared.posted.lock().unwrap().push((request.path.clone(), header("authorization"), body));
        return write!(stream, "HTTP/1.1 201 Created\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
    }
    shared.fetches.fetch_add(1, Ordering::SeqCst);
    let wanted = shared.credentials.lock().unwrap().clone();
    if shared.down.load(Ordering::SeqCst) {
        return write!(stream, "HTTP/1.1 503 Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    if wanted.is_some_and(|wanted| header("authorization") != format!("Basic {wanted}")) {
        let head = "HTTP/1.1 401 Who\r\nWWW-Authenticate: Basic realm=\"forge\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return stream.write_all(head.as_bytes());
    }
    let mut backend = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", &request.path)
        .env("QUERY_STRING", &request.query)
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdin = backend.stdin.take().unwrap();
    let body = request.body;
    let said = thread::spawn(move || stdin.write_all(&body));
    let mut output = Vec::new();
    backend.stdout.take().unwrap().read_to_end(&mut output)?;
    let _it_may_not_read_all = said.join();
    backend.wait()?;
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(output.len());
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    let rest: String =
        head.lines().filter(|line| !line.starts_with("Status: ")).map(|line| format!("{line}\r\n")).collect();
    write!(stream, "HTTP/1.1 {status}\r\n{rest}Connection: close\r\n\r\n")?;
    stream.write_all(output.get(end + 4..).unwrap_or_default())
}

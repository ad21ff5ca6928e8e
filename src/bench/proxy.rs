//! What the proxy of model providers adds to a request: asked through a server of this program, beside asked directly.
//!
//! The provider is a stand-in in this process that answers at once. Requests alternate between the two ways, so that
//! what else the machine does meets both. Each way has one connection; the stream has [`stand_in::EVENTS`] events.

use super::BenchError;
use super::stand_in;
use super::timing::Timings;
use crate::clock::{IdSource, System};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Requests of each kind and way that are not counted.
const WARM_ROUNDS: usize = 100;
/// How long the server may take to start.
const READY_LIMIT: Duration = Duration::from_mins(1);
/// Pause between two looks for readiness.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const ROOM: &str = "bench";

/// One kind of request, both ways.
#[derive(Debug, Clone)]
pub struct Pair {
    pub direct: Timings,
    pub proxied: Timings,
}

impl Pair {
    /// What the proxy adds at this percentile, milliseconds.
    #[must_use]
    pub fn added_ms(&self, percent: f64) -> f64 {
        let ms = |timings: &Timings| timings.percentile(percent).as_secs_f64() * 1e3;
        ms(&self.proxied) - ms(&self.direct)
    }
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct Report {
    /// A whole answer.
    pub unary: Pair,
    /// The first byte of a stream.
    pub first: Pair,
    /// A stream to its end.
    pub stream: Pair,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, pair) in [
            ("whole answer", &self.unary),
            ("first byte of a stream", &self.first),
            ("whole stream", &self.stream),
        ] {
            writeln!(f, "{name}, direct:  {}", pair.direct)?;
            writeln!(f, "{name}, proxied: {}", pair.proxied)?;
            writeln!(
                f,
                "{name}, added:   p50 {:.2} ms, p99 {:.2} ms",
                pair.added_ms(50.0),
                pair.added_ms(99.0)
            )?;
        }
        Ok(())
    }
}

fn failed(reason: impl fmt::Display) -> BenchError {
    BenchError::Failed { name: "the proxy".to_owned(), reason: reason.to_string() }
}

/// Measures `rounds` requests of each kind and way, through `program`.
pub async fn run(program: &Path, rounds: usize) -> Result<Report, BenchError> {
    let there = stand_in::serve(Duration::ZERO).await.map_err(failed)?;
    let server = Server::start(program, there).await?;
    let token = server.token().await?;
    let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build().map_err(failed)?;
    let direct =
        Way { client: client.clone(), url: format!("http://{there}/v1/responses"), token: "none".into() };
    let url = format!("{}/openai/v1/responses", server.connection.api_url);
    let proxied = Way { client, url, token };
    let mut taken: [Vec<Duration>; 6] = Default::default();
    for round in 0..rounds + WARM_ROUNDS {
        for (n, way) in [&direct, &proxied].into_iter().enumerate() {
            let (_, whole) = way.ask(false).await?;
            let (first, stream) = way.ask(true).await?;
            if round >= WARM_ROUNDS {
                for (kind, took) in [whole, first, stream].into_iter().enumerate() {
                    taken[2 * kind + n].push(took);
                }
            }
        }
    }
    let [unary, unary_proxied, first, first_proxied, stream, stream_proxied] = taken.map(Timings::new);
    Ok(Report {
        unary: Pair { direct: unary, proxied: unary_proxied },
        first: Pair { direct: first, proxied: first_proxied },
        stream: Pair { direct: stream, proxied: stream_proxied },
    })
}

/// One way to the provider.
struct Way {
    client: reqwest::Client,
    url: String,
    token: String,
}

impl Way {
    /// How long the first byte took, and the whole.
    async fn ask(&self, stream: bool) -> Result<(Duration, Duration), BenchError> {
        let body = json!({"model": "gpt-bench", "stream": stream, "input": "x".repeat(2_000)});
        let begun = Instant::now();
        let sent = self.client.post(&self.url).bearer_auth(&self.token).json(&body).send().await;
        let mut answer = sent.and_then(reqwest::Response::error_for_status).map_err(failed)?;
        let mut first = None;
        while let Some(part) = answer.chunk().await.map_err(failed)? {
            first = first.or_else(|| (!part.is_empty()).then(|| begun.elapsed()));
        }
        let whole = begun.elapsed();
        Ok((first.unwrap_or(whole), whole))
    }
}

#[derive(Deserialize)]
struct Connection {
    api_url: String,
    project_id: String,
    api_key: String,
}

/// The program under test, killed when dropped.
struct Server {
    child: Child,
    folder: PathBuf,
    connection: Connection,
}

impl Server {
    async fn start(program: &Path, provider: SocketAddr) -> Result<Self, BenchError> {
        let folder = std::env::temp_dir().join(format!("meshagent-bench-{}", System.fresh().simple()));
        std::fs::create_dir(&folder).map_err(failed)?;
        let child = Command::new(program)
            .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&folder)
            .env_remove("MESHAGENT_API_KEY")
            .env_remove("MESHAGENT_DATABASE_URL")
            .env("MESHAGENT_LOG", "warn")
            .env("OPENAI_API_KEY", "sk-bench")
            .env("OPENAI_BASE_URL", format!("http://{provider}/v1"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let connection =
            Connection { api_url: String::new(), project_id: String::new(), api_key: String::new() };
        let mut server = Self { child, folder, connection };
        server.connection = tokio::time::timeout(READY_LIMIT, server.ready())
            .await
            .map_err(|_| failed("the server did not start in time"))?;
        Ok(server)
    }

    async fn ready(&self) -> Connection {
        loop {
            let file = std::fs::read(self.folder.join("connection.json")).ok();
            if let Some(connection) = file.and_then(|bytes| serde_json::from_slice::<Connection>(&bytes).ok())
            {
                let url = format!("{}/healthz", connection.api_url);
                if reqwest::get(url).await.is_ok_and(|answer| answer.status().is_success()) {
                    return connection;
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The token of a participant that may use models.
    async fn token(&self) -> Result<String, BenchError> {
        let at = format!("{}/accounts/projects/{}", self.connection.api_url, self.connection.project_id);
        let post = async |path: &str, body: Value| -> Result<Value, BenchError> {
            let request = reqwest::Client::new().post(format!("{at}/{path}"));
            let sent =
                request.bearer_auth(&self.connection.api_key).json(&body).send().await.map_err(failed)?;
            sent.error_for_status().map_err(failed)?.json().await.map_err(failed)
        };
        post("rooms", json!({"name": ROOM})).await?;
        let api = json!({"llm": {"models": ["openai/gpt-*"]}});
        let wanted = json!({"name": "bench", "room_name": ROOM, "role": "agent", "api": api});
        let made = post("participant-tokens", wanted).await?;
        made["token"].as_str().map(str::to_owned).ok_or_else(|| failed("no token was made"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

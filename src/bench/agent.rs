//! `meshagent bench agent`: how soon an agent process takes its first job, what it holds in memory, and how many threads
//! it runs at once. The peer is the official `meshagent process join`, started the same way against the same server.
//!
//! The model is a stand-in in this process. A start is timed from the spawn until the queue handed out the job that was
//! waiting in it, looked at every [`LOOK_EVERY`].

use super::BenchError;
use super::fanout::contestant::Contestant;
use super::process::Used;
use super::stand_in;
use super::timing::Timings;
use crate::client::room::{
    Options as Joining, Retry, RoomClient, RoomError, Target, Token, ToolkitFilter, room_url,
};
use crate::client::token::{Participant, sign};
use crate::spec::ApiScope;
use crate::wire::Content;
use serde_json::json;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

const ROOM: &str = "bench-agent";
const QUEUE: &str = "jobs";
const AGENT: &str = "worker";
/// Pause between two looks at the queue.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// How long an agent may take to take a job, or to answer all its threads.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long after its first job an agent's memory is read.
const SETTLED_AFTER: Duration = Duration::from_secs(3);
/// Participants that the tasks come from.
const CALLERS: usize = 10;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program under test: the server, and the agent.
    pub program: PathBuf,
    /// The official tool; none where only ours is measured.
    pub peer: Option<PathBuf>,
    /// Starts of each agent, in turns.
    pub starts: usize,
    /// Tasks that one agent gets at once, each for a thread of its own.
    pub threads: usize,
    /// How long the model takes to begin its answer.
    pub hold: Duration,
}

/// Starts of one agent.
#[derive(Debug, Clone)]
pub struct Starts {
    pub first_job: Timings,
    /// Resident memory after the first job, bytes; the largest of all starts.
    pub resident_bytes: u64,
    /// Of these, what is no file. Files (the program) are shared by all agents of a machine, and its server.
    pub own_bytes: u64,
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct Report {
    pub ours: Starts,
    pub peer: Option<Starts>,
    pub threads: usize,
    /// One answer of the model: what all threads at once cannot be faster than.
    pub hold: Duration,
    /// All threads at once, from the first task to the last answer.
    pub whole: Duration,
    /// Of the agent, over all threads.
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
}

#[allow(clippy::cast_precision_loss, reason = "for display")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |starts: &Starts| starts.first_job.percentile(50.0).as_secs_f64() * 1e3;
        let mut tell = |name: &str, starts: &Starts| {
            let count = starts.first_job.count();
            let (all, own) = (mebibytes(starts.resident_bytes), mebibytes(starts.own_bytes));
            writeln!(
                f,
                "{name}: first job after {:.1} ms (median of {count}), {all:.1} MiB resident, {own:.1} MiB of them its own",
                ms(starts)
            )
        };
        tell("ours", &self.ours)?;
        if let Some(peer) = &self.peer {
            tell("official", peer)?;
            let memory = mebibytes(peer.resident_bytes) / mebibytes(self.ours.resident_bytes);
            writeln!(f, "ratio: {:.1} x sooner, {memory:.1} x smaller", ms(peer) / ms(&self.ours))?;
        }
        let whole = self.whole.as_secs_f64();
        writeln!(
            f,
            "{} threads at once: {whole:.2} s, {:.2} x one answer of the model ({:.2} s); {:.2} cpu-seconds, {:.1} MiB",
            self.threads,
            whole / self.hold.as_secs_f64(),
            self.hold.as_secs_f64(),
            self.cpu_seconds,
            mebibytes(self.resident_bytes),
        )
    }
}

fn failed(reason: impl fmt::Display) -> BenchError {
    BenchError::Failed { name: "the agent".to_owned(), reason: reason.to_string() }
}

/// Measures everything and says on the way what is being measured.
pub async fn run(options: &Options, mut say: impl FnMut(&str) + Send) -> Result<Report, BenchError> {
    use crate::clock::{IdSource, System};
    let provider = stand_in::serve(options.hold).await.map_err(failed)?;
    let base = format!("http://{provider}/v1");
    let models = [("OPENAI_API_KEY", "sk-bench".to_owned()), ("OPENAI_BASE_URL", base)];
    let folder = std::env::temp_dir().join(format!("meshagent-agents-{}", System.fresh().simple()));
    let server = Contestant::ours_in(&options.program, &folder, &models).await?;
    let bench = Bench { server, models };
    let room = bench.join("bench").await?;
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    let (mut ours_most, mut peer_most) = (Used::default(), Used::default());
    for n in 1..=options.starts {
        say(&format!("start {n} of {}", options.starts));
        let (took, used) = bench.start(&options.program, &room).await?;
        ours.push(took);
        ours_most = most(ours_most, used);
        if let Some(program) = &options.peer {
            let (took, used) = bench.start(program, &room).await?;
            peer.push(took);
            peer_most = most(peer_most, used);
        }
    }
    say(&format!("{} threads at once", options.threads));
    let (whole, used) = bench.threads(&options.program, &room, options.threads).await?;
    bench.server.stop().await;
    let starts = |times, most: Used| Starts {
        first_job: Timings::new(times),
        resident_bytes: most.resident_bytes,
        own_bytes: most.own_bytes,
    };
    Ok(Report {
        ours: starts(ours, ours_most),
        peer: options.peer.is_some().then(|| starts(peer, peer_most)),
        threads: options.threads,
        hold: options.hold,
        whole,
        cpu_seconds: used.cpu_seconds,
        resident_bytes: used.resident_bytes,
    })
}

/// The larger memory of two.
fn most(one: Used, other: Used) -> Used {
    if one.resident_bytes >= other.resident_bytes { one } else { other }
}

/// The server and how its agents are started.
struct Bench {
    server: Contestant,
    models: [(&'static str, String); 2],
}

impl Bench {
    async fn join(&self, name: &str) -> Result<RoomClient, BenchError> {
        let base = format!("http://{}", self.server.address);
        let rest =
            reqwest::Client::new().post(format!("{base}/accounts/projects/{}/rooms", self.server.project()));
        let room = json!({"name": ROOM, "if_not_exists": true});
        let made = rest.bearer_auth(self.server.api_key()).json(&room).send().await;
        made.and_then(reqwest::Response::error_for_status).map_err(failed)?;
        let participant = Participant {
            name: name.to_owned(),
            room: Some(ROOM.to_owned()),
            role: Some("agent".to_owned()),
            api: Some(ApiScope::agent_default().to_token_value()),
        };
        let token = sign(self.server.api_key(), &participant).map_err(failed)?;
        let joining = Joining::new(room_url(&base, ROOM), Token::new(token)).retry(Retry::Never);
        RoomClient::connect(joining).await.map_err(failed)
    }

    fn spawn(&self, program: &Path, channel: &str) -> Result<Child, BenchError> {
        Command::new(program)
            .args(["process", "join", "--room", ROOM, "--agent-name", AGENT, "--channel", channel])
            .args(["--model", "gpt-bench"])
            .envs(self.models.iter().map(|(name, value)| (name, value)))
            .env("MESHAGENT_API_URL", format!("http://{}", self.server.address))
            .env("MESHAGENT_PROJECT_ID", self.server.project())
            .env("MESHAGENT_API_KEY", self.server.api_key())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("{}: {error}", program.display())))
    }

    /// From the spawn until the waiting job was handed out, and the memory some time later.
    async fn start(&self, program: &Path, room: &RoomClient) -> Result<(Duration, Used), BenchError> {
        room.queues().send(QUEUE, true, json!({"prompt": "hello"})).await.map_err(failed)?;
        let begun = Instant::now();
        let mut agent = self.spawn(program, &format!("queue:{QUEUE}"))?;
        let taken = async {
            while waiting(room).await? > 0 {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok::<_, RoomError>(begun.elapsed())
        };
        let took = tokio::select! {
            took = within(taken, "the job was not taken") => took?.map_err(failed)?,
            ended = agent.wait() => return Err(failed(format!("{} ended: {ended:?}", program.display()))),
        };
        tokio::time::sleep(SETTLED_AFTER).await;
        let used = Used::of(agent.id().unwrap_or_default());
        agent.kill().await.map_err(failed)?;
        Ok((took, used))
    }

    /// Gives one agent all tasks at once.
    async fn threads(
        &self,
        program: &Path,
        room: &RoomClient,
        threads: usize,
    ) -> Result<(Duration, Used), BenchError> {
        let mut agent = self.spawn(program, &format!("toolkit:{AGENT}"))?;
        let task = format!("run_{AGENT}_task");
        let offered = async {
            while !room.list_toolkits(&ToolkitFilter::default()).await?.iter().any(|t| t.name == AGENT) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok::<_, RoomError>(())
        };
        within(offered, "the toolkit did not come").await?.map_err(failed)?;
        let mut callers = Vec::new();
        for n in 0..CALLERS {
            callers.push(self.join(&format!("caller{n}")).await?);
        }
        let mut calls = JoinSet::new();
        let begun = Instant::now();
        for n in 0..threads {
            let (caller, task) = (callers[n % CALLERS].clone(), Target::new(AGENT, &task));
            let prompt = Content::Json(json!({"prompt": format!("task {n}")}));
            calls.spawn(async move { caller.invoke(&task, prompt).await });
        }
        let all = async {
            while let Some(answer) = calls.join_next().await {
                answer.map_err(failed)?.map_err(failed)?;
            }
            Ok::<_, BenchError>(begun.elapsed())
        };
        let whole = within(all, "the threads did not all answer").await??;
        let used = Used::of(agent.id().unwrap_or_default());
        agent.kill().await.map_err(failed)?;
        Ok((whole, used))
    }
}

/// Jobs that nobody took.
async fn waiting(room: &RoomClient) -> Result<u64, RoomError> {
    let listed = room.queues().list().await?;
    let queues = listed["queues"].as_array().cloned().unwrap_or_default();
    let sizes = queues.iter().filter(|queue| queue["name"] == QUEUE);
    Ok(sizes.filter_map(|queue| queue["size"].as_u64()).sum())
}

async fn within<T>(what: impl Future<Output = T>, otherwise: &str) -> Result<T, BenchError> {
    tokio::time::timeout(PATIENCE, what).await.map_err(|_| failed(otherwise))
}

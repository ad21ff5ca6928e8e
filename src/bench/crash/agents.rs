//! The other half of the harness: `kill -9` an agent in the middle of its turns, and hold what it was given to do against what its
//! threads and the dead letters say afterwards.

use super::server::{Connection, Folder, ServerUnderTest};
use super::{Dice, Error, Options, QUEUE, ROOM, site};
use crate::agent::storage::{Index, Place, read_thread};
use crate::client::room::{RoomClient, Target};
use crate::wire::Content;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The agent that is killed.
const AGENT: &str = "worker";
/// Where its threads are.
const DIR: &str = "dataset://agents/worker/threads";
/// Jobs that are sent in each round.
const JOBS_PER_ROUND: usize = 8;
/// One job in so many names a model that the agent does not have: it fails each time.
const POISON_EVERY: usize = 16;
/// One job in so many names a thread that others name too.
const SHARED_EVERY: usize = 4;
/// Threads that several jobs share.
const SHARED: usize = 3;
/// The agent lives this long in a round from the moment that it has taken a job, milliseconds: from just begun to well under way.
const LIFE_MS: std::ops::Range<u64> = 1..400;
/// How long it may take until it has taken one.
const TAKE_MAX: Duration = Duration::from_mins(1);
/// Pause between two looks at the queue.
const GLANCE_EVERY: Duration = Duration::from_millis(5);
/// Rounds from which at least one death must have hit a turn.
const ROUNDS_THAT_HIT: u32 = 10;
/// What each job writes.
const WRITTEN: &str = "done";
/// Largest file that is read back, bytes.
const FILE_BYTES_MAX: usize = 1024;
/// How long the last jobs may take, the waits of those that fail included.
const SETTLE_MAX: Duration = Duration::from_mins(5);
/// Pause between two looks at the threads.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Changed threads that are shown.
const SHOWN_MAX: usize = 5;
/// Dead letters of one page.
const PAGE: usize = 100;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct AgentsVerdict {
    pub rounds: u32,
    pub seed: u64,
    pub jobs: usize,
    pub done: usize,
    pub dead: usize,
    /// Turns that were accepted, and those of them that a death ended.
    pub turns: usize,
    pub interrupted: usize,
    /// Neither done nor dead.
    pub lost: Vec<usize>,
    /// Done more than once, or done and dead.
    pub twice: Vec<usize>,
    /// Done, but the file is not as the job writes it.
    pub unwritten: Vec<usize>,
    /// Dead without a reason.
    pub unreasoned: Vec<usize>,
    /// Turns that never ended.
    pub open: Vec<String>,
    /// Threads that read differently after the server died too: where, and how.
    pub changed: Vec<String>,
}

impl AgentsVerdict {
    #[must_use]
    pub fn is_good(&self) -> bool {
        let none = self.lost.is_empty() && self.twice.is_empty() && self.unreasoned.is_empty();
        let hit = self.interrupted > 0 || self.rounds < ROUNDS_THAT_HIT;
        none && hit && self.unwritten.is_empty() && self.open.is_empty() && self.changed.is_empty()
    }
}

impl fmt::Display for AgentsVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "deaths of the agent: {} (seed {})", self.rounds, self.seed)?;
        writeln!(f, "jobs: {}, done once: {}, dead letters: {}", self.jobs, self.done, self.dead)?;
        writeln!(f, "turns: {}, ended by a death: {}", self.turns, self.interrupted)?;
        writeln!(f, "lost: {:?}, twice: {:?}, not written: {:?}", self.lost, self.twice, self.unwritten)?;
        writeln!(f, "dead without a reason: {:?}, turns never ended: {:?}", self.unreasoned, self.open)?;
        write!(f, "threads that read differently after a restart: {}", self.changed.len())?;
        self.changed.iter().take(SHOWN_MAX).try_for_each(|change| write!(f, "\n  {change}"))
    }
}

/// Runs all rounds, then checks.
pub async fn run(options: &Options, mut report: impl FnMut(String)) -> Result<AgentsVerdict, Error> {
    let folder = Folder::make()?;
    let mut server = ServerUnderTest::new(options, folder.path())?;
    let connection = server.start(0).await?;
    super::work::prepare(&site(&connection)?).await;
    let room = join(&connection).await?;
    let mut dice = Dice(options.seed | 1);
    let mut jobs = 0;
    for round in 1..=options.rounds {
        for _ in 0..JOBS_PER_ROUND {
            room.queues().send(QUEUE, true, job(jobs)).await.map_err(ask)?;
            jobs += 1;
        }
        let most = waiting(&room).await?;
        let mut agent = AgentUnderTest::start(options, &connection, &folder)?;
        tokio::time::timeout(TAKE_MAX, first_taken(&room, most)).await.map_err(|_| {
            ask(format!("the agent of round {round} took no job within {} s", TAKE_MAX.as_secs()))
        })??;
        tokio::time::sleep(Duration::from_millis(dice.between(LIFE_MS))).await;
        agent.kill_9()?;
        if round % 10 == 0 || round == options.rounds {
            report(format!("round {round}: {jobs} jobs sent"));
        }
    }
    let mut agent = AgentUnderTest::start(options, &connection, &folder)?;
    let settled = tokio::time::timeout(SETTLE_MAX, settle(&room, jobs)).await;
    let (before, dead) = match settled {
        Ok(settled) => settled?,
        // What is missing is the verdict.
        Err(_) => (read(&room).await?, dead_letters(&room).await?),
    };
    agent.kill_9()?;
    server.kill_9()?;
    let room = join(&server.start(options.rounds + 1).await?).await?;
    let after = read(&room).await?;
    let unwritten = unwritten(&room, before.done.keys()).await;
    server.stop().await?;
    let mut verdict = judge(jobs, &before, &dead);
    verdict.unwritten = unwritten;
    (verdict.rounds, verdict.seed) = (options.rounds, options.seed);
    verdict.changed = changes(&before.rows, &after.rows);
    Ok(verdict)
}

fn ask(error: impl fmt::Display) -> Error {
    Error::Ask(error.to_string())
}

/// The file that job number `n` writes.
fn path(n: usize) -> String {
    format!("out/{n}.md")
}

/// What job number `n` asks for. Its text names it.
fn job(n: usize) -> Value {
    let arguments = json!({"path": path(n), "text": WRITTEN, "overwrite": true});
    let call = json!({"tool": "write_file", "arguments": arguments});
    let mut job = json!({"prompt": format!("job {n} is to be done.\n```tool\n{call}\n```\n")});
    if n % POISON_EVERY == POISON_EVERY - 1 {
        job["model"] = json!("unheard-of");
    }
    if n.is_multiple_of(SHARED_EVERY) {
        job["path"] = json!(format!("{DIR}/shared-{}", n / SHARED_EVERY % SHARED));
    }
    job
}

/// The number that a job's text names.
fn number(text: &str) -> Option<usize> {
    let (_, rest) = text.split_once("job ")?;
    rest.split_once(' ')?.0.parse().ok()
}

async fn join(connection: &Connection) -> Result<RoomClient, Error> {
    super::work::connect(&site(connection)?).await.ok_or_else(|| ask("cannot join the room"))
}

struct AgentUnderTest(Child);

impl AgentUnderTest {
    fn start(options: &Options, connection: &Connection, folder: &Folder) -> Result<Self, Error> {
        let failed = |source| Error::Io { what: options.program.display().to_string(), source };
        let log = std::fs::File::options().create(true).append(true).open(folder.path().join("agent.log"));
        let child = Command::new(&options.program)
            .args(["process", "join", "--room", ROOM, "--agent-name", AGENT, "--model", "builtin/echo"])
            .args(["--channel", &format!("queue:{QUEUE}"), "--require-storage"])
            .env("HOME", folder.path())
            .env("MESHAGENT_API_URL", &connection.api_url)
            .env("MESHAGENT_API_KEY", &connection.api_key)
            .env("MESHAGENT_PROJECT_ID", &connection.project_id)
            .env("MESHAGENT_LOG", "warn")
            .env_remove("MESHAGENT_TOKEN")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.map_err(failed)?)
            .spawn();
        child.map(Self).map_err(failed)
    }

    fn kill_9(&mut self) -> Result<(), Error> {
        let killed = self.0.kill().and_then(|()| self.0.wait());
        killed.map(drop).map_err(|source| Error::Io { what: "the agent".into(), source })
    }
}

impl Drop for AgentUnderTest {
    fn drop(&mut self) {
        let _ = self.kill_9();
    }
}

/// Jobs that wait to be taken.
async fn waiting(room: &RoomClient) -> Result<u64, Error> {
    let listed = room.queues().list().await.map_err(ask)?;
    let queue = listed["queues"].as_array().into_iter().flatten().find(|queue| queue["name"] == QUEUE);
    Ok(queue.and_then(|queue| queue["size"].as_u64()).unwrap_or(0))
}

/// Waits until fewer jobs wait than before. What an agent that died had taken comes back, so that `most` may grow first.
async fn first_taken(room: &RoomClient, mut most: u64) -> Result<(), Error> {
    loop {
        let now = waiting(room).await?;
        if now < most {
            return Ok(());
        }
        most = now;
        tokio::time::sleep(GLANCE_EVERY).await;
    }
}

/// Those of the jobs whose file is not there or not as it should be.
async fn unwritten(room: &RoomClient, jobs: impl Iterator<Item = &usize>) -> Vec<usize> {
    let mut all = Vec::new();
    for job in jobs {
        let read = room.storage().read(&path(*job), FILE_BYTES_MAX).await;
        if !read.is_ok_and(|(data, _)| data == WRITTEN.as_bytes()) {
            all.push(*job);
        }
    }
    all
}

/// Waits until every job is done or dead and nothing happens in the threads any more. The queue itself does not tell what is leased or
/// waits for its next attempt.
async fn settle(room: &RoomClient, jobs: usize) -> Result<(Threads, BTreeMap<usize, String>), Error> {
    let mut last = None;
    loop {
        // In this order: what made a letter dead was stored before.
        let dead = dead_letters(room).await?;
        let threads = read(room).await?;
        let over = (0..jobs).all(|job| threads.done.contains_key(&job) || dead.contains_key(&job));
        if over && threads.open.is_empty() && Some(&threads.rows) == last.as_ref() {
            return Ok((threads, dead));
        }
        last = over.then_some(threads.rows);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Dead letters: job and reason.
async fn dead_letters(room: &RoomClient) -> Result<BTreeMap<usize, String>, Error> {
    let (mut all, mut after) = (BTreeMap::new(), Value::Null);
    loop {
        let input = json!({"name": QUEUE, "after": after, "limit": PAGE});
        let answer = room.invoke(&Target::new("queues", "dead_letters"), Content::Json(input)).await;
        let Content::Json(page) = answer.map_err(ask)? else { return Err(ask("no page of dead letters")) };
        for item in page["items"].as_array().into_iter().flatten() {
            let text = item["message"]["prompt"].as_str().unwrap_or_default();
            let number = number(text).ok_or_else(|| ask(format!("a dead letter is no job: {text}")))?;
            all.insert(number, item["reason"].as_str().unwrap_or_default().to_owned());
        }
        after = page["next"].clone();
        if after.is_null() {
            return Ok(all);
        }
    }
}

/// What the threads say.
#[derive(Default)]
struct Threads {
    /// Times that each job was done.
    done: BTreeMap<usize, usize>,
    turns: usize,
    interrupted: usize,
    open: BTreeSet<String>,
    /// All rows as they are read, by thread.
    rows: BTreeMap<String, Vec<String>>,
}

async fn read(room: &RoomClient) -> Result<Threads, Error> {
    let mut threads = Threads::default();
    let index = Index::new(room.clone(), DIR).map_err(ask)?;
    let mut entries = index.all().await.map_err(ask)?;
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    for entry in entries {
        let place = Place::parse(&entry.path).map_err(ask)?;
        let mut jobs: BTreeMap<String, usize> = BTreeMap::new();
        for row in read_thread(room, &place).await.map_err(ask)? {
            let text = serde_json::to_string(&(row.sequence, &row.message)).map_err(ask)?;
            threads.rows.entry(entry.path.clone()).or_default().push(text);
            let text =
                |key: &str| row.message.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let turn = text("turn_id");
            match text("type").as_str() {
                "meshagent.agent.turn.start" => {
                    let said = row.message.get("content").and_then(|content| content.pointer("/0/text"));
                    jobs.extend(said.and_then(Value::as_str).and_then(number).map(|job| (turn, job)));
                }
                "meshagent.agent.turn.start.accepted" => {
                    threads.turns += 1;
                    threads.open.insert(turn);
                }
                "meshagent.agent.turn.ended" => {
                    threads.open.remove(&turn);
                    let error = row.message.get("error").filter(|error| !error.is_null());
                    match (error, jobs.get(&turn)) {
                        (None, Some(job)) => *threads.done.entry(*job).or_default() += 1,
                        (Some(error), _) if error["code"] == "interrupted" => threads.interrupted += 1,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }
    Ok(threads)
}

/// What reads differently.
fn changes(before: &BTreeMap<String, Vec<String>>, after: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let none = Vec::new();
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change = |path: &String| {
        let (was, is) = (before.get(path).unwrap_or(&none), after.get(path).unwrap_or(&none));
        let at = (0..was.len().max(is.len())).find(|n| was.get(*n) != is.get(*n))?;
        let (old, new) = (was.get(at), is.get(at));
        Some(format!("{path}: {} rows were {}; row {at} was {old:?} and is {new:?}", is.len(), was.len()))
    };
    paths.into_iter().filter_map(change).collect()
}

fn judge(jobs: usize, threads: &Threads, dead: &BTreeMap<usize, String>) -> AgentsVerdict {
    let times = |job: &usize| threads.done.get(job).copied().unwrap_or(0);
    AgentsVerdict {
        jobs,
        done: (0..jobs).filter(|job| times(job) == 1 && !dead.contains_key(job)).count(),
        dead: dead.len(),
        turns: threads.turns,
        interrupted: threads.interrupted,
        lost: (0..jobs).filter(|job| times(job) == 0 && !dead.contains_key(job)).collect(),
        twice: (0..jobs).filter(|job| times(job) + usize::from(dead.contains_key(job)) > 1).collect(),
        unreasoned: dead.iter().filter(|(_, reason)| reason.trim().is_empty()).map(|(job, _)| *job).collect(),
        open: threads.open.iter().cloned().collect(),
        ..AgentsVerdict::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_ends_once_and_in_one_place() {
        assert_eq!(number(job(17)["prompt"].as_str().unwrap()), Some(17));
        let threads = Threads { done: BTreeMap::from([(0, 1), (1, 2), (2, 1)]), ..Threads::default() };
        let dead = BTreeMap::from([(2, "late".to_owned()), (3, " ".to_owned())]);
        let verdict = judge(5, &threads, &dead);
        assert_eq!((verdict.done, verdict.dead), (1, 2));
        let of = |rounds, interrupted, unwritten| AgentsVerdict {
            rounds,
            interrupted,
            unwritten,
            ..AgentsVerdict::default()
        };
        assert!(of(1, 0, vec![]).is_good() && of(ROUNDS_THAT_HIT, 1, vec![]).is_good());
        assert!(!of(ROUNDS_THAT_HIT, 0, vec![]).is_good(), "no death hit anything");
        assert!(!of(1, 1, vec![7]).is_good(), "a file is not there");
        let rows = |texts: &[&str]| {
            BTreeMap::from([(
                "t".to_owned(),
                texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(),
            )])
        };
        assert_eq!(changes(&rows(&["a", "b"]), &rows(&["a", "b"])), [""; 0]);
        assert!(changes(&rows(&["a", "b"]), &rows(&["a"]))[0].contains("row 1 was Some(\"b\") and is None"));
        assert_eq!((verdict.lost, verdict.twice, verdict.unreasoned), (vec![4], vec![1, 2], vec![3]));
    }
}

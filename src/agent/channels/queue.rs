//! Channel `queue:NAME`: jobs of a room queue (process agents §8).
//!
//! Where the server has leases, a job is taken under one, the lease is extended while the turn runs, and the job is
//! acknowledged when the turn is done and stored, or given back when it failed; after too many attempts the server puts it with
//! the dead letters. A job that comes again is first looked for in its thread: one that is done there is not done twice.
//! Elsewhere `receive` takes a job for good.

use crate::agent::channel::{Agent, Channel, TurnRequest};
use crate::agent::config::QUEUE_TURNS_MAX;
use crate::agent::engine::FILE_BYTES_MAX;
use crate::agent::job::{Job, JobPart};
use crate::agent::message::InputContent;
use crate::agent::thread::Earlier;
use crate::agent::tools::lost;
use crate::agent::turn::{Failure, Outcome};
use crate::client::room::{Leased, RoomClient, RoomError};
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// How long the server holds a job for us without hearing from us, ms.
pub const LEASE_MS: u64 = 60_000;
/// A lease is extended this many times within its length.
const EXTENDS_PER_LEASE: u64 = 3;
/// Attempts to settle a job (acknowledge it or give it back) over lost connections.
const SETTLE_ATTEMPTS: u32 = 5;
/// Wait before a failed job is offered again, ms; doubles with each attempt.
const RETRY_JOB_MS: u64 = 1000;
/// Longest such wait, ms.
const RETRY_JOB_MS_MAX: u64 = 60_000;
/// Reason with which a stopping agent gives its jobs back. Their wait lets this connection end first.
const STOPPING: &str = "the agent is stopping";
/// Failures that say nothing about the job. In its last attempts they do not end it: its lease does, and another look follows.
const PASSING: [&str; 2] = ["room_lost", "thread_busy"];
/// Wait after a failed look at the queue.
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// Attempts in which a job's turn is run. A server offers a job again whose agent ended ([`crate::queue::LOSSES_MAX`]): then it is
/// only seen whether the job was done, and otherwise given back for good.
const RUNS_MAX: u32 = 5;
/// Earlier attempts at a job that are looked for in its thread.
const ATTEMPTS_LOOKED_AT: usize = 64;
/// How long a look at the queue lingers when the agent ends.
const LINGER: Duration = Duration::from_millis(50);

/// The channel.
#[derive(Debug)]
pub struct Queue {
    name: String,
}

impl Queue {
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned() }
    }
}

#[async_trait::async_trait]
impl Channel for Queue {
    fn name(&self) -> String {
        format!("queue:{}", self.name)
    }

    fn is_threaded(&self) -> bool {
        true
    }

    async fn serve(self: Arc<Self>, agent: Agent, stop: CancellationToken, abort: CancellationToken) {
        let under_way = TaskTracker::new();
        let name = self.name.clone();
        consume(&agent, &name, self, &under_way, &stop, &abort).await;
        under_way.close();
        under_way.wait().await;
    }
}

/// What a channel makes of the items of its queue.
#[async_trait::async_trait]
pub(super) trait Work: Send + Sync + 'static {
    /// The turn that an item asks for; `None`: it asks for nothing and is done.
    async fn prepare(&self, agent: &Agent, taken: &Taken) -> Result<Option<TurnRequest>, Failure>;

    /// What is done with the turn's text before the item is done.
    async fn finish(
        &self,
        _agent: &Agent,
        _taken: &Taken,
        _thread: &str,
        _text: &str,
    ) -> Result<(), Failure> {
        Ok(())
    }
}

#[async_trait::async_trait]
impl Work for Queue {
    async fn prepare(&self, agent: &Agent, taken: &Taken) -> Result<Option<TurnRequest>, Failure> {
        prepare(agent, &self.name, taken).await.map(Some)
    }
}

/// Consumes queue `name` until `stop`. A job that is handed over between `stop` and `abort` is given back.
pub(super) async fn consume(
    agent: &Agent,
    name: &str,
    work: Arc<dyn Work>,
    under_way: &TaskTracker,
    stop: &CancellationToken,
    abort: &CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(QUEUE_TURNS_MAX));
    while let Some(slot) = free(&slots, stop).await {
        match take(agent.room(), name, abort).await {
            Ok(Some(taken)) if stop.is_cancelled() => {
                give_back(agent.room(), name, &taken, STOPPING).await;
            }
            Ok(Some(taken)) => {
                let (agent, name, abort) = (agent.clone(), name.to_owned(), abort.clone());
                let work = Arc::clone(&work);
                under_way.spawn(async move {
                    handle(&agent, &name, &*work, taken, &abort).await;
                    drop(slot);
                });
            }
            Ok(None) => {}
            Err(error) if error.is_final() => break,
            // The next look waits for the connection to come back.
            Err(error) if error.is_lost() => {}
            Err(error) => {
                tracing::error!(queue = name, %error, "the queue cannot be read; trying again");
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(RETRY_WAIT) => {}
                }
            }
        }
    }
}

/// A job on its way through the agent.
pub(super) enum Taken {
    Leased(Leased),
    /// Taken for good.
    Received(Value),
}

impl Taken {
    /// The item's own name; none where it was taken for good.
    pub(super) fn item_id(&self) -> Option<&str> {
        match self {
            Self::Leased(item) => Some(&item.item_id),
            Self::Received(_) => None,
        }
    }

    /// 1 for the first try.
    pub(super) fn attempt(&self) -> u32 {
        match self {
            Self::Leased(item) => item.attempt,
            Self::Received(_) => 1,
        }
    }

    pub(super) fn message(&self) -> &Value {
        match self {
            Self::Leased(item) => &item.message,
            Self::Received(message) => message,
        }
    }
}

async fn free(slots: &Arc<Semaphore>, stop: &CancellationToken) -> Option<tokio::sync::OwnedSemaphorePermit> {
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        slot = slots.clone().acquire_owned() => slot.ok(),
    }
}

/// The next job. On `abort` it lingers a moment, so that a job that was just handed over is not lost sight of.
async fn take(
    client: &RoomClient,
    name: &str,
    abort: &CancellationToken,
) -> Result<Option<Taken>, RoomError> {
    let queues = client.queues();
    let wait = async {
        // Asked each time: a reconnect may lead to another server version.
        if queues.can_lease().await? {
            Ok(queues.lease(name, true, true, LEASE_MS).await?.map(Taken::Leased))
        } else {
            Ok(queues.receive(name, true, true).await?.map(Taken::Received))
        }
    };
    tokio::pin!(wait);
    tokio::select! {
        taken = &mut wait => taken,
        () = abort.cancelled() => match tokio::time::timeout(LINGER, wait).await {
            Ok(taken) => taken,
            Err(_) => Ok(None),
        },
    }
}

async fn handle(agent: &Agent, name: &str, work: &dyn Work, taken: Taken, abort: &CancellationToken) {
    tracing::info!(queue = name, attempt = taken.attempt(), "job taken");
    let outcome = match work.prepare(agent, &taken).await {
        Err(failure) => Outcome::Failed(failure),
        Ok(None) => return acknowledge(agent.room(), name, &taken).await,
        Ok(Some(request)) => {
            let (thread, turn) =
                (request.thread.clone().unwrap_or_default(), request.turn_id.clone().unwrap_or_default());
            let run = async {
                match agent.turn(request).await {
                    Outcome::Done { text, usage } => match work.finish(agent, &taken, &thread, &text).await {
                        Ok(()) => Outcome::Done { text, usage },
                        Err(failure) => Outcome::Failed(failure),
                    },
                    failed @ Outcome::Failed(_) => failed,
                }
            };
            tokio::pin!(run);
            tokio::select! {
                outcome = &mut run => outcome,
                lost = keep(agent.room(), name, &taken) => {
                    agent.cancel(&thread, &turn).await;
                    tracing::error!(queue = name, error = %lost, "the lease of a job is lost; its turn was stopped");
                    return;
                }
                () = abort.cancelled() => {
                    agent.cancel(&thread, &turn).await;
                    run.await
                }
            }
        }
    };
    match outcome {
        Outcome::Done { .. } => {
            acknowledge(agent.room(), name, &taken).await;
            tracing::info!(queue = name, "job done");
        }
        Outcome::Failed(failure) => {
            let stopped = failure.code == "cancelled" && abort.is_cancelled();
            if taken.attempt() >= RUNS_MAX && (stopped || PASSING.contains(&failure.code)) {
                tracing::warn!(queue = name, %failure, "the job is left to its lease: it may be done already");
                return;
            }
            let reason = if stopped { STOPPING } else { &failure.message };
            give_back(agent.room(), name, &taken, reason).await;
        }
    }
}

/// The time that a job's paths are made with: its own, which its item id carries, so that another attempt finds the same thread.
fn time_of(taken: &Taken, now: DateTime<Utc>) -> DateTime<Utc> {
    let Taken::Leased(item) = taken else { return now };
    let stamp = Uuid::parse_str(&item.item_id).ok().filter(|id| id.get_version_num() == 7);
    let (seconds, nanos) = stamp.and_then(|id| id.get_timestamp()).map_or((0, 0), |time| time.to_unix());
    let time = i64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
    time.and_then(|seconds| DateTime::from_timestamp(seconds, nanos)).unwrap_or(now)
}

/// The turn that a job asks for. A leased job names its turns and its thread itself, so that an agent to which it comes again
/// finds what was done.
async fn prepare(agent: &Agent, queue: &str, taken: &Taken) -> Result<TurnRequest, Failure> {
    let invalid = |message: String| Failure { message, code: "invalid_job" };
    let job = Job::read(taken.message(), time_of(taken, agent.engine.clock.now()));
    let job = job.map_err(|error| invalid(error.to_string()))?;
    let mut content = Vec::with_capacity(job.parts.len());
    for part in job.parts {
        content.extend(input(agent, part).await?);
    }
    let sender = job.sender_name;
    let mut request = TurnRequest {
        thread: job.thread,
        model_names_thread: true,
        content,
        model: job.model,
        instructions: job.instructions,
        sender_name: sender,
        ..TurnRequest::default()
    };
    if let Taken::Leased(item) = taken {
        let named = |what: &str| {
            Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{queue}/{}/{what}", item.item_id).as_bytes())
        };
        let turn = |attempt: u32| named(&format!("turn/{attempt}")).to_string();
        request.turn_id = Some(turn(item.attempt));
        request.earlier = earlier(item.attempt, turn);
        if request.thread.is_none() && !agent.engine.config.threads.single {
            request.new_thread = true;
            request.thread = Some(format!("{}/{}", agent.engine.config.threads.dir, named("thread")));
        }
    }
    if request.thread.is_none() {
        request.new_thread = !agent.engine.config.threads.single;
        request.thread = Some(agent.new_thread());
    }
    request.turn_id = request.turn_id.or_else(|| Some(agent.engine.ids.fresh().to_string()));
    Ok(request)
}

/// The attempts that may have been made before this one. A job that was a dead letter counts from one again.
pub(super) fn earlier(attempt: u32, turn: impl Fn(u32) -> String) -> Earlier {
    let turns = (1..=attempt.max(2 * RUNS_MAX)).rev().take(ATTEMPTS_LOOKED_AT).map(turn).collect();
    Earlier { turns, look_only: attempt > RUNS_MAX }
}

/// A file whose text belongs into the prompt is put there; one that is no text, or is not there, is left out.
async fn input(agent: &Agent, part: JobPart) -> Result<Option<InputContent>, Failure> {
    Ok(match part {
        JobPart::Text(text) => Some(InputContent::Text { text }),
        JobPart::Link { name, url } => Some(InputContent::File { url, name }),
        JobPart::RoomFile { path, inline: false } => {
            Some(InputContent::File { url: format!("room:///{path}"), name: None })
        }
        JobPart::RoomFile { path, inline: true } => {
            match agent.room().storage().read(&path, FILE_BYTES_MAX).await {
                Ok((data, _)) => {
                    let text = String::from_utf8(data.into()).ok();
                    if text.is_none() {
                        tracing::warn!(path, "a file of the job is no text and is left out");
                    }
                    text.map(InputContent::text)
                }
                Err(error) if error.is_lost() => return Err(lost(&error)),
                Err(error) => {
                    tracing::warn!(path, %error, "a file of the job is left out");
                    None
                }
            }
        }
    })
}

/// Extends the lease for ever; returns only when it is lost.
async fn keep(client: &RoomClient, name: &str, taken: &Taken) -> RoomError {
    let Taken::Leased(item) = taken else { return std::future::pending().await };
    let every = Duration::from_millis(LEASE_MS / EXTENDS_PER_LEASE);
    loop {
        tokio::time::sleep(every).await;
        match client.queues().extend(name, item, LEASE_MS).await {
            Ok(()) => {}
            // The server may be back before the lease ends.
            Err(error) if error.is_lost() => {}
            Err(error) => return error,
        }
    }
}

async fn acknowledge(client: &RoomClient, name: &str, taken: &Taken) {
    let Taken::Leased(item) = taken else { return };
    for _ in 0..SETTLE_ATTEMPTS {
        match client.queues().ack(name, item).await {
            Err(error) if error.is_lost() => {}
            Ok(()) => return,
            Err(error) => {
                tracing::error!(queue = name, %error, "a finished job could not be acknowledged; it will come again");
                return;
            }
        }
    }
}

async fn give_back(client: &RoomClient, name: &str, taken: &Taken, reason: &str) {
    let Taken::Leased(item) = taken else {
        if reason == STOPPING {
            // Best effort: it goes to the end of the line.
            let sent = client.queues().send(name, true, taken.message().clone()).await;
            if let Err(error) = sent {
                tracing::error!(queue = name, %error, "a job could not be put back");
            }
            return;
        }
        tracing::error!(queue = name, reason, "the job failed; this server has no leases, so it is gone");
        return;
    };
    let doubled = RETRY_JOB_MS << item.attempt.saturating_sub(1).min(16);
    let delay_ms = doubled.min(RETRY_JOB_MS_MAX);
    tracing::warn!(queue = name, attempt = item.attempt, delay_ms, reason, "the job is given back");
    for _ in 0..SETTLE_ATTEMPTS {
        match client.queues().nack(name, item, reason, delay_ms).await {
            Err(error) if error.is_lost() => {}
            Ok(()) => return,
            Err(error) => {
                tracing::error!(queue = name, %error, "a job could not be given back; its lease will end");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_of_a_job_has_the_jobs_own_time() {
        let leased = |item_id: &str| {
            let (item_id, lease_token) = (item_id.to_owned(), String::new());
            Taken::Leased(Leased { item_id, lease_token, attempt: 1, message: Value::Null })
        };
        let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let now = time("2030-01-01T00:00:00Z");
        let own = time_of(&leased("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"), now);
        assert_eq!(own, time("2022-02-22T19:22:22Z"));
        assert_eq!(time_of(&leased("no-uuid"), now), now);
        assert_eq!(time_of(&Taken::Received(Value::Null), now), now);
    }
}

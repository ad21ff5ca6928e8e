//! Channel `queue:NAME`: jobs of a room queue (process agents §8).
//!
//! Where the server has leases, a job is taken under one, the lease is extended while the turn runs, and the job is
//! acknowledged when the turn is done or given back when it failed; after too many attempts the server puts it with the
//! dead letters. Elsewhere `receive` takes a job for good.

use super::config::QUEUE_TURNS_MAX;
use super::engine::TurnRequest;
use super::job::Job;
use super::run::Agent;
use super::turn::{Failure, Outcome};
use crate::client::room::{Leased, RoomClient, RoomError};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

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
/// Wait after a failed look at the queue.
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// How long a look at the queue lingers when the agent ends.
const LINGER: Duration = Duration::from_millis(50);

/// A job on its way through the agent.
enum Taken {
    Leased(Leased),
    /// Taken for good.
    Received(Value),
}

impl Taken {
    fn message(&self) -> &Value {
        match self {
            Self::Leased(item) => &item.message,
            Self::Received(message) => message,
        }
    }
}

/// Consumes queue `name` until `stop`. A job that is handed over between `stop` and `abort` is given back.
pub(super) async fn consume(
    agent: Arc<Agent>,
    name: String,
    stop: CancellationToken,
    abort: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(QUEUE_TURNS_MAX));
    while let Some(slot) = free(&slots, &stop).await {
        match take(&agent.client, &name, &abort).await {
            Ok(Some(taken)) if stop.is_cancelled() => {
                give_back(&agent.client, &name, &taken, STOPPING).await;
            }
            Ok(Some(taken)) => {
                let (agent, name, abort) = (agent.clone(), name.clone(), abort.clone());
                agent.clone().work.spawn(async move {
                    handle(&agent, &name, taken, &abort).await;
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

async fn handle(agent: &Agent, name: &str, taken: Taken, abort: &CancellationToken) {
    let attempt = match &taken {
        Taken::Leased(item) => item.attempt,
        Taken::Received(_) => 1,
    };
    tracing::info!(queue = name, attempt, "job taken");
    let cancel = abort.child_token();
    let outcome = match &taken {
        Taken::Leased(item) => tokio::select! {
            outcome = turn(agent, name, item.message.clone(), &cancel) => outcome,
            lost = keep(&agent.client, name, item) => {
                cancel.cancel();
                tracing::error!(queue = name, error = %lost, "the lease of a job is lost; its turn was stopped");
                return;
            }
        },
        Taken::Received(message) => turn(agent, name, message.clone(), &cancel).await,
    };
    match outcome {
        Outcome::Done { .. } => {
            acknowledge(&agent.client, name, &taken).await;
            tracing::info!(queue = name, "job done");
        }
        Outcome::Failed(failure) => {
            let stopped = failure.code == "cancelled";
            let reason = if stopped { STOPPING } else { &failure.message };
            give_back(&agent.client, name, &taken, reason).await;
        }
    }
}

async fn turn(agent: &Agent, queue: &str, message: Value, cancel: &CancellationToken) -> Outcome {
    let job = match Job::read(&message, agent.clock.now()) {
        Ok(job) => job,
        Err(error) => {
            return Outcome::Failed(Failure { message: error.to_string(), code: "invalid_job" });
        }
    };
    let (thread, remember) = agent.thread(job.thread.as_deref());
    let request = TurnRequest {
        parts: job.parts,
        model: job.model,
        instructions: job.instructions,
        sender: job.sender_name.or_else(|| Some(format!("queue:{queue}"))),
        cancel: cancel.clone(),
    };
    agent.turn(&thread, request, remember).await
}

/// Extends the lease for ever; returns only when it is lost.
async fn keep(client: &RoomClient, name: &str, item: &Leased) -> RoomError {
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

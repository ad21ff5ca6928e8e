//! Empties the outbox: puts mail for mailboxes here into their queues, hands the rest to the carrier, tries again
//! later, and tells senders what could not be delivered.

use super::directory;
use super::intake::{Intake, IntakeError, Parcel};
use crate::id::ProjectId;
use crate::mail::Trace;
use crate::mail::bounce;
use crate::mail::carrier::{Carried, Carrier};
use crate::mail::message;
use crate::mail::outbox::{Attempt, BUSY_MAX, Claimed, Outbox, Outcome, Report};
use crate::mail::retry;
use chrono::{DateTime, Duration, Utc};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Deliveries at once.
const AT_ONCE: usize = 16;
/// Of one project: slow servers of its recipients are not the other projects' business.
const PROJECT_AT_ONCE: usize = AT_ONCE / BUSY_MAX;
/// How long one attempt may take, with all the servers that it tries.
const ATTEMPT_MAX: std::time::Duration = std::time::Duration::from_mins(20);
/// How long a delivery is one worker's; longer than any attempt takes.
const CLAIM_FOR: Duration = Duration::minutes(30);
/// Among several servers: how often deliveries of one that died are looked for.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_mins(1);
/// How long a failing store is left alone.
const STORE_PAUSE: std::time::Duration = std::time::Duration::from_secs(5);

/// What the postman is made of.
#[derive(Debug)]
pub struct Postman {
    pub intake: Arc<Intake>,
    pub outbox: Arc<dyn Outbox>,
    pub wake: Arc<Notify>,
    /// `None`: nothing leaves this server.
    pub carrier: Option<Carrier>,
    /// This server's name among mail servers.
    pub host: String,
    /// This server's name among those on one database.
    pub holder: String,
    /// Whether other servers use the outbox too.
    pub shared: bool,
    /// Wait before the second try.
    pub first_retry: Duration,
}

/// Whose deliveries are under way.
type Running = HashMap<Id, ProjectId>;

/// Projects that have as many deliveries under way as they may.
fn busy(running: &Running) -> Vec<ProjectId> {
    let mut counts: HashMap<ProjectId, usize> = HashMap::new();
    for project in running.values() {
        *counts.entry(*project).or_default() += 1;
    }
    counts.into_iter().filter(|(_, count)| *count >= PROJECT_AT_ONCE).map(|(project, _)| project).collect()
}

impl Postman {
    fn now(&self) -> DateTime<Utc> {
        self.intake.app().clock.now()
    }

    /// Works until told to stop. What was under way then is tried again at the next start.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        if let Err(error) = self.outbox.resume(&self.holder).await {
            tracing::warn!(%error, "deliveries of the last run wait until their claims are over");
        }
        let (mut work, mut running) = (JoinSet::new(), Running::default());
        loop {
            let pause = self.take(&mut work, &mut running).await;
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.wake.notified() => {}
                Some(ended) = work.join_next_with_id(), if !work.is_empty() => {
                    running.remove(&ended.map_or_else(|error| error.id(), |(id, ())| id));
                }
                () = wait(pause) => {}
            }
        }
        work.shutdown().await;
    }

    /// Begins what is due; says when to look again.
    async fn take(
        self: &Arc<Self>,
        work: &mut JoinSet<()>,
        running: &mut Running,
    ) -> Option<std::time::Duration> {
        while work.len() < AT_ONCE {
            let busy = busy(running);
            match self.outbox.claim(&self.holder, self.now() + CLAIM_FOR, &busy).await {
                Ok(Some(claimed)) => {
                    let (own, project) = (Arc::clone(self), claimed.mailbox.project());
                    let task = work.spawn(async move { own.deliver(claimed).await });
                    running.insert(task.id(), project);
                }
                Ok(None) => return self.pause(&busy).await,
                Err(error) => {
                    tracing::warn!(%error, "the outbox cannot be read");
                    return Some(STORE_PAUSE);
                }
            }
        }
        None
    }

    /// How long nothing is due, of projects that may have another delivery.
    async fn pause(&self, busy: &[ProjectId]) -> Option<std::time::Duration> {
        let look = self.shared.then_some(LOOK_EVERY);
        match self.outbox.next_due(busy).await {
            Ok(Some(due)) => {
                let until = (due - self.now()).to_std().unwrap_or_default();
                Some(look.map_or(until, |look| look.min(until)))
            }
            Ok(None) => look,
            Err(_) => Some(STORE_PAUSE),
        }
    }

    async fn deliver(&self, claimed: Claimed) {
        let carried = tokio::time::timeout(ATTEMPT_MAX, self.attempt(&claimed)).await;
        let carried = carried.unwrap_or_else(|_| Carried::Later(slow()));
        let now = self.now();
        let (outcome, report) = match carried {
            Carried::Delivered(report) => (Outcome::Delivered, report),
            Carried::Never(report) => (Outcome::Failed, report),
            Carried::Later(report) => {
                let next = retry::next(claimed.submitted_at, now, claimed.attempt, self.first_retry);
                (next.map_or(Outcome::Failed, Outcome::Deferred), report)
            }
        };
        tracing::info!(
            delivery = %claimed.id, attempt = claimed.attempt, status = %outcome.status(),
            reason = report.reason.as_deref().unwrap_or_default(), "mail"
        );
        // Before it is settled: whoever dies in between reports it again, and that changes nothing.
        if outcome == Outcome::Failed {
            self.tell_sender(&claimed, &report, now).await;
        }
        let attempt = Attempt { id: self.intake.app().ids.fresh(), at: now, outcome, report };
        match self.outbox.settle(&claimed, attempt).await {
            Ok(true) => {}
            Ok(false) => tracing::warn!(delivery = %claimed.id, "another worker has this delivery"),
            Err(error) => {
                tracing::warn!(%error, delivery = %claimed.id, "an attempt was not recorded; it is repeated");
            }
        }
    }

    async fn attempt(&self, claimed: &Claimed) -> Carried {
        let world = self.intake.app().world();
        if let Some((id, mailbox)) = directory::mailbox(&world, &claimed.recipient) {
            let within = Some(claimed.mailbox.project());
            if !directory::may_write(&world, id, mailbox, &claimed.sender, within) {
                return never(
                    "5.7.1",
                    "not-listed",
                    "this mailbox takes mail from those its owner listed only",
                );
            }
            let address = mailbox.address.to_ascii_lowercase();
            if message::read(&claimed.message).is_ok_and(|facts| facts.delivered_to.contains(&address)) {
                return never(
                    "5.4.6",
                    "loop",
                    "the message was in this mailbox already; it goes round in circles",
                );
            }
            return self.put(claimed, id).await;
        }
        match &self.carrier {
            Some(carrier) => carrier.carry(Some(&claimed.sender), &claimed.recipient, &claimed.message).await,
            None => never(
                "5.1.1",
                "no-mailbox",
                "there is no such mailbox here, and mail does not leave this server",
            ),
        }
    }

    async fn put(&self, claimed: &Claimed, mailbox: crate::id::MailboxId) -> Carried {
        let parcel = Parcel {
            mailbox,
            from: Some(claimed.sender.clone()),
            trace: self.trace(claimed.id),
            message: Arc::clone(&claimed.message),
            once: Some(Uuid::new_v5(&claimed.id, b"delivery")),
        };
        match self.intake.put(parcel).await {
            Ok(()) => Carried::Delivered(Report { reason: Some("mailbox".to_owned()), ..Report::default() }),
            Err(IntakeError::Gone) => never("5.1.1", "no-mailbox", "the mailbox does not exist any more"),
            Err(error) => Carried::Later(Report {
                enhanced_smtp_code: Some("4.3.0".to_owned()),
                reason: Some("queue".to_owned()),
                description: Some(error.to_string()),
                ..Report::default()
            }),
        }
    }

    fn trace(&self, id: Uuid) -> Trace {
        Trace {
            hello: String::new(),
            peer: None,
            host: self.host.clone(),
            with: "LOCAL",
            id: id.simple().to_string(),
            at: self.now(),
        }
    }

    /// A report into the mailbox that the mail came from. Reports are from nobody, so that none is answered.
    async fn tell_sender(&self, claimed: &Claimed, report: &Report, now: DateTime<Utc>) {
        let message = match bounce::report(claimed, report, &self.host, now) {
            Ok(message) => message,
            Err(error) => return tracing::warn!(%error, delivery = %claimed.id, "no report could be written"),
        };
        let parcel = Parcel {
            mailbox: claimed.mailbox,
            from: None,
            trace: self.trace(claimed.id),
            message: message.into(),
            once: Some(Uuid::new_v5(&claimed.id, b"report")),
        };
        if let Err(error) = self.intake.put(parcel).await {
            tracing::warn!(%error, delivery = %claimed.id, "the sender could not be told that mail failed");
        }
    }
}

/// None of the recipient's servers took the message in time.
fn slow() -> Report {
    Report {
        enhanced_smtp_code: Some("4.4.1".to_owned()),
        reason: Some("slow".to_owned()),
        description: Some(format!(
            "no server took the message within {} minutes",
            ATTEMPT_MAX.as_secs() / 60
        )),
        ..Report::default()
    }
}

fn never(code: &str, reason: &str, description: &str) -> Carried {
    Carried::Never(Report {
        enhanced_smtp_code: Some(code.to_owned()),
        reason: Some(reason.to_owned()),
        description: Some(description.to_owned()),
        ..Report::default()
    })
}

/// For ever without a pause.
async fn wait(pause: Option<std::time::Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

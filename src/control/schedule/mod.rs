//! Schedules: puts an item into the queue of every scheduled task at its instants, and of every agent with a
//! heartbeat, and opens the room so that its services take it. Keeps the tasks that agents ask for in their services.
//!
//! [`plan`] decides. Nothing is remembered between two runs but what saves work: what is dealt with is in the log,
//! and the id of an item is derived from the task and the instant, so that two servers, or a server that was killed
//! halfway, put it there once. The lease is held only while something fires, so that an idle server writes nothing.

mod heartbeat;
pub mod owned;
pub mod plan;

use super::fresh::Fresh;
use super::{ControlParts, Controller, Error, Outcome};
use crate::app::{self, Actor};
use crate::domain::schedule::Schedule;
use crate::domain::scheduled_task::{Fired, Outcome as Became, ScheduledTask};
use crate::id::{RoomId, ScheduledTaskId};
use crate::lease::{Lease, LeaseError};
use crate::name::QueueName;
use crate::projection::World;
use crate::queue::{ItemId, NewItem, QueueKey};
use chrono::{DateTime, TimeDelta, Utc};
use heartbeat::{Beat, Beats};
use owned::Owner;
use plan::{Act, Due, plan};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Name of the lease under which one server at a time fires schedules.
pub const LEASE: &str = "scheduler";
/// How long the lease lasts; it is renewed when half of it is over.
pub const LEASE_TTL: Duration = Duration::from_secs(30);

/// The controller of scheduled tasks and heartbeats.
pub struct Schedules {
    parts: ControlParts,
    memory: Mutex<Memory>,
    fresh: Fresh,
}

#[derive(Default)]
struct Memory {
    /// Read schedules, by task and generation.
    read: HashMap<ScheduledTaskId, Known>,
    beats: Beats,
    /// How many tasks of an owner were deleted, as far as that was noticed.
    numbers: BTreeMap<Owner, u64>,
}

/// What was worked out of a task, while it stays as it is.
#[derive(Clone)]
struct Known {
    generation: u64,
    done_until: Option<DateTime<Utc>>,
    /// `None`: the text is no schedule, or not one that may be.
    schedule: Option<Arc<Schedule>>,
    /// Nothing is due before.
    next: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for Schedules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Schedules").finish_non_exhaustive()
    }
}

/// The instants of one task that are due.
struct Ready {
    id: ScheduledTaskId,
    due: Vec<Due>,
}

impl Schedules {
    #[must_use]
    pub fn new(parts: ControlParts) -> Self {
        Self { parts, memory: Mutex::default(), fresh: Fresh::default() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes, changes and deletes the tasks that services own. Those that rest are answered.
    async fn keep_owned(&self, outcome: &mut Outcome) -> Result<HashSet<ScheduledTaskId>, Error> {
        let tasks = &self.parts.app;
        let numbers = self.memory().numbers.clone();
        let owned::Plan { steps, resting } = owned::plan(&tasks.world(), &numbers);
        for step in steps {
            let kept = match step {
                owned::Step::Create { owner, id, spec } => {
                    let made = tasks.create_task_as(&actor(), id, owner.room, *spec).await;
                    if let Err(app::Error::Busy(_)) = &made {
                        // It was there once and was deleted; the next one has a number of its own.
                        *self.memory().numbers.entry(owner).or_default() += 1;
                        outcome.due(tasks.clock.now());
                        continue;
                    }
                    made
                }
                owned::Step::Update { id, spec } => tasks.update_task(&actor(), id, *spec).await.map(drop),
                owned::Step::Delete { id } => tasks.delete_task(&actor(), id).await,
            };
            match kept {
                // Another server, or a person, was quicker.
                Err(app::Error::Rejected { .. } | app::Error::NotFound { .. }) | Ok(()) => outcome.steps += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(resting)
    }

    /// Tasks with something due, but for those that rest. `outcome` learns when the others are.
    fn ready(
        &self,
        world: &World,
        resting: &HashSet<ScheduledTaskId>,
        now: DateTime<Utc>,
        outcome: &mut Outcome,
    ) -> Vec<Ready> {
        let mut memory = self.memory();
        let mut all = Vec::new();
        let mut seen: HashSet<ScheduledTaskId> = HashSet::new();
        let all_tasks = world.projects().flat_map(|(project, _)| world.tasks(project));
        for (id, task) in all_tasks.filter(|(id, _)| !resting.contains(id)) {
            seen.insert(id);
            let known = memory.read.get(&id).filter(|k| k.generation == task.generation);
            if let Some(known) = known.filter(|k| k.done_until == task.done_until)
                && known.next.is_none_or(|next| next > now)
            {
                known.next.into_iter().for_each(|next| outcome.due(next));
                continue;
            }
            let schedule = match known {
                Some(known) => known.schedule.clone(),
                None => self.read(id, task),
            };
            let mut known =
                Known { generation: task.generation, done_until: task.done_until, schedule, next: None };
            if let Some(schedule) = &known.schedule {
                let enabled = world.room(task.room).is_some_and(|room| room.enabled);
                let planned = plan(task, schedule, enabled, now);
                known.next = planned.next;
                planned.next.into_iter().for_each(|next| outcome.due(next));
                if !planned.due.is_empty() {
                    all.push(Ready { id, due: planned.due });
                    // Until the log shows it dealt with, it is due.
                    known.next = Some(now);
                }
            }
            memory.read.insert(id, known);
        }
        memory.read.retain(|id, _| seen.contains(id));
        all
    }

    fn read(&self, id: ScheduledTaskId, task: &ScheduledTask) -> Option<Arc<Schedule>> {
        let floor = i64::try_from(self.parts.app.settings.schedule_floor_seconds).unwrap_or(i64::MAX / 1000);
        match Schedule::of_task(&task.spec, TimeDelta::seconds(floor)) {
            Ok(schedule) => Some(Arc::new(schedule)),
            Err(error) => {
                tracing::error!(task = %id, %error, "a scheduled task does not fire until it is corrected");
                None
            }
        }
    }

    async fn lease(&self) -> Result<Lease, LeaseError> {
        let url = &self.parts.app.settings.server_url;
        self.parts.leases.acquire(LEASE, &self.parts.holder, url, LEASE_TTL).await
    }

    /// The lease, renewed in good time. An error means that it is lost: nothing more is done under it.
    async fn keep(&self, lease: Lease) -> Result<Lease, LeaseError> {
        let left = lease.until - self.parts.app.clock.now();
        if left.to_std().is_ok_and(|left| left > LEASE_TTL / 2) {
            return Ok(lease);
        }
        self.parts.leases.renew(&lease, LEASE_TTL).await
    }

    /// Deals with all that is due, under the lease.
    async fn fire_all(
        &self,
        ready: Vec<Ready>,
        beats: Vec<Beat>,
        outcome: &mut Outcome,
    ) -> Result<(), Error> {
        let mut lease = match self.lease().await {
            Ok(lease) => lease,
            Err(LeaseError::Held(other)) => {
                // The other server does it; if it does not, its lease ends.
                outcome.due(other.until);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let mut opened = HashSet::new();
        for task in ready {
            for due in task.due {
                lease = self.keep(lease).await?;
                opened.extend(self.deal_with(task.id, &due).await?);
                outcome.steps += 1;
            }
        }
        for beat in beats {
            lease = self.keep(lease).await?;
            self.beat(&beat).await?;
            opened.insert(beat.room);
            outcome.steps += 1;
        }
        self.parts.leases.release(&lease).await?;
        let now = self.parts.app.clock.now();
        opened.into_iter().for_each(|room| self.fresh.add(room, now));
        Ok(())
    }

    /// Fires or leaves one instant and records it. Answers the room where an item waits now.
    async fn deal_with(&self, id: ScheduledTaskId, due: &Due) -> Result<Option<RoomId>, Error> {
        let world = self.parts.app.world();
        let Some(task) = world.task(id) else { return Ok(None) };
        let run = ScheduledTask::run_id(id.uuid(), due.at);
        let fired = |outcome, item, reason| Fired { run, scheduled_at: due.at, outcome, item, reason };
        let (fired, room) = match &due.act {
            Act::Leave { outcome, reason } => (fired(*outcome, None, Some(reason.clone())), None),
            Act::Fire => match self.submit(task, run).await? {
                Ok(note) => (fired(Became::Submitted, Some(run), note), Some(task.room)),
                Err(reason) => (fired(Became::Failed, None, Some(reason)), None),
            },
        };
        let Fired { outcome, reason, .. } = &fired;
        tracing::info!(task = %id, scheduled_at = %due.at, ?outcome, reason, "a scheduled task was due");
        self.parts.app.record_firing(&actor(), id, fired).await?;
        Ok(room)
    }

    /// Puts the item of a task into its queue; `Ok(Err)` is a failure for good, with its reason, and `Ok(Ok)` may
    /// carry a remark.
    async fn submit(
        &self,
        task: &ScheduledTask,
        run: uuid::Uuid,
    ) -> Result<Result<Option<String>, String>, Error> {
        let Some(target) = &task.spec.queue else {
            let text = "this version does not run containers of scheduled tasks; use a queue and a service";
            return Ok(Err(text.to_owned()));
        };
        let body = match serde_json::to_string(&target.payload) {
            Ok(body) => body,
            Err(error) => return Ok(Err(format!("the payload cannot be written as JSON: {error}"))),
        };
        let ignored = "`storage_write_path` is not used by this version".to_owned();
        let remark = target.storage_write_path.as_ref().map(|_| ignored);
        let sent = self.send(task.room, &target.name, run, body).await?;
        Ok(sent.map(|()| remark))
    }

    /// Sends an item with a chosen id, once however often it is called; `Ok(Err)` is a failure for good.
    async fn send(
        &self,
        room: RoomId,
        queue: &str,
        id: uuid::Uuid,
        body: String,
    ) -> Result<Result<(), String>, Error> {
        let name = match QueueName::new(queue) {
            Ok(name) => name,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let item = NewItem::with_id(ItemId(id), body);
        match self.parts.queues.send(&QueueKey::new(room, name), item, true).await {
            Ok(_) => Ok(Ok(())),
            Err(error) if error.is_transient() => Err(error.into()),
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    async fn beat(&self, beat: &Beat) -> Result<(), Error> {
        if let Err(reason) = self.send(beat.room, &beat.queue, beat.item(), beat.body()).await? {
            tracing::warn!(service = %beat.service, agent = beat.agent, reason, "a heartbeat could not be sent");
        }
        self.memory().beats.done(beat);
        Ok(())
    }
}

impl Controller for Schedules {
    const NAME: &'static str = "schedule";

    async fn reconcile(&self) -> Result<Outcome, Error> {
        let app = &self.parts.app;
        let mut outcome = Outcome::default();
        let resting = self.keep_owned(&mut outcome).await?;
        let (world, now) = (app.world(), app.clock.now());
        let ready = self.ready(&world, &resting, now, &mut outcome);
        let beats = self.memory().beats.due(&world, now, &mut outcome);
        if !ready.is_empty() || !beats.is_empty() {
            self.fire_all(ready, beats, &mut outcome).await?;
        }
        self.fresh.open_rooms(&self.parts, &mut outcome).await;
        Ok(outcome)
    }
}

fn actor() -> Actor {
    Actor::controller(Schedules::NAME)
}

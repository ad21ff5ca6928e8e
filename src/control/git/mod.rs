//! Git sources: fetches repositories, applies what they hold, and records what became of it.
//!
//! `plan` says when a source is to be looked at, `execute` looks at it, `report` tells its forge, `status` says how it is. A
//! source is looked at by one server at a time. A look that finds everything as it was records nothing, so that a look
//! after a crash is a look like any other.

mod execute;
mod plan;
mod problems;
mod report;
pub mod status;

use super::service::workers::{Rank, Workers};
use super::{ControlParts, Controller, Error, Outcome};
use crate::app::attempts::Attempt;
use crate::git::Repositories;
use crate::id::{GitSourceId, ProjectId};
use crate::net::commit_status::CommitStatus;
use crate::projection::World;
use crate::spec::reconcile::PRIORITY_DEFAULT;
use chrono::{DateTime, Utc};
use plan::{Ended, Looked};
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use uuid::Uuid;

/// Sources that one server looks at at once.
pub const AT_ONCE_MAX: usize = 4;
/// Of them, those of one project: a forge that does not answer keeps no other project waiting for long.
pub const AT_ONCE_PER_PROJECT_MAX: usize = 2;

/// The controller of git sources.
pub struct GitSources {
    parts: ControlParts,
    repositories: Arc<Repositories>,
    looks: Workers<GitSourceId>,
    seen: Seen,
    /// What forges were told last, and under which address.
    told: Arc<Mutex<HashMap<GitSourceId, (String, CommitStatus)>>>,
    /// The sources whose repositories are kept.
    kept: Mutex<Option<BTreeSet<GitSourceId>>>,
}

/// What this server saw of each source, and when.
type Seen = Arc<Mutex<HashMap<GitSourceId, Looked>>>;

impl std::fmt::Debug for GitSources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GitSources").field("looks", &self.looks).finish_non_exhaustive()
    }
}

impl GitSources {
    #[must_use]
    pub fn new(parts: ControlParts, repositories: Arc<Repositories>, done: watch::Sender<u64>) -> Self {
        let looks = Workers::with_turns(done, AT_ONCE_MAX);
        Self {
            parts,
            repositories,
            looks,
            seen: Seen::default(),
            told: Arc::default(),
            kept: Mutex::default(),
        }
    }

    /// What is to be told of the looks.
    fn attempts(
        &self,
        world: &World,
        seen: &HashMap<GitSourceId, Looked>,
        now: DateTime<Utc>,
    ) -> HashMap<Uuid, Attempt> {
        let own = seen.iter().filter(|(_, looked)| !matches!(looked.ended, Ended::Elsewhere(_)));
        let own = own.filter_map(|(id, looked)| {
            let source = world.git_source(*id)?;
            let next = plan::due(*id, source, Some(looked)).map(|at| at.max(now));
            Some((id.uuid(), Attempt { at: looked.at, failures: looked.failures, next, error: None }))
        });
        let held = self.looks.all_failing().into_iter().map(|(id, failing)| (id.uuid(), failing.into()));
        own.chain(held).collect()
    }

    fn begin(&self, world: &World, id: GitSourceId) {
        let (parts, repositories) = (self.parts.clone(), Arc::clone(&self.repositories));
        let (clock, seen) = (Arc::clone(&parts.app.clock), Arc::clone(&self.seen));
        let told = Arc::clone(&self.told);
        let work = async move {
            let looked = execute::look(&parts, &repositories, id).await?;
            note(&seen, id, looked);
            let due = report::due(&parts.app.world(), id);
            let due = due.filter(|due| locked(&told).get(&id) != Some(due));
            if let Some(due) = due.filter(|_| !matches!(looked.ended, Ended::Elsewhere(_)))
                && report::tell(&parts, id, &due.1).await
            {
                locked(&told).insert(id, due);
            }
            Ok(())
        };
        let rank = Rank { lane: id.project().uuid(), priority: priority_of(world, id) };
        self.looks.begin_ranked(id, rank, id.uuid().as_u128(), move || clock.now(), work);
    }

    /// Removes the repositories of sources that are gone.
    async fn tidy(&self, world: &World) {
        let sources = world.projects().flat_map(|(project, _)| world.git_sources(project));
        let sources: BTreeSet<GitSourceId> = sources.map(|(id, _)| id).collect();
        if locked(&self.kept).as_ref() == Some(&sources) {
            return;
        }
        locked(&self.seen).retain(|id, _| sources.contains(id));
        locked(&self.told).retain(|id, _| sources.contains(id));
        let keys: Vec<String> = sources.iter().map(execute::key).collect();
        // A look that is under way at one that is gone may make its folder again: then there is another to tidy.
        let is_over = self.looks.busy().iter().all(|id| sources.contains(id));
        match self.repositories.keep_only(&keys).await {
            Ok(()) if is_over => *locked(&self.kept) = Some(sources),
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "repositories of git sources that are gone stay behind"),
        }
    }
}

fn priority_of(world: &World, id: GitSourceId) -> u16 {
    world.git_source(id).map_or(PRIORITY_DEFAULT, |source| source.cadence().rank())
}

/// Those that are due, the longest due first. Of one project, the places go to the highest first.
fn by_turn(world: &World, mut due: Vec<(DateTime<Utc>, GitSourceId)>) -> Vec<GitSourceId> {
    due.sort_unstable();
    let mut ranked: HashMap<ProjectId, VecDeque<GitSourceId>> = HashMap::new();
    for (_, id) in &due {
        ranked.entry(id.project()).or_default().push_back(*id);
    }
    for own in ranked.values_mut() {
        own.make_contiguous().sort_by_key(|id| Reverse(priority_of(world, *id)));
    }
    due.into_iter().filter_map(|(_, id)| ranked.get_mut(&id.project())?.pop_front()).collect()
}

fn note(seen: &Seen, id: GitSourceId, looked: Looked) {
    let mut seen = locked(seen);
    let failures = seen.get(&id).map_or(0, |before| before.failures);
    seen.insert(id, looked.after(failures));
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Controller for GitSources {
    const NAME: &'static str = "git";

    async fn reconcile(&self) -> Result<Outcome, Error> {
        let mut outcome = Outcome::default();
        let (world, now) = (self.parts.app.world(), self.parts.app.clock.now());
        self.tidy(&world).await;
        let (busy, seen) = (self.looks.busy(), locked(&self.seen).clone());
        let mut due: Vec<(DateTime<Utc>, GitSourceId)> = vec![];
        for (id, source) in world.projects().flat_map(|(project, _)| world.git_sources(project)) {
            let Some(at) = plan::due(id, source, seen.get(&id)).filter(|_| !busy.contains(&id)) else {
                continue;
            };
            let at = self.looks.held_until(&id, now).map_or(at, |until| at.max(until));
            if at > now {
                outcome.due(at);
            } else if status::waits_for(&world, id, now).is_none() {
                due.push((at, id));
            }
        }
        self.parts.app.attempts.tell(Self::NAME, self.attempts(&world, &seen, now));
        let due = by_turn(&world, due);
        let mut at_work: HashMap<ProjectId, usize> = HashMap::new();
        for id in &busy {
            *at_work.entry(id.project()).or_default() += 1;
        }
        for id in due {
            // The end of a look wakes this controller, and the next one's turn comes.
            let own = at_work.entry(id.project()).or_default();
            if *own < AT_ONCE_PER_PROJECT_MAX {
                *own += 1;
                self.begin(&world, id);
                outcome.steps += 1;
            }
        }
        Ok(outcome)
    }
}

//! Long works with images, each with a log, an end, and a way to stop it: pushes, archives, builds. To their callers
//! the first two look like containers that run to their end.

use crate::containers::{EngineError, Progress};
use crate::id::RoomId;
use crate::room::guard::containers::is_admin;
use crate::room::lock;
use crate::room::toolkit::Call;
use futures_util::{Stream, StreamExt as _};
use std::future::Future;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Jobs that are kept per room; beyond, the oldest that ended is forgotten.
const JOBS_PER_ROOM_MAX: usize = 64;
/// Jobs of one room that may run at once.
const RUNNING_PER_ROOM_MAX: usize = 8;
/// Bytes of a job's log that are kept; the rest is left out.
const LOG_BYTES_MAX: usize = 1024 * 1024;
/// Exit code of a job that failed, and of one that was stopped.
const CODE_FAILED: i64 = 1;
const CODE_STOPPED: i64 = 130;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Shown as a container.
    Image,
    Build,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl Status {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub const fn code(self) -> Option<i64> {
        match self {
            Self::Running => None,
            Self::Succeeded => Some(0),
            Self::Failed => Some(CODE_FAILED),
            Self::Cancelled => Some(CODE_STOPPED),
        }
    }
}

/// An image that a build made.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub tag: String,
    pub digest: String,
}

#[derive(Debug)]
struct Written {
    text: String,
    cut: bool,
    status: Status,
    made: Vec<Made>,
}

/// A job to begin.
#[derive(Debug)]
pub(super) struct New {
    pub room: RoomId,
    pub id: String,
    pub kind: Kind,
    /// What it is about: a tag or a path.
    pub about: String,
    /// Name of the only participant who may see it; `None`: all.
    pub only: Option<String>,
}

/// One job.
#[derive(Debug)]
pub(super) struct Job {
    pub new: New,
    written: watch::Sender<Written>,
    stop: CancellationToken,
}

impl Job {
    pub fn status(&self) -> Status {
        self.written.borrow().status
    }

    pub fn made(&self) -> Vec<Made> {
        self.written.borrow().made.clone()
    }

    pub fn say(&self, text: &str) {
        self.written.send_modify(|written| {
            let room = LOG_BYTES_MAX.saturating_sub(written.text.len());
            if text.len() <= room {
                written.text.push_str(text);
            } else if !std::mem::replace(&mut written.cut, true) {
                written.text.push_str(&text[..text.floor_char_boundary(room)]);
                written.text.push_str("\n… the rest of this log was left out\n");
            }
        });
    }

    pub fn add_made(&self, made: Made) {
        self.written.send_modify(|written| written.made.push(made));
    }

    fn end(&self, status: Status) {
        self.written.send_modify(|written| {
            if written.status == Status::Running {
                written.status = status;
            }
        });
    }

    /// Says what an engine says, to its end; the ids of images it made.
    pub async fn relay(
        &self,
        mut steps: impl Stream<Item = Result<Progress, EngineError>> + Unpin,
    ) -> Result<Vec<String>, EngineError> {
        let mut images = Vec::new();
        while let Some(step) = steps.next().await {
            let step = step?;
            self.say(&step.text);
            images.extend(step.image);
        }
        Ok(images)
    }

    /// Waits for its end; its exit code.
    pub async fn ended(&self) -> i64 {
        let mut written = self.written.subscribe();
        let ended = written.wait_for(|written| written.status != Status::Running).await;
        ended.ok().and_then(|written| written.status.code()).unwrap_or(CODE_FAILED)
    }

    /// What it said after `from`, which moves on; `None` at the end. Waits for more while it runs, with `follow`.
    pub async fn text_after(&self, from: &mut usize, follow: bool) -> Option<String> {
        let mut written = self.written.subscribe();
        let more = |written: &Written| written.text.len() > *from || written.status != Status::Running;
        let seen = if follow { written.wait_for(more).await.ok()? } else { written.borrow() };
        let text = seen.text.get(*from..).filter(|text| !text.is_empty())?.to_owned();
        *from += text.len();
        Some(text)
    }
}

/// The jobs of all rooms.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    all: Mutex<Vec<Arc<Job>>>,
}

impl Jobs {
    /// The room's jobs that the caller may see.
    pub fn of_room(&self, call: &Call) -> Vec<Arc<Job>> {
        let (room, caller) = (call.session.room.id, &call.caller);
        let sees = |job: &&Arc<Job>| {
            job.new.room == room
                && job.new.only.as_ref().is_none_or(|only| *only == caller.name || is_admin(&caller.api))
        };
        lock(&self.all).iter().filter(sees).map(Arc::clone).collect()
    }

    /// A job of the room that the caller may see.
    pub fn find(&self, call: &Call, id: &str) -> Option<Arc<Job>> {
        self.of_room(call).into_iter().find(|job| job.new.id == id)
    }

    /// Begins a job. An error of its work becomes its last words.
    pub fn begin<F, W>(&self, new: New, work: W) -> Result<Arc<Job>, String>
    where
        W: FnOnce(Arc<Job>) -> F,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let room = new.room;
        let written = Written { text: String::new(), cut: false, status: Status::Running, made: vec![] };
        let written = watch::Sender::new(written);
        let job = Arc::new(Job { new, written, stop: CancellationToken::new() });
        {
            let mut all = lock(&self.all);
            let running =
                all.iter().filter(|job| job.new.room == room && job.status() == Status::Running).count();
            if running >= RUNNING_PER_ROOM_MAX {
                return Err(format!(
                    "{RUNNING_PER_ROOM_MAX} builds and image jobs run in this room already; wait for one to end"
                ));
            }
            if all.iter().filter(|job| job.new.room == room).count() >= JOBS_PER_ROOM_MAX
                && let Some(oldest) =
                    all.iter().position(|job| job.new.room == room && job.status() != Status::Running)
            {
                all.remove(oldest);
            }
            all.push(Arc::clone(&job));
        }
        let task = work(Arc::clone(&job));
        let own = Arc::clone(&job);
        tokio::spawn(async move {
            let status = tokio::select! {
                biased;
                () = own.stop.cancelled() => Status::Cancelled,
                result = task => match result {
                    Ok(()) => Status::Succeeded,
                    Err(text) => {
                        own.say(&format!("{text}\n"));
                        Status::Failed
                    }
                },
            };
            own.end(status);
        });
        Ok(job)
    }

    /// Ends a job; false where there is none.
    pub fn stop(&self, call: &Call, id: &str) -> bool {
        self.find(call, id).is_some_and(|job| {
            job.stop.cancel();
            true
        })
    }

    /// Ends and forgets a job; false where there is none.
    pub fn forget(&self, call: &Call, id: &str) -> bool {
        self.find(call, id).is_some_and(|job| {
            job.stop.cancel();
            lock(&self.all).retain(|other| !Arc::ptr_eq(other, &job));
            true
        })
    }

    /// Ends and forgets all jobs of a room.
    pub fn end_room(&self, room: RoomId) {
        lock(&self.all).retain(|job| {
            if job.new.room == room {
                job.stop.cancel();
            }
            job.new.room != room
        });
    }
}

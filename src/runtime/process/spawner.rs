//! The thread that starts all children. The kernel ties a child's life to the thread that made it, and the threads
//! of an async runtime come and go: this one stays as long as the runtime that owns it.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

/// Starts that wait for the thread.
const WAITING_MAX: usize = 64;

struct Job {
    command: Command,
    answer: oneshot::Sender<io::Result<Child>>,
}

/// Starts children whose life is tied to the server's.
#[derive(Debug)]
pub struct Spawner {
    jobs: SyncSender<Job>,
}

impl Spawner {
    /// Starts the thread. Call within the async runtime.
    pub fn start() -> io::Result<Self> {
        let (jobs, queue) = sync_channel::<Job>(WAITING_MAX);
        let runtime = tokio::runtime::Handle::current();
        let work = move || {
            let _entered = runtime.enter();
            for mut job in queue {
                let spawned = job.command.spawn();
                // Whoever asked may be gone: dropping the child kills it.
                let _ = job.answer.send(spawned);
            }
        };
        std::thread::Builder::new().name("spawner".to_owned()).spawn(work)?;
        Ok(Self { jobs })
    }

    /// Starts a child; refused where too many are being started.
    pub async fn spawn(&self, command: Command) -> io::Result<Child> {
        let (answer, spawned) = oneshot::channel();
        let full = |_| io::Error::new(io::ErrorKind::WouldBlock, "too many processes are being started");
        self.jobs.try_send(Job { command, answer }).map_err(full)?;
        spawned.await.map_err(io::Error::other)?
    }
}

//! Who talks to which thread (process agents §6): one task that knows the participants of all channels, the threads at work
//! and who has them open. It never waits for anybody: a thread or participant that is too far behind is refused or cut off.

mod aloud;
mod lists;
mod said;

use super::board::Board;
use super::channel::{Outgoing, Replay, TurnRequest};
use super::engine::Engine;
use super::footprint;
use super::listing::Job;
use super::message::{Body, Failed, Message, Rejected, ThreadEntry, ThreadNotice, TurnStart};
use super::naming;
use super::process::{In, Out, Process};
use super::thread::{By, Input};
use super::turn::{Failure, Outcome};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Messages that may wait for the supervisor; senders wait.
pub const HUB_MAX: usize = 1024;
/// After this time with nothing to do, an agent gives memory back.
const REST_AFTER: Duration = Duration::from_secs(1);
/// Threads at work at once.
pub const THREADS_MAX: usize = 4096;

/// What the supervisor is told.
#[derive(Debug)]
pub(super) enum ToHub {
    Connect {
        id: String,
        name: String,
        outbox: mpsc::Sender<Outgoing>,
    },
    Disconnect {
        id: String,
    },
    Say {
        id: String,
        message: Value,
    },
    Turn(Box<TurnRequest>, oneshot::Sender<Outcome>),
    /// Messages of a channel for a thread at work; `shown` hears when they are in it.
    Inject {
        thread: String,
        messages: Vec<Message>,
        shown: oneshot::Sender<()>,
    },
    Cancel {
        thread: String,
        turn_id: String,
    },
    From {
        thread: String,
        out: Out,
    },
    Listed(Listed),
    /// A model named a thread.
    Named {
        path: String,
        name: String,
    },
    /// End all threads, and say when that is done.
    Stop(oneshot::Sender<()>),
}

/// What became of a job for the list of threads.
#[derive(Debug)]
pub(super) enum Listed {
    Created(ThreadEntry),
    Updated {
        thread: ThreadEntry,
        by: Option<String>,
    },
    Deleted {
        path: String,
        by: String,
    },
    Admitted {
        by: String,
        message: Box<Message>,
        listed: bool,
    },
    Page {
        to: String,
        message_id: String,
        threads: Vec<ThreadEntry>,
        total: usize,
        offset: usize,
        limit: usize,
    },
}

struct Participant {
    name: String,
    outbox: mpsc::Sender<Outgoing>,
    replay: Replay,
}

#[derive(Default)]
struct Served {
    board: Board,
    process: Option<Process>,
}

/// The supervisor.
pub(super) struct Hub {
    engine: Arc<Engine>,
    /// Its own address, for what it starts.
    own: mpsc::Sender<ToHub>,
    jobs: mpsc::Sender<Job>,
    participants: HashMap<String, Participant>,
    watching: BTreeSet<String>,
    threads: HashMap<String, Served>,
    /// Tasks of threads that are ending.
    ending: HashMap<String, JoinHandle<()>>,
}

impl Hub {
    pub fn new(engine: Arc<Engine>, own: mpsc::Sender<ToHub>, jobs: mpsc::Sender<Job>) -> Self {
        Self {
            engine,
            own,
            jobs,
            participants: HashMap::new(),
            watching: BTreeSet::new(),
            threads: HashMap::new(),
            ending: HashMap::new(),
        }
    }

    pub async fn work(mut self, mut told: mpsc::Receiver<ToHub>) {
        while let Some(message) = self.next(&mut told).await {
            match message {
                ToHub::Connect { id, name, outbox } => {
                    let replay = Replay::new(outbox.clone());
                    self.participants.insert(id, Participant { name, outbox, replay });
                }
                ToHub::Disconnect { id } => self.disconnect(&id),
                ToHub::Say { id, message } => self.said(&id, &message),
                ToHub::Turn(request, done) => self.turn(*request, done),
                ToHub::Cancel { thread, turn_id } => {
                    self.pass(&thread, In::Input(Input::CancelTurn { turn_id }));
                }
                ToHub::Inject { thread, messages, shown } => {
                    self.pass(&thread, In::Inject { messages, shown: Some(shown) });
                }
                ToHub::From { thread, out } => self.from_thread(&thread, out),
                ToHub::Listed(listed) => self.listed(listed),
                ToHub::Named { path, name } => self.job(Job::Rename { path, name, by: None }),
                ToHub::Stop(done) => {
                    self.stop().await;
                    let _ = done.send(());
                    return;
                }
            }
        }
    }

    /// The next message. An agent that has nothing to do meanwhile gives memory back, once.
    async fn next(&self, told: &mut mpsc::Receiver<ToHub>) -> Option<ToHub> {
        loop {
            match tokio::time::timeout(REST_AFTER, told.recv()).await {
                Ok(message) => return message,
                Err(_) if self.is_at_rest() => break,
                Err(_) => {}
            }
        }
        footprint::give_back();
        told.recv().await
    }

    fn is_at_rest(&self) -> bool {
        self.threads.values().filter_map(|thread| thread.process.as_ref()).all(Process::is_idle)
    }

    fn fresh(&self) -> String {
        self.engine.ids.fresh().to_string()
    }

    fn message(&self, body: Body) -> Message {
        let mut message = Message::new(self.fresh(), self.engine.clock.now(), body);
        message.sender_name = Some(self.engine.config.agent_name.clone());
        message
    }

    fn job(&self, job: Job) {
        if self.jobs.try_send(job).is_err() {
            tracing::error!("the list of threads is too far behind; a change of it is dropped");
        }
    }

    /// Sends to one participant; one that is too far behind is cut off.
    fn send(&mut self, id: &str, message: Arc<Map<String, Value>>) {
        let Some(participant) = self.participants.get(id) else { return };
        match participant.outbox.try_send(Outgoing::new(message)) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => {
                tracing::warn!(participant = id, "a participant does not read; it is cut off");
            }
            // It went by itself.
            Err(TrySendError::Closed(_)) => {}
        }
        self.disconnect(id);
    }

    fn tell(&mut self, id: &str, body: Body) {
        let message = Arc::new(self.message(body).full());
        self.send(id, message);
    }

    fn disconnect(&mut self, id: &str) {
        self.participants.remove(id);
        self.watching.remove(id);
        let open: Vec<String> =
            self.threads.iter_mut().filter_map(|(path, t)| t.board.close(id).then(|| path.clone())).collect();
        for path in open {
            self.pass(&path, In::Input(Input::ParticipantGone(id.to_owned())));
            self.settle(&path);
        }
    }

    /// A turn of a channel that takes jobs.
    fn turn(&mut self, request: TurnRequest, mut done: oneshot::Sender<Outcome>) {
        let now = self.engine.clock.now();
        let is_new = request.new_thread || request.thread.is_none();
        let by = request.sender_name.as_deref().unwrap_or_default();
        let path = request.thread.clone().unwrap_or_else(|| self.new_path(by));
        if is_new {
            let name = request.thread_name.clone().unwrap_or_else(|| naming::from_content(&request.content));
            let entry = self.entry(path.clone(), name);
            let (stored, listed) = oneshot::channel();
            self.job(Job::Put { entry: entry.clone(), stored: Some(stored) });
            self.announce(&path, Body::ThreadCreated(ThreadNotice { thread: entry }), None);
            if request.model_names_thread {
                self.name_by_model(&path, &request.content);
            }
            done = after(listed, done);
        } else {
            let name = request.thread_name.clone().unwrap_or_else(|| naming::of_path(&path));
            self.job(Job::Bump { path: path.clone(), name });
        }
        let turn_id = request.turn_id.clone().unwrap_or_else(|| self.fresh());
        let options = super::message::Options {
            model: request.model,
            instructions: request.instructions,
            ..super::message::Options::default()
        };
        let start = TurnStart {
            thread_id: path.clone(),
            turn_id: Some(turn_id.clone()),
            content: request.content,
            options,
        };
        let mut message = Message::new(self.fresh(), now, Body::TurnStart(start));
        message.sender_name.clone_from(&request.sender_name);
        let by = By {
            participant: request.participant_id,
            name: request.sender_name,
            unattended: request.unattended,
        };
        self.threads.entry(path.clone()).or_default();
        if !request.earlier.look_only {
            self.show_said("", &path, &message);
        }
        let told = In::Turn { message: Box::new(message), turn_id, by, earlier: request.earlier, done };
        self.serve(&path, told);
    }

    /// Hands something to a thread, whose task is started where it does not run.
    fn serve(&mut self, path: &str, message: In) {
        if self.threads.get(path).is_none_or(|t| t.process.is_none()) {
            let running = self.threads.values().filter(|t| t.process.is_some()).count();
            if running >= THREADS_MAX {
                self.refuse(path, message, format!("{THREADS_MAX} threads are at work; try again later"));
                return;
            }
            let before = self.ending.remove(path);
            let (own, of) = (self.own.clone(), path.to_owned());
            let outlet = Box::new(move |out| {
                let (own, thread) = (own.clone(), of.clone());
                let told: futures_util::future::BoxFuture<'static, ()> = Box::pin(async move {
                    // The agent has stopped.
                    let _ = own.send(ToHub::From { thread, out }).await;
                });
                told
            });
            let process = Process::start(self.engine.clone(), path.to_owned(), before, outlet);
            self.threads.entry(path.to_owned()).or_default().process = Some(process);
        }
        self.pass(path, message);
    }

    /// Hands something to a thread if it is at work.
    fn pass(&mut self, path: &str, message: In) {
        let Some(process) = self.threads.get_mut(path).and_then(|t| t.process.as_mut()) else { return };
        if let Err(message) = process.send(message) {
            self.refuse(path, message, format!("thread {path} is too far behind; try again later"));
        }
    }

    fn refuse(&mut self, path: &str, message: In, text: String) {
        let (source, done) = match message {
            In::Turn { message, done, .. } => (message.message_id, Some(done)),
            In::Input(Input::Start { message, .. }) => (message.message_id, None),
            _ => return,
        };
        if let Some(done) = done {
            // Nobody may be waiting any more.
            let _ = done.send(Outcome::Failed(Failure { message: text.clone(), code: "thread_busy" }));
        }
        let error = Failed { message: text, code: Some("thread_busy".into()) };
        let rejected = Rejected { thread_id: path.to_owned(), source_message_id: source, error };
        let message = self.message(Body::StartRejected(rejected));
        self.show(path, &message);
    }

    fn show(&mut self, path: &str, message: &Message) {
        let Some(thread) = self.threads.get_mut(path) else { return };
        let live = thread.board.happened(&message.full());
        let watchers: Vec<_> = thread.board.watchers().cloned().collect();
        for id in watchers {
            self.send(&id, live.clone());
        }
    }

    fn from_thread(&mut self, path: &str, out: Out) {
        match out {
            Out::Message(message) => self.show(path, &message),
            Out::To { to, message } => self.send(&to, Arc::new(message)),
            Out::Idle { handled } => {
                if let Some(process) = self.threads.get_mut(path).and_then(|t| t.process.as_mut()) {
                    process.idle(handled);
                }
                self.settle(path);
            }
        }
    }

    /// Lets go of a thread that nobody has open and that has nothing to do.
    fn settle(&mut self, path: &str) {
        let Some(thread) = self.threads.get(path) else { return };
        if !thread.board.is_unwatched() || thread.process.as_ref().is_some_and(|process| !process.is_idle()) {
            return;
        }
        if let Some(process) = self.threads.remove(path).and_then(|thread| thread.process) {
            self.ending.retain(|_, task| !task.is_finished());
            self.ending.insert(path.to_owned(), process.end());
        }
    }

    async fn stop(self) {
        let tasks: Vec<_> = self.threads.into_values().filter_map(|t| t.process).map(Process::end).collect();
        for task in tasks.into_iter().chain(self.ending.into_values()) {
            // A task that panicked has nothing left to write.
            let _ = task.await;
        }
    }
}

/// Passes an outcome on once its thread is listed: a job whose thread nobody finds is not done.
fn after(listed: oneshot::Receiver<()>, done: oneshot::Sender<Outcome>) -> oneshot::Sender<Outcome> {
    let (first, outcome) = oneshot::channel();
    tokio::spawn(async move {
        // Dropped: the agent stops, and so hears whoever waits.
        let Ok(outcome) = outcome.await else { return };
        let outcome = match (outcome, listed.await) {
            (Outcome::Done { .. }, Err(_)) => Outcome::Failed(Failure {
                message: "the thread of the turn could not be listed".into(),
                code: "room_lost",
            }),
            (outcome, _) => outcome,
        };
        // Nobody may be waiting any more.
        let _ = done.send(outcome);
    });
    first
}

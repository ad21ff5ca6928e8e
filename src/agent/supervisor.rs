//! Who talks to which thread (process agents §6): one task that knows the participants of all channels, the threads at work
//! and who has them open. It never waits for anybody: a thread or participant that is too far behind is refused or cut off.

use super::board::Board;
use super::channel::{Outgoing, TurnRequest};
use super::engine::Engine;
use super::listing::Job;
use super::message::{
    Body, Failed, InputContent, Message, Models, Rejected, StartThread, ThreadEntry, ThreadNotice,
    ThreadStarted, TurnStart,
};
use super::model::ModelId;
use super::naming;
use super::process::{In, Out, Process};
use super::thread::{By, Input};
use super::turn::{Failure, Outcome};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Messages that may wait for the supervisor; senders wait.
pub const HUB_MAX: usize = 1024;
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
        while let Some(message) = told.recv().await {
            match message {
                ToHub::Connect { id, name, outbox } => {
                    self.participants.insert(id, Participant { name, outbox });
                }
                ToHub::Disconnect { id } => self.disconnect(&id),
                ToHub::Say { id, message } => self.said(&id, &message),
                ToHub::Turn(request, done) => self.turn(*request, done),
                ToHub::Cancel { thread, turn_id } => {
                    let interrupt = Input::Interrupt { message_id: self.fresh(), turn_id };
                    self.pass(&thread, In::Input(interrupt));
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
        if participant.outbox.try_send(Outgoing { message }).is_err() {
            tracing::warn!(participant = id, "a participant does not read; it is cut off");
            self.disconnect(id);
        }
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

    // ---- what participants say

    fn said(&mut self, id: &str, value: &Value) {
        let Some(name) = self.participants.get(id).map(|p| p.name.clone()) else {
            tracing::warn!(participant = id, "a message of somebody who is not there is dropped");
            return;
        };
        let ids = self.engine.ids.clone();
        let message = Message::parse(value, || ids.fresh().to_string(), self.engine.clock.now());
        let mut message = match message {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(participant = id, %error, "a message is dropped");
                return;
            }
        };
        // Who it is from is known, whatever it says.
        message.sender_name = Some(name).filter(|name| !name.is_empty());
        let source = message.message_id.clone();
        match message.body.clone() {
            Body::ThreadStart(start) => self.start_thread(id, &message, start),
            Body::TurnStart(start) => self.turn_start(id, message, start),
            Body::TurnSteer(steer) => self.steer(id, message, &steer.thread_id),
            Body::TurnInterrupt(of) => {
                self.pass(
                    &of.thread_id,
                    In::Input(Input::Interrupt { message_id: source, turn_id: of.turn_id }),
                );
            }
            Body::ToolCallApprove(of) => self.judged(of, true),
            Body::ToolCallReject(of) => self.judged(of, false),
            Body::ClientToolResponse(answer) => {
                let (turn_id, request_id) = (answer.turn_id, answer.request_id);
                let participant = id.to_owned();
                let input =
                    Input::ClientAnswered { turn_id, request_id, participant, response: answer.response };
                self.pass(&answer.thread_id, In::Input(input));
            }
            Body::ThreadOpen(open) => self.open(id, source, open),
            Body::ThreadClose(of) => {
                if let Some(thread) = self.threads.get_mut(&of.thread_id) {
                    thread.board.close(id);
                }
                self.settle(&of.thread_id);
            }
            Body::ThreadClear(of) => {
                self.serve(&of.thread_id, In::Input(Input::Clear { message_id: source }))
            }
            Body::ModelChange(change) => {
                let path = change.thread_id.clone();
                self.serve(&path, In::Input(Input::ModelChange { message_id: source, change }));
            }
            Body::CapabilitiesRequest(of) => {
                self.serve(&of.thread_id, In::Capabilities { to: id.to_owned(), message_id: source });
            }
            Body::Inject(inject) => self.inject(&inject.thread_id, &inject.messages),
            Body::ThreadDelete(of) => self.job(Job::Delete { path: of.thread_id, by: id.to_owned() }),
            Body::ThreadRename(rename) => {
                let name = rename.name.split_whitespace().collect::<Vec<_>>().join(" ");
                if !name.is_empty() {
                    self.job(Job::Rename { path: rename.thread_id, name, by: Some(id.to_owned()) });
                }
            }
            Body::ThreadList(page) => {
                let limit = usize::try_from(page.limit.clamp(1, 200)).unwrap_or(200);
                let offset = usize::try_from(page.offset.max(0)).unwrap_or(0);
                self.job(Job::List { to: id.to_owned(), message_id: source, limit, offset });
            }
            Body::ThreadWatch(_) => {
                self.watching.insert(id.to_owned());
            }
            Body::ThreadUnwatch(_) => {
                self.watching.remove(id);
            }
            Body::ModelsRequest(_) => {
                let providers = super::model::catalogue(&self.engine.config.models);
                self.tell(id, Body::Models(Models { source_message_id: source, providers }));
            }
            other => tracing::warn!(
                participant = id,
                kind = other.kind(),
                "a message that only agents send is dropped"
            ),
        }
    }

    fn judged(&mut self, of: super::message::OfItem, approved: bool) {
        let input = Input::Judged { turn_id: of.turn_id, item_id: of.item_id, approved };
        self.pass(&of.thread_id, In::Input(input));
    }

    fn by(&self, id: &str) -> By {
        let name = self.participants.get(id).map(|p| p.name.clone()).filter(|name| !name.is_empty());
        By { participant: Some(id.to_owned()), name, unattended: false }
    }

    fn new_path(&self) -> String {
        let threads = &self.engine.config.threads;
        if threads.single {
            format!("{}/main", threads.dir)
        } else {
            format!("{}/{}", threads.dir, self.fresh())
        }
    }

    fn start_thread(&mut self, id: &str, message: &Message, start: StartThread) {
        let path = self.new_path();
        let content = start.content.clone().unwrap_or_default();
        let named = start.name.as_deref().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
        let name = named.clone().unwrap_or_else(|| naming::from_content(&content));
        let entry = self.entry(path.clone(), name);
        self.job(Job::Put { entry: entry.clone(), stored: None });
        self.announce(Body::ThreadCreated(ThreadNotice { thread: entry }), Some(id));
        let source_message_id = message.message_id.clone();
        let started = ThreadStarted { source_message_id, thread_id: path.clone(), realtime_connection: None };
        self.tell(id, Body::ThreadStarted(started));
        self.threads.entry(path.clone()).or_default().board.open(id);
        if named.is_none() {
            self.name_by_model(&path, &content);
        }
        let Some(content) = start.content else { return };
        let begun = TurnStart { thread_id: path.clone(), turn_id: None, content, options: start.options };
        let turn = Message { body: Body::TurnStart(begun), ..message.clone() };
        self.begin_turn(id, &path, turn);
    }

    fn turn_start(&mut self, id: &str, message: Message, start: TurnStart) {
        let path = start.thread_id;
        self.threads.entry(path.clone()).or_default().board.open(id);
        self.job(Job::Bump { path: path.clone(), name: naming::of_path(&path) });
        self.begin_turn(id, &path, message);
    }

    /// Shows the others what was said and hands it to the thread.
    fn begin_turn(&mut self, id: &str, path: &str, mut message: Message) {
        if let Body::TurnStart(start) = &mut message.body {
            start.content.iter_mut().for_each(in_room);
        }
        self.show_said(id, path, &message);
        let turn_id = match &message.body {
            Body::TurnStart(start) => start.turn_id.clone().filter(|turn| !turn.trim().is_empty()),
            _ => None,
        };
        let turn_id = turn_id.unwrap_or_else(|| self.fresh());
        let by = self.by(id);
        self.serve(path, In::Input(Input::Start { message: Box::new(message), turn_id, by }));
    }

    fn steer(&mut self, id: &str, mut message: Message, path: &str) {
        if let Body::TurnSteer(steer) = &mut message.body {
            steer.content.iter_mut().for_each(in_room);
        }
        self.threads.entry(path.to_owned()).or_default().board.open(id);
        self.job(Job::Bump { path: path.to_owned(), name: naming::of_path(path) });
        self.show_said(id, path, &message);
        let participant = Some(id.to_owned());
        self.serve(path, In::Input(Input::Steer { message: Box::new(message), participant }));
    }

    fn show_said(&mut self, id: &str, path: &str, message: &Message) {
        let Some(thread) = self.threads.get_mut(path) else { return };
        let mut full = message.full();
        full.remove("llm_authorization");
        let live = thread.board.said(&full);
        let others: Vec<_> = thread.board.watchers().filter(|other| *other != id).cloned().collect();
        for other in others {
            self.send(&other, live.clone());
        }
    }

    fn open(&mut self, id: &str, message_id: String, open: super::message::OpenThread) {
        let path = open.thread_id;
        if let Some(backend) = open.backend.as_deref().filter(|backend| !backend.is_empty())
            && !self.engine.config.models.iter().any(|model| model.backend_name() == backend)
        {
            return;
        }
        let thread = self.threads.entry(path.clone()).or_default();
        thread.board.open(id);
        if open.load == Some(true) {
            self.serve(&path, In::Load { to: id.to_owned(), message_id, since: open.since_turn });
            return;
        }
        for message in thread.board.replay() {
            self.send(id, message);
        }
    }

    fn inject(&mut self, path: &str, messages: &[Value]) {
        let (ids, now) = (self.engine.ids.clone(), self.engine.clock.now());
        let read = |value: &Value| match Message::parse(value, || ids.fresh().to_string(), now) {
            Ok(message) if message.body.thread_id() == Some(path) => Some(message),
            _ => None,
        };
        let messages = messages.iter().filter_map(read).collect();
        self.serve(path, In::Inject(messages));
    }

    // ---- turns of channels that take jobs

    fn turn(&mut self, request: TurnRequest, done: oneshot::Sender<Outcome>) {
        let now = self.engine.clock.now();
        let is_new = request.new_thread || request.thread.is_none();
        let path = request.thread.clone().unwrap_or_else(|| self.new_path());
        if is_new {
            let name = request.thread_name.clone().unwrap_or_else(|| naming::from_content(&request.content));
            let entry = self.entry(path.clone(), name);
            self.job(Job::Put { entry: entry.clone(), stored: None });
            self.announce(Body::ThreadCreated(ThreadNotice { thread: entry }), None);
            if request.model_names_thread {
                self.name_by_model(&path, &request.content);
            }
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
        self.show_said("", &path, &message);
        let told = In::Turn { message: Box::new(message), turn_id, by, before: request.before, done };
        self.serve(&path, told);
    }

    // ---- threads

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

    // ---- the list of threads

    fn entry(&self, path: String, name: String) -> ThreadEntry {
        let now = super::message::timestamp(self.engine.clock.now());
        ThreadEntry { path, name, created_at: now.clone(), modified_at: now }
    }

    fn announce(&mut self, body: Body, by: Option<&str>) {
        let message = Arc::new(super::message::live(&self.message(body).full()));
        let mut to = self.watching.clone();
        to.extend(by.map(str::to_owned));
        for id in to {
            self.send(&id, message.clone());
        }
    }

    fn listed(&mut self, listed: Listed) {
        match listed {
            Listed::Created(thread) => self.announce(Body::ThreadCreated(ThreadNotice { thread }), None),
            Listed::Updated { thread, by } => {
                self.announce(Body::ThreadUpdated(ThreadNotice { thread }), by.as_deref())
            }
            Listed::Deleted { path, by } => {
                if let Some(process) = self.threads.remove(&path).and_then(|thread| thread.process) {
                    self.ending.insert(path.clone(), process.end());
                }
                self.announce(Body::ThreadDeleted(super::message::ThreadDeleted { path }), Some(&by));
            }
            Listed::Page { to, message_id, threads, total, offset, limit } => {
                let source_message_id = message_id;
                self.tell(
                    &to,
                    Body::ThreadListed(super::message::Listed {
                        source_message_id,
                        threads,
                        total,
                        offset,
                        limit,
                    }),
                );
            }
        }
    }

    /// Has a model name a thread, beside everything else.
    fn name_by_model(&self, path: &str, content: &[InputContent]) {
        let Some(model) = self.naming_model() else { return };
        let (engine, own) = (self.engine.clone(), self.own.downgrade());
        let (path, content) = (path.to_owned(), content.to_vec());
        tokio::spawn(async move {
            if let Some(name) = naming::by_model(&engine, &model, &content).await
                && let Some(own) = own.upgrade()
            {
                let _ = own.send(ToHub::Named { path, name }).await;
            }
        });
    }

    fn naming_model(&self) -> Option<ModelId> {
        self.engine.config.decision_model.clone()
    }
}

/// A file address without a scheme is a path in the room.
fn in_room(content: &mut InputContent) {
    if let InputContent::File { url, .. } | InputContent::Audio { url } = content
        && !url.contains(':')
    {
        *url = format!("room:///{}", url.trim_start_matches('/'));
    }
}

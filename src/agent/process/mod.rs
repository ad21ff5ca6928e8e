//! Acts for one thread while somebody needs it: one task that feeds its [`Thread`] and does what that says.

mod aloud;
mod answers;
mod compacting;
mod opening;

use super::backend::{Programs, Prompt};
use super::channel::Replay;
use super::engine::{Engine, Plan, Work};
use super::message::{Body, InputContent, Message};
use super::model::ModelId;
use super::provider::realtime::Conversations;
use super::provider::{SAYINGS_MAX, Said, Say};
use super::thread::machine::Effect;
use super::thread::project;
use super::thread::record::{Recorder, Row};
use super::thread::{By, Earlier, Input, Prepared, Thread};
use super::tools::CallContext;
use super::turn::{Failure, Outcome};
use super::voice::Noticed;
use super::writer::Writer;
use crate::agent::message::LogLine;
use compacting::Summary;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Messages that may wait for one thread; more are refused.
pub const INBOX_MAX: usize = 512;
/// How long a client's own tool may take.
const CLIENT_TOOL_MAX: Duration = Duration::from_mins(5);
/// How long a call may wait to be approved: meanwhile the thread does nothing else.
const APPROVAL_MAX: Duration = Duration::from_hours(1);

/// What a thread is told.
#[derive(Debug)]
pub(super) enum In {
    Input(Input),
    /// A turn whose outcome somebody waits for. It is not run again where an earlier attempt is done.
    Turn {
        message: Box<Message>,
        turn_id: String,
        by: By,
        earlier: Earlier,
        done: oneshot::Sender<Outcome>,
    },
    /// Wants the stored history.
    Load {
        to: Replay,
        message_id: String,
        since: Option<String>,
    },
    Capabilities {
        to: String,
        message_id: String,
    },
    /// Messages to store and show; `shown` hears when that is done.
    Inject {
        messages: Vec<Message>,
        shown: Option<oneshot::Sender<()>>,
    },
}

/// What a thread tells.
#[derive(Debug)]
pub(super) enum Out {
    /// To all who have the thread open.
    Message(Message),
    /// To one participant, whole.
    To { to: String, message: Map<String, Value> },
    /// Nothing runs or waits, after so many messages.
    Idle { handled: u64 },
}

/// A thread's task.
#[derive(Debug)]
pub(super) struct Process {
    inbox: mpsc::Sender<In>,
    task: JoinHandle<()>,
    sent: u64,
    idle_at: Option<u64>,
}

/// Where a thread's messages go: the supervisor's own channel, marked with the thread.
pub(super) type Outlet = Box<dyn Fn(Out) -> BoxFuture<'static, ()> + Send + Sync>;

impl Process {
    /// Starts the task of thread `path`; `before` is the one that served the thread earlier and must be gone first.
    pub fn start(engine: Arc<Engine>, path: String, before: Option<JoinHandle<()>>, out: Outlet) -> Self {
        let (inbox, messages) = mpsc::channel(INBOX_MAX);
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                // It may have panicked; that is not ours to tell.
                let _ = before.await;
            }
            serve(engine, path, messages, out).await;
        });
        Self { inbox, task, sent: 0, idle_at: None }
    }

    /// Hands a message over; gives it back when too many wait.
    pub fn send(&mut self, message: In) -> Result<(), In> {
        self.inbox.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(message) | mpsc::error::TrySendError::Closed(message) => message,
        })?;
        self.sent += 1;
        Ok(())
    }

    /// Notes that the thread was idle after so many messages.
    pub fn idle(&mut self, handled: u64) {
        self.idle_at = Some(handled);
    }

    /// Whether it has done all it was told.
    pub fn is_idle(&self) -> bool {
        self.idle_at == Some(self.sent)
    }

    /// Lets it end; what it holds is written first.
    pub fn end(self) -> JoinHandle<()> {
        self.task
    }
}

/// What the work of a turn came to.
enum Worked {
    Input(Input),
    /// The summary stands for all before it.
    Prepared {
        turn_id: String,
        result: Result<(Prepared, Work), Failure>,
        summary: Option<Summary>,
    },
}

struct Actor {
    engine: Arc<Engine>,
    path: String,
    thread: Thread,
    recorder: Recorder,
    writer: Option<Writer>,
    out: Outlet,
    /// What was begun for the running turn.
    work: FuturesUnordered<BoxFuture<'static, Worked>>,
    /// Waits for clients; outlives the turn, since late ends are ignored.
    waits: FuturesUnordered<BoxFuture<'static, Input>>,
    using: Work,
    programs: Programs,
    /// With models that hear and speak.
    conversations: Conversations,
    noticed: mpsc::Receiver<Noticed>,
    said: (mpsc::Sender<Said>, mpsc::Receiver<Said>),
    logs: (mpsc::Sender<(String, Vec<LogLine>)>, mpsc::Receiver<(String, Vec<LogLine>)>),
    waiters: HashMap<String, oneshot::Sender<Outcome>>,
    by: BTreeMap<String, By>,
    /// Tokens that the last request took.
    used_tokens: u64,
    /// Rows of the thread so far.
    rows: i64,
    handled: u64,
}

async fn serve(engine: Arc<Engine>, path: String, mut messages: mpsc::Receiver<In>, out: Outlet) {
    let Some((opened, waiting, handled)) = opening::open_for(&engine, &path, &mut messages, &out).await
    else {
        return;
    };
    let programs = Programs::of(&engine.config.programs, engine.ids.clone(), opened.session);
    let (notice, noticed) = mpsc::channel(SAYINGS_MAX);
    let conversations = engine.conversations(notice);
    let mut actor = Actor {
        programs,
        conversations,
        noticed,
        recorder: Recorder::new(engine.ids.clone()),
        engine,
        path,
        thread: opened.thread,
        writer: opened.writer,
        out,
        work: FuturesUnordered::new(),
        waits: FuturesUnordered::new(),
        using: Work::default(),
        said: mpsc::channel(SAYINGS_MAX),
        logs: mpsc::channel(SAYINGS_MAX),
        waiters: HashMap::new(),
        by: BTreeMap::new(),
        used_tokens: opened.used_tokens,
        rows: opened.rows,
        handled,
    };
    actor.close_open_turns(opened.open_turns).await;
    for message in waiting {
        actor.handle(message).await;
    }
    actor.run(&mut messages).await;
    if let Some(writer) = actor.writer {
        writer.end().await;
    }
}

impl Actor {
    /// Turns that began under an agent that is gone end here, so that every turn ends.
    async fn close_open_turns(&mut self, turns: Vec<String>) {
        for turn_id in turns {
            let error = super::message::Failed {
                message: "the agent stopped before the turn was done".into(),
                code: Some("interrupted".into()),
            };
            let body = Body::TurnEnded(super::message::TurnEnded {
                thread_id: self.path.clone(),
                turn_id,
                error: Some(error),
            });
            let message = Message::new(self.engine.ids.fresh().to_string(), self.engine.clock.now(), body);
            self.store(&message).await;
        }
    }

    async fn run(&mut self, messages: &mut mpsc::Receiver<In>) {
        loop {
            let input = tokio::select! {
                biased;
                Some(said) = self.said.1.recv() => Input::Said(said),
                Some((item_id, lines)) = self.logs.1.recv() => Input::ToolLog { item_id, lines },
                message = messages.recv() => {
                    let Some(message) = message else { return self.stop().await };
                    self.handle(message).await;
                    continue;
                }
                Some(worked) = self.work.next() => match worked {
                    Worked::Input(input) => {
                        self.drain().await;
                        input
                    }
                    Worked::Prepared { turn_id, result, summary } => {
                        if let (Some(summary), Ok((prepared, _))) = (summary, &result) {
                            self.compacted(summary, prepared.input.as_ref()).await;
                        }
                        let result = result.map(|(prepared, work)| {
                            self.using = work;
                            prepared
                        });
                        Input::Prepared { turn_id, result }
                    }
                },
                Some(input) = self.waits.next() => input,
                Some(noticed) = self.noticed.recv() => Input::Noticed(noticed),
            };
            self.take(input).await;
            self.say_idle().await;
        }
    }

    /// What was said before the work ended is told before its end.
    async fn drain(&mut self) {
        while let Ok(said) = self.said.1.try_recv() {
            self.take(Input::Said(said)).await;
        }
        while let Ok((item_id, lines)) = self.logs.1.try_recv() {
            self.take(Input::ToolLog { item_id, lines }).await;
        }
    }

    async fn say_idle(&mut self) {
        if !self.thread.is_busy() {
            (self.out)(Out::Idle { handled: self.handled }).await;
        }
    }

    /// Nobody needs the thread any more.
    async fn stop(&mut self) {
        if self.thread.is_busy() {
            self.take(Input::Cancelled).await;
        }
    }

    async fn handle(&mut self, message: In) {
        self.handled += 1;
        if self.writer.as_ref().is_some_and(Writer::is_behind) && !self.thread.is_busy() {
            self.open_again().await;
        }
        self.told(message).await;
        self.say_idle().await;
    }

    /// Goes on from what is stored, after rows were given up.
    async fn open_again(&mut self) {
        match opening::open(&self.engine, &self.path).await {
            Ok(opened) => {
                self.thread = opened.thread;
                (self.used_tokens, self.rows) = (opened.used_tokens, opened.rows);
                if let Some(old) = std::mem::replace(&mut self.writer, opened.writer) {
                    old.end().await;
                }
                self.close_open_turns(opened.open_turns).await;
            }
            Err(failure) => {
                tracing::error!(thread = self.path, %failure, "a thread cannot be opened again");
            }
        }
    }

    async fn told(&mut self, message: In) {
        match message {
            In::Input(input) => {
                match &input {
                    Input::Start { turn_id, by, .. } => {
                        self.by.insert(turn_id.clone(), by.clone());
                    }
                    Input::Clear { .. } => {
                        self.programs.forget();
                        self.conversations.forget();
                    }
                    _ => {}
                }
                self.take(input).await;
            }
            In::Turn { message, turn_id, by, earlier, done } => {
                self.waiters.insert(turn_id.clone(), done);
                self.by.insert(turn_id.clone(), by.clone());
                self.take(Input::Start { message, turn_id, by, earlier }).await;
            }
            In::Load { to, message_id, since } => self.load(to, message_id, since).await,
            In::Capabilities { to, message_id } => {
                answers::capabilities(&self.engine, &self.path, to, message_id, &self.out).await;
            }
            In::Inject { messages, shown } => {
                for message in messages {
                    self.store(&message).await;
                    (self.out)(Out::Message(message)).await;
                }
                if let Some(shown) = shown {
                    // Nobody may be waiting any more.
                    let _ = shown.send(());
                }
            }
        }
    }

    async fn take(&mut self, input: Input) {
        for effect in self.thread.on(input) {
            self.act(effect).await;
        }
    }

    async fn store(&mut self, message: &Message) {
        let rows = self.recorder.on(message);
        self.write(rows).await;
    }

    async fn write(&mut self, rows: Vec<Row>) {
        self.rows += i64::try_from(rows.len()).unwrap_or(0);
        if let (Some(writer), false) = (&self.writer, rows.is_empty()) {
            writer.write(rows).await;
        }
    }

    async fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Emit(message) => {
                if let Body::Usage(usage) = &message.body {
                    self.used_tokens = usage.context_window.used_tokens;
                }
                self.store(&message).await;
                (self.out)(Out::Message(message)).await;
            }
            Effect::Show(message) => (self.out)(Out::Message(message)).await,
            Effect::Tell { to, message } => (self.out)(Out::To { to, message: message.full() }).await,
            Effect::Store(message) => self.store(&message).await,
            Effect::Prepare { turn_id, start, model, by } => self.prepare(turn_id, *start, model, by).await,
            Effect::Load { message_id, content } => self.load_files(message_id, content),
            Effect::Ask { model, items } if model.is_program() => {
                let turn_id = self.thread.turn_id().unwrap_or_default().to_owned();
                let (instructions, history) = (self.using.instructions.clone(), self.thread.history());
                let prompt = Prompt { turn_id, instructions, history, items };
                let asked = self.programs.ask(&model, prompt, Say::new(self.said.0.clone()));
                self.work.push(Box::pin(async move { Worked::Input(Input::Answered(asked.await)) }));
            }
            Effect::Ask { model, items } if model.speaks() => self.ask_aloud(&model, items),
            Effect::Hear(data) => self.hear(data),
            Effect::Heard => self.conversations.heard(),
            Effect::Permit { item_id, approved } => self.programs.permit(&item_id, approved),
            Effect::Ask { model, items } => {
                let (engine, using, history) =
                    (self.engine.clone(), self.using.clone(), self.thread.history());
                let say = Say::new(self.said.0.clone());
                self.work.push(Box::pin(async move {
                    Worked::Input(Input::Answered(engine.ask(&model, &using, &history, &items, &say).await))
                }));
            }
            Effect::Run { call } => {
                let tools = self.using.tools.clone();
                let by =
                    self.thread.turn_id().and_then(|turn| self.by.get(turn)).cloned().unwrap_or_default();
                let turn_id = self.thread.turn_id().unwrap_or_default();
                let mut context = CallContext::new(&self.path, turn_id, &call.item_id)
                    .logged(self.logs.0.clone())
                    .recorded(self.said.0.clone());
                (context.participant_id, context.sender_name) = (by.participant, by.name);
                self.work.push(Box::pin(async move {
                    tracing::info!(tool = call.tool, "tool call");
                    let result = tools.run(&call, &context).await;
                    Worked::Input(Input::ToolFinished { call_id: call.id, result })
                }));
            }
            Effect::Wait { request_id } => self.waits.push(Box::pin(async move {
                tokio::time::sleep(CLIENT_TOOL_MAX).await;
                Input::ClientTimedOut { request_id }
            })),
            Effect::WaitApproval(item_id) => self.waits.push(Box::pin(async move {
                tokio::time::sleep(APPROVAL_MAX).await;
                Input::ApprovalTimedOut(item_id)
            })),
            Effect::Cancel => {
                self.work.clear();
                while self.said.1.try_recv().is_ok() {}
                while self.logs.1.try_recv().is_ok() {}
            }
            Effect::Done { turn_id, outcome } => self.done(turn_id, outcome),
        }
    }

    async fn prepare(&mut self, turn_id: String, start: super::message::TurnStart, model: ModelId, by: By) {
        self.by.insert(turn_id.clone(), by.clone());
        let plan = Plan {
            thread: self.path.clone(),
            content: start.content,
            mcp: start.options.mcp_servers(),
            instructions: start.options.instructions,
            client_tools: start.options.client_toolkits.unwrap_or_default(),
            model,
            by,
        };
        let (engine, say) = (self.engine.clone(), Say::new(self.said.0.clone()));
        let past = self.too_long(&plan.model);
        if past.is_some() {
            self.show_compacting(&turn_id).await;
        }
        self.work.push(Box::pin(async move {
            let summary = compacting::summarise(&engine, &plan.model, past).await;
            Worked::Prepared { turn_id, result: engine.prepare(plan, &say).await, summary }
        }));
    }

    fn load_files(&self, message_id: String, content: Vec<InputContent>) {
        let engine = self.engine.clone();
        self.waits.push(Box::pin(async move {
            let item = match engine.input(content.clone(), None).await {
                Ok(item) => item,
                Err(_) => super::history::Item::User(content.iter().map(project::part).collect()),
            };
            Input::Loaded { message_id, item }
        }));
    }

    /// Tells those who wait, once all of the turn is stored, and all of an earlier one that stands for it.
    fn done(&mut self, turn_id: String, outcome: Outcome) {
        self.by.remove(&turn_id);
        match &outcome {
            Outcome::Done { usage, .. } => tracing::info!(
                thread = self.path,
                input_tokens = usage.input_tokens,
                output_tokens = usage.output_tokens,
                "turn done"
            ),
            Outcome::Failed(failure) => {
                tracing::warn!(thread = self.path, code = failure.code, %failure, "turn failed")
            }
        }
        let Some(waiter) = self.waiters.remove(&turn_id) else { return };
        let flushed = self.writer.as_ref().map(Writer::flush);
        tokio::spawn(async move {
            let outcome = match flushed {
                None => outcome,
                Some(flushed) => match flushed.await {
                    Ok(()) => outcome,
                    Err(failure) => Outcome::Failed(failure),
                },
            };
            // Nobody may be waiting any more.
            let _ = waiter.send(outcome);
        });
    }
}

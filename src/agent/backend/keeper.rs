//! Keeps one program for a thread: starts it when a turn needs it, feeds it, and has a new one started where it ended,
//! hung or said nonsense. Turns come one at a time.

use super::dialect::{Act, Dialect, past};
use super::program::Program;
use super::rpc::Heard;
use super::{PROGRAM_ERROR, Prompt, files, session_event};
use crate::agent::config::{Permission, ProgramConfig};
use crate::agent::history::{Item, Part};
use crate::agent::provider::{SAYINGS_MAX, Said, Say};
use crate::agent::turn::{Failure, Response, cancelled};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a program may take until it is ready for turns.
const OPEN_MAX: Duration = Duration::from_mins(2);
/// How long it may take to stop a turn; then it is killed.
const CANCEL_MAX: Duration = Duration::from_secs(10);
/// Messages and bytes of one turn.
const MESSAGES_MAX: usize = 100_000;
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Turns and permissions that wait.
const WAITING_MAX: usize = 64;

enum ToKeeper {
    Turn(Box<Job>),
    Permit { item_id: String, approved: bool },
}

struct Job {
    prompt: Prompt,
    told: mpsc::Sender<Said>,
    done: oneshot::Sender<Result<Response, Failure>>,
    stopped: CancellationToken,
}

/// Where turns are handed in. The program ends with the last clone.
#[derive(Clone, Debug)]
pub struct Keeper(mpsc::Sender<ToKeeper>);

fn failed(message: impl Into<String>) -> Failure {
    Failure { message: message.into(), code: PROGRAM_ERROR }
}

impl Keeper {
    /// Nothing runs before the first turn.
    pub fn start(config: ProgramConfig, dialect: Box<dyn Dialect>, session: Option<String>) -> Self {
        let (sender, inbox) = mpsc::channel(WAITING_MAX);
        let work =
            Work { config, dialect, program: None, session, told: Told::default(), todo: VecDeque::new() };
        tokio::spawn(work.serve(inbox));
        Self(sender)
    }

    /// Does a turn. Dropping the future stops it, and nothing is said of it any more.
    pub async fn turn(self, prompt: Prompt, say: Say) -> Result<Response, Failure> {
        let stopped = CancellationToken::new();
        let _stop = stopped.clone().drop_guard();
        let (told, mut saying) = mpsc::channel(SAYINGS_MAX);
        let (done, mut outcome) = oneshot::channel();
        let job = Box::new(Job { prompt, told, done, stopped });
        let gone = || failed("the agent is stopping");
        self.0.send(ToKeeper::Turn(job)).await.map_err(|_| gone())?;
        loop {
            tokio::select! {
                biased;
                Some(said) = saying.recv() => say.say(said).await,
                outcome = &mut outcome => {
                    while let Ok(said) = saying.try_recv() {
                        say.say(said).await;
                    }
                    return outcome.unwrap_or_else(|_| Err(gone()));
                }
            }
        }
    }

    pub fn permit(&self, item_id: &str, approved: bool) {
        let permit = ToKeeper::Permit { item_id: item_id.to_owned(), approved };
        if self.0.try_send(permit).is_err() {
            tracing::warn!("too much waits for a program; what it asked is not answered");
        }
    }
}

/// What the program of now has been told already.
#[derive(Default)]
struct Told {
    /// Of which turn how many inputs.
    turn_id: String,
    inputs: usize,
    instructions: String,
    /// Whether it knows what was said in the thread before the present turn.
    past: bool,
}

struct Work {
    config: ProgramConfig,
    dialect: Box<dyn Dialect>,
    program: Option<Program>,
    session: Option<String>,
    told: Told,
    todo: VecDeque<Act>,
}

/// How far a turn is.
struct Progress {
    deadline: Instant,
    limit: Duration,
    prompted: bool,
    stopping: bool,
    messages: usize,
    bytes: usize,
}

impl Work {
    async fn serve(mut self, mut inbox: mpsc::Receiver<ToKeeper>) {
        loop {
            tokio::select! {
                message = inbox.recv() => match message {
                    Some(ToKeeper::Turn(job)) => self.job(*job, &mut inbox).await,
                    Some(ToKeeper::Permit { .. }) => {}
                    None => break,
                },
                // What it says between turns concerns no turn, but it may not be kept waiting.
                heard = idle(&mut self.program) => match heard {
                    Ok((message, _)) => self.between(message).await,
                    Err(why) => {
                        tracing::info!(why, "a program ended between turns");
                        self.program = None;
                    }
                },
            }
        }
        if let Some(program) = self.program.take() {
            program.end().await;
        }
    }

    /// Files are served between turns too, questions are refused, and nothing is told.
    async fn between(&mut self, message: serde_json::Value) {
        let acts = Heard::read(message).map(|heard| self.dialect.hear(heard)).unwrap_or_default();
        for act in acts {
            match act {
                Act::Send(message) => self.write(&message).await.unwrap_or_else(|why| {
                    tracing::info!(why, "a program ended between turns");
                    self.program = None;
                }),
                Act::Ask(call) => {
                    let refused = self.dialect.permit(&call.item_id, false);
                    for act in refused {
                        if let Act::Send(message) = act {
                            // It ends, and that is heard of next.
                            let _ = self.write(&message).await;
                        }
                    }
                }
                Act::File { id, path, wanted } => {
                    let answer = files::serve(&self.config.folder, id, path, wanted).await;
                    // As above.
                    let _ = self.write(&answer).await;
                }
                _ => {}
            }
        }
    }

    async fn job(&mut self, job: Job, inbox: &mut mpsc::Receiver<ToKeeper>) {
        let outcome = self.turn(&job, inbox).await.unwrap_or_else(|failure| {
            // Whatever it does now belongs to no turn.
            self.program = None;
            Err(failure)
        });
        self.todo.clear();
        // Nobody may wait for it any more.
        let _ = job.done.send(outcome);
    }

    /// What became of the turn; the outer error where the program is of no use any more.
    async fn turn(
        &mut self,
        job: &Job,
        inbox: &mut mpsc::Receiver<ToKeeper>,
    ) -> Result<Result<Response, Failure>, Failure> {
        let mut progress = Progress {
            deadline: Instant::now() + OPEN_MAX,
            limit: OPEN_MAX,
            prompted: false,
            stopping: false,
            messages: 0,
            bytes: 0,
        };
        if self.program.is_none() {
            self.program = Some(Program::start(&self.config).map_err(failed)?);
            self.told = Told::default();
            let acts = self.dialect.open(self.session.as_deref());
            self.todo.extend(acts);
        } else {
            self.begin(job, &mut progress);
        }
        loop {
            while let Some(act) = self.todo.pop_front() {
                if let Some(outcome) = self.act(act, job, &mut progress).await? {
                    return if progress.prompted { Ok(outcome) } else { outcome.map(Ok) };
                }
            }
            self.next(job, inbox, &mut progress).await?;
        }
    }

    /// Hands the turn to a program that is ready.
    fn begin(&mut self, job: &Job, progress: &mut Progress) {
        progress.prompted = true;
        (progress.limit, progress.deadline) = (self.config.turn_max, Instant::now() + self.config.turn_max);
        let parts = self.told.parts(&job.prompt);
        let acts = self.dialect.prompt(&parts);
        self.todo.extend(acts);
    }

    /// Does an act; the outcome where it was the last.
    async fn act(
        &mut self,
        act: Act,
        job: &Job,
        progress: &mut Progress,
    ) -> Result<Option<Result<Response, Failure>>, Failure> {
        match act {
            Act::Send(message) => self.write(&message).await.map_err(failed)?,
            Act::Say(said) if !progress.stopping => {
                // Nobody listens any more: the turn was stopped.
                let _ = job.told.send(said).await;
            }
            Act::Say(_) => {}
            Act::Ask(call) => self.ask(call, job, progress).await,
            Act::File { id, path, wanted } => {
                let answer = files::serve(&self.config.folder, id, path, wanted).await;
                self.write(&answer).await.map_err(failed)?;
            }
            Act::Opened { session, resumed } => {
                self.told.past = resumed;
                if self.session.as_ref() != Some(&session) {
                    let event = session_event(self.dialect.name(), &session);
                    // As above.
                    let _ = job.told.send(Said::Notice(event)).await;
                    self.session = Some(session);
                }
                self.begin(job, progress);
            }
            Act::End(outcome) if progress.stopping => {
                return Ok(Some(outcome.and(Err(cancelled()))));
            }
            Act::End(outcome) => return Ok(Some(outcome)),
        }
        Ok(None)
    }

    async fn ask(&mut self, call: crate::agent::provider::ForeignCall, job: &Job, progress: &Progress) {
        let decided = match self.config.permission {
            _ if progress.stopping => Some(false),
            Permission::Ask => None,
            Permission::Allow => Some(true),
            Permission::Reject => Some(false),
        };
        match decided {
            Some(approved) => {
                let acts = self.dialect.permit(&call.item_id, approved);
                self.todo.extend(acts);
            }
            None => {
                // As above.
                let _ = job.told.send(Said::Asked(call)).await;
            }
        }
    }

    /// Waits for what happens next and makes acts of it.
    async fn next(
        &mut self,
        job: &Job,
        inbox: &mut mpsc::Receiver<ToKeeper>,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let Some(program) = &mut self.program else { return Err(failed("the program is gone")) };
        tokio::select! {
            biased;
            () = job.stopped.cancelled(), if !progress.stopping => {
                if !progress.prompted {
                    self.program = None;
                    return Err(cancelled());
                }
                progress.stopping = true;
                (progress.limit, progress.deadline) = (CANCEL_MAX, Instant::now() + CANCEL_MAX);
                let acts = self.dialect.cancel();
                self.todo.extend(acts);
            }
            message = inbox.recv(), if !progress.stopping => match message {
                Some(ToKeeper::Permit { item_id, approved }) => {
                    let acts = self.dialect.permit(&item_id, approved);
                    self.todo.extend(acts);
                }
                Some(ToKeeper::Turn(other)) => {
                    // A thread has one turn at a time. Whoever sent it may be gone.
                    let _ = other.done.send(Err(failed("the program is at work on another turn of the thread")));
                }
                None => return Err(cancelled()),
            },
            heard = program.hear() => {
                let (message, bytes) = heard.map_err(|why| self.lost(&why))?;
                progress.messages += 1;
                progress.bytes = progress.bytes.saturating_add(bytes);
                if progress.messages > MESSAGES_MAX || progress.bytes > BYTES_MAX {
                    return Err(failed(format!(
                        "the program said more than {MESSAGES_MAX} messages or {BYTES_MAX} bytes in one turn"
                    )));
                }
                let Some(heard) = Heard::read(message) else {
                    return Err(failed("the program wrote a line that is no message"));
                };
                let acts = self.dialect.hear(heard);
                self.todo.extend(acts);
            }
            () = tokio::time::sleep_until(progress.deadline) => {
                let (what, limit) = (if progress.prompted { "the turn" } else { "the start of the program" }, progress.limit);
                return Err(failed(format!("{what} took more than {} s", limit.as_secs())));
            }
        }
        Ok(())
    }

    fn lost(&self, why: &str) -> Failure {
        failed(format!("{}: {why}", self.config.name))
    }

    async fn write(&mut self, message: &serde_json::Value) -> Result<(), String> {
        match &mut self.program {
            Some(program) => program.send(message).await,
            None => Err("the program is gone".to_owned()),
        }
    }
}

async fn idle(program: &mut Option<Program>) -> Result<(serde_json::Value, usize), String> {
    match program {
        Some(program) => program.hear().await,
        None => std::future::pending().await,
    }
}

impl Told {
    /// What of the turn is new to the program.
    fn parts(&mut self, prompt: &Prompt) -> Vec<Part> {
        if self.turn_id != prompt.turn_id {
            self.turn_id.clone_from(&prompt.turn_id);
            self.inputs = 0;
        }
        let mut parts = Vec::new();
        if !prompt.instructions.is_empty() && self.instructions != prompt.instructions {
            self.instructions.clone_from(&prompt.instructions);
            parts.push(Part::Text(format!("Rules for this conversation:\n{}", prompt.instructions)));
        }
        if !self.past {
            self.past = true;
            parts.extend(past(&prompt.history).map(Part::Text));
        }
        let inputs: Vec<_> = prompt
            .items
            .iter()
            .filter_map(|item| match item {
                Item::User(parts) => Some(parts),
                _ => None,
            })
            .collect();
        parts.extend(inputs.iter().skip(self.inputs).flat_map(|parts| parts.iter().cloned()));
        self.inputs = inputs.len();
        parts
    }
}

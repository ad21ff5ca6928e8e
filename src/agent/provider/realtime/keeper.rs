//! Keeps one conversation for a thread: dials when something is asked or heard, and again, a few times, where the connection
//! broke off before the model spoke; hangs up when nothing is said for a while. Turns come one at a time.

use super::line::Line;
use super::talk::{Act, Talk};
use super::{Ask, Realtime};
use crate::agent::provider::endpoint::{Refusal, retry};
use crate::agent::provider::{SAYINGS_MAX, Said, Say, failure};
use crate::agent::turn::{Failure, Response, cancelled};
use crate::agent::voice::{Noticed, Speech};
use crate::client::room::Backoff;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Times that a connection is dialled again for one answer.
const RETRIES_MAX: u32 = 3;
/// Longest silence of a model that is to answer.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// How long the words of what it answers may come after its answer.
const LINGER_MAX: Duration = Duration::from_secs(3);
/// How long it may take to stop.
const CANCEL_MAX: Duration = Duration::from_secs(5);
/// How long a conversation is kept in which nothing is said.
const IDLE_MAX: Duration = Duration::from_mins(5);
/// Bytes that one answer may have.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Pieces of speech that may wait to be heard.
const WAITING_MAX: usize = 64;
/// Names the provider in the thread.
const NAME: &str = "openai-realtime";

enum ToKeeper {
    Answer(Box<Job>),
    Hear { past: Option<Box<Ask>>, data: Bytes },
    Heard,
}

struct Job {
    ask: Ask,
    told: mpsc::Sender<Said>,
    done: oneshot::Sender<Result<Response, Failure>>,
    stopped: CancellationToken,
}

/// Where requests are handed in. The conversation ends with the last clone.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    to: mpsc::Sender<ToKeeper>,
    /// Whether there is a connection.
    open: Arc<AtomicBool>,
}

impl Keeper {
    pub fn start(realtime: Realtime, model: String, noticed: Option<mpsc::Sender<Noticed>>) -> Self {
        let (sender, inbox) = mpsc::channel(WAITING_MAX);
        let backoff = Backoff { first: Duration::from_millis(500), max: Duration::from_secs(5) };
        let open = Arc::new(AtomicBool::new(false));
        let todo = VecDeque::new();
        let work =
            Work { realtime, model, noticed, backoff, call: None, past: None, open: open.clone(), todo };
        tokio::spawn(work.serve(inbox));
        Self { to: sender, open }
    }

    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Dropping the future stops the answer, and nothing is said of it any more.
    pub async fn answer(self, ask: Ask, say: Say) -> Result<Response, Failure> {
        let stopped = CancellationToken::new();
        let _stop = stopped.clone().drop_guard();
        let (told, mut saying) = mpsc::channel(SAYINGS_MAX);
        let (done, mut outcome) = oneshot::channel();
        let job = Box::new(Job { ask, told, done, stopped });
        let gone = || failure("the agent is stopping");
        self.to.send(ToKeeper::Answer(job)).await.map_err(|_| gone())?;
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

    pub fn hear(&self, past: Option<Ask>, data: Bytes) {
        self.tell(ToKeeper::Hear { past: past.map(Box::new), data });
    }

    pub fn heard(&self) {
        self.tell(ToKeeper::Heard);
    }

    fn tell(&self, told: ToKeeper) {
        if self.to.try_send(told).is_err() {
            tracing::warn!("speech comes faster than the model takes it; some of it is not heard");
        }
    }
}

/// A conversation under way.
struct Call {
    line: Line,
    talk: Talk,
}

/// Why an attempt came to nothing.
enum Broken {
    /// Another may succeed, unless something was said aloud.
    Passing(String),
    Final(Failure),
}

/// How far an answer is.
struct Progress {
    deadline: Instant,
    stopping: bool,
    lingering: bool,
    bytes: usize,
    /// Since when it speaks.
    spoke: Option<Instant>,
}

struct Work {
    realtime: Realtime,
    model: String,
    noticed: Option<mpsc::Sender<Noticed>>,
    backoff: Backoff,
    call: Option<Call>,
    /// What a conversation begins with in which nothing was asked so far.
    past: Option<Box<Ask>>,
    open: Arc<AtomicBool>,
    todo: VecDeque<Act>,
}

impl Work {
    async fn serve(mut self, mut inbox: mpsc::Receiver<ToKeeper>) {
        let mut quiet = Instant::now() + IDLE_MAX;
        loop {
            tokio::select! {
                told = inbox.recv() => {
                    match told {
                        Some(ToKeeper::Answer(job)) => self.job(*job, &mut inbox).await,
                        Some(ToKeeper::Hear { past, data }) => self.listen(past, &data).await,
                        Some(ToKeeper::Heard) => self.heard().await,
                        None => break,
                    }
                    quiet = Instant::now() + IDLE_MAX;
                }
                heard = idle(&mut self.call) => self.between(heard).await,
                () = tokio::time::sleep_until(quiet), if self.call.is_some() => self.hang_up().await,
            }
            self.open.store(self.call.is_some(), Ordering::Relaxed);
        }
        self.hang_up().await;
    }

    async fn hang_up(&mut self) {
        if let Some(call) = self.call.take() {
            call.line.close().await;
        }
    }

    async fn dial(&mut self) -> Result<(), Refusal> {
        let line = Line::dial(&self.realtime.config, &self.model).await?;
        self.call = Some(Call { line, talk: Talk::new(self.realtime.voices.clone()) });
        Ok(())
    }

    /// Something that is heard while no answer is asked for.
    async fn between(&mut self, heard: Result<(serde_json::Value, usize), String>) {
        let Some(call) = &mut self.call else { return };
        match heard {
            Ok((event, _)) => {
                let acts = call.talk.hear(&event);
                self.notices(acts).await;
            }
            Err(why) => {
                tracing::info!(why, "a conversation ended between turns");
                self.call = None;
                if self.realtime.voices.automatic {
                    self.notice(Noticed::Lost { message: format!("{why}; say it again") }).await;
                }
            }
        }
    }

    /// Does what needs no answer.
    async fn notices(&mut self, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Notice(noticed) => self.notice(noticed).await,
                Act::Send(message) => {
                    let Some(call) = &mut self.call else { return };
                    if let Err(why) = call.line.send(&message).await {
                        self.call = None;
                        self.notice(Noticed::Lost { message: why }).await;
                        return;
                    }
                }
                _ => {}
            }
        }
    }

    async fn notice(&self, noticed: Noticed) {
        if let Some(to) = &self.noticed {
            // The thread is gone.
            let _ = to.send(noticed).await;
        }
    }

    /// Lets a provider hear that listens all the time.
    async fn listen(&mut self, past: Option<Box<Ask>>, data: &Bytes) {
        self.past = past.or_else(|| self.past.take());
        if self.call.is_none() {
            let Some(past) = self.past.take() else {
                // It was hung up in this moment; what is said next comes with the past.
                return;
            };
            if let Err(Refusal::Passing(why) | Refusal::Final(why)) = self.dial().await {
                return self.notice(Noticed::Lost { message: why }).await;
            }
            let acts = self.call.as_mut().map(|call| call.talk.open(&past)).unwrap_or_default();
            self.notices(acts).await;
        }
        let acts = self.call.as_ref().map(|call| call.talk.listen(data)).unwrap_or_default();
        self.notices(acts).await;
    }

    async fn heard(&mut self) {
        let acts = self.call.as_ref().map(|call| call.talk.heard()).unwrap_or_default();
        self.notices(acts).await;
    }

    async fn job(&mut self, job: Job, inbox: &mut mpsc::Receiver<ToKeeper>) {
        let mut attempt = 0;
        let outcome = loop {
            let (reason, spoken) = match self.attempt(&job, inbox).await {
                Ok(outcome) => break outcome,
                Err(Broken::Final(failure)) => {
                    self.call = None;
                    break Err(failure);
                }
                Err(Broken::Passing(reason)) => {
                    let spoken = self.call.take().is_some_and(|call| call.talk.has_spoken());
                    (reason, spoken)
                }
            };
            if spoken {
                break Err(failure(format!("{reason} in the middle of the answer; ask again")));
            }
            if attempt == RETRIES_MAX {
                break Err(failure(format!("{reason} (after {RETRIES_MAX} more attempts)")));
            }
            attempt += 1;
            tracing::warn!(reason, attempt, "the model did not answer; trying again");
            let notice = retry(NAME, &reason, attempt, RETRIES_MAX);
            for said in [Said::Restart, Said::Notice(notice)] {
                // Nobody listens any more: the turn was stopped.
                let _ = job.told.send(said).await;
            }
            let wait = self.backoff.wait(attempt - 1, self.realtime.ids.fresh().as_u128());
            tokio::select! {
                () = job.stopped.cancelled() => break Err(cancelled()),
                () = tokio::time::sleep(wait) => {}
            }
        };
        self.todo.clear();
        // As above.
        let _ = job.done.send(outcome);
    }

    /// What became of the answer; the error where the conversation is of no use any more.
    async fn attempt(
        &mut self,
        job: &Job,
        inbox: &mut mpsc::Receiver<ToKeeper>,
    ) -> Result<Result<Response, Failure>, Broken> {
        self.todo.clear();
        if self.call.as_ref().is_some_and(|call| !call.talk.goes_on(&job.ask)) {
            self.hang_up().await;
        }
        if self.call.is_none() {
            let dialled = tokio::select! {
                () = job.stopped.cancelled() => return Ok(Err(cancelled())),
                dialled = self.dial() => dialled,
            };
            dialled.map_err(broken)?;
        }
        let Some(call) = &mut self.call else { return Err(Broken::Passing("the connection is gone".into())) };
        let acts = call.talk.ask(&job.ask);
        self.todo.extend(acts);
        let mut progress = Progress {
            deadline: Instant::now() + SILENCE_MAX,
            stopping: false,
            lingering: false,
            bytes: 0,
            spoke: None,
        };
        loop {
            while let Some(act) = self.todo.pop_front() {
                if let Some(outcome) = self.act(act, job, &mut progress).await? {
                    return Ok(outcome);
                }
            }
            self.next(job, inbox, &mut progress).await?;
        }
    }

    /// Does an act; the outcome where it was the last.
    async fn act(
        &mut self,
        act: Act,
        job: &Job,
        progress: &mut Progress,
    ) -> Result<Option<Result<Response, Failure>>, Broken> {
        match act {
            Act::Send(message) => {
                let Some(call) = &mut self.call else {
                    return Err(Broken::Passing("the connection is gone".into()));
                };
                call.line.send(&message).await.map_err(Broken::Passing)?;
            }
            Act::Say(said) if !progress.stopping => {
                if matches!(said, Said::Speech(Speech::Audio { .. })) {
                    progress.spoke.get_or_insert_with(Instant::now);
                }
                // Nobody listens any more: the turn was stopped.
                let _ = job.told.send(said).await;
            }
            Act::Say(_) => {}
            Act::Notice(noticed) => self.notice(noticed).await,
            Act::Linger => {
                progress.lingering = true;
                progress.deadline = Instant::now() + LINGER_MAX;
            }
            Act::End(_) if progress.stopping => return Ok(Some(Err(cancelled()))),
            Act::End(Ok(response)) => return Ok(Some(Ok(response))),
            Act::End(Err(refusal)) => return Err(broken(refusal)),
        }
        Ok(None)
    }

    /// Waits for what happens next and makes acts of it.
    async fn next(
        &mut self,
        job: &Job,
        inbox: &mut mpsc::Receiver<ToKeeper>,
        progress: &mut Progress,
    ) -> Result<(), Broken> {
        let Some(call) = &mut self.call else { return Err(Broken::Passing("the connection is gone".into())) };
        tokio::select! {
            biased;
            () = job.stopped.cancelled(), if !progress.stopping => {
                progress.stopping = true;
                progress.deadline = Instant::now() + CANCEL_MAX;
                // A model is quicker than its voice.
                let heard = progress.spoke.map_or(Duration::ZERO, |since| since.elapsed());
                let acts = call.talk.cancel(u64::try_from(heard.as_millis()).unwrap_or(u64::MAX));
                self.todo.extend(acts);
            }
            heard = call.line.hear() => {
                let (event, bytes) = heard.map_err(Broken::Passing)?;
                progress.bytes = progress.bytes.saturating_add(bytes);
                if progress.bytes > ANSWER_BYTES_MAX {
                    return Err(Broken::Final(failure(format!("the answer has more than {ANSWER_BYTES_MAX} bytes"))));
                }
                if !progress.stopping && !progress.lingering {
                    progress.deadline = Instant::now() + SILENCE_MAX;
                }
                let acts = call.talk.hear(&event);
                self.todo.extend(acts);
            }
            told = inbox.recv(), if !progress.stopping => match told {
                Some(ToKeeper::Hear { data, .. }) => self.todo.extend(call.talk.listen(&data)),
                Some(ToKeeper::Heard) => self.todo.extend(call.talk.heard()),
                Some(ToKeeper::Answer(other)) => {
                    // A thread has one turn at a time. Whoever sent it may be gone.
                    let _ = other.done.send(Err(failure("the model is at work on another turn of the thread")));
                }
                None => return Err(Broken::Final(cancelled())),
            },
            () = tokio::time::sleep_until(progress.deadline) => {
                if progress.lingering {
                    let acts = call.talk.end();
                    self.todo.extend(acts);
                } else if progress.stopping {
                    return Err(Broken::Final(cancelled()));
                } else {
                    return Err(Broken::Passing(format!("the model said nothing for {} s", SILENCE_MAX.as_secs())));
                }
            }
        }
        Ok(())
    }
}

fn broken(refusal: Refusal) -> Broken {
    match refusal {
        Refusal::Passing(reason) => Broken::Passing(reason),
        Refusal::Final(reason) => Broken::Final(failure(reason)),
    }
}

async fn idle(call: &mut Option<Call>) -> Result<(serde_json::Value, usize), String> {
    match call {
        Some(call) => call.line.hear().await,
        None => std::future::pending().await,
    }
}

//! A conversation on the terminal: what the person types goes to the agent, what the agent says is printed.

pub mod input;
mod shown;

use crate::agent::message::{
    Body, DISCARDED, InputContent, NoFields, OfItem, OfTurn, OpenThread, Options, StartThread, Steer,
    ThreadPage, TurnStart,
};
use crate::agent::session::{Session, SessionError};
use crate::agent::thread::transcript;
use crate::agent::voice::Modality;
use crate::cli::error::CliError;
use crate::cli::output;
use serde_json::{Map, Value, json};
use shown::{as_input, by_user, call, call_error, failed, kind, text};
use std::collections::VecDeque;

/// Messages that a thread's history may have to be shown.
const HISTORY_MAX: usize = 10_000;
/// What the person may type.
const HELP: &str = "/new  a new thread\n/threads  list threads\n/open NUMBER or PATH  open one\n/models  list models\n\
                    /model NAME  choose one\n/voice NAME  choose its voice\n/output text or audio  \
                    choose what it answers with\n/approve, /reject  answer a tool that asks\n/exit  leave\n\
                    What you type while the agent works is added to its turn; Ctrl-C interrupts it.";
/// Code of an agent that was to add something to a turn that has ended.
const NOT_IN_PROGRESS: &str = "turn_not_in_progress";
/// Tools that may wait to be approved.
const APPROVALS_MAX: usize = 64;

impl From<SessionError> for CliError {
    fn from(error: SessionError) -> Self {
        Self::server(error.to_string())
    }
}

/// A conversation.
#[derive(Debug)]
pub struct Talk {
    session: Session,
    thread: Option<String>,
    model: Option<String>,
    voice: Option<String>,
    /// What answers are to be made of: `text` or `audio`.
    answers: Option<&'static str>,
    turn: Option<String>,
    /// Our own inputs that wait for their turns.
    asked: Vec<String>,
    /// What was added to a running turn last, by its message.
    steered: Option<(String, String)>,
    /// Whether a line of text is open on the terminal.
    mid_line: bool,
    /// Paths of the threads that were listed last.
    listed: Vec<String>,
    /// Calls that wait for the person, by turn and item.
    approvals: VecDeque<(String, String)>,
    /// The turn from which on a thread is shown when it is opened first; the beginning, unless given.
    since: Option<String>,
    /// The answer so far, where it is printed as JSON in the end.
    collected: Option<String>,
}

fn content(text: &str) -> Vec<InputContent> {
    vec![InputContent::text(text)]
}

impl Talk {
    /// Talks on `thread`, else on the one the agent names for all, else on a new one.
    #[must_use]
    pub fn new(session: Session, thread: Option<String>) -> Self {
        let single = session.attributes.get("meshagent.chatbot.thread-path").and_then(Value::as_str);
        let thread = thread.or_else(|| single.map(str::to_owned));
        Self {
            session,
            thread,
            model: None,
            voice: None,
            answers: None,
            turn: None,
            asked: Vec::new(),
            steered: None,
            mid_line: false,
            listed: Vec::new(),
            approvals: VecDeque::new(),
            since: None,
            collected: None,
        }
    }

    /// Shows the thread from this turn on.
    #[must_use]
    pub fn since(mut self, turn: Option<String>) -> Self {
        self.since = turn;
        self
    }

    /// [`Talk::once`] prints `{"thread_path", "response"}`.
    #[must_use]
    pub fn as_json(mut self) -> Self {
        self.collected = Some(String::new());
        self
    }

    /// Asks one thing, prints the answer, and leaves. A failed turn is an error.
    pub async fn once(mut self, message: &str) -> Result<(), CliError> {
        if let Some(thread) = self.thread.clone() {
            self.open(thread, false).await?;
        }
        self.ask(message).await?;
        let mut ours = None;
        loop {
            let heard = self.session.hear().await?;
            let source = text(&heard, "source_message_id");
            match kind(&heard) {
                "thread.started" if self.is_ours(source) => {
                    self.thread = Some(text(&heard, "thread_id").to_owned())
                }
                "turn.start.accepted" if self.is_ours(source) => {
                    ours = Some(text(&heard, "turn_id").to_owned())
                }
                "turn.start.rejected" if self.is_ours(source) => return Err(failed(&heard)),
                // What is said aloud is written down too.
                "text_content.delta" | "audio_transcription.delta"
                    if ours.as_deref() == Some(text(&heard, "turn_id")) && !by_user(&heard) =>
                {
                    match &mut self.collected {
                        Some(all) => all.push_str(text(&heard, "text")),
                        None => {
                            self.mid_line = true;
                            output::data(text(&heard, "text"))?;
                        }
                    }
                }
                "text_content.ended" | "audio_transcription.completed"
                    if ours.as_deref() == Some(text(&heard, "turn_id")) && !by_user(&heard) =>
                {
                    self.ended(&heard)?;
                }
                "tool_call.approval_requested" if ours.as_deref() == Some(text(&heard, "turn_id")) => {
                    self.refuse(&heard).await?;
                }
                "turn.ended" if ours.as_deref() == Some(text(&heard, "turn_id")) => {
                    self.end_line()?;
                    let ended = heard.get("error").is_none_or(Value::is_null);
                    self.session.end().await;
                    if let (true, Some(response)) = (ended, &self.collected) {
                        output::json(&json!({"thread_path": self.thread, "response": response}))?;
                    }
                    return if ended { Ok(()) } else { Err(failed(&heard)) };
                }
                _ => {}
            }
        }
    }

    /// Talks until the person leaves.
    pub async fn on_terminal(mut self) -> Result<(), CliError> {
        output::note("Type a message, or /help. Ctrl-D leaves.");
        if let Some(thread) = self.thread.clone() {
            self.open(thread, true).await?;
        }
        let mut lines = input::lines();
        loop {
            tokio::select! {
                line = lines.recv() => match line {
                    None => break,
                    Some(line) => {
                        if !self.typed(line.trim()).await? {
                            break;
                        }
                    }
                },
                heard = self.session.hear() => {
                    let heard = heard?;
                    self.heard(&heard)?;
                    if let Some(line) = self.came_late(&heard) {
                        self.ask(&line).await?;
                    }
                }
                _ = tokio::signal::ctrl_c() => match (self.thread.clone(), self.turn.clone()) {
                    (Some(thread_id), Some(turn_id)) => {
                        self.session.say(Body::TurnInterrupt(OfTurn { thread_id, turn_id })).await?;
                    }
                    _ => break,
                },
            }
        }
        self.session.end().await;
        Ok(())
    }

    fn is_ours(&self, source: &str) -> bool {
        self.asked.iter().any(|asked| asked == source)
    }

    async fn open(&mut self, thread_id: String, load: bool) -> Result<(), CliError> {
        let open = OpenThread {
            thread_id: thread_id.clone(),
            backend: None,
            load: Some(load),
            since_turn: self.since.take(),
        };
        let asked = self.session.say(Body::ThreadOpen(open)).await?;
        self.thread = Some(thread_id);
        self.turn = None;
        if !load {
            return Ok(());
        }
        let mut history = Vec::new();
        while history.len() < HISTORY_MAX {
            let heard = self.session.hear().await?;
            if kind(&heard) == "thread.loaded" && text(&heard, "source_message_id") == asked {
                break;
            }
            history.push(heard);
        }
        transcript::lines(&history)
            .iter()
            .try_for_each(|line| output::line(format!("{}: {}", line.role, line.text)))
    }

    async fn ask(&mut self, message: &str) -> Result<(), CliError> {
        let options = Options {
            model: self.model.clone(),
            voice: self.voice.clone(),
            output_modalities: self.answers.map(|answers| vec![answers.to_owned()]),
            ..Options::default()
        };
        let body = match &self.thread {
            Some(thread) => Body::TurnStart(TurnStart {
                thread_id: thread.clone(),
                turn_id: None,
                content: content(message),
                options,
            }),
            None => Body::ThreadStart(StartThread {
                content: Some(content(message)),
                name: None,
                realtime_protocol: None,
                options,
            }),
        };
        let asked = self.session.say(body).await?;
        self.asked.push(asked);
        Ok(())
    }

    /// What the person typed; `false` when they leave.
    async fn typed(&mut self, line: &str) -> Result<bool, CliError> {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        match command {
            "" => {}
            "/exit" | "/quit" => return Ok(false),
            "/help" => output::note(HELP),
            "/new" => {
                self.thread = None;
                self.turn = None;
                output::note("The next message begins a new thread.");
            }
            "/threads" => {
                self.session.say(Body::ThreadList(ThreadPage { limit: 20, offset: 0 })).await?;
            }
            "/open" => match self.picked(rest.trim()) {
                Some(thread) => self.open(thread, true).await?,
                None => output::note("Which one? /threads lists them; /open NUMBER opens one."),
            },
            "/approve" | "/reject" => self.judge(command == "/approve").await?,
            "/model" | "/models" if rest.trim().is_empty() => {
                self.session.say(Body::ModelsRequest(NoFields {})).await?;
            }
            "/model" | "/models" => {
                self.model = Some(rest.trim().to_owned());
                output::note(format!("The next turn uses {}.", rest.trim()));
            }
            "/voice" | "/output" => self.manner(command, rest.trim()),
            command if command.starts_with('/') => output::note(format!("there is no {command}\n{HELP}")),
            _ => match (self.thread.clone(), self.turn.clone()) {
                (Some(thread_id), Some(turn_id)) => {
                    let steer = Body::TurnSteer(Steer { thread_id, turn_id, content: content(line) });
                    self.steered = Some((self.session.say(steer).await?, line.to_owned()));
                }
                _ => self.ask(line).await?,
            },
        }
        Ok(true)
    }

    /// Whether a turn had ended when something came that was to be added to it.
    fn is_late(&self, heard: &Map<String, Value>) -> bool {
        let code = heard.get("error").and_then(|error| error.get("code")).and_then(Value::as_str);
        let source = text(heard, "source_message_id");
        kind(heard) == "turn.steer.rejected"
            && code == Some(NOT_IN_PROGRESS)
            && self.steered.as_ref().is_some_and(|(asked, _)| asked == source)
    }

    /// What came so, which begins a turn then.
    fn came_late(&mut self, heard: &Map<String, Value>) -> Option<String> {
        if self.is_late(heard) { self.steered.take().map(|(_, line)| line) } else { None }
    }

    /// How the next turns are answered. Whether the model can is for the agent to say.
    fn manner(&mut self, command: &str, given: &str) {
        match (command, Modality::named(given)) {
            (_, _) if given.is_empty() => output::note(format!("Which one? {command} NAME chooses it.")),
            ("/voice", _) => {
                self.voice = Some(given.to_owned());
                output::note(format!("The next turn uses the voice {given}."));
            }
            (_, Some(answers)) => {
                self.answers = Some(answers.name());
                let how = if answers == Modality::Audio {
                    "aloud, and shown here in writing"
                } else {
                    "in writing"
                };
                output::note(format!("The next turn is answered {how}."));
            }
            (_, None) => output::note("Want /output text or /output audio."),
        }
    }

    /// The thread that a number of the last list, or a path, means.
    fn picked(&self, text: &str) -> Option<String> {
        match text.parse::<usize>() {
            Ok(number) => self.listed.get(number.checked_sub(1)?).cloned(),
            Err(_) => Some(text.to_owned()).filter(|path| !path.is_empty()),
        }
    }

    /// Nobody is here to answer a call that asks.
    async fn refuse(&mut self, heard: &Map<String, Value>) -> Result<(), CliError> {
        self.end_line()?;
        output::note(format!(
            "The agent wanted to call {}\nIt is refused: nobody can approve it here. Talk at a terminal to /approve calls.",
            call(heard)
        ));
        let of = |key| text(heard, key).to_owned();
        let of = OfItem { thread_id: of("thread_id"), turn_id: of("turn_id"), item_id: of("item_id") };
        self.session.say(Body::ToolCallReject(of)).await?;
        Ok(())
    }

    /// Answers the call that has waited longest.
    async fn judge(&mut self, approved: bool) -> Result<(), CliError> {
        let (Some(thread_id), Some((turn_id, item_id))) = (self.thread.clone(), self.approvals.pop_front())
        else {
            output::note("No tool waits for an answer.");
            return Ok(());
        };
        let of = OfItem { thread_id, turn_id, item_id };
        let body = if approved { Body::ToolCallApprove(of) } else { Body::ToolCallReject(of) };
        self.session.say(body).await?;
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), CliError> {
        if std::mem::take(&mut self.mid_line) { output::line("") } else { Ok(()) }
    }

    /// The end of a text, or of one that is void.
    fn ended(&mut self, heard: &Map<String, Value>) -> Result<(), CliError> {
        let void =
            heard.get("metadata").and_then(|metadata| metadata.get(DISCARDED)).and_then(Value::as_bool);
        let shown = self.mid_line;
        self.end_line()?;
        if shown && void == Some(true) {
            output::note("The answer broke off; it begins anew.");
        }
        Ok(())
    }

    fn heard(&mut self, heard: &Map<String, Value>) -> Result<(), CliError> {
        let source = text(heard, "source_message_id");
        if kind(heard) == "thread.started" && self.is_ours(source) {
            self.thread = Some(text(heard, "thread_id").to_owned());
        }
        match kind(heard) {
            "thread.listed" => {
                self.listed = shown::threads(heard)?;
                return Ok(());
            }
            "models.response" => return shown::models(heard),
            _ => {}
        }
        if heard.get("thread_id").and_then(Value::as_str) != self.thread.as_deref() {
            return Ok(());
        }
        match kind(heard) {
            "turn.started" => {
                self.turn = Some(text(heard, "turn_id").to_owned());
                if !self.is_ours(source) {
                    transcript::lines([&as_input(heard)])
                        .iter()
                        .try_for_each(|l| output::line(format!("{}: {}", l.role, l.text)))?;
                }
            }
            "audio_transcription.delta" | "audio_transcription.completed" if by_user(heard) => {}
            "text_content.delta" | "audio_transcription.delta" => {
                self.mid_line = true;
                output::data(text(heard, "text"))?;
            }
            "text_content.ended" | "audio_transcription.completed" => self.ended(heard)?,
            "thread.status" if !text(heard, "status").is_empty() && !self.mid_line => {
                output::note(format!("… {}", text(heard, "status")));
            }
            "tool_call.started" => {
                self.end_line()?;
                output::note(format!("→ {}", call(heard)));
            }
            "tool_call.ended" => {
                if let Some(error) = call_error(heard) {
                    self.end_line()?;
                    output::note(format!("✗ {error}"));
                }
            }
            "tool_call.approval_requested" => {
                self.end_line()?;
                output::note(format!("The agent wants to call {}\n/approve or /reject it.", call(heard)));
                if self.approvals.len() < APPROVALS_MAX {
                    let of = |key| text(heard, key).to_owned();
                    self.approvals.push_back((of("turn_id"), of("item_id")));
                }
            }
            "turn.steer.accepted" => {
                self.end_line()?;
                output::note("Added to the running turn.");
            }
            "turn.steer.rejected" if self.is_late(heard) => {}
            "turn.start.rejected" | "turn.steer.rejected" => output::note(failed(heard).to_string()),
            "turn.ended" => {
                self.end_line()?;
                self.turn = None;
                self.approvals.clear();
                if heard.get("error").is_some_and(|error| !error.is_null()) {
                    output::note(failed(heard).to_string());
                }
            }
            _ => {}
        }
        Ok(())
    }
}

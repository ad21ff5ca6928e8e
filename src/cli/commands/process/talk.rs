//! A conversation on the terminal: what the person types goes to the agent, what the agent says is printed.

use crate::agent::message::{
    Body, DISCARDED, InputContent, NoFields, OfTurn, OpenThread, Options, StartThread, Steer, ThreadPage,
    TurnStart,
};
use crate::agent::session::{Session, SessionError};
use crate::agent::thread::transcript;
use crate::cli::error::CliError;
use crate::cli::output;
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, BufReader};

/// Messages that a thread's history may have to be shown.
const HISTORY_MAX: usize = 10_000;
/// What the person may type.
const HELP: &str = "/new  a new thread\n/threads  list threads\n/open PATH  open a thread\n/model [NAME]  list or choose models\n\
                    /exit  leave\nWhat you type while the agent works is added to its turn; Ctrl-C interrupts it.";

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
    turn: Option<String>,
    /// Our own inputs that wait for their turns.
    asked: Vec<String>,
    /// Whether a line of text is open on the terminal.
    mid_line: bool,
}

fn text<'a>(message: &'a Map<String, Value>, key: &str) -> &'a str {
    message.get(key).and_then(Value::as_str).unwrap_or_default()
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
        Self { session, thread, model: None, turn: None, asked: Vec::new(), mid_line: false }
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
                "text_content.delta" if ours.as_deref() == Some(text(&heard, "turn_id")) => {
                    self.mid_line = true;
                    output::data(text(&heard, "text"))?;
                }
                "text_content.ended" if ours.as_deref() == Some(text(&heard, "turn_id")) => {
                    self.ended(&heard)?;
                }
                "turn.ended" if ours.as_deref() == Some(text(&heard, "turn_id")) => {
                    self.end_line()?;
                    let ended = heard.get("error").is_none_or(Value::is_null);
                    self.session.end().await;
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
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        loop {
            tokio::select! {
                line = lines.next_line() => match line? {
                    None => break,
                    Some(line) => {
                        if !self.typed(line.trim()).await? {
                            break;
                        }
                    }
                },
                heard = self.session.hear() => self.heard(&heard?)?,
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
        let open =
            OpenThread { thread_id: thread_id.clone(), backend: None, load: Some(load), since_turn: None };
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
        let options = Options { model: self.model.clone(), ..Options::default() };
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
            "/open" if !rest.trim().is_empty() => self.open(rest.trim().to_owned(), true).await?,
            "/model" | "/models" if rest.trim().is_empty() => {
                self.session.say(Body::ModelsRequest(NoFields {})).await?;
            }
            "/model" => {
                self.model = Some(rest.trim().to_owned());
                output::note(format!("The next turn uses {}.", rest.trim()));
            }
            command if command.starts_with('/') => output::note(format!("there is no {command}\n{HELP}")),
            _ => match (self.thread.clone(), self.turn.clone()) {
                (Some(thread_id), Some(turn_id)) => {
                    self.session
                        .say(Body::TurnSteer(Steer { thread_id, turn_id, content: content(line) }))
                        .await?;
                }
                _ => self.ask(line).await?,
            },
        }
        Ok(true)
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
            "thread.listed" => return listed(heard),
            "models.response" => return models(heard),
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
            "text_content.delta" => {
                self.mid_line = true;
                output::data(text(heard, "text"))?;
            }
            "text_content.ended" => self.ended(heard)?,
            "thread.status" if !text(heard, "status").is_empty() && !self.mid_line => {
                output::note(format!("… {}", text(heard, "status")));
            }
            "tool_call.approval_requested" => {
                output::note(format!(
                    "The agent wants to call {}.{}; this terminal cannot approve it.",
                    text(heard, "toolkit"),
                    text(heard, "tool")
                ));
            }
            "turn.start.rejected" | "turn.steer.rejected" => output::note(failed(heard).to_string()),
            "turn.ended" => {
                self.end_line()?;
                self.turn = None;
                if heard.get("error").is_some_and(|error| !error.is_null()) {
                    output::note(failed(heard).to_string());
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn kind(message: &Map<String, Value>) -> &str {
    text(message, "type").strip_prefix(crate::agent::message::PREFIX).unwrap_or_default()
}

fn failed(message: &Map<String, Value>) -> CliError {
    let field = |name: &str| {
        message.get("error").and_then(|e| e.get(name)).and_then(Value::as_str).unwrap_or("unknown")
    };
    CliError::server(format!("{} ({})", field("message"), field("code")))
}

/// The input that a `turn.started` carries, as the message it was.
fn as_input(started: &Map<String, Value>) -> Map<String, Value> {
    let mut input = started.clone();
    input.insert("type".into(), Value::String("meshagent.agent.turn.start".into()));
    input
}

fn listed(message: &Map<String, Value>) -> Result<(), CliError> {
    let threads = message.get("threads").and_then(Value::as_array);
    for thread in threads.into_iter().flatten().filter_map(Value::as_object) {
        output::line(format!(
            "{}  {}\n  {}",
            text(thread, "modified_at"),
            text(thread, "name"),
            text(thread, "path")
        ))?;
    }
    Ok(())
}

fn models(message: &Map<String, Value>) -> Result<(), CliError> {
    let providers = message.get("providers").and_then(Value::as_array);
    for provider in providers.into_iter().flatten().filter_map(Value::as_object) {
        let models = provider.get("models").and_then(Value::as_array);
        for model in models.into_iter().flatten().filter_map(Value::as_object) {
            output::line(format!("{}/{}", text(provider, "name"), text(model, "name")))?;
        }
    }
    Ok(())
}

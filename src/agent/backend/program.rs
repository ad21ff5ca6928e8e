//! The process of a program: one JSON message a line on its standard streams, both ways, and the last it said on its
//! standard error.

use crate::agent::config::ProgramConfig;
use crate::child::{Group, surroundings};
use serde_json::Value;
use std::collections::VecDeque;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

/// Bytes of one message.
pub const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Lines before or between messages that are none: some programs greet on standard output.
const NOISE_MAX: usize = 64;
/// Messages that wait to be heard; the program waits when there are more.
const WAITING_MAX: usize = 256;
/// How long the program may take to read a message.
const WRITE_MAX: Duration = Duration::from_secs(30);
/// How long it may take to end by itself once nobody speaks to it any more.
const END_MAX: Duration = Duration::from_secs(2);
/// Lines and bytes of a line that are kept of its standard error.
const STDERR_LINES: usize = 8;
const STDERR_BYTES: usize = 300;
/// Bytes at least that a secret has for it to be struck out of what a program said.
const SECRET_BYTES_MIN: usize = 6;

/// What a program said.
#[derive(Debug)]
pub enum Line {
    Message {
        message: Value,
        bytes: usize,
    },
    /// It cannot be understood any more, and why.
    Broken(String),
}

/// A program that runs. It and all it started are killed when this is dropped.
pub struct Program {
    child: Child,
    group: Group,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<Line>,
    stderr: Arc<Mutex<VecDeque<String>>>,
    secrets: Vec<String>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("group", &self.group).finish_non_exhaustive()
    }
}

impl Program {
    /// Starts it in its folder.
    pub fn start(config: &ProgramConfig) -> Result<Self, String> {
        let name = &config.name;
        let mut words = config.prefix.iter().chain(&config.words);
        let program = words.next().ok_or("no program is named")?;
        let mut command = Command::new(program);
        command.args(words).env_clear().envs(surroundings()).envs(&config.env).current_dir(&config.folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        if config.prefix.is_empty() {
            // What confines a program makes a session of its own.
            command.process_group(0);
        }
        let failed = |error| format!("`{name}` cannot be started: {error}; check its name and its folder");
        let mut child = command.spawn().map_err(failed)?;
        let group = Group::of(&child);
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(format!("`{name}` has no standard streams"));
        };
        let (heard, lines) = mpsc::channel(WAITING_MAX);
        tokio::spawn(read(BufReader::new(stdout), heard));
        let last: Arc<Mutex<VecDeque<String>>> = Arc::default();
        tokio::spawn(keep(BufReader::new(stderr), name.clone(), last.clone()));
        let secrets = config.env.values().filter(|value| value.len() >= SECRET_BYTES_MIN).cloned().collect();
        Ok(Self { child, group, stdin: Some(stdin), lines, stderr: last, secrets })
    }

    /// Writes a message.
    pub async fn send(&mut self, message: &Value) -> Result<(), String> {
        let Some(stdin) = &mut self.stdin else { return Err("the program was told to end".to_owned()) };
        let line = format!("{message}\n");
        let write = async {
            stdin.write_all(line.as_bytes()).await?;
            stdin.flush().await
        };
        match tokio::time::timeout(WRITE_MAX, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.ended().await),
            Err(_) => Err(format!("the program read nothing for {} s", WRITE_MAX.as_secs())),
        }
    }

    /// The next thing it says; why there is none any more. Nothing is lost when the future is dropped.
    pub async fn hear(&mut self) -> Result<(Value, usize), String> {
        match self.lines.recv().await {
            Some(Line::Message { message, bytes }) => Ok((message, bytes)),
            Some(Line::Broken(why)) => Err(why),
            None => Err(self.ended().await),
        }
    }

    /// How it ended, with the last it said of it.
    async fn ended(&mut self) -> String {
        let how = match tokio::time::timeout(END_MAX, self.child.wait()).await {
            Ok(Ok(status)) => format!("the program ended ({status})"),
            _ => "the program closed its standard streams".to_owned(),
        };
        let said = self.stderr.lock().unwrap_or_else(PoisonError::into_inner).back().cloned();
        let Some(mut said) = said else { return how };
        for secret in &self.secrets {
            said = said.replace(secret.as_str(), "…");
        }
        format!("{how}: {said}")
    }

    /// Lets it end by itself, for a while.
    pub async fn end(mut self) {
        drop(self.stdin.take());
        self.lines.close();
        if tokio::time::timeout(END_MAX, self.child.wait()).await.is_err() {
            tracing::debug!(group = ?self.group, "a program did not end by itself and is killed");
        }
    }
}

/// Reads messages until the end, or until one is none.
async fn read(mut from: impl AsyncBufReadExt + Unpin, to: mpsc::Sender<Line>) {
    let mut noise = 0;
    loop {
        let line = match line(&mut from, LINE_BYTES_MAX).await {
            Ok(Some(line)) => line,
            Ok(None) | Err(None) => return,
            Err(Some(why)) => {
                // Nobody may listen any more.
                let _ = to.send(Line::Broken(why)).await;
                return;
            }
        };
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let bytes = line.len();
        let said = match serde_json::from_slice(text) {
            Ok(message) => Line::Message { message, bytes },
            Err(_) if !text.starts_with(b"{") && noise < NOISE_MAX => {
                noise += 1;
                tracing::debug!(bytes, "a line on a program's standard output is no message");
                continue;
            }
            Err(_) => Line::Broken("the program wrote a line that is no message".to_owned()),
        };
        let broken = matches!(said, Line::Broken(_));
        if to.send(said).await.is_err() || broken {
            return;
        }
    }
}

/// A whole line; `None` at the end. An error without a reason is the end too.
async fn line(
    from: &mut (impl AsyncBufReadExt + Unpin),
    max: usize,
) -> Result<Option<Vec<u8>>, Option<String>> {
    let mut line = Vec::new();
    loop {
        let piece = from.fill_buf().await.map_err(|_| None)?;
        if piece.is_empty() {
            return Ok((!line.is_empty()).then_some(line));
        }
        let end = piece.iter().position(|byte| *byte == b'\n');
        let piece = piece.get(..end.map_or(piece.len(), |at| at + 1)).unwrap_or_default();
        line.extend_from_slice(piece);
        let taken = piece.len();
        from.consume(taken);
        if line.len() > max {
            return Err(Some(format!("the program wrote a message of more than {max} bytes")));
        }
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

/// Keeps the last lines; the rest is read and forgotten, so that the program never waits.
async fn keep(mut from: BufReader<impl AsyncRead + Unpin>, name: String, last: Arc<Mutex<VecDeque<String>>>) {
    let mut text = Vec::new();
    loop {
        let Ok(piece) = from.fill_buf().await else { return };
        if piece.is_empty() {
            return;
        }
        let taken = piece.len();
        for byte in piece {
            match byte {
                b'\n' => note(&mut text, &name, &last),
                byte if text.len() < STDERR_BYTES => text.push(*byte),
                _ => {}
            }
        }
        from.consume(taken);
        if from.buffer().is_empty() && text.len() >= STDERR_BYTES {
            note(&mut text, &name, &last);
        }
    }
}

fn note(text: &mut Vec<u8>, name: &str, last: &Mutex<VecDeque<String>>) {
    let line = String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).collect::<String>();
    text.clear();
    if line.trim().is_empty() {
        return;
    }
    tracing::trace!(program = name, bytes = line.len(), "a program wrote to its standard error");
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    last.push_back(line);
    if last.len() > STDERR_LINES {
        last.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn heard(text: &str) -> Vec<String> {
        let (to, mut from) = mpsc::channel(WAITING_MAX);
        let text = text.to_owned();
        tokio::spawn(async move { read(BufReader::new(text.as_bytes()), to).await });
        let mut all = Vec::new();
        while let Some(line) = from.recv().await {
            all.push(match line {
                Line::Message { message, .. } => message.to_string(),
                Line::Broken(why) => why,
            });
        }
        all
    }

    #[tokio::test]
    async fn messages_are_read_line_by_line_and_greetings_passed_over() {
        assert_eq!(heard("Hello!\n\n{\"a\":1}\r\n{\"b\":2}").await, [r#"{"a":1}"#, r#"{"b":2}"#]);
        assert_eq!(heard("{\"a\":\n{\"b\":2}\n").await, ["the program wrote a line that is no message"]);
        let noisy = heard(&"x\n".repeat(NOISE_MAX + 1)).await;
        assert_eq!(noisy, ["the program wrote a line that is no message"]);
        let long = heard(&format!("\"{}\"\n{{}}\n", "x".repeat(LINE_BYTES_MAX))).await;
        assert!(long.len() == 1 && long[0].contains("more than"), "{long:?}");
    }
}

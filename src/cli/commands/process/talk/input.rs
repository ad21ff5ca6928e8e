//! What the person types, or pipes in.

use crate::cli::error::CliError;
use std::io::{self, BufRead, IsTerminal, Read};
use tokio::sync::mpsc;

/// Lines that may wait to be heard.
const LINES_MAX: usize = 16;
/// Longest message that is read from a pipe, bytes.
const MESSAGE_BYTES_MAX: u64 = 1024 * 1024;

/// The lines of stdin as they come; closed at its end. A thread of its own reads them: a program that ends waits for no line.
pub fn lines() -> mpsc::Receiver<String> {
    let (to, lines) = mpsc::channel(LINES_MAX);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if to.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The one thing to ask: what `--message` says, else what is piped in; `None` where a person types.
pub async fn message(given: Option<&String>) -> Result<Option<String>, CliError> {
    if given.is_some() || io::stdin().is_terminal() {
        return Ok(given.cloned());
    }
    let read = tokio::task::spawn_blocking(|| {
        let mut text = String::new();
        io::stdin().lock().take(MESSAGE_BYTES_MAX + 1).read_to_string(&mut text).map(|_| text)
    });
    let text = read.await.map_err(|error| CliError::internal(error.to_string()))??;
    if text.len() as u64 > MESSAGE_BYTES_MAX {
        return Err(CliError::user(format!("the message is longer than {MESSAGE_BYTES_MAX} bytes"))
            .hint("put it into a file of the room and ask about that"));
    }
    if text.trim().is_empty() {
        return Err(CliError::usage("nothing is asked: stdin is no terminal and holds no message")
            .hint("pass --message TEXT, or pipe a text in"));
    }
    Ok(Some(text.trim_end().to_owned()))
}

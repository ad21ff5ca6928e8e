//! How `--channel` spells the ways in which work reaches an agent. Pure; [`super::channel`] is what serves them.

use std::fmt;
use std::str::FromStr;

/// One `--channel`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentChannel {
    /// `chat`: conversations over room messaging.
    Chat,
    /// `memory`: local to the process.
    Memory,
    /// `mail:ADDRESS[?reply-all=true|false]`.
    Mail { address: String, reply_all: bool },
    /// `queue:NAME`: jobs of a room queue.
    Queue(String),
    /// `toolkit:NAME`: the agent as a tool.
    Toolkit(String),
    /// `websocket:PORT` or `websocket://HOST:PORT`.
    WebSocket { host: Option<String>, port: u16 },
    /// `command:EXE` or `command:["EXE","ARG"]`.
    Command(Vec<String>),
}

/// Why a text is no channel.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "unknown channel `{text}`: {reason}; want chat, mail:ADDRESS, queue:NAME, toolkit:NAME, websocket:PORT or command:PROGRAM"
)]
pub struct InvalidChannel {
    text: String,
    reason: String,
}

impl FromStr for AgentChannel {
    type Err = InvalidChannel;

    fn from_str(text: &str) -> Result<Self, InvalidChannel> {
        parse(text.trim()).map_err(|reason| InvalidChannel { text: text.to_owned(), reason })
    }
}

fn parse(text: &str) -> Result<AgentChannel, String> {
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    let named = |what: &str| match rest.trim() {
        "" => Err(format!("it lacks the {what} after the colon")),
        rest => Ok(rest.to_owned()),
    };
    match kind.to_ascii_lowercase().as_str() {
        "chat" if rest.is_empty() => Ok(AgentChannel::Chat),
        "memory" if rest.is_empty() => Ok(AgentChannel::Memory),
        "queue" => named("queue name").map(AgentChannel::Queue),
        "toolkit" => named("toolkit name").map(AgentChannel::Toolkit),
        "mail" => mail(&named("address")?),
        "websocket" => websocket(&named("port")?),
        "command" => command(&named("program")?),
        _ => Err("there is no such kind".to_owned()),
    }
}

fn mail(rest: &str) -> Result<AgentChannel, String> {
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !address.contains('@') {
        return Err("the address lacks an @".to_owned());
    }
    let reply_all = match query {
        "" | "reply-all=true" => true,
        "reply-all=false" => false,
        other => return Err(format!("`{other}` is no option of a mail channel")),
    };
    Ok(AgentChannel::Mail { address: address.to_owned(), reply_all })
}

fn websocket(rest: &str) -> Result<AgentChannel, String> {
    let (host, port) = match rest.strip_prefix("//") {
        None => (None, rest),
        Some(rest) => {
            let (host, port) = rest.rsplit_once(':').ok_or("it lacks a port")?;
            (Some(host.to_owned()), port)
        }
    };
    let port = port.parse().map_err(|_| format!("`{port}` is no port"))?;
    Ok(AgentChannel::WebSocket { host, port })
}

fn command(rest: &str) -> Result<AgentChannel, String> {
    if !rest.starts_with('[') {
        return Ok(AgentChannel::Command(vec![rest.to_owned()]));
    }
    match serde_json::from_str::<Vec<String>>(rest) {
        Ok(words) if !words.is_empty() => Ok(AgentChannel::Command(words)),
        _ => Err("the program is no JSON list of texts".to_owned()),
    }
}

impl fmt::Display for AgentChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chat => f.write_str("chat"),
            Self::Memory => f.write_str("memory"),
            Self::Mail { address, .. } => write!(f, "mail:{address}"),
            Self::Queue(name) => write!(f, "queue:{name}"),
            Self::Toolkit(name) => write!(f, "toolkit:{name}"),
            Self::WebSocket { host: None, port } => write!(f, "websocket:{port}"),
            Self::WebSocket { host: Some(host), port } => write!(f, "websocket://{host}:{port}"),
            Self::Command(words) => write!(f, "command:{}", words.join(" ")),
        }
    }
}

impl AgentChannel {
    /// Whether an agent can be joined with it; `memory` belongs to `process run`.
    #[must_use]
    pub fn is_supported(&self) -> bool {
        *self != Self::Memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_reference_reads() {
        let read = |text: &str| text.parse::<AgentChannel>().unwrap();
        assert_eq!(read("chat"), AgentChannel::Chat);
        assert_eq!(read("QUEUE:Jobs"), AgentChannel::Queue("Jobs".into()));
        assert_eq!(read("toolkit:support-agent"), AgentChannel::Toolkit("support-agent".into()));
        let mail = |reply_all| AgentChannel::Mail { address: "a@b".into(), reply_all };
        assert_eq!(read("mail:a@b?reply-all=false"), mail(false));
        assert_eq!(read("mail:a@b"), mail(true));
        assert_eq!(read("websocket:80"), AgentChannel::WebSocket { host: None, port: 80 });
        assert_eq!(
            read("websocket://0.0.0.0:80"),
            AgentChannel::WebSocket { host: Some("0.0.0.0".into()), port: 80 }
        );
        assert_eq!(read(r#"command:["x","y"]"#), AgentChannel::Command(vec!["x".into(), "y".into()]));
    }

    #[test]
    fn what_is_no_channel_says_why() {
        for (text, why) in [
            ("queue:", "lacks the queue name"),
            ("que:x", "no such kind"),
            ("mail:nobody", "lacks an @"),
            ("mail:a@b?x=1", "no option"),
            ("websocket:high", "no port"),
            ("command:[]", "no JSON list"),
        ] {
            let error = text.parse::<AgentChannel>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}

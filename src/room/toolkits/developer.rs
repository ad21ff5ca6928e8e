//! `developer`: the room's log lines, from participants and from the processes of its services (room protocol §3.13).

use crate::clock::Clock;
use crate::id::SessionId;
use crate::room::lock;
use crate::room::toolkit::{Call, Takes, ToolError, ToolInfo, Toolkit, ToolkitInfo};
use crate::room::world::LineSink;
use crate::wire::Content;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use tokio::sync::broadcast;

/// Lines a new reader is shown first.
pub const RECENT_LINES_MAX: usize = 500;
/// Bytes of those lines.
pub const RECENT_BYTES_MAX: usize = 1024 * 1024;
/// Lines a reader may be behind; what it misses beyond is counted and said.
pub const BEHIND_LINES_MAX: usize = 1_024;
/// Longest line kept; the rest of a longer one is left out.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Type of the platform's own lines on the stream.
pub const OTEL_LOG: &str = "otel.log";

/// One line: its type (`info`, `service.output`, …) and its data.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    pub kind: String,
    pub data: Map<String, Value>,
    pub at: DateTime<Utc>,
    /// A participant gave the line this type; it stays as it is.
    custom: bool,
    bytes: usize,
}

/// The log of one session: recent lines, and those who follow.
pub struct LogBook {
    /// Keeps lines beyond the session, where somebody does.
    sink: Option<(SessionId, Arc<dyn LineSink>)>,
    clock: Arc<dyn Clock>,
    recent: Mutex<(VecDeque<Arc<LogLine>>, usize)>,
    followers: broadcast::Sender<Arc<LogLine>>,
}

impl fmt::Debug for LogBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogBook").finish_non_exhaustive()
    }
}

impl LogBook {
    /// An empty log.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let followers = broadcast::Sender::new(BEHIND_LINES_MAX);
        Self { sink: None, clock, recent: Mutex::default(), followers }
    }

    /// The same, of `session`, whose lines `sink` keeps.
    #[must_use]
    pub fn kept_by(self, session: SessionId, sink: Arc<dyn LineSink>) -> Self {
        Self { sink: Some((session, sink)), ..self }
    }

    /// Adds a line of one of the platform's types. Never waits.
    pub fn add(&self, kind: &str, data: Map<String, Value>) {
        self.add_line(kind, data, false);
    }

    /// Adds a line of a type that a participant made up. Never waits.
    pub fn add_custom(&self, kind: &str, data: Map<String, Value>) {
        self.add_line(kind, data, true);
    }

    fn add_line(&self, kind: &str, mut data: Map<String, Value>, custom: bool) {
        let mut bytes = size(&data);
        if bytes > LINE_BYTES_MAX {
            data = cut(&data, bytes);
            bytes = size(&data);
        }
        if let Some((session, sink)) = &self.sink {
            sink.line(*session, kind, &data);
        }
        let line = Arc::new(LogLine { kind: kind.to_owned(), data, at: self.clock.now(), custom, bytes });
        let mut recent = lock(&self.recent);
        let (lines, total) = &mut *recent;
        lines.push_back(Arc::clone(&line));
        *total += bytes;
        while lines.len() > RECENT_LINES_MAX || *total > RECENT_BYTES_MAX {
            let Some(oldest) = lines.pop_front() else { break };
            *total -= oldest.bytes;
        }
        // Sent under the lock, so that a new follower gets each line once. Without followers it is only kept.
        let _ = self.followers.send(line);
    }

    /// The recent lines, and those to come.
    #[must_use]
    pub fn follow(&self) -> (Vec<Arc<LogLine>>, broadcast::Receiver<Arc<LogLine>>) {
        let recent = lock(&self.recent);
        (recent.0.iter().map(Arc::clone).collect(), self.followers.subscribe())
    }
}

fn size(data: &Map<String, Value>) -> usize {
    serde_json::to_vec(data).map_or(0, |json| json.len())
}

/// A line that is too long, as the beginning of its message.
fn cut(data: &Map<String, Value>, bytes: usize) -> Map<String, Value> {
    let message = data.get("message").and_then(Value::as_str).unwrap_or_default();
    let shown: String = message.chars().take(LINE_BYTES_MAX / 8).collect();
    let mut short = Map::new();
    short.insert("message".into(), format!("{shown}… (a line of {bytes} bytes, cut)").into());
    short
}

/// The toolkit.
#[derive(Debug)]
pub struct Developer {
    info: ToolkitInfo,
}

#[derive(Deserialize, JsonSchema)]
struct Log {
    r#type: String,
    #[serde(default)]
    data: Option<Map<String, Value>>,
}

#[derive(Deserialize, JsonSchema)]
struct Said {
    message: String,
    #[serde(default)]
    extra: Option<Map<String, Value>>,
}

impl Default for Developer {
    fn default() -> Self {
        let none = ["empty"];
        let tools = vec![
            ToolInfo::unary::<Log>("log", &none, "Adds a line of any type to the room's log."),
            ToolInfo::unary::<Said>("info", &none, "Adds an informative line to the room's log."),
            ToolInfo::unary::<Said>("warning", &none, "Adds a warning to the room's log."),
            ToolInfo::unary::<Said>("error", &none, "Adds an error to the room's log."),
            ToolInfo::stream("logs", Takes::OnlyEnd, "Shows the recent lines, then each new one.").waiting(),
        ];
        let info = ToolkitInfo {
            name: "developer",
            title: "Developer",
            description: "The log of this room.",
            tools,
        };
        Self { info }
    }
}

#[async_trait]
impl Toolkit for Developer {
    fn describe(&self) -> &ToolkitInfo {
        &self.info
    }

    async fn invoke(&self, call: &mut Call) -> Result<Content, ToolError> {
        match call.tool {
            "log" => {
                let args: Log = call.args()?;
                call.session.logs.add_custom(&args.r#type, args.data.unwrap_or_default());
            }
            "logs" => follow(call).await?,
            level => {
                let args: Said = call.args()?;
                let mut data = args.extra.unwrap_or_default();
                data.insert("message".into(), args.message.into());
                data.insert("participant_name".into(), call.caller.name.clone().into());
                call.session.logs.add(level, data);
            }
        }
        Ok(Content::Empty)
    }
}

/// Shows lines until the caller closes its input.
async fn follow(call: &mut Call) -> Result<(), ToolError> {
    let (recent, mut lines) = call.session.logs.follow();
    call.open();
    for line in recent {
        call.send(line.chunk());
    }
    loop {
        tokio::select! {
            item = call.next() => {
                if item?.is_none() {
                    return Ok(());
                }
            }
            line = lines.recv() => match line {
                Ok(line) => call.send(line.chunk()),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    let text = format!("{missed} lines were left out: this reader is too slow");
                    let data = Map::from_iter([("message".to_owned(), text.into())]);
                    let at = call.session.logs.clock.now();
                    let line = LogLine { kind: "warning".to_owned(), data, at, custom: false, bytes: 0 };
                    call.send(line.chunk());
                }
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            }
        }
    }
}

fn chunk(kind: &str, data: &Map<String, Value>) -> Content {
    let data = if data.is_empty() { Vec::new() } else { serde_json::to_vec(data).unwrap_or_default() };
    Content::binary(json!({"type": kind}), Bytes::from(data))
}

impl LogLine {
    /// The line as readers get it. A line of the platform is of type [`OTEL_LOG`], the one that the official command
    /// line tool prints: its fields, its type as `kind`, and the same as a log record in OTLP's JSON.
    fn chunk(&self) -> Content {
        if self.custom {
            return chunk(&self.kind, &self.data);
        }
        let mut data = self.data.clone();
        data.insert("kind".into(), self.kind.clone().into());
        data.insert("resourceLogs".into(), self.otlp());
        chunk(OTEL_LOG, &data)
    }

    fn otlp(&self) -> Value {
        let (severity, number) = match self.kind.as_str() {
            "error" | "service.failed" => ("ERROR", 17),
            "warning" | "participant.cut_off" => ("WARN", 13),
            _ => ("INFO", 9),
        };
        let message = self.data.get("message").and_then(Value::as_str).unwrap_or(&self.kind);
        let attributes: Vec<Value> = self
            .data
            .iter()
            .filter(|(key, value)| *key != "message" && !value.is_null())
            .map(|(key, value)| {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                json!({"key": key, "value": {"stringValue": text}})
            })
            .collect();
        let nanos = self.at.timestamp_nanos_opt().unwrap_or_default().to_string();
        json!([{"resource": {"attributes": []}, "scopeLogs": [{
            "scope": {"name": "developer"},
            "logRecords": [{
                "timeUnixNano": nanos, "observedTimeUnixNano": nanos,
                "severityText": severity, "severityNumber": number,
                "body": {"stringValue": message}, "attributes": attributes,
            }],
        }]}])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Fixed;

    fn book() -> LogBook {
        LogBook::new(Arc::new(Fixed::at(DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(7))))
    }

    fn line(text: &str) -> Map<String, Value> {
        let mut data = Map::new();
        data.insert("message".into(), text.into());
        data
    }

    #[test]
    fn the_log_keeps_the_newest_lines_within_its_bounds() {
        let book = book();
        for n in 0..=RECENT_LINES_MAX {
            book.add("info", line(&n.to_string()));
        }
        let (recent, _) = book.follow();
        assert_eq!(recent.len(), RECENT_LINES_MAX);
        assert_eq!(recent[0].data["message"], "1");
        let long = "x".repeat(LINE_BYTES_MAX / 2);
        for _ in 0..100 {
            book.add("info", line(&long));
        }
        let (recent, _) = book.follow();
        assert!(recent.iter().map(|l| l.bytes).sum::<usize>() <= RECENT_BYTES_MAX);
    }

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        let book = book();
        book.add("stdout", line(&"y".repeat(LINE_BYTES_MAX)));
        let (recent, _) = book.follow();
        assert!(recent[0].bytes <= LINE_BYTES_MAX);
        assert!(recent[0].data["message"].as_str().unwrap().ends_with("bytes, cut)"));
    }

    #[test]
    fn lines_of_the_platform_are_log_records_and_those_of_participants_stay_as_they_are() {
        let book = book();
        let mut data = line("it broke");
        data.insert("n".into(), 3.into());
        book.add("error", data.clone());
        book.add_custom("mine", data.clone());
        let (recent, _) = book.follow();
        let parts = |line: &LogLine| match line.chunk() {
            Content::Binary { headers, data } => (headers, serde_json::from_slice::<Value>(&data).unwrap()),
            other => panic!("{other:?}"),
        };
        let (headers, shown) = parts(&recent[0]);
        assert_eq!(headers["type"], OTEL_LOG);
        assert_eq!((&shown["kind"], &shown["n"]), (&json!("error"), &json!(3)));
        let record = &shown["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
        assert_eq!(record["body"]["stringValue"], "it broke");
        assert_eq!(
            (&record["severityText"], &record["timeUnixNano"]),
            (&json!("ERROR"), &json!("7000000000"))
        );
        assert_eq!(record["attributes"], json!([{"key": "n", "value": {"stringValue": "3"}}]));
        assert_eq!(parts(&recent[1]).0["type"], "mine");
        assert_eq!(parts(&recent[1]).1, Value::Object(data));
    }
}

//! The output of a pod, line by line: followed until the pod is over, and gone on with after a cut, no line twice.

use super::fault::{Fault, ask};
use super::state::{Seen, Stage};
use super::view::View;
use super::{CONTAINER_NAME, K8sPod};
use crate::runtime::output::Lines;
use crate::runtime::{LogSink, OutputLine, Stream};
use futures_util::AsyncReadExt as _;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::LogParams;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const READ_BYTES: usize = 16 * 1024;
/// First pause before a cut stream is opened again; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Where in the output we are: by the times that the node wrote before the lines.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    last: Option<Timestamp>,
    /// Lines of that very time that were passed on.
    at_last: u64,
    /// Lines of that very time seen since the stream was opened again.
    again: u64,
    resumed: bool,
}

impl Cursor {
    /// The stream begins again, at the second of the last line or before.
    pub fn resume(&mut self) {
        (self.resumed, self.again) = (true, 0);
    }

    /// From when on lines are wanted; everything where none was passed on.
    pub fn since(&self) -> Option<Timestamp> {
        // The API server takes whole seconds, and rounds to the nearest where it is given more.
        self.last.and_then(|last| Timestamp::from_second(last.as_second()).ok())
    }

    /// The text of a line without its time; `None` for one that was passed on before.
    pub fn take<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        let stamped = line.split_once(' ').unwrap_or((line, ""));
        let Ok(at) = stamped.0.parse::<Timestamp>() else { return Some(line) };
        match self.last {
            Some(last) if at < last => {
                // A clock that was set back while it is followed is no repetition.
                if self.resumed {
                    return None;
                }
                (self.last, self.at_last) = (Some(at), 1);
            }
            Some(last) if at == last => {
                if self.resumed {
                    self.again += 1;
                    if self.again <= self.at_last {
                        return None;
                    }
                }
                self.at_last += 1;
            }
            _ => (self.last, self.at_last, self.resumed) = (Some(at), 1, false),
        }
        Some(stamped.1)
    }
}

/// Passes the output of one pod on.
pub(super) struct Follower {
    pub api: Api<K8sPod>,
    pub view: Arc<View>,
    pub name: String,
    pub uid: String,
    pub sink: LogSink,
}

impl Follower {
    /// Until the pod is over and all that it wrote was passed on.
    pub async fn run(self) {
        let mut changes = self.view.changes();
        let begun =
            |seen: Option<Seen>| seen.is_none_or(|seen| seen.stage == Stage::Running || seen.is_over());
        while !begun(self.seen()) {
            if changes.changed().await.is_err() {
                return;
            }
        }
        let cursor = Arc::new(Mutex::new(Cursor::default()));
        let (own, sink) = (Arc::clone(&cursor), Arc::clone(&self.sink));
        let stamped: LogSink = Arc::new(move |line: OutputLine| {
            if line.stream == Stream::Runtime {
                return sink(line);
            }
            let mut cursor = own.lock().unwrap_or_else(PoisonError::into_inner);
            let text = cursor.take(&line.text).map(str::to_owned);
            drop(cursor);
            if let Some(text) = text {
                sink(OutputLine { stream: line.stream, text });
            }
        });
        let mut pause = PAUSE_FIRST;
        let mut is_told = false;
        loop {
            let was_over = self.seen().is_none_or(|seen| seen.is_over());
            let since = cursor.lock().unwrap_or_else(PoisonError::into_inner).since();
            let mut lines = Lines::new(Stream::Stdout, Arc::clone(&stamped));
            match self.stream(since, &mut lines).await {
                Ok(true) => pause = PAUSE_FIRST,
                Ok(false) => {}
                Err(fault) => {
                    if self.is_gone(&fault).await {
                        return;
                    }
                    if !std::mem::replace(&mut is_told, true) {
                        let text = format!("the output of the pod is not read: {fault}");
                        (self.sink)(OutputLine { stream: Stream::Runtime, text });
                    }
                }
            }
            if was_over {
                // A line that was cut comes whole with the next stream; there is none.
                return lines.end();
            }
            cursor.lock().unwrap_or_else(PoisonError::into_inner).resume();
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Whether there is no such pod any more. That its node does not know it says nothing of the pod.
    async fn is_gone(&self, fault: &Fault) -> bool {
        if self.seen().is_none() {
            return true;
        }
        if !fault.is_absent() {
            return false;
        }
        let found = ask(self.api.get_opt(&self.name)).await;
        found.is_ok_and(|found| self.view.is_another(found.as_ref(), &self.name, &self.uid))
    }

    fn seen(&self) -> Option<Seen> {
        self.view.get(&self.name).filter(|seen| seen.uid == self.uid)
    }

    /// Reads until the stream ends; whether it had anything.
    async fn stream(&self, since: Option<Timestamp>, lines: &mut Lines) -> Result<bool, Fault> {
        let parameters = LogParams {
            container: Some(CONTAINER_NAME.to_owned()),
            follow: true,
            timestamps: true,
            since_time: since,
            ..LogParams::default()
        };
        let mut stream = std::pin::pin!(ask(self.api.log_stream(&self.name, &parameters)).await?);
        let mut buffer = vec![0; READ_BYTES];
        let mut any = false;
        // A stream that is cut ends like one that is over: what follows tells.
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            lines.take(&buffer[..read]);
            any = true;
        }
        Ok(any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken<'a>(cursor: &mut Cursor, lines: &[&'a str]) -> Vec<&'a str> {
        lines.iter().filter_map(|line| cursor.take(line)).collect()
    }

    #[test]
    fn a_stream_goes_on_after_a_cut_without_a_line_twice_or_lost() {
        let at = |fraction: &str, text: &str| format!("2026-01-02T03:04:05.{fraction}Z {text}");
        let lines = [at("1", "a"), at("2", "b"), at("2", "b"), at("2", "c"), at("3", "d")];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        for cut in 0..=lines.len() {
            let mut cursor = Cursor::default();
            let mut all = taken(&mut cursor, &lines[..cut]);
            cursor.resume();
            // The node gives everything of the second again.
            all.extend(taken(&mut cursor, &lines));
            assert_eq!(all, ["a", "b", "b", "c", "d"], "cut after {cut}");
            cursor.resume();
            assert!(taken(&mut cursor, &lines).is_empty(), "cut after {cut}, and at the end");
        }
    }

    #[test]
    fn what_has_no_time_is_passed_on_as_it_is() {
        let mut cursor = Cursor::default();
        assert_eq!(cursor.take("no time here"), Some("no time here"));
        assert_eq!(cursor.since(), None);
        assert_eq!(cursor.take("2026-01-02T03:04:05.9Z "), Some(""), "an empty line is a line");
        assert_eq!(cursor.since().unwrap().to_string(), "2026-01-02T03:04:05Z");
    }
}

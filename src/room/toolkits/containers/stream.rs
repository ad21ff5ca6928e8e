//! Logs and programs in containers, as streams.

use super::jobs::Job;
use super::{Containers, args};
use crate::containers::text::Utf8;
use crate::containers::{Engine, EngineError, Exec, ExecInput, ExecOutput, State};
use crate::error_code::RoomCode;
use crate::room::toolkit::{Call, ToolError};
use crate::wire::Content;
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Items of one stream that may wait to be written.
const WINDOW_ITEMS: usize = 16;
/// Largest item of a log, bytes.
const ITEM_BYTES_MAX: usize = 64 * 1024;
/// Exit status of a program that was ended because its caller stopped.
const STATUS_KILLED: i64 = 137;

/// Channels of an exec stream and of build logs.
pub(super) mod channel {
    pub const OUT: u64 = 1;
    pub const ERR: u64 = 2;
    pub const STATUS: u64 = 3;
    pub const RESIZE: u64 = 4;
    pub const KILL: u64 = 5;
    pub const CLOSE_INPUT: u64 = 255;
}

/// A bounded way to the caller.
pub(super) struct Paced<'a> {
    call: &'a Call,
    window: Arc<Semaphore>,
}

impl<'a> Paced<'a> {
    pub fn new(call: &'a Call) -> Self {
        Self { call, window: Arc::new(Semaphore::new(WINDOW_ITEMS)) }
    }

    pub async fn send(&self, channel: u64, data: Bytes) {
        for at in (0..data.len()).step_by(ITEM_BYTES_MAX) {
            let item = data.slice(at..data.len().min(at + ITEM_BYTES_MAX));
            self.call.send_paced(&self.window, Content::binary(json!({"channel": channel}), item)).await;
        }
    }

    /// As [`Paced::send`], never splitting a character.
    pub async fn send_text(&self, channel: u64, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            let cut = rest.floor_char_boundary(ITEM_BYTES_MAX);
            let (item, after) = rest.split_at(cut);
            self.send(channel, Bytes::copy_from_slice(item.as_bytes())).await;
            rest = after;
        }
    }

    pub async fn status(&self, status: i64) {
        let text = Bytes::from(json!({"status": status}).to_string());
        self.call.send_paced(&self.window, Content::binary(json!({"channel": channel::STATUS}), text)).await;
    }
}

/// Returns when the caller closes its input.
async fn stopped(call: &Call) -> Result<(), ToolError> {
    while call.next().await?.is_some() {}
    Ok(())
}

impl Containers {
    pub(super) async fn logs(&self, call: &mut Call) -> Result<Content, ToolError> {
        let args: args::Logs = call.args()?;
        let follow = args.follow.unwrap_or(false);
        if let Some(job) = self.jobs.find(call, &args.container_id) {
            call.open();
            let call: &Call = call;
            tokio::select! {
                () = job_text(call, &job, follow) => {}
                stopped = stopped(call) => stopped?,
            }
            return Ok(Content::Empty);
        }
        let engine = self.parts.engines.engine().await?;
        let found = self.find(&engine, call.session.room.id, &args.container_id).await?;
        call.open();
        let call: &Call = call;
        tokio::select! {
            done = container_text(call, &engine, &found.id, follow) => done?,
            stopped = stopped(call) => stopped?,
        }
        Ok(Content::Empty)
    }

    pub(super) async fn exec(&self, call: &mut Call) -> Result<Content, ToolError> {
        let args: args::Exec = call.args()?;
        let command = match args.command {
            None => vec!["sh".to_owned()],
            Some(args::Command::Line(line)) => args::words(Some(&line))?,
            Some(args::Command::Words(words)) => words,
        };
        let engine = self.parts.engines.engine().await?;
        let found = self.find_open(&engine, call, &args.container_id).await?;
        if found.state != State::Running {
            let text = format!("container `{}` does not run; start one that does", args.container_id);
            return Err(ToolError::new(RoomCode::InvalidState, text));
        }
        let (exec, output, input) =
            Exec::start(&engine, &found.id, command, args.tty.unwrap_or(false)).await?;
        call.open();
        let guard = Kill { exec: Some((exec.clone(), found.id.clone())) };
        let call: &Call = call;
        // Whatever ends this early, a caller that is gone too, ends the program: the guard is still there.
        let status = serve(call, &exec, &found.id, output, input).await?;
        guard.over();
        Paced::new(call).status(status).await;
        Ok(Content::Empty)
    }
}

/// The log of a container as UTF-8.
async fn container_text(call: &Call, engine: &Engine, id: &str, follow: bool) -> Result<(), ToolError> {
    let paced = Paced::new(call);
    let mut items = engine.logs(id, follow);
    let mut texts = [Utf8::default(), Utf8::default()];
    while let Some(item) = items.next().await {
        let item = item?;
        let text = texts[usize::from(item.stderr)].push(&item.data);
        paced.send_text(channel::OUT, &text).await;
    }
    for text in &mut texts {
        paced.send_text(channel::OUT, &text.end()).await;
    }
    Ok(())
}

/// The log of a job.
async fn job_text(call: &Call, job: &Job, follow: bool) {
    let paced = Paced::new(call);
    let mut from = 0;
    while let Some(text) = job.text_after(&mut from, follow).await {
        paced.send_text(channel::OUT, &text).await;
    }
}

/// Passes bytes both ways until the program ends or its caller stops; its status.
async fn serve(
    call: &Call,
    exec: &Exec,
    container: &str,
    mut output: impl futures_util::Stream<Item = Result<ExecOutput, EngineError>> + Unpin,
    input: ExecInput,
) -> Result<i64, ToolError> {
    let paced = Paced::new(call);
    let out = async {
        while let Some(item) = output.next().await {
            match item? {
                ExecOutput::Out(data) => paced.send(channel::OUT, data).await,
                ExecOutput::Err(data) => paced.send(channel::ERR, data).await,
            }
        }
        Ok::<(), ToolError>(())
    };
    tokio::select! {
        ended = out => ended?,
        stopped = feed(call, exec, container, input) => {
            stopped?;
            exec.kill(container).await;
            return Ok(STATUS_KILLED);
        }
    }
    Ok(exec.ended().await?)
}

/// Takes what the caller sends; returns when it stops.
async fn feed(call: &Call, exec: &Exec, container: &str, input: ExecInput) -> Result<(), ToolError> {
    let mut input = Some(input);
    while let Some(item) = call.next().await? {
        let Content::Binary { headers, data } = item else {
            return Err(ToolError::invalid("the input of an exec is binary items with a header `channel`"));
        };
        let number = |name: &str| headers.get(name).and_then(serde_json::Value::as_u64);
        match number("channel") {
            Some(channel::OUT) => {
                if let Some(open) = &mut input
                    && open.write(&data).await.is_err()
                {
                    // It does not read any more; what it says is still of interest.
                    input = None;
                }
            }
            Some(channel::RESIZE) => {
                let side = |name: &str| number(name).and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
                if let (Some(width), Some(height)) = (side("width"), side("height")) {
                    // A program without a terminal has no size.
                    let _ = exec.resize(width, height).await;
                }
            }
            Some(channel::KILL) => exec.kill(container).await,
            Some(channel::CLOSE_INPUT) => {
                if let Some(mut open) = input.take() {
                    open.close().await;
                }
            }
            other => {
                return Err(ToolError::invalid(format!(
                    "an exec has no input channel {other:?}; use 1 (data), 4 (size), 5 (kill), 255 (end)"
                )));
            }
        }
    }
    Ok(())
}

/// Ends a program whose caller went away.
struct Kill {
    exec: Option<(Exec, String)>,
}

impl Kill {
    fn over(mut self) {
        self.exec = None;
    }
}

impl Drop for Kill {
    fn drop(&mut self) {
        if let Some((exec, container)) = self.exec.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { exec.kill(&container).await }.boxed());
        }
    }
}

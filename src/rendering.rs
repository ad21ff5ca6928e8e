//! Templates of other people, rendered in a process of its own: what one takes there, in memory or time, this one does not miss.
//!
//! The process is this very binary. It reads requests from its standard input and answers on its standard output, each a length of
//! four bytes and JSON; it ends with its input, when its memory is used up, or when an answer takes too long.

use crate::domain::template::{Here, RENDERED_BYTES_MAX, Refusal, Render, Values};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Name of the hidden subcommand that renders.
pub const SUBCOMMAND: &str = "__render";

/// Memory that one rendering may take, bytes.
const MEMORY_MAX: u64 = 256 << 20;
/// Longest time that one rendering may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Processes at once; who comes later waits.
const PROCESSES_MAX: usize = 4;
/// Longest request or answer: JSON writes a character in up to six bytes.
const FRAME_BYTES_MAX: usize = 6 * RENDERED_BYTES_MAX + 4096;

/// Runs the hidden subcommand: answers until nobody asks any more.
pub fn serve() {
    let old = getrlimit(Resource::Data);
    let most = old.maximum.map_or(MEMORY_MAX, |most| most.min(MEMORY_MAX));
    let limit = Rlimit { current: Some(most), maximum: Some(most) };
    if setrlimit(Resource::Data, limit).is_err() {
        return;
    }
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while let Ok((text, values)) = receive::<(String, Values)>(&mut input) {
        if send(&mut output, &Here.render(&text, &values)).is_err() {
            return;
        }
    }
}

fn send(to: &mut impl Write, what: &impl Serialize) -> io::Result<()> {
    let frame = serde_json::to_vec(what)?;
    let length = u32::try_from(frame.len()).ok().filter(|_| frame.len() <= FRAME_BYTES_MAX);
    to.write_all(&length.ok_or(io::ErrorKind::FileTooLarge)?.to_be_bytes())?;
    to.write_all(&frame)?;
    to.flush()
}

fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut frame = vec![0; length];
    from.read_exact(&mut frame)?;
    Ok(serde_json::from_slice(&frame)?)
}

/// Renders in processes of this binary.
#[derive(Debug)]
pub struct Apart {
    program: PathBuf,
    /// A place for each process that may be; it has the process where one runs.
    take: Mutex<Receiver<Option<Process>>>,
    put: SyncSender<Option<Process>>,
}

impl Apart {
    /// Renders by `program`, which answers to [`SUBCOMMAND`] with [`serve`].
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        let (put, take) = sync_channel(PROCESSES_MAX);
        for _ in 0..PROCESSES_MAX {
            // There is room for all.
            let _ = put.try_send(None);
        }
        Self { program, take: Mutex::new(take), put }
    }
}

impl Render for Apart {
    /// Blocks until it is done, or until [`PATIENCE`] is at its end.
    fn render(&self, text: &str, values: &Values) -> Result<String, Refusal> {
        let place = self.take.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let idle = place.unwrap_or_default();
        let mut left = None;
        let answer = Process::ready(idle, &self.program).and_then(|mut process| {
            let answer = process.ask(text, values)?;
            left = Some(process);
            Ok(answer)
        });
        let _ = self.put.try_send(left);
        answer.unwrap_or_else(|error| {
            tracing::warn!(%error, "a template was not rendered");
            Err(refusal(&error))
        })
    }
}

fn refusal(error: &io::Error) -> Refusal {
    let (message, hint) = match error.kind() {
        io::ErrorKind::TimedOut => {
            (format!("the template takes longer than {} seconds", PATIENCE.as_secs()), "make it smaller")
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => {
            (format!("the template takes more than {} MiB of memory", MEMORY_MAX >> 20), "make it smaller")
        }
        io::ErrorKind::FileTooLarge => ("the template is too long".to_owned(), "make it smaller"),
        _ => ("the server cannot render templates now".to_owned(), "try again; its log says why"),
    };
    Refusal { line: 1, message, hint: Some(hint.to_owned()) }
}

/// One process that renders. It ends when this is dropped.
#[derive(Debug)]
struct Process {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// The one that is there, while it runs, or a new one.
    fn ready(idle: Option<Self>, program: &PathBuf) -> io::Result<Self> {
        if let Some(mut idle) = idle
            && idle.child.try_wait()?.is_none()
        {
            return Ok(idle);
        }
        let mut command = Command::new(program);
        command.arg(SUBCOMMAND).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("the process that renders has no pipes"));
        };
        Ok(Self { child, input, output })
    }

    fn ask(&mut self, text: &str, values: &Values) -> io::Result<Result<String, Refusal>> {
        send(&mut self.input, &(text, values))?;
        receive(&mut Timely { from: &mut self.output, until: Instant::now() + PATIENCE })
    }
}

/// Reads until a moment.
struct Timely<'a> {
    from: &'a mut ChildStdout,
    until: Instant,
}

impl Read for Timely<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut waits = [PollFd::new(&*self.from, PollFlags::IN)];
        match poll(&mut waits, Some(&left)) {
            Ok(0) => Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => self.from.read(buffer),
            Err(rustix::io::Errno::INTR) => Err(io::ErrorKind::Interrupted.into()),
            Err(error) => Err(error.into()),
        }
    }
}

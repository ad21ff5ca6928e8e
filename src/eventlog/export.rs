//! A whole log as lines of JSON, and back: for moving between engines, for keeping, for looking with other tools.
//!
//! The first line says how many events follow; every further line is one event, in order of position. Positions,
//! times and data come back byte for byte.

use super::verify::Check;
use super::{AppendError, EVENT_BYTES_MAX, EventLog, Filter, LogError, Recorded};
use crate::id::Position;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Events read, or restored, at one time.
const PAGE: usize = 1000;
/// Longest line of an import, bytes: the largest event, and room for the rest of it.
const LINE_BYTES_MAX: u64 = EVENT_BYTES_MAX as u64 + 64 * 1024;
/// What the first line calls itself.
const FORMAT: &str = "meshagent-log";
/// Version of the lines.
const FORMAT_VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    events: u64,
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Events that were restored.
    pub restored: u64,
    /// Events that were there already, and are the same.
    pub present: u64,
}

/// Why an export or an import stopped.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error("{what} failed: {source}")]
    Io { what: &'static str, source: std::io::Error },
    #[error(
        "line 1 is not the head of a log export (want {{\"format\":\"meshagent-log\",…}}); import what `meshagent log export` wrote"
    )]
    NotAnExport,
    #[error(
        "the export is of format {found}, this program knows {FORMAT_VERSION}; import it with a newer version"
    )]
    NewerFormat { found: u32 },
    #[error("line {line} is not an event: {reason}; the lines before it were imported")]
    BadLine { line: u64, reason: String },
    #[error("line {line} does not continue the lines before it: {reason}; the lines before it were imported")]
    Broken { line: u64, reason: String },
    #[error("event {position} is there already and is different; import into an empty log")]
    Different { position: Position },
    #[error(
        "the export ends after {got} of {wanted} events; it was cut off: export again, then import again"
    )]
    CutOff { got: u64, wanted: u64 },
}

/// Writes every event that is in the log now. Returns how many.
pub async fn export(log: &dyn EventLog, out: &mut (impl AsyncWrite + Unpin)) -> Result<u64, TransferError> {
    let failed = |source| TransferError::Io { what: "writing the export", source };
    let head = log.head().await?;
    let header = Header { format: FORMAT.to_owned(), version: FORMAT_VERSION, events: head.0 };
    out.write_all(&line(&header)?).await.map_err(failed)?;
    let mut after = Position(0);
    while after < head {
        let page = log.read(after, &Filter::all(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.position;
        for event in page.iter().filter(|event| event.position <= head) {
            out.write_all(&line(event)?).await.map_err(failed)?;
        }
    }
    out.flush().await.map_err(failed)?;
    Ok(head.0)
}

fn line(value: &impl Serialize) -> Result<Vec<u8>, TransferError> {
    let to_io = |e: serde_json::Error| TransferError::Io { what: "writing the export", source: e.into() };
    let mut bytes = serde_json::to_vec(value).map_err(to_io)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Restores an export into a log that is empty, or that begins with the same events (an import that was broken off
/// can be repeated). Everything is checked: order, versions, ids, and that nothing is missing at the end.
pub async fn import(
    log: &dyn EventLog,
    from: &mut (impl AsyncBufRead + Unpin),
) -> Result<Imported, TransferError> {
    let mut lines = Lines { from, number: 0, bytes: Vec::new() };
    let header: Header =
        lines.next().await?.and_then(|l| serde_json::from_slice(l).ok()).ok_or(TransferError::NotAnExport)?;
    if header.format != FORMAT {
        return Err(TransferError::NotAnExport);
    }
    if header.version > FORMAT_VERSION {
        return Err(TransferError::NewerFormat { found: header.version });
    }
    let present = log.head().await?;
    let mut check = Check::default();
    let mut imported = Imported { restored: 0, present: 0 };
    loop {
        let mut page: Vec<Recorded> = Vec::with_capacity(PAGE);
        let bad = fill(&mut lines, &mut check, &mut page).await.err();
        let (old, new) = page.split_at(page.partition_point(|event| event.position <= present));
        compare(log, old).await?;
        if !new.is_empty() {
            log.restore(new.to_vec()).await?;
        }
        imported.present += old.len() as u64;
        imported.restored += new.len() as u64;
        if let Some(bad) = bad {
            return Err(bad);
        }
        if page.is_empty() {
            break;
        }
    }
    let (got, wanted) = (imported.present + imported.restored, header.events);
    if got < wanted { Err(TransferError::CutOff { got, wanted }) } else { Ok(imported) }
}

/// The next events, up to a page; those before a bad line are kept.
async fn fill(
    lines: &mut Lines<'_, impl AsyncBufRead + Unpin>,
    check: &mut Check,
    page: &mut Vec<Recorded>,
) -> Result<(), TransferError> {
    while page.len() < PAGE {
        let Some(text) = lines.next().await? else { return Ok(()) };
        let event = serde_json::from_slice::<Recorded>(text);
        let line = lines.number;
        let event = event.map_err(|e| TransferError::BadLine { line, reason: e.to_string() })?;
        check.event(&event);
        if let Some(problem) = check.first_problem() {
            return Err(TransferError::Broken { line, reason: problem.to_string() });
        }
        page.push(event);
    }
    Ok(())
}

async fn compare(log: &dyn EventLog, old: &[Recorded]) -> Result<(), TransferError> {
    let Some(first) = old.first() else { return Ok(()) };
    let there = log.read(Position(first.position.0 - 1), &Filter::all(), old.len()).await?;
    match old.iter().zip(&there).find(|(imported, there)| imported != there) {
        Some((imported, _)) => Err(TransferError::Different { position: imported.position }),
        None => Ok(()),
    }
}

struct Lines<'a, R> {
    from: &'a mut R,
    number: u64,
    bytes: Vec<u8>,
}

impl<R: AsyncBufRead + Unpin> Lines<'_, R> {
    async fn next(&mut self) -> Result<Option<&[u8]>, TransferError> {
        self.bytes.clear();
        self.number += 1;
        let mut limited = (&mut *self.from).take(LINE_BYTES_MAX);
        let read = limited.read_until(b'\n', &mut self.bytes).await;
        let read = read.map_err(|source| TransferError::Io { what: "reading the export", source })?;
        if read as u64 == LINE_BYTES_MAX {
            let reason = format!("it is longer than {LINE_BYTES_MAX} bytes");
            return Err(TransferError::BadLine { line: self.number, reason });
        }
        Ok((read > 0).then_some(self.bytes.as_slice()))
    }
}

//! The end: everything acknowledged is there, nothing is there that nobody tried, nothing done is done again.

use super::ledger::Ledger;
use super::work::{LEASE_MS, SERVICE, connect};
use super::{Error, QUEUE, ROOM, Site};
use crate::client::rest::{FileTarget, TargetKind};
use bytes::Bytes;
use futures_util::TryStreamExt;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// Time beyond the leases until all items are back, milliseconds.
const LEASE_SLACK_MS: u64 = 1_000;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    pub acknowledged: usize,
    /// Acknowledged and not there.
    pub lost: Vec<String>,
    /// There and never tried.
    pub invented: Vec<String>,
    /// Done, and handed out again.
    pub repeated: Vec<String>,
    /// Refused by a living server.
    pub refused: Vec<String>,
    /// What `log verify` said, and whether it was content.
    pub log: (bool, String),
}

impl Verdict {
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.lost.is_empty()
            && self.invented.is_empty()
            && self.repeated.is_empty()
            && self.refused.is_empty()
            && self.log.0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "acknowledged writes: {}", self.acknowledged)?;
        for (name, list) in [
            ("lost", &self.lost),
            ("invented", &self.invented),
            ("repeated", &self.repeated),
            ("refused", &self.refused),
        ] {
            writeln!(
                f,
                "{name}: {}{}",
                list.len(),
                list.iter().take(5).map(|l| format!(" {l}")).collect::<String>()
            )?;
        }
        write!(f, "log verify: {}", self.log.1.trim())
    }
}

pub(super) fn target(site: &Site) -> FileTarget {
    FileTarget { project_id: site.project.id().to_owned(), kind: TargetKind::Room, name: ROOM.to_owned() }
}

/// Content of a file, made of its path: a file with another's content, or half of it, is seen.
pub(super) fn content(path: &str) -> Bytes {
    Bytes::from(path.repeat(40))
}

/// Asks the restarted server for everything.
pub(super) async fn check(site: &Site, ledger: &Ledger) -> Result<Verdict, Error> {
    let mut verdict = Verdict::default();
    rooms(site, ledger, &mut verdict).await?;
    files(site, ledger, &mut verdict).await?;
    items(site, ledger, &mut verdict).await?;
    applied(site, ledger, &mut verdict).await?;
    super::apis::check(site, ledger, &mut verdict).await?;
    verdict.acknowledged += ledger.books().messages.acknowledged.len();
    verdict.invented.extend(ledger.books().invented.iter().cloned());
    verdict.refused.extend(ledger.books().refused.iter().cloned());
    verdict.repeated.extend(ledger.books().repeated.iter().cloned());
    Ok(verdict)
}

fn ask(error: impl fmt::Display) -> Error {
    Error::Ask(error.to_string())
}

async fn rooms(site: &Site, ledger: &Ledger, verdict: &mut Verdict) -> Result<(), Error> {
    let there: BTreeSet<String> = site
        .project
        .rooms(true, None)
        .await
        .map_err(ask)?
        .into_iter()
        .map(|r| r.name)
        .filter(|n| n != ROOM)
        .collect();
    let books = ledger.books();
    verdict.acknowledged += books.rooms.acknowledged.len();
    verdict.lost.extend(books.rooms.acknowledged.difference(&there).map(|n| format!("room {n}")));
    verdict.invented.extend(there.difference(&books.rooms.tried).map(|n| format!("room {n}")));
    Ok(())
}

async fn files(site: &Site, ledger: &Ledger, verdict: &mut Verdict) -> Result<(), Error> {
    let files = site.project.files().await.map_err(ask)?.ok_or_else(|| ask("no files service"))?;
    let (tried, acknowledged) = {
        let books = ledger.books();
        (books.files.tried.clone(), books.files.acknowledged.clone())
    };
    verdict.acknowledged += acknowledged.len();
    let target = target(site);
    for path in tried {
        let there = match files.get(&target, &path).await {
            Ok(pieces) => {
                let pieces: Vec<Bytes> = pieces.try_collect().await.map_err(ask)?;
                Some(pieces.concat())
            }
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(ask(error)),
        };
        match there {
            None if acknowledged.contains(&path) => verdict.lost.push(format!("file {path}")),
            Some(bytes) if bytes != content(&path) => verdict.invented.push(format!("content of {path}")),
            _ => {}
        }
    }
    Ok(())
}

async fn items(site: &Site, ledger: &Ledger, verdict: &mut Verdict) -> Result<(), Error> {
    let room = connect(site).await.ok_or_else(|| ask("cannot join the room"))?;
    let mut there = BTreeSet::new();
    // Items that were handed out at the moment of a death come back when their leases are over: only when none
    // came for that long is the queue empty.
    let quiet = Duration::from_millis(LEASE_MS + LEASE_SLACK_MS);
    while let Ok(item) = tokio::time::timeout(quiet, room.queues().receive(QUEUE, true, true)).await {
        if let Some(item) = item.map_err(ask)? {
            there.insert(item["name"].as_str().unwrap_or_default().to_owned());
        }
    }
    let books = ledger.books();
    verdict.acknowledged += books.items.acknowledged.len();
    let owed = books.items.acknowledged.iter().filter(|n| !books.done.contains(*n));
    // What was being acknowledged at the moment of a death may be done: nobody was told.
    let lost = owed.filter(|n| !there.contains(*n) && !books.settling.contains(*n));
    verdict.lost.extend(lost.map(|n| format!("item {n}")));
    verdict.invented.extend(there.difference(&books.items.tried).map(|n| format!("item {n}")));
    verdict.repeated.extend(there.intersection(&books.done).map(|n| format!("item {n}")));
    Ok(())
}

async fn applied(site: &Site, ledger: &Ledger, verdict: &mut Verdict) -> Result<(), Error> {
    let path = ["accounts", "projects", site.project.id(), "rooms", ROOM, "services", "by-name", SERVICE];
    let service: Value = site.project.rest().get(&path, &[]).await.map_err(ask)?;
    let number: u64 =
        service["metadata"]["annotations"]["number"].as_str().and_then(|n| n.parse().ok()).unwrap_or(0);
    let (tried, acknowledged) = ledger.books().applied;
    verdict.acknowledged += 1;
    if number < acknowledged {
        verdict.lost.push(format!("apply {acknowledged}, found {number}"));
    }
    if number > tried {
        verdict.invented.push(format!("apply {number}"));
    }
    Ok(())
}

//! `watch_table`: the rows of a table, then every change of them, one item for each `pull`.

use super::{Dataset, args};
use crate::columnar::ipc;
use crate::dataset::{DatasetStore, Search, TableAt, TableReader};
use crate::error_code::RoomCode;
use crate::room::toolkit::{Call, ToolError};
use crate::room::toolkits::tables::{Blocks, Items, give};
use crate::wire::Content;
use arrow_array::RecordBatch;
use async_trait::async_trait;
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Most versions told apart at once; a reader further behind gets their sum.
const VERSIONS_APART_MAX: u64 = 256;

/// Where a watch is.
enum Phase {
    Rows(Box<dyn TableReader>),
    Ready,
    Changes,
}

struct Watching {
    store: Arc<dyn DatasetStore>,
    at: TableAt,
    newest: watch::Receiver<u64>,
    seen: u64,
    phase: Phase,
    waiting: VecDeque<Content>,
}

impl Dataset {
    pub(super) async fn watch(&self, call: &mut Call) -> Result<Content, ToolError> {
        Blocks::begin(call)?;
        let args: args::Watch = call.args()?;
        // Changes are told when they happen; the interval is how often the caller expects to be looked after.
        if args.poll_interval_seconds.is_some_and(|seconds| seconds.is_nan() || seconds <= 0.0) {
            return Err(ToolError::invalid("`poll_interval_seconds` must be more than 0"));
        }
        let at = args.place.table(call.session.room.id, args.table);
        let mut newest = self.store.watch(&at).await?;
        let seen = *newest.borrow_and_update();
        let then = TableAt { version: Some(seen), ..at.clone() };
        let reader = self.store.search(&then, Search::default()).await?;
        let mut watching = Watching {
            store: Arc::clone(&self.store),
            at,
            newest,
            seen,
            phase: Phase::Rows(reader),
            waiting: VecDeque::new(),
        };
        give(call, &mut watching, &CancellationToken::new()).await?;
        Ok(Content::Empty)
    }
}

#[async_trait]
impl Items for Watching {
    async fn next(&mut self) -> Result<Option<Content>, ToolError> {
        loop {
            if let Some(item) = self.waiting.pop_front() {
                return Ok(Some(item));
            }
            match &mut self.phase {
                Phase::Rows(reader) => match reader.next().await? {
                    Some(batch) => {
                        let header = json!({"phase": "initial", "version": self.seen});
                        return data(header, &batch).map(Some);
                    }
                    None => self.phase = Phase::Ready,
                },
                Phase::Ready => {
                    self.phase = Phase::Changes;
                    let ready = json!({"kind": "ready", "phase": "initial", "version": self.seen});
                    return Ok(Some(Content::Json(ready)));
                }
                Phase::Changes => {
                    let seen = self.seen;
                    let Ok(newest) = self.newest.wait_for(|version| *version != seen).await.map(|v| *v)
                    else {
                        return Err(gone(&self.at));
                    };
                    self.catch_up(newest).await?;
                }
            }
        }
    }
}

impl Watching {
    /// Puts the changes up to `newest` in line.
    async fn catch_up(&mut self, newest: u64) -> Result<(), ToolError> {
        if newest < self.seen {
            return Err(gone(&self.at));
        }
        let between = self.store.versions(&self.at).await?;
        let between: Vec<_> =
            between.into_iter().filter(|v| v.version > self.seen && v.version <= newest).collect();
        let apart = newest - self.seen <= VERSIONS_APART_MAX && between.len() as u64 == newest - self.seen;
        if apart {
            for version in between {
                let operation = version.metadata.get("operation").and_then(Value::as_str);
                self.add(version.version - 1, version.version, operation).await?;
            }
        } else {
            let (from, to) = (self.seen, newest);
            self.add(from, to, None).await?;
        }
        self.seen = newest;
        Ok(())
    }

    async fn add(&mut self, from: u64, to: u64, operation: Option<&str>) -> Result<(), ToolError> {
        let (added, removed) = self.store.changes(&self.at, from, to).await?;
        // What an update or a merge removes is there again, changed.
        let replaces = matches!(operation, Some("update" | "merge")) && !added.is_empty();
        let kinds = if replaces { ("updated", None) } else { ("inserted", Some("deleted")) };
        let removed = kinds.1.into_iter().flat_map(|kind| removed.iter().map(move |batch| (kind, batch)));
        for (kind, batch) in removed.chain(added.iter().map(|batch| (kinds.0, batch))) {
            let header = json!({
                "phase": "delta", "change_type": kind, "version": to, "begin_version": from, "end_version": to,
            });
            self.waiting.push_back(data(header, batch)?);
        }
        Ok(())
    }
}

fn data(header: Value, batch: &RecordBatch) -> Result<Content, ToolError> {
    let mut headers: Map<String, Value> = header.as_object().cloned().unwrap_or_default();
    headers.insert("kind".into(), "data".into());
    headers.insert("content_type".into(), ipc::MIME_TYPE.into());
    Ok(Content::Binary { headers, data: ipc::encode_batch(batch)? })
}

fn gone(at: &TableAt) -> ToolError {
    ToolError::new(
        RoomCode::NotFound,
        format!("table `{}` was dropped or made anew; watch it again", at.table),
    )
}

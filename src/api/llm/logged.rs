//! Records of requests to models, for the loggers of a project. Nobody waits for them.

use super::admit::User;
use crate::api::{Api, Problem};
use crate::id::{FeedId, ProjectId};
use crate::llm::record::{self, Filter, KEPT_BYTES_MAX, Looked};
use crate::llm::{Operation, Tokens};
use crate::projection::World;
use crate::share::{Place, Places, Turns};
use axum::body::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Records that are held at once, from the request to the feed; more are left out.
const HELD_MAX: usize = 2_048;
const HELD_PER_PROJECT_MAX: usize = 512;
/// Bytes of requests that are being read for their records; what is more is left out of them.
const READ_BYTES_MAX: usize = 64 * 1024 * 1024;
const READ_PER_PROJECT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How much of records there may be.
#[derive(Debug)]
pub(super) struct Bounds {
    held: Arc<Places<ProjectId>>,
    read: Arc<Places<ProjectId>>,
    /// Filters look at one record of a project at a time.
    turns: Turns<ProjectId>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            held: Places::new(HELD_MAX, HELD_PER_PROJECT_MAX),
            read: Places::new(READ_BYTES_MAX, READ_PER_PROJECT_BYTES_MAX),
            turns: Turns::default(),
        }
    }
}

/// One request that loggers may tell of; told when it is dropped, however it ends.
pub(super) struct Logged(Option<Record>);

/// What is known of it.
struct Record {
    api: Api,
    project: ProjectId,
    about: Value,
    /// As the record has it; read on a thread of its own, while the provider answers.
    request: JoinHandle<Value>,
    answer: Vec<u8>,
    to_end: bool,
    began_at: DateTime<Utc>,
    /// `None` while nobody has answered.
    status: Option<u16>,
    usage: Option<Tokens>,
    _held: Place<ProjectId>,
}

impl Logged {
    /// `None` where no logger listens.
    pub(super) fn begin(
        api: &Api,
        user: &User,
        operation: &Operation,
        (model, transport, annotations): (&str, &str, &BTreeMap<String, String>),
        request: impl FnOnce() -> Bytes,
    ) -> Option<Self> {
        let (world, project) = (api.app.world(), user.project);
        if !world.llm_loggers(project).any(|(_, logger)| !logger.wanted.paused) {
            return None;
        }
        let Some(held) = api.llm.records.held.take(project) else {
            tracing::warn!(%project, "a request to a model is not logged; too many are at once");
            return None;
        };
        let about = json!({
            "id": api.app.ids.fresh(), "project_id": project.to_string(), "room": user.room, "user": user.name,
            "delegation": user.delegation.as_ref().map(|delegation| delegation.id),
            "provider": operation.provider.name(), "model": model, "path": operation.path,
            "transport": transport, "annotations": annotations,
        });
        let request = request();
        let reading = api.llm.records.read.take_many(project, request.len());
        let request = tokio::task::spawn_blocking(move || {
            let told = reading.as_ref().map_or(Value::Null, |_| record::body(&request, true));
            drop((request, reading));
            told
        });
        Some(Self(Some(Record {
            api: api.clone(),
            project,
            about,
            request,
            answer: Vec::new(),
            to_end: true,
            began_at: api.app.clock.now(),
            status: None,
            usage: None,
            _held: held,
        })))
    }

    pub(super) fn status(&mut self, status: u16) {
        self.0.iter_mut().for_each(|record| record.status = Some(status));
    }

    pub(super) fn usage(&mut self, usage: Option<Tokens>) {
        self.0.iter_mut().for_each(|record| record.usage = usage);
    }

    /// Keeps a part of the answer, as far as there is room.
    pub(super) fn part(&mut self, bytes: &[u8]) {
        let Some(record) = &mut self.0 else { return };
        let room = KEPT_BYTES_MAX.saturating_sub(record.answer.len());
        record.to_end &= bytes.len() <= room;
        record.answer.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        // Answers are dropped by the server, which may be going down.
        if let (Some(record), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(record.publish());
        }
    }
}

impl Record {
    /// Publishes it in the feeds whose loggers want it.
    async fn publish(mut self) {
        let now = self.api.app.clock.now();
        let mut about = std::mem::take(&mut self.about);
        about["started_at"] = json!(self.began_at);
        about["duration_ms"] = json!((now - self.began_at).num_milliseconds().max(0));
        about["status"] = json!(self.status);
        about["usage"] = self.usage.map_or(Value::Null, |tokens| {
            json!({
                "input_tokens": tokens.input, "cached_tokens": tokens.cached, "output_tokens": tokens.output,
                "cache_write_tokens": tokens.cache_write, "reasoning_tokens": tokens.reasoning,
                "total_tokens": tokens.input.saturating_add(tokens.output),
            })
        });
        about["request"] = (&mut self.request).await.unwrap_or_default();
        let world = self.api.app.world();
        let listening: Vec<_> =
            world.llm_loggers(self.project).filter(|(_, one)| !one.wanted.paused).collect();
        let filters: Vec<String> =
            listening.iter().map(|(_, one)| one.wanted.filter_expression.clone()).collect();
        let (answer, to_end) = (std::mem::take(&mut self.answer), self.to_end);
        let Some(turn) = self.api.llm.records.turns.take(self.project).await else {
            tracing::warn!(project = %self.project, "a request to a model is not logged; too many wait");
            return;
        };
        let looked = tokio::task::spawn_blocking(move || {
            about["response"] = record::body(&answer, to_end);
            let record = Looked::new(&about);
            let lets = |text: &String| Filter::compile(text).is_ok_and(|filter| filter.lets_through(&record));
            let wanted: Vec<bool> = filters.iter().map(lets).collect();
            drop(turn);
            (Bytes::from(about.to_string()), wanted)
        });
        let Ok((record, wanted)) = looked.await else { return };
        for ((id, logger), _) in listening.into_iter().zip(wanted).filter(|(_, wanted)| *wanted) {
            if let Err(error) = self.into_feed(logger.wanted.destination_feed, record.clone()).await {
                // Its text may repeat the record.
                tracing::warn!(logger = %id, code = error.code, "a logger of models could not publish");
            }
        }
    }

    async fn into_feed(&self, id: FeedId, record: Bytes) -> Result<(), Problem> {
        let feed = |world: &World| world.feed(id).cloned();
        let Some(found) = feed(&self.api.app.world()) else { return Ok(()) };
        let checked = self.api.feeds.check(id, &found, record, false).await?;
        let subscribed = self.api.app.has_feed_subscribers(id).await?;
        let Some(found) = feed(&self.api.app.world()) else { return Ok(()) };
        Ok(self.api.feeds.publish(id, &found, subscribed, checked).await?)
    }
}

impl std::fmt::Debug for Logged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logged").finish_non_exhaustive()
    }
}

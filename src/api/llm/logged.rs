//! Records of requests to models, for the loggers of a project. Nobody waits for them.

use super::admit::User;
use crate::api::Api;
use crate::id::ProjectId;
use crate::llm::record::{self, ANSWER_KEPT_BYTES_MAX, Filter, Looked};
use crate::llm::{Operation, Tokens};
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

/// One request that loggers may tell of.
pub(super) struct Logged {
    api: Api,
    project: ProjectId,
    about: Value,
    /// As the record has it; read on a thread of its own, while the provider answers.
    request: JoinHandle<Value>,
    answer: Vec<u8>,
    whole: bool,
    began_at: DateTime<Utc>,
    status: u16,
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
        let began_at = api.app.clock.now();
        let (api, answer) = (api.clone(), Vec::new());
        Some(Self { api, project, about, request, answer, whole: true, began_at, status: 200, _held: held })
    }

    pub(super) fn status(&mut self, status: u16) {
        self.status = status;
    }

    /// Keeps a part of the answer, as far as there is room.
    pub(super) fn part(&mut self, bytes: &[u8]) {
        let room = ANSWER_KEPT_BYTES_MAX.saturating_sub(self.answer.len());
        self.whole &= bytes.len() <= room;
        self.answer.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Publishes the record in the feeds whose loggers want it.
    pub(super) fn end(self, usage: Option<Tokens>) {
        // Answers are dropped by the server, which may be going down.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(self.publish(usage));
        }
    }

    async fn publish(mut self, usage: Option<Tokens>) {
        let now = self.api.app.clock.now();
        let mut about = std::mem::take(&mut self.about);
        about["started_at"] = json!(self.began_at);
        about["duration_ms"] = json!((now - self.began_at).num_milliseconds().max(0));
        about["status"] = json!(self.status);
        about["usage"] = usage.map_or(Value::Null, |tokens| {
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
        let (answer, whole) = (std::mem::take(&mut self.answer), self.whole);
        let Some(turn) = self.api.llm.records.turns.take(self.project).await else {
            tracing::warn!(project = %self.project, "a request to a model is not logged; too many wait");
            return;
        };
        let looked = tokio::task::spawn_blocking(move || {
            about["response"] = record::body(&answer, whole);
            let record = Looked::new(&about);
            let lets = |text: &String| Filter::compile(text).is_ok_and(|filter| filter.lets_through(&record));
            let wanted: Vec<bool> = filters.iter().map(lets).collect();
            drop(turn);
            (Bytes::from(about.to_string()), wanted)
        });
        let Ok((record, wanted)) = looked.await else { return };
        for ((id, logger), _) in listening.into_iter().zip(wanted).filter(|(_, wanted)| *wanted) {
            let feed_id = logger.wanted.destination_feed;
            let Some(feed) = world.feed(feed_id) else { continue };
            let Ok(subscribed) = self.api.app.has_feed_subscribers(feed_id).await else { continue };
            if let Err(error) = self.api.feeds.publish(feed_id, feed, subscribed, record.clone(), false).await
            {
                // Its text may repeat the record.
                let code = crate::api::feeds::code(&error);
                tracing::warn!(logger = %id, code, "a logger of models could not publish");
            }
        }
    }
}

impl std::fmt::Debug for Logged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logged").field("status", &self.status).finish_non_exhaustive()
    }
}

//! Prepares a turn (files, model, rules, tools) and runs it.

use super::config::Config;
use super::history::{Item, Part};
use super::job::JobPart;
use super::model::ModelId;
use super::provider::{Provider, echo::Echo, openai::OpenAi};
use super::supervisor::TurnRunner;
use super::tools::{self, ToolError, Tools};
use super::turn::{Failure, Limits, Outcome};
use super::{rules, runner};
use crate::client::room::RoomClient;
use crate::clock::{Clock, IdSource};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Largest room file that goes into a turn, bytes.
const FILE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A turn to run.
#[derive(Debug)]
pub struct TurnRequest {
    pub parts: Vec<JobPart>,
    /// One of the agent's models, in any spelling; the default one where absent.
    pub model: Option<String>,
    pub instructions: Option<String>,
    /// Who asked, for the log.
    pub sender: Option<String>,
    pub cancel: CancellationToken,
}

/// What all turns of an agent share.
pub struct Engine {
    config: Arc<Config>,
    client: RoomClient,
    openai: OpenAi,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("agent", &self.config.agent_name).finish_non_exhaustive()
    }
}

impl Engine {
    pub fn new(
        config: Arc<Config>,
        client: RoomClient,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> Self {
        let openai = OpenAi::new(config.openai.clone(), ids.clone());
        Self { config, client, openai, clock, ids }
    }

    fn model(&self, wanted: Option<&str>) -> Result<&ModelId, Failure> {
        let models = &self.config.models;
        let found = match wanted {
            None => models.first(),
            Some(wanted) => models.iter().find(|model| model.matches(wanted)),
        };
        found.ok_or_else(|| {
            let known: Vec<_> = models.iter().map(ToString::to_string).collect();
            let wanted = wanted.unwrap_or("(default)");
            Failure {
                message: format!("model `{wanted}` is none of this agent's models: {}", known.join(", ")),
                code: "unknown_model",
            }
        })
    }

    /// The same files under the same rules for every provider: room files are fetched, other addresses passed on.
    async fn input(&self, parts: Vec<JobPart>) -> Result<Item, Failure> {
        let mut input = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                JobPart::Text(text) => input.push(Part::Text(text)),
                JobPart::Link { name, url } => input.push(Part::Link { name, url }),
                JobPart::RoomFile { path, inline } => {
                    match self.client.storage().read(&path, FILE_BYTES_MAX).await {
                        Ok((data, mime_type)) => input.extend(file(&path, inline, data, mime_type)),
                        Err(error) if error.is_lost() => return Err(tools::lost(&error)),
                        Err(error) => {
                            tracing::warn!(path, %error, "a file of the job is left out");
                        }
                    }
                }
            }
        }
        Ok(Item::User(input))
    }

    async fn tools(&self) -> Result<Tools, Failure> {
        let config = &self.config.tools;
        let mut tools = Tools::default();
        if config.storage || config.read_only_storage {
            tools.extend(tools::storage(&self.client, config.storage));
        }
        if config.time {
            tools.extend(tools::datetime(self.clock.clone()));
        }
        if config.uuid {
            tools.extend(tools::uuid(self.ids.clone()));
        }
        for name in &config.room_toolkits {
            let attached = tools::attach(&self.client, name).await;
            tools.extend(attached.map_err(|error| match error {
                ToolError::Lost(error) => tools::lost(&error),
                ToolError::Told(message) => Failure { message, code: "toolkit_missing" },
            })?);
        }
        Ok(tools)
    }

    async fn try_run(&self, history: &[Item], turn: TurnRequest) -> Result<(Outcome, Vec<Item>), Failure> {
        let model = self.model(turn.model.as_deref())?;
        let provider: &dyn Provider = if model.is_builtin() { &Echo } else { &self.openai };
        let files_in_room = self.config.tools.storage || self.config.tools.read_only_storage;
        let instructions = rules::instructions(
            &self.config.rules,
            files_in_room,
            turn.instructions.as_deref(),
            &self.client,
        )
        .await?;
        let tools = self.tools().await?;
        let input = self.input(turn.parts).await?;
        let work = runner::Work {
            provider,
            model: &model.name,
            instructions: &instructions,
            tools: &tools,
            limits: Limits::default(),
            history,
            cancel: &turn.cancel,
        };
        Ok(runner::run(&work, input).await)
    }
}

/// A fetched file: its text in place, or the file itself. An inlined file that is no text is left out.
fn file(path: &str, inline: bool, data: bytes::Bytes, mime_type: String) -> Option<Part> {
    if !inline {
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        return Some(Part::File { name, mime_type, data });
    }
    let text = String::from_utf8(data.into()).ok();
    if text.is_none() {
        tracing::warn!(path, "a file of the job is no text and is left out");
    }
    text.map(Part::Text)
}

#[async_trait::async_trait]
impl TurnRunner<TurnRequest> for Engine {
    async fn run(&self, thread: &str, history: &[Item], turn: TurnRequest) -> (Outcome, Vec<Item>) {
        tracing::info!(thread, sender = turn.sender.as_deref().unwrap_or("unknown"), "turn started");
        let cancel = turn.cancel.clone();
        let cancelled = || Failure { message: "turn cancelled".into(), code: "cancelled" };
        let ran = tokio::select! {
            biased;
            ran = self.try_run(history, turn) => ran,
            // The runner sees the token too; this covers what comes before it.
            () = cancel.cancelled() => Err(cancelled()),
        };
        let (outcome, items) = ran.unwrap_or_else(|failure| (Outcome::Failed(failure), Vec::new()));
        match &outcome {
            Outcome::Done { usage, .. } => tracing::info!(
                thread,
                input_tokens = usage.input_tokens,
                output_tokens = usage.output_tokens,
                "turn done"
            ),
            Outcome::Failed(failure) => tracing::warn!(thread, code = failure.code, %failure, "turn failed"),
        }
        (outcome, items)
    }
}

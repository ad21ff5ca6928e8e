//! What all turns of an agent share: its models, its rules, its tools, its room. Prepares a turn and asks its model.

use super::config::{Config, ToolSearch};
use super::history::{Item, Part};
use super::message::InputContent;
use super::model::ModelId;
use super::path;
use super::provider::realtime::Conversations;
use super::provider::{Provider, Providers, Request, Said, Say};
use super::rules;
use super::thread::project::part;
use super::thread::{By, Prepared};
use super::tools::{self, ToolError, ToolSpec, Tools};
use super::turn::{Failure, Response};
use super::voice::Noticed;
use crate::client::room::RoomClient;
use crate::clock::{Clock, IdSource};
use crate::net::guard::Allowed;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Largest room file that goes into a turn, bytes.
pub(super) const FILE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a model is told when a thread has become too long for it.
const SUMMARISE: &str = "Write down, for yourself, what of this conversation you need to go on with it: what was asked, what was \
                         found, decided and done, names, paths and numbers, and what is still open. Call no tools.";
/// Tools that a client may bring to a turn.
const CLIENT_TOOLS_MAX: usize = 64;

/// What a turn is to be made of.
#[derive(Clone, Debug)]
pub struct Plan {
    pub thread: String,
    pub content: Vec<InputContent>,
    pub instructions: Option<String>,
    /// `client_toolkits` of the message.
    pub client_tools: Vec<Value>,
    /// MCP servers of the message.
    pub mcp: Vec<Value>,
    pub model: ModelId,
    pub by: By,
}

/// What a prepared turn runs with, beside what its thread knows.
#[derive(Clone, Debug, Default)]
pub struct Work {
    pub instructions: String,
    pub tools: Tools,
    pub specs: Arc<Vec<ToolSpec>>,
}

/// What all turns of an agent share.
pub struct Engine {
    pub config: Arc<Config>,
    pub client: RoomClient,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    providers: Providers,
    pins: tools::SharedPins,
    mcp: Option<tools::mcp::Servers>,
    shell: Option<Arc<tools::shell::Shell>>,
    images: Option<Arc<tools::Images>>,
    documents: Option<tools::Documents>,
    computer: Option<Arc<tools::Computer>>,
    /// Tools that channels and storage add, for a thread.
    pub extra: Box<dyn Fn(&str) -> Tools + Send + Sync>,
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
        extra: Box<dyn Fn(&str) -> Tools + Send + Sync>,
    ) -> Self {
        let providers = Providers::new(&config.endpoints, &config.voice, &ids);
        let pins = tools::SharedPins::new(client.clone(), &config.agent_name);
        // Without a room nothing is remembered from one start to the next.
        let pins = if client.is_nowhere() { pins.begun() } else { pins };
        let mcp = config.tools.mcp.clone().map(|mcp| tools::mcp::Servers::new(mcp, pins.clone()));
        let shell = config.tools.shell.clone();
        let shell = shell.map(|shell| Arc::new(tools::shell::Shell::new(shell, client.clone())));
        let images = config.tools.image_model.as_deref().map(|model| {
            let files = tools::Files::new(&client, &config.tools.mounts);
            let endpoint = config.endpoints.openai.clone();
            let own = (clock.clone(), ids.clone());
            Arc::new(tools::Images::new(model, endpoint, &client, files, &config.agent_name, own))
        });
        let computer = config.tools.computer.clone().map(|computer| {
            let own = (clock.clone(), ids.clone());
            Arc::new(tools::Computer::new(computer, &client, &config.agent_name, own))
        });
        let kinds = config.tools.documents.as_deref();
        let documents = kinds.map(|kinds| tools::Documents::new(&client, kinds, ids.clone()));
        Self { config, client, clock, ids, providers, pins, mcp, shell, images, documents, computer, extra }
    }

    /// Who answers for a model.
    pub fn provider(&self, model: &ModelId) -> &dyn Provider {
        self.providers.of(model)
    }

    /// The conversations of one thread with models that hear and speak.
    pub fn conversations(&self, noticed: mpsc::Sender<Noticed>) -> Conversations {
        self.providers.conversations(noticed)
    }

    /// Fetches what a turn needs. What it goes without is told through `say`, and to the model.
    pub async fn prepare(&self, plan: Plan, say: &Say) -> Result<(Prepared, Work), Failure> {
        if plan.model.is_program() {
            return self.prepare_program(plan).await;
        }
        let files_in_room = self.has_files_in_room();
        let given = plan.instructions.as_deref();
        let mut instructions =
            rules::instructions(&self.config.rules, files_in_room, given, &self.client).await?;
        let (mut tools, mut notes) = self.tools(&plan.thread).await?;
        notes.extend(self.mcp_tools(&plan.mcp, &mut tools).await);
        for note in notes {
            instructions.push_str(&format!("\n{note}"));
            say.say(Said::Notice(notice(&note))).await;
        }
        let mut specs: Vec<_> = tools.specs().cloned().collect();
        specs.extend(plan.client_tools.iter().take(CLIENT_TOOLS_MAX).filter_map(client_tool));
        let specs = Arc::new(specs);
        let sender = plan.by.name.as_deref().filter(|_| !plan.model.is_builtin());
        let input = self.input(plan.content, sender).await?;
        let context_window = self.provider(&plan.model).context_window(&plan.model.name);
        let prepared = Prepared { input: Some(input), tools: specs.clone(), context_window };
        Ok((prepared, Work { instructions, tools, specs }))
    }

    /// Whether the agent's own files are in the room and not on this machine.
    fn has_files_in_room(&self) -> bool {
        let config = &self.config.tools;
        (config.storage || config.read_only_storage) && !self.client.is_nowhere()
    }

    /// What a program needs for a turn: it has tools, and as a rule instructions, of its own.
    async fn prepare_program(&self, plan: Plan) -> Result<(Prepared, Work), Failure> {
        let given = plan.instructions.as_deref();
        let instructions = if self.config.rules.is_empty() && given.is_none() {
            String::new()
        } else {
            let files_in_room = self.has_files_in_room();
            rules::instructions(&self.config.rules, files_in_room, given, &self.client).await?
        };
        let input = self.input(plan.content, None).await?;
        let prepared = Prepared { input: Some(input), ..Prepared::default() };
        Ok((prepared, Work { instructions, ..Work::default() }))
    }

    /// What was said, with its files: those of the room are fetched, other addresses passed on.
    pub async fn input(&self, content: Vec<InputContent>, sender: Option<&str>) -> Result<Item, Failure> {
        let mut parts = Vec::with_capacity(content.len());
        for item in content {
            match room_file(&item) {
                Some((path, name)) => parts.push(self.file(&path, name).await?),
                None => parts.push(part(&item)),
            }
        }
        if let (Some(sender), Some(Part::Text(text))) = (sender, parts.first_mut()) {
            let sender = if sender == "you" { "user" } else { sender };
            let now = super::message::timestamp(self.clock.now());
            *text = format!("{sender} said at {now}: {text}");
        }
        Ok(Item::User(parts))
    }

    async fn file(&self, path: &str, name: Option<String>) -> Result<Part, Failure> {
        match self.client.storage().read(path, FILE_BYTES_MAX).await {
            Ok((data, mime_type)) => {
                let name = name.unwrap_or_else(|| path.rsplit('/').next().unwrap_or(path).to_owned());
                Ok(Part::File { name, mime_type, data })
            }
            Err(error) if error.is_lost() => Err(tools::lost(&error)),
            Err(error) => {
                tracing::warn!(path, %error, "a file of the turn is left out");
                Ok(Part::Text(format!("[file {path} cannot be read: {error}]")))
            }
        }
    }

    /// The tools of a thread, and in words what it goes without.
    pub async fn tools(&self, thread: &str) -> Result<(Tools, Vec<String>), Failure> {
        let config = &self.config.tools;
        let mut tools = (self.extra)(thread);
        if self.config.threads.stored {
            tools.extend(tools::thread(&self.client, thread, &self.config.threads.folder_of(thread)));
        }
        let files = tools::Files::new(&self.client, &config.mounts);
        let allowed = Allowed::new(config.allowed_hosts.clone());
        if config.storage || config.read_only_storage {
            tools.extend(tools::storage(&files, config.storage, &allowed));
        }
        if config.apply_patch {
            tools.extend([tools::apply_patch(files)]);
        }
        if config.time {
            tools.extend(tools::datetime(self.clock.clone()));
        }
        if config.uuid {
            tools.extend(tools::uuid(self.ids.clone()));
        }
        if let (true, Some(search)) = (config.web_search, &config.search) {
            tools.extend([tools::web_search(search.clone())]);
        }
        if config.web_fetch {
            tools.extend([tools::web_fetch(allowed)]);
        }
        if let Some(shell) = &self.shell {
            tools.extend(shell.tools());
        }
        if let Some(images) = &self.images {
            tools.extend(images.tools());
        }
        if let Some(computer) = &self.computer {
            tools.extend(computer.tools());
        }
        if config.discovery {
            tools.extend([tools::discovery(&self.client)]);
        }
        if let Some(memory) = &config.memory {
            tools.extend(tools::memories(&self.client, memory));
        }
        let failed = |error: ToolError| match error {
            ToolError::Lost(error) => tools::lost(&error),
            ToolError::Told(message) => Failure { message, code: "toolkit_missing" },
        };
        let (of_tables, mut notes) = tools::dataset(&self.client, &config.tables).await.map_err(failed)?;
        tools.extend(of_tables);
        if let Some(documents) = &self.documents {
            let (of_documents, missing) = documents.tools().await.map_err(failed)?;
            tools.extend(of_documents);
            notes.extend(missing);
        }
        if config.scripts {
            tools.extend(tools::scripts(&self.client).await.map_err(failed)?);
        }
        let (names, mode) = (&config.room_toolkits, config.tool_search);
        let attached = tools::attach(&self.client, names, mode == ToolSearch::Room, &self.pins).await;
        let attached = attached.map_err(failed)?;
        notes.extend(attached.notes);
        let hide = |tool: &Arc<dyn tools::Tool>| mode != ToolSearch::None && !tool.spec().approval;
        let of_room = attached.tools.into_iter().chain(attached.searched);
        let (hidden, shown): (Vec<_>, Vec<_>) = of_room.partition(hide);
        tools.extend(shown);
        tools.extend(tools::search(hidden));
        Ok((tools, notes))
    }

    /// Adds the tools of the MCP servers that a turn names; what it goes without, in words.
    async fn mcp_tools(&self, wanted: &[Value], tools: &mut Tools) -> Vec<String> {
        let own = self.config.tools.mcp.as_ref().map(|mcp| mcp.servers.as_slice()).unwrap_or_default();
        let wanted = if own.is_empty() { wanted } else { own };
        if wanted.is_empty() {
            return Vec::new();
        }
        let Some(servers) = &self.mcp else {
            return vec!["MCP servers are left out: this agent was started without --mcp".to_owned()];
        };
        let found = servers.tools(wanted, &tools.toolkits()).await;
        tools.extend(found.tools);
        found.notes
    }

    /// Ends what tools keep between turns.
    pub async fn close(&self) {
        if let Some(shell) = &self.shell {
            shell.close().await;
        }
        if let Some(documents) = &self.documents {
            documents.close().await;
        }
        if let Some(computer) = &self.computer {
            computer.close().await;
        }
    }

    /// Has a model say in short what a thread came to.
    pub async fn summarise(&self, model: &ModelId, history: &[Item]) -> Result<String, Failure> {
        let ask = Item::User(vec![Part::Text(SUMMARISE.to_owned())]);
        let items: Vec<&Item> = history.iter().chain([&ask]).collect();
        let request = Request {
            model: &model.name,
            instructions: SUMMARISE,
            items: &items,
            tools: &[],
            answer_schema: None,
            web_search: false,
        };
        let response = self.provider(model).respond(request, &Say::nobody()).await?;
        let texts = response.items.into_iter().filter_map(|item| match item {
            Item::Answer { text, .. } => Some(text),
            _ => None,
        });
        let text = texts.collect::<Vec<_>>().join("\n");
        let empty = || Failure { message: "the model gave no summary".into(), code: "model_error" };
        Some(text).filter(|text| !text.trim().is_empty()).ok_or_else(empty)
    }

    /// Asks a model with a thread and the present turn.
    pub async fn ask(
        &self,
        model: &ModelId,
        work: &Work,
        history: &[Item],
        turn: &[Item],
        say: &Say,
    ) -> Result<Response, Failure> {
        let items: Vec<&Item> = history.iter().chain(turn).collect();
        let request = Request {
            model: &model.name,
            instructions: &work.instructions,
            items: &items,
            tools: &work.specs,
            answer_schema: None,
            web_search: self.config.tools.web_search && self.config.tools.search.is_none(),
        };
        self.provider(model).respond(request, say).await
    }
}

/// What the thread records of something that a turn goes without.
fn notice(text: &str) -> Map<String, Value> {
    let event = json!({
        "type": "agent.event",
        "source": "meshagent",
        "name": "tools.notice",
        "kind": "message",
        "state": "completed",
        "headline": "Tools",
        "summary": text,
        "details": [text],
    });
    event.as_object().cloned().unwrap_or_default()
}

/// Path and name of a file in the room.
fn room_file(item: &InputContent) -> Option<(String, Option<String>)> {
    let (url, name) = match item {
        InputContent::File { url, name } => (url, name.clone()),
        InputContent::Audio { url } => (url, None),
        InputContent::Text { .. } => return None,
    };
    if !url.starts_with("room:") && url.contains(':') {
        return None;
    }
    path::room_path(url).map(|path| (path, name))
}

/// A tool that runs at the client.
fn client_tool(description: &Value) -> Option<ToolSpec> {
    let text = |key: &str| description.get(key).and_then(Value::as_str);
    Some(ToolSpec {
        toolkit: "client".to_owned(),
        tool: text("name")?.to_owned(),
        description: text("description").or(text("title")).unwrap_or_default().to_owned(),
        parameters: description.get("input_schema").filter(|schema| schema.is_object())?.clone(),
        strict: false,
        approval: false,
    })
}

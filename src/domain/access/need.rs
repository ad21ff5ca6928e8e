//! What somebody wants to do, and how a refusal reads.

use super::path::StoragePath;
use crate::spec::ApiScope;
use crate::spec::grant::FileAction;

/// One thing somebody wants to do in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need<'a> {
    /// Join the call of the room, or of a breakout room.
    JoinCall {
        breakout_room: Option<&'a str>,
    },
    ListQueues,
    SendToQueue(&'a str),
    ReceiveFromQueue(&'a str),
    SendMessage,
    Broadcast,
    ListParticipants,
    ListTables,
    Table {
        namespace: &'a [&'a str],
        table: &'a str,
        action: TableAction,
    },
    CreateDatabase,
    ListDatabases,
    Database {
        namespace: &'a [&'a str],
        database: &'a str,
        action: SqliteAction,
    },
    DatabaseTable {
        namespace: &'a [&'a str],
        database: &'a str,
        table: &'a str,
        action: TableAction,
    },
    ListMemories,
    Memory {
        namespace: &'a [&'a str],
        memory: &'a str,
        action: MemoryAction,
    },
    ReadDocument(&'a str),
    WriteDocument(&'a str),
    /// One file or folder.
    File {
        action: FileAction,
        path: &'a StoragePath,
    },
    /// A folder with everything below it, as in deleting recursively.
    FileTree {
        action: FileAction,
        path: &'a StoragePath,
    },
    /// See a folder, or an entry in a listing: also allowed when only something below is listable.
    ListFolder(&'a StoragePath),
    UseContainers,
    ReadContainerLogs,
    PullImage(&'a str),
    RunImage(&'a str),
    Registry {
        action: RegistryAction,
        repository: &'a str,
    },
    ReadLogs,
    RegisterAgent,
    RegisterPublicToolkit,
    RegisterPrivateToolkit,
    /// `room.call`: have a service dialled into the room.
    CallService,
    UseAgents,
    /// Call tools of a toolkit that a participant hosts. Built-in toolkits have needs of their own.
    UseToolkit(&'a str),
    UseModel {
        provider: &'a str,
        model: &'a str,
    },
    UseProvider(&'a str),
    Configure,
    UseSecrets,
    Tunnel(u16),
    ListServices,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableAction {
    Read,
    Write,
    Alter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqliteAction {
    CreateTable,
    Drop,
    Inspect,
    ListTables,
    Execute,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryAction {
    Create,
    Drop,
    Inspect,
    Query,
    Upsert,
    Ingest,
    Recall,
    Optimize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryAction {
    List,
    Pull,
    Run,
    Write,
}

/// A need that the scope does not cover.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The token has no grant of this name.
    #[error("the token has no `{grant}` grant, which {what} needs; use a token whose api scope has it")]
    NoGrant { grant: &'static str, what: String },
    /// The grant is there and does not reach this.
    #[error("the token's `{grant}` grant does not allow {what}; use a token whose api scope does")]
    NotCovered { grant: &'static str, what: String },
}

impl Denied {
    pub(super) fn of(scope: &ApiScope, need: &Need<'_>) -> Self {
        let (grant, what) = (need.grant(), need.to_string());
        if need.is_granted(scope) { Self::NotCovered { grant, what } } else { Self::NoGrant { grant, what } }
    }
}

impl Need<'_> {
    /// Name of the grant that decides, as in the `api` scope.
    pub const fn grant(&self) -> &'static str {
        match self {
            Self::JoinCall { .. } => "livekit",
            Self::ListQueues | Self::SendToQueue(_) | Self::ReceiveFromQueue(_) => "queues",
            Self::SendMessage | Self::Broadcast | Self::ListParticipants => "messaging",
            Self::ListTables | Self::Table { .. } => "dataset",
            Self::CreateDatabase
            | Self::ListDatabases
            | Self::Database { .. }
            | Self::DatabaseTable { .. } => "sqlite",
            Self::ListMemories | Self::Memory { .. } => "memory",
            Self::ReadDocument(_) | Self::WriteDocument(_) => "sync",
            Self::File { .. } | Self::FileTree { .. } | Self::ListFolder(_) => "storage",
            Self::UseContainers
            | Self::ReadContainerLogs
            | Self::PullImage(_)
            | Self::RunImage(_)
            | Self::Registry { .. } => "containers",
            Self::ReadLogs => "developer",
            Self::RegisterAgent
            | Self::RegisterPublicToolkit
            | Self::RegisterPrivateToolkit
            | Self::CallService
            | Self::UseAgents
            | Self::UseToolkit(_) => "agents",
            Self::UseModel { .. } | Self::UseProvider(_) => "llm",
            Self::Configure => "admin",
            Self::UseSecrets => "secrets",
            Self::Tunnel(_) => "tunnels",
            Self::ListServices => "services",
        }
    }
}

impl Need<'_> {
    /// Whether the deciding grant is there at all.
    const fn is_granted(&self, scope: &ApiScope) -> bool {
        match self {
            Self::JoinCall { .. } => scope.livekit.is_some(),
            Self::ListQueues | Self::SendToQueue(_) | Self::ReceiveFromQueue(_) => scope.queues.is_some(),
            Self::SendMessage | Self::Broadcast | Self::ListParticipants => scope.messaging.is_some(),
            Self::ListTables | Self::Table { .. } => scope.dataset.is_some(),
            Self::CreateDatabase
            | Self::ListDatabases
            | Self::Database { .. }
            | Self::DatabaseTable { .. } => scope.sqlite.is_some(),
            Self::ListMemories | Self::Memory { .. } => scope.memory.is_some(),
            Self::ReadDocument(_) | Self::WriteDocument(_) => scope.sync.is_some(),
            Self::File { .. } | Self::FileTree { .. } | Self::ListFolder(_) => scope.storage.is_some(),
            Self::UseContainers
            | Self::ReadContainerLogs
            | Self::PullImage(_)
            | Self::RunImage(_)
            | Self::Registry { .. } => scope.containers.is_some(),
            Self::ReadLogs => scope.developer.is_some(),
            Self::RegisterAgent
            | Self::RegisterPublicToolkit
            | Self::RegisterPrivateToolkit
            | Self::CallService
            | Self::UseAgents
            | Self::UseToolkit(_) => scope.agents.is_some(),
            Self::UseModel { .. } | Self::UseProvider(_) => scope.llm.is_some(),
            Self::Configure => scope.admin.is_some(),
            Self::UseSecrets => scope.secrets.is_some(),
            Self::Tunnel(_) => scope.tunnels.is_some(),
            Self::ListServices => scope.services.is_some(),
        }
    }
}

impl std::fmt::Display for Need<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::JoinCall { breakout_room: None } => f.write_str("joining the call"),
            Self::JoinCall { breakout_room: Some(room) } => write!(f, "joining the breakout room `{room}`"),
            Self::ListQueues => f.write_str("listing queues"),
            Self::SendToQueue(queue) => write!(f, "sending to the queue `{queue}`"),
            Self::ReceiveFromQueue(queue) => write!(f, "receiving from the queue `{queue}`"),
            Self::SendMessage => f.write_str("sending messages"),
            Self::Broadcast => f.write_str("broadcasting messages"),
            Self::ListParticipants => f.write_str("listing participants"),
            Self::ListTables => f.write_str("listing tables"),
            Self::Table { table, action, .. } => write!(f, "{} the table `{table}`", verb(*action)),
            Self::CreateDatabase => f.write_str("creating databases"),
            Self::ListDatabases => f.write_str("listing databases"),
            Self::Database { database, action, .. } => write!(f, "`{action:?}` on the database `{database}`"),
            Self::DatabaseTable { database, table, action, .. } => {
                write!(f, "{} the table `{table}` of the database `{database}`", verb(*action))
            }
            Self::ListMemories => f.write_str("listing memories"),
            Self::Memory { memory, action, .. } => write!(f, "`{action:?}` on the memory `{memory}`"),
            Self::ReadDocument(path) => write!(f, "reading the document `{path}`"),
            Self::WriteDocument(path) => write!(f, "writing the document `{path}`"),
            Self::File { action, path } => write!(f, "`{action:?}` on the file `{path}`"),
            Self::FileTree { action, path } => write!(f, "`{action:?}` on everything below `{path}`"),
            Self::ListFolder(path) => write!(f, "listing the folder `{path}`"),
            Self::UseContainers => f.write_str("using containers"),
            Self::ReadContainerLogs => f.write_str("reading container logs"),
            Self::PullImage(image) => write!(f, "pulling the image `{image}`"),
            Self::RunImage(image) => write!(f, "running the image `{image}`"),
            Self::Registry { action, repository } => {
                write!(f, "`{action:?}` on the repository `{repository}`")
            }
            Self::ReadLogs => f.write_str("reading logs"),
            Self::RegisterAgent => f.write_str("registering an agent"),
            Self::RegisterPublicToolkit => f.write_str("registering a public toolkit"),
            Self::RegisterPrivateToolkit => f.write_str("registering a private toolkit"),
            Self::CallService => f.write_str("calling a service into the room"),
            Self::UseAgents => f.write_str("using agents"),
            Self::UseToolkit(name) => write!(f, "using the toolkit `{name}`"),
            Self::UseModel { provider, model } => write!(f, "using the model `{provider}/{model}`"),
            Self::UseProvider(provider) => write!(f, "using the provider `{provider}`"),
            Self::Configure => f.write_str("changing settings"),
            Self::UseSecrets => f.write_str("using secrets"),
            Self::Tunnel(port) => write!(f, "a tunnel to port {port}"),
            Self::ListServices => f.write_str("listing services"),
        }
    }
}

const fn verb(action: TableAction) -> &'static str {
    match action {
        TableAction::Read => "reading",
        TableAction::Write => "writing",
        TableAction::Alter => "altering",
    }
}

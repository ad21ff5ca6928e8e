//! Who may do what in a room: the `api` scope of a token against one thing somebody wants to do.
//!
//! [`check`] decides everything; no other part reads grants. Knows only the scope and the names in
//! the request: no tokens, no rooms, no storage.

mod files;
mod need;
mod path;
mod tables;
#[cfg(test)]
mod tests;

pub use need::{Denied, MemoryAction, Need, RegistryAction, SqliteAction, TableAction};
pub use path::{InvalidPath, PATH_BYTES_MAX, StoragePath};

use crate::spec::ApiScope;
use crate::spec::grant::{LlmGrant, MemoryGrant, MemoryPermissions, RegistryGrant, SyncGrant, TunnelsGrant};

/// Whether a scope allows a need; the refusal names the grant and the object.
pub fn check(scope: &ApiScope, need: &Need<'_>) -> Result<(), Denied> {
    if allows(scope, need) { Ok(()) } else { Err(Denied::of(scope, need)) }
}

/// Whether a scope allows a need. An absent grant allows nothing.
pub fn allows(scope: &ApiScope, need: &Need<'_>) -> bool {
    match need {
        Need::JoinCall { breakout_room } => by(scope.livekit.as_ref(), |g| {
            breakout_room.is_none_or(|room| listed(g.breakout_rooms.as_deref(), room))
        }),
        Need::ListQueues => by(scope.queues.as_ref(), |g| g.list),
        Need::SendToQueue(name) => by(scope.queues.as_ref(), |g| listed(g.send.as_deref(), name)),
        Need::ReceiveFromQueue(name) => by(scope.queues.as_ref(), |g| listed(g.receive.as_deref(), name)),
        Need::SendMessage => by(scope.messaging.as_ref(), |g| g.send),
        Need::Broadcast => by(scope.messaging.as_ref(), |g| g.broadcast),
        Need::ListParticipants => by(scope.messaging.as_ref(), |g| g.list),
        Need::ListTables => by(scope.dataset.as_ref(), |g| g.list_tables),
        Need::Table { namespace, table, action } => {
            by(scope.dataset.as_ref(), |g| tables::dataset(g, namespace, table, *action))
        }
        Need::CreateDatabase => by(scope.sqlite.as_ref(), |g| g.create_database),
        Need::ListDatabases => by(scope.sqlite.as_ref(), |g| g.list_databases),
        Need::Database { namespace, database, action } => {
            by(scope.sqlite.as_ref(), |g| tables::database(g, namespace, database, *action))
        }
        Need::DatabaseTable { namespace, database, table, action } => {
            by(scope.sqlite.as_ref(), |g| tables::sqlite(g, namespace, database, table, *action))
        }
        Need::ListMemories => by(scope.memory.as_ref(), |g| g.list),
        Need::Memory { namespace, memory, action } => {
            by(scope.memory.as_ref(), |g| remembers(g, namespace, memory, *action))
        }
        Need::ReadDocument(path) => by(scope.sync.as_ref(), |g| reads(g, path)),
        Need::WriteDocument(path) => by(scope.sync.as_ref(), |g| writes(g, path)),
        Need::File { action, path } => by(scope.storage.as_ref(), |g| files::allows(g, *action, path)),
        Need::FileTree { action, path } => {
            by(scope.storage.as_ref(), |g| files::allows_subtree(g, *action, path))
        }
        Need::ListFolder(path) => by(scope.storage.as_ref(), |g| files::allows_listing(g, path)),
        Need::UseContainers => by(scope.containers.as_ref(), |g| g.use_containers),
        Need::ReadContainerLogs => by(scope.containers.as_ref(), |g| g.logs),
        Need::PullImage(image) => {
            by(scope.containers.as_ref(), |g| g.use_containers && covered(g.pull.as_deref(), image))
        }
        Need::RunImage(image) => {
            by(scope.containers.as_ref(), |g| g.use_containers && covered(g.run.as_deref(), image))
        }
        Need::Registry { action, repository } => by(scope.containers.as_ref(), |g| {
            g.registry.as_ref().is_none_or(|r| registry(r, *action, repository))
        }),
        Need::ReadLogs => by(scope.developer.as_ref(), |g| g.logs),
        Need::RegisterAgent => by(scope.agents.as_ref(), |g| g.register_agent),
        Need::RegisterPublicToolkit => by(scope.agents.as_ref(), |g| g.register_public_toolkit),
        Need::RegisterPrivateToolkit => by(scope.agents.as_ref(), |g| g.register_private_toolkit),
        Need::CallService => by(scope.agents.as_ref(), |g| g.call),
        Need::UseAgents => by(scope.agents.as_ref(), |g| g.use_agents),
        Need::UseToolkit(name) => {
            by(scope.agents.as_ref(), |g| g.use_tools && listed(g.allowed_toolkits.as_deref(), name))
        }
        Need::UseModel { provider, model } => {
            by(scope.llm.as_ref(), |g| covered(g.models.as_deref(), &format!("{provider}/{model}")))
        }
        Need::UseProvider(provider) => by(scope.llm.as_ref(), |g| reaches(g, provider)),
        Need::Configure => by(scope.admin.as_ref(), |g| g.config),
        Need::UseSecrets => scope.secrets.is_some(),
        Need::Tunnel(port) => by(scope.tunnels.as_ref(), |g| tunnels(g, *port)),
        Need::ListServices => by(scope.services.as_ref(), |g| g.list),
    }
}

fn by<G>(grant: Option<&G>, covers: impl FnOnce(&G) -> bool) -> bool {
    grant.is_some_and(covers)
}

fn remembers(grant: &MemoryGrant, namespace: &[&str], memory: &str, action: MemoryAction) -> bool {
    let Some(memories) = &grant.memories else { return true };
    memories
        .iter()
        .filter(|entry| entry.name == memory && same_namespace(entry.namespace.as_deref(), namespace))
        .any(|entry| permits(&entry.permissions, action))
}

const fn permits(given: &MemoryPermissions, action: MemoryAction) -> bool {
    match action {
        MemoryAction::Create => given.create,
        MemoryAction::Drop => given.drop,
        MemoryAction::Inspect => given.inspect,
        MemoryAction::Query => given.query,
        MemoryAction::Upsert => given.upsert,
        MemoryAction::Ingest => given.ingest,
        MemoryAction::Recall => given.recall,
        MemoryAction::Optimize => given.optimize,
    }
}

fn reads(grant: &SyncGrant, path: &str) -> bool {
    grant.paths.as_ref().is_none_or(|paths| paths.iter().any(|entry| matches(&entry.path, path)))
}

/// The first entry that matches decides.
fn writes(grant: &SyncGrant, path: &str) -> bool {
    grant.paths.as_ref().is_none_or(|paths| {
        paths.iter().find(|entry| matches(&entry.path, path)).is_some_and(|entry| !entry.read_only)
    })
}

/// A missing or empty list means every port.
fn tunnels(grant: &TunnelsGrant, port: u16) -> bool {
    let ports = grant.ports.as_deref().unwrap_or_default();
    ports.is_empty() || ports.iter().any(|allowed| allowed.trim().parse() == Ok(port))
}

fn registry(grant: &RegistryGrant, action: RegistryAction, repository: &str) -> bool {
    match action {
        RegistryAction::List => lists(grant, repository),
        RegistryAction::Pull => covered(grant.pull.as_deref(), repository),
        RegistryAction::Run => covered(grant.run.as_deref(), repository),
        RegistryAction::Write => covered(grant.write.as_deref(), repository),
    }
}

/// Without a list of its own, listing follows what else is allowed.
fn lists(grant: &RegistryGrant, repository: &str) -> bool {
    if grant.list.is_some() {
        return covered(grant.list.as_deref(), repository);
    }
    let others = [&grant.pull, &grant.run, &grant.write];
    others.iter().all(|patterns| patterns.is_none())
        || others.into_iter().flatten().flatten().any(|pattern| matches(pattern, repository))
}

/// A provider is usable when some pattern reaches into it.
fn reaches(grant: &LlmGrant, provider: &str) -> bool {
    let root = format!("{provider}/");
    let leads_in = |pattern: &String| {
        pattern.starts_with(&root) || pattern.strip_suffix('*').is_some_and(|prefix| root.starts_with(prefix))
    };
    grant.models.as_ref().is_none_or(|models| models.iter().any(leads_in))
}

/// A missing list restricts nothing; an empty one allows nothing.
fn listed(names: Option<&[String]>, name: &str) -> bool {
    names.is_none_or(|names| names.iter().any(|listed| listed == name))
}

/// The same with patterns.
fn covered(patterns: Option<&[String]>, name: &str) -> bool {
    patterns.is_none_or(|patterns| patterns.iter().any(|pattern| matches(pattern, name)))
}

/// The same text, or the text begins with what stands before a closing `*`.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => text.starts_with(prefix),
        None => pattern == text,
    }
}

/// A missing namespace in a grant is any; the empty one is the top.
fn same_namespace(granted: Option<&[String]>, wanted: &[&str]) -> bool {
    granted.is_none_or(|granted| granted.iter().map(String::as_str).eq(wanted.iter().copied()))
}

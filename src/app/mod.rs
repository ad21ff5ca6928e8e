//! The application: use-cases over the log. Load, decide, append, answer.
//!
//! Knows the ports, never an adapter's internals, never HTTP or sockets. Effects on the outside world are the
//! controllers' and edges' business; here only facts are made.

mod accounts;
pub mod agents;
mod apply;
pub mod attempts;
pub mod delegation;
pub mod drift;
mod error;
mod execute;
pub mod feeds;
pub mod git_sources;
pub mod host;
pub mod ingest;
pub mod key;
pub mod links;
mod loggers;
mod mailboxes;
pub mod members;
pub mod objects;
pub mod outward;
pub mod past;
pub mod plan;
pub mod project_members;
mod projects;
mod rooms;
pub mod routes;
pub mod secrets;
pub mod servers;
mod services;
mod sessions;
mod settings;
pub mod sites;
mod subscriptions;
mod tasks;
pub mod token;
pub mod tools;
mod values;
pub mod wake;
mod webhooks;

pub use accounts::NewKey;
pub use error::Error;
pub use execute::{Actor, Change, Decision};
pub use members::ROOM_ROLES;
pub use projects::{DEFAULT_ACCOUNT, NewProject};
pub use values::{AgeIdentities, AgeKeys};

use crate::clock::{Clock, IdSource};
use crate::domain::template::Render;
use crate::eventlog::EventLog;
use crate::projection::{Projection, World};
use crate::vault::Vault;
use std::sync::Arc;

/// What the operator chose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether a token that the project's key signed may bring its room into being by connecting.
    pub auto_create_rooms: bool,
    /// Shortest gap between two firings of a scheduled task, seconds.
    pub schedule_floor_seconds: u64,
    /// Name of this server among those on one database.
    pub server_name: String,
    /// Base URL under which clients reach this server, no trailing slash.
    pub public_url: String,
    /// Base URL under which other servers on the same database reach this one.
    pub server_url: String,
    /// The domain of all mailboxes; without one any may be named, which suits only a server that nobody shares.
    pub mail_domain: Option<String>,
    /// Routes are for names below this one; without it for any, which suits only a server that nobody shares.
    pub proxy_domain: Option<String>,
    /// What opens encrypted values of documents, by project.
    pub age: Arc<AgeKeys>,
    /// What renders templates, which are other people's.
    pub templates: Arc<dyn Render>,
}

/// The ports, and what runs beside them.
pub struct App {
    pub log: Arc<dyn EventLog>,
    pub projection: Arc<Projection>,
    pub vault: Arc<Vault>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    pub settings: Settings,
    /// What the controllers of this server tell of their tries.
    pub attempts: attempts::Attempts,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl App {
    /// The newest state.
    #[must_use]
    pub fn world(&self) -> Arc<World> {
        self.projection.world()
    }
}

//! The servers on this store: which there are, and which of them give their rooms away.
//!
//! A server shows that it is there by a lease of its name. One that is to give its rooms away has a second lease, taken
//! for it by whoever asked; it ends when the server starts anew.

use super::{App, Error};
use crate::lease::{Lease, LeaseError, LeaseStore};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Most servers that are told of.
pub const SERVERS_MAX: usize = 1_000;
/// Beats per lifetime of the lease.
const BEATS_PER_TTL: u32 = 3;
/// A server that gives its rooms away goes on to until it stops; it renews this.
const DRAIN_TTL: Duration = Duration::from_hours(1);
const PRESENT: &str = "server/";
const DRAINING: &str = "drain/";

/// A server that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSeen {
    pub name: String,
    /// Where other servers and clients reach it.
    pub url: String,
    /// Who asked it to give its rooms away.
    pub drained_by: Option<String>,
    /// Rooms that it hosts, of all projects.
    pub rooms: usize,
}

/// The servers, seen from this one.
#[derive(Debug)]
pub struct Servers {
    app: Arc<App>,
    leases: Arc<dyn LeaseStore>,
    ttl: Duration,
    drains: AtomicBool,
}

impl Servers {
    /// `ttl`: a server that did not beat for so long is gone.
    #[must_use]
    pub fn new(app: Arc<App>, leases: Arc<dyn LeaseStore>, ttl: Duration) -> Self {
        Self { app, leases, ttl, drains: AtomicBool::new(false) }
    }

    /// Time between two beats.
    #[must_use]
    pub fn beat_every(&self) -> Duration {
        self.ttl / BEATS_PER_TTL
    }

    /// Whether this server gives its rooms away, as of its last beat.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drains.load(Ordering::Acquire)
    }

    fn name(&self) -> &str {
        &self.app.settings.server_name
    }

    /// Shows that this server is there, and begins with a clean sheet: whoever was to give its rooms away was its last
    /// run.
    pub async fn enter(&self) -> Result<(), Error> {
        if let Some(drain) = self.leases.current(&format!("{DRAINING}{}", self.name())).await? {
            self.leases.release(&drain).await?;
        }
        self.beat().await
    }

    /// Shows that this server is there, and learns whether it is to give its rooms away.
    pub async fn beat(&self) -> Result<(), Error> {
        let (name, url) = (self.name(), &self.app.settings.server_url);
        self.leases.acquire(&format!("{PRESENT}{name}"), name, url, self.ttl).await?;
        let drain = self.leases.current(&format!("{DRAINING}{name}")).await?;
        if let Some(drain) = &drain {
            match self.leases.renew(drain, DRAIN_TTL).await {
                // It was taken back just now; the next beat sees it.
                Ok(_) | Err(LeaseError::Lost { .. } | LeaseError::Held(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.drains.store(drain.is_some(), Ordering::Release);
        Ok(())
    }

    /// Takes this server out of the list.
    pub async fn leave(&self) {
        let left = async {
            match self.leases.current(&format!("{PRESENT}{}", self.name())).await? {
                Some(own) => self.leases.release(&own).await,
                None => Ok(()),
            }
        };
        if let Err(error) = left.await {
            tracing::warn!(%error, "this server stays in the list until its lease ends");
        }
    }

    /// The servers that are there, by name.
    pub async fn all(&self) -> Result<Vec<ServerSeen>, Error> {
        let present = self.leases.list(PRESENT, SERVERS_MAX).await?;
        let draining = self.leases.list(DRAINING, SERVERS_MAX).await?;
        let name = |lease: &Lease, prefix| lease.name.strip_prefix(prefix).unwrap_or_default().to_owned();
        let drained: HashMap<String, String> =
            draining.iter().map(|lease| (name(lease, DRAINING), lease.holder.clone())).collect();
        let world = self.app.world();
        let mut rooms: HashMap<&str, HashSet<_>> = HashMap::new();
        for (project, _) in world.projects() {
            for (_, session) in world.sessions(project).filter(|(_, session)| session.is_active()) {
                rooms.entry(session.host.as_str()).or_default().insert(session.room);
            }
        }
        let seen = |lease: &Lease| {
            let name = name(lease, PRESENT);
            ServerSeen {
                drained_by: drained.get(&name).cloned(),
                rooms: rooms.get(name.as_str()).map_or(0, HashSet::len),
                url: lease.url.clone(),
                name,
            }
        };
        Ok(present.iter().map(seen).collect())
    }

    /// Has a server give its rooms to the others. It begins at its next beat.
    pub async fn drain(&self, by: &str, name: &str) -> Result<ServerSeen, Error> {
        let all = self.all().await?;
        let found = named(&all, name)?;
        if !all.iter().any(|other| other.name != found.name && other.drained_by.is_none()) {
            let text = format!(
                "no other server would take the rooms of server `{name}`; start one on the same database, or stop \
                 this one: its rooms open again when it is back"
            );
            return Err(Error::Invalid { code: "server-alone", text });
        }
        let lease = self.leases.acquire(&format!("{DRAINING}{name}"), by, &found.url, DRAIN_TTL).await;
        match lease {
            Ok(_) | Err(LeaseError::Held(_)) => {}
            Err(error) => return Err(error.into()),
        }
        named(&self.all().await?, name).cloned()
    }

    /// Has a server take rooms again.
    pub async fn resume(&self, name: &str) -> Result<ServerSeen, Error> {
        named(&self.all().await?, name)?;
        if let Some(drain) = self.leases.current(&format!("{DRAINING}{name}")).await? {
            self.leases.release(&drain).await?;
        }
        named(&self.all().await?, name).cloned()
    }

    /// Another server, for something that this one does not take: the same one for the same thing.
    pub async fn other(&self, thing: u128) -> Result<Option<ServerSeen>, Error> {
        let mut all = self.all().await?;
        all.retain(|server| server.name != self.name() && server.drained_by.is_none());
        let index = usize::try_from(thing % (all.len().max(1) as u128)).unwrap_or_default();
        Ok((!all.is_empty()).then(|| all.swap_remove(index)))
    }
}

fn named<'a>(all: &'a [ServerSeen], name: &str) -> Result<&'a ServerSeen, Error> {
    let missing = || Error::NotFound {
        kind: "server",
        name: name.to_owned(),
        hint: "`meshagent server list` shows those that are there",
    };
    all.iter().find(|server| server.name == name).ok_or_else(missing)
}

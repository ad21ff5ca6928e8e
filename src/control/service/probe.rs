//! What is known of the ports of services, kept in memory: which were chosen, whether they answer, which endpoints
//! were called.

use crate::runtime::InstanceKey;
use crate::spec::{PortNumber, Service};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Pause between two looks at a port that does not answer yet.
pub const PAUSE_NOT_READY: TimeDelta = TimeDelta::seconds(1);
/// Pause between two looks at a port that answers.
pub const PAUSE_READY: TimeDelta = TimeDelta::seconds(30);

/// What the last look at one port showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub ready: bool,
    pub checked_at: DateTime<Utc>,
    pub error: Option<String>,
}

/// One port to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub key: InstanceKey,
    /// Place among the service's ports.
    pub index: usize,
    pub port: u16,
    pub path: String,
}

#[derive(Debug, Default)]
struct Board {
    /// Ports chosen for `"*"`.
    chosen: HashMap<InstanceKey, u16>,
    seen: HashMap<InstanceKey, HashMap<usize, Seen>>,
    /// Where ports of instances that are apart from this host answer.
    places: HashMap<InstanceKey, HashMap<u16, SocketAddr>>,
    /// Endpoints that were called, by the places of port and endpoint.
    called: HashMap<InstanceKey, HashSet<(usize, usize)>>,
}

/// What is known of the ports of all instances that run here.
#[derive(Debug, Default)]
pub struct Probes {
    board: Mutex<Board>,
}

impl Probes {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_port(&self, key: &InstanceKey, port: u16) {
        self.board().chosen.insert(key.clone(), port);
    }

    pub(super) fn forget(&self, key: &InstanceKey) {
        let mut board = self.board();
        board.chosen.remove(key);
        board.seen.remove(key);
        board.places.remove(key);
        board.called.remove(key);
    }

    /// The number of a port of an instance; nothing where none was chosen.
    #[must_use]
    pub fn number(&self, key: &InstanceKey, num: PortNumber) -> Option<u16> {
        match num {
            PortNumber::Fixed(number) => Some(number),
            PortNumber::Any => self.board().chosen.get(key).copied(),
        }
    }

    /// Where a port of an instance answers, as far as that was asked.
    #[must_use]
    pub fn place(&self, key: &InstanceKey, port: u16) -> Option<SocketAddr> {
        self.board().places.get(key)?.get(&port).copied()
    }

    pub(super) fn set_place(&self, key: &InstanceKey, port: u16, at: SocketAddr) {
        self.board().places.entry(key.clone()).or_default().insert(port, at);
    }

    pub(super) fn was_called(&self, key: &InstanceKey, place: (usize, usize)) -> bool {
        self.board().called.get(key).is_some_and(|places| places.contains(&place))
    }

    pub(super) fn set_called(&self, key: &InstanceKey, place: (usize, usize)) {
        self.board().called.entry(key.clone()).or_default().insert(place);
    }

    /// The last look at a port of an instance.
    #[must_use]
    pub fn seen(&self, key: &InstanceKey, index: usize) -> Option<Seen> {
        self.board().seen.get(key)?.get(&index).cloned()
    }

    pub(super) fn set(&self, target: &Target, seen: Seen) {
        self.board().seen.entry(target.key.clone()).or_default().insert(target.index, seen);
    }

    /// The ports of a running service that declare a path to look at, each with the time of its next look.
    #[must_use]
    pub fn targets(
        &self,
        key: &InstanceKey,
        spec: &Service,
        now: DateTime<Utc>,
    ) -> Vec<(Target, DateTime<Utc>)> {
        let target = |(index, port): (usize, &crate::spec::Port)| {
            let path = port.liveness.clone()?;
            let number = self.number(key, port.num)?;
            let seen = self.seen(key, index);
            let due = seen
                .map_or(now, |seen| seen.checked_at + if seen.ready { PAUSE_READY } else { PAUSE_NOT_READY });
            Some((Target { key: key.clone(), index, port: number, path }, due))
        };
        spec.ports().iter().enumerate().filter_map(target).collect()
    }
}

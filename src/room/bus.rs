//! What all connections share: the built-in toolkits and the doors to the outside.

use super::hub::Hub;
use super::near;
use super::toolkit::{ToolError, Toolkit};
use super::world::Callouts;
use crate::clock::{Clock, IdSource};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What a bus is made of.
pub struct BusParts {
    pub hub: Arc<Hub>,
    pub toolkits: Vec<Arc<dyn Toolkit>>,
    pub callouts: Option<Arc<dyn Callouts>>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
}

/// The tool bus.
pub struct Bus {
    pub hub: Arc<Hub>,
    pub callouts: Option<Arc<dyn Callouts>>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    toolkits: BTreeMap<&'static str, Arc<dyn Toolkit>>,
}

impl fmt::Debug for BusParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusParts").field("toolkits", &self.toolkits.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("toolkits", &self.names().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

impl Bus {
    #[must_use]
    pub fn new(parts: BusParts) -> Self {
        let toolkits = parts.toolkits.into_iter().map(|t| (t.describe().name, t)).collect();
        Self { hub: parts.hub, callouts: parts.callouts, clock: parts.clock, ids: parts.ids, toolkits }
    }

    /// The built-in toolkit of that name.
    #[must_use]
    pub fn toolkit(&self, name: &str) -> Option<&Arc<dyn Toolkit>> {
        self.toolkits.get(name)
    }

    pub fn toolkits(&self) -> impl Iterator<Item = &Arc<dyn Toolkit>> {
        self.toolkits.values()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.toolkits.keys().copied()
    }

    /// The error for a toolkit that is neither built in nor hosted; `hosted` are the names that are.
    #[must_use]
    pub fn no_toolkit(&self, name: &str, hosted: &[String]) -> ToolError {
        let known = self.names().chain(hosted.iter().map(String::as_str));
        ToolError::not_found(format!("no toolkit `{name}` in this room; {}", near::hint(name, known)))
    }
}

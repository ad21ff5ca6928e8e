//! Tools that a service brings into a room from a model context protocol server: what is to be offered, and how it is.

use crate::id::ServiceId;
use crate::spec::OauthClient;
use std::collections::BTreeMap;

/// Place of an endpoint: its service, its port among the service's, and its own among the port's.
pub type Place = (ServiceId, usize, usize);

/// A server whose tools a room offers as one toolkit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolServer {
    pub place: Place,
    /// Of the service; a new one connects anew.
    pub generation: u64,
    /// Name of the toolkit.
    pub label: String,
    pub description: String,
    pub url: String,
    /// The platform itself started what listens there, on this host.
    pub here: bool,
    pub headers: BTreeMap<String, String>,
    /// Id of the secret that goes into `Authorization`.
    pub secret: Option<String>,
    /// The client that gets its own access tokens for `Authorization`.
    pub oauth: Option<OauthClient>,
    /// `None`: all tools.
    pub allowed: Option<Vec<AllowedTools>>,
    /// Whether people are to be asked before each call; `None` where the spec does not say.
    pub approval: Option<bool>,
}

/// Tools that may be offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedTools {
    /// Empty: whatever the name.
    pub names: Vec<String>,
    /// What the server must say of the tool.
    pub read_only: Option<bool>,
}

impl ToolServer {
    /// Whether a tool of this name may be offered.
    #[must_use]
    pub fn allows(&self, name: &str, read_only: bool) -> bool {
        let fits = |entry: &AllowedTools| {
            (entry.names.is_empty() || entry.names.iter().any(|known| known == name))
                && entry.read_only.is_none_or(|wanted| wanted == read_only)
        };
        self.allowed.as_ref().is_none_or(|all| all.iter().any(fits))
    }
}

/// How a server's tools are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolServerState {
    Connecting,
    /// So many are offered.
    Ready(usize),
    /// Why not; it is tried again.
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ProjectId;
    use uuid::Uuid;

    #[test]
    fn tools_are_filtered_by_name_and_by_what_they_change() {
        let service = ServiceId::new(ProjectId::new(Uuid::nil()), Uuid::nil());
        let mut server = ToolServer {
            place: (service, 0, 0),
            generation: 1,
            label: "x".into(),
            description: String::new(),
            url: "http://x".into(),
            here: false,
            headers: BTreeMap::new(),
            secret: None,
            oauth: None,
            allowed: None,
            approval: None,
        };
        assert!(server.allows("a", false));
        let names = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<String>>();
        server.allowed = Some(vec![
            AllowedTools { names: names(&["a"]), read_only: None },
            AllowedTools { names: names(&[]), read_only: Some(true) },
        ]);
        assert!(server.allows("a", false) && server.allows("b", true) && !server.allows("b", false));
        server.allowed = Some(vec![]);
        assert!(!server.allows("a", true));
    }
}

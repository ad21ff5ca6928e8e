//! Model providers behind this server: which of their paths are passed on, with which headers and credential, what of a
//! request a router document changes, and how many tokens an answer used.
//!
//! Bodies pass as they come; only what is needed is read out of them while they do. Knows nothing of projects' settings,
//! tokens or routes: the REST edge says who asks and where to go. Neither keys, nor bodies, nor addresses are logged.

pub mod body;
pub mod budget;
mod filter;
pub mod form;
pub mod headers;
pub mod meter;
pub mod operation;
pub mod record;
pub mod router;
mod scan;
mod sse;
pub mod upstream;
pub mod usage;

pub use meter::{Meter, Tokens};
pub use operation::{Form, Operation, Transport};

use serde::{Deserialize, Serialize};
use std::fmt;

/// Requests that are passed on at once, of all projects.
pub const AT_ONCE_MAX: usize = 4_096;
/// Requests that are passed on at once for one project.
pub const AT_ONCE_PER_PROJECT_MAX: usize = 1_024;
/// Longest body of a request, bytes; it is read before it is passed on, because it names the model.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of all bodies that are held at once.
pub const REQUESTS_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Longest body of an answer, bytes.
pub const ANSWER_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Whose models.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    OpenAi,
    Anthropic,
    Grok,
}

impl Provider {
    pub const ALL: [Self; 3] = [Self::OpenAi, Self::Anthropic, Self::Grok];

    /// As it stands in paths, settings and model patterns.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Grok => "grok",
        }
    }

    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == text)
    }

    /// The provider's own address, as its SDKs take it: Anthropic's without the version.
    #[must_use]
    pub const fn address(self) -> &'static str {
        match self {
            Self::OpenAi => "https://api.openai.com/v1",
            Self::Anthropic => "https://api.anthropic.com",
            Self::Grok => "https://api.x.ai/v1",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

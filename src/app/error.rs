//! What a use-case can fail with. The text is for the client; the cause, where there is one, is for the log.

use crate::domain::{Refusal, Rejection};
use crate::eventlog::{AppendError, LogError};
use crate::projection::OpenError;

/// Every variant has a stable code with a page in `docs/errors/`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{text}")]
    Rejected { refusal: Refusal, code: &'static str, text: String },
    #[error("no {kind} `{name}` here; {hint}")]
    NotFound { kind: &'static str, name: String, hint: &'static str },
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    Unauthorized(String),
    #[error("{text}")]
    Invalid { code: &'static str, text: String },
    #[error("{0}")]
    Plan(Box<super::plan::Problems>),
    #[error("too many others are writing to {0}; try again")]
    Busy(String),
    #[error("the event log cannot take this now: {0}; nothing was changed, try again later")]
    Append(#[source] AppendError),
    #[error("the event log cannot be read now: {0}; try again later")]
    Read(#[source] LogError),
    #[error("the state cannot be brought up to date: {0}")]
    Fold(#[from] OpenError),
    #[error("a secret cannot be kept or read: {0}")]
    Vault(#[from] crate::vault::VaultError),
    #[error("{0}; try again later")]
    Lease(#[from] crate::lease::LeaseError),
    #[error("{0}")]
    SecretId(#[from] crate::vault::InvalidSecretId),
}

impl Error {
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Rejected { code, .. } | Self::Invalid { code, .. } => code,
            Self::NotFound { .. } => "not-found",
            Self::Plan(problems) if problems.are_conflicts() => "field-conflict",
            Self::Plan(_) => "plan-invalid",
            Self::Forbidden(_) => "permission-denied",
            Self::Unauthorized(_) => "unauthorized",
            Self::Busy(_) => "busy",
            Self::Append(_) | Self::Read(_) | Self::Fold(_) => "log-unavailable",
            Self::Vault(_) | Self::SecretId(_) => "vault-unavailable",
            Self::Lease(_) => "store-unavailable",
        }
    }

    pub(crate) fn rejected(rejection: impl Rejection) -> Self {
        Self::Rejected { refusal: rejection.refusal(), code: rejection.code(), text: rejection.to_string() }
    }

    pub(crate) fn no_room(name: &str) -> Self {
        Self::NotFound {
            kind: "room",
            name: name.to_owned(),
            hint: "create it with `meshagent rooms create NAME`, or list them with `meshagent rooms list --all`",
        }
    }

    pub(crate) fn no_service(name: &str) -> Self {
        Self::NotFound {
            kind: "service",
            name: name.to_owned(),
            hint: "`meshagent service list` shows those that exist",
        }
    }

    pub(crate) fn no_task(name: &str) -> Self {
        Self::NotFound {
            kind: "scheduled task",
            name: name.to_owned(),
            hint: "`meshagent scheduled-task list` shows those that exist",
        }
    }

    pub(crate) fn no_mailbox(name: &str) -> Self {
        Self::NotFound {
            kind: "mailbox",
            name: name.to_owned(),
            hint: "`meshagent mailbox list` shows those that exist",
        }
    }

    pub(crate) fn no_route(name: &str) -> Self {
        Self::NotFound {
            kind: "route",
            name: name.to_owned(),
            hint: "`meshagent route list` shows those that exist",
        }
    }

    pub(crate) fn no_agent(name: &str) -> Self {
        Self::NotFound {
            kind: "agent",
            name: name.to_owned(),
            hint: "`meshagent agent list` shows those that exist",
        }
    }

    pub(crate) fn no_git_source(name: &str) -> Self {
        Self::NotFound {
            kind: "git source",
            name: name.to_owned(),
            hint: "`meshagent source list` shows those that exist",
        }
    }

    pub(crate) fn no_account(name: &str) -> Self {
        Self::NotFound {
            kind: "service account",
            name: name.to_owned(),
            hint: "`meshagent service-account list` shows those that exist",
        }
    }
}

//! Why the engine did not do it.

use bollard::errors::Error;

/// Longest text of an engine that is passed on, characters.
const DETAIL_CHARS_MAX: usize = 2_000;

/// Texts say what happened, to which object, and the next step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// There is no engine, or it is switched off; the text says what to install and how to configure.
    #[error("{0}")]
    Missing(String),
    #[error("container `{0}` does not exist in this room; `containers.list_containers` shows those that do")]
    NoContainer(String),
    #[error(
        "image `{0}` is not on this machine for this room; pull, load or build it first, `containers.list_images` shows what is there"
    )]
    NoImage(String),
    /// It cannot be done as things are, such as a name or port in use.
    #[error("{0}")]
    State(String),
    #[error("{0}")]
    Invalid(String),
    #[error("the container engine cannot {action}: {detail}")]
    Failed { action: String, detail: String },
}

impl EngineError {
    /// What the engine's own error means for `action` on `object`.
    pub(super) fn of(action: &str, object: &str, error: Error) -> Self {
        let action = format!("{action} `{object}`");
        let cut = |text: String| text.chars().take(DETAIL_CHARS_MAX).collect::<String>();
        match error {
            Error::DockerResponseServerError { status_code: 409, message } => {
                Self::State(format!("the container engine cannot {action} as it is now: {}", cut(message)))
            }
            Error::DockerResponseServerError { message, .. } => Self::Failed { action, detail: cut(message) },
            Error::SocketNotFoundError(path) => {
                Self::Missing(format!("the container engine at {path} is gone; start it again"))
            }
            Error::RequestTimeoutError => Self::Failed {
                action,
                detail: "it did not answer in time; look at the engine's own log".to_owned(),
            },
            other => Self::Failed { action, detail: cut(other.to_string()) },
        }
    }

    /// Whether the engine said that the thing is not there.
    pub(super) fn is_absent(error: &Error) -> bool {
        matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
    }
}

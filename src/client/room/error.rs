//! What can go wrong between a participant and its room.

use crate::error_code::RoomCode;

/// Why a room request failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RoomError {
    #[error("`{url}` is not a room address: {reason}; want ws://HOST/rooms/NAME")]
    BadUrl { url: String, reason: String },
    #[error("room {url} refused the connection with status {status} ({reason}); {}", advice(*.status))]
    Refused { url: String, status: u16, reason: String },
    #[error("no connection to room {url}: {reason}; check the address and that the server runs")]
    Unreachable { url: String, reason: String },
    #[error("the connection to the room was lost before `{request}` was answered; ask again")]
    Lost { request: String },
    #[error("the room connection has ended: {reason}")]
    Closed { reason: String },
    #[error("{request}: {text}")]
    Failed { request: String, text: String, code: Option<u16> },
    #[error("`{request}` answered {got} where {want} was due; client and server differ in version")]
    Unexpected { request: String, got: &'static str, want: &'static str },
    #[error("{what} is over its bound of {max}; {advice}")]
    TooMuch { what: &'static str, max: usize, advice: &'static str },
}

fn advice(status: u16) -> &'static str {
    match status {
        404 => "create the room first, or correct its name",
        423 => "the room is disabled; enable it first",
        _ => "check the token: its room grant, its expiry and the key that signed it",
    }
}

impl RoomError {
    pub(super) fn closed(reason: impl Into<String>) -> Self {
        Self::Closed { reason: reason.into() }
    }

    /// Why nothing can be asked of a room that is none.
    pub(super) fn nowhere() -> Self {
        let text = "this agent is in no room (--no-room)".to_owned();
        Self::Failed { request: "room".into(), text, code: Some(RoomCode::PermissionDenied.number()) }
    }

    pub(super) fn lost(request: impl Into<String>) -> Self {
        Self::Lost { request: request.into() }
    }

    /// The room's numeric error code, where the room answered with one.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Failed { code, .. } => *code,
            _ => None,
        }
    }

    /// Whether the same request may succeed on the next connection.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost { .. })
    }

    /// Whether no request can succeed any more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Closed { .. } | Self::Refused { .. } | Self::BadUrl { .. })
    }
}

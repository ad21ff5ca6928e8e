//! What can go wrong with a request, said so that the person knows the next step.

use serde_json::Value;

/// Longest text of a non-JSON error body that is shown.
const BODY_CHARS_SHOWN: usize = 300;

/// A request that did not give an answer.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    #[error("`{url}` is not a usable server URL: {reason}")]
    InvalidUrl { url: String, reason: String },
    #[error("cannot reach the server at {url}: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("the server at {url} did not answer in time ({asked})")]
    Timeout { url: String, asked: String },
    #[error("the connection to {url} broke during {asked}: {reason}")]
    Broken { url: String, asked: String, reason: String },
    #[error("{message} (status {status}, {asked})")]
    Status { status: u16, asked: String, message: String },
    #[error("the answer to {asked} is not JSON ({reason}); is this a MeshAgent server?")]
    NotJson { asked: String, reason: String },
    #[error("the answer to {asked} is not what this client knows: {reason}")]
    Unexpected { asked: String, reason: String },
    #[error("the listing {asked} does not end; the server repeats its continuation token")]
    Endless { asked: String },
    #[error("{0}")]
    BadPath(String),
    #[error("cannot read or write {path}: {reason}")]
    Local { path: String, reason: String },
}

impl RestError {
    /// The HTTP status, if the server answered with one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The server's own words, if it answered with any.
    pub fn server_message(&self) -> Option<&str> {
        match self {
            Self::Status { message, .. } => Some(message),
            _ => None,
        }
    }

    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    pub fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }
}

/// The human part of an error body: `error.message`, `error`, `message` or `detail` of JSON, else the text itself.
pub(super) fn message(status: u16, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let found = serde_json::from_slice::<Value>(body).ok().and_then(|value| {
        let places = ["/error/message", "/error", "/message", "/detail"];
        places.iter().find_map(|place| value.pointer(place)?.as_str().map(str::to_owned))
    });
    let message = found.unwrap_or_else(|| text.trim().chars().take(BODY_CHARS_SHOWN).collect());
    match (message.is_empty(), status) {
        (false, _) => message,
        (true, 401) => "the server does not accept this credential".into(),
        (true, 403) => "this credential may not do that".into(),
        (true, 404) => "there is no such thing".into(),
        (true, 409) => "it conflicts with what is there".into(),
        (true, 423) => "the room is disabled".into(),
        (true, _) => "the server refused without a reason".into(),
    }
}

/// The innermost cause, which is the one that tells something.
pub(super) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn the_servers_words_are_found_wherever_it_puts_them() {
        assert_eq!(message(423, br#"{"error":{"message":"room is disabled"}}"#), "room is disabled");
        assert_eq!(message(400, br#"{"error":"bad cron"}"#), "bad cron");
        assert_eq!(message(400, br#"{"message":"bad cron"}"#), "bad cron");
        assert_eq!(message(502, b"<html>bad gateway</html>"), "<html>bad gateway</html>");
        assert_eq!(message(409, b""), "it conflicts with what is there");
    }
}

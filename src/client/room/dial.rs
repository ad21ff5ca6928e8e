//! Addresses, credentials and the upgrade request.

use super::{Backoff, RoomError};
use crate::clock::{IdSource, System};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::{self, protocol::WebSocketConfig};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Longest wait for TCP, TLS and the upgrade.
const DIAL_MAX: Duration = Duration::from_secs(20);
/// Largest WebSocket message we read, bytes; one packet.
const PACKET_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A participant token. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The token itself, for a header.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// How long to go on trying when the room cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// One attempt; a lost connection ends the client.
    Never,
    /// This many attempts after each failure or loss.
    Times(u32),
    /// Until the room lets us in or refuses for good.
    Forever,
}

impl Retry {
    pub(super) fn allows(self, attempt: u32) -> bool {
        match self {
            Self::Never => false,
            Self::Times(max) => attempt < max,
            Self::Forever => true,
        }
    }
}

/// What a connection needs.
#[derive(Clone)]
pub struct Options {
    /// The room's socket, `ws(s)://HOST/rooms/NAME` (see [`room_url`]); http(s) is read as ws(s).
    pub url: String,
    pub token: Token,
    pub retry: Retry,
    pub backoff: Backoff,
    pub ids: Arc<dyn IdSource>,
    /// No room at all: nothing is dialled, and every request says so.
    pub(super) nowhere: bool,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("url", &self.url).field("retry", &self.retry).finish_non_exhaustive()
    }
}

impl Options {
    /// Retries for ever, as agents do.
    pub fn new(url: impl Into<String>, token: Token) -> Self {
        Self {
            url: url.into(),
            token,
            retry: Retry::Forever,
            backoff: Backoff::default(),
            ids: Arc::new(System),
            nowhere: false,
        }
    }

    /// In no room; `token` is for those who ask the client who it is.
    #[must_use]
    pub fn nowhere(token: Token) -> Self {
        Self { nowhere: true, ..Self::new("", token) }
    }

    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }
}

/// The socket address of room `room`: `base` is MESHAGENT_ROOM_URL or the API address; http(s) becomes ws(s).
#[must_use]
pub fn room_url(base: &str, room: &str) -> String {
    format!("{}/rooms/{room}", as_socket_url(base).trim_end_matches('/'))
}

fn as_socket_url(url: &str) -> String {
    for (from, to) in [("https:", "wss:"), ("http:", "ws:")] {
        if let Some(rest) = url.strip_prefix(from) {
            return format!("{to}{rest}");
        }
    }
    url.to_owned()
}

/// Why one attempt to dial failed.
pub(super) enum DialError {
    /// No later attempt can succeed.
    Final(RoomError),
    /// The next attempt may succeed.
    Transient(String),
}

/// Statuses by which a room refuses for good; all others are tried again.
const FINAL_STATUSES: [u16; 3] = [403, 404, 423];

pub(super) async fn dial(options: &Options) -> Result<Socket, DialError> {
    let url = as_socket_url(&options.url);
    let bad = |reason: String| DialError::Final(RoomError::BadUrl { url: options.url.clone(), reason });
    let mut request = url.as_str().into_client_request().map_err(|e| bad(e.to_string()))?;
    let bearer = HeaderValue::from_str(&format!("Bearer {}", options.token.reveal()))
        .map_err(|_| bad("the token has characters that no header may carry".into()))?;
    request.headers_mut().insert(header::AUTHORIZATION, bearer);
    let agent = concat!("meshagent/", env!("CARGO_PKG_VERSION"));
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(agent));
    let config = WebSocketConfig::default()
        .max_message_size(Some(PACKET_BYTES_MAX))
        .max_frame_size(Some(PACKET_BYTES_MAX));
    let dialled = tokio_tungstenite::connect_async_with_config(request, Some(config), true);
    match tokio::time::timeout(DIAL_MAX, dialled).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(judge(options, error)),
        Err(_) => Err(DialError::Transient(format!("no answer within {} s", DIAL_MAX.as_secs()))),
    }
}

fn judge(options: &Options, error: tungstenite::Error) -> DialError {
    let url = options.url.clone();
    match error {
        tungstenite::Error::Http(response) => {
            let status = response.status();
            let reason = status.canonical_reason().unwrap_or("no reason given").to_owned();
            if FINAL_STATUSES.contains(&status.as_u16()) {
                DialError::Final(RoomError::Refused { url, status: status.as_u16(), reason })
            } else {
                DialError::Transient(format!("status {} {reason}", status.as_u16()))
            }
        }
        tungstenite::Error::Url(error) => {
            DialError::Final(RoomError::BadUrl { url, reason: error.to_string() })
        }
        other => DialError::Transient(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_addresses_follow_the_reference() {
        assert_eq!(room_url("http://127.0.0.1:8078", "r"), "ws://127.0.0.1:8078/rooms/r");
        assert_eq!(room_url("https://h/", "r"), "wss://h/rooms/r");
        assert_eq!(room_url("wss://h/base", "r"), "wss://h/base/rooms/r");
    }

    #[test]
    fn a_token_never_shows_itself() {
        let options = Options::new("ws://h/rooms/r", Token::new("s3cret"));
        assert!(!format!("{options:?} {:?}", options.token).contains("s3cret"));
    }
}

//! The socket of a conversation with an agent that has one: each frame is one message (process agents §3.3).

use super::SessionError;
use crate::agent::pack::{MESSAGE_BYTES_MAX, pack, unpack};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

/// How long the agent may take to start and to take the connection.
const CONNECT_MAX: Duration = Duration::from_mins(1);
/// How long it may take to take one message.
const SEND_MAX: Duration = Duration::from_secs(30);
/// After so long without anything it is asked for a sign of life, and has so long again and again to give one.
const SILENCE: Duration = Duration::from_secs(25);
const PROTOCOL: &str = "meshagent-msgpack";

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A dialled agent.
pub(super) struct Socket {
    sink: Mutex<SplitSink<Stream, Message>>,
    stream: SplitStream<Stream>,
    /// When nothing has come for too long, and whether it was asked for a sign of life since something did.
    silent_at: Instant,
    asked: bool,
}

impl Socket {
    pub async fn dial(url: &str, token: &str) -> Result<Self, SessionError> {
        let failed = |why: String| SessionError::Socket { why };
        let mut request = url.into_client_request().map_err(|error| failed(error.to_string()))?;
        let mut bearer =
            HeaderValue::from_str(&format!("Bearer {token}")).map_err(|error| failed(error.to_string()))?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let dialled = connect_async_with_config(request, Some(config), true);
        let (stream, _) = tokio::time::timeout(CONNECT_MAX, dialled)
            .await
            .map_err(|_| failed(format!("it did not answer within {} s", CONNECT_MAX.as_secs())))?
            .map_err(|error| failed(told(error)))?;
        let (sink, stream) = stream.split();
        Ok(Self { sink: Mutex::new(sink), stream, silent_at: Instant::now() + SILENCE, asked: false })
    }

    pub async fn say(&self, message: &Value) -> Result<(), SessionError> {
        let mut sink = self.sink.lock().await;
        let sent = sink.send(Message::Binary(pack(message).into()));
        match tokio::time::timeout(SEND_MAX, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(SessionError::Socket { why: error.to_string() }),
            Err(_) => Err(SessionError::Socket { why: "it takes no more messages".to_owned() }),
        }
    }

    /// What it says next. Whoever waits for that hears also that it vanished without a word.
    pub async fn hear(&mut self) -> Result<Map<String, Value>, SessionError> {
        loop {
            let Ok(next) = timeout_at(self.silent_at, self.stream.next()).await else {
                if self.asked {
                    return Err(SessionError::Socket { why: "nothing comes from it any more".to_owned() });
                }
                (self.asked, self.silent_at) = (true, Instant::now() + 2 * SILENCE);
                let mut sink = self.sink.lock().await;
                // What cannot be sent gets no answer either.
                let _ = tokio::time::timeout(SILENCE, sink.send(Message::Ping(Bytes::new()))).await;
                continue;
            };
            (self.asked, self.silent_at) = (false, Instant::now() + SILENCE);
            match next {
                Some(Ok(Message::Binary(bytes))) => match unpack(&bytes) {
                    Ok((Value::Object(message), _)) => return Ok(message),
                    _ => return Err(SessionError::Socket { why: "it sent what is no message".to_owned() }),
                },
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Err(SessionError::Socket { why: frame.reason.to_string() });
                }
                Some(Ok(Message::Close(None))) | None => return Err(SessionError::Ended),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(SessionError::Socket { why: error.to_string() }),
            }
        }
    }

    pub async fn end(&self) {
        // The agent may be gone.
        let _ = tokio::time::timeout(SEND_MAX, self.sink.lock().await.close()).await;
    }
}

/// What a refused handshake says, in the server's words where it has any.
fn told(error: Error) -> String {
    let Error::Http(answer) = error else { return error.to_string() };
    let status = answer.status().as_u16();
    let body: Option<Value> = answer.body().as_deref().and_then(|body| serde_json::from_slice(body).ok());
    let text = body.as_ref().and_then(|body| body.pointer("/error/message")).and_then(Value::as_str);
    text.map_or_else(|| format!("it answered HTTP {status}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;
    use tokio_tungstenite::accept_hdr_async;
    use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

    #[tokio::test]
    async fn an_agent_that_vanished_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let agent = async {
            let (stream, _) = listener.accept().await.unwrap();
            let agreed = |_: &Request, mut answer: Response| {
                let protocol = HeaderValue::from_static(PROTOCOL);
                answer.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
                Ok(answer)
            };
            accept_hdr_async(stream, agreed).await.unwrap()
        };
        let (socket, agent) = tokio::join!(Socket::dial(&url, "t"), agent);
        let mut socket = socket.unwrap();
        // It keeps its socket, and does nothing with it.
        tokio::time::pause();
        let begin = Instant::now();
        let error = socket.hear().await.unwrap_err().to_string();
        assert!(error.contains("nothing comes from it") && begin.elapsed() >= 2 * SILENCE, "{error}");
        drop(agent);
    }
}

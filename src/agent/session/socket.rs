//! The socket of a conversation with an agent that has one: each frame is one message (process agents §3.3).

use super::SessionError;
use crate::agent::pack::{MESSAGE_BYTES_MAX, pack, unpack};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

/// How long the agent may take to start and to take the connection.
const CONNECT_MAX: Duration = Duration::from_mins(1);
/// How long it may take to take one message.
const SEND_MAX: Duration = Duration::from_secs(30);
const PROTOCOL: &str = "meshagent-msgpack";

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A dialled agent.
pub(super) struct Socket {
    sink: Mutex<SplitSink<Stream, Message>>,
    stream: SplitStream<Stream>,
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
        Ok(Self { sink: Mutex::new(sink), stream })
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

    pub async fn hear(&mut self) -> Result<Map<String, Value>, SessionError> {
        loop {
            match self.stream.next().await {
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

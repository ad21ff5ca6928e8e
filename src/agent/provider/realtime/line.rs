//! The socket of a conversation: dialled with the agent's key, one JSON message a frame.

use crate::agent::config::EndpointConfig;
use crate::agent::provider::endpoint::{CONNECT_MAX, Refusal, bearer, message_of, refused_with};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use reqwest::StatusCode;
use serde_json::Value;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

/// Largest message that is taken, bytes.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long the provider may take to take one message.
const SEND_MAX: Duration = Duration::from_secs(30);
/// How long a goodbye may take.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// What the variables that set key and address begin with.
const VARIABLES: &str = "OPENAI";

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A line to a provider.
pub(super) struct Line {
    sink: SplitSink<Stream, Message>,
    stream: SplitStream<Stream>,
}

/// `http` and `https` as `ws` and `wss`, with the model.
fn address(base_url: &str, model: &str) -> String {
    let base = base_url.trim_end_matches('/');
    let base = match base.strip_prefix("http") {
        Some(rest) => format!("ws{rest}"),
        None => base.to_owned(),
    };
    let model: String = url::form_urlencoded::byte_serialize(model.as_bytes()).collect();
    format!("{base}/realtime?model={model}")
}

impl Line {
    pub async fn dial(config: &EndpointConfig, model: &str) -> Result<Self, Refusal> {
        let url = address(&config.base_url, model);
        let shown = url.split('?').next().unwrap_or_default().to_owned();
        let unusable = |why: String| Refusal::Final(format!("{shown} cannot be called: {why}"));
        let mut request = url.into_client_request().map_err(|error| unusable(error.to_string()))?;
        let key = bearer(&config.api_key).ok_or_else(|| {
            unusable(format!(
                "the key in {VARIABLES}_API_KEY holds a character that no key has; set it again"
            ))
        })?;
        request.headers_mut().extend(key);
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let dialled =
            tokio::time::timeout(CONNECT_MAX, connect_async_with_config(request, Some(limits), true));
        match dialled.await {
            Ok(Ok((stream, _))) => {
                let (sink, stream) = stream.split();
                Ok(Self { sink, stream })
            }
            Ok(Err(Error::Http(answer))) => {
                let status =
                    StatusCode::from_u16(answer.status().as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
                let body = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                let said = message_of(&body).unwrap_or_else(|| body.into_owned());
                Err(refused_with(&shown, VARIABLES, status, &said))
            }
            Ok(Err(Error::Url(error))) => Err(unusable(error.to_string())),
            Ok(Err(error)) => Err(Refusal::Passing(format!("{shown} cannot be reached: {error}"))),
            Err(_) => {
                Err(Refusal::Passing(format!("{shown} did not answer within {} s", CONNECT_MAX.as_secs())))
            }
        }
    }

    pub async fn send(&mut self, message: &Value) -> Result<(), String> {
        let sent = self.sink.send(Message::text(message.to_string()));
        match tokio::time::timeout(SEND_MAX, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the provider takes no more messages".to_owned()),
        }
    }

    /// The next message, and how many bytes it has; why there is none.
    pub async fn hear(&mut self) -> Result<(Value, usize), String> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    let read = serde_json::from_str(&text);
                    return read
                        .map(|event| (event, text.len()))
                        .map_err(|_| "the provider sent what is no JSON".into());
                }
                Some(Ok(Message::Binary(_))) => return Err("the provider sent what is no text".to_owned()),
                Some(Ok(Message::Close(frame))) => {
                    let reason =
                        frame.map(|frame| frame.reason.to_string()).filter(|reason| !reason.is_empty());
                    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
                    return Err(format!("the provider closed the connection{reason}"));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(format!("the connection broke off: {error}")),
                None => return Err("the provider closed the connection".to_owned()),
            }
        }
    }

    pub async fn close(mut self) {
        // It may be gone.
        let _ = tokio::time::timeout(CLOSE_MAX, self.sink.close()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_sockets() {
        assert_eq!(
            address("https://h/openai/v1/", "gpt-realtime"),
            "wss://h/openai/v1/realtime?model=gpt-realtime"
        );
        assert_eq!(address("http://h:1/v1", "a b&c"), "ws://h:1/v1/realtime?model=a+b%26c");
    }

    #[tokio::test]
    async fn what_cannot_be_dialled_is_final_and_what_is_not_there_may_pass() {
        let config = |base: &str, key: &str| EndpointConfig {
            base_url: base.to_owned(),
            api_key: key.to_owned(),
            ..EndpointConfig::default()
        };
        let dial = |config| async move { Line::dial(&config, "m").await.err().expect("nobody is there") };
        let refused = dial(config("no address", "k")).await;
        assert!(matches!(&refused, Refusal::Final(why) if why.contains("cannot be called")), "{refused:?}");
        let refused = dial(config("http://127.0.0.1:1/v1", "bad\nkey")).await;
        assert!(matches!(&refused, Refusal::Final(why) if why.contains("OPENAI_API_KEY")), "{refused:?}");
        let refused = dial(config("http://127.0.0.1:1/v1", "s3cret")).await;
        assert!(matches!(&refused, Refusal::Passing(why) if !why.contains("s3cret")), "{refused:?}");
    }
}

//! WebSockets to checked addresses.

use super::guard::{CONNECT_WAIT, Target};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

/// Largest message taken, bytes.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A socket that was dialled.
pub type Upstream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Connects to one of the target's addresses and shakes hands; the error says why not, naming no part of the request.
pub async fn dial(target: &Target, request: Request) -> Result<(Upstream, Response), String> {
    let connected = tokio::time::timeout(CONNECT_WAIT, TcpStream::connect(target.addresses.as_slice())).await;
    let stream = connected
        .map_err(|_| "it did not take the connection in time".to_owned())?
        .map_err(|error| error.to_string())?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let shaken = client_async_tls_with_config(request, stream, Some(config), None);
    match tokio::time::timeout(CONNECT_WAIT, shaken).await {
        Ok(done) => done.map_err(|error| match error {
            tokio_tungstenite::tungstenite::Error::Http(answer) => {
                format!("it answered the upgrade with HTTP {}", answer.status().as_u16())
            }
            other => other.to_string(),
        }),
        Err(_) => Err("it did not answer the upgrade in time".to_owned()),
    }
}

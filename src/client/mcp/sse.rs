//! The older way of the protocol over HTTP: events of the server come by one long answer to a GET, messages to it go by
//! POST to the address that its first event names. Both sides, as a pair of line streams.

use super::lines::LINE_BYTES_MAX;
use super::offer::{Access, Offer, guarded, over_streams};
use crate::clock::{IdSource, System};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

/// Bytes that wait in either direction.
const PIPE_BYTES: usize = 64 * 1024;
/// How long the server may take to name the address for messages, and to take one.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// Clients at once.
const CLIENTS_MAX: usize = 64;
/// Messages that wait for a client's tools.
const MESSAGES_MAX: usize = 64;
/// Where messages go, below the path of events.
const MESSAGES: &str = "messages";

/// An event: its name and its data.
#[derive(Debug, PartialEq, Eq)]
struct Event {
    name: String,
    data: String,
}

/// Cuts a stream of bytes into events.
#[derive(Default)]
struct Events {
    buffer: Vec<u8>,
    name: String,
    data: String,
}

impl Events {
    fn next(&mut self) -> Result<Option<Event>, String> {
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
                if !data.is_empty() {
                    return Ok(Some(Event { name, data }));
                }
            } else if let Some(name) = line.strip_prefix("event:") {
                name.trim().clone_into(&mut self.name);
            } else if let Some(data) = line.strip_prefix("data:") {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            }
        }
        if self.buffer.len() + self.data.len() > LINE_BYTES_MAX {
            return Err(format!("an event has more than {LINE_BYTES_MAX} bytes"));
        }
        Ok(None)
    }
}

/// Connects; what comes out of the pair is what the server says, what goes in is sent to it.
///
/// Error, without the address, which may hold a secret: the server is not there, or names no address for messages, or
/// one of another host.
pub(super) async fn connect(http: reqwest::Client, url: Url) -> Result<DuplexStream, String> {
    let broken = |error: reqwest::Error| error.without_url().to_string();
    let request = http.get(url.clone()).header(header::ACCEPT, "text/event-stream").send();
    let answer =
        tokio::time::timeout(ANSWER_WAIT, request).await.map_err(|_| "it did not answer".to_owned())?;
    let answer = answer.map_err(broken)?.error_for_status().map_err(broken)?;
    let mut source = answer.bytes_stream();
    let mut events = Events::default();
    let first = tokio::time::timeout(ANSWER_WAIT, next(&mut source, &mut events)).await;
    let first = first.map_err(|_| "it named no address for messages".to_owned())??;
    let to = first.filter(|event| event.name == "endpoint").ok_or("it named no address for messages")?;
    let to = url.join(to.data.trim()).map_err(|_| "the address for messages is no URL".to_owned())?;
    if to.origin() != url.origin() {
        return Err("the address for messages is of another host".to_owned());
    }
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let (said, asked) = tokio::io::split(far);
    tokio::spawn(async move {
        tokio::select! {
            () = hear(source, events, asked) => {}
            () = tell(http, to, said) => {}
        }
    });
    Ok(near)
}

type Read = Result<Bytes, reqwest::Error>;

async fn next(
    source: &mut (impl Stream<Item = Read> + Unpin),
    events: &mut Events,
) -> Result<Option<Event>, String> {
    loop {
        if let Some(event) = events.next()? {
            return Ok(Some(event));
        }
        match source.next().await {
            Some(Ok(bytes)) => events.buffer.extend_from_slice(&bytes),
            Some(Err(error)) => return Err(error.without_url().to_string()),
            None => return Ok(None),
        }
    }
}

async fn hear(
    mut source: impl Stream<Item = Read> + Unpin,
    mut events: Events,
    mut to: impl tokio::io::AsyncWrite + Unpin,
) {
    loop {
        match next(&mut source, &mut events).await {
            Ok(Some(event)) if matches!(event.name.as_str(), "" | "message") => {
                let line = format!("{}\n", event.data.replace('\n', " "));
                if to.write_all(line.as_bytes()).await.is_err() {
                    return;
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(error) => {
                tracing::info!(error, "the events of an MCP server broke off");
                return;
            }
        }
    }
}

async fn tell(http: reqwest::Client, to: Url, from: impl tokio::io::AsyncRead + Unpin) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let request = http.post(to.clone()).header(header::CONTENT_TYPE, "application/json").body(line);
        let sent = request.timeout(ANSWER_WAIT).send().await.and_then(reqwest::Response::error_for_status);
        if let Err(error) = sent {
            tracing::info!(error = %error.without_url(), "an MCP server took no message");
            return;
        }
    }
}

struct Served {
    offer: Arc<dyn Offer>,
    path: String,
    /// Where the messages of each client go.
    clients: Mutex<HashMap<Uuid, mpsc::Sender<Bytes>>>,
    stop: CancellationToken,
}

impl Served {
    fn clients(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, mpsc::Sender<Bytes>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A router that serves clients at `path` until `stop`.
pub fn router(offer: Arc<dyn Offer>, path: &str, access: Access, stop: CancellationToken) -> Router {
    let path = path.trim_end_matches('/').to_owned();
    let messages = format!("{path}/{MESSAGES}");
    let events = if path.is_empty() { "/".to_owned() } else { path.clone() };
    let served = Arc::new(Served { offer, path, clients: Mutex::default(), stop });
    let routes = Router::new().route(&events, get(listen)).route(&messages, post(take)).with_state(served);
    guarded(routes.layer(DefaultBodyLimit::max(LINE_BYTES_MAX)), access)
}

/// Forgets a client that is gone.
struct Client(Arc<Served>, Uuid);

impl Drop for Client {
    fn drop(&mut self) {
        self.0.clients().remove(&self.1);
    }
}

async fn listen(State(served): State<Arc<Served>>) -> Response {
    let id = System.fresh();
    let (messages, mut inbox) = mpsc::channel::<Bytes>(MESSAGES_MAX);
    {
        let mut clients = served.clients();
        if clients.len() >= CLIENTS_MAX {
            return (StatusCode::SERVICE_UNAVAILABLE, "too many clients; try again later\n").into_response();
        }
        clients.insert(id, messages);
    }
    let client = Client(Arc::clone(&served), id);
    let (own, theirs) = tokio::io::duplex(PIPE_BYTES);
    let (read, write) = tokio::io::split(theirs);
    tokio::spawn(over_streams(Arc::clone(&served.offer), read, write));
    let (said, mut asked) = tokio::io::split(own);
    tokio::spawn(async move {
        while let Some(message) = inbox.recv().await {
            // Newlines are between messages here.
            let line: Vec<u8> =
                message.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
            if asked.write_all(&line).await.is_err() || asked.write_all(b"\n").await.is_err() {
                return;
            }
        }
    });
    let first = format!("event: endpoint\ndata: {}/{MESSAGES}?session_id={id}\n\n", served.path);
    let rest =
        futures_util::stream::unfold((BufReader::new(said).lines(), client), |(mut lines, client)| async {
            let line = tokio::select! {
                line = lines.next_line() => line.ok().flatten()?,
                () = client.0.stop.cancelled() => return None,
            };
            Some((format!("event: message\ndata: {line}\n\n"), (lines, client)))
        });
    let events = futures_util::stream::once(std::future::ready(first)).chain(rest);
    let body = Body::from_stream(events.map(Ok::<_, std::convert::Infallible>));
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}

#[derive(Deserialize)]
struct Which {
    session_id: Uuid,
}

async fn take(State(served): State<Arc<Served>>, Query(which): Query<Which>, message: Bytes) -> Response {
    let Some(client) = served.clients().get(&which.session_id).cloned() else {
        return (StatusCode::NOT_FOUND, "there is no such session; connect again\n").into_response();
    };
    match client.send(message).await {
        Ok(()) => (StatusCode::ACCEPTED, "Accepted").into_response(),
        Err(_) => (StatusCode::GONE, "the session has ended\n").into_response(),
    }
}

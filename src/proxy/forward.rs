//! A request to a service's port, byte by byte both ways, with bounds on sizes and silence.

use super::headers;
use super::passage::Stream;
use super::places::Place;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header};
use futures_util::{Stream as Parts, StreamExt as _};
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Most bytes of a body, either way.
pub const BODY_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// How long a service may take to begin its answer.
const ANSWER_WAIT: Duration = Duration::from_mins(5);
/// Longest silence within a body, or of both sides of a socket.
const SILENCE_MAX: Duration = Duration::from_mins(10);
/// Longest head of an answer, bytes, and most headers in it.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 128;
/// Block copied on a socket, bytes.
const BLOCK_BYTES: usize = 16 * 1024;

/// What goes to a service.
pub struct Outgoing {
    pub stream: Box<dyn Stream>,
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// As [`headers::onward`] made them, with the host.
    pub headers: HeaderMap,
    pub body: Body,
    /// The client's connection, where it asks for a socket.
    pub upgrade: Option<OnUpgrade>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error("the service did not answer: {0}")]
    Broken(String),
    #[error("the service did not begin to answer in time")]
    TooLate,
    #[error("a body has at most {BODY_BYTES_MAX} bytes")]
    TooLarge,
}

/// Sends a request and answers with what comes back; the place is held until that is over.
pub async fn pass(
    outgoing: Outgoing,
    place: Place,
    stop: CancellationToken,
) -> Result<Response<Body>, Failed> {
    let Outgoing { stream, method, target, mut headers, body, upgrade } = outgoing;
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > BODY_BYTES_MAX) {
        return Err(Failed::TooLarge);
    }
    let broken = |error: hyper::Error| Failed::Broken(error.to_string());
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to a service ended");
        }
    });
    if upgrade.is_some() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    let (beat, beats) = watch::channel(());
    let body = if upgrade.is_some() || body.is_end_stream() {
        drop(beat);
        Body::empty()
    } else {
        if length.is_none() {
            // Else a body of a GET would not be sent.
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        Body::from_stream(bounded(body.into_data_stream(), beat, |beat| beat.send_replace(())))
    };
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.version_mut() = Version::HTTP_11;
    *request.uri_mut() = target.parse().map_err(|_| Failed::Broken("its address is none".to_owned()))?;
    *request.headers_mut() = headers;
    let answer =
        in_time(sender.send_request(request), beats).await.ok_or(Failed::TooLate)?.map_err(broken)?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return switched(answer, upgrade, place, stop);
    }
    let (parts, incoming) = answer.into_parts();
    let body = Body::new(incoming).into_data_stream();
    let mut response = Response::new(Body::from_stream(bounded(body, place, |_| ())));
    *response.status_mut() = parts.status;
    *response.headers_mut() = headers::back(&parts.headers);
    Ok(response)
}

/// What is answered, unless it takes too long; `None` then. The time runs when the request's body has ended; before, nothing
/// may move for [`SILENCE_MAX`].
async fn in_time<T>(answer: impl Future<Output = T>, mut body: watch::Receiver<()>) -> Option<T> {
    let late = async {
        loop {
            match timeout(SILENCE_MAX, body.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_ended)) => return tokio::time::sleep(ANSWER_WAIT).await,
                Err(_silent) => return,
            }
        }
    };
    tokio::select! {
        biased;
        answer = answer => Some(answer),
        () = late => None,
    }
}

fn switched(
    mut answer: hyper::Response<hyper::body::Incoming>,
    upgrade: Option<OnUpgrade>,
    place: Place,
    stop: CancellationToken,
) -> Result<Response<Body>, Failed> {
    let client =
        upgrade.ok_or_else(|| Failed::Broken("it switches protocols without being asked".to_owned()))?;
    let service = hyper::upgrade::on(&mut answer);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let map = response.headers_mut();
    *map = headers::back(answer.headers());
    map.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    map.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    tokio::spawn(async move {
        let both = async {
            if let (Ok(client), Ok(service)) = (client.await, service.await) {
                relay(TokioIo::new(client), TokioIo::new(service)).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = both => {}
        }
        drop(place);
    });
    Ok(response)
}

/// Copies bytes both ways until both sides are done, or both are silent for too long.
pub(super) async fn relay(client: impl AsyncRead + AsyncWrite, service: impl AsyncRead + AsyncWrite) {
    let (from_client, to_client) = tokio::io::split(client);
    let (from_service, to_service) = tokio::io::split(service);
    let (beat, mut beats) = watch::channel(());
    let both = async {
        tokio::join!(copy(from_client, to_service, &beat), copy(from_service, to_client, &beat));
    };
    let silence = async { while timeout(SILENCE_MAX, beats.changed()).await.is_ok() {} };
    tokio::select! { () = both => {}, () = silence => {} }
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, beat: &watch::Sender<()>) {
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let read = match from.read(&mut block).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        beat.send_replace(());
        let Some(data) = block.get(..read) else { break };
        if to.write_all(data).await.is_err() || to.flush().await.is_err() {
            break;
        }
    }
    let _the_other_side_may_be_gone = to.shutdown().await;
}

/// The parts as they come; an error beyond [`BODY_BYTES_MAX`] or after [`SILENCE_MAX`]. Something is held until it ends, and
/// touched with each part.
fn bounded<H: Send + 'static>(
    parts: impl Parts<Item = Result<Bytes, axum::Error>> + Send + Unpin + 'static,
    held: H,
    touch: fn(&H),
) -> impl Parts<Item = Result<Bytes, io::Error>> + Send + 'static {
    let start = (parts, 0_u64, held);
    futures_util::stream::unfold(Some(start), move |state| async move {
        let (mut parts, mut passed, held) = state?;
        let part = match timeout(SILENCE_MAX, parts.next()).await {
            Ok(None) => return None,
            Ok(Some(Ok(part))) => part,
            Ok(Some(Err(error))) => return Some((Err(io::Error::other(error)), None)),
            Err(_) => return Some((Err(io::Error::from(io::ErrorKind::TimedOut)), None)),
        };
        touch(&held);
        passed = passed.saturating_add(part.len() as u64);
        if passed > BODY_BYTES_MAX {
            return Some((Err(io::Error::other(Failed::TooLarge)), None));
        }
        Some((Ok(part), Some((parts, passed, held))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Instant, advance};

    const MINUTE: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn a_service_has_its_time_when_the_body_has_ended() {
        let (beat, beats) = watch::channel(());
        let answer = tokio::spawn(in_time(std::future::pending::<()>(), beats));
        for _ in 0..3 {
            // The answer's own clock begins before it moves.
            tokio::task::yield_now().await;
            advance(SILENCE_MAX - MINUTE).await;
            beat.send_replace(());
            tokio::task::yield_now().await;
        }
        assert!(!answer.is_finished(), "a slow body is no slow service");
        drop(beat);
        let ended = Instant::now();
        assert_eq!((answer.await.unwrap(), ended.elapsed()), (None, ANSWER_WAIT));
        let (_beat, beats) = watch::channel(());
        let begin = Instant::now();
        assert_eq!(in_time(std::future::pending::<()>(), beats).await, None);
        assert_eq!(begin.elapsed(), SILENCE_MAX, "a service that reads nothing is not waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_is_silent_for_ten_minutes_and_no_longer() {
        let (mut client, near) = tokio::io::duplex(64);
        let (far, mut service) = tokio::io::duplex(64);
        let relayed = tokio::spawn(relay(near, far));
        let mut got = [0; 2];
        for _ in 0..3 {
            advance(SILENCE_MAX - MINUTE).await;
            client.write_all(b"hi").await.unwrap();
            service.read_exact(&mut got).await.unwrap();
        }
        let silent = Instant::now();
        relayed.await.unwrap();
        assert_eq!((got, silent.elapsed()), (*b"hi", SILENCE_MAX));
    }
}

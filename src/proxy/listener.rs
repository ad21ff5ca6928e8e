//! Listens, and holds down how many connections there are and how long their heads may be.

use super::reader::Reader;
use super::{Shared, serve};
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Connections at once; more wait to be accepted.
pub const CONNECTIONS_MAX: usize = 8_192;
/// Read of a head before it is looked at, bytes, so that none is longer than twice that; and most headers in it.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;
/// How long a head may take to arrive; also how long a connection may rest between two requests.
const HEAD_WAIT: Duration = Duration::from_secs(30);
/// How long a client may take nothing of what is sent to it.
const TAKE_WAIT: Duration = Duration::from_mins(2);
/// How long open requests may take to finish when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(3);
/// Pause after a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(200);

/// Why the listener does not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for routes on {addr}: {source}; stop what uses it, or choose another with `--proxy`")]
pub struct ProxyError {
    pub addr: SocketAddr,
    pub source: io::Error,
}

/// A listener that runs until it is told to stop.
#[derive(Debug)]
pub struct Listening {
    pub address: SocketAddr,
    pub task: JoinHandle<()>,
}

/// Starts to listen.
pub(super) async fn listen(addr: SocketAddr, shared: Arc<Shared>) -> Result<Listening, ProxyError> {
    let failed = |source| ProxyError { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let stop = shared.stop.clone();
    let task = tokio::spawn(run(listener, shared, stop));
    Ok(Listening { address, task })
}

async fn run(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let is_full = connections.len() >= CONNECTIONS_MAX;
        tokio::select! {
            () = stop.cancelled() => break,
            _ = connections.join_next(), if is_full => {}
            accepted = listener.accept(), if !is_full => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(stream, peer, Arc::clone(&shared), stop.clone()));
                }
                Err(error) => {
                    // Running out of files passes when connections end.
                    tracing::warn!(%error, "a connection for a route could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_GRACE, ended).await.is_err() {
        tracing::debug!("some requests for routes did not finish in time and were cut off");
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>, stop: CancellationToken) {
    let _as_it_is = stream.set_nodelay(true);
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(serve::answer(&shared, peer.ip(), request.map(Body::new)).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_WAIT);
    builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    let served =
        builder.serve_connection(TokioIo::new(Reader::new(stream, TAKE_WAIT)), service).with_upgrades();
    tokio::pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection for a route ended");
    }
}

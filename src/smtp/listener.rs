//! Listens, and holds the number of connections down.

use super::connection::{Shared, serve};
use super::desk::Desk;
use crate::clock::{Clock, IdSource};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Connections of one listener at once.
const CONNECTIONS_MAX: usize = 256;
/// Connections of one address at once; a relay before the server comes from one address too.
const CONNECTIONS_PER_PEER_MAX: usize = 64;
/// Large messages that are read at once.
pub(crate) const LARGE_AT_ONCE: usize = 16;
const BUSY: &[u8] = b"421 4.3.2 too many connections; try again later\r\n";

/// Why a listener does not start.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen for mail on {addr}: {source}; stop what uses it, or choose another address with `--{flag}`"
)]
pub struct SmtpError {
    pub flag: &'static str,
    pub addr: SocketAddr,
    pub source: io::Error,
}

/// A listener that runs until it is told to stop.
#[derive(Debug)]
pub struct Listening {
    pub address: SocketAddr,
    pub task: JoinHandle<()>,
}

/// What a listener is made of.
pub(crate) struct Parts {
    pub flag: &'static str,
    pub addr: SocketAddr,
    pub desk: Arc<dyn Desk>,
    pub tls: Option<TlsAcceptor>,
    pub large: Arc<Semaphore>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    pub stop: CancellationToken,
}

/// Starts to listen.
pub(crate) async fn listen(parts: Parts) -> Result<Listening, SmtpError> {
    let Parts { flag, addr, desk, tls, large, clock, ids, stop } = parts;
    let failed = |source| SmtpError { flag, addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let shared = Arc::new(Shared { desk, tls, large, clock, ids });
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        let peers = Arc::new(Peers::default());
        loop {
            let (stream, peer) = tokio::select! {
                () = stop.cancelled() => break,
                accepted = accept(&listener) => accepted,
            };
            while connections.try_join_next().is_some() {}
            let place = peers.place(peer.ip()).filter(|_| connections.len() < CONNECTIONS_MAX);
            let shared = Arc::clone(&shared);
            match place {
                Some(place) => {
                    connections.spawn(async move {
                        serve(Box::new(stream), peer.ip(), shared).await;
                        drop(place);
                    });
                }
                None => refuse(stream).await,
            }
        }
        // Clients that were cut off send their message again.
        connections.shutdown().await;
    });
    Ok(Listening { address, task })
}

/// The next connection. Running out of files passes when connections end.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "a mail connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn refuse(mut stream: TcpStream) {
    const WAIT: std::time::Duration = std::time::Duration::from_secs(1);
    let _nobody_may_listen = tokio::time::timeout(WAIT, stream.write_all(BUSY)).await;
}

/// How many connections each address has.
#[derive(Default)]
struct Peers(Mutex<HashMap<IpAddr, usize>>);

/// One connection's place, given up when dropped.
struct Place {
    peers: Arc<Peers>,
    peer: IpAddr,
}

impl Peers {
    fn place(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(peer).or_default();
        if *count >= CONNECTIONS_PER_PEER_MAX {
            return None;
        }
        *count += 1;
        Some(Place { peers: Arc::clone(self), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

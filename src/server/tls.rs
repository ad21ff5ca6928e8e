//! TLS on the port of plain HTTP: a connection that begins with a handshake is spoken to in TLS, any other as ever. For
//! clients that send no credential otherwise, as `kubectl` does.
//!
//! The authority that signs is made of the server's secret, always the same: nothing is kept, servers on one database have
//! one authority, and whoever trusts it goes on to do so after a restart.

use crate::vault::Secret;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::Ed25519KeyPair;
use axum::serve::Listener;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519,
};
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Timeout;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs as provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

/// First byte of a TLS connection: a record of the handshake.
const HANDSHAKE: u8 = 0x16;
/// Longest handshake.
const GREETING_LIMIT: Duration = Duration::from_secs(10);
const AUTHORITY: &str = "meshagent server authority";

/// Why the server cannot speak TLS.
#[derive(Debug, thiserror::Error)]
#[error("the certificate of this server cannot be made: {0}; this is a defect, please report it")]
pub struct TlsError(String);

fn failed(error: impl std::fmt::Display) -> TlsError {
    TlsError(error.to_string())
}

/// What it takes.
#[derive(Clone)]
pub(super) struct Tls {
    acceptor: TlsAcceptor,
    /// The authority's certificate, PEM.
    pub authority: String,
}

impl Tls {
    /// With a certificate for these hosts, names or addresses.
    pub fn make(secret: &Secret, hosts: Vec<String>) -> Result<Self, TlsError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, AUTHORITY);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let (key, _) = key(secret, "tls/authority")?;
        let authority = params.self_signed(&key).map_err(failed)?.pem();
        let issuer = Issuer::new(params, key);
        // One that cannot stand in a certificate, such as a name with odd letters, does without.
        let fits = |host: &String| CertificateParams::new(vec![host.clone()]).is_ok();
        let hosts: Vec<String> = hosts.into_iter().filter(fits).collect();
        let mut params = CertificateParams::new(hosts).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, "meshagent");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let (key, bytes) = self::key(secret, "tls/server")?;
        let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(bytes)),
            )
            .map_err(failed)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), authority })
    }
}

/// The key for a purpose, and as PKCS#8.
fn key(secret: &Secret, purpose: &str) -> Result<(KeyPair, Vec<u8>), TlsError> {
    let seed = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.expose()), purpose.as_bytes());
    let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).map_err(failed)?;
    let bytes = pair.to_pkcs8().map_err(failed)?.as_ref().to_vec();
    let der = PrivatePkcs8KeyDer::from(bytes.clone());
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ED25519).map_err(failed)?;
    Ok((pair, bytes))
}

/// A listener for both.
pub(super) struct Both {
    listener: TcpListener,
    tls: Tls,
}

impl Both {
    pub const fn new(listener: TcpListener, tls: Tls) -> Self {
        Self { listener, tls }
    }
}

impl Listener for Both {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its small delays");
        }
        (Connection(State::New(stream, self.tls.acceptor.clone())), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection of which the first byte says what it is.
pub(super) struct Connection(State);

enum State {
    New(TcpStream, TlsAcceptor),
    Plain(TcpStream),
    Greeting(Pin<Box<Timeout<Accept<TcpStream>>>>),
    Tls(Box<TlsStream<TcpStream>>),
    /// The handshake failed.
    Closed,
}

impl Connection {
    /// Until it is known what it is.
    fn poll_known(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.0 = match std::mem::replace(&mut self.0, State::Closed) {
                State::New(stream, acceptor) => {
                    let mut first = [0_u8];
                    match stream.poll_peek(cx, &mut ReadBuf::new(&mut first)) {
                        Poll::Pending => {
                            self.0 = State::New(stream, acceptor);
                            return Poll::Pending;
                        }
                        Poll::Ready(Ok(1)) if first[0] == HANDSHAKE => State::Greeting(Box::pin(
                            tokio::time::timeout(GREETING_LIMIT, acceptor.accept(stream)),
                        )),
                        Poll::Ready(Ok(_)) => State::Plain(stream),
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    }
                }
                State::Greeting(mut accept) => match accept.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.0 = State::Greeting(accept);
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(Ok(stream))) => State::Tls(Box::new(stream)),
                    Poll::Ready(Ok(Err(error))) => return Poll::Ready(Err(error)),
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                },
                State::Closed => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
                known => {
                    self.0 = known;
                    return Poll::Ready(Ok(()));
                }
            };
        }
    }

    /// Does something with what it is, once that is known.
    fn with<T>(
        &mut self,
        cx: &mut Context<'_>,
        plain: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
        tls: impl FnOnce(Pin<&mut TlsStream<TcpStream>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        ready!(self.poll_known(cx))?;
        match &mut self.0 {
            State::Plain(stream) => plain(Pin::new(stream), cx),
            State::Tls(stream) => tls(Pin::new(stream), cx),
            State::New(..) | State::Greeting(_) | State::Closed => {
                Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
            }
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_known(cx))?;
        match &mut self.0 {
            State::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            State::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            State::New(..) | State::Greeting(_) | State::Closed => {
                Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.with(cx, |stream, cx| stream.poll_write(cx, buf), |stream, cx| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(
            cx,
            |stream, cx| stream.poll_write_vectored(cx, bufs),
            |stream, cx| stream.poll_write_vectored(cx, bufs),
        )
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Tls(stream) => Pin::new(stream).poll_flush(cx),
            State::Plain(stream) => Pin::new(stream).poll_flush(cx),
            // Nothing was written.
            State::New(..) | State::Greeting(_) | State::Closed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            State::Plain(stream) | State::New(stream, _) => Pin::new(stream).poll_shutdown(cx),
            State::Greeting(_) | State::Closed => Poll::Ready(Ok(())),
        }
    }
}

/// What clients may call this server: this machine's own names, where it listens, and its public address.
pub(super) fn hosts(public_url: &str, listening: SocketAddr) -> Vec<String> {
    let mut all: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    if !listening.ip().is_unspecified() {
        all.push(listening.ip().to_string());
    }
    let public = url::Url::parse(public_url).ok();
    if let Some(host) = public.as_ref().and_then(url::Url::host_str) {
        all.push(host.trim_matches(['[', ']']).to_owned());
    }
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_is_the_same_for_the_same_secret() {
        let made = |text: &str, host: &str| {
            Tls::make(&Secret::new(text.as_bytes().to_vec()), vec![host.to_owned()]).unwrap().authority
        };
        let one = made("one secret of a server", "localhost");
        assert!(one.starts_with("-----BEGIN CERTIFICATE-----"), "{one}");
        assert_eq!(one, made("one secret of a server", "192.0.2.1"));
        assert_ne!(one, made("another secret of a server", "localhost"));
    }

    #[test]
    fn hosts_are_those_by_which_the_server_is_reached() {
        let all = hosts("http://[2001:db8::1]:8078", "127.0.0.1:1".parse().unwrap());
        assert_eq!(all, ["127.0.0.1", "2001:db8::1", "::1", "localhost"]);
        let all = hosts("https://mesh.example.com", "0.0.0.0:1".parse().unwrap());
        assert_eq!(all, ["127.0.0.1", "::1", "localhost", "mesh.example.com"]);
    }
}

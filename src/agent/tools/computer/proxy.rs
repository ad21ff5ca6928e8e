//! The browser's only way to the network: a proxy on this machine that lets it reach public addresses and the hosts that
//! were allowed by name. Every request passes it, whatever page or script makes it, and the address that was checked is
//! the one connected to.

use crate::net::guard::{self, Allowed, CONNECT_WAIT, Target};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

/// Connections at once; more wait.
const CONNECTIONS_MAX: usize = 256;
/// Largest head of a request, bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long a head may take.
const HEAD_MAX: Duration = Duration::from_secs(30);

/// A running proxy; it ends when dropped.
pub(super) struct Proxy {
    pub address: SocketAddr,
    serving: AbortHandle,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Proxy {
    pub async fn start(allowed: Allowed) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(serve(listener, Arc::new(allowed))).abort_handle();
        Ok(Self { address, serving })
    }
}

async fn serve(listener: TcpListener, allowed: Arc<Allowed>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Ends those it has begun when it ends.
    let mut open = tokio::task::JoinSet::new();
    while let Ok(place) = places.clone().acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else { return };
        let allowed = allowed.clone();
        open.spawn(async move {
            if let Err(error) = relay(stream, &allowed).await {
                tracing::debug!(%error, "a request of the browser ended");
            }
            drop(place);
        });
        while open.try_join_next().is_some() {}
    }
}

async fn relay(mut browser: TcpStream, allowed: &Allowed) -> std::io::Result<()> {
    let read = tokio::time::timeout(HEAD_MAX, head(&mut browser)).await;
    let Ok(Some((head, rest))) = read.map_err(std::io::Error::other)? else {
        return refuse(&mut browser, "400 Bad Request", "the request cannot be read").await;
    };
    let Some(asked) = Asked::parse(&head) else {
        return refuse(&mut browser, "400 Bad Request", "the request is none for a proxy").await;
    };
    let target = match guard::check(&asked.url, allowed).await {
        Ok(target) => target,
        Err(why) => return refuse(&mut browser, "403 Forbidden", &why.to_string()).await,
    };
    let Some(mut server) = connect(&target).await else {
        return refuse(&mut browser, "502 Bad Gateway", "the server cannot be reached").await;
    };
    match asked.forward {
        None => browser.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?,
        Some(head) => server.write_all(head.as_bytes()).await?,
    }
    server.write_all(&rest).await?;
    tokio::io::copy_bidirectional(&mut browser, &mut server).await.map(drop)
}

async fn connect(target: &Target) -> Option<TcpStream> {
    for address in &target.addresses {
        if let Ok(Ok(stream)) = tokio::time::timeout(CONNECT_WAIT, TcpStream::connect(address)).await {
            return Some(stream);
        }
    }
    None
}

/// The head of a request, and what came after it.
async fn head(from: &mut TcpStream) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok(String::from_utf8(bytes).ok().map(|head| (head, rest)));
        }
        if bytes.len() > HEAD_BYTES_MAX || from.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}

async fn refuse(to: &mut TcpStream, status: &str, why: &str) -> std::io::Result<()> {
    let length = why.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{why}"
    );
    to.write_all(answer.as_bytes()).await?;
    to.shutdown().await
}

/// What a request for a proxy asks for.
#[derive(Debug, PartialEq)]
struct Asked {
    /// Where to connect, as a URL.
    url: String,
    /// The head that the server gets; nothing for a tunnel.
    forward: Option<String>,
}

impl Asked {
    fn parse(head: &str) -> Option<Self> {
        let (first, headers) = head.split_once("\r\n")?;
        let mut words = first.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() || !version.starts_with("HTTP/1.") {
            return None;
        }
        if method == "CONNECT" {
            return Some(Self { url: format!("https://{target}/"), forward: None });
        }
        let url = url::Url::parse(target).ok().filter(|url| url.scheme() == "http")?;
        let mut path = url.path().to_owned();
        if let Some(query) = url.query() {
            path = format!("{path}?{query}");
        }
        // One request for each connection: the next one may be for another server, and is checked anew.
        let of_proxy = |line: &&str| {
            let name = line.split(':').next().unwrap_or_default();
            !name.eq_ignore_ascii_case("connection") && !name.to_ascii_lowercase().starts_with("proxy-")
        };
        let kept: String = headers
            .split("\r\n")
            .filter(|line| !line.is_empty())
            .filter(of_proxy)
            .fold(String::new(), |all, line| all + line + "\r\n");
        let forward = format!("{method} {path} HTTP/1.1\r\n{kept}Connection: close\r\n\r\n");
        Some(Self { url: target.to_owned(), forward: Some(forward) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_for_proxies_are_read() {
        let tunnel = Asked::parse("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n").unwrap();
        assert_eq!(tunnel, Asked { url: "https://example.com:443/".into(), forward: None });
        let get = "GET http://h.test:8080/a?b=c HTTP/1.1\r\nHost: h.test:8080\r\nProxy-Connection: keep-alive\r\n\
                   Connection: keep-alive\r\nCookie: x\r\n\r\n";
        let get = Asked::parse(get).unwrap();
        assert_eq!(get.url, "http://h.test:8080/a?b=c");
        assert_eq!(
            get.forward.unwrap(),
            "GET /a?b=c HTTP/1.1\r\nHost: h.test:8080\r\nCookie: x\r\nConnection: close\r\n\r\n"
        );
        for bad in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET ftp://h/ HTTP/1.1\r\n\r\n",
            "GET file:///etc/passwd HTTP/1.1\r\n\r\n",
            "GET http://h/ x HTTP/1.1\r\n\r\n",
            "nonsense\r\n\r\n",
            "",
        ] {
            assert_eq!(Asked::parse(bad), None, "{bad}");
        }
    }

    async fn ask(proxy: &Proxy, request: &str) -> String {
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn addresses_within_are_reached_only_where_that_was_allowed() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = server.accept().await.unwrap();
                head(&mut stream).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
            }
        });
        let closed = Proxy::start(Allowed::default()).await.unwrap();
        let get = format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n");
        for request in [
            get.clone(),
            format!("CONNECT {address} HTTP/1.1\r\n\r\n"),
            format!("GET http://localhost:{}/ HTTP/1.1\r\n\r\n", address.port()),
            "CONNECT 169.254.169.254:80 HTTP/1.1\r\n\r\n".to_owned(),
        ] {
            let answer = ask(&closed, &request).await;
            assert!(
                answer.starts_with("HTTP/1.1 403") && answer.contains("not a public address"),
                "{answer}"
            );
        }
        let open = Proxy::start(Allowed::new(["127.0.0.1".to_owned()])).await.unwrap();
        assert!(ask(&open, &get).await.ends_with("hello"));
        assert!(ask(&open, "GET / HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    }
}

//! One bounded HTTP request to a port of a service; only the status of the answer is of interest.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest wait for an answer.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read; its first line is enough.
pub const ANSWER_BYTES_MAX: usize = 512;

/// Sends `body` as JSON by POST, or nothing by GET. The error says what was wrong, for people.
pub async fn ask(at: SocketAddr, path: &str, body: Option<&str>) -> Result<(), String> {
    match tokio::time::timeout(ANSWER_LIMIT, exchange(at, path, body)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", ANSWER_LIMIT.as_secs())),
    }
}

async fn exchange(at: SocketAddr, path: &str, body: Option<&str>) -> Result<(), String> {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    if path.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("`{path}` is not a path; write one without spaces, such as `/healthz`"));
    }
    let failed = |error: std::io::Error| format!("{at} does not answer: {error}");
    let mut stream = TcpStream::connect(at).await.map_err(failed)?;
    let method = if body.is_some() { "POST" } else { "GET" };
    let content = body.map_or_else(String::new, |body| {
        format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
    });
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nAccept: */*\r\n{content}\r\n"
    );
    stream.write_all(head.as_bytes()).await.map_err(failed)?;
    stream.write_all(body.unwrap_or_default().as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::with_capacity(ANSWER_BYTES_MAX);
    let bound = u64::try_from(ANSWER_BYTES_MAX).unwrap_or(u64::MAX);
    let mut bounded = stream.take(bound);
    while !answer.contains(&b'\n') && bounded.read_buf(&mut answer).await.map_err(failed)? > 0 {}
    status(&answer)
}

/// Reads the status line: 2xx is well.
fn status(answer: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(answer);
    let line = text.lines().next().unwrap_or_default();
    let mut words = line.split(' ');
    match (words.next(), words.next().and_then(|code| code.parse::<u16>().ok())) {
        (Some(version), Some(code)) if version.starts_with("HTTP/1.") => {
            if (200..300).contains(&code) {
                Ok(())
            } else {
                Err(format!("answered {code}"))
            }
        }
        _ => Err("the answer is not HTTP".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_2xx_is_ready() {
        assert_eq!(status(b"HTTP/1.1 200 OK\r\n"), Ok(()));
        assert_eq!(status(b"HTTP/1.0 204\r\n"), Ok(()));
        assert_eq!(status(b"HTTP/1.1 503 Busy\r\n"), Err("answered 503".into()));
        for bad in [&b"SSH-2.0-x\r\n"[..], b"", b"HTTP/1.1 abc\r\n"] {
            assert_eq!(status(bad), Err("the answer is not HTTP".into()));
        }
    }
}

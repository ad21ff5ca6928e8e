//! NATS JetStream as a peer: publish, wait for the acknowledgement of the stream. Just enough of the text protocol.

use super::{Contestant, Writer};
use crate::bench::BenchError;
use crate::clock::{IdSource, System};
use async_trait::async_trait;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Longest line and longest message that is read.
const LINE_BYTES_MAX: u64 = 64 * 1024;
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// One JetStream server; how it syncs is its own setting, which the label names.
pub(super) struct JetStream {
    address: String,
    label: String,
    stream: String,
}

impl JetStream {
    /// `nats://host:port#label`. Makes a stream on disk for this run.
    pub(super) async fn connect(url: &str) -> Result<Self, BenchError> {
        let rest = url.trim_start_matches("nats://");
        let (address, label) = rest.split_once('#').unwrap_or((rest, "unlabelled"));
        let stream = format!("bench_{}", System.fresh().simple());
        let peer = Self { address: address.to_owned(), label: label.to_owned(), stream };
        peer.create().await.map_err(|reason| BenchError::Failed { name: peer.name(), reason })?;
        Ok(peer)
    }

    async fn create(&self) -> Result<(), String> {
        let mut connection = Connection::open(&self.address).await?;
        let stream = &self.stream;
        let config = format!(
            r#"{{"name":"{stream}","subjects":["{stream}.*"],"storage":"file","retention":"limits"}}"#
        );
        connection.request(&format!("$JS.API.STREAM.CREATE.{stream}"), &config).await.map(drop)
    }
}

#[async_trait]
impl Contestant for JetStream {
    fn name(&self) -> String {
        format!("jetstream ({})", self.label)
    }

    fn batch(&self) -> usize {
        1
    }

    async fn writer(&self) -> Result<Box<dyn Writer>, String> {
        let connection = Connection::open(&self.address).await?;
        Ok(Box::new(Publisher {
            connection,
            subject: format!("{}.{}", self.stream, System.fresh().simple()),
        }))
    }
}

struct Publisher {
    connection: Connection,
    subject: String,
}

#[async_trait]
impl Writer for Publisher {
    async fn append(&mut self, payload: &str, events: usize) -> Result<(), String> {
        for _ in 0..events {
            let answer = self.connection.request(&self.subject, payload).await?;
            if !answer.contains("\"seq\"") {
                return Err(format!("no acknowledgement: {answer}"));
            }
        }
        Ok(())
    }
}

struct Connection {
    stream: BufReader<TcpStream>,
    inbox: String,
}

impl Connection {
    async fn open(address: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await.map_err(|e| format!("{address}: {e}"))?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let mut connection =
            Self { stream: BufReader::new(stream), inbox: format!("_INBOX.{}", System.fresh().simple()) };
        let hello = format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB {} 1\r\nPING\r\n",
            connection.inbox
        );
        connection.send(hello.as_bytes()).await?;
        while connection.line().await? != "PONG" {}
        Ok(connection)
    }

    /// Publishes with our inbox as the address of the answer, and waits for it.
    async fn request(&mut self, subject: &str, payload: &str) -> Result<String, String> {
        let frame = format!("PUB {subject} {} {}\r\n{payload}\r\n", self.inbox, payload.len());
        self.send(frame.as_bytes()).await?;
        loop {
            let line = self.line().await?;
            if line == "PING" {
                self.send(b"PONG\r\n").await?;
            } else if line.starts_with("MSG ") {
                let answer = self.message(&line).await?;
                return if answer.contains("\"error\"") { Err(answer) } else { Ok(answer) };
            }
        }
    }

    async fn message(&mut self, line: &str) -> Result<String, String> {
        let length = line.rsplit(' ').next().and_then(|length| length.parse::<usize>().ok());
        let length =
            length.filter(|length| *length <= MESSAGE_BYTES_MAX).ok_or("a message without a length")?;
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes).await.map_err(|e| e.to_string())?;
        bytes.truncate(length);
        String::from_utf8(bytes).map_err(|e| e.to_string())
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.get_mut().write_all(bytes).await.map_err(|e| e.to_string())
    }

    async fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        let mut limited = (&mut self.stream).take(LINE_BYTES_MAX);
        let read = limited.read_line(&mut line).await.map_err(|e| e.to_string())?;
        match line.trim_end() {
            _ if read == 0 => Err("the server closed the connection".to_owned()),
            error if error.starts_with("-ERR") => Err(error.to_owned()),
            line => Ok(line.to_owned()),
        }
    }
}

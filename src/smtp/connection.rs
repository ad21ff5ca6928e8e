//! One connection: reads lines and messages, takes the steps that the session says, writes the answers.

use super::body::{Body, Flaw};
use super::desk::{Desk, Door};
use super::reply::Reply;
use super::session::{Session, Step};
use crate::clock::{Clock, IdSource};
use crate::mail::Trace;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Longest command of another server, bytes.
const LINE_BYTES_MAX: usize = 4 * 1024;
/// Longest command of a participant: a token in base64 is in it.
const LOGIN_LINE_BYTES_MAX: usize = 100 * 1024;
/// How long a client may take over a command, or over the next piece of a message (RFC 5321 §4.5.3.2).
const READ_WAIT: Duration = Duration::from_mins(5);
/// How long a client may take to read answers.
const WRITE_WAIT: Duration = Duration::from_mins(1);
const HANDSHAKE_WAIT: Duration = Duration::from_secs(30);
/// How long a whole message may take.
const MESSAGE_WAIT: Duration = Duration::from_mins(20);
/// Bytes of a message that are read, were it too large, before the connection is cut: its sender listens only at its end.
const READ_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The same, for larger limits, as how often the limit.
const READ_FACTOR: usize = 2;
/// A message beyond this many bytes needs one of the places for large ones.
pub(super) const LARGE_BYTES: usize = 1024 * 1024;
const BUFFER_BYTES: usize = 16 * 1024;

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What all connections of a listener share.
pub(super) struct Shared {
    pub desk: Arc<dyn Desk>,
    pub tls: Option<TlsAcceptor>,
    /// Places for large messages, of all listeners together.
    pub large: Arc<Semaphore>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
}

/// Why a conversation is over.
enum End {
    /// The client hung up, or the network did.
    Gone,
    /// The client says nothing, or does not listen.
    Slow,
    /// It was told to go, or said goodbye.
    Done,
    /// It sends what is no line.
    TooLong,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

struct Connection {
    stream: Box<dyn Stream>,
    shared: Arc<Shared>,
    session: Session,
    peer: IpAddr,
    input: Vec<u8>,
    output: Vec<u8>,
    line_max: usize,
}

/// Speaks with one client until the end.
pub(super) async fn serve(stream: Box<dyn Stream>, peer: IpAddr, shared: Arc<Shared>) {
    let mut offer = shared.desk.offer().clone();
    offer.plain_login |= peer.is_loopback();
    let line_max = if offer.door == Door::Submission { LOGIN_LINE_BYTES_MAX } else { LINE_BYTES_MAX };
    let session = Session::new(offer);
    let mut connection =
        Connection { stream, shared, session, peer, input: Vec::new(), output: Vec::new(), line_max };
    let last = match connection.talk().await {
        Err(End::Slow) => Reply::new(421, "4.4.2 nothing was said for too long, goodbye"),
        Err(End::TooLong) => Reply::new(500, "5.5.2 the line is too long, goodbye"),
        Ok(()) | Err(End::Gone | End::Done) => return connection.hang_up().await,
    };
    connection.output = last.bytes();
    let _a_client_that_is_gone_hears_nothing = connection.flush().await;
    connection.hang_up().await;
}

impl Connection {
    async fn talk(&mut self) -> Result<(), End> {
        self.say(&self.session.greeting());
        loop {
            let line = self.line().await?;
            let step = self.session.line(&line);
            self.act(step).await?;
        }
    }

    fn say(&mut self, reply: &Reply) {
        self.output.extend(reply.bytes());
    }

    async fn act(&mut self, mut step: Step) -> Result<(), End> {
        let desk = Arc::clone(&self.shared.desk);
        loop {
            step = match step {
                Step::Say(reply) => {
                    self.say(&reply);
                    return Ok(());
                }
                Step::Close(reply) => {
                    self.say(&reply);
                    self.flush().await?;
                    return Err(End::Done);
                }
                Step::StartTls(reply) => return self.start_tls(&reply).await,
                Step::Login(credentials) => self.session.logged_in(desk.login(credentials).await),
                Step::Sender(from) => {
                    let decided = desk.sender(self.session.login(), from.as_ref());
                    self.session.from_decided(from, decided)
                }
                Step::Recipient(to) => {
                    let decided = desk.recipient(self.session.login(), self.session.from(), &to);
                    self.session.to_decided(to, decided)
                }
                Step::Read(reply) => {
                    self.say(&reply);
                    let reply = timeout(MESSAGE_WAIT, self.message()).await.map_err(|_| End::Slow)??;
                    self.session.taken(reply)
                }
            };
        }
    }

    async fn start_tls(&mut self, reply: &Reply) -> Result<(), End> {
        // What came with the command was not encrypted, and may be somebody else's.
        if !self.input.is_empty() {
            self.say(&Reply::new(501, "5.5.1 nothing may follow STARTTLS before TLS has begun"));
            self.flush().await?;
            return Err(End::Done);
        }
        let Some(acceptor) = self.shared.tls.clone() else { return Err(End::Done) };
        self.say(reply);
        self.flush().await?;
        let plain = std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        let shaken = timeout(HANDSHAKE_WAIT, acceptor.accept(plain)).await.map_err(|_| End::Gone)?;
        self.stream = Box::new(shaken?);
        self.session.secured();
        Ok(())
    }

    /// The next line without its end. Answers are written before the client is waited for.
    async fn line(&mut self) -> Result<Vec<u8>, End> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.input[searched..].iter().position(|byte| *byte == b'\n') {
                if searched + at > self.line_max {
                    return Err(End::TooLong);
                }
                let mut line: Vec<u8> = self.input.drain(..=searched + at).collect();
                line.truncate(line.len() - if line.ends_with(b"\r\n") { 2 } else { 1 });
                return Ok(line);
            }
            searched = self.input.len();
            if searched > self.line_max {
                return Err(End::TooLong);
            }
            self.more().await?;
        }
    }

    /// Reads what there is, at least something.
    async fn more(&mut self) -> Result<(), End> {
        self.flush().await?;
        let mut buffer = [0; BUFFER_BYTES];
        let read = timeout(READ_WAIT, self.stream.read(&mut buffer)).await.map_err(|_| End::Slow)??;
        if read == 0 {
            return Err(End::Gone);
        }
        self.input.extend_from_slice(&buffer[..read]);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), End> {
        if self.output.is_empty() {
            return Ok(());
        }
        let written = async {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await
        };
        timeout(WRITE_WAIT, written).await.map_err(|_| End::Slow)??;
        self.output.clear();
        Ok(())
    }

    /// Reads a message and has it kept.
    async fn message(&mut self) -> Result<Reply, End> {
        let size_max = self.shared.desk.offer().size_max;
        let mut body = Body::new(size_max);
        let mut place: Option<OwnedSemaphorePermit> = None;
        let mut full = false;
        loop {
            let input = std::mem::take(&mut self.input);
            if let Some(used) = body.feed(&input) {
                self.input = input[used..].to_vec();
                break;
            }
            if body.seen() > size_max.saturating_mul(READ_FACTOR).max(READ_BYTES_MAX) {
                self.say(&too_large(size_max));
                self.flush().await?;
                return Err(End::Done);
            }
            if body.seen() > LARGE_BYTES && place.is_none() && !full {
                place = Arc::clone(&self.shared.large).try_acquire_owned().ok();
                full = place.is_none();
                if full {
                    body.discard();
                }
            }
            self.more().await?;
        }
        if full {
            return Ok(Reply::new(452, "4.3.1 too many large messages at once; try again later"));
        }
        let reply = match body.finish() {
            Err(Flaw::TooLarge) => too_large(size_max),
            Err(Flaw::BareLineEnd) => {
                Reply::new(550, "5.6.11 a line ends with a bare CR or LF; lines end with CRLF")
            }
            Err(Flaw::Zero) => Reply::new(550, "5.6.0 the message has a zero byte; encode it"),
            Ok(bytes) => self.shared.desk.take(self.session.envelope(), self.trace(), bytes).await,
        };
        drop(place);
        Ok(reply)
    }

    fn trace(&self) -> Trace {
        Trace {
            hello: self.session.hello().to_owned(),
            peer: Some(self.peer),
            host: self.shared.desk.offer().host.clone(),
            with: self.session.protocol(),
            id: self.shared.ids.fresh().simple().to_string(),
            at: self.shared.clock.now(),
        }
    }

    async fn hang_up(mut self) {
        let _a_client_may_be_gone = timeout(WRITE_WAIT, self.stream.shutdown()).await;
    }
}

fn too_large(size_max: usize) -> Reply {
    Reply::new(552, format!("5.3.4 at most {size_max} bytes are taken"))
}

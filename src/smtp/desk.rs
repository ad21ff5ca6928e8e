//! What a listener offers, and who decides what it takes.

use super::reply::Reply;
use crate::id::{MailboxId, ProjectId};
use crate::mail::{Address, Trace};
use crate::vault::Secret;
use async_trait::async_trait;

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Mail from other servers, for mailboxes here.
    Receiver,
    /// Mail of participants, to anywhere.
    Submission,
}

/// What a listener offers to a client.
#[derive(Clone, Debug)]
pub struct Offer {
    pub door: Door,
    /// Name of this server, in greetings and `Received:` lines.
    pub host: String,
    /// Longest message, bytes.
    pub size_max: usize,
    /// Whether there is a certificate for `STARTTLS`.
    pub starttls: bool,
    /// Whether a password may come over a connection that is not encrypted.
    pub plain_login: bool,
}

/// A name and a password as a client gave them.
#[derive(Debug)]
pub(crate) struct Credentials {
    pub user: String,
    pub password: Secret,
}

/// A participant who sends mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Submitter {
    pub project: ProjectId,
    pub name: String,
    /// The one room the token is for.
    pub room: Option<String>,
}

/// Where the mail for a recipient goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A mailbox of this server.
    Mailbox(MailboxId),
    /// Another mail server.
    Elsewhere,
}

/// Who a message is from and for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// `None`: `<>`, a report that must not be answered.
    pub from: Option<Address>,
    pub recipients: Vec<(Address, Destination)>,
    pub login: Option<Submitter>,
}

/// Decides what a listener takes, and keeps it. A refusal is the reply that the client gets.
#[async_trait]
pub(crate) trait Desk: Send + Sync + 'static {
    fn offer(&self) -> &Offer;

    async fn login(&self, credentials: Credentials) -> Result<Submitter, Reply>;

    fn sender(&self, login: Option<&Submitter>, from: Option<&Address>) -> Result<(), Reply>;

    fn recipient(
        &self,
        login: Option<&Submitter>,
        from: Option<&Address>,
        to: &Address,
    ) -> Result<Destination, Reply>;

    /// Keeps a message for good, or says why not. What an accepting reply says is on disk.
    async fn take(&self, envelope: Envelope, trace: Trace, message: Vec<u8>) -> Reply;
}

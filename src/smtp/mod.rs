//! Mail comes in and goes out here: the receiver that other mail servers speak to, the submission service that
//! agents send through, and the rules of who may write to which mailbox.
//!
//! An edge of its own: it uses the application and the ports, never rooms' sockets or REST. [`session`] and [`body`]
//! are the protocol, pure; [`connection`] acts on what they say; a [`desk::Desk`] decides and keeps.

mod body;
mod connection;
mod desk;
mod directory;
mod intake;
mod listener;
mod postman;
mod receiver;
mod reply;
mod session;
mod submission;
mod tls;
mod trust;

pub(crate) use desk::Desk;
pub use desk::{Door, Offer};
pub use directory::SENDERS;
pub use intake::Intake;
pub(crate) use listener::{LARGE_AT_ONCE, Parts, listen};
pub use listener::{Listening, SmtpError};
pub use postman::Postman;
pub use receiver::Receiver;
pub use submission::{Submission, SubmissionParts};
pub use tls::{TlsError, acceptor};
pub use trust::Gate;

#[cfg(test)]
mod tests;

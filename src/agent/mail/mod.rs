//! Mail as an agent reads and writes it (process agents §9): what a message says, whether it is answered, where it is
//! kept, the answer. Pure; [`send`] alone speaks to a server.

pub mod letter;
pub mod reply;
pub mod send;

pub use letter::{Attachment, Letter, Unreadable};
pub use send::{DEFAULT_HOST, DEFAULT_PORT, MailConfig, SendError, submit};

#[cfg(test)]
mod tests;

//! The pure core: one file per noun with its state, commands, events, rejections, `decide` and `evolve`.
//!
//! Synchronous, total functions. Nothing here may know of IO, time of day, randomness, SQL, HTTP or tokio:
//! times and fresh identifiers arrive inside commands, recorded times arrive beside events.

pub mod access;
pub mod account;
pub mod controller;
pub mod declared_key;
pub mod event;
pub mod feed;
pub mod feed_subscription;
pub mod git_source;
pub mod instance;
pub mod inventory;
pub mod llm_logger;
pub mod mailbox;
pub mod managed_agent;
pub mod member;
pub mod names;
pub mod object;
pub mod project;
pub mod project_member;
pub mod room;
pub mod route;
pub mod schedule;
pub mod scheduled_task;
pub mod secret;
pub mod service;
pub mod service_instance;
pub mod service_template;
pub mod session;
pub mod subscription;
pub mod template;
pub mod upcast;
pub mod webhook;

pub use event::{DecodeError, Event};

use chrono::{DateTime, Utc};

/// One noun of the control plane. `None` is "does not exist" (yet, or any more).
pub trait Entity: Sized {
    type Command;
    type Rejection: Rejection;

    /// What follows from a command, or why nothing does.
    fn decide(state: Option<&Self>, command: Self::Command) -> Result<Vec<Event>, Self::Rejection>;

    /// The state after an event that was recorded at `at`. Total: an event that does not fit changes nothing.
    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self>;
}

/// How a refusal is to be met; the edges map it to their own codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The object does not exist.
    NotFound,
    /// Something with that name or identity exists already.
    Exists,
    /// The command cannot be carried out in the present state.
    State,
    /// The command itself is wrong.
    Invalid,
}

/// A typed refusal: its text says what happened, to which object, and the next step.
pub trait Rejection: std::error::Error + Send + Sync + 'static {
    fn refusal(&self) -> Refusal;
    /// Stable code with a page in `docs/errors/`.
    fn code(&self) -> &'static str;
}

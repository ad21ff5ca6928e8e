//! A thread, as data: what arrives goes in, what is to be done and told comes out. No input or output, no task, no wait:
//! [`machine`] is the whole life of a thread (its line of turns, steering, approvals, the client's tools), [`record`]
//! what of it is stored, [`project`] what a model is shown of what was stored. [`super::process`] acts on it.

pub mod done;
mod foreign;
mod happening;
pub mod machine;
mod messages;
pub mod project;
pub mod record;
mod running;
mod status;
#[cfg(test)]
mod stories;
mod telling;
pub mod transcript;

pub use done::{DoneTurns, Earlier};
pub use machine::{By, Effect, Input, Prepared, Thread};

//! A thread, as data: what arrives goes in, what is to be done and told comes out. No input or output, no task, no wait:
//! [`machine`] is the whole life of a thread (its line of turns, steering, approvals, the client's tools), [`hearing`] what is said
//! to it aloud, [`speaking`] what it says aloud, [`record`]
//! what of it is stored, [`project`] what a model is shown of what was stored. [`super::process`] acts on it.

mod aloud;
pub mod done;
mod foreign;
mod happening;
mod hearing;
pub mod machine;
mod manner;
mod messages;
pub mod project;
pub mod record;
mod running;
mod speaking;
mod status;
#[cfg(test)]
mod stories;
mod telling;
pub mod transcript;

pub use done::{DoneTurns, Earlier};
pub use machine::{By, Effect, Input, Prepared, Thread};
pub use manner::Manner;

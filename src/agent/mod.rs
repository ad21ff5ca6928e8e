//! The runtime of a process-backed agent: work arrives through channels, becomes turns on threads, and a model with
//! tools does them. Uses the room client only; knows no command line, no server inside, no environment.
//!
//! The parts: [`channel`], [`job`] and [`path`] read what arrives; [`supervisor`] keeps one first-in-first-out line per thread;
//! [`turn`] is the pure state machine of one turn and [`runner`] acts on its effects; [`provider`] are the models, [`tools`]
//! what they may do; [`queue`] and [`toolkit`] are the channels; [`run`] puts them together.

pub mod channel;
pub mod config;
pub mod engine;
pub mod history;
pub mod job;
pub mod model;
pub mod path;
pub mod provider;
pub mod queue;
pub mod rules;
pub mod run;
pub mod runner;
pub mod supervisor;
pub mod toolkit;
pub mod tools;
pub mod turn;

pub use channel::AgentChannel;
pub use config::Config;
pub use run::{AgentError, run};

#[cfg(test)]
mod tests;

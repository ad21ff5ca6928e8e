//! The runtime of a process-backed agent: work arrives through channels, becomes turns on threads, and a model with
//! tools does them. Uses the room client only; knows no command line, no server inside, no environment.
//!
//! From the inside out: [`turn`] is the loop of model and tools and [`thread`] the life of a thread, both pure;
//! [`process`] acts for one thread, [`supervisor`] knows who talks to which, [`channel`] says what a channel is and
//! [`channels`] has one file for each, [`mail`] reads and writes letters; [`message`] is what is said between agents and clients, [`storage`] where threads
//! are kept, [`provider`] are the models, [`voice`] how some of them hear and speak, and [`tools`] what they may do,
//! [`backend`] programs that do turns instead; [`run`] puts them together.

pub mod backend;
mod board;
pub mod channel;
pub mod channel_spec;
pub mod channels;
pub mod config;
pub mod engine;
mod folder;
mod footprint;
pub mod history;
pub mod job;
mod listing;
pub mod mail;
pub mod message;
pub mod model;
pub mod naming;
pub mod pack;
pub mod path;
mod process;
pub mod provider;
pub mod rules;
pub mod run;
pub mod session;
mod skills;
pub mod storage;
mod supervisor;
pub mod thread;
pub mod tools;
pub mod turn;
pub mod voice;
mod writer;

pub use channel_spec::AgentChannel;
pub use config::Config;
pub use run::{AgentError, run, run_with};

#[cfg(test)]
mod tests;

//! Integration tests: the server as its users see it, and its parts where only the whole can show them. One binary,
//! one module per door.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod agent;
mod api;
mod blob;
mod cli;
mod cluster;
mod conformance;
mod control;
mod crash;
mod dataset;
mod deleted_room;
mod document;
mod elsewhere;
mod eventlog;
mod events;
mod feed;
mod gitops;
mod kubectl;
mod lease;
mod llm;
mod mail;
mod meanwhile;
mod operator;
mod plans;
mod pods;
mod proxy;
mod queue;
mod rendering;
mod replay;
mod roles;
mod room;
mod runtime;
mod spec;
mod support;
mod vault;

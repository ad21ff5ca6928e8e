//! `meshagent`: an open, self-hosted, event-sourced control plane and room server for agents.
//!
//! The modules below stand in the order of dependence: each may use only those above it.
//! `tests/architecture.rs` holds them to it; `ARCHITECTURE.md` is the map.

// words
pub mod clock;
pub mod error_code;
pub mod id;
pub mod name;
pub mod share;
pub mod wire;
pub mod yjs;
// documents
pub mod spec;
// domain
pub mod domain;
// databases
pub mod store;
// ports and their adapters
pub mod beneath;
pub mod child;
pub mod rendering;
pub mod volume;

pub mod eventlog;
pub mod net;
pub mod vault;

pub mod blob;
pub mod columnar;
pub mod containers;
pub mod dataset;
pub mod document;
pub mod feed;
pub mod lease;
pub mod llm;
pub mod mail;
pub mod memory;
pub mod queue;
pub mod runtime;
pub mod sqlite_db;
pub mod telemetry;

pub mod git;
// application
pub mod projection;

pub mod app;
pub mod crd;
// controllers
pub mod control;
// edges
pub mod api;
pub mod proxy;
pub mod room;
pub mod smtp;
// clients
pub mod client;

pub mod operator;

pub mod agent;
// measurements
pub mod bench;
// binary
pub mod server;

pub mod cli;

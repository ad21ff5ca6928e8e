//! The public MeshAgent clients, unchanged, against our server. The scripts are in `tests/conformance`.

mod agent_chat;
pub mod agents;
mod command_line;
mod containers;
mod installed;
mod llm;
mod managed;
mod memory;
mod methods;
mod roles;
mod room_client;
mod secrets;
mod services;
mod small_model;
mod sync;
mod tables;

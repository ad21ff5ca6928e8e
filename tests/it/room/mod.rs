//! The room edge over real sockets: a bare test client that speaks packets, against the edge with its ports in memory.

mod access;
mod bad_input;
mod call_out;
mod client;
mod containers;
mod dataset;
mod entry;
mod harness;
mod hosted;
mod lifetime;
mod limits;
mod matrix;
mod mcp;
mod memory;
mod messaging;
mod peer_stream;
mod queues;
mod small_toolkits;
mod smoke;
mod sqlite;
mod storage;
mod sync;
mod traces;

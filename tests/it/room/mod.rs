//! The room edge over real sockets: a bare test client that speaks packets, against the edge with its ports in memory.

mod client;
mod harness;
mod smoke;

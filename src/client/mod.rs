//! What talks to a server: the REST client and the room client. Knows the wire, not the server's inside,
//! so that everything it can do, any other client can do too.

pub mod mcp;
pub mod rest;
pub mod room;
pub mod token;
pub mod tunnel;

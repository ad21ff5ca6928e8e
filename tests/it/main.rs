//! Integration tests: the server as its users see it. One binary, one module per door.

mod conformance;
mod support;

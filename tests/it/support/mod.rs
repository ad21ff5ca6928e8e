//! What integration tests share: servers under test, programs beside them, and the public clients.

pub mod clients;
pub mod postgres;
#[allow(dead_code, reason = "used by the conformance tests, which come with `meshagent up`")]
pub mod script;
#[allow(dead_code, reason = "used by the conformance tests, which come with `meshagent up`")]
pub mod server;

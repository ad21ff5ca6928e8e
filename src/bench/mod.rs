//! Measurements beside peers, and the crash harness: the figures of `docs/performance.md` come from here.
//!
//! Knows the ports and clients and how to drive them. Nothing of the server may use it.

pub mod crash;
pub mod invoke;
pub mod timing;

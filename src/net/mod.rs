//! The way out: where this server may connect to for others, and how it calls webhooks.
//!
//! Every request made on behalf of a participant, a service or a secret goes through [`guard`]. Knows nothing of who
//! asks or why, and never logs what is sent.

pub mod guard;
pub mod python_json;
pub mod socket;
pub mod webhook;

//! The way out: where this server may connect to for others, how it calls webhooks and gets access tokens.
//!
//! Every request made on behalf of a participant, a service or a secret goes through [`guard`]. Knows nothing of who
//! asks or why, and never logs what is sent.

pub mod commit_status;
pub mod conditional;
pub mod file_answer;
pub mod guard;
pub mod hop;
pub mod metadata;
pub mod oauth;
pub mod python_json;
pub mod socket;
pub mod webhook;

//! The Kubernetes edge: definitions and objects made from documents, `deploy/`, and the operator against a real API server.

pub mod cluster;
mod deploy;
mod documents;
mod live;
mod rules;

pub use documents::root;

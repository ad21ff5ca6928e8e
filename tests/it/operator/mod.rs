//! The Kubernetes edge: definitions and objects made from documents, `deploy/`, and the operator against a real API server.

pub mod cluster;
mod deploy;
mod documents;
mod live;

pub use documents::root;

//! The Kubernetes edge: custom resources as one more source of documents. What stands in a cluster is applied to a server
//! like the files of a repository, and what the server says of it goes back into `.status`.
//!
//! Definitions and objects are made by `crd`, which is pure. `reconcile` brings one object and the server together, by way
//! of the port `mesh`; `drive` wakes it, `follow` hears what changes at the server, `lease` has one operator of several do
//! it. It knows the server by its REST interface only, and no other edge.

mod drive;
mod follow;
mod health;
mod lease;
mod mesh;
mod names;
mod reconcile;
mod status;
#[cfg(test)]
mod tests;

pub use drive::{OperatorError, Options, run};
pub use health::Health;
pub use mesh::{Changes, KeySource, Mesh, RestMesh};

//! The Kubernetes edge: custom resources as one more source of documents. What stands in a cluster is applied to a server
//! like the files of a repository, and what the server says of it goes back into `.status`.
//!
//! `names`, `structural`, `crd` and `convert` are pure: definitions and objects made from the kinds that can be applied, and
//! documents made from objects. `reconcile` brings one object and the server together, by way of the port `mesh`; `drive`
//! wakes it, `follow` hears what changes at the server, `lease` has one operator of several do it. It knows the server by
//! its REST interface only, and no other edge.

pub mod convert;
pub mod crd;
mod drive;
mod follow;
mod health;
mod lease;
mod mesh;
pub mod names;
mod reconcile;
mod status;
mod structural;
#[cfg(test)]
mod tests;

pub use drive::{OperatorError, Options, run};
pub use health::Health;
pub use mesh::{Changes, KeySource, Mesh, RestMesh};

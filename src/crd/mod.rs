//! The kinds that can be applied as custom resources of Kubernetes: definitions and objects made from documents, and
//! documents made from objects. Pure: it knows the table of kinds and their schemas, and no cluster, server or edge.

pub mod convert;
pub mod definition;
pub mod names;
mod structural;

//! One conformance suite for the port of datasets, and what is special to the engine in SQLite.

mod branches;
mod dialect;
mod ranked;
mod rig;
mod rows;
mod schemas;
mod search;
mod sql;
mod survival;
mod versions;

//! One conformance suite for the port of datasets, and what is special to the engine in SQLite.

mod branches;
mod ranked;
mod rig;
mod rows;
mod schemas;
mod sql;
mod survival;
mod versions;

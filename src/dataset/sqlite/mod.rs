//! Datasets in SQLite: a database per namespace, rows kept by version.
//!
//! A *line* is the history of a table on one branch. Its rows are in `r<line>(row INTEGER PRIMARY KEY, c<number> …)`,
//! rows it has removed in `g<line>(row, version)`. Row numbers rise with versions, so the rows of a version are those
//! up to its `last_row` that are not removed up to it: versions, time travel, branches and differences cost no copies.
//! A branch begins with a line per table that says at which version and row of its parent's line it left; it gets
//! tables of its own at its first write. A changed row is a removed one and a new one; nothing is changed in place.
//!
//! [`view::View::resolve`] finds the rows of a table at a version, [`view::View::select`] is them as SQL (columns by
//! their Arrow names, behind [`view::ROW`]), and [`view::View::create`] makes them a temporary view under an alias.
//! Values are kept as `columnar::cell` says. Bulk writes also keep copies by column (`segment`), for scans.
//!
//! Knows SQLite and Arrow; no sockets, sessions or grants.

mod alter;
mod catalog;
mod change;
mod database;
mod diff;
mod error;
mod fit;
mod guard;
mod history;
mod index;
mod merge;
mod optimize;
mod pool;
mod query;
mod rank;
mod rows;
mod scan;
mod segment;
mod stage;
mod statement;
mod store;
mod text;
mod translate;
pub mod view;
mod write;

pub use store::SqliteDatasets;

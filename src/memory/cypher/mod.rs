//! Queries over a memory: a documented subset of openCypher that only reads (`docs/memory.md`).
//!
//! ```text
//! lexer → parser (parse_expr, parse_pattern) → ast      pure text; errors carry line and column
//! run → matching, project, eval, functions → rows        over a Graph held in memory, metered
//! ```
//!
//! The grammar is our own: the one maintained Rust parser of openCypher is syntax only and has the whole language, of
//! which most would have to be refused again.
//!
//! Knows no datasets, sockets or grants, and does no IO.

mod ast;
mod error;
mod eval;
mod functions;
mod graph;
mod lexer;
mod matching;
mod meter;
mod operators;
mod parse_expr;
mod parse_pattern;
mod parser;
mod project;
mod run;
#[cfg(test)]
mod tests;
mod value;

pub use error::QueryError;
pub use graph::{Edge, Graph, GraphFull, Node};
pub use meter::Cancel;
pub use run::{Record, run};
pub use value::{Map, Value};

/// Longest statement, bytes.
pub const STATEMENT_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of parentheses, brackets and the like.
pub const DEPTH_MAX: usize = 32;
/// Deepest nesting of an expression, where each operator of a row such as `a + b + c` is a level.
pub const EXPRESSION_DEPTH_MAX: usize = 100;
/// Most nodes and relationships written in one pattern.
pub const PATTERN_PARTS_MAX: usize = 64;
/// Longest path of a variable-length relationship, hops.
pub const HOPS_MAX: u32 = 32;
/// Most steps of one evaluation: elements looked at, values made. Some seconds of work at the very most.
pub const STEPS_MAX: u64 = 20_000_000;
/// Most rows between two clauses.
pub const ROWS_MAX: usize = 500_000;
/// Most values within one list or map, nested ones counted.
pub const VALUES_MAX: usize = 100_000;
/// Longest text that an expression makes, bytes.
pub const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// Largest answer, bytes of its JSON, estimated.
pub const RESULT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most nodes of a graph.
pub const NODES_MAX: usize = 250_000;
/// Most relationships of a graph.
pub const EDGES_MAX: usize = 500_000;

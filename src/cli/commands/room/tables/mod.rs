//! What `room dataset` and `room sqlite` share: rows in from JSON and files, rows out as text and files, column
//! definitions.

mod columns;
mod input;
mod print;

pub use columns::columns;
pub use input::{FromFile, Rows, batch, json_argument, where_text};
pub use print::{SqlOutput, print_rows, schema_text, write_sql};

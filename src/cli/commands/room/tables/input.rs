//! Rows from JSON arguments and from files.

use crate::cli::args;
use crate::cli::error::CliError;
use crate::client::room::RoomError;
use crate::columnar::files::{FileError, Format, Reader};
use crate::columnar::typed::{self, Form};
use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes read from a file at once.
const BLOCK_BYTES: usize = 256 * 1024;

/// Rows as JSON: a list of objects.
#[derive(Debug, Clone, clap::Args)]
#[command(group = clap::ArgGroup::new("rows").required(true))]
pub struct Rows {
    /// Rows, a JSON list of objects
    #[arg(long, value_name = "JSON", group = "rows")]
    json: Option<String>,
    /// JSON file with a list of rows; `-` is stdin
    #[arg(short, long, value_name = "FILE", group = "rows")]
    file: Option<PathBuf>,
}

impl Rows {
    /// The rows as a batch: of these columns, else of inferred ones.
    pub fn batch(&self, schema: Option<&Schema>) -> Result<RecordBatch, CliError> {
        batch(&json_argument(self.json.as_deref(), self.file.as_deref())?.unwrap_or_default(), schema)
    }
}

/// A JSON value from an argument or a file.
pub fn json_argument(text: Option<&str>, file: Option<&Path>) -> Result<Option<Value>, CliError> {
    let text = match (text, file) {
        (Some(text), _) => text.to_owned(),
        (None, Some(file)) => args::read_text(file)?,
        (None, None) => return Ok(None),
    };
    args::json_value(&text).map(Some).map_err(CliError::user)
}

/// Rows as a batch.
pub fn batch(rows: &Value, schema: Option<&Schema>) -> Result<RecordBatch, CliError> {
    let wrong = |error: typed::TypedError| CliError::user(format!("the rows are wrong: {error}"));
    let Value::Array(rows) = rows else {
        return Err(CliError::user("want a JSON list of rows, such as [{\"id\": 1}]"));
    };
    let rows = typed::rows(rows, Form::Plain).map_err(wrong)?;
    let schema: SchemaRef = match schema {
        Some(schema) => Arc::new(schema.clone()),
        None => typed::infer(&rows).map_err(wrong)?,
    };
    typed::batch(&schema, rows).map_err(wrong)
}

/// A file that becomes a table, read block by block.
#[derive(Debug)]
pub struct FromFile {
    file: File,
    reader: Reader,
    name: String,
    ended: bool,
}

impl FromFile {
    /// `sheet` is one of an Excel file.
    pub fn open(path: &Path, format: &str, sheet: Option<&str>, batch_rows: usize) -> Result<Self, CliError> {
        let name = path.display().to_string();
        let format = Format::of(format, &name).map_err(|error| CliError::user(error.to_string()))?;
        let file =
            File::open(path).map_err(|error| CliError::user(format!("cannot read {name}: {error}")))?;
        let wrong = |error: FileError| CliError::user(format!("cannot read {name}: {error}"));
        if sheet.is_some() && format != Format::Excel {
            return Err(CliError::usage("--sheet goes with Excel files only"));
        }
        // Some are read where they are, without being pushed.
        let local = Reader::local(format, file.try_clone()?, sheet, batch_rows).map_err(wrong)?;
        let ended = local.is_some();
        let reader = match local {
            Some(reader) => reader,
            None => Reader::new(format, batch_rows, &std::env::temp_dir()).map_err(wrong)?,
        };
        Ok(Self { file, reader, name, ended })
    }

    fn more(&mut self) -> Result<Option<RecordBatch>, FileError> {
        loop {
            if let Some(batch) = self.reader.next()? {
                return Ok(Some(batch));
            }
            if self.ended {
                return Ok(None);
            }
            let mut block = Vec::with_capacity(BLOCK_BYTES);
            let read = (&mut self.file).take(BLOCK_BYTES as u64).read_to_end(&mut block);
            read.map_err(|error| FileError::Format(error.to_string()))?;
            if block.is_empty() {
                self.ended = true;
                self.reader.finish()?;
            } else {
                self.reader.push(&block)?;
            }
        }
    }
}

impl Iterator for FromFile {
    type Item = Result<RecordBatch, RoomError>;

    fn next(&mut self) -> Option<Self::Item> {
        let block = self.more().map_err(|error| RoomError::Failed {
            request: format!("reading {}", self.name),
            text: error.to_string(),
            code: None,
        });
        block.transpose()
    }
}

/// A condition: every column equals its value.
pub fn where_text(columns: &Map<String, Value>) -> Result<String, CliError> {
    let one = |(column, value): (&String, &Value)| {
        let name = format!("\"{}\"", column.replace('"', "\"\""));
        Ok(match value {
            Value::Null => format!("{name} IS NULL"),
            Value::Bool(flag) => format!("{name} = {}", if *flag { "TRUE" } else { "FALSE" }),
            Value::Number(number) => format!("{name} = {number}"),
            Value::String(text) => format!("{name} = '{}'", text.replace('\'', "''")),
            _ => {
                return Err(CliError::user(format!(
                    "the value for column `{column}` must be text, a number, a bool or null"
                ))
                .hint("write the condition with --where"));
            }
        })
    };
    Ok(columns.iter().map(one).collect::<Result<Vec<_>, CliError>>()?.join(" AND "))
}

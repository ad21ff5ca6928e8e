//! Tables as files: Arrow (stream or file format), Parquet, CSV, TSV, JSON (an array of objects) and JSON lines. Both
//! ways in blocks, so that a file of any size goes through bounded memory. Sheets of Excel are read, whole, of local files.
//!
//! Knows bytes, and the folder where a Parquet file that comes in pieces is put by; no other paths, no storage.

mod csv;
mod excel;
mod json;
mod parquet;
#[cfg(test)]
mod tests;

use super::ipc::{Framer, IpcError};
use super::typed::{self, Form, Row, TypedError};
use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, SchemaRef};
use serde_json::Value;
use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;

/// Rows of a block when nothing else is said; types are inferred from the first block.
pub const BATCH_ROWS: usize = 8_192;
/// Longest single row of a text file, bytes.
pub const ROW_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How a table is written as a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Arrow,
    Parquet,
    Csv,
    Tsv,
    Json,
    JsonLines,
    /// Only read, and only where it is ([`Reader::local`]).
    Excel,
}

/// Why a file is no table, or a table no file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{0}")]
    Format(String),
    #[error("row {row}: {reason}")]
    Row { row: u64, reason: String },
    #[error(transparent)]
    Value(#[from] TypedError),
    #[error(transparent)]
    Arrow(#[from] IpcError),
}

impl Format {
    /// The format of that name; `auto` goes by the ending of `path`.
    pub fn of(name: &str, path: &str) -> Result<Self, FileError> {
        let ending = path.rsplit('.').next().unwrap_or_default();
        let name = name.to_ascii_lowercase();
        let wanted = if name == "auto" { ending.to_ascii_lowercase() } else { name.clone() };
        Ok(match wanted.as_str() {
            "arrow" | "ipc" | "feather" | "arrows" => Self::Arrow,
            "csv" => Self::Csv,
            "tsv" => Self::Tsv,
            "json" => Self::Json,
            "jsonl" | "ndjson" => Self::JsonLines,
            "parquet" => Self::Parquet,
            "excel" | "xlsx" | "xlsm" => Self::Excel,
            _ if name == "auto" => {
                return Err(FileError::Format(format!(
                    "the format of `{path}` cannot be told from its ending; name it: parquet, arrow, csv, tsv, json, jsonl or excel"
                )));
            }
            _ => {
                return Err(FileError::Format(format!(
                    "there is no format `{name}`; there are: parquet, arrow, csv, tsv, json, jsonl, excel"
                )));
            }
        })
    }
}

enum Source {
    Arrow(Framer),
    Parquet(parquet::Source),
    Csv(csv::Reader),
    Json(json::Scanner),
}

/// Reads a file that comes in pieces.
pub struct Reader {
    source: Source,
    batch_rows: usize,
    rows: Vec<Row>,
    schema: Option<SchemaRef>,
    ready: VecDeque<RecordBatch>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Reader {
    /// A Parquet file is put by in `folder`, which is made where there is none. Errors: it cannot be.
    pub fn new(format: Format, batch_rows: usize, folder: &Path) -> Result<Self, FileError> {
        let source = match format {
            Format::Arrow => Source::Arrow(Framer::default()),
            Format::Parquet => Source::Parquet(parquet::Source::Coming(parquet::nameless(folder)?, 0)),
            Format::Csv => Source::Csv(csv::Reader::new(b',')),
            Format::Tsv => Source::Csv(csv::Reader::new(b'\t')),
            Format::Json | Format::JsonLines => Source::Json(json::Scanner::default()),
            Format::Excel => return Err(only_local()),
        };
        Ok(Self::of(source, batch_rows))
    }

    fn of(source: Source, batch_rows: usize) -> Self {
        Self { source, batch_rows: batch_rows.max(1), rows: vec![], schema: None, ready: VecDeque::new() }
    }

    /// Reads a file where it is; of other formats than Parquet and Excel `None`. Its blocks come without any
    /// [`push`](Self::push). `sheet` is one of an Excel file, the first without it.
    pub fn local(
        format: Format,
        file: File,
        sheet: Option<&str>,
        batch_rows: usize,
    ) -> Result<Option<Self>, FileError> {
        match format {
            Format::Parquet => {
                let whole = parquet::Whole::open(file, batch_rows.max(1))?;
                let schema = whole.schema.clone();
                let source = Source::Parquet(parquet::Source::Whole(Box::new(whole)));
                Ok(Some(Self { schema: Some(schema), ..Self::of(source, batch_rows) }))
            }
            Format::Excel => {
                let rows = excel::rows(file, sheet)?;
                let mut reader = Self::of(Source::Json(json::Scanner::default()), batch_rows);
                reader.schema = Some(typed::infer(&rows)?);
                reader.rows = rows;
                while !reader.rows.is_empty() {
                    let rest = reader.rows.split_off(reader.rows.len().min(reader.batch_rows));
                    let block = std::mem::replace(&mut reader.rows, rest);
                    reader.block(block)?;
                }
                Ok(Some(reader))
            }
            _ => Ok(None),
        }
    }

    /// Takes the next bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let rows = match &mut self.source {
            Source::Arrow(framer) => {
                self.ready.extend(framer.push(bytes)?);
                if self.schema.is_none() {
                    self.schema = framer.schema()?;
                }
                return Ok(());
            }
            Source::Parquet(source) => return source.push(bytes),
            Source::Csv(reader) => reader.push(bytes, self.batch_rows)?,
            Source::Json(scanner) => scanner.push(bytes)?,
        };
        self.rows.extend(rows);
        while self.rows.len() >= self.batch_rows {
            let rest = self.rows.split_off(self.batch_rows);
            let block = std::mem::replace(&mut self.rows, rest);
            self.block(block)?;
        }
        Ok(())
    }

    /// Says that no more bytes come.
    pub fn finish(&mut self) -> Result<(), FileError> {
        let rows = match &mut self.source {
            Source::Arrow(framer) => return Ok(framer.finish()?),
            Source::Parquet(source) => {
                self.schema = Some(source.finish(self.batch_rows)?);
                return Ok(());
            }
            Source::Csv(reader) => reader.finish()?,
            Source::Json(scanner) => {
                scanner.finish()?;
                vec![]
            }
        };
        self.rows.extend(rows);
        let rest = std::mem::take(&mut self.rows);
        if rest.is_empty() && self.schema.is_some() {
            return Ok(());
        }
        if let Source::Csv(reader) = &self.source {
            self.schema.get_or_insert(reader.schema());
        }
        self.block(rest)
    }

    /// The next block that is whole.
    #[allow(clippy::should_implement_trait, reason = "`None` is not the end: more may come")]
    pub fn next(&mut self) -> Result<Option<RecordBatch>, FileError> {
        match &mut self.source {
            Source::Parquet(source) => source.next(),
            _ => Ok(self.ready.pop_front()),
        }
    }

    /// The columns, once they are known.
    #[must_use]
    pub fn schema(&self) -> Option<SchemaRef> {
        self.schema.clone()
    }

    fn block(&mut self, rows: Vec<Row>) -> Result<(), FileError> {
        let schema = match (&self.schema, &self.source) {
            (Some(schema), _) => schema.clone(),
            (None, Source::Csv(reader)) => reader.schema(),
            (None, _) => typed::infer(&rows)?,
        };
        self.ready.push_back(typed::batch(&schema, rows)?);
        self.schema = Some(schema);
        Ok(())
    }
}

/// Writes a table in pieces.
pub struct Writer {
    format: Format,
    arrow: Option<StreamWriter<Vec<u8>>>,
    parquet: Option<parquet::Sink>,
    first: bool,
    head: Vec<u8>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("format", &self.format).finish_non_exhaustive()
    }
}

impl Writer {
    pub fn new(format: Format, schema: &SchemaRef) -> Result<Self, FileError> {
        let (mut arrow, mut parquet) = (None, None);
        let mut head = Vec::new();
        match format {
            Format::Arrow => arrow = Some(StreamWriter::try_new(Vec::new(), schema).map_err(encode)?),
            Format::Parquet => parquet = Some(parquet::Sink::new(schema)?),
            Format::Csv | Format::Tsv => {
                let names = schema.fields().iter().map(|field| Value::from(field.name().as_str()));
                csv::write(&mut head, names, format == Format::Tsv);
            }
            Format::Json => head.push(b'['),
            Format::JsonLines => {}
            Format::Excel => return Err(only_local()),
        }
        Ok(Self { format, arrow, parquet, first: true, head })
    }

    /// The bytes for these rows.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, FileError> {
        if let Some(writer) = &mut self.arrow {
            writer.write(batch).map_err(encode)?;
            return Ok(std::mem::take(writer.get_mut()));
        }
        if let Some(sink) = &mut self.parquet {
            return sink.write(batch);
        }
        let mut out = std::mem::take(&mut self.head);
        for object in typed::objects(batch, Form::Plain)? {
            let first = std::mem::replace(&mut self.first, false);
            match (self.format, object) {
                (Format::Csv | Format::Tsv, Value::Object(mut fields)) => {
                    let values = batch
                        .schema_ref()
                        .fields()
                        .iter()
                        .map(|f| fields.remove(f.name()).unwrap_or_default());
                    csv::write(&mut out, values, self.format == Format::Tsv);
                }
                (Format::Json, object) => {
                    out.extend_from_slice(if first { b"\n" } else { b",\n" });
                    out.extend_from_slice(object.to_string().as_bytes());
                }
                (_, object) => {
                    out.extend_from_slice(object.to_string().as_bytes());
                    out.push(b'\n');
                }
            }
        }
        Ok(out)
    }

    /// The bytes at the end of the file.
    pub fn finish(mut self) -> Result<Vec<u8>, FileError> {
        if let Some(writer) = self.arrow {
            return writer.into_inner().map_err(encode);
        }
        if let Some(sink) = self.parquet {
            return sink.finish();
        }
        if self.format == Format::Json {
            self.head.extend_from_slice(if self.first { b"]\n" } else { b"\n]\n" });
        }
        Ok(self.head)
    }
}

fn only_local() -> FileError {
    let text = "Excel files are only read, and only of this machine: import them with `meshagent room dataset import`, or convert to parquet, arrow, csv, tsv, json or jsonl";
    FileError::Format(text.to_owned())
}

fn io_failed(error: std::io::Error) -> FileError {
    FileError::Format(format!("the file cannot be put by on this machine: {error}"))
}

fn encode(error: ArrowError) -> FileError {
    FileError::Arrow(IpcError::Encode(error.to_string()))
}

//! Rows out: as a table, as JSON, as a file.

use crate::cli::error::CliError;
use crate::cli::output::{self, note};
use crate::client::room::RowStream;
use crate::columnar::files::{Format, Writer};
use crate::columnar::typed::{self, Form};
use arrow_array::{ArrayRef, RecordBatch, UInt64Array};
use arrow_schema::{DataType, Schema, SchemaRef};
use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

/// Most rows kept to align a table; more are for `--format json` or `csv`.
const TABLE_ROWS_MAX: usize = 100_000;

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum RowFormat {
    /// Aligned columns for people.
    #[default]
    Table,
    /// A list of objects.
    Json,
    Csv,
    Tsv,
    /// One object a line.
    Jsonl,
    /// An Arrow stream.
    Arrow,
    /// A Parquet file.
    Parquet,
}

/// Where and how the result of SQL goes.
#[derive(Debug, Clone, clap::Args)]
pub struct SqlOutput {
    /// Pretty-print JSON
    #[arg(long, overrides_with = "no_pretty")]
    pretty: bool,
    /// Print JSON on one line
    #[arg(long)]
    no_pretty: bool,
    /// How to print the rows
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: RowFormat,
    /// Write to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The rows of a batch for people: JSON values, plain.
pub fn objects(batch: &RecordBatch) -> Result<Vec<Value>, CliError> {
    typed::objects(batch, Form::Plain).map_err(|error| CliError::server(error.to_string()))
}

/// Prints rows as a JSON list, block by block.
pub async fn print_rows(mut rows: RowStream, pretty: bool) -> Result<(), CliError> {
    let mut first = true;
    output::data("[")?;
    while let Some(batch) = rows.next().await? {
        for object in objects(&batch)? {
            let start = match (std::mem::take(&mut first), pretty) {
                (true, true) => "\n",
                (true, false) => "",
                (false, true) => ",\n",
                (false, false) => ",",
            };
            output::data(&format!("{start}{}", json(&object, pretty)?))?;
        }
    }
    output::line(if pretty && !first { "\n]" } else { "]" })
}

fn json(object: &Value, pretty: bool) -> Result<String, CliError> {
    if !pretty {
        return Ok(object.to_string());
    }
    let text = serde_json::to_string_pretty(object)?;
    Ok(text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n"))
}

/// Prints the columns of a table, one a line.
#[must_use]
pub fn schema_text(schema: &Schema) -> String {
    let line = |field: &arrow_schema::FieldRef| {
        let null = if field.is_nullable() { "" } else { " not null" };
        format!("{}: {}{null}", field.name(), type_text(field))
    };
    schema.fields().iter().map(line).collect::<Vec<_>>().join("\n")
}

fn type_text(field: &arrow_schema::Field) -> String {
    if typed::is_json(field) {
        return "json".into();
    }
    if typed::is_uuid(field) {
        return "uuid".into();
    }
    match field.data_type() {
        DataType::Utf8 => "string".into(),
        DataType::LargeUtf8 => "large_string".into(),
        DataType::List(item) => format!("list<{}>", type_text(item)),
        DataType::FixedSizeList(item, size) => format!("vector<{}>[{size}]", type_text(item)),
        DataType::Timestamp(_, None) => "timestamp".into(),
        DataType::Timestamp(_, Some(zone)) => format!("timestamp[{zone}]"),
        DataType::Struct(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|f| format!("{}: {}", f.name(), type_text(f))).collect();
            format!("struct<{}>", fields.join(", "))
        }
        other => other.to_string().to_lowercase(),
    }
}

/// Writes the result of a statement: its rows, or the number of rows it changed.
pub async fn write_sql(
    output: &SqlOutput,
    schema: SchemaRef,
    rows: Option<RowStream>,
    affected: u64,
) -> Result<(), CliError> {
    let Some(rows) = rows else {
        let count: ArrayRef = Arc::new(UInt64Array::from(vec![affected]));
        let batch = RecordBatch::try_from_iter([("rows_affected", count)])
            .map_err(|error| CliError::server(error.to_string()))?;
        return match output.format {
            RowFormat::Table => table(output, &batch.schema(), objects(&batch)?),
            _ => file(output, &batch.schema(), vec![batch], None).await,
        };
    };
    match output.format {
        RowFormat::Table => {
            let mut rows = rows;
            let mut all = Vec::new();
            while let Some(batch) = rows.next().await? {
                all.extend(objects(&batch)?);
                if all.len() > TABLE_ROWS_MAX {
                    return Err(CliError::user(format!("more than {TABLE_ROWS_MAX} rows make no table"))
                        .hint("add LIMIT, or use `--format json`, `csv` or `arrow`"));
                }
            }
            table(output, &schema, all)
        }
        RowFormat::Json if output.output.is_none() => print_rows(rows, !output.no_pretty).await,
        _ => file(output, &schema, vec![], Some(rows)).await,
    }
}

fn table(output: &SqlOutput, schema: &Schema, rows: Vec<Value>) -> Result<(), CliError> {
    if rows.is_empty() && output.output.is_none() {
        note("No rows");
        return Ok(());
    }
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let cell = |row: &Value, name: &str| match row.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let mut lines: Vec<Vec<String>> = vec![names.iter().map(|name| (*name).to_owned()).collect()];
    lines.extend(rows.iter().map(|row| names.iter().map(|name| cell(row, name)).collect::<Vec<_>>()));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    put(output, text.as_bytes(), &mut None)
}

async fn file(
    output: &SqlOutput,
    schema: &SchemaRef,
    ready: Vec<RecordBatch>,
    rows: Option<RowStream>,
) -> Result<(), CliError> {
    let format = match output.format {
        RowFormat::Csv => Format::Csv,
        RowFormat::Tsv => Format::Tsv,
        RowFormat::Jsonl => Format::JsonLines,
        RowFormat::Arrow => Format::Arrow,
        RowFormat::Parquet => Format::Parquet,
        RowFormat::Json | RowFormat::Table => Format::Json,
    };
    let wrong = |error: crate::columnar::files::FileError| CliError::server(error.to_string());
    let mut open = None;
    let mut writer = Writer::new(format, schema).map_err(wrong)?;
    for batch in ready {
        put(output, &writer.write(&batch).map_err(wrong)?, &mut open)?;
    }
    if let Some(mut rows) = rows {
        while let Some(batch) = rows.next().await? {
            put(output, &writer.write(&batch).map_err(wrong)?, &mut open)?;
        }
    }
    put(output, &writer.finish().map_err(wrong)?, &mut open)
}

/// Writes bytes to stdout, or to the file, which is made when the first come.
fn put(output: &SqlOutput, bytes: &[u8], open: &mut Option<File>) -> Result<(), CliError> {
    let Some(path) = &output.output else { return output::bytes(bytes) };
    let failed = |error: std::io::Error| CliError::user(format!("cannot write {}: {error}", path.display()));
    if open.is_none() {
        *open = Some(File::create(path).map_err(failed)?);
    }
    match open {
        Some(file) => file.write_all(bytes).map_err(failed),
        None => Ok(()),
    }
}

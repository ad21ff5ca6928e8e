//! CSV and TSV (RFC 4180). The first row names the columns; types are inferred from the first block; an empty field
//! without quotes is null.

use super::{FileError, ROW_BYTES_MAX};
use crate::columnar::typed::{Row, Typed};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;

/// A field as it stands in the file; `None` is empty without quotes.
type Text = Option<String>;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing but nulls so far.
    Unknown,
    Bool,
    Int,
    Float,
    Date,
    Timestamp {
        utc: bool,
    },
    Text,
}

/// Reads a file that comes in pieces.
pub(super) struct Reader {
    separator: u8,
    field: Vec<u8>,
    /// The field began with a quote.
    quoted: bool,
    /// Inside of quotes.
    open: bool,
    /// The last byte was a quote inside of quotes: its end, or the first of two.
    closing: bool,
    fields: Vec<Text>,
    bytes: usize,
    names: Option<Vec<String>>,
    kinds: Option<Vec<Kind>>,
    /// Rows that wait for their types.
    raw: Vec<Vec<Text>>,
    row: u64,
}

impl Reader {
    pub fn new(separator: u8) -> Self {
        Self {
            separator,
            field: vec![],
            quoted: false,
            open: false,
            closing: false,
            fields: vec![],
            bytes: 0,
            names: None,
            kinds: None,
            raw: vec![],
            row: 0,
        }
    }

    /// Takes bytes; gives the rows that are whole, once there are `infer_rows` to infer types from.
    pub fn push(&mut self, bytes: &[u8], infer_rows: usize) -> Result<Vec<Row>, FileError> {
        for byte in bytes {
            self.byte(*byte)?;
        }
        if self.kinds.is_some() || self.raw.len() >= infer_rows { self.rows() } else { Ok(vec![]) }
    }

    pub fn finish(&mut self) -> Result<Vec<Row>, FileError> {
        if self.open && !self.closing {
            return Err(self.wrong("a quote is not closed"));
        }
        if !self.field.is_empty() || self.quoted || !self.fields.is_empty() {
            self.end_field()?;
            self.end_row()?;
        }
        self.rows()
    }

    /// Known after the first rows were given.
    pub fn schema(&self) -> SchemaRef {
        let names = self.names.as_deref().unwrap_or_default();
        let kinds = self.kinds.as_deref().unwrap_or_default();
        let field = |(name, kind): (&String, &Kind)| Field::new(name, kind.data_type(), true);
        Arc::new(Schema::new(names.iter().zip(kinds).map(field).collect::<Vec<_>>()))
    }

    fn byte(&mut self, byte: u8) -> Result<(), FileError> {
        self.bytes += 1;
        if self.bytes > ROW_BYTES_MAX {
            return Err(
                self.wrong(&format!("the row is longer than {ROW_BYTES_MAX} bytes; is a quote not closed?"))
            );
        }
        if self.open {
            match (byte, self.closing) {
                (b'"', false) => self.closing = true,
                (b'"', true) => {
                    self.closing = false;
                    self.field.push(b'"');
                }
                (byte, false) => self.field.push(byte),
                (_, true) => {
                    (self.open, self.closing) = (false, false);
                    return self.outside(byte);
                }
            }
            return Ok(());
        }
        self.outside(byte)
    }

    fn outside(&mut self, byte: u8) -> Result<(), FileError> {
        match byte {
            b'"' if self.field.is_empty() && !self.quoted => (self.quoted, self.open) = (true, true),
            b'\n' => {
                if !self.quoted && self.field.last() == Some(&b'\r') {
                    self.field.pop();
                }
                // A line without anything is no row.
                if self.fields.is_empty() && self.field.is_empty() && !self.quoted {
                    self.bytes = 0;
                    return Ok(());
                }
                self.end_field()?;
                self.end_row()?;
            }
            b'\r' if self.quoted => {}
            byte if byte == self.separator => self.end_field()?,
            _ if self.quoted => return Err(self.wrong("something stands behind a closing quote")),
            byte => self.field.push(byte),
        }
        Ok(())
    }

    fn end_field(&mut self) -> Result<(), FileError> {
        let quoted = std::mem::take(&mut self.quoted);
        (self.open, self.closing) = (false, false);
        let bytes = std::mem::take(&mut self.field);
        let text = String::from_utf8(bytes).map_err(|_| self.wrong("the text is not UTF-8"))?;
        self.fields.push((quoted || !text.is_empty()).then_some(text));
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), FileError> {
        let fields = std::mem::take(&mut self.fields);
        self.bytes = 0;
        let Some(names) = &self.names else {
            self.row += 1;
            return self.head(fields);
        };
        if fields.len() != names.len() {
            let text = format!("{} fields, where the first row names {} columns", fields.len(), names.len());
            return Err(self.wrong(&text));
        }
        self.row += 1;
        self.raw.push(fields);
        Ok(())
    }

    fn head(&mut self, fields: Vec<Text>) -> Result<(), FileError> {
        let mut seen = HashSet::new();
        let mut names = Vec::with_capacity(fields.len());
        for name in fields {
            let name = name.unwrap_or_default().trim_start_matches('\u{feff}').trim().to_owned();
            if name.is_empty() || !seen.insert(name.clone()) {
                return Err(self.wrong(&format!(
                    "the first row names the columns, and `{name}` is empty or twice in it"
                )));
            }
            names.push(name);
        }
        self.names = Some(names);
        Ok(())
    }

    fn rows(&mut self) -> Result<Vec<Row>, FileError> {
        let Some(names) = &self.names else {
            return Err(FileError::Format("the file is empty; its first row must name the columns".into()));
        };
        let kinds = self.kinds.get_or_insert_with(|| infer(names.len(), &self.raw));
        let raw = std::mem::take(&mut self.raw);
        let first = self.row + 1 - raw.len() as u64;
        let mut rows = Vec::with_capacity(raw.len());
        for (n, fields) in raw.into_iter().enumerate() {
            let mut row = Row::with_capacity(names.len());
            for ((name, kind), text) in names.iter().zip(kinds.iter()).zip(fields) {
                let value = match text {
                    None => Typed::Null,
                    Some(text) => kind.read(&text).ok_or_else(|| FileError::Row {
                        row: first + n as u64,
                        reason: format!("`{text}` in column `{name}`, which held {} so far", kind.name()),
                    })?,
                };
                row.push((name.clone(), value));
            }
            rows.push(row);
        }
        Ok(rows)
    }

    fn wrong(&self, reason: &str) -> FileError {
        FileError::Row { row: self.row + 1, reason: reason.to_owned() }
    }
}

/// The narrowest kind that holds all of a column.
fn infer(columns: usize, rows: &[Vec<Text>]) -> Vec<Kind> {
    const ORDER: [Kind; 6] = [
        Kind::Bool,
        Kind::Int,
        Kind::Float,
        Kind::Date,
        Kind::Timestamp { utc: true },
        Kind::Timestamp { utc: false },
    ];
    let of = |column: usize| {
        let texts = || rows.iter().filter_map(|row| row[column].as_deref());
        if texts().next().is_none() {
            return Kind::Unknown;
        }
        ORDER.into_iter().find(|kind| texts().all(|text| kind.read(text).is_some())).unwrap_or(Kind::Text)
    };
    (0..columns).map(of).collect()
}

impl Kind {
    fn data_type(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Date => DataType::Date32,
            Self::Timestamp { utc } => DataType::Timestamp(TimeUnit::Microsecond, utc.then(|| "UTC".into())),
            Self::Text | Self::Unknown => DataType::Utf8,
        }
    }

    fn read(self, text: &str) -> Option<Typed> {
        match self {
            Self::Bool if text.eq_ignore_ascii_case("true") => Some(Typed::Bool(true)),
            Self::Bool => text.eq_ignore_ascii_case("false").then_some(Typed::Bool(false)),
            Self::Int => text.parse().ok().map(Typed::Int),
            Self::Float => text.parse().ok().map(Typed::Float),
            Self::Date => text.parse::<NaiveDate>().ok().map(Typed::Date),
            Self::Timestamp { utc: true } => DateTime::parse_from_rfc3339(text)
                .ok()
                .map(|at| Typed::Timestamp { at: at.naive_utc(), utc: true }),
            Self::Timestamp { utc: false } => text
                .replacen(' ', "T", 1)
                .parse::<NaiveDateTime>()
                .ok()
                .map(|at| Typed::Timestamp { at, utc: false }),
            Self::Text | Self::Unknown => Some(Typed::Text(text.to_owned())),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "nothing",
            Self::Bool => "true and false",
            Self::Int => "integers",
            Self::Float => "numbers",
            Self::Date => "dates",
            Self::Timestamp { .. } => "timestamps",
            Self::Text => "text",
        }
    }
}

/// Writes one row.
pub(super) fn write(out: &mut Vec<u8>, values: impl Iterator<Item = Value>, tabs: bool) {
    let separator = if tabs { b'\t' } else { b',' };
    for (n, value) in values.enumerate() {
        if n > 0 {
            out.push(separator);
        }
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text,
            other => other.to_string(),
        };
        let plain =
            !text.is_empty() && !text.bytes().any(|b| matches!(b, b'"' | b'\n' | b'\r') || b == separator);
        if plain {
            out.extend_from_slice(text.as_bytes());
        } else {
            out.push(b'"');
            out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
            out.push(b'"');
        }
    }
    out.push(b'\n');
}

//! JSON: an array of objects, or one object after the other.

use super::{FileError, ROW_BYTES_MAX};
use crate::columnar::typed::{self, Form, Row};
use serde_json::Value;

/// Cuts bytes that come in pieces into objects.
#[derive(Default)]
pub(super) struct Scanner {
    object: Vec<u8>,
    depth: usize,
    in_text: bool,
    escaped: bool,
    /// Inside of the outer array.
    array: bool,
    closed: bool,
    row: u64,
}

impl Scanner {
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Row>, FileError> {
        let mut rows = Vec::new();
        for byte in bytes {
            if self.depth > 0 {
                self.inside(*byte);
                if self.object.len() > ROW_BYTES_MAX {
                    return Err(self.wrong(format!("the object is longer than {ROW_BYTES_MAX} bytes")));
                }
                if self.depth == 0 {
                    rows.push(self.take()?);
                }
                continue;
            }
            match byte {
                b'{' if !self.closed => {
                    self.object.push(b'{');
                    self.depth = 1;
                }
                b'[' if !self.array && self.row == 0 => self.array = true,
                b']' if self.array && !self.closed => self.closed = true,
                b',' if self.array => {}
                // A byte order mark, or space.
                0xef | 0xbb | 0xbf if self.row == 0 => {}
                byte if byte.is_ascii_whitespace() => {}
                other => {
                    let text = format!("`{}` where an object should begin", char::from(*other));
                    return Err(self.wrong(text));
                }
            }
        }
        Ok(rows)
    }

    pub fn finish(&self) -> Result<(), FileError> {
        if self.depth > 0 || self.array != self.closed {
            return Err(self.wrong("the file ends in the middle of it".into()));
        }
        Ok(())
    }

    fn inside(&mut self, byte: u8) {
        self.object.push(byte);
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => self.in_text = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth -= 1,
            _ => {}
        }
    }

    fn take(&mut self) -> Result<Row, FileError> {
        let bytes = std::mem::take(&mut self.object);
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| self.wrong(error.to_string()))?;
        let mut rows = typed::rows(&[value], Form::Plain).map_err(|error| self.wrong(error.to_string()))?;
        self.row += 1;
        Ok(rows.pop().unwrap_or_default())
    }

    fn wrong(&self, reason: String) -> FileError {
        FileError::Row { row: self.row + 1, reason }
    }
}

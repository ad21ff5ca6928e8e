//! Sheets of Excel files (`.xlsx`): the first row names the columns, each further one is a row. Read whole, so only for
//! files of one's own machine.

use super::FileError;
use crate::columnar::typed::{Row, Typed};
use calamine::{DataRef, Reader, Xlsx};
use chrono::NaiveDate;
use std::fs::File;
use std::io::BufReader;

/// Most cells of a sheet that are read.
const CELLS_MAX: usize = 20_000_000;
/// Where whole numbers end in a float.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// The rows of a sheet: of this name, else of the first.
pub(super) fn rows(file: File, sheet: Option<&str>) -> Result<Vec<Row>, FileError> {
    let wrong =
        |reason: String| FileError::Format(format!("this is no Excel file that can be read: {reason}"));
    let mut book: Xlsx<_> = Xlsx::new(BufReader::new(file)).map_err(|error| wrong(error.to_string()))?;
    let sheets = book.sheet_names();
    let chosen = match sheet {
        Some(name) => sheets.iter().find(|known| *known == name).ok_or_else(|| {
            FileError::Format(format!("there is no sheet `{name}`; there are: {}", sheets.join(", ")))
        })?,
        None => sheets.first().ok_or_else(|| wrong("it has no sheet".to_owned()))?,
    };
    let mut cells = book.worksheet_cells_reader(chosen).map_err(|error| wrong(error.to_string()))?;
    let mut table = Table::default();
    let mut count = 0;
    while let Some(cell) = cells.next_cell().map_err(|error| wrong(error.to_string()))? {
        count += 1;
        if count > CELLS_MAX {
            return Err(FileError::Format(format!(
                "a sheet has at most {CELLS_MAX} cells here; save it as CSV"
            )));
        }
        table.put(cell.get_position(), cell.get_value())?;
    }
    table.finish()
}

/// What was read so far. Cells come row by row.
#[derive(Default)]
struct Table {
    /// Row of the names, once it is known.
    head: Option<u32>,
    /// Places of the columns with a name.
    columns: Vec<(u32, String)>,
    at: u32,
    row: Row,
    rows: Vec<Row>,
}

impl Table {
    fn put(&mut self, (row, column): (u32, u32), value: &DataRef<'_>) -> Result<(), FileError> {
        let value = typed(value);
        if value == Typed::Null {
            return Ok(());
        }
        if *self.head.get_or_insert(row) == row {
            return self.name(column, &value);
        }
        if self.at != row {
            self.end_row();
            self.at = row;
        }
        if let Some((_, name)) = self.columns.iter().find(|(place, _)| *place == column) {
            self.row.push((name.clone(), value));
        }
        Ok(())
    }

    fn name(&mut self, column: u32, value: &Typed) -> Result<(), FileError> {
        let text = match value {
            Typed::Text(text) => text.trim().to_owned(),
            other => other.json(crate::columnar::typed::Form::Plain).to_string(),
        };
        if self.columns.iter().any(|(_, known)| *known == text) {
            return Err(FileError::Row { row: 1, reason: format!("column `{text}` is there twice") });
        }
        if !text.is_empty() {
            self.columns.push((column, text));
        }
        Ok(())
    }

    /// Rows without a value are left out.
    fn end_row(&mut self) {
        let mut values = std::mem::take(&mut self.row);
        if values.is_empty() {
            return;
        }
        let mut of = |name: &String| {
            let place = values.iter().position(|(known, _)| known == name);
            place.map_or(Typed::Null, |place| values.swap_remove(place).1)
        };
        let row = self.columns.iter().map(|(_, name)| (name.clone(), of(name))).collect();
        self.rows.push(row);
    }

    fn finish(mut self) -> Result<Vec<Row>, FileError> {
        self.end_row();
        if self.columns.is_empty() {
            return Err(FileError::Format("the sheet is empty; its first row names the columns".to_owned()));
        }
        if self.rows.is_empty() {
            return Err(FileError::Format("the sheet has no row below the names of its columns".to_owned()));
        }
        Ok(self.rows)
    }
}

fn typed(value: &DataRef<'_>) -> Typed {
    match value {
        DataRef::Empty => Typed::Null,
        DataRef::Int(number) => Typed::Int(*number),
        #[allow(clippy::cast_possible_truncation, reason = "it is whole and small enough")]
        DataRef::Float(number) if number.fract() == 0.0 && number.abs() < WHOLE_MAX => {
            Typed::Int(*number as i64)
        }
        DataRef::Float(number) => Typed::Float(*number),
        DataRef::Bool(flag) => Typed::Bool(*flag),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text_of(text),
        DataRef::SharedString(text) => text_of(text),
        DataRef::DateTime(at) if at.is_datetime() => {
            let (year, month, day, hour, minute, second, milli) = at.to_ymd_hms_milli();
            let date = NaiveDate::from_ymd_opt(year.into(), month.into(), day.into());
            let at = date.and_then(|date| {
                date.and_hms_milli_opt(hour.into(), minute.into(), second.into(), milli.into())
            });
            at.map_or(Typed::Null, |at| Typed::Timestamp { at, utc: false })
        }
        DataRef::DateTime(span) => Typed::Float(span.as_f64()),
        DataRef::Error(error) => Typed::Text(error.to_string()),
    }
}

fn text_of(text: &str) -> Typed {
    if text.is_empty() { Typed::Null } else { Typed::Text(text.to_owned()) }
}

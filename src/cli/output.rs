//! Where words go: data to stdout, everything else to stderr. Tables are aligned; JSON is JSON.

use super::error::CliError;
use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;
use std::io::{self, IsTerminal, Write};

/// Spaces between two columns of a table.
const COLUMN_GAP: usize = 2;

/// How a listing is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Aligned columns for people.
    #[default]
    Table,
    /// JSON for programs.
    Json,
}

/// The `-o` flag of listing commands.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct OutputArgs {
    /// How to print the result
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

/// Writes text to stdout as it is. A reader that went away (`| head`) ends the program quietly.
pub fn data(text: &str) -> Result<(), CliError> {
    bytes(text.as_bytes())
}

/// Writes bytes to stdout as they are.
pub fn bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(CliError::exit(0)),
        result => result.map_err(CliError::from),
    }
}

/// Writes bytes to stderr as they are. A closed stderr does not fail a command that did its work.
pub fn error_bytes(bytes: &[u8]) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(bytes).and_then(|()| err.flush());
}

/// Writes one line to stdout.
pub fn line(text: impl AsRef<str>) -> Result<(), CliError> {
    data(&format!("{}\n", text.as_ref()))
}

/// Writes a value to stdout as JSON, two spaces deep.
pub fn json(value: &impl Serialize) -> Result<(), CliError> {
    line(serde_json::to_string_pretty(value)?)
}

/// Tells the person something that is not data: progress, success, an empty result. Goes to stderr.
#[allow(clippy::print_stderr, reason = "this is the one place that talks to the person")]
pub fn note(text: impl AsRef<str>) {
    let mut err = io::stderr().lock();
    // A closed stderr must not fail a command that did its work.
    let _ = writeln!(err, "{}", text.as_ref());
}

/// Prints a failed command on stderr.
pub fn failure(error: &CliError) {
    if matches!(error.kind(), super::error::Kind::Exit(_)) {
        return;
    }
    let bold = if io::stderr().is_terminal() { ("\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "") };
    note(format!("{}error:{} {error}", bold.0, bold.1));
}

/// A table: column keys and one text per cell.
#[derive(Debug)]
pub struct Table {
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; missing cells stay empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Adds a row out of an object's fields of the columns' names.
    pub fn object(&mut self, value: &Value) {
        let cells = self.columns.iter().map(|column| cell(value.get(*column)));
        self.rows.push(cells.collect());
    }

    /// Prints the table; if it has no rows, says `empty` on stderr instead.
    pub fn print(&self, empty: &str) -> Result<(), CliError> {
        if self.rows.is_empty() {
            note(empty);
            return Ok(());
        }
        data(&self.render(io::stdout().is_terminal()))
    }

    fn render(&self, bold: bool) -> String {
        let titles: Vec<String> = self.columns.iter().map(|key| title(key)).collect();
        let width = |index: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(index));
            cells.chain(titles.get(index)).map(|text| text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..titles.len()).map(width).collect();
        let render_row = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).map(|(text, width)| {
                let fill = width.saturating_sub(text.chars().count()) + COLUMN_GAP;
                format!("{text}{}", " ".repeat(fill))
            });
            padded.collect::<String>().trim_end().to_owned()
        };
        let head = render_row(&titles);
        let mut text = if bold { format!("\u{1b}[1m{head}\u{1b}[0m\n") } else { format!("{head}\n") };
        for row in &self.rows {
            text.push_str(&render_row(row));
            text.push('\n');
        }
        text
    }
}

/// A value as one table cell: texts bare, nothing as `-`, structures as compact JSON.
pub fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.replace(['\n', '\r', '\t'], " "),
        Some(other) => other.to_string(),
    }
}

/// A column's key as its title: `room_name` → `Room_Name` (the official tool's form).
fn title(key: &str) -> String {
    let words = key.split('_').map(|word| {
        let mut chars = word.chars();
        chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
    });
    words.collect::<Vec<String>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tables_align_and_name_their_columns_as_the_official_tool_does() {
        let mut table = Table::new(&["id", "room_name"]);
        table.object(&json!({"id": "a-long-id", "room_name": null}));
        table.object(&json!({"id": 7, "room_name": "zwölf"}));
        assert_eq!(table.render(false), "Id         Room_Name\na-long-id  -\n7          zwölf\n");
    }
}

//! The text of a template made into a plain one.

use super::{Values, problem};
use crate::spec::Problem;
use minijinja::{Environment, UndefinedBehavior};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Most steps one rendering may take.
const STEPS_MAX: u64 = 1_000_000;
/// Longest rendered text, bytes.
pub const RENDERED_BYTES_MAX: usize = 4 << 20;
/// Deepest nesting of blocks and macros.
const RECURSION_MAX: usize = 50;

/// Renders texts. Steps and what comes out are bounded everywhere; the memory that a template takes on the way is not
/// ([`Here`]), unless that is done in a process of its own: a server, whose templates are other people's, does so.
pub trait Render: Send + Sync + fmt::Debug {
    /// A text with these values in it.
    fn render(&self, text: &str, values: &Values) -> Result<String, Refusal>;
}

/// Why a text cannot be rendered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// Line of the text, from 1.
    pub line: usize,
    pub message: String,
    pub hint: Option<String>,
}

impl Refusal {
    /// As a problem of the text of this name.
    #[must_use]
    pub fn at(self, source: &str) -> Problem {
        problem(source, self.line, "document", &self.message, self.hint.as_deref())
    }
}

/// Renders in this very process.
#[derive(Clone, Copy, Default, Debug)]
pub struct Here;

impl Render for Here {
    fn render(&self, text: &str, values: &Values) -> Result<String, Refusal> {
        let engine = engine();
        let mut rendered = Rendered { text: vec![], is_full: false };
        let written = engine
            .template_from_str(text)
            .and_then(|template| template.render_captured_to(values, &mut rendered).map(drop));
        if rendered.is_full {
            let message =
                format!("the rendered text has more than {RENDERED_BYTES_MAX} bytes, which are not read");
            return Err(Refusal { line: 1, message, hint: Some("make the template smaller".to_owned()) });
        }
        written.map_err(|error| cannot(text, &error))?;
        Ok(String::from_utf8_lossy(&rendered.text).into_owned())
    }
}

pub(super) fn engine() -> Environment<'static> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Lenient);
    engine.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    engine.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    engine.set_fuel(Some(STEPS_MAX));
    engine.set_recursion_limit(RECURSION_MAX);
    engine
}

/// A text as it is rendered, no longer than is read.
struct Rendered {
    text: Vec<u8>,
    is_full: bool,
}

impl std::io::Write for Rendered {
    fn write(&mut self, part: &[u8]) -> std::io::Result<usize> {
        if self.text.len().saturating_add(part.len()) > RENDERED_BYTES_MAX {
            self.is_full = true;
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        self.text.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(super) fn cannot(text: &str, error: &minijinja::Error) -> Refusal {
    let reason = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let hint =
        text.contains("${#").then(|| "`{#` begins a comment; write `${ #name}` differently".to_owned());
    let message = format!("the template cannot be rendered: {reason}");
    Refusal { line: error.line().unwrap_or(1), message, hint }
}

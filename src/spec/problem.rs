//! What is wrong with a document, where, and what to do.

use std::fmt;

/// One thing wrong with one document.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Problem {
    /// File name, URL or `stdin`; empty for a request body.
    pub source: String,
    /// From 1; 0 where the document has no lines (JSON bodies).
    pub line: usize,
    /// From 1; 0 where the document has no lines.
    pub column: usize,
    /// Path of the field, such as `agents[0].heartbeat.minutes`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// The next step, where one is known.
    pub hint: Option<String>,
}

impl Problem {
    /// The problem on one line without its file: for error bodies.
    pub fn brief(&self) -> String {
        let hint = self.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{}: {}{hint}", self.path, self.message)
    }
}

/// `file:line:column: path: message`, with the hint on a line of its own.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.source.is_empty() {
            write!(f, "{}:", self.source)?;
        }
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        if !self.source.is_empty() || self.line > 0 {
            write!(f, " ")?;
        }
        write!(f, "{}: {}", self.path, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

/// All problems as one text for an error body, on one line.
pub fn summary(problems: &[Problem]) -> String {
    problems.iter().map(Problem::brief).collect::<Vec<_>>().join("; and ")
}

/// A place in a text; both count from 1, and 0 is "nowhere".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub line: usize,
    pub column: usize,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// A path from the top of a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Path(pub Vec<Step>);

impl Path {
    /// A path of keys and indices written as `a.b[0].c`. Keys with dots cannot be written so.
    pub fn of(text: &str) -> Self {
        let parts = text.split(['.', '[']).filter(|part| !part.is_empty());
        let step = |part: &str| match part.strip_suffix(']').and_then(|index| index.parse().ok()) {
            Some(index) => Step::Index(index),
            None => Step::Key(part.to_owned()),
        };
        Self(parts.map(step).collect())
    }

    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.then(Step::Key(key.to_owned()))
    }

    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.then(Step::Index(index))
    }

    fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("document");
        }
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if key.is_empty() || key.contains(['.', '[', ' ', '"']) => {
                    write!(f, "[{:?}]", shown(key))?;
                }
                Step::Key(key) if at == 0 => write!(f, "{}", shown(key))?,
                Step::Key(key) => write!(f, ".{}", shown(key))?,
            }
        }
        Ok(())
    }
}

/// A finding inside one document, before its file and lines are known.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub path: Path,
    pub message: String,
    pub hint: Option<String>,
}

impl Finding {
    pub fn new(path: Path, message: impl Into<String>) -> Self {
        Self { path, message: message.into(), hint: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Most characters of foreign text shown in a message.
const SHOWN_CHARS_MAX: usize = 60;

/// Foreign text in a message: short and on one line.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}

/// Least likeness of two names for one to be offered for the other.
const LIKENESS_MIN: f64 = 0.7;

/// The known name that is most like a text.
pub fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&text, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// `a`, `b` and `c`, each in back quotes.
pub(super) fn listing<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

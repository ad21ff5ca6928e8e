//! Why a plan cannot be made. All of it at once, each at its document and field.

use super::{Key, kind_names};
use crate::spec;
use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// Problems spelled out; the rest are only counted.
pub const PROBLEMS_MAX: usize = 100;

/// What kind of problem it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The document itself is wrong.
    Invalid,
    /// It is about something that does not exist.
    Reference,
    /// Two documents are about one resource.
    Duplicate,
    /// Documents need each other in a circle.
    Cycle,
    /// The field cannot be changed in place.
    Immutable,
    /// Another source holds the field.
    Conflict,
    /// Pruning would delete what others want.
    Prune,
}

/// One problem.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    pub code: Code,
    /// Index of the document; none for what is pruned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<usize>,
    /// The kind as it was written.
    pub kind: String,
    pub name: String,
    /// Path of the field, where it is about one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Of a conflict: the source that holds the field.
    #[serde(skip)]
    pub holder: Option<String>,
}

impl Problem {
    pub fn of(code: Code, document: Option<usize>, key: &Key, message: impl Into<String>) -> Self {
        Self {
            code,
            document,
            kind: key.kind.as_str().to_owned(),
            name: key.name.clone(),
            path: String::new(),
            message: message.into(),
            hint: None,
            holder: None,
        }
    }

    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn held_by(mut self, source: &str) -> Self {
        self.holder = Some(source.to_owned());
        self
    }

    pub(super) fn of_spec(document: usize, kind: &str, name: &str, problem: spec::Problem) -> Self {
        Self {
            code: Code::Invalid,
            document: Some(document),
            kind: kind.to_owned(),
            name: name.to_owned(),
            path: problem.path,
            message: problem.message,
            hint: problem.hint,
            holder: None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)?;
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

/// Everything that is in the way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problems {
    /// At most [`PROBLEMS_MAX`].
    pub list: Vec<Problem>,
    pub count: usize,
}

impl Problems {
    pub(super) fn new(mut list: Vec<Problem>) -> Self {
        let count = list.len();
        list.sort_by_key(|problem| problem.document.unwrap_or(usize::MAX));
        list.truncate(PROBLEMS_MAX);
        Self { list, count }
    }

    /// Whether other sources are all that is in the way.
    #[must_use]
    pub fn are_conflicts(&self) -> bool {
        self.list.iter().all(|problem| problem.code == Code::Conflict)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.count == 1 { "" } else { "s" };
        write!(f, "nothing was changed: {} problem{plural} in the documents", self.count)?;
        for problem in &self.list {
            write!(f, "; {problem}")?;
        }
        Ok(())
    }
}

/// A document of a kind that is no resource of a project, or of none.
pub(super) fn unreadable(index: usize, kind: &str, name: &str, value: &Value) -> Vec<Problem> {
    let of_spec = |problem| Problem::of_spec(index, kind, name, problem);
    if let Err(problems) = spec::document_from_json(value.clone()) {
        return problems.into_iter().map(of_spec).collect();
    }
    let why = "documents of this kind are not applied";
    let hint = format!("kinds that are applied: {}", kind_names().collect::<Vec<_>>().join(", "));
    let (code, message) = (Code::Invalid, why.to_owned());
    let (kind, name, path) = (kind.to_owned(), name.to_owned(), String::new());
    vec![Problem { code, document: Some(index), kind, name, path, message, hint: Some(hint), holder: None }]
}

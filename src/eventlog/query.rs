//! A filter as a condition in SQL, for both databases.

use super::{Filter, KindFilter};

/// Where the two databases differ.
#[derive(Clone, Copy)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// A `SELECT` of stored events and the texts it is run with, `$1` first.
pub(super) struct Query {
    pub sql: String,
    pub texts: Vec<String>,
}

/// Events that pass the filter, oldest first. The caller's own numbers (`after`, `limit`) are written into the
/// statement by number: they come first, as parameters 1 and 2; the texts follow from 3.
pub(super) fn select(filter: &Filter, columns: &str, dialect: Dialect) -> Query {
    let mut query = Builder { dialect, texts: Vec::new() };
    let mut conditions = vec![format!("position > {}", dialect.parameter(1))];
    if !filter.categories.is_empty() {
        conditions.push(any(filter.categories.iter().map(|category| query.category(category))));
    }
    if !filter.kinds.is_empty() {
        conditions.push(any(filter.kinds.iter().map(|kind| query.kind(kind))));
    }
    if let Some(subject) = &filter.subject {
        conditions.push(query.subject(subject));
    }
    if let Some(project) = filter.project {
        let project = query.text(project.to_string());
        conditions.push(format!("metadata ->> 'project' = {project}"));
    }
    let (conditions, limit) = (conditions.join(" AND "), dialect.parameter(2));
    let sql = format!("SELECT {columns} FROM events WHERE {conditions} ORDER BY position LIMIT {limit}");
    Query { sql, texts: query.texts }
}

impl Dialect {
    fn parameter(self, number: usize) -> String {
        match self {
            Self::Sqlite => format!("?{number}"),
            Self::Postgres => format!("${number}"),
        }
    }

    /// The stream's name as an expression that keeps SQLite from leaving the order of positions for an index.
    fn stream(self) -> &'static str {
        match self {
            Self::Sqlite => "+stream",
            Self::Postgres => "stream",
        }
    }

    fn find(self) -> &'static str {
        match self {
            Self::Sqlite => "instr",
            Self::Postgres => "strpos",
        }
    }
}

struct Builder {
    dialect: Dialect,
    texts: Vec<String>,
}

impl Builder {
    fn text(&mut self, text: String) -> String {
        self.texts.push(text);
        self.dialect.parameter(self.texts.len() + 2)
    }

    fn category(&mut self, category: &str) -> String {
        let stream = self.dialect.stream();
        // `.` is the character after `-`.
        let (from, to) = (self.text(format!("{category}-")), self.text(format!("{category}.")));
        let bare = self.text(category.to_owned());
        format!("({stream} >= {from} AND {stream} < {to}) OR {stream} = {bare}")
    }

    fn kind(&mut self, kind: &KindFilter) -> String {
        match kind {
            KindFilter::Exact(kind) => format!("type = {}", self.text(kind.clone())),
            KindFilter::Prefix(prefix) => {
                let chars = prefix.chars().count();
                format!("substr(type, 1, {chars}) = {}", self.text(prefix.clone()))
            }
        }
    }

    fn subject(&mut self, subject: &str) -> String {
        let (stream, find) = (self.dialect.stream(), self.dialect.find());
        let (name, key) = (self.text(subject.to_owned()), self.text(subject.to_owned()));
        format!(
            "({stream} = {name} OR ({find}(stream, '-') > 0 AND substr(stream, {find}(stream, '-') + 1) = {key}))"
        )
    }
}

fn any(conditions: impl Iterator<Item = String>) -> String {
    format!("({})", conditions.collect::<Vec<_>>().join(" OR "))
}

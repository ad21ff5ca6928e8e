//! `dataset://a/b/c`: table `c` of namespace `["a", "b"]`. Pure.

use serde_json::{Value, json};

const PREFIX: &str = "dataset://";
/// Tables of a folder that are no threads: the list of its threads, and its mail.
const NO_THREADS: [&str; 2] = ["index", "emails"];

/// A table in the room's datasets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub table: String,
    pub namespace: Vec<String>,
}

/// Why a path names no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is no path of a thread: {reason}; want dataset://FOLDER/NAME")]
pub struct InvalidPlace {
    path: String,
    reason: &'static str,
}

impl Place {
    pub fn parse(path: &str) -> Result<Self, InvalidPlace> {
        let invalid = |reason| InvalidPlace { path: path.to_owned(), reason };
        let rest =
            path.trim().strip_prefix(PREFIX).ok_or_else(|| invalid("it does not begin with dataset://"))?;
        if rest.starts_with('/') {
            return Err(invalid("it has a third slash after dataset:"));
        }
        if rest.ends_with(".thread") {
            return Err(invalid("names that end in .thread are those of old documents"));
        }
        let parts: Vec<_> = rest.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        if parts.iter().any(|part| part == "." || part == ".." || part.chars().any(char::is_control)) {
            return Err(invalid("it has a `.` or `..` in it, or a control character"));
        }
        match parts.split_last() {
            Some((table, namespace)) => Ok(Self { table: table.clone(), namespace: namespace.to_vec() }),
            None => Err(invalid("it names no table")),
        }
    }

    /// Whether this is a thread in folder `dir`, at any depth: not the folder's own tables, nor anything beside it.
    #[must_use]
    pub fn is_thread_in(&self, dir: &Self) -> bool {
        let folder: Vec<_> = dir.namespace.iter().chain([&dir.table]).collect();
        let own: Vec<_> = self.namespace.iter().collect();
        own.starts_with(&folder) && !self.is_table_of(dir)
    }

    /// Whether this is a table of folder `dir` that is no thread.
    #[must_use]
    pub fn is_table_of(&self, dir: &Self) -> bool {
        NO_THREADS.contains(&self.table.as_str())
            && self.namespace.split_last() == Some((&dir.table, dir.namespace.as_slice()))
    }

    /// The namespace as requests have it.
    #[must_use]
    pub fn namespace(&self) -> Value {
        if self.namespace.is_empty() { Value::Null } else { json!(self.namespace) }
    }

    /// `fields`, with this table.
    #[must_use]
    pub fn with(&self, mut fields: Value) -> Value {
        fields["table"] = json!(self.table);
        fields["namespace"] = self.namespace();
        fields["branch"] = Value::Null;
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_threads_and_a_list() {
        let dir = Place::parse("dataset://agents/bob/threads").unwrap();
        for (path, is_thread) in [
            ("dataset://agents/bob/threads/1", true),
            ("dataset://agents//bob/threads/2026/index", true),
            ("dataset://agents/bob/threads//index", false),
            ("dataset://agents/bob/threads/emails", false),
            ("dataset://agents/bob/threads", false),
            ("dataset://agents/bob/threads2/1", false),
            ("dataset://agents/ann/threads/1", false),
            ("dataset://invoices", false),
        ] {
            assert_eq!(Place::parse(path).unwrap().is_thread_in(&dir), is_thread, "{path}");
        }
        assert!(Place::parse("dataset://agents/bob/threads//index").unwrap().is_table_of(&dir));
    }

    #[test]
    fn a_path_is_a_namespace_and_a_table() {
        let place = Place::parse("dataset://.threads/bob/main").unwrap();
        assert_eq!(
            (place.table.as_str(), place.namespace.as_slice()),
            ("main", [".threads".into(), "bob".into()].as_slice())
        );
        assert_eq!(Place::parse("dataset://x").unwrap().namespace(), Value::Null);
        for (bad, why) in [
            ("a/b", "does not begin"),
            ("dataset:///a", "third slash"),
            ("dataset://a/b.thread", "old documents"),
            ("dataset://a/../b", "`..`"),
            ("dataset://", "no table"),
        ] {
            assert!(Place::parse(bad).unwrap_err().to_string().contains(why), "{bad}");
        }
    }
}

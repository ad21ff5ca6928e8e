//! Paths of room storage: one canonical spelling, everything dangerous refused.

use std::fmt;

/// Longest path, bytes (the limit of object stores).
pub const PATH_BYTES_MAX: usize = 1024;
/// Name the platform keeps folders with.
const DIRECTORY_MARK: &str = ".meshagent-directory";
/// Names the platform keeps unfinished uploads under.
const UPLOAD_PREFIX: &str = ".meshagent-upload-";

/// A canonical path relative to the room's storage: no slash at either end, no empty, `.` or `..`
/// segment. The empty path is the storage itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoragePath(String);

/// Why a text is not a storage path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is not a path in room storage: {reason}")]
pub struct InvalidPath {
    pub path: String,
    pub reason: &'static str,
}

impl StoragePath {
    /// Reads a path of a request: leading `./` and outer slashes are dropped, `.` is the storage itself.
    pub fn parse(text: &str) -> Result<Self, InvalidPath> {
        let mut rest = text;
        while let Some(shorter) = rest.strip_prefix("./") {
            rest = shorter;
        }
        let rest = rest.trim_matches('/');
        let rest = if rest == "." { "" } else { rest };
        match flaw(rest) {
            None => Ok(Self(rest.to_owned())),
            Some(reason) => Err(InvalidPath { path: text.escape_debug().to_string(), reason }),
        }
    }

    /// The storage itself.
    pub const fn root() -> Self {
        Self(String::new())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The last segment; empty for the storage itself.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(self.as_str(), |(_, name)| name)
    }

    /// The folder it is in; none for the storage itself.
    pub fn parent(&self) -> Option<Self> {
        let (parent, _) = self.0.rsplit_once('/').unwrap_or_default();
        (!self.is_root()).then(|| Self(parent.to_owned()))
    }

    /// A child by its name, which must be one plain segment.
    pub fn join(&self, name: &str) -> Result<Self, InvalidPath> {
        if name.is_empty() || name.contains('/') {
            return Err(InvalidPath {
                path: name.escape_debug().to_string(),
                reason: "a name is one segment",
            });
        }
        let text = if self.is_root() { name.to_owned() } else { format!("{self}/{name}") };
        Self::parse(&text)
    }

    /// Whether `other` is this path or lies below it, by whole segments.
    pub fn covers(&self, other: &Self) -> bool {
        let below = other.0.strip_prefix(self.as_str());
        self.is_root() || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for StoragePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn flaw(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return None;
    }
    if path.len() > PATH_BYTES_MAX {
        return Some("it is longer than 1024 bytes");
    }
    if path.contains('\\') || path.chars().any(char::is_control) {
        return Some("backslashes and control characters are not allowed");
    }
    path.split('/').find_map(|segment| match segment {
        "" => Some("it has an empty segment"),
        "." | ".." => Some("the segments `.` and `..` are not allowed"),
        DIRECTORY_MARK => Some("the name is kept for the platform"),
        _ if segment.starts_with(UPLOAD_PREFIX) => {
            Some("names beginning `.meshagent-upload-` are kept for the platform")
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_one_path_become_one() {
        for (text, expected) in [
            ("", ""),
            (".", ""),
            ("/", ""),
            ("./", ""),
            ("a", "a"),
            ("./././a/b/", "a/b"),
            ("//a/b//", "a/b"),
            ("a/b.txt", "a/b.txt"),
            ("...", "..."),
        ] {
            assert_eq!(StoragePath::parse(text).unwrap().as_str(), expected, "{text}");
        }
    }

    #[test]
    fn dangerous_paths_are_refused() {
        let long = "x".repeat(PATH_BYTES_MAX + 1);
        for text in [
            "..",
            "a/../b",
            "a/./b",
            "/./a",
            "a//b",
            "a\\b",
            "a\nb",
            "a\0",
            ".meshagent-directory",
            "a/.meshagent-directory/b",
            "a/.meshagent-upload-1",
            &long,
        ] {
            assert!(StoragePath::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reading_is_idempotent_and_never_leaves_the_storage(text in r"[ab./\\-]{0,12}") {
            if let Ok(path) = StoragePath::parse(&text) {
                prop_assert_eq!(&StoragePath::parse(path.as_str()).unwrap(), &path);
                prop_assert!(!path.as_str().split('/').any(|s| s == ".." || s == "."));
                prop_assert!(!path.as_str().starts_with('/'));
                prop_assert!(StoragePath::root().covers(&path));
            }
        }

        #[test]
        fn covering_is_by_whole_segments(a in "[ab]{1,2}(/[ab]{1,2}){0,2}", b in "[ab]{1,2}(/[ab]{1,2}){0,2}") {
            let (pa, pb) = (StoragePath::parse(&a).unwrap(), StoragePath::parse(&b).unwrap());
            let (sa, sb): (Vec<_>, Vec<_>) = (a.split('/').collect(), b.split('/').collect());
            prop_assert_eq!(pa.covers(&pb), sb.starts_with(&sa));
        }
    }
}

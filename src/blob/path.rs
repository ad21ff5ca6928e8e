//! Paths within a room: relative, normalised, and unable to lead out.

use super::BlobError;
use std::fmt;

/// Begin of the names of unfinished uploads; no file may be called so.
pub const UPLOAD_PREFIX: &str = ".meshagent-upload-";
/// Name that marks folders in some stores; no file may be called so.
pub const HIDDEN_DIRECTORY_MARK: &str = ".meshagent-directory";
/// Longest path, bytes.
pub const PATH_BYTES_MAX: usize = 1_024;
/// Longest segment, bytes (the limit of common file systems).
pub const SEGMENT_BYTES_MAX: usize = 255;

/// A checked path; empty is the root of the room's files.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FilePath(String);

impl FilePath {
    /// Drops leading `./` and outer `/`; refuses `\`, control characters, empty, `.` and `..` segments, the
    /// reserved names, and what file systems cannot hold.
    pub fn parse(text: &str) -> Result<Self, BlobError> {
        let mut path = text.trim_start_matches('/');
        while let Some(rest) = path.strip_prefix("./") {
            path = rest.trim_start_matches('/');
        }
        let path = path.trim_end_matches('/');
        let path = if path == "." { "" } else { path };
        if path.is_empty() {
            return Ok(Self(String::new()));
        }
        match path.split('/').find_map(refused).or_else(|| too_long(path)) {
            Some(rule) => Err(BlobError::invalid(text, rule)),
            None => Ok(Self(path.to_owned())),
        }
    }

    /// A path that is not the root.
    pub fn parse_file(text: &str) -> Result<Self, BlobError> {
        match Self::parse(text)? {
            path if path.0.is_empty() => {
                Err(BlobError::invalid(text, "name a file or a folder, not the root"))
            }
            path => Ok(path),
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Last segment; empty for the root.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or("")
    }

    pub(super) fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// Paths of the folders that it lies in, outermost first, without the root.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(at, _)| &self.0[..at])
    }

    pub(super) fn is_below(&self, folder: &Self) -> bool {
        self.0.strip_prefix(&folder.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The rule that a segment breaks.
fn refused(segment: &str) -> Option<&'static str> {
    match segment {
        "" => Some("it has an empty segment (`//`)"),
        "." | ".." => Some("`.` and `..` are not allowed in it"),
        HIDDEN_DIRECTORY_MARK => Some("the name `.meshagent-directory` is reserved"),
        _ if segment.starts_with(UPLOAD_PREFIX) => {
            Some("names that begin with `.meshagent-upload-` are reserved")
        }
        _ if segment.contains('\\') => Some("`\\` is not allowed, separate folders with `/`"),
        _ if segment.chars().any(char::is_control) => Some("control characters are not allowed"),
        _ if segment.len() > SEGMENT_BYTES_MAX => Some("a name may have at most 255 bytes"),
        _ => None,
    }
}

fn too_long(path: &str) -> Option<&'static str> {
    (path.len() > PATH_BYTES_MAX).then_some("it has more than 1024 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised() {
        for (text, want) in [
            ("a/b", "a/b"),
            ("/a/b/", "a/b"),
            ("./a", "a"),
            ("././/a", "a"),
            (".", ""),
            ("", ""),
            ("/", ""),
            ("./", ""),
        ] {
            assert_eq!(FilePath::parse(text).unwrap().as_str(), want, "{text}");
        }
    }

    #[test]
    fn paths_that_lead_out_or_are_reserved_are_refused() {
        let long = "a/".repeat(600);
        for text in [
            "..",
            "a/../b",
            "../etc/passwd",
            "a/./b",
            "a//b",
            "a\\b",
            "a\0b",
            "a\nb",
            "/../x",
            "./../x",
            ".meshagent-directory",
            "x/.meshagent-upload-1",
            &"n".repeat(256),
            &long,
        ] {
            assert!(matches!(FilePath::parse(text), Err(BlobError::InvalidPath { .. })), "{text}");
        }
        assert!(FilePath::parse_file("./").is_err());
    }

    #[test]
    fn ancestors_and_descent_respect_segments() {
        let path = FilePath::parse("a/b/c").unwrap();
        assert_eq!(path.ancestors().collect::<Vec<_>>(), ["a", "a/b"]);
        assert!(path.is_below(&FilePath::parse("a/b").unwrap()));
        assert!(!FilePath::parse("ab").unwrap().is_below(&FilePath::parse("a").unwrap()));
    }
}

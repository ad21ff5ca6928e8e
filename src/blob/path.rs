//! Paths within a room as the stores need them: the domain's canonical path, that a file system can hold too.

use super::BlobError;
use crate::domain::access::StoragePath;
use std::fmt;

/// Begin of the names of unfinished uploads; no file can be called so.
pub const UPLOAD_PREFIX: &str = ".meshagent-upload-";
/// Name that marks folders in some stores; no file can be called so.
pub const HIDDEN_DIRECTORY_MARK: &str = ".meshagent-directory";
/// Longest segment, bytes (the limit of common file systems).
pub const SEGMENT_BYTES_MAX: usize = 255;

/// A checked path; empty is the root of the room's files.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FilePath(StoragePath);

impl FilePath {
    /// As [`StoragePath::parse`]; also refuses segments that file systems cannot hold.
    pub fn parse(text: &str) -> Result<Self, BlobError> {
        let path = StoragePath::parse(text)
            .map_err(|invalid| BlobError::InvalidPath { path: invalid.path, rule: invalid.reason })?;
        if path.as_str().split('/').any(|segment| segment.len() > SEGMENT_BYTES_MAX) {
            return Err(BlobError::invalid(text, "a name may have at most 255 bytes"));
        }
        Ok(Self(path))
    }

    /// A path that is not the root.
    pub fn parse_file(text: &str) -> Result<Self, BlobError> {
        match Self::parse(text)? {
            path if path.is_root() => Err(BlobError::invalid(text, "name a file or a folder, not the root")),
            path => Ok(path),
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_root()
    }

    /// Last segment; empty for the root.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.file_name()
    }

    /// Paths of the folders that it lies in, outermost first, without the root.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = &str> {
        self.as_str().match_indices('/').map(|(at, _)| &self.as_str()[..at])
    }

    pub(super) fn is_below(&self, folder: &Self) -> bool {
        self != folder && folder.0.covers(&self.0)
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_and_names_that_no_disk_holds_are_no_files() {
        assert!(FilePath::parse("./").unwrap().is_root());
        assert!(FilePath::parse_file("./").is_err());
        assert!(FilePath::parse(&"n".repeat(255)).is_ok());
        assert!(matches!(FilePath::parse(&"n".repeat(256)), Err(BlobError::InvalidPath { .. })));
        assert!(matches!(FilePath::parse("a/../b"), Err(BlobError::InvalidPath { .. })));
    }

    #[test]
    fn ancestors_and_descent_respect_segments() {
        let path = FilePath::parse("a/b/c").unwrap();
        assert_eq!(path.ancestors().collect::<Vec<_>>(), ["a", "a/b"]);
        assert!(path.is_below(&FilePath::parse("a/b").unwrap()));
        assert!(!path.is_below(&path));
        assert!(!FilePath::parse("ab").unwrap().is_below(&FilePath::parse("a").unwrap()));
    }
}

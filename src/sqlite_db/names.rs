//! Names of databases and namespaces as files: one folder per namespace, one file per database. Every byte but lower
//! case letters, digits, `-` and `_` is written `%XX`, so that no name leaves its folder and no two names are one file.

use super::SqliteError;
use crate::id::RoomId;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Longest name, bytes, as written in the file system.
const NAME_BYTES_MAX: usize = 200;
/// Deepest namespace.
const NAMESPACE_PARTS_MAX: usize = 16;
/// Most databases in one namespace that are listed.
const LIST_MAX: usize = 10_000;
const DATABASE_ENDING: &str = ".sqlite";
const NAMESPACE_ENDING: &str = ".ns";

/// A database.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DatabaseAt {
    pub room: RoomId,
    /// Path of the namespace; empty for the room's own.
    pub namespace: Vec<String>,
    pub name: String,
}

/// The folder of a namespace.
pub(super) fn folder(root: &Path, namespace: &[String]) -> Result<PathBuf, SqliteError> {
    if namespace.len() > NAMESPACE_PARTS_MAX {
        let text = format!("the namespace has {} parts of at most {NAMESPACE_PARTS_MAX}", namespace.len());
        return Err(SqliteError::invalid(text));
    }
    let mut folder = root.to_path_buf();
    for part in namespace {
        folder.push(encode("namespace", part)? + NAMESPACE_ENDING);
    }
    Ok(folder)
}

/// The file of a database.
pub(super) fn file(root: &Path, at: &DatabaseAt) -> Result<PathBuf, SqliteError> {
    Ok(folder(root, &at.namespace)?.join(encode("database", &at.name)? + DATABASE_ENDING))
}

pub(super) fn exists(path: &Path) -> bool {
    path.is_file()
}

/// Makes the folders above a file, for their owner only.
pub(super) fn make_folder(path: &Path) -> Result<(), SqliteError> {
    use std::os::unix::fs::DirBuilderExt;
    let Some(folder) = path.parent() else { return Ok(()) };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| SqliteError::io("make the folder of", path, &error))
}

/// The files that stand beside a database.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Removes a database that nobody has open; the database file goes last, so that a crash in between leaves it found.
pub(super) fn remove(path: &Path) -> Result<(), SqliteError> {
    let files = [beside(path, "-wal"), beside(path, "-shm"), beside(path, "-journal"), beside(path, ".json")];
    for file in files.iter().map(PathBuf::as_path).chain([path]) {
        match fs::remove_file(file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(SqliteError::io("delete", file, &error));
            }
            _ => {}
        }
    }
    sync_folder(path)
}

/// Makes what happened to the names in the folder of `path` durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), SqliteError> {
    let Some(folder) = path.parent() else { return Ok(()) };
    let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| SqliteError::io("sync the folder of", path, &error))
}

/// Databases in a folder, by name.
pub(super) fn list(folder: &Path) -> Result<Vec<String>, SqliteError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(SqliteError::io("list", folder, &error)),
    };
    let mut names = Vec::new();
    for entry in entries.take(LIST_MAX) {
        let entry = entry.map_err(|error| SqliteError::io("list", folder, &error))?;
        let name = entry.file_name();
        names.extend(name.to_str().and_then(|name| name.strip_suffix(DATABASE_ENDING)).and_then(decode));
    }
    names.sort();
    Ok(names)
}

fn encode(what: &str, name: &str) -> Result<String, SqliteError> {
    use std::fmt::Write;
    if name.is_empty() {
        return Err(SqliteError::invalid(format!("the name of a {what} must not be empty")));
    }
    let mut encoded = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => encoded.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => {
                let _ = write!(encoded, "%{byte:02x}");
            }
        }
    }
    if encoded.len() > NAME_BYTES_MAX {
        let text =
            format!("the name of the {what} is too long: at most {NAME_BYTES_MAX} bytes as a file name");
        return Err(SqliteError::invalid(text));
    }
    Ok(encoded)
}

fn decode(file: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut left = file.bytes();
    while let Some(byte) = left.next() {
        if byte == b'%' {
            let digits = [left.next()?, left.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_come_back_and_never_leave_their_folder(name in ".{1,40}") {
            if let Ok(file) = encode("database", &name) {
                prop_assert!(!file.contains('/') && !file.contains('.'));
                prop_assert_eq!(decode(&file), Some(name));
            }
        }
    }

    #[test]
    fn names_that_differ_only_in_case_are_two_files() {
        assert_ne!(encode("database", "A").unwrap(), encode("database", "a").unwrap());
        assert!(encode("database", "").is_err());
        assert!(encode("database", &"x".repeat(201)).is_err());
    }
}

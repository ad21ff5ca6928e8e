//! The key-encryption key: 32 bytes, in hexadecimal, in a file that only its owner may read.

use super::{Secret, VaultError};
use std::fmt;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use zeroize::Zeroizing;

/// Name of the key file in the data directory.
pub const KEK_FILE: &str = "kek";
const KEY_BYTES: usize = 32;

/// The key that wraps all data keys.
pub struct Kek(Secret);

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kek(…)")
    }
}

impl Kek {
    /// A fresh key that is stored nowhere.
    pub fn random() -> Result<Self, VaultError> {
        Secret::random(KEY_BYTES).map(Self)
    }

    /// Reads the key file; `None` where there is none. Refuses a file that group or others may read.
    pub fn load(path: &Path) -> Result<Option<Self>, VaultError> {
        let failed = |detail: std::io::Error| io_error("read", path, &detail);
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(VaultError::KekReadable { path: path.to_owned(), mode });
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
        let malformed = || VaultError::KekMalformed { path: path.to_owned() };
        unhex(text.trim()).map(|bytes| Some(Self(Secret::new(bytes)))).ok_or_else(malformed)
    }

    /// Makes a key and its file, mode 0600, on disk before it returns. Never overwrites one.
    pub fn generate(path: &Path) -> Result<Self, VaultError> {
        let kek = Self::random()?;
        let write = || -> std::io::Result<()> {
            let temporary = path.with_extension("new");
            let _ = fs::remove_file(&temporary);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            let mut text = Zeroizing::new(String::with_capacity(KEY_BYTES * 2 + 1));
            for byte in kek.bytes() {
                let _ = write!(text, "{byte:02x}");
            }
            text.push('\n');
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::hard_link(&temporary, path)?;
            fs::remove_file(&temporary)?;
            path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
        };
        write().map_err(|error| io_error("write", path, &error))?;
        Ok(kek)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.expose()
    }
}

fn io_error(action: &'static str, path: &Path, error: &std::io::Error) -> VaultError {
    VaultError::KekIo { action, path: path.to_owned(), detail: error.to_string() }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() != KEY_BYTES * 2 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..KEY_BYTES).map(|i| u8::from_str_radix(&text[i * 2..i * 2 + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_private_reads_back_and_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(KEK_FILE);
        assert!(Kek::load(&path).unwrap().is_none());
        let made = Kek::generate(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Kek::load(&path).unwrap().unwrap().bytes(), made.bytes());
        assert!(matches!(Kek::generate(&path), Err(VaultError::KekIo { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Kek::load(&path), Err(VaultError::KekReadable { mode: 0o640, .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short").unwrap();
        assert!(matches!(Kek::load(&path), Err(VaultError::KekMalformed { .. })));
    }
}

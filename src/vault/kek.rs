//! A key-encryption key: 32 bytes, written in hexadecimal. Its file holds one key a line, the one in use first; only
//! its owner may read it.

use super::seal::KEY_BYTES;
use super::{Secret, VaultError};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use zeroize::Zeroizing;

/// Name of the key file in the data directory.
pub const KEK_FILE: &str = "kek";
/// Most keys that a file or the environment holds: the one in use and those before it.
pub const KEKS_MAX: usize = 8;

/// A key that wraps data keys.
#[derive(Clone)]
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

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        hex::decode(text.trim())
            .ok()
            .filter(|bytes| bytes.len() == KEY_BYTES)
            .map(|bytes| Self(Secret::new(bytes)))
    }

    /// Reads the key in use from its file; `None` where there is no file.
    pub fn load(path: &Path) -> Result<Option<Self>, VaultError> {
        Ok(load_all(path)?.and_then(|keys| keys.into_iter().next()))
    }

    /// Makes a key and its file, mode 0600, on disk before it returns. Never overwrites one.
    pub fn generate(path: &Path) -> Result<Self, VaultError> {
        let kek = Self::random()?;
        let keys = std::slice::from_ref(&kek);
        let write = || -> std::io::Result<()> {
            let draft = draft(path, keys)?;
            fs::hard_link(&draft, path)?;
            fs::remove_file(&draft)?;
            sync_parent(path)
        };
        write().map_err(|error| io_error("write", path, &error))?;
        Ok(kek)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.expose()
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.bytes(), other.bytes()).is_ok()
    }
}

/// All keys of a file, the one in use first. Refuses a file that group or others may read.
pub(super) fn load_all(path: &Path) -> Result<Option<Vec<Kek>>, VaultError> {
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
    let keys: Option<Vec<Kek>> = text.lines().map(Kek::parse).collect();
    keys.filter(|keys| !keys.is_empty() && keys.len() <= KEKS_MAX)
        .map(Some)
        .ok_or_else(|| VaultError::KekMalformed { path: path.to_owned() })
}

/// Replaces the keys of a file, whole or not at all, on disk before it returns.
pub(super) fn replace_all(path: &Path, keys: &[Kek]) -> Result<(), VaultError> {
    let write = || -> std::io::Result<()> {
        fs::rename(draft(path, keys)?, path)?;
        sync_parent(path)
    };
    write().map_err(|error| io_error("write", path, &error))
}

/// Writes the keys beside their file and answers where.
fn draft(path: &Path, keys: &[Kek]) -> std::io::Result<std::path::PathBuf> {
    let temporary = path.with_extension("new");
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let mut text = Zeroizing::new(String::with_capacity(keys.len() * (KEY_BYTES * 2 + 1)));
    for key in keys {
        text.push_str(&Zeroizing::new(hex::encode(key.bytes())));
        text.push('\n');
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(temporary)
}

fn sync_parent(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn io_error(action: &'static str, path: &Path, error: &std::io::Error) -> VaultError {
    VaultError::KekIo { action, path: path.to_owned(), detail: error.to_string() }
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
        assert!(Kek::load(&path).unwrap().unwrap().is(&made));
        assert!(matches!(Kek::generate(&path), Err(VaultError::KekIo { .. })));
        let next = Kek::random().unwrap();
        replace_all(&path, &[next.clone(), made.clone()]).unwrap();
        let keys = load_all(&path).unwrap().unwrap();
        assert!(keys.len() == 2 && keys[0].is(&next) && keys[1].is(&made));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Kek::load(&path), Err(VaultError::KekReadable { mode: 0o640, .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for bad in ["short", "", "\n"] {
            fs::write(&path, bad).unwrap();
            assert!(matches!(Kek::load(&path), Err(VaultError::KekMalformed { .. })), "{bad:?}");
        }
    }
}

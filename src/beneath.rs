//! Paths resolved below a folder by the kernel: no symbolic link is followed anywhere, and nothing that changes meanwhile
//! leads out, because what was resolved is held open. `openat2` where the kernel has it, else segment by segment.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Mode of folders that are made, less the umask.
const FOLDER_MODE: Mode = Mode::RWXU.union(Mode::RWXG).union(Mode::RWXO);

/// A folder held open, so that its path is its own whatever happens to its name.
#[derive(Debug)]
pub struct Held(OwnedFd);

impl Held {
    /// A path to an entry of it. Valid while this is held.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// A path to itself.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// Opens what is at `path` below `root`; the empty path is `root` itself.
pub fn open(root: &Path, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    if path.is_empty() {
        return Ok(rustix::fs::open(root, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?);
    }
    let root = rustix::fs::open(root, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
    let flags = flags | OFlags::CLOEXEC;
    let only = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(&root, path, flags, Mode::empty(), only) {
        // An old kernel, or a sandbox that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => Ok(walk(root.as_fd(), path, flags)?),
        opened => Ok(opened?),
    }
}

/// The folder at `path` below `root`.
pub fn hold(root: &Path, path: &str) -> io::Result<Held> {
    open(root, path, FOLDER).map(Held)
}

/// The same, made where it is missing.
pub fn make(root: &Path, path: &str) -> io::Result<Held> {
    std::fs::create_dir_all(root)?;
    let mut folder = rustix::fs::open(root, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        match rustix::fs::mkdirat(&folder, segment, FOLDER_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        folder = rustix::fs::openat(&folder, segment, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(Held(folder))
}

fn walk(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let mut segments = path.split('/').peekable();
    let mut folder: Option<OwnedFd> = None;
    while let Some(segment) = segments.next() {
        if matches!(segment, "" | "." | "..") {
            return Err(Errno::XDEV);
        }
        let wanted = if segments.peek().is_some() { FOLDER } else { flags };
        let at = folder.as_ref().map_or(root, AsFd::as_fd);
        let opened = rustix::fs::openat(at, segment, wanted | OFlags::NOFOLLOW, Mode::empty())?;
        // With O_PATH a link itself is opened, not refused.
        if rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode)
            == rustix::fs::FileType::Symlink
        {
            return Err(Errno::LOOP);
        }
        folder = Some(opened);
    }
    folder.ok_or(Errno::NOENT)
}

/// Whether a path was refused because a link is in it, or it leads out.
pub fn is_link(error: &io::Error) -> bool {
    [Errno::LOOP, Errno::XDEV].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn desk() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::TempDir::new().unwrap();
        let root = dir.path().join("files");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(root.join("a/b/c"), "in").unwrap();
        fs::write(dir.path().join("outside/c"), "out").unwrap();
        symlink(dir.path().join("outside"), root.join("a/link")).unwrap();
        symlink("b", root.join("a/near")).unwrap();
        symlink("b/c", root.join("a/file")).unwrap();
        (dir, root)
    }

    #[test]
    fn links_and_ways_out_are_refused_by_both_ways_of_resolving() {
        let (_dir, root) = desk();
        let held = rustix::fs::open(&root, FOLDER, Mode::empty()).unwrap();
        for path in ["a/link/c", "a/near/c", "a/file", "a/link", "../outside/c", "a/../../outside/c"] {
            let error = open(&root, path, OFlags::RDONLY).unwrap_err();
            assert!(is_link(&error), "{path}: {error}");
            let walked = io::Error::from(walk(held.as_fd(), path, OFlags::RDONLY).unwrap_err());
            assert!(is_link(&walked) || walked.kind() == io::ErrorKind::NotADirectory, "{path}: {walked}");
        }
        assert!(open(&root, "a/b/c", OFlags::RDONLY).is_ok());
        assert!(walk(held.as_fd(), "a/b/c", OFlags::RDONLY).is_ok());
        assert_eq!(open(&root, "a/x", OFlags::RDONLY).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_folder_that_is_swapped_for_a_link_is_still_the_folder() {
        let (dir, root) = desk();
        let held = hold(&root, "a/b").unwrap();
        fs::rename(root.join("a/b"), root.join("a/old")).unwrap();
        symlink(dir.path().join("outside"), root.join("a/b")).unwrap();
        fs::write(held.join("new"), "x").unwrap();
        assert!(root.join("a/old/new").exists() && !dir.path().join("outside/new").exists());
        let error = hold(&root, "a/b").unwrap_err();
        assert!(is_link(&error) || error.kind() == io::ErrorKind::NotADirectory, "{error}");
    }

    #[test]
    fn folders_are_made_below_the_root_only() {
        let (dir, root) = desk();
        fs::write(make(&root, "a/x/y").unwrap().join("f"), "x").unwrap();
        assert!(root.join("a/x/y/f").exists());
        assert!(make(&root, "a/link/z").is_err());
        assert!(make(&root, "a/b/c/z").is_err(), "a file is in the way");
        assert!(!dir.path().join("outside/z").exists());
    }
}

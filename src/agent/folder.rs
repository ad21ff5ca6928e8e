//! Whose threads are where: all in one folder, or those of each participant in a folder of their own, so that nobody
//! hears of another's. Pure.

use super::config::ThreadsConfig;
use super::storage::Place;
use sha2::{Digest, Sha256};

/// Bytes of a name's digest that make the name of a folder.
const KEY_BYTES: usize = 16;

impl ThreadsConfig {
    /// Folder of the threads that participant `name` begins and may speak of. A path of its own cannot be guessed, and
    /// what it is named cannot be chosen by whoever talks.
    #[must_use]
    pub fn folder_for(&self, name: &str) -> String {
        if !self.by_participant {
            return self.dir.clone();
        }
        let digest = Sha256::digest(name.as_bytes());
        let key = hex::encode(&digest[..KEY_BYTES]);
        format!("{}/{key}", self.dir)
    }

    /// The folder in whose list a thread is.
    #[must_use]
    pub fn folder_of(&self, path: &str) -> String {
        match path.rsplit_once('/') {
            Some((folder, _)) if self.by_participant => folder.to_owned(),
            _ => self.dir.clone(),
        }
    }

    /// Whether participant `name` may speak of this thread, where everybody has their own.
    #[must_use]
    pub fn is_theirs(&self, path: &str, name: &str) -> bool {
        let folder = self.folder_for(name);
        match (Place::parse(path), Place::parse(&folder)) {
            // Exactly as it is written where it began: a thread has one path, and so one task.
            (Ok(place), Ok(dir)) => place.is_thread_in(&dir) && self.folder_of(path) == folder,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threads(by_participant: bool) -> ThreadsConfig {
        ThreadsConfig { dir: "dataset://threads".into(), single: false, stored: true, by_participant }
    }

    #[test]
    fn everybody_has_a_folder_and_nobody_anothers() {
        let threads = threads(true);
        let (ann, bob) = (threads.folder_for("ann"), threads.folder_for("bob"));
        assert_ne!(ann, bob);
        assert_ne!(threads.folder_for("Ann"), ann);
        let own = format!("{ann}/1");
        assert!(threads.is_theirs(&own, "ann") && !threads.is_theirs(&own, "bob"));
        assert_eq!(threads.folder_of(&own), ann);
        let slashes = own.replace("//threads/", "//threads//");
        for path in [
            &slashes,
            &format!("{ann}//1"),
            &format!("{ann}/index"),
            &format!("{ann}/a/1"),
            &format!("{bob}/1"),
            &format!("{ann}/../{}/1", bob.rsplit('/').next().unwrap()),
            "dataset://threads/1",
            "dataset://threads/index",
            "tmp://threads/1",
            "",
        ] {
            assert!(!threads.is_theirs(path, "ann"), "{path}");
        }
    }

    #[test]
    fn else_all_threads_are_in_one_folder() {
        let threads = threads(false);
        assert_eq!(threads.folder_for("ann"), "dataset://threads");
        assert_eq!(threads.folder_of("dataset://elsewhere/1"), "dataset://threads");
    }
}

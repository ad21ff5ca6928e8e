//! What a killed server left behind: a record per child on disk, and the end of all that is left of its session.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Name of the record in a child's own directory.
const RECORD_FILE: &str = "process.json";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A child as recorded. Its process id is its session's and its group's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub pid: u32,
    /// When the kernel started it, ticks since boot; tells it from a later process with the same id.
    pub start_ticks: u64,
    pub boot_id: String,
}

impl Record {
    /// The record of a process that runs now.
    pub(super) fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, start_ticks: stat(pid)?.start_ticks, boot_id: boot_id() })
    }

    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        fs::write(directory.join(RECORD_FILE), serde_json::to_vec(self)?)
    }

    fn read(directory: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(directory.join(RECORD_FILE)).ok()?).ok()
    }
}

fn boot_id() -> String {
    fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned()
}

/// The fields of `/proc/<pid>/stat` that matter here.
struct Stat {
    session: u32,
    start_ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything; fields are counted behind it, from the third.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    Some(Stat { session: fields.get(3)?.parse().ok()?, start_ticks: fields.get(19)?.parse().ok()? })
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn to_pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

/// Sends a signal to the child and its group. Errors mean that there is nobody left.
pub(super) fn signal(pid: u32, signal: Signal) {
    let Some(pid) = to_pid(pid) else { return };
    // Before it is a group of its own, the child is only a process.
    if kill_process_group(pid, signal).is_err() {
        let _ = kill_process(pid, signal);
    }
}

/// The processes of a session.
pub(super) fn of_session(session: u32) -> impl Iterator<Item = u32> {
    processes().filter(move |pid| session_of(*pid) == Some(session))
}

pub(super) fn session_of(pid: u32) -> Option<u32> {
    stat(pid).map(|stat| stat.session)
}

/// Kills what is left of a session whose leader was waited for or is gone. Number of processes.
pub(super) fn kill_session(session: u32) -> usize {
    let left: Vec<u32> = of_session(session).collect();
    for pid in left.iter().filter_map(|pid| to_pid(*pid)) {
        let _ = kill_process(pid, Signal::KILL);
    }
    left.len()
}

/// Ends what former servers on this data directory left and removes their children's directories. Number of processes.
pub(super) fn reap(run_dir: &Path) -> usize {
    let directories: Vec<PathBuf> =
        fs::read_dir(run_dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    let mut killed = 0;
    for directory in directories {
        if let Some(record) = Record::read(&directory).filter(|record| record.boot_id == boot_id()) {
            // While one process of a session lives, its id is not given out again.
            let still_it = stat(record.pid).is_none_or(|stat| stat.start_ticks == record.start_ticks);
            if still_it {
                killed += kill_session(record.pid);
            }
        }
        let _ = fs::remove_dir_all(&directory);
    }
    killed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_record_is_found_and_a_stranger_with_its_id_is_spared() {
        let own = Record::of(std::process::id()).unwrap();
        assert!(own.start_ticks > 0);
        let run = tempfile::tempdir().unwrap();
        let directory = run.path().join("x");
        fs::create_dir(&directory).unwrap();
        // Same id, other start: had it been killed, this test would not end well.
        Record { start_ticks: own.start_ticks + 1, ..own }.write(&directory).unwrap();
        assert_eq!(reap(run.path()), 0);
        assert!(!directory.exists());
    }
}

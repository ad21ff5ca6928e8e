//! What of a commit is read: documents by their names, without what is hidden or left out, and nothing that leads elsewhere.

use super::GitError;
use super::fault::plain;
use crate::spec::TEXT_BYTES_MAX;
use crate::spec::folder::{IGNORE_FILE, Ignore, is_document};
use std::collections::{BTreeMap, HashMap};

/// Most entries of a commit below the path.
pub const ENTRIES_MAX: usize = 100_000;
/// Most documents that are read.
pub const FILES_MAX: usize = 10_000;
/// Largest document, bytes.
pub const FILE_BYTES_MAX: u64 = TEXT_BYTES_MAX as u64;
/// Most bytes of all documents together.
pub const TEXTS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of the list of entries.
pub(super) const LISTING_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes around one text, as git tells it.
pub(super) const HEADER_BYTES_MAX: usize = 128;
/// Folders below one another at most.
const DEPTH_MAX: usize = 32;
/// Bytes of paths times bytes of patterns: what comparing them costs.
const COMPARED_MAX: usize = 1_000_000_000;
/// What is told of what is not read: so many at most.
const TOLD_MAX: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    File,
    Link,
    Submodule,
}

/// One entry of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    mode: Mode,
    pub object: String,
    size: u64,
    pub path: String,
}

impl Entry {
    /// Puts it below a folder.
    pub fn below(&mut self, folder: &str) {
        if !folder.is_empty() {
            self.path = format!("{folder}/{}", self.path);
        }
    }

    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it says what is left out.
    pub fn is_ignore_file(&self, bytes_max: u64) -> bool {
        self.mode == Mode::File && self.name() == IGNORE_FILE && self.size <= bytes_max
    }
}

/// Reads what `git ls-tree -r -z -l` says.
pub(super) fn parse(listing: &[u8], revision: &str) -> Result<Vec<Entry>, GitError> {
    let odd = || GitError::Git("its list of files is not understood".to_owned());
    let mut entries = vec![];
    for line in listing.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let line = String::from_utf8_lossy(line);
        let (head, path) = line.split_once('\t').ok_or_else(odd)?;
        let words: Vec<&str> = head.split_whitespace().collect();
        let [mode, _, object, size] = words.as_slice() else { return Err(odd()) };
        let mode = match *mode {
            "120000" => Mode::Link,
            "160000" => Mode::Submodule,
            _ => Mode::File,
        };
        let size = if mode == Mode::Submodule { 0 } else { size.parse().map_err(|_| odd())? };
        if entries.len() >= ENTRIES_MAX {
            let what = format!("has more than {ENTRIES_MAX} files, and is not read; name a folder by `path`");
            return Err(GitError::TooLarge { revision: revision.to_owned(), what });
        }
        entries.push(Entry { mode, object: (*object).to_owned(), size, path: path.to_owned() });
    }
    Ok(entries)
}

/// The documents among the entries below `top`, and what is not read and why. All that cannot be read is told at once.
pub(super) fn choose(
    entries: Vec<Entry>,
    rules: &[(String, String)],
    top: &str,
    revision: &str,
) -> Result<(Vec<Entry>, Vec<String>), GitError> {
    let is_told = |entry: &Entry| entry.mode != Mode::File || is_document(entry.name());
    let entries: Vec<Entry> = entries.into_iter().filter(is_told).collect();
    check_patterns(&entries, rules, revision)?;
    let rules: BTreeMap<&str, Ignore> =
        rules.iter().map(|(path, text)| (folder(path), Ignore::parse(text))).collect();
    let mut folders = HashMap::new();
    let (mut chosen, mut left_out, mut problems, mut bytes) = (vec![], vec![], vec![], 0);
    for entry in &entries {
        let path = plain(&entry.path);
        if entry.path.split('/').count() > DEPTH_MAX {
            problems.push(format!("{path}: more than {DEPTH_MAX} folders deep"));
            continue;
        }
        if is_left_out(&entry.path, top, &rules, &mut folders) {
            continue;
        }
        match entry.mode {
            Mode::Submodule => left_out.push(format!("{path}: a submodule; submodules are not read")),
            Mode::Link if is_document(entry.name()) => {
                problems.push(format!(
                    "{path}: a symbolic link; links are not followed, put the document itself there"
                ));
            }
            Mode::Link => left_out.push(format!("{path}: a symbolic link; links are not followed")),
            Mode::File if entry.size > FILE_BYTES_MAX => {
                problems
                    .push(format!("{path}: {} bytes, a document has at most {FILE_BYTES_MAX}", entry.size));
            }
            Mode::File => {
                bytes += entry.size;
                chosen.push(entry.clone());
            }
        }
    }
    let too_large = |what: String| Err(GitError::TooLarge { revision: revision.to_owned(), what });
    if chosen.len() > FILES_MAX {
        return too_large(format!("has more than {FILES_MAX} documents; name a folder by `path`"));
    }
    if bytes > TEXTS_BYTES_MAX as u64 {
        return too_large(format!("has documents of more than {} MiB together", TEXTS_BYTES_MAX >> 20));
    }
    if !problems.is_empty() {
        cut(&mut problems);
        return Err(GitError::Unreadable { revision: revision.to_owned(), problems });
    }
    cut(&mut left_out);
    Ok((chosen, left_out))
}

/// Patterns are compared with paths: all of both together is bounded.
fn check_patterns(entries: &[Entry], rules: &[(String, String)], revision: &str) -> Result<(), GitError> {
    let paths: usize = entries.iter().map(|entry| entry.path.len()).sum();
    let patterns: usize = rules.iter().map(|(_, text)| text.len()).sum();
    if paths.saturating_mul(patterns) <= COMPARED_MAX {
        return Ok(());
    }
    let what = format!(
        "has {patterns} bytes of patterns in its files `{IGNORE_FILE}`, too many for {} files; write fewer",
        entries.len()
    );
    Err(GitError::TooLarge { revision: revision.to_owned(), what })
}

fn cut(told: &mut Vec<String>) {
    if told.len() > TOLD_MAX {
        let more = told.len() - TOLD_MAX;
        told.truncate(TOLD_MAX);
        told.push(format!("and {more} more"));
    }
}

/// The folder that a path is in; empty at the top.
fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Whether a file, or a folder that it is in, is hidden or left out.
fn is_left_out(
    path: &str,
    top: &str,
    rules: &BTreeMap<&str, Ignore>,
    folders: &mut HashMap<String, bool>,
) -> bool {
    let below = if top.is_empty() { path } else { path.get(top.len() + 1..).unwrap_or(path) };
    let start = path.len() - below.len();
    let ends = below.match_indices('/').map(|(at, _)| (start + at, true)).chain([(path.len(), false)]);
    for (end, is_folder) in ends {
        let Some(part) = path.get(..end) else { continue };
        let look = || {
            part.rsplit('/').next().is_some_and(|name| name.starts_with('.'))
                || verdict(part, top, is_folder, rules)
        };
        let left_out = match folders.get(part).filter(|_| is_folder) {
            Some(known) => *known,
            None => look(),
        };
        if is_folder {
            folders.insert(part.to_owned(), left_out);
        }
        if left_out {
            return true;
        }
    }
    false
}

/// The ignore file that is nearest and has a pattern that fits decides.
fn verdict(path: &str, top: &str, is_folder: bool, rules: &BTreeMap<&str, Ignore>) -> bool {
    let mut at = folder(path);
    loop {
        let relative = if at.is_empty() { path } else { path.get(at.len() + 1..).unwrap_or(path) };
        if let Some(said) = rules.get(at).and_then(|ignore| ignore.verdict(relative, is_folder)) {
            return said;
        }
        if at.len() <= top.len() {
            return false;
        }
        at = folder(at);
    }
}

/// Reads what `git cat-file --batch` says of these entries.
pub(super) fn texts(
    said: &[u8],
    entries: &[&Entry],
    revision: &str,
) -> Result<Vec<(String, String)>, GitError> {
    let odd = || GitError::Git("its contents are not understood".to_owned());
    let (mut rest, mut texts, mut problems) = (said, vec![], vec![]);
    for entry in entries {
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or_else(odd)?;
        let (head, behind) = rest.split_at_checked(end).ok_or_else(odd)?;
        let head = String::from_utf8_lossy(head);
        let words: Vec<&str> = head.split(' ').collect();
        let [object, "blob", size] = words.as_slice() else { return Err(odd()) };
        let size: usize = size.parse().map_err(|_| odd())?;
        if *object != entry.object {
            return Err(odd());
        }
        // Behind the head and behind the text is one line feed each.
        let (text, more) =
            behind.get(1..).and_then(|behind| behind.split_at_checked(size)).ok_or_else(odd)?;
        rest = more.get(1..).ok_or_else(odd)?;
        match std::str::from_utf8(text) {
            Ok(text) => texts.push((entry.path.clone(), text.to_owned())),
            Err(_) => problems.push(format!("{}: no UTF-8 text", plain(&entry.path))),
        }
    }
    if problems.is_empty() {
        return Ok(texts);
    }
    cut(&mut problems);
    Err(GitError::Unreadable { revision: revision.to_owned(), problems })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(mode: Mode, size: u64, path: &str) -> Entry {
        Entry { mode, object: "0".into(), size, path: path.into() }
    }

    #[test]
    fn listings_are_read() {
        let listing = b"100644 blob aa      12\ta b.yaml\x00120000 blob bb 4\tlink\x00160000 commit cc       -\tsub\x00";
        let entries = parse(listing, "c").unwrap();
        let told: Vec<_> =
            entries.iter().map(|e| (e.mode, e.object.as_str(), e.size, e.path.as_str())).collect();
        assert_eq!(
            told,
            [
                (Mode::File, "aa", 12, "a b.yaml"),
                (Mode::Link, "bb", 4, "link"),
                (Mode::Submodule, "cc", 0, "sub")
            ]
        );
        assert!(parse(b"nonsense\x00", "c").is_err());
        assert!(parse(b"100644 blob aa x\ta\x00", "c").is_err());
    }

    #[test]
    fn documents_are_chosen_and_nothing_that_leads_elsewhere() {
        let entries = [
            entry(Mode::File, 1, "specs/.github/x.yaml"),
            entry(Mode::File, 1, "specs/a.yaml"),
            entry(Mode::File, 1, "specs/old/b.yaml"),
            entry(Mode::File, 1, "specs/in/c.yml"),
            entry(Mode::File, 1, "specs/in/left.yaml"),
            entry(Mode::File, u64::MAX, "specs/huge.bin"),
            entry(Mode::Link, 1, "specs/folder"),
            entry(Mode::Submodule, 0, "specs/sub"),
        ];
        let rules = [
            ("specs/.meshagentignore".to_owned(), "/old/\n".to_owned()),
            ("specs/in/.meshagentignore".to_owned(), "left.yaml\n".to_owned()),
        ];
        let (chosen, left_out) = choose(entries.to_vec(), &rules, "specs", "r").unwrap();
        let paths: Vec<_> = chosen.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, ["specs/a.yaml", "specs/in/c.yml"]);
        assert_eq!(left_out.len(), 2, "{left_out:?}");
        let hostile =
            [entry(Mode::Link, 1, "passwd.yaml"), entry(Mode::File, FILE_BYTES_MAX + 1, "huge.yaml")];
        let error = choose(hostile.to_vec(), &[], "", "r").unwrap_err().to_string();
        assert!(
            error.contains("passwd.yaml: a symbolic link") && error.contains("huge.yaml: 4194305 bytes"),
            "{error}"
        );
        let many: Vec<_> = (0..=FILES_MAX).map(|n| entry(Mode::File, 1, &format!("{n}.yaml"))).collect();
        assert!(matches!(choose(many, &[], "", "r"), Err(GitError::TooLarge { .. })));
        let large: Vec<_> =
            (0..20).map(|n| entry(Mode::File, FILE_BYTES_MAX, &format!("{n}.yaml"))).collect();
        assert!(matches!(choose(large, &[], "", "r"), Err(GitError::TooLarge { .. })));
    }

    #[test]
    fn patterns_and_depths_of_strangers_are_bounded() {
        let many: Vec<_> =
            (0..10_000).map(|n| entry(Mode::File, 1, &format!("folder/{n:080}.yaml"))).collect();
        let rules = [(".meshagentignore".to_owned(), "*a*b*c\n".repeat(9_000))];
        let error = choose(many.clone(), &rules, "", "r").unwrap_err().to_string();
        assert!(error.contains("too many for 10000 files; write fewer"), "{error}");
        assert_eq!(choose(many, &[], "", "r").unwrap().0.len(), 10_000);
        let deep = entry(Mode::File, 1, &format!("{}x.yaml", "d/".repeat(DEPTH_MAX)));
        let error = choose(vec![deep], &[], "", "r").unwrap_err().to_string();
        assert!(error.contains("folders deep"), "{error}");
    }

    #[test]
    fn contents_are_read_whatever_is_in_them() {
        let (a, b) = (entry(Mode::File, 3, "a.yaml"), entry(Mode::File, 1, "b.yaml"));
        let said = b"0 blob 3\na\nb\n0 blob 1\nc\n";
        let read = texts(said, &[&a, &b], "r").unwrap();
        assert_eq!(read, [("a.yaml".to_owned(), "a\nb".to_owned()), ("b.yaml".to_owned(), "c".to_owned())]);
        assert!(texts(b"0 blob 9\na\n", &[&a], "r").is_err());
        assert!(texts(b"0 missing\n", &[&a], "r").is_err());
        let error = texts(b"0 blob 1\n\xff\n", &[&a], "r").unwrap_err().to_string();
        assert!(error.contains("a.yaml: no UTF-8"), "{error}");
    }
}

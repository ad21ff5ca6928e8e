//! Grants for room storage: the files policy, and the older list of folders read as one.

use super::path::StoragePath;
use crate::spec::grant::{FileAction, FileRule, PathGrant, StorageGrant};
use std::borrow::Cow;

const READ_ONLY: [FileAction; 2] = [FileAction::List, FileAction::Read];
const ALL_BUT_PRESIGN: [FileAction; 4] =
    [FileAction::List, FileAction::Read, FileAction::Write, FileAction::Delete];

/// Whether the action is allowed on this one path.
pub(super) fn allows(grant: &StorageGrant, action: FileAction, path: &StoragePath) -> bool {
    rules(grant).iter().filter_map(Readable::of).any(|rule| rule.allows(action, path))
}

/// Whether the action is allowed on the path and everything below it.
pub(super) fn allows_subtree(grant: &StorageGrant, action: FileAction, path: &StoragePath) -> bool {
    rules(grant).iter().filter_map(Readable::of).any(|rule| {
        rule.recursive && rule.allows(action, path) && !rule.excluded.iter().any(|out| path.covers(out))
    })
}

/// Whether the folder may be listed: it is listable, or something below it is.
pub(super) fn allows_listing(grant: &StorageGrant, folder: &StoragePath) -> bool {
    let leads_to = |rule: Readable<'_>| {
        rule.actions.contains(&FileAction::List) && folder.covers(&rule.path) && !rule.excludes(&rule.path)
    };
    allows(grant, FileAction::List, folder) || rules(grant).iter().filter_map(Readable::of).any(leads_to)
}

/// The rules in force: `files` where written, else what the older `paths` mean.
fn rules(grant: &StorageGrant) -> Cow<'_, [FileRule]> {
    match (&grant.files, &grant.paths) {
        (Some(policy), _) => Cow::Borrowed(&policy.paths),
        (None, None) => Cow::Owned(vec![folder_rule("", false, Vec::new())]),
        (None, Some(folders)) => Cow::Owned(folder_rules(folders)),
    }
}

/// Each folder is a subtree; earlier folders are carved out of later ones, so that the first match wins.
/// A folder that is not a path ends the list: what stands after it cannot be told apart from it.
fn folder_rules(folders: &[PathGrant]) -> Vec<FileRule> {
    let mut earlier = Vec::new();
    let mut rules = Vec::new();
    for folder in folders {
        let Ok(path) = StoragePath::parse(&folder.path) else { break };
        rules.push(folder_rule(path.as_str(), folder.read_only, earlier.clone()));
        earlier.push(path.as_str().to_owned());
    }
    rules
}

fn folder_rule(path: &str, read_only: bool, excluded_paths: Vec<String>) -> FileRule {
    let actions = if read_only { READ_ONLY.to_vec() } else { ALL_BUT_PRESIGN.to_vec() };
    FileRule { path: path.to_owned(), recursive: true, actions, excluded_paths }
}

/// A rule whose paths are all canonical. A rule that has another path in it grants nothing:
/// an exclusion that never matches would grant too much.
struct Readable<'a> {
    path: StoragePath,
    recursive: bool,
    actions: &'a [FileAction],
    excluded: Vec<StoragePath>,
}

impl<'a> Readable<'a> {
    fn of(rule: &'a FileRule) -> Option<Self> {
        let excluded = rule.excluded_paths.iter().map(|path| canonical(path)).collect::<Option<Vec<_>>>()?;
        Some(Self {
            path: canonical(&rule.path)?,
            recursive: rule.recursive,
            actions: &rule.actions,
            excluded,
        })
    }

    fn allows(&self, action: FileAction, path: &StoragePath) -> bool {
        let reaches = self.path == *path || (self.recursive && self.path.covers(path));
        reaches && self.actions.contains(&action) && !self.excludes(path)
    }

    fn excludes(&self, path: &StoragePath) -> bool {
        self.excluded.iter().any(|out| out.covers(path))
    }
}

fn canonical(text: &str) -> Option<StoragePath> {
    StoragePath::parse(text).ok().filter(|path| path.as_str() == text)
}

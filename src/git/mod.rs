//! Repositories elsewhere: what a branch or a tag holds below a path, as texts.
//!
//! The work is done by the system's `git`, in a confined child (ADR 0015): it may write its own bare repository and a
//! scratch folder only, it connects to checked addresses only, and its time, its memory and what it may write are bounded.
//! Files are read from the object database and never checked out, so that links and submodules lead nowhere.
//!
//! `address` says where a repository is and whether it may be asked, `run` runs git, `tree` chooses files. Knows nothing of
//! projects, of documents or of who asks.

mod address;
mod fault;
mod run;
mod tree;

pub use fault::GitError;
pub use tree::{ENTRIES_MAX, FILE_BYTES_MAX, FILES_MAX, TEXTS_BYTES_MAX};

use crate::net::guard::Allowed;
use crate::runtime::Spawner;
use crate::runtime::sandbox::{Confinement, available};
use crate::vault::Secret;
use address::Remote;
use run::{Git, Job, Scratch};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::OnceCell;
use tree::Entry;

/// How long a repository may take to give what was asked for.
pub const FETCH_WAIT: Duration = Duration::from_mins(2);
/// How long what needs no network may take.
pub const LOCAL_WAIT: Duration = Duration::from_mins(1);
/// Largest pack that is fetched unless the operator says otherwise, bytes.
pub const PACK_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Packs that a kept repository has at most; with more, or with more bytes than one may have, it is fetched anew.
const PACKS_MAX: usize = 32;
/// Oldest git that connects to checked addresses only.
const GIT_MIN: (u32, u32) = (2, 37);
/// Where the fetched commit is kept.
const HEAD: &str = "refs/meshagent/head";
/// Bytes of what git says of one commit.
const COMMIT_BYTES_MAX: usize = 64 * 1024;
/// Longest file of what is left out, bytes.
const IGNORE_BYTES_MAX: u64 = 64 * 1024;

/// What of a repository is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// The repository's own default branch.
    Default,
    Branch(String),
    Tag(String),
}

/// What is wanted of a repository.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub url: String,
    pub reference: Reference,
    /// A folder from the top, without `/` at the ends.
    pub path: Option<String>,
    /// What is at the path was there before: no files any more is an answer and no mistake.
    pub may_be_gone: bool,
    /// A password for https, a private key for ssh.
    pub secret: Option<Secret>,
    pub username: String,
    /// Lines of a `known_hosts` file.
    pub known_hosts: Option<String>,
    /// Lines of an `allowed_signers` file; without it nobody has to sign.
    pub allowed_signers: Option<String>,
}

/// What a repository holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    pub revision: String,
    pub subject: String,
    pub author: String,
    /// Path and text of each document, in the order of paths.
    pub texts: Vec<(String, String)>,
    /// What is there and is not read, each with why.
    pub left_out: Vec<String>,
}

/// How repositories are reached.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where they are kept.
    pub folder: PathBuf,
    /// The `meshagent` binary, which enters the sandbox.
    pub program: PathBuf,
    /// Folders of this machine that `file:` URLs may name; none unless the operator says so.
    pub roots: Vec<PathBuf>,
    /// Hosts beyond public addresses.
    pub allowed: Allowed,
    /// Largest pack that is fetched, bytes.
    pub pack_bytes_max: u64,
}

/// The repositories that this server keeps, each under a key of its user's.
#[derive(Debug)]
pub struct Repositories {
    settings: Settings,
    confine: bool,
    spawner: Spawner,
    version: OnceCell<()>,
}

impl Repositories {
    /// Opens the folder. Call within the async runtime. What an earlier run left half done is cleared away.
    pub fn open(settings: Settings) -> std::io::Result<Self> {
        run::private_folder(&settings.folder)?;
        run::clear_scratch(&settings.folder)?;
        let confine = matches!(available(), Confinement::Landlock { .. });
        if !confine {
            tracing::warn!("this machine cannot confine git; it runs with the rights of the server");
        }
        Ok(Self { settings, confine, spawner: Spawner::start()?, version: OnceCell::new() })
    }

    /// Fetches what is wanted into the repository kept under `key`, and reads it.
    pub async fn fetch(&self, key: &str, wanted: &Wanted) -> Result<Checkout, GitError> {
        self.version.get_or_try_init(|| self.check_version()).await?;
        let remote = address::resolve(&wanted.url, &self.settings.allowed, &self.settings.roots).await?;
        let folder = self.settings.folder.join(key);
        let scratch = Scratch::make(&self.settings.folder).await?;
        let git = self.git(&folder, &scratch, &remote);
        self.prepare(&git, &folder).await?;
        let look = async || {
            fetch(&git, &remote, wanted, &scratch).await?;
            read(&git, wanted, &scratch).await
        };
        match look().await {
            Err(error) if error.is_of_the_copy() => {
                // What is kept may be damaged, and is not needed.
                tracing::debug!(%error, "a kept repository is made anew");
                remove(&folder).await?;
                self.prepare(&git, &folder).await?;
                look().await
            }
            looked => looked,
        }
    }

    /// Removes the repositories of keys that are not among these.
    pub async fn keep_only(&self, keys: &[String]) -> std::io::Result<()> {
        let mut entries = tokio::fs::read_dir(&self.settings.folder).await?;
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name();
            let known =
                name.to_str().is_some_and(|name| name == run::SCRATCH || keys.iter().any(|key| key == name));
            if !known {
                remove(&entry.path()).await?;
            }
        }
        Ok(())
    }

    fn git<'a>(&'a self, folder: &'a Path, scratch: &'a Scratch, remote: &'a Remote) -> Git<'a> {
        Git {
            program: &self.settings.program,
            confine: self.confine,
            spawner: &self.spawner,
            folder,
            scratch,
            pack_bytes_max: self.settings.pack_bytes_max,
            read: match remote {
                Remote::File { path } => vec![path.clone()],
                Remote::Web { .. } | Remote::Ssh { .. } => vec![],
            },
        }
    }

    async fn check_version(&self) -> Result<(), GitError> {
        let scratch = Scratch::make(&self.settings.folder).await?;
        let nowhere = Remote::File { path: PathBuf::from("/usr") };
        let said = self.git(scratch.path(), &scratch, &nowhere).run(Job::new(&["version"])).await?;
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        if !said.success || version(&text).is_none_or(|found| found < GIT_MIN) {
            return Err(GitError::NoGit(format!("{}{}", text.trim(), said.stderr.trim())));
        }
        Ok(())
    }

    async fn prepare(&self, git: &Git<'_>, folder: &Path) -> Result<(), GitError> {
        let kept = packs(folder).await;
        let most = self.settings.pack_bytes_max;
        if kept.is_some_and(|(packs, bytes)| packs <= PACKS_MAX && bytes <= most) {
            return Ok(());
        }
        remove(folder).await?;
        run::make_private_folder(folder).await?;
        git.run(Job::new(&["init", "--quiet", "--bare", "--template="])).await?.good().map(drop)
    }
}

async fn remove(folder: &Path) -> std::io::Result<()> {
    match tokio::fs::remove_dir_all(folder).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Packs of a repository and their bytes; `None` where there is no whole repository.
async fn packs(folder: &Path) -> Option<(usize, u64)> {
    tokio::fs::metadata(folder.join("HEAD")).await.ok()?;
    let mut entries = tokio::fs::read_dir(folder.join("objects/pack")).await.ok()?;
    let (mut packs, mut bytes) = (0, 0);
    while let Some(entry) = entries.next_entry().await.ok()? {
        if entry.path().extension().is_some_and(|ending| ending == "pack") {
            packs += 1;
            bytes += entry.metadata().await.ok()?.len();
        }
    }
    Some((packs, bytes))
}

/// `git version 2.47.3` as numbers.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split_whitespace().nth(2)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

async fn fetch(git: &Git<'_>, remote: &Remote, wanted: &Wanted, scratch: &Scratch) -> Result<(), GitError> {
    let from = match &wanted.reference {
        Reference::Default => "HEAD".to_owned(),
        Reference::Branch(name) => format!("refs/heads/{name}"),
        Reference::Tag(name) => format!("refs/tags/{name}"),
    };
    let (url, refspec) = (remote.url(), format!("+{from}:{HEAD}"));
    let mut job = Job::new(&[
        "fetch",
        "--quiet",
        "--depth=1",
        "--no-tags",
        "--no-recurse-submodules",
        "--no-auto-maintenance",
        "--no-write-fetch-head",
        "--",
        &url,
        &refspec,
    ]);
    job.wait = FETCH_WAIT;
    remote.prepare(wanted, scratch, &mut job).await?;
    let said = git.run(job).await;
    if said.as_ref().is_ok_and(|said| said.success) {
        return Ok(());
    }
    let half_done = clear_half_done(git.folder).await?;
    if half_done >= git.pack_bytes_max {
        return Err(GitError::PackTooLarge(git.pack_bytes_max));
    }
    said.and_then(|said| Err(fault::of_fetch(&said, &from, git.pack_bytes_max)))
}

/// Removes packs that a fetch began and did not end; answers the bytes of the largest.
async fn clear_half_done(folder: &Path) -> std::io::Result<u64> {
    let mut largest = 0;
    let Ok(mut entries) = tokio::fs::read_dir(folder.join("objects/pack")).await else { return Ok(0) };
    while let Some(entry) = entries.next_entry().await? {
        if entry.file_name().to_string_lossy().starts_with("tmp_") {
            largest = largest.max(entry.metadata().await?.len());
            tokio::fs::remove_file(entry.path()).await?;
        }
    }
    Ok(largest)
}

async fn read(git: &Git<'_>, wanted: &Wanted, scratch: &Scratch) -> Result<Checkout, GitError> {
    let mut job = Job::new(&["log", "-1", "--no-show-signature", "--format=%H%x00%an <%ae>%x00%s", HEAD]);
    job.stdout_max = COMMIT_BYTES_MAX;
    let said = git.run(job).await?;
    if !said.success {
        return Err(GitError::NoCommit);
    }
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let mut parts = text.trim_end_matches('\n').splitn(3, '\0').map(fault::plain);
    let mut part = || parts.next().unwrap_or_default();
    let (revision, author, subject) = (part(), part(), part());
    if let Some(signers) = &wanted.allowed_signers {
        verify(git, &revision, signers, scratch).await?;
    }
    let (texts, left_out) = files(git, &revision, wanted).await?;
    Ok(Checkout { revision, subject, author, texts, left_out })
}

async fn verify(git: &Git<'_>, revision: &str, signers: &str, scratch: &Scratch) -> Result<(), GitError> {
    let file = scratch.write("allowed_signers", signers.as_bytes()).await?;
    let mut job = Job::new(&["verify-commit", "--", revision]);
    job.config("gpg.ssh.allowedSignersFile", file.display().to_string());
    let said = git.run(job).await?;
    if said.success {
        return Ok(());
    }
    let why = match fault::plain(said.stderr.trim()) {
        why if why.is_empty() => "it is not signed".to_owned(),
        why => why,
    };
    Err(GitError::Unverified { revision: revision.to_owned(), why })
}

type Texts = Vec<(String, String)>;

async fn files(git: &Git<'_>, revision: &str, wanted: &Wanted) -> Result<(Texts, Vec<String>), GitError> {
    let path = wanted.path.as_deref().unwrap_or_default().trim_end_matches('/');
    let no_path = || GitError::NoPath { path: path.to_owned(), revision: revision.to_owned() };
    if !path.is_empty() {
        match kind_of(git, revision, path).await?.as_deref() {
            Some("tree") => {}
            None if wanted.may_be_gone => return Ok((vec![], vec![])),
            Some(_) | None => return Err(no_path()),
        }
    }
    let of = if path.is_empty() { revision.to_owned() } else { format!("{revision}:{path}") };
    let mut job = Job::new(&["ls-tree", "-r", "-z", "-l", "--full-tree", &of]);
    job.stdout_max = tree::LISTING_BYTES_MAX;
    let listing = git.run(job).await?.good()?;
    let mut entries = tree::parse(&listing.stdout, revision)?;
    for entry in &mut entries {
        entry.below(path);
    }
    let rules: Vec<&Entry> = entries.iter().filter(|entry| entry.is_ignore_file(IGNORE_BYTES_MAX)).collect();
    let rules = contents(git, &rules, revision).await?;
    let (top, of) = (path.to_owned(), revision.to_owned());
    // Patterns of strangers take their time.
    let choosing = tokio::task::spawn_blocking(move || tree::choose(entries, &rules, &top, &of));
    let chosen = choosing.await.map_err(|error| GitError::Git(error.to_string()))?;
    let (chosen, left_out) = chosen?;
    let chosen: Vec<&Entry> = chosen.iter().collect();
    Ok((contents(git, &chosen, revision).await?, left_out))
}

/// What is at a path of a commit: `tree`, `blob` or `commit`; `None` only where git found out that nothing is.
async fn kind_of(git: &Git<'_>, revision: &str, path: &str) -> Result<Option<String>, GitError> {
    let mut job = Job::new(&["ls-tree", "-z", "--full-tree", revision, "--", path]);
    job.env("GIT_LITERAL_PATHSPECS", "1".to_owned());
    let said = git.run(job).await?.good()?;
    if said.stdout.is_empty() {
        return Ok(None);
    }
    let line = String::from_utf8_lossy(&said.stdout).into_owned();
    let kind = line.split_whitespace().nth(1).map(str::to_owned);
    kind.map(Some).ok_or_else(|| GitError::Git("its list of files is not understood".to_owned()))
}

/// The texts of files, in their order.
async fn contents(git: &Git<'_>, entries: &[&Entry], revision: &str) -> Result<Texts, GitError> {
    if entries.is_empty() {
        return Ok(vec![]);
    }
    let mut job = Job::new(&["cat-file", "--batch"]);
    job.stdin = entries.iter().flat_map(|entry| format!("{}\n", entry.object).into_bytes()).collect();
    job.stdout_max = tree::TEXTS_BYTES_MAX + entries.len() * tree::HEADER_BYTES_MAX;
    let said = git.run(job).await?.good()?;
    tree::texts(&said.stdout, entries, revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_git_are_read() {
        assert_eq!(version("git version 2.47.3\n"), Some((2, 47)));
        assert_eq!(version("git version 2.39.5 (Apple Git-154)"), Some((2, 39)));
        assert_eq!(version("no git"), None);
    }
}

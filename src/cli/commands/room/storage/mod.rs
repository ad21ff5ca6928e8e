//! `meshagent room storage …`: files of a room or of an agent, through the files service.

mod copy;
mod location;

use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::Ctx;
use crate::client::rest::{Entry, FileTarget, Files};
use futures_util::StreamExt;
use location::{Location, Selected};
use serde_json::json;

/// Folders walked by one recursive command at most.
const FOLDERS_MAX: usize = 100_000;

const PATHS_HELP: &str = "Paths: `reports/a.md` or `room://reports/a.md` is in the room of --room, `agent://a.md` in the \
                          agent of --agent,\nand meshagent://PROJECT/rooms/NAME/PATH (or agents/NAME) anywhere you may go.";

const COPY_HELP: &str = "Paths: room://PATH is in the room of --room, agent://PATH in the agent of --agent,\n\
    meshagent://PROJECT/rooms/NAME/PATH (or agents/NAME) anywhere you may go, and a plain path is on this machine.\n\n\
    Examples:\n  meshagent room storage cp --room my-room report.md room://reports/\n  \
    meshagent room storage cp --room my-room room://reports/report.md .\n  \
    meshagent room storage cp --room my-room -r ./docs room://docs";

/// Work with files of a room or an agent.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Say whether something is at a path: prints true or false; exits with 1 for false
    #[command(after_help = PATHS_HELP)]
    Exists {
        path: String,
        #[command(flatten)]
        selected: Selected,
    },
    /// Copy files between this machine, rooms and agents
    #[command(after_help = COPY_HELP)]
    Cp(Cp),
    /// Print a text file
    #[command(after_help = PATHS_HELP)]
    Get {
        path: String,
        /// Encoding of the file
        #[arg(long, default_value = "utf-8", value_parser = ["utf-8"])]
        encoding: String,
        #[command(flatten)]
        selected: Selected,
    },
    /// Delete a file, or with -r a folder and all in it
    #[command(after_help = PATHS_HELP)]
    Rm {
        path: String,
        /// Delete a folder and all in it
        #[arg(short = 'r', long)]
        recursive: bool,
        #[command(flatten)]
        selected: Selected,
    },
    /// List a folder; the last part may be a pattern such as `*.md`
    #[command(after_help = PATHS_HELP)]
    Ls {
        #[arg(default_value = "")]
        path: String,
        /// Also what is in the folders below
        #[arg(short = 'r', long)]
        recursive: bool,
        #[command(flatten)]
        selected: Selected,
    },
    /// Print a URL that works without a credential for a while
    #[command(after_help = PATHS_HELP)]
    Presign {
        path: String,
        #[arg(long, default_value = "GET", value_parser = ["GET", "HEAD", "PUT", "DELETE"])]
        method: String,
        /// Seconds until it expires
        #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=604_800))]
        expires_in: u64,
        #[command(flatten)]
        selected: Selected,
    },
}

#[derive(Debug, clap::Args)]
pub struct Cp {
    source_path: String,
    dest_path: String,
    /// Copy a folder and all in it
    #[arg(short = 'r', long)]
    recursive: bool,
    #[command(flatten)]
    selected: Selected,
}

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    match command {
        Command::Exists { path, selected } => {
            let (files, target, path) = open(ctx, &selected, &path).await?;
            let exists = files.stat(&target, &path).await?.is_some();
            output::line(exists.to_string())?;
            if exists { Ok(()) } else { Err(CliError::exit(1)) }
        }
        Command::Cp(args) => copy::run(ctx, &args).await,
        Command::Get { path, selected, .. } => {
            let (files, target, path) = open(ctx, &selected, &path).await?;
            let mut pieces = std::pin::pin!(found(&target, &path, files.get(&target, &path).await)?);
            while let Some(piece) = pieces.next().await {
                output::bytes(&piece?)?;
            }
            Ok(())
        }
        Command::Rm { path, recursive, selected } => {
            let (files, target, path) = open(ctx, &selected, &path).await?;
            remove(&files, &target, &path, recursive).await
        }
        Command::Ls { path, recursive, selected } => {
            let (files, target, path) = open(ctx, &selected, &path).await?;
            list(&files, &target, &path, recursive).await
        }
        Command::Presign { path, method, expires_in, selected } => {
            let (files, target, path) = open(ctx, &selected, &path).await?;
            let url = files.presign(&target, &path, &method, expires_in).await?;
            output::json(&json!(url))
        }
    }
}

/// The files service of the server, or what to do about there being none.
async fn service(ctx: &Ctx) -> Result<Files, CliError> {
    ctx.project()?.files().await?.ok_or_else(|| {
        CliError::server("this server offers no files service (`domains.files` of its /config is empty)")
    })
}

/// The service, the tree of files and the path in it that a plain or prefixed path names.
async fn open(ctx: &Ctx, selected: &Selected, path: &str) -> Result<(Files, FileTarget, String), CliError> {
    let location = match Location::parse(ctx, selected, path)? {
        Location::Remote(target, path) => (target, path),
        Location::Local(path) => (selected.target(ctx)?, location::clean(&path)),
    };
    Ok((service(ctx).await?, location.0, location.1))
}

/// Not found becomes an error that names the file.
fn found<T>(
    target: &FileTarget,
    path: &str,
    result: Result<T, crate::client::rest::RestError>,
) -> Result<T, CliError> {
    result.map_err(|error| if error.is_not_found() { no_file(target, path) } else { error.into() })
}

fn no_file(target: &FileTarget, path: &str) -> CliError {
    CliError::user(format!("there is no `{path}` in {target}"))
        .hint("`meshagent room storage ls` shows what is there")
}

async fn remove(files: &Files, target: &FileTarget, path: &str, recursive: bool) -> Result<(), CliError> {
    let stat = files.stat(target, path).await?.ok_or_else(|| no_file(target, path))?;
    if stat.is_folder && !recursive {
        return Err(CliError::user(format!("`{path}` is a folder")).hint("pass -r to delete all in it"));
    }
    files.delete(target, path, recursive).await?;
    output::note(format!("Deleted: {path}"));
    Ok(())
}

async fn list(files: &Files, target: &FileTarget, path: &str, recursive: bool) -> Result<(), CliError> {
    let (folder, last) = path.rsplit_once('/').unwrap_or(("", path));
    let (folder, pattern) = if last.contains(['*', '?']) { (folder, Some(last)) } else { (path, None) };
    if pattern.is_none() && !folder.is_empty() {
        let stat = files.stat(target, folder).await?.ok_or_else(|| no_file(target, folder))?;
        if !stat.is_folder {
            return output::line(folder);
        }
    }
    let admits = |name: &str| pattern.is_none_or(|pattern| matches(pattern, name));
    let mut empty = true;
    let mut entries = files.list(target, folder).await?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    for entry in entries.iter().filter(|entry| admits(&entry.name)) {
        empty = false;
        output::line(label(&entry.name, entry))?;
        if entry.is_folder && recursive {
            let below = join(folder, &entry.name);
            for (path, found) in walk(files, target, &below).await? {
                output::line(label(&join(&entry.name, &path), &found))?;
            }
        }
    }
    if empty {
        output::note("No files found.");
    }
    Ok(())
}

fn label(path: &str, entry: &Entry) -> String {
    if entry.is_folder { format!("{path}/") } else { path.to_owned() }
}

/// `a/b` out of `a` and `b`; an empty part adds nothing.
fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{}/{name}", folder.trim_end_matches('/')) }
}

/// All that is below a folder, with paths relative to it, folders before what is in them.
async fn walk(files: &Files, target: &FileTarget, folder: &str) -> Result<Vec<(String, Entry)>, CliError> {
    let mut found = Vec::new();
    let mut open = vec![String::new()];
    let mut walked = 0_usize;
    while let Some(relative) = open.pop() {
        walked += 1;
        if walked > FOLDERS_MAX {
            return Err(CliError::user(format!("`{folder}` has more than {FOLDERS_MAX} folders"))
                .hint("name a folder further down"));
        }
        let mut entries = files.list(target, &join(folder, &relative).replace("//", "/")).await?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in entries {
            let path = join(&relative, &entry.name);
            if entry.is_folder {
                open.push(path.clone());
            }
            found.push((path, entry));
        }
    }
    Ok(found)
}

/// Does a name fit a pattern of `*` (any text) and `?` (any character)?
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                back = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((star, from)) = back else { return false };
                back = Some((star, from + 1));
                (p, n) = (star + 1, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_shells_do() {
        for (pattern, name, want) in [
            ("*.md", "a.md", true),
            ("*.md", "a.mdx", false),
            ("a*b*c", "a-b-b-c", true),
            ("?", "", false),
            ("?", "é", true),
            ("*", "", true),
            ("a*", "ba", false),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn joining_an_empty_part_adds_no_slash() {
        assert_eq!(join("", "a"), "a");
        assert_eq!(join("a/", "b"), "a/b");
    }
}

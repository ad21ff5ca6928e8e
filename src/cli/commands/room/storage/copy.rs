//! Copies between this machine and trees of files, and between trees (there the server does it).

use super::location::Location;
use super::{Cp, found, join, no_file, service, walk};
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::Ctx;
use crate::client::rest::{FileTarget, Files};
use futures_util::StreamExt;
use std::path::{Path, PathBuf};
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

pub async fn run(ctx: &Ctx, args: &Cp) -> Result<(), CliError> {
    let from = Location::parse(ctx, &args.selected, &args.source_path)?;
    let to = Location::parse(ctx, &args.selected, &args.dest_path)?;
    match (from, to) {
        (Location::Local(_), Location::Local(_)) => Err(CliError::usage("both paths are on this machine")
            .hint("write room://PATH for a path in the room of --room")),
        (Location::Local(from), Location::Remote(target, to)) => {
            let transfer = Transfer { files: service(ctx).await?, target };
            transfer.upload(Path::new(&from), &to, args.recursive).await
        }
        (Location::Remote(target, from), Location::Local(to)) => {
            let transfer = Transfer { files: service(ctx).await?, target };
            transfer.download(&from, Path::new(&to), args.recursive).await
        }
        (Location::Remote(target, from), Location::Remote(to_target, to)) => {
            let transfer = Transfer { files: service(ctx).await?, target };
            transfer.across(&from, (&to_target, &to), args.recursive).await
        }
    }
}

/// The service and the tree that is not this machine.
struct Transfer {
    files: Files,
    target: FileTarget,
}

impl Transfer {
    async fn upload(&self, from: &Path, to: &str, recursive: bool) -> Result<(), CliError> {
        let meta = tokio::fs::metadata(from).await.map_err(|error| local(from, &error))?;
        let name = from.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let to = landing(&self.files, &self.target, to, &name).await?;
        if !meta.is_dir() {
            return self.upload_file(from, &to).await;
        }
        if !recursive {
            return Err(is_folder(&from.display().to_string()));
        }
        self.upload_folder(from, &to).await
    }

    async fn upload_folder(&self, from: &Path, to: &str) -> Result<(), CliError> {
        let mut open = vec![(from.to_owned(), to.to_owned())];
        while let Some((folder, to)) = open.pop() {
            let mut empty = true;
            let mut entries = tokio::fs::read_dir(&folder).await.map_err(|error| local(&folder, &error))?;
            while let Some(entry) = entries.next_entry().await.map_err(|error| local(&folder, &error))? {
                empty = false;
                let path = entry.path();
                let to = join(&to, &entry.file_name().to_string_lossy());
                let meta = tokio::fs::metadata(&path).await.map_err(|error| local(&path, &error))?;
                if meta.is_dir() {
                    open.push((path, to));
                } else {
                    self.upload_file(&path, &to).await?;
                }
            }
            if empty {
                self.files.mkdir(&self.target, &to).await?;
            }
        }
        Ok(())
    }

    async fn upload_file(&self, from: &Path, to: &str) -> Result<(), CliError> {
        let file = tokio::fs::File::open(from).await.map_err(|error| local(from, &error))?;
        self.files.put(&self.target, to, true, ReaderStream::new(file)).await?;
        output::note(format!("{} -> {}:{to}", from.display(), self.target.name));
        Ok(())
    }

    async fn download(&self, from: &str, to: &Path, recursive: bool) -> Result<(), CliError> {
        let from = from.trim_end_matches('/');
        let name = from.rsplit('/').next().unwrap_or(from);
        let into = to.is_dir() || to.as_os_str().to_string_lossy().ends_with('/');
        let to = if into && !name.is_empty() { to.join(name) } else { to.to_owned() };
        // The root is a folder, and has no name to ask for.
        if !from.is_empty() {
            let stat = self.files.stat(&self.target, from).await?;
            if !stat.ok_or_else(|| no_file(&self.target, from))?.is_folder {
                return self.download_file(from, &to).await;
            }
        }
        if !recursive {
            return Err(is_folder(from));
        }
        make_folder(&to).await?;
        for (path, entry) in walk(&self.files, &self.target, from).await? {
            let place = below(&to, &path)?;
            if entry.is_folder {
                make_folder(&place).await?;
            } else {
                self.download_file(&join(from, &path), &place).await?;
            }
        }
        Ok(())
    }

    /// Writes beside the destination and renames, so that a broken download leaves it as it was.
    async fn download_file(&self, from: &str, to: &Path) -> Result<(), CliError> {
        let pieces = found(&self.target, from, self.files.get(&self.target, from).await)?;
        if let Some(parent) = to.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            make_folder(parent).await?;
        }
        let mut name = to.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let staging = to.with_file_name(name);
        let written = write(pieces, &staging).await;
        let placed = match written {
            Ok(()) => tokio::fs::rename(&staging, to).await.map_err(|error| local(to, &error)),
            Err(error) => Err(error),
        };
        if placed.is_err() {
            // The download's own error is the one that matters.
            let _ = tokio::fs::remove_file(&staging).await;
        } else {
            output::note(format!("{}:{from} -> {}", self.target.name, to.display()));
        }
        placed
    }

    async fn across(&self, from: &str, to: (&FileTarget, &str), recursive: bool) -> Result<(), CliError> {
        let from = from.trim_end_matches('/');
        let stat = self.files.stat(&self.target, from).await?;
        let stat = stat.ok_or_else(|| no_file(&self.target, from))?;
        if stat.is_folder && !recursive {
            return Err(is_folder(from));
        }
        let name = from.rsplit('/').next().unwrap_or(from);
        let path = landing(&self.files, to.0, to.1, name).await?;
        self.files.copy((&self.target, from), (to.0, &path), true).await?;
        output::note(format!("{}:{from} -> {}:{path}", self.target.name, to.0.name));
        Ok(())
    }
}

/// Where a copy to this path ends: within it if it is a folder or written with a slash at the end.
async fn landing(files: &Files, target: &FileTarget, to: &str, name: &str) -> Result<String, CliError> {
    if to.is_empty() || to.ends_with('/') {
        return Ok(join(to, name));
    }
    match files.stat(target, to).await? {
        Some(stat) if stat.is_folder => Ok(join(to, name)),
        _ => Ok(to.to_owned()),
    }
}

async fn write(
    pieces: impl futures_util::Stream<Item = Result<bytes::Bytes, crate::client::rest::RestError>>,
    staging: &Path,
) -> Result<(), CliError> {
    let mut pieces = std::pin::pin!(pieces);
    let mut file = tokio::fs::File::create(staging).await.map_err(|error| local(staging, &error))?;
    while let Some(piece) = pieces.next().await {
        file.write_all(&piece?).await.map_err(|error| local(staging, &error))?;
    }
    file.sync_all().await.map_err(|error| local(staging, &error))
}

async fn make_folder(path: &Path) -> Result<(), CliError> {
    tokio::fs::create_dir_all(path).await.map_err(|error| local(path, &error))
}

/// A path below a folder of this machine; a server's path that would leave it is refused.
fn below(folder: &Path, path: &str) -> Result<PathBuf, CliError> {
    let leaves = path.split('/').any(|part| matches!(part, "" | "." | ".."));
    if leaves {
        return Err(CliError::server(format!("the server listed `{path}`, which leads out of the folder")));
    }
    Ok(folder.join(path))
}

fn local(path: &Path, error: &std::io::Error) -> CliError {
    CliError::user(format!("{}: {error}", path.display()))
}

fn is_folder(path: &str) -> CliError {
    CliError::user(format!("`{path}` is a folder")).hint("pass -r to copy all in it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_path_never_leaves_the_folder() {
        let folder = Path::new("/tmp/x");
        assert!(below(folder, "../evil").is_err());
        assert!(below(folder, "a//b").is_err());
        assert_eq!(below(folder, "a/b").unwrap(), Path::new("/tmp/x/a/b"));
    }
}

//! Documents from files, folders and standard input: read, and checked together, before anything is done with them.

use crate::cli::error::CliError;
use crate::spec::{self, Document, Problem};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Most files read from one folder, and below it.
pub const FILES_MAX: usize = 1_000;
/// Largest file read, bytes.
pub const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Folders below folders.
const DEPTH_MAX: usize = 8;

/// All documents in the order of the arguments, and of names within a folder.
pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Document>, CliError> {
    let mut files = vec![];
    for path in paths {
        collect(path, 0, &mut files)?;
    }
    let texts = files.into_iter().map(|path| read(&path)).collect::<Result<Vec<_>, _>>()?;
    let written = spec::parse_files(&texts).map_err(|problems| refused(&problems))?;
    Ok(written.into_iter().map(|w| w.document).collect())
}

fn refused(problems: &[Problem]) -> CliError {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    CliError::user(lines.join("\n"))
        .hint("nothing was applied; mend the documents, `meshagent validate -f FILE` checks them")
}

fn collect(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), CliError> {
    if path == Path::new("-") {
        files.push(path.to_owned());
        return Ok(());
    }
    let kind = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !kind.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).map_err(|error| unreadable(path, &error))?;
    let mut names = entries
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unreadable(path, &error))?;
    names.sort();
    for name in names.into_iter().filter(|name| wanted(name)) {
        if name.is_dir() && depth >= DEPTH_MAX {
            return Err(CliError::user(format!(
                "{} lies more than {DEPTH_MAX} folders deep",
                name.display()
            )));
        }
        collect(&name, depth + 1, files)?;
        if files.len() > FILES_MAX {
            return Err(CliError::user(format!("{} holds more than {FILES_MAX} documents", path.display())));
        }
    }
    Ok(())
}

/// Folders and YAML or JSON files that are not hidden.
fn wanted(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let document = path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
    !name.starts_with('.') && (document || path.is_dir())
}

fn read(path: &Path) -> Result<(String, String), CliError> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(FILE_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| unreadable(path, &error))?;
    let name = if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
    Ok((name, text))
}

fn unreadable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::user(format!("cannot read {}: {error}", path.display()))
}

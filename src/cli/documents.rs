//! Documents as files, folders, stdin or URLs: read, parsed and checked together, all problems said at once.

use super::args;
use super::error::CliError;
use crate::client::rest::{CONNECT_TIMEOUT, REQUEST_TIMEOUT};
use crate::domain::template;
use crate::spec::folder::{IGNORE_FILE, Ignore, is_document};
use crate::spec::{Problem, Written};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Files read by one command at most.
const FILES_MAX: usize = 10_000;
/// Folders below one another at most.
const DEPTH_MAX: usize = 32;

/// The `-f` flag of commands that read documents.
#[derive(Debug, clap::Args)]
pub struct FilesArg {
    /// File, folder (its .yaml, .yml and .json files), URL, or `-` for stdin; may be given several times
    #[arg(short, long = "file", value_name = "FILE|DIR|-", required = true)]
    pub files: Vec<PathBuf>,
}

/// A text and the name by which messages call it.
pub type Text = (String, String);

/// Reads all the texts that these paths mean.
pub async fn read(paths: &[PathBuf]) -> Result<Vec<Text>, CliError> {
    let mut texts = Vec::new();
    for path in paths {
        if let Some(url) = path.to_str().filter(|text| is_url(text)) {
            texts.push((url.to_owned(), fetch(url).await?));
            continue;
        }
        let mut files = Vec::new();
        collect(path, &[], &mut files)?;
        if files.is_empty() {
            return Err(CliError::user(format!(
                "there are no .yaml, .yml or .json files in {}",
                path.display()
            )));
        }
        for file in files {
            let name = if file == Path::new("-") { "stdin".to_owned() } else { file.display().to_string() };
            texts.push((name, args::read_text(&file)?));
        }
    }
    Ok(texts)
}

/// Parses texts as documents; the error names every problem of all of them.
pub fn parse(texts: &[Text]) -> Result<Vec<Written>, CliError> {
    let written = template::read_kept(texts).map_err(|problems| refuse(&problems))?;
    some(texts, &written)?;
    Ok(written)
}

/// Refuses texts without any document: they are a mistake more often than a wish, and would prune everything.
pub fn some<T>(texts: &[Text], documents: &[T]) -> Result<(), CliError> {
    if !documents.is_empty() || texts.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = texts.iter().map(|(name, _)| name.as_str()).collect();
    Err(CliError::user(format!("there is no document in {}; nothing was changed", names.join(", "))))
}

/// All documents of these paths as they are sent, in the order of the arguments, and of names within a folder.
pub async fn read_all(paths: &[PathBuf]) -> Result<Vec<Value>, CliError> {
    let written = parse(&read(paths).await?)?;
    Ok(written.into_iter().map(|written| written.value).collect())
}

/// As [`read_all`], each with the name of its text.
pub async fn read_all_places(paths: &[PathBuf]) -> Result<Vec<(Value, String)>, CliError> {
    let written = parse(&read(paths).await?)?;
    Ok(written.into_iter().map(|written| (written.value, written.source)).collect())
}

/// Problems as one error.
pub fn refuse(problems: &[Problem]) -> CliError {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let count = match problems.len() {
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    CliError::user(format!("{count} in the documents; nothing was changed\n{}", lines.join("\n")))
}

/// Is this a URL that a document can be fetched from?
pub fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// Fetches a text from a URL.
pub async fn fetch(url: &str) -> Result<String, CliError> {
    let failed = |error: reqwest::Error| CliError::user(format!("cannot fetch {url}: {error}"));
    let client = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(REQUEST_TIMEOUT);
    let client = client.build().map_err(failed)?;
    let response = client.get(url).send().await.map_err(failed)?.error_for_status().map_err(failed)?;
    response.text().await.map_err(failed)
}

/// The documents below a path, in the order of names; `above` are the folders above it with what they leave out.
fn collect(path: &Path, above: &[(PathBuf, Ignore)], files: &mut Vec<PathBuf>) -> Result<(), CliError> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    if above.len() >= DEPTH_MAX {
        return Err(CliError::user(format!("{} is more than {DEPTH_MAX} folders deep", path.display())));
    }
    let failed = |error: std::io::Error| CliError::user(format!("cannot read {}: {error}", path.display()));
    let ignore = ignored(path).map_err(failed)?;
    let above = [above, &[(path.to_owned(), ignore)]].concat();
    let entries = fs::read_dir(path).map_err(failed)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    paths.sort();
    for path in paths {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let document = path.file_name().is_some_and(|name| is_document(&name.to_string_lossy()));
        let folder = path.is_dir();
        if !hidden && (document || folder) && !is_left_out(&above, &path, folder) {
            collect(&path, &above, files)?;
        }
        if files.len() > FILES_MAX {
            return Err(CliError::user(format!("more than {FILES_MAX} files")));
        }
    }
    Ok(())
}

/// What a folder's file says is left out, where it has one.
fn ignored(folder: &Path) -> std::io::Result<Ignore> {
    match fs::read_to_string(folder.join(IGNORE_FILE)) {
        Ok(text) => Ok(Ignore::parse(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Ignore::default()),
        Err(error) => Err(error),
    }
}

/// The ignore file that is nearest and has a pattern that fits decides.
fn is_left_out(above: &[(PathBuf, Ignore)], path: &Path, folder: bool) -> bool {
    let verdict = |(root, ignore): &(PathBuf, Ignore)| {
        let below = path.strip_prefix(root).ok()?;
        let names: Vec<_> = below.iter().map(|name| name.to_string_lossy()).collect();
        ignore.verdict(&names.join("/"), folder)
    };
    above.iter().rev().find_map(verdict).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_its_documents_in_order_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("b")).unwrap();
        fs::write(dir.path().join(IGNORE_FILE), "left.yaml\n").unwrap();
        for name in ["b/left.yaml", "z.yaml", "a.yml", "b/m.json", "notes.md", ".hidden.yaml"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let mut files = Vec::new();
        collect(dir.path(), &[], &mut files).unwrap();
        let names: Vec<_> =
            files.iter().map(|file| file.strip_prefix(dir.path()).unwrap().display().to_string()).collect();
        assert_eq!(names, ["a.yml", "b/m.json", "z.yaml"]);
    }
}

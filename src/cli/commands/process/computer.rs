//! The browser of `--computer-use`, found and confined.

use super::args::{BrowserPlace, ProcessArgs, on};
use crate::agent::config::ComputerConfig;
use crate::cli::error::CliError;
use crate::cli::settings;
use crate::runtime::sandbox::{self, Confinement};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Names of browsers, the first that is there is taken.
const PROGRAMS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];
/// Variable with the browser's path.
const VARIABLE: &str = "MESHAGENT_BROWSER";

/// What the browser runs with; `None` without `--computer-use`.
pub fn config(process: &ProcessArgs, allowed_hosts: Vec<String>) -> Result<Option<ComputerConfig>, CliError> {
    let given = &process.tools;
    if !on(given.computer_use.as_ref(), false) {
        return Ok(None);
    }
    let starting_url = given.starting_url.as_deref().map(page).transpose()?;
    let program = program(settings::env(VARIABLE), settings::env("PATH"))?;
    let profile = tempfile::Builder::new().prefix("meshagent-browser-").tempdir()?;
    let prefix = match given.browser_place.unwrap_or(BrowserPlace::Sandbox) {
        BrowserPlace::None => Vec::new(),
        BrowserPlace::Sandbox => confined(profile.path())?,
    };
    let goto = given.allow_goto_url;
    let profile = Arc::new(profile);
    Ok(Some(ComputerConfig { program, prefix, profile, starting_url, goto, allowed_hosts }))
}

fn page(text: &str) -> Result<String, CliError> {
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url.into()),
        _ => Err(CliError::usage(format!("--starting-url {text} is no address of the web"))
            .hint("it begins with https:// or http://")),
    }
}

fn program(named: Option<String>, path: Option<String>) -> Result<PathBuf, CliError> {
    if let Some(named) = named {
        return Ok(named.into());
    }
    let folders: Vec<PathBuf> = path.iter().flat_map(std::env::split_paths).collect();
    let places = PROGRAMS.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = places.into_iter().find(|place| place.is_file());
    found.ok_or_else(|| {
        CliError::user("--computer-use finds no browser")
            .hint(format!("install chromium, or name a browser of its kind in {VARIABLE}"))
    })
}

/// The words that keep the browser in its folder.
fn confined(folder: &Path) -> Result<Vec<String>, CliError> {
    if let Confinement::None { reason } = sandbox::available() {
        return Err(CliError::user(format!("--computer-use cannot confine a browser here: {reason}"))
            .hint("--browser-place none lets it run with all rights of the agent"));
    }
    let words = sandbox::prefix(Vec::new(), vec![folder.canonicalize()?])?;
    words.ok_or_else(|| CliError::user("the path of the browser's folder is no UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_found_or_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        let none = program(None, Some(path.clone())).unwrap_err().to_string();
        assert!(none.contains("finds no browser"), "{none}");
        std::fs::write(folder.path().join("google-chrome"), "").unwrap();
        assert_eq!(program(None, Some(path)).unwrap(), folder.path().join("google-chrome"));
        assert_eq!(program(Some("/x/y".into()), None).unwrap(), PathBuf::from("/x/y"));
    }

    #[test]
    fn pages_to_begin_with_are_of_the_web() {
        assert_eq!(page("https://example.com").unwrap(), "https://example.com/");
        assert!(page("file:///etc/passwd").is_err() && page("example").is_err());
    }
}

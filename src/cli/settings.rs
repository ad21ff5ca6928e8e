//! `~/.meshagent/settings.json`, in the format the official tool writes, so that both can be used side by side;
//! and the one function by which the command line reads the environment.

use super::error::CliError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// User id of a profile that has only an API URL.
pub const LOCAL_USER: &str = "__local__";

/// Reads one environment variable; unset and empty are the same.
#[allow(clippy::disallowed_methods, reason = "the command line's one look at the environment")]
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The home folder of the person.
fn home() -> Result<PathBuf, CliError> {
    env("HOME")
        .map(PathBuf::from)
        .ok_or_else(|| CliError::user("there is no home folder to keep settings in").hint("set HOME"))
}

/// Where a local server keeps its data: `$MESHAGENT_DATA_DIR`, else `$XDG_DATA_HOME/meshagent`, else `~/.local/share/meshagent`.
pub fn default_data_dir() -> Result<PathBuf, CliError> {
    if let Some(dir) = env("MESHAGENT_DATA_DIR") {
        return Ok(PathBuf::from(dir));
    }
    match env("XDG_DATA_HOME") {
        Some(dir) => Ok(PathBuf::from(dir).join("meshagent")),
        None => Ok(home()?.join(".local/share/meshagent")),
    }
}

/// The whole file. Members this program does not know are kept as they are.
#[derive(Default, Clone, Serialize, Deserialize)]
pub struct Settings {
    #[serde(default)]
    pub active_user_id: Option<String>,
    /// API URL → key of the profile last used with it.
    #[serde(default)]
    pub active_profiles: BTreeMap<String, String>,
    #[serde(default)]
    pub users: BTreeMap<String, Profile>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// One person (or [`LOCAL_USER`]) on one server.
#[derive(Default, Clone, Serialize, Deserialize)]
pub struct Profile {
    pub api_url: String,
    #[serde(default)]
    pub profile: Option<Value>,
    #[serde(default)]
    pub session: Option<Value>,
    #[serde(default)]
    pub project: ProjectSettings,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// What is active on that server.
#[derive(Default, Clone, Serialize, Deserialize)]
pub struct ProjectSettings {
    #[serde(default)]
    pub active_project: Option<String>,
    /// Project id → API key text.
    #[serde(default)]
    pub active_api_keys: BTreeMap<String, String>,
    #[serde(default)]
    pub llm_proxy_bearer_token: Option<String>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl fmt::Debug for Settings {
    /// Says which profiles there are, never what they hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("profiles", &self.users.keys()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile").field("api_url", &self.api_url).finish_non_exhaustive()
    }
}

impl fmt::Debug for ProjectSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let active = &self.active_project;
        f.debug_struct("ProjectSettings").field("active_project", active).finish_non_exhaustive()
    }
}

impl Profile {
    /// The access token of the sign-in, if there is one.
    pub fn access_token(&self) -> Option<&str> {
        self.session.as_ref()?.get("access_token")?.as_str()
    }
}

/// Key of a profile: the JSON array text of API URL and user id.
pub fn profile_key(api_url: &str, user_id: &str) -> String {
    Value::from(vec![api_url, user_id]).to_string()
}

impl Settings {
    /// Where the file is.
    pub fn path() -> Result<PathBuf, CliError> {
        Ok(home()?.join(".meshagent/settings.json"))
    }

    /// Reads the file; a missing one is empty.
    pub fn load() -> Result<Self, CliError> {
        Self::load_from(&Self::path()?)
    }

    /// Reads this file; a missing one is empty.
    pub fn load_from(path: &Path) -> Result<Self, CliError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(CliError::user(format!("cannot read {}: {error}", path.display()))),
        };
        serde_json::from_str(&text).map_err(|error| {
            // The message of serde may quote a value, so it is cut down to the place.
            CliError::user(format!(
                "{} is not a settings file (line {}, column {})",
                path.display(),
                error.line(),
                error.column()
            ))
            .hint("repair it, or move it away to start afresh")
        })
    }

    /// Writes the file whole or not at all, readable by its owner only.
    pub fn save(&self) -> Result<(), CliError> {
        self.save_to(&Self::path()?)
    }

    /// Writes this file whole or not at all, readable by its owner only.
    pub fn save_to(&self, path: &Path) -> Result<(), CliError> {
        // Through a value, whose keys are sorted.
        let text = format!("{}\n", serde_json::to_string_pretty(&serde_json::to_value(self)?)?);
        write_private(path, text.as_bytes())
            .map_err(|error| CliError::user(format!("cannot write {}: {error}", path.display())))
    }

    /// The profile of this server, or the active one.
    pub fn profile(&self, api_url: Option<&str>) -> Option<&Profile> {
        let key = match api_url {
            Some(url) => self.active_profiles.get(url),
            None => self.active_user_id.as_ref(),
        };
        key.and_then(|key| self.users.get(key))
    }

    /// The profile of this server to change, made if there is none; it becomes the active one.
    pub fn activate(&mut self, api_url: &str) -> &mut Profile {
        let local = profile_key(api_url, LOCAL_USER);
        let key = self.active_profiles.entry(api_url.to_owned()).or_insert(local).clone();
        self.active_user_id = Some(key.clone());
        let profile = self.users.entry(key).or_default();
        api_url.clone_into(&mut profile.api_url);
        profile
    }
}

/// Writes a file whole or not at all, mode 0600, its folder 0700 if it has to be made.
pub fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    if renamed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    renamed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_file_is_private_sorted_and_keeps_what_it_does_not_know() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/settings.json");
        let mut settings: Settings = serde_json::from_str(r#"{"zeta": 1, "active_user_id": null}"#).unwrap();
        settings.activate("http://127.0.0.1:8078").project.active_project = Some("p".into());
        settings.save_to(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.find("active_profiles").unwrap() < text.find("zeta").unwrap(), "{text}");
        assert!(text.contains(r#""[\"http://127.0.0.1:8078\",\"__local__\"]""#), "{text}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Settings::load_from(&path).unwrap();
        let profile = again.profile(None).unwrap();
        assert_eq!(profile.project.active_project.as_deref(), Some("p"));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_broken_file_is_named_without_quoting_its_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.json");
        fs::write(&path, r#"{"users": {"k": {"api_url": "u", "project": "ma-secret"}}}"#).unwrap();
        let message = Settings::load_from(&path).unwrap_err().to_string();
        assert!(message.contains("settings.json") && message.contains("line 1"), "{message}");
        assert!(!message.contains("ma-secret"), "{message}");
    }

    #[test]
    fn another_server_never_sees_this_servers_profile() {
        let mut settings = Settings::default();
        settings.activate("http://a").project.active_project = Some("p".into());
        assert!(settings.profile(Some("http://b")).is_none());
        assert!(settings.profile(Some("http://a")).is_some());
    }
}

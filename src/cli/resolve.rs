//! Which server, which credential, which project, which room: the flag, else the environment, else the settings
//! file, else the local server that `meshagent up` started. A credential of one server never goes to another.

use super::error::CliError;
use super::settings::{self, Settings};
use crate::client::rest::{Bearer, ProjectRest, Rest, RestError};
use crate::client::token::{participant_name, project_of_key};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// Name of the file by which `meshagent up` tells how to reach it, within the data directory.
pub const CONNECTION_FILE: &str = "connection.json";

/// What `meshagent up` writes for the clients of this machine.
#[derive(Clone, Serialize, Deserialize)]
pub struct LocalServer {
    pub api_url: String,
    pub project_id: String,
    /// Secret.
    pub api_key: String,
    /// Where participants submit mail, where the server takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp_submission: Option<SocketAddr>,
}

impl fmt::Debug for LocalServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalServer").field("api_url", &self.api_url).finish_non_exhaustive()
    }
}

impl LocalServer {
    /// Reads the connection file of a data directory; none if there is none.
    pub fn load(data_dir: &Path) -> Result<Option<Self>, CliError> {
        let path = data_dir.join(CONNECTION_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CliError::user(format!("cannot read {}: {error}", path.display()))),
        };
        serde_json::from_str(&text).map(Some).map_err(|_| {
            CliError::user(format!("{} is not a connection file", path.display()))
                .hint("start the server again with `meshagent up`; it writes the file anew")
        })
    }
}

/// Flags that every command takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Globals {
    /// Server to talk to [default: the active profile's, else the local server's]
    #[arg(
        long,
        global = true,
        env = "MESHAGENT_API_URL",
        value_name = "URL",
        help_heading = "Connection",
        hide_env_values = true
    )]
    pub api_url: Option<String>,

    /// Project to work in [default: the active one]
    #[arg(
        long,
        global = true,
        env = "MESHAGENT_PROJECT_ID",
        value_name = "ID",
        help_heading = "Connection",
        hide_env_values = true
    )]
    pub project_id: Option<String>,
}

/// What the environment and the files say, read once per command.
#[derive(Debug, Clone)]
pub struct Ctx {
    globals: Globals,
    settings: Settings,
    local: Option<LocalServer>,
    api_key: Option<Bearer>,
    token: Option<Bearer>,
}

impl Ctx {
    /// Reads the settings file, the local server's connection file and the credentials of the environment.
    pub fn load(globals: Globals) -> Result<Self, CliError> {
        let local = match settings::default_data_dir() {
            Ok(dir) => LocalServer::load(&dir)?,
            Err(_) => None,
        };
        let settings = match settings::env("HOME") {
            Some(_) => Settings::load()?,
            None => Settings::default(),
        };
        let bearer = |name| settings::env(name).map(Bearer::new);
        Ok(Self {
            globals,
            settings,
            local,
            api_key: bearer("MESHAGENT_API_KEY"),
            token: bearer("MESHAGENT_TOKEN"),
        })
    }

    /// The settings file as it was when the command began.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The local server's connection file, if there is one.
    pub fn local_server(&self) -> Option<&LocalServer> {
        self.local.as_ref()
    }

    /// The server's URL without a trailing `/`.
    pub fn api_url(&self) -> Result<String, CliError> {
        let profile = || self.settings.profile(None).map(|profile| profile.api_url.clone());
        let local = || self.local.as_ref().map(|local| local.api_url.clone());
        let explicit = self.globals.api_url.clone().filter(|url| !url.is_empty());
        let url = explicit.or_else(profile).or_else(local).ok_or_else(|| {
            CliError::user("no server is known")
                .hint("start one here with `meshagent up`")
                .hint("or name one: --api-url URL, or MESHAGENT_API_URL with MESHAGENT_API_KEY and MESHAGENT_PROJECT_ID")
        })?;
        Ok(url.trim_end_matches('/').to_owned())
    }

    /// The local server, if this URL is its.
    fn local_at(&self, url: &str) -> Option<&LocalServer> {
        self.local.as_ref().filter(|local| local.api_url.trim_end_matches('/') == url)
    }

    /// The credential for this server: the environment's, the profile's sign-in or key, the local server's key.
    pub fn bearer(&self) -> Result<Bearer, CliError> {
        let url = self.api_url()?;
        if let Some(bearer) = self.api_key.clone().or_else(|| self.token.clone()) {
            return Ok(bearer);
        }
        let stored = self.settings.profile(Some(&url)).and_then(|profile| {
            let project = self.globals.project_id.as_ref().or(profile.project.active_project.as_ref());
            let key = project.and_then(|id| profile.project.active_api_keys.get(id)).map(String::as_str);
            profile.access_token().or(key).map(Bearer::new)
        });
        let local = || self.local_at(&url).map(|local| Bearer::new(local.api_key.clone()));
        stored.or_else(local).ok_or_else(|| {
            CliError::user(format!("there is no credential for {url}"))
                .hint("set MESHAGENT_API_KEY to an API key of your project")
                .hint("for a server on this machine, `meshagent env` prints it")
        })
    }

    /// The API key text that signs participant tokens here, if one is known for this server and project.
    pub fn api_key(&self) -> Option<Bearer> {
        let bearer = self.bearer().ok()?;
        bearer.expose().starts_with("ma-").then_some(bearer)
    }

    /// The server, with the credential.
    pub fn rest(&self) -> Result<Rest, CliError> {
        Ok(Rest::new(&self.api_url()?, Some(self.bearer()?))?)
    }

    /// The server without a credential, for `/config`.
    pub fn anonymous(&self) -> Result<Rest, CliError> {
        Ok(Rest::new(&self.api_url()?, None)?)
    }

    /// The project's id: the flag's, the one the environment's API key belongs to, the profile's, the local server's.
    pub fn project_id(&self) -> Result<String, CliError> {
        let url = self.api_url()?;
        let profile = || self.settings.profile(Some(&url))?.project.active_project.clone();
        let local = || self.local_at(&url).map(|local| local.project_id.clone());
        let of_key = || Some(project_of_key(self.api_key.as_ref()?.expose())?.to_string());
        let explicit = self.globals.project_id.clone().filter(|id| !id.is_empty());
        explicit.or_else(of_key).or_else(profile).or_else(local).ok_or_else(|| {
            CliError::user("no project is active").hint(
                "pass --project-id ID, set MESHAGENT_PROJECT_ID, or run `meshagent project activate ID`",
            )
        })
    }

    /// The project's routes.
    pub fn project(&self) -> Result<ProjectRest, CliError> {
        Ok(self.rest()?.project(&self.project_id()?))
    }

    /// As it is for work in this room: a participant token of the environment that is another room's is left out.
    pub fn for_room(&self, room: &str) -> Self {
        let token = self.token.clone();
        let foreign =
            |token: &Bearer| participant_name(token.expose()).is_some() && self.room_token(room).is_none();
        Self { token: token.filter(|token| !foreign(token)), ..self.clone() }
    }

    /// The participant token of the environment, if it is for this room (this is how things run inside a room).
    pub fn room_token(&self, room: &str) -> Option<Bearer> {
        let own = settings::env("MESHAGENT_ROOM").is_some_and(|own| own == room);
        self.token.clone().filter(|_| own)
    }
}

/// The `--room` flag of commands that work in one room.
#[derive(Debug, Clone, clap::Args)]
pub struct RoomArg {
    /// Room to work in
    #[arg(short = 'r', long = "room", env = "MESHAGENT_ROOM", value_name = "ROOM", hide_env_values = true)]
    pub room: Option<String>,
}

impl RoomArg {
    /// The room's name, or what to do about there being none.
    pub fn name(&self) -> Result<&str, CliError> {
        self.room
            .as_deref()
            .filter(|room| !room.is_empty())
            .ok_or_else(|| CliError::usage("no room is named").hint("pass --room ROOM or set MESHAGENT_ROOM"))
    }
}

impl From<RestError> for CliError {
    fn from(error: RestError) -> Self {
        let failed = match &error {
            RestError::InvalidUrl { .. } | RestError::BadPath(_) | RestError::Local { .. } => {
                Self::user(error.to_string())
            }
            // The server's own words say it all; which request it was is of no use to the person.
            RestError::Status { status: 400..=499, message, .. } => Self::server(message.clone()),
            _ => Self::server(error.to_string()),
        };
        match (&error, error.status()) {
            (RestError::Unreachable { .. }, _) => {
                failed.hint("is it running? `meshagent up` starts one on this machine")
            }
            (_, Some(401)) => {
                failed.hint("check MESHAGENT_API_KEY; `meshagent env` prints the local server's")
            }
            (_, Some(403)) => {
                failed.hint("the credential is known but lacks the right; ask the project's admin")
            }
            (_, Some(423)) => failed.hint("enable it with `meshagent rooms update --name ROOM --enabled`"),
            _ => failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ctx(url: Option<&str>, local: Option<&str>) -> Ctx {
        Ctx {
            globals: Globals { api_url: url.map(str::to_owned), project_id: None },
            settings: Settings::default(),
            local: local.map(|url| LocalServer {
                api_url: url.into(),
                project_id: "local-project".into(),
                api_key: "ma-local".into(),
                smtp_submission: None,
            }),
            api_key: None,
            token: None,
        }
    }

    #[test]
    fn the_environments_key_says_its_project() {
        let mut ctx = ctx(Some("http://a"), None);
        ctx.api_key = Some(Bearer::new("ma-C297Ho8.THCaPD0qGwydjg-Xwx6Um0OSlebeh.NbJoeAg-s3cr3t-with-dash"));
        assert_eq!(ctx.project_id().unwrap(), "5f0c7a52-6d0e-4a57-9b7a-1f8d6c9a1e02");
    }

    #[test]
    fn the_local_server_answers_when_nothing_else_is_named() {
        let ctx = ctx(None, Some("http://127.0.0.1:8078"));
        assert_eq!(ctx.api_url().unwrap(), "http://127.0.0.1:8078");
        assert_eq!(ctx.bearer().unwrap().expose(), "ma-local");
        assert_eq!(ctx.project_id().unwrap(), "local-project");
    }

    #[test]
    fn the_local_key_never_goes_to_another_server() {
        let ctx = ctx(Some("http://elsewhere/"), Some("http://127.0.0.1:8078"));
        assert_eq!(ctx.api_url().unwrap(), "http://elsewhere");
        let message = ctx.bearer().unwrap_err().to_string();
        assert!(message.contains("no credential for http://elsewhere"), "{message}");
        assert!(ctx.project_id().is_err());
    }

    #[test]
    fn a_key_stored_for_a_server_is_used_for_that_server_only() {
        let mut ctx = ctx(None, None);
        let profile = ctx.settings.activate("http://a");
        profile.project.active_project = Some("p".into());
        profile.project.active_api_keys.insert("p".into(), "ma-a".into());
        assert_eq!(ctx.bearer().unwrap().expose(), "ma-a");
        ctx.globals.api_url = Some("http://b".into());
        assert!(ctx.bearer().is_err());
    }

    #[test]
    fn a_participant_token_of_another_room_is_not_used() {
        let mut ctx = ctx(Some("http://a"), None);
        // {"name":"bot"}
        ctx.token = Some(Bearer::new("e30.eyJuYW1lIjoiYm90In0.s"));
        assert!(ctx.bearer().is_ok() && ctx.for_room("desk").bearer().is_err());
        ctx.token = Some(Bearer::new("an opaque token"));
        assert!(ctx.for_room("desk").bearer().is_ok());
    }

    #[test]
    fn without_any_server_the_next_step_is_named() {
        let message = ctx(None, None).api_url().unwrap_err().to_string();
        assert!(message.contains("meshagent up"), "{message}");
    }
}

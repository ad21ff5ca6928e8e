//! The first project, its operator account and key, and the file that tells clients on this machine how to connect.

use super::options::Options;
use crate::api::OPERATOR_ANNOTATION;
use crate::app::key::ApiKeyText;
use crate::app::{Actor, App, DEFAULT_ACCOUNT, Error, NewKey, NewProject};
use crate::domain::names::Kind;
use crate::id::{ApiKeyId, ProjectId, ServiceAccountId};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// File in the data directory, mode 0600.
pub const CONNECTION_FILE: &str = "connection.json";
/// Name of the key that the first start makes.
const KEY_NAME: &str = "first-start";

/// How a client on this machine connects. Holds a credential: never printed whole, never logged.
#[derive(Clone, Serialize, Deserialize)]
pub struct Connection {
    pub api_url: String,
    pub project_id: String,
    pub api_key: String,
    /// Where mail is received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<SocketAddr>,
    /// Where participants send mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp_submission: Option<SocketAddr>,
    /// Where routes are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<SocketAddr>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("api_url", &self.api_url)
            .field("project_id", &self.project_id)
            .finish_non_exhaustive()
    }
}

/// Makes what the first start makes, or finds what it made.
pub(super) async fn prepare(app: &App, options: &mut Options) -> Result<Connection, Error> {
    let actor = Actor::new("server", "first-start");
    let text = match options.api_key.take() {
        Some(given) => adopt(app, &actor, given, &options.project_name).await?,
        None => {
            if let Some(text) = existing(app).await? {
                text
            } else {
                let (_, account) = create_project(app, &actor, None, &options.project_name).await?;
                app.create_key(&actor, account, new_key(None)).await?.1
            }
        }
    };
    app.settings.age.own.get_or_init(|| text.project);
    Ok(Connection {
        api_url: app.settings.public_url.clone(),
        project_id: text.project.to_string(),
        api_key: text.reveal(),
        smtp: None,
        smtp_submission: None,
        proxy: None,
    })
}

fn new_key(given: Option<ApiKeyText>) -> NewKey {
    NewKey { name: KEY_NAME.to_owned(), description: "made at the first start".to_owned(), given }
}

/// The key of an earlier first start, recovered from the vault.
async fn existing(app: &App) -> Result<Option<ApiKeyText>, Error> {
    let world = app.world();
    for (project, _) in world.projects() {
        for (id, _) in world.keys(project).filter(|(_, key)| key.name == KEY_NAME) {
            if let Some(secret) = app.key_secret(id).await? {
                return Ok(Some(ApiKeyText { key: id.uuid(), project, secret }));
            }
        }
    }
    Ok(None)
}

/// Takes project, key id and secret from the operator's environment.
async fn adopt(app: &App, actor: &Actor, given: ApiKeyText, name: &str) -> Result<ApiKeyText, Error> {
    let id = ApiKeyId::new(given.project, given.key);
    if let Some(secret) = app.key_secret(id).await? {
        if secret.expose() == given.secret.expose() {
            return Ok(given);
        }
        return Err(Error::Invalid {
            code: "api-key-differs",
            text: "the API key in MESHAGENT_API_KEY exists here with another secret; unset it, or give the right one"
                .to_owned(),
        });
    }
    let found = app.world().named(given.project, Kind::ServiceAccount, None, DEFAULT_ACCOUNT);
    let account = match found {
        Some(uuid) => ServiceAccountId::new(given.project, uuid),
        None => create_project(app, actor, Some(given.project), name).await?.1,
    };
    Ok(app.create_key(actor, account, new_key(Some(given))).await?.1)
}

/// A project whose `default` account operates the server, if it is the first one.
async fn create_project(
    app: &App,
    actor: &Actor,
    id: Option<ProjectId>,
    name: &str,
) -> Result<(ProjectId, ServiceAccountId), Error> {
    let first = app.world().projects().next().is_none();
    let new = NewProject { id, name: name.to_owned(), key: None };
    let (project, account) = app.create_project(actor, new).await?;
    if first {
        let mut profile = app.world().account(account).map(|a| a.profile.clone()).unwrap_or_default();
        profile.annotations.insert(OPERATOR_ANNOTATION.to_owned(), "true".to_owned());
        app.update_account(actor, account, profile).await?;
    }
    Ok((project, account))
}

impl Connection {
    /// Writes the file, whole or not at all, readable by its owner only.
    pub(super) fn write(&self, data_dir: &Path) -> std::io::Result<PathBuf> {
        let path = data_dir.join(CONNECTION_FILE);
        let draft = data_dir.join(format!(".{CONNECTION_FILE}.new"));
        let mut file =
            std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&draft)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&draft, &path)?;
        Ok(path)
    }
}

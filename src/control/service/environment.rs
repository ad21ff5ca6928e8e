//! The environment of a service's process: what its spec writes, and what the template `agent` adds (REST reference §10).
//!
//! [`variables`] is pure and says of each where its value comes from; the tokens are minted by the caller.

use super::plan::reason;
use crate::control::ControlParts;
use crate::control::settings::Settings;
use crate::id::{ProjectId, SessionId};
use crate::projection::World;
use crate::runtime::ContainerExtras;
use crate::spec::{
    ApiScope, Container, EnvironmentTemplate, ParticipantRole, PortNumber, RoomMount, RunAs, Service,
    TokenValue,
};
use serde_json::json;

/// Where the template `agent` mounts the room's files.
const DATA: &str = "/data";

/// Why a service cannot be started as its spec stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// One of [`reason`].
    pub reason: &'static str,
    pub message: String,
}

/// Where a service runs.
#[derive(Debug, Clone)]
pub struct Place {
    pub project: ProjectId,
    pub room: String,
    pub session: SessionId,
    /// Base URL of this server, as seen from there.
    pub url: String,
    /// Where a server in it listens, unless its spec says otherwise.
    pub host: &'static str,
    /// A free port, where the spec asks for any.
    pub port: Option<u16>,
}

/// Where a value comes from.
#[derive(Debug, Clone)]
pub enum Value {
    Text(String),
    /// A participant token to mint.
    Token {
        identity: String,
        role: String,
        api: Box<ApiScope>,
    },
    /// The service's own participant token: minted once, used wherever it stands.
    OwnToken,
    /// The current value of a secret of the service account that the container runs as.
    Stored {
        id: String,
        run_as: RunAs,
    },
}

/// The variables in order; the spec's first, then those of the template that the spec does not name.
pub fn variables(
    service: &Service,
    container: &Container,
    place: &Place,
    settings: &Settings,
) -> Result<Vec<(String, Value)>, Refused> {
    let mut all: Vec<(String, Value)> = Vec::new();
    for variable in container.environment() {
        let value = match (&variable.secret, &variable.token, &variable.value) {
            (Some(secret), _, _) => match &container.run_as {
                Some(run_as) => Value::Stored { id: secret.id.clone(), run_as: run_as.clone() },
                None => return Err(secret_refused(&variable.name)),
            },
            (None, Some(token), _) => token_value(token),
            (None, None, text) => Value::Text(text.clone().unwrap_or_default()),
        };
        check(&variable.name, &value)?;
        all.retain(|(name, _)| *name != variable.name);
        all.push((variable.name.clone(), value));
    }
    let mut add = |name: &str, value: Value| {
        if !all.iter().any(|(known, _)| known == name) {
            all.push((name.to_owned(), value));
        }
    };
    if container.template != Some(EnvironmentTemplate::None) {
        addresses(place, &mut add);
    }
    if container.template == Some(EnvironmentTemplate::Agent) {
        credentials(&service.metadata.name, place, settings, &mut add);
    }
    Ok(all)
}

/// What the template `agent` adds, for a container that is no service's.
#[must_use]
pub fn agent_variables(name: &str, place: &Place, settings: &Settings) -> Vec<(String, Value)> {
    let mut all: Vec<(String, Value)> = Vec::new();
    let mut add = |name: &str, value: Value| all.push((name.to_owned(), value));
    addresses(place, &mut add);
    credentials(name, place, settings, &mut add);
    all
}

/// The base URL of this server as a service finds it.
#[must_use]
pub fn url(parts: &ControlParts, in_container: bool) -> String {
    let inside = parts.settings.container_api_url.clone().filter(|_| in_container);
    inside.unwrap_or_else(|| parts.app.settings.public_url.clone())
}

/// What only containers have of a spec. The template `agent` mounts the room's files.
#[must_use]
pub fn extras(
    service: &Service,
    container: &Container,
    session: SessionId,
    world: &World,
) -> ContainerExtras {
    let mounts = container.storage.clone().unwrap_or_default();
    let written = mounts.room.iter().flatten().any(|mount| mount.path.trim_end_matches('/') == DATA);
    let implied = container.template == Some(EnvironmentTemplate::Agent) && !written;
    let room_files = implied.then(|| RoomMount { path: DATA.to_owned(), subpath: None, read_only: false });
    let ports = service.ports().iter().filter_map(|port| match port.num {
        PortNumber::Fixed(number) => Some((number, port.host_port?)),
        PortNumber::Any => None,
    });
    ContainerExtras {
        session: Some(session),
        name: service.metadata.name.clone(),
        mounts,
        room_files,
        configs: configuration(world, session.project(), Some(service)),
        credentials: Vec::new(),
        ports: ports.collect(),
        writable_root: container.writable_root_fs.unwrap_or(false),
        private: container.private,
    }
}

/// The files of a configuration mount: the service's spec, and who is in the project.
#[must_use]
pub fn configuration(
    world: &World,
    project: ProjectId,
    service: Option<&Service>,
) -> Vec<(&'static str, String)> {
    let spec = service.map_or_else(|| "{}".to_owned(), |service| json!(service).to_string());
    let accounts = world.accounts(project);
    let members: Vec<_> = accounts
        .map(
            |(id, account)| json!({"id": id.uuid(), "type": "service_account", "name": account.profile.name}),
        )
        .collect();
    vec![("spec.json", spec), ("members.json", json!({"members": members}).to_string())]
}

/// Where the process finds its room. Not secret, so also added where no template is named.
fn addresses(place: &Place, add: &mut impl FnMut(&str, Value)) {
    add("MESHAGENT_API_URL", Value::Text(place.url.clone()));
    add("MESHAGENT_ROOM_URL", Value::Text(place.url.clone()));
    add("MESHAGENT_ROOM", Value::Text(place.room.clone()));
    add("MESHAGENT_PROJECT_ID", Value::Text(place.project.to_string()));
    add("MESHAGENT_SESSION_ID", Value::Text(place.session.to_string()));
    // A process on this host listens where nobody else reaches it; a container is a host of its own.
    add("MESHAGENT_HOST", Value::Text(place.host.to_owned()));
    if let Some(port) = place.port {
        add("MESHAGENT_PORT", Value::Text(port.to_string()));
    }
}

fn credentials(name: &str, place: &Place, settings: &Settings, add: &mut impl FnMut(&str, Value)) {
    add("MESHAGENT_TOKEN", Value::OwnToken);
    // Models are asked through this server, which puts the providers' keys in.
    for (prefix, path) in [("OPENAI", "openai/v1"), ("ANTHROPIC", "anthropic")] {
        add(&format!("{prefix}_API_KEY"), Value::OwnToken);
        add(&format!("{prefix}_BASE_URL"), Value::Text(format!("{}/{path}", place.url)));
    }
    if let Some(telemetry) = &settings.telemetry {
        add("OTEL_ENDPOINT", Value::Text(telemetry.endpoint(&place.url, place.session)));
    }
    if let Some(mail) = &settings.mail {
        add("SMTP_USERNAME", Value::Text(name.to_owned()));
        add("SMTP_PASSWORD", Value::OwnToken);
        add("SMTP_HOSTNAME", Value::Text(mail.host.clone()));
        add("SMTP_PORT", Value::Text(mail.port.to_string()));
        add("MESHAGENT_MAIL_DOMAIN", Value::Text(mail.domain.clone()));
    }
}

fn token_value(token: &TokenValue) -> Value {
    let role = match token.role {
        Some(ParticipantRole::User) => "user",
        Some(ParticipantRole::Tool) => "tool",
        Some(ParticipantRole::Agent) | None => "agent",
    };
    Value::Token { identity: token.identity.clone(), role: role.to_owned(), api: Box::new(token.scope()) }
}

fn secret_refused(name: &str) -> Refused {
    Refused {
        reason: reason::SECRET_NOT_SUPPORTED,
        message: format!(
            "variable `{name}` comes from a secret, but the container has no `run_as`; name the service account whose \
             secret it is"
        ),
    }
}

fn check(name: &str, value: &Value) -> Result<(), Refused> {
    let bad = |why: &str| Refused {
        reason: reason::BAD_ENVIRONMENT,
        message: format!("variable {name:?} cannot be set: {why}"),
    };
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(bad("a name has at least one character, and neither `=` nor NUL"));
    }
    match value {
        Value::Text(text) if text.contains('\0') => Err(bad("its value contains NUL")),
        Value::Text(_) | Value::Token { .. } | Value::OwnToken | Value::Stored { .. } => Ok(()),
    }
}

fn container_notes(container: &Container) -> Vec<String> {
    let unused = container.pull_secret.is_some() && container.run_as.is_none();
    let note = "`pull_secret` is not used: say with `run_as` whose secret it is";
    unused.then(|| note.to_owned()).into_iter().collect()
}

/// What of the spec the runtime does not do, one line each. `apart`: it runs in a container or a pod.
#[must_use]
pub fn not_honoured(service: &Service, container: &Container, apart: bool) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    if apart {
        return container_notes(container);
    }
    let mut note = |text: &str| notes.push(text.to_owned());
    if let Some(mounts) = &container.storage {
        let some = |count: Option<usize>| count.is_some_and(|count| count > 0);
        let kinds = [
            ("room", some(mounts.room.as_ref().map(Vec::len))),
            ("volumes", some(mounts.volumes.as_ref().map(Vec::len))),
            ("images", some(mounts.images.as_ref().map(Vec::len))),
            ("files", some(mounts.files.as_ref().map(Vec::len))),
            ("empty_dirs", some(mounts.empty_dirs.as_ref().map(Vec::len))),
            ("configs", some(mounts.configs.as_ref().map(Vec::len))),
        ];
        for (kind, _) in kinds.iter().filter(|(_, some)| *some) {
            note(&format!(
                "`storage.{kind}` is not mounted: the process runtime has no mounts; use the room's storage API"
            ));
        }
    }
    if container.working_dir.is_some() {
        note("`working_dir` is not used: a process starts in a temporary directory of its own");
    }
    if container.pull_secret.is_some() {
        note("`pull_secret` is not used: the process runtime pulls no images");
    }
    if container.writable_root_fs.is_some() {
        note("`writable_root_fs` is not used: the sandbox of the process runtime decides what is writable");
    }
    for port in service.ports() {
        if port.host_port.is_some() {
            note("`host_port` is not used: a process listens on its own port of this host");
        }
    }
    notes.dedup();
    notes
}

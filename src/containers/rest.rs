//! What the engine tells of containers, asked for and read by ourselves: engines have states of containers that their
//! own interface's description does not know, and one of those must not make all lists unreadable.

use super::engine::{Exit, Found, State};
use super::error::EngineError;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// Longest wait for an answer.
const ANSWER_LIMIT: Duration = Duration::from_mins(2);
/// Longest answer, bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The interface's version: the newest that Podman speaks, and old enough for all others.
const VERSION: &str = "v1.41";

/// The way to the engine.
#[derive(Debug, Clone)]
pub(super) struct Rest {
    client: reqwest::Client,
    base: String,
}

impl Rest {
    /// `address` is `unix://…` or `tcp://…`; `version` what the engine said it speaks at least.
    pub fn new(address: &str, version: Option<&str>) -> Result<Self, String> {
        let builder = reqwest::Client::builder().timeout(ANSWER_LIMIT).no_proxy().pool_max_idle_per_host(0);
        let (builder, host) = match address.strip_prefix("unix://") {
            Some(path) => (builder.unix_socket(path), "http://engine".to_owned()),
            None => (builder, address.replacen("tcp://", "http://", 1)),
        };
        let client = builder.build().map_err(|error| error.to_string())?;
        let version = version.map_or_else(|| VERSION.to_owned(), |version| format!("v{version}"));
        Ok(Self { client, base: format!("{}/{version}", host.trim_end_matches('/')) })
    }

    /// The answer, `None` where there is nothing.
    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<T>, EngineError> {
        let failed = |detail: String| EngineError::Failed { action: format!("answer {path}"), detail };
        let sent = self.client.get(format!("{}{path}", self.base)).query(query).send().await;
        let mut answer = sent.map_err(|error| failed(error.to_string()))?;
        if answer.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(block) = answer.chunk().await.map_err(|error| failed(error.to_string()))? {
            body.extend_from_slice(&block);
            if body.len() as u64 > ANSWER_BYTES_MAX {
                return Err(failed(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes")));
            }
        }
        // Podman says so too where a container went away while it looked.
        if status.is_server_error() && String::from_utf8_lossy(&body).contains("no such container") {
            return Ok(None);
        }
        if !status.is_success() {
            return Err(failed(format!("{status}: {}", String::from_utf8_lossy(&body))));
        }
        serde_json::from_slice(&body).map(Some).map_err(|error| failed(error.to_string()))
    }

    /// Containers with these labels, exited ones with `all`.
    pub async fn list(&self, wanted: &[(&str, &str)], all: bool) -> Result<Vec<Found>, EngineError> {
        let labels: Vec<String> = wanted.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let filters = serde_json::json!({"label": labels}).to_string();
        let query = [("all", if all { "true" } else { "false" }), ("filters", filters.as_str())];
        let listed: Option<Vec<Listed>> = self.get("/containers/json", &query).await?;
        Ok(listed.unwrap_or_default().into_iter().map(Listed::found).collect())
    }

    /// One container.
    pub async fn look(&self, id: &str) -> Result<Option<Found>, EngineError> {
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return Ok(None);
        }
        let seen: Option<Inspected> = self.get(&format!("/containers/{id}/json"), &[]).await?;
        Ok(seen.map(Inspected::found))
    }
}

fn state(word: &str) -> State {
    match word {
        "created" | "configured" | "initialized" => State::Created,
        "running" | "paused" | "restarting" | "stopping" => State::Running,
        "exited" | "stopped" | "dead" => State::Exited,
        _ => State::Unknown,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default, rename = "ImageID")]
    image_id: String,
    #[serde(default)]
    labels: Option<HashMap<String, String>>,
    #[serde(default)]
    state: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    created: i64,
    #[serde(default)]
    ports: Option<Vec<ListedPort>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedPort {
    private_port: u16,
    #[serde(default)]
    public_port: Option<u16>,
}

impl Listed {
    fn found(self) -> Found {
        let ports = self.ports.unwrap_or_default();
        Found {
            state: state(&self.state),
            id: self.id,
            image_id: self.image_id,
            labels: self.labels.unwrap_or_default(),
            status: self.status,
            ports: ports.iter().filter_map(|port| Some((port.private_port, port.public_port?))).collect(),
            started_at: DateTime::from_timestamp(self.created, 0),
            exit: None,
            address: None,
            host_network: false,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    #[serde(default)]
    image: String,
    state: InspectedState,
    #[serde(default)]
    config: Config,
    #[serde(default)]
    network_settings: Network,
    #[serde(default)]
    host_config: Host,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedState {
    #[serde(default)]
    status: String,
    #[serde(default)]
    exit_code: i64,
    #[serde(default, rename = "OOMKilled")]
    oom_killed: bool,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    started_at: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    labels: Option<HashMap<String, String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Host {
    network_mode: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Network {
    ports: Option<HashMap<String, Option<Vec<Bound>>>>,
    networks: Option<HashMap<String, Endpoint>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Bound {
    host_port: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Endpoint {
    #[serde(rename = "IPAddress")]
    ip_address: String,
}

impl Inspected {
    fn found(self) -> Found {
        let seen = state(&self.state.status);
        let exit = (seen == State::Exited).then(|| Exit {
            code: self.state.exit_code,
            oom_killed: self.state.oom_killed,
            message: self.state.error.filter(|text| !text.is_empty()),
        });
        let networks = self.network_settings.networks.unwrap_or_default();
        let address: Option<IpAddr> = networks.values().find_map(|network| network.ip_address.parse().ok());
        let published = self.network_settings.ports.unwrap_or_default();
        let started_at: Option<DateTime<Utc>> = self.state.started_at.and_then(|at| at.parse().ok());
        Found {
            id: self.id,
            image_id: self.image,
            labels: self.config.labels.unwrap_or_default(),
            state: seen,
            status: self.state.status,
            ports: published.iter().filter_map(|(port, bound)| publish(port, bound.as_ref()?)).collect(),
            started_at,
            exit,
            address,
            host_network: self.host_config.network_mode == "host",
        }
    }
}

/// `80/tcp` and where it is bound.
fn publish(port: &str, bound: &[Bound]) -> Option<(u16, u16)> {
    let inner = port.strip_suffix("/tcp")?.parse().ok()?;
    bound.iter().find_map(|binding| Some((inner, binding.host_port.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_state_is_read_also_those_that_are_not_described() {
        for (word, wanted) in [
            ("running", State::Running),
            ("stopped", State::Exited),
            ("configured", State::Created),
            ("never-heard-of", State::Unknown),
        ] {
            let listed: Listed =
                serde_json::from_value(json!({"Id": "a", "State": word, "Labels": null})).unwrap();
            assert_eq!(listed.found().state, wanted);
        }
    }

    #[test]
    fn an_inspection_tells_the_end_and_the_way_in() {
        let seen = json!({
            "Id": "a", "Image": "sha256:1", "Config": {"Labels": {"x": "y"}},
            "State": {"Status": "exited", "ExitCode": 7, "OOMKilled": true, "Error": ""},
            "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}], "53/udp": null},
                                "Networks": {"n": {"IPAddress": "10.0.0.2"}}},
        });
        let found = serde_json::from_value::<Inspected>(seen).unwrap().found();
        assert_eq!(found.exit, Some(Exit { code: 7, oom_killed: true, message: None }));
        assert_eq!((found.ports, found.address), (vec![(80, 8080)], "10.0.0.2".parse().ok()));
    }
}

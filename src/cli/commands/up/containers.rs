//! Flags of `meshagent up` about containers.

use crate::cli::settings;
use crate::containers::{Limits, Network, Settings, usual_addresses};

/// Word that switches containers off.
const OFF: &str = "off";
/// Word that looks at the usual places.
const AUTO: &str = "auto";
const MIB: i64 = 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct ContainerArgs {
    /// Container engine: auto (DOCKER_HOST, Podman, Docker), off, or an address such as unix:///run/podman/podman.sock
    #[arg(long, value_name = "ADDRESS", env = "MESHAGENT_CONTAINER_ENGINE", default_value = AUTO)]
    container_engine: String,
    /// Network of containers: none, bridge, or host (this host's own, its loopback services included)
    #[arg(long, value_name = "NETWORK", default_value = "bridge")]
    container_network: Network,
    /// URL by which containers reach this server [default: the public URL]
    #[arg(long, value_name = "URL")]
    container_api_url: Option<String>,
    /// Memory of one container, MiB
    #[arg(long, value_name = "MIB", default_value_t = Limits::default().memory_bytes / MIB, value_parser = clap::value_parser!(i64).range(16..=1_048_576))]
    container_memory: i64,
    /// Processor time of one container, thousandths of a processor
    #[arg(long, value_name = "MILLI", default_value_t = Limits::default().milli_cpus, value_parser = clap::value_parser!(i64).range(10..=1_000_000))]
    container_cpus: i64,
    /// Processes and threads of one container
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().pids, value_parser = clap::value_parser!(i64).range(4..=100_000))]
    container_pids: i64,
}

impl ContainerArgs {
    pub fn settings(&self) -> Settings {
        let addresses = match self.container_engine.as_str() {
            OFF => Vec::new(),
            AUTO => usual_addresses(settings::env("DOCKER_HOST"), settings::env("XDG_RUNTIME_DIR")),
            address => vec![address.to_owned()],
        };
        Settings {
            addresses,
            network: self.container_network,
            limits: Limits {
                memory_bytes: self.container_memory * MIB,
                milli_cpus: self.container_cpus,
                pids: self.container_pids,
                ..Limits::default()
            },
            api_url: self.container_api_url.as_ref().map(|url| url.trim_end_matches('/').to_owned()),
            ..Settings::default()
        }
    }
}

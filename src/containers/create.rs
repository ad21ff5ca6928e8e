//! From what to run to the engine's request. Every container is confined the same way; a request can only give more
//! room where a field of [`Run`] says so.

use super::connect::Settings;
use crate::vault::Secret;
use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountImageOptions, MountTmpfsOptions,
    MountType, PortBinding, ResourcesUlimits,
};
use std::collections::HashMap;
use std::path::PathBuf;

/// All that programs in common images need of root's rights, within the container.
const CAPABILITIES: [&str; 7] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"];
/// Open files: soft and most.
const OPEN_FILES: (u64, u64) = (1_024, 65_536);
/// Processes of the container's user; the engine's own limit of processes counts per container.
const PROCESSES: u64 = 4_096;
/// Size of a container's empty folders in memory, bytes each.
const EMPTY_BYTES_MAX: i64 = 64 * 1024 * 1024;
/// Folders in memory of a container whose root is read-only.
const SCRATCH: [&str; 2] = ["/tmp", "/run"];
/// Size of a container's log; older lines go.
const LOG_SIZE: &str = "10m";
/// Where published ports listen: this host only.
const LOOPBACK: &str = "127.0.0.1";

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file or folder of this host.
    Host(PathBuf),
    /// The content of an image, read-only.
    Image { image: String, subpath: Option<String> },
    /// Nothing yet; in memory, gone with the container.
    Empty,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Absolute path within the container.
    pub target: String,
    pub source: Source,
    pub read_only: bool,
}

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Name in the engine, unique over all rooms.
    pub name: String,
    pub image: String,
    /// Words; empty: what the image says.
    pub command: Vec<String>,
    pub working_dir: Option<String>,
    pub env: Vec<(String, Secret)>,
    pub labels: HashMap<String, String>,
    pub mounts: Vec<Bind>,
    /// Ports of the container, and of this host's loopback where they are published.
    pub ports: Vec<(u16, u16)>,
    pub writable_root: bool,
}

/// The engine's request. `init`: a first process that passes signals on and buries the dead.
pub(super) fn body(run: &Run, settings: &Settings, init: bool) -> ContainerCreateBody {
    let env = run.env.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.expose_str()?)));
    let exposed: Vec<String> = run.ports.iter().map(|(port, _)| format!("{port}/tcp")).collect();
    ContainerCreateBody {
        image: Some(run.image.clone()),
        cmd: (!run.command.is_empty()).then(|| run.command.clone()),
        working_dir: run.working_dir.clone(),
        env: Some(env.collect()),
        labels: Some(run.labels.clone()),
        exposed_ports: (!exposed.is_empty()).then_some(exposed),
        host_config: Some(host(run, settings, init)),
        ..ContainerCreateBody::default()
    }
}

fn host(run: &Run, settings: &Settings, init: bool) -> HostConfig {
    let limits = settings.limits;
    HostConfig {
        memory: Some(limits.memory_bytes),
        // Swap is none of it: together they are the memory.
        memory_swap: Some(limits.memory_bytes),
        nano_cpus: Some(limits.milli_cpus * 1_000_000),
        pids_limit: Some(limits.pids),
        ulimits: Some(ulimits()),
        init: init.then_some(true),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(CAPABILITIES.iter().map(|name| (*name).to_owned()).collect()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        readonly_rootfs: Some(!run.writable_root),
        tmpfs: (!run.writable_root).then(|| scratch(&run.mounts)),
        network_mode: Some(settings.network.mode().to_owned()),
        port_bindings: Some(bindings(&run.ports)),
        mounts: Some(run.mounts.iter().map(mount).collect()),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([("max-size".to_owned(), LOG_SIZE.to_owned())])),
        }),
        ..HostConfig::default()
    }
}

/// Said each time: an engine that may not raise limits fails on its own defaults. Never more than this server has.
fn ulimits() -> Vec<ResourcesUlimits> {
    use rustix::process::{Resource, getrlimit};
    let own = |resource, wanted: u64| getrlimit(resource).maximum.map_or(wanted, |most| most.min(wanted));
    let limit = |name: &str, soft: u64, hard: u64| ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: i64::try_from(soft.min(hard)).ok(),
        hard: i64::try_from(hard).ok(),
    };
    vec![
        limit("nofile", OPEN_FILES.0, own(Resource::Nofile, OPEN_FILES.1)),
        limit("nproc", PROCESSES, own(Resource::Nproc, PROCESSES)),
    ]
}

fn scratch(mounts: &[Bind]) -> HashMap<String, String> {
    let taken = |path: &str| mounts.iter().any(|mount| mount.target.trim_end_matches('/') == path);
    let free = SCRATCH.iter().filter(|path| !taken(path));
    free.map(|path| ((*path).to_owned(), format!("rw,nosuid,nodev,size={EMPTY_BYTES_MAX}"))).collect()
}

fn bindings(ports: &[(u16, u16)]) -> HashMap<String, Option<Vec<PortBinding>>> {
    let one = |(container, host): &(u16, u16)| {
        let binding = PortBinding { host_ip: Some(LOOPBACK.to_owned()), host_port: Some(host.to_string()) };
        (format!("{container}/tcp"), Some(vec![binding]))
    };
    ports.iter().map(one).collect()
}

fn mount(bind: &Bind) -> Mount {
    let mut mount =
        Mount { target: Some(bind.target.clone()), read_only: Some(bind.read_only), ..Mount::default() };
    match &bind.source {
        Source::Host(path) => {
            mount.typ = Some(MountType::BIND);
            mount.source = Some(path.display().to_string());
        }
        Source::Image { image, subpath } => {
            mount.typ = Some(MountType::IMAGE);
            mount.source = Some(image.clone());
            mount.image_options = subpath.clone().map(|subpath| MountImageOptions { subpath: Some(subpath) });
            // It is read-only by nature; said again, Podman takes it for an unknown option.
            mount.read_only = None;
        }
        Source::Empty => {
            mount.typ = Some(MountType::TMPFS);
            mount.tmpfs_options =
                Some(MountTmpfsOptions { size_bytes: Some(EMPTY_BYTES_MAX), ..MountTmpfsOptions::default() });
        }
    }
    mount
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_confined_whatever_it_asks_for() {
        let bind = Bind { target: "/tmp/".into(), source: Source::Empty, read_only: false };
        let run = Run {
            ports: vec![(80, 0)],
            mounts: vec![bind],
            env: vec![("TOKEN".into(), Secret::from("s3cr3t".to_owned()))],
            ..Run::default()
        };
        assert!(!format!("{run:?}").contains("s3cr3t"));
        let body = body(&run, &Settings::default(), true);
        let host = body.host_config.unwrap();
        assert_eq!(host.readonly_rootfs, Some(true));
        assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
        assert!(!host.cap_add.unwrap().iter().any(|cap| cap.contains("SYS") || cap.contains("NET_ADMIN")));
        assert_eq!(host.privileged, None);
        assert_eq!(host.memory, host.memory_swap);
        assert!(host.pids_limit.unwrap() > 0 && host.nano_cpus.unwrap() > 0);
        let ports = host.port_bindings.unwrap();
        assert_eq!(ports["80/tcp"].as_ref().unwrap()[0].host_ip.as_deref(), Some(LOOPBACK));
        assert_eq!(host.tmpfs.unwrap().keys().collect::<Vec<_>>(), ["/run"], "/tmp is mounted already");
    }
}

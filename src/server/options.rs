//! What an operator can choose.

use super::livekit::LiveKitServer;
use crate::app::key::ApiKeyText;
use crate::vault::Secret;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where the server listens unless told: loopback, the port the platform reserves for room servers.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8078";

/// Model that reads texts for memories unless told.
pub const DEFAULT_MEMORY_MODEL: &str = "gpt-6.1-sol";

/// Choices of one server.
#[derive(Debug)]
pub struct Options {
    /// Database, keys and files; made with mode 0700 when missing.
    pub data_dir: PathBuf,
    /// Keys and files that several servers share; the data directory unless told.
    pub shared_dir: Option<PathBuf>,
    pub listen: SocketAddr,
    /// `postgres://…`; SQLite in the data directory without it.
    pub database_url: Option<String>,
    /// Base URL under which clients reach this server; made from the address without it.
    pub public_url: Option<String>,
    /// Base URL under which other servers on the database reach this one; the public one without it.
    pub server_url: Option<String>,
    /// Where room files are kept: an object storage URL; a local folder without it.
    pub storage_url: Option<url::Url>,
    /// Options of the object storage, such as `aws_region`.
    pub storage_options: Vec<(String, String)>,
    /// Name among the servers on one database; made once and kept in the data directory without it.
    pub server_name: Option<String>,
    /// Whether a connection by a signed token may make its room; on for loopback listeners unless told.
    pub auto_create_rooms: Option<bool>,
    /// Shortest gap between firings of a scheduled task, seconds.
    pub schedule_floor_seconds: u64,
    /// Key-encryption keys from the environment: the one in use and, separated by commas, those before it; from the
    /// key file without it.
    pub kek: Option<(Secret, Option<Secret>)>,
    /// Hosts beyond public addresses that calls, proxied requests and webhooks may go to: `host` or `host:port`.
    pub allowed_hosts: Vec<String>,
    /// Folders of this machine that git sources may name by `file:` URLs; none unless told.
    pub git_roots: Vec<PathBuf>,
    /// Largest pack that git sources fetch, MiB.
    pub git_pack_mib: u64,
    /// What opens encrypted values of documents.
    pub age: Vec<crate::app::AgeIdentities>,
    /// Signs calls and webhooks; made at the first start and kept in the vault without it.
    pub webhook_secret: Option<Secret>,
    /// Reads texts that agents have remembered with `strategy=llm`, where they name no model.
    pub memory_model: String,
    /// Makes vectors of what is remembered; none without it.
    pub embedding_model: Option<String>,
    /// The operator's key for Grok; those for OpenAI and Anthropic are among the controllers' options.
    pub grok: Option<crate::control::Provider>,
    /// Project, key id and secret for the first start, instead of fresh ones.
    pub api_key: Option<ApiKeyText>,
    /// Name of the project that the first start makes.
    pub project_name: String,
    /// What the controllers hand to agents and hold services to.
    pub control: crate::control::Settings,
    /// Limits of each room; annotations lower them.
    pub room_limits: crate::room::Limits,
    /// The program that runs `meshagent/cli` images; this very binary without it.
    pub program: Option<PathBuf>,
    /// Start nothing; services count as running.
    pub fake_runtime: bool,
    /// Where voice and video of rooms are; no calls without it.
    pub livekit: Option<LiveKitServer>,
    /// A collector that telemetry is passed on to, the base of its OTLP/HTTP endpoints.
    pub telemetry_collector: Option<url::Url>,
    /// What is kept of telemetry.
    pub telemetry_limits: crate::telemetry::Limits,
    /// Mail; none without a listener.
    pub mail: super::mail::MailOptions,
    /// Routes; none without a listener.
    pub proxy: super::proxy::ProxyOptions,
    /// Which container engine, and what containers may; without addresses there are no containers.
    pub containers: crate::containers::Settings,
    /// Services run as pods of a cluster; as processes and containers of this machine without it.
    pub pods: Option<super::pods::PodOptions>,
}

impl Options {
    #[must_use]
    pub fn new(data_dir: PathBuf, listen: SocketAddr) -> Self {
        Self {
            data_dir,
            shared_dir: None,
            listen,
            database_url: None,
            public_url: None,
            server_url: None,
            storage_url: None,
            storage_options: vec![],
            server_name: None,
            auto_create_rooms: None,
            schedule_floor_seconds: 60,
            kek: None,
            allowed_hosts: vec![],
            git_roots: vec![],
            git_pack_mib: crate::git::PACK_BYTES_MAX >> 20,
            age: vec![],
            webhook_secret: None,
            memory_model: DEFAULT_MEMORY_MODEL.to_owned(),
            embedding_model: None,
            grok: None,
            api_key: None,
            project_name: "default".to_owned(),
            control: crate::control::Settings::default(),
            room_limits: crate::room::Limits::default(),
            program: None,
            fake_runtime: false,
            livekit: None,
            telemetry_collector: None,
            telemetry_limits: crate::telemetry::Limits::default(),
            mail: super::mail::MailOptions::default(),
            proxy: super::proxy::ProxyOptions::default(),
            containers: crate::containers::Settings::default(),
            pods: None,
        }
    }

    pub(super) fn shared_dir(&self) -> &std::path::Path {
        self.shared_dir.as_deref().unwrap_or(&self.data_dir)
    }

    pub(super) fn auto_create_rooms(&self) -> bool {
        self.auto_create_rooms.unwrap_or_else(|| self.listen.ip().is_loopback())
    }
}

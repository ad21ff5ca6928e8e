//! `meshagent up`: the whole platform in one process.

use crate::app::key::ApiKeyText;
use crate::app::plan::{Request, SOURCE_DEFAULT};
use crate::app::{Actor, AgeIdentities};
mod containers;
mod mail;
mod pods;
mod proxy;

use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::{secret_values, settings};
use crate::control::Provider;
use crate::server::{DEFAULT_LISTEN, DEFAULT_MEMORY_MODEL, LiveKitServer, Options, Server};
use crate::vault::Secret;
use crate::vault::age::Identity;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// Environment of the object storage, by the names its own tools use.
const STORAGE_ENVIRONMENT: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_ENDPOINT",
    "AWS_ALLOW_HTTP",
];

/// Runs the whole platform on this machine: control plane, room server, controllers and their agents.
///
/// The first start makes a project, its `default` service account and an API key, and keeps them in the data
/// directory; `meshagent env` prints how to connect. Set MESHAGENT_API_KEY before the first start to bring your own.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Apply these documents once the server is ready: a file, or a folder of .yaml files (repeatable)
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    /// Where the database, the keys and the files are kept [default: ~/.local/share/meshagent]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Keys and files that several servers on one database share [default: the data directory]
    #[arg(long, value_name = "DIR")]
    shared_dir: Option<PathBuf>,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_LISTEN)]
    listen: SocketAddr,
    /// Keep the log in PostgreSQL instead of the embedded database
    #[arg(long, value_name = "URL", env = "MESHAGENT_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Base URL under which clients reach this server [default: http://ADDRESS]
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Base URL under which other servers on the database reach this one, where a balancer has the public URL
    /// [default: the public URL]
    #[arg(long, value_name = "URL")]
    server_url: Option<String>,
    /// Keep room files in object storage, such as s3://bucket/prefix [default: the data directory]
    #[arg(long, value_name = "URL")]
    storage_url: Option<url::Url>,
    /// Name of this server among those on one database
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Let a connection with a signed token make its room [default: yes on loopback, else no]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    auto_create_rooms: Option<bool>,
    /// Shortest gap between two firings of a scheduled task, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    schedule_floor: u64,
    /// Pass the telemetry of sessions on to this OTLP/HTTP collector, such as http://localhost:4318
    #[arg(long, value_name = "URL", env = "MESHAGENT_OTLP_COLLECTOR")]
    otlp_collector: Option<url::Url>,
    /// Most telemetry that is kept, MiB; the oldest goes first
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    telemetry_mib: u64,
    /// LiveKit server for voice and video in rooms, such as wss://calls.example; LIVEKIT_API_KEY and
    /// LIVEKIT_API_SECRET sign for it
    #[arg(long, value_name = "URL", env = "LIVEKIT_URL")]
    livekit_url: Option<url::Url>,
    /// Host beyond public addresses that calls, webhooks and /proxy-request may go to: HOST or HOST:PORT (repeatable)
    #[arg(long = "allow-host", value_name = "HOST[:PORT]", value_parser = host)]
    allow_hosts: Vec<String>,
    /// Folder of this machine whose repositories git sources of any project may name by file: URLs (repeatable)
    #[arg(long = "git-root", value_name = "DIR", value_parser = folder)]
    git_roots: Vec<PathBuf>,
    /// File of age identities that open encrypted values of documents: of this server's own project, or of the project
    /// whose id or short name stands before it (repeatable)
    #[arg(
        long = "age-identity",
        value_name = "[PROJECT=]FILE",
        env = "MESHAGENT_AGE_IDENTITY_FILE",
        value_delimiter = ','
    )]
    age_identities: Vec<String>,
    /// Largest pack that git sources fetch, MiB
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=16_384))]
    git_pack_mib: u64,
    /// Raise or lower a limit of every room, such as open-calls=1000; a room's annotations may lower it (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    room_limit: Vec<String>,
    /// Start no process and no container; services count as running. For trying out documents, and for measurements
    #[arg(long, env = "MESHAGENT_FAKE_RUNTIME")]
    fake_runtime: bool,
    #[command(flatten)]
    containers: containers::ContainerArgs,
    #[command(flatten)]
    pods: pods::PodArgs,
    #[command(flatten)]
    mail: mail::MailArgs,
    #[command(flatten)]
    proxy: proxy::ProxyArgs,
    /// Model that reads texts for memories with strategy=llm, at the provider of OPENAI_API_KEY and OPENAI_BASE_URL
    #[arg(long, value_name = "MODEL", env = "MESHAGENT_MEMORY_MODEL", default_value = DEFAULT_MEMORY_MODEL)]
    memory_model: String,
    /// Model of that provider that makes vectors of what is remembered, for recalling by meaning [default: none]
    #[arg(long, value_name = "MODEL", env = "MESHAGENT_EMBEDDING_MODEL")]
    embedding_model: Option<String>,
    /// Name of the project that the first start makes
    #[arg(long, value_name = "NAME", default_value = "default")]
    project_name: String,
    /// Room for applied documents that do not say theirs
    #[arg(long, value_name = "ROOM")]
    room: Option<String>,
}

/// Runs the server until it is told to stop.
pub async fn run(args: Args) -> Result<(), CliError> {
    let documents = crate::cli::documents::read_all_places(&args.files).await?;
    let room = args.room.clone();
    let named_dir =
        args.data_dir.as_ref().map(|dir| format!(" --data-dir {}", dir.display())).unwrap_or_default();
    let options = options(args)?;
    raise_open_files();
    let server = Server::start(options).await.map_err(|error| CliError::user(error.to_string()))?;
    let connection = server.connection().clone();
    output::note(format!("meshagent is ready at {} (project {})", connection.api_url, connection.project_id));
    output::note(format!("connect from another terminal: eval \"$(meshagent env{named_dir})\""));
    if let Some(address) = connection.smtp {
        output::note(format!("mail for mailboxes is received at {address}"));
    }
    if let Some(address) = connection.smtp_submission {
        output::note(format!("participants send mail at {address}"));
    }
    if let Some(address) = connection.proxy {
        output::note(format!("routes are served at http://{address}"));
    }
    if let Err(error) = apply(&server, documents, room).await {
        server.stop().await;
        return Err(error);
    }
    wait_for_stop().await?;
    output::note("stopping");
    server.stop().await;
    Ok(())
}

/// Every participant is an open file, and shells allow few; the system's own limit stands.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::debug!(%error, "the limit of open files stays");
    }
}

fn options(args: Args) -> Result<Options, CliError> {
    let data_dir = match args.data_dir {
        Some(dir) => dir,
        None => settings::default_data_dir()?,
    };
    let mut options = Options::new(data_dir, args.listen);
    options.shared_dir = args.shared_dir;
    options.database_url = args.database_url;
    options.public_url = args.public_url.map(|url| url.trim_end_matches('/').to_owned());
    options.server_url = args.server_url.map(|url| url.trim_end_matches('/').to_owned());
    options.storage_url = args.storage_url;
    options.storage_options = present(STORAGE_ENVIRONMENT, str::to_lowercase);
    options.server_name = args.server_name;
    options.auto_create_rooms = args.auto_create_rooms;
    options.schedule_floor_seconds = args.schedule_floor;
    options.project_name = args.project_name;
    for limit in &args.room_limit {
        let (name, value) = limit.split_once('=').unwrap_or((limit, ""));
        options.room_limits.set(name, value).map_err(|error| CliError::user(error.to_string()))?;
    }
    options.memory_model = args.memory_model;
    options.embedding_model = args.embedding_model;
    options.control.openai = provider("OPENAI_API_KEY", "OPENAI_BASE_URL");
    options.control.anthropic = provider("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL");
    options.grok =
        provider("GROK_API_KEY", "GROK_BASE_URL").or_else(|| provider("XAI_API_KEY", "XAI_BASE_URL"));
    options.telemetry_collector = args.otlp_collector;
    options.telemetry_limits.bytes = args.telemetry_mib * 1024 * 1024;
    options.containers = args.containers.settings();
    options.pods = args.pods.options()?;
    options.mail = args.mail.options()?;
    options.fake_runtime = args.fake_runtime;
    options.proxy = args.proxy.options();
    options.livekit = args.livekit_url.as_ref().map(livekit).transpose()?;
    options.allowed_hosts = args.allow_hosts;
    options.git_roots = args.git_roots;
    options.git_pack_mib = args.git_pack_mib;
    options.age = args.age_identities.iter().map(|text| age_identity(text)).collect::<Result<_, _>>()?;
    options.webhook_secret = secret("MESHAGENT_WEBHOOK_SECRET");
    options.kek = secret("MESHAGENT_KEK").map(|kek| (kek, secret("MESHAGENT_KEK_PREVIOUS")));
    options.api_key = match settings::env("MESHAGENT_API_KEY") {
        Some(text) => Some(ApiKeyText::parse(&text).map_err(|error| {
            CliError::user(format!("MESHAGENT_API_KEY: {error}"))
                .hint("unset it to have a key made, or give a whole key")
        })?),
        None => None,
    };
    Ok(options)
}

fn secret(name: &str) -> Option<Secret> {
    settings::env(name).map(Secret::from)
}

/// The identities of one `[PROJECT=]FILE`. A file whose name has a `=` is written with a folder: `./a=b`.
fn age_identity(text: &str) -> Result<AgeIdentities, CliError> {
    let (project, path) = match text.split_once('=') {
        Some((project, path)) if !project.contains('/') => (Some(project.to_owned()), path),
        _ => (None, text),
    };
    let failed = |why: String| {
        let error = CliError::user(format!("--age-identity {path}: {why}"));
        error.hint("`age-keygen -o FILE` makes one")
    };
    let read = std::fs::read_to_string(path).map(zeroize::Zeroizing::new);
    let text = read.map_err(|error| failed(error.to_string()))?;
    let identities = Identity::parse_file(&text).map_err(|error| failed(error.to_string()))?;
    Ok(AgeIdentities { project, identities })
}

fn present(names: &[&str], rename: impl Fn(&str) -> String) -> Vec<(String, String)> {
    names.iter().filter_map(|name| Some((rename(name), settings::env(name)?))).collect()
}

fn livekit(url: &url::Url) -> Result<LiveKitServer, CliError> {
    let needed = |name: &str| {
        settings::env(name).ok_or_else(|| {
            CliError::user(format!("--livekit-url needs {name}"))
                .hint("set LIVEKIT_API_KEY and LIVEKIT_API_SECRET as the LiveKit server has them")
        })
    };
    let api_secret = Secret::from(needed("LIVEKIT_API_SECRET")?);
    let url = url.as_str().trim_end_matches('/').to_owned();
    Ok(LiveKitServer { url, api_key: needed("LIVEKIT_API_KEY")?, api_secret })
}

/// A model provider that the operator's environment has a key for. Agents ask it through this server's proxy.
fn provider(key: &str, base_url: &str) -> Option<Provider> {
    let api_key = Secret::new(settings::env(key)?.into_bytes());
    Some(Provider { base_url: settings::env(base_url), api_key })
}

async fn apply(
    server: &Server,
    documents: Vec<(serde_json::Value, String)>,
    room: Option<String>,
) -> Result<(), CliError> {
    if documents.is_empty() {
        return Ok(());
    }
    let project = server
        .connection()
        .project_id
        .parse()
        .map_err(|_| CliError::internal("the project's identifier is unreadable"))?;
    let actor = Actor::new("cli", "up");
    let source = SOURCE_DEFAULT.to_owned();
    let values = secret_values::read(documents.iter().map(|(document, place)| (document, place.as_str())))?;
    let values = values.into_iter().map(|(index, value)| (index, Secret::from(value))).collect();
    let documents = documents.into_iter().map(|(document, _)| document).collect();
    let request = Arc::new(Request { source, documents, values, room, ..Request::default() });
    let plan = server
        .app()
        .apply(&actor, project, request, None)
        .await
        .map_err(|error| CliError::user(error.to_string()))?;
    for step in plan.steps {
        output::note(format!("{} {}", step.key, step.action));
    }
    Ok(())
}

async fn wait_for_stop() -> Result<(), CliError> {
    let listen =
        |kind| signal(kind).map_err(|error| CliError::internal(format!("cannot wait for signals: {error}")));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn host(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(['/', '@', ' ']) {
        return Err("want a host and no URL, such as hooks.internal or hooks.internal:8443".to_owned());
    }
    Ok(text.to_owned())
}

fn folder(text: &str) -> Result<PathBuf, String> {
    let folder = PathBuf::from(text);
    if folder.is_dir() { Ok(folder) } else { Err("there is no such folder on this machine".to_owned()) }
}

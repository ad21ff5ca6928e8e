//! Starts and stops the whole.

use super::cleanup;
use super::containers::{engines, follow as follow_ends, volume};
use super::doors::Doors;
use super::first_start::{Connection, prepare};
use super::keeper::LeasedSessions;
use super::lines::{KeptLines, KeptSpans};
use super::mail;
use super::member;
use super::options::Options;
use super::proxy;
use super::report;
use super::room_edge::{self, Made, RoomParts};
use super::stores::Stores;
use super::tls::{Both, Tls, TlsError, hosts};
use crate::api::{self, Api};
use crate::app::attempts::Attempts;
use crate::app::host::RoomHost;
use crate::app::ingest::Ingest;
use crate::app::links::Links;
use crate::app::outward::Outward;
use crate::app::servers::Servers;
use crate::app::{AgeKeys, App, Settings};
use crate::blob::{BlobError, Blobs};
use crate::clock::{Clock, IdSource, System};
use crate::containers::Containers as Engines;
use crate::control::{self, ControlHandle, ControlParts};
use crate::dataset::DatasetStore;
use crate::document::Documents;
use crate::eventlog::LogError;
use crate::git::Repositories;
use crate::llm::usage::Ledger;
use crate::projection::{OpenError, Projection};
use crate::rendering::Apart;
use crate::room::Hub;
use crate::room::toolkits::containers::Containers;
use crate::runtime::{
    ChosenRuntime, ContainerRuntime, FakeRuntime, ProcessRuntime, ProcessSettings, Runtime,
};
use crate::store::StoreError;
use crate::telemetry::{Forward, Telemetry, TelemetryError};
use crate::vault::{Secret, VaultError};
use crate::volume::Volume;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long open requests may take to finish when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Mode of the data directory: its owner only.
const DATA_DIR_MODE: u32 = 0o700;

/// Why the server cannot start. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Option(String),
    #[error("cannot listen on {addr}: {source}; stop what uses it, or choose another with `--listen`")]
    Listen { addr: std::net::SocketAddr, source: std::io::Error },
    #[error("cannot use the data directory {path}: {source}; choose another with `--data-dir`")]
    DataDir { path: String, source: std::io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Projection(#[from] OpenError),
    #[error(transparent)]
    Queues(#[from] crate::queue::QueueError),
    #[error(transparent)]
    Files(#[from] BlobError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error(transparent)]
    App(#[from] crate::app::Error),
    #[error(transparent)]
    Mail(#[from] super::mail::MailError),
    #[error(transparent)]
    Proxy(#[from] crate::proxy::ProxyError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A server that runs.
pub struct Server {
    app: Arc<App>,
    hub: Arc<Hub>,
    servers: Arc<Servers>,
    stores: Arc<Stores>,
    control: Arc<ControlHandle>,
    connection: Connection,
    stop: CancellationToken,
    http: JoinHandle<()>,
    workers: Vec<JoinHandle<()>>,
    containers: Arc<Containers>,
    usage: Arc<Ledger>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl Server {
    /// Starts everything; on return the server answers.
    pub async fn start(mut options: Options) -> Result<Self, StartError> {
        make_data_dir(&options.data_dir)?;
        let (listener, public_url) = listen(&options).await?;
        let (clock, ids): (Arc<dyn Clock>, Arc<dyn IdSource>) = (Arc::new(System), Arc::new(System));
        let (app, stores) = application(&mut options, &public_url, &clock, &ids).await?;
        let (projection, seen) = (Arc::clone(&app.projection), app.projection.world().position);
        let mut connection = prepare(&app, &mut options).await?;
        let (files, secret) = (blobs(&options, &ids).await?, app.server_secret().await?);
        let tls = tls(&options, &app, &secret, &listener)?;
        let (links, ingest) = (Arc::new(Links::new(&secret, public_url)), Arc::new(Ingest::new(&secret)));
        options.control.telemetry = Some(Arc::clone(&ingest));
        let telemetry = Telemetry::open(&options.data_dir, options.telemetry_limits, Arc::clone(&clock))?;
        let outward = super::secrets::outward(&mut options);
        let (llm, usage) = super::llm::make(&options, &stores, &clock, &outward)?;
        let (servers, keeper, hub) = sessions(&app, &stores, &telemetry).await?;
        let documents = documents(&options, &files, &keeper, &app);
        let doors = doors(&app, &links, &outward);
        let host = super::host::host(&app, &hub, &doors, &ids, (options.room_limits, &servers));
        let stop = CancellationToken::new();
        let mail = mail::start(&mut options, &app, &host, &stores, &stop).await?;
        let engines = engines(&options, &app)?;
        let control = Arc::new(controllers(&app, &host, &stores, &files, &engines, &options).await?);
        keeper.wakes(control.waker());
        let _ = doors.control.set(Arc::clone(&control));
        let Made { router, containers } = room_edge::make(RoomParts {
            app: &app,
            hub: &hub,
            stores: &stores,
            files: &files,
            documents: &documents,
            doors: &doors,
            options: &options,
            engines: &engines,
            control: &control,
        });
        let api = Api {
            app: Arc::clone(&app),
            host: Arc::clone(&host),
            files: files.clone(),
            links,
            outward,
            ingest,
            telemetry,
            llm,
            servers: Arc::clone(&servers),
            outbox: Arc::clone(&stores.outbox),
            feeds: Arc::clone(&stores.feeds),
            forward: options.telemetry_collector.clone().map(Forward::start),
            authority: tls.authority.as_str().into(),
        };
        let routes = proxy::start(&options.proxy, &api, (&stores, &secret), &control, &stop).await?;
        let router = router.merge(routes.between).merge(api::otlp_grpc_router(&api)).merge(api::router(api));
        let cleaner = cleanup::follow(Arc::clone(&app), Arc::clone(&stores), files.clone(), documents, seen);
        let sweeper = follow_ends(Arc::clone(&containers), Arc::clone(&app), Arc::clone(&stores.log), seen);
        let mut workers = vec![
            tokio::spawn(Arc::clone(&projection).follow()),
            tokio::spawn(report::follow(Arc::clone(&stores.log), projection, seen)),
            tokio::spawn(keeper.renew()),
            tokio::spawn(member::follow(Arc::clone(&servers), Arc::clone(&hub))),
            tokio::spawn(cleaner),
            tokio::spawn(sweeper),
            tokio::spawn(Arc::clone(&usage).follow()),
        ];
        (connection.smtp, connection.smtp_submission) = (mail.receiver, mail.submission);
        connection.proxy = routes.address;
        workers.extend(mail.tasks.into_iter().chain(routes.task));
        let http = serve(Both::new(listener, tls), router, stop.clone());
        connection.write(&options.data_dir).map_err(|source| data_dir_error(&options.data_dir, source))?;
        Ok(Self { app, hub, servers, stores, control, connection, stop, http, workers, containers, usage })
    }

    /// How clients on this machine connect.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Stops in order: no new connections, sockets dropped so that clients come back, the state written out.
    pub async fn stop(self) {
        self.stop.cancel();
        self.hub.stop_all();
        if tokio::time::timeout(STOP_GRACE, self.http).await.is_err() {
            tracing::warn!("some requests did not finish in time and were cut off");
        }
        self.control.stop().await;
        if let Err(error) = self.containers.sweep().await {
            tracing::warn!(%error, "containers of rooms remain until the next start");
        }
        for worker in &self.workers {
            worker.abort();
        }
        if let Err(error) = self.usage.flush().await {
            tracing::warn!(%error, "some usage of models was not recorded");
        }
        self.servers.leave().await;
        self.app.projection.save().await;
        self.stores.close().await;
    }
}

/// Where the server listens, and how clients reach it.
async fn listen(options: &Options) -> Result<(TcpListener, String), StartError> {
    let addr = options.listen;
    let listener = TcpListener::bind(addr).await.map_err(|source| StartError::Listen { addr, source })?;
    let bound = listener.local_addr().map_err(|source| StartError::Listen { addr, source })?;
    let public_url = options.public_url.clone().unwrap_or_else(|| format!("http://{bound}"));
    Ok((listener, public_url))
}

/// What it takes to speak TLS where this server listens.
fn tls(options: &Options, app: &App, secret: &Secret, listener: &TcpListener) -> Result<Tls, StartError> {
    let listening = |source| StartError::Listen { addr: options.listen, source };
    let bound = listener.local_addr().map_err(listening)?;
    Ok(Tls::make(secret, hosts(&app.settings.public_url, bound))?)
}

/// The application on its stores, with the log folded.
async fn application(
    options: &mut Options,
    public_url: &str,
    clock: &Arc<dyn Clock>,
    ids: &Arc<dyn IdSource>,
) -> Result<(Arc<App>, Arc<Stores>), StartError> {
    let stores = Arc::new(Stores::open(options, clock, ids).await?);
    let vault = super::secrets::vault(options, &stores).await?;
    let app = App {
        log: Arc::clone(&stores.log),
        projection: Projection::open(Arc::clone(&stores.log)).await?,
        vault: Arc::new(vault),
        clock: Arc::clone(clock),
        ids: Arc::clone(ids),
        settings: Settings {
            auto_create_rooms: options.auto_create_rooms(),
            schedule_floor_seconds: options.schedule_floor_seconds,
            server_name: server_name(options)?,
            public_url: public_url.to_owned(),
            server_url: options.server_url.clone().unwrap_or_else(|| public_url.to_owned()),
            mail_domain: options.mail.domain.clone(),
            proxy_domain: options.proxy.domain.clone(),
            age: Arc::new(AgeKeys { all: std::mem::take(&mut options.age), ..AgeKeys::default() }),
            templates: Arc::new(Apart::new(program(options)?)),
        },
        attempts: Attempts::default(),
    };
    Ok((Arc::new(app), stores))
}

fn doors(app: &Arc<App>, links: &Arc<Links>, outward: &Arc<Outward>) -> Arc<Doors> {
    Arc::new(Doors {
        app: Arc::clone(app),
        links: Arc::clone(links),
        outward: Arc::clone(outward),
        control: std::sync::OnceLock::new(),
        bus: std::sync::OnceLock::new(),
    })
}

async fn controllers(
    app: &Arc<App>,
    host: &Arc<dyn RoomHost>,
    stores: &Stores,
    files: &Blobs,
    engines: &Arc<Engines>,
    options: &Options,
) -> Result<ControlHandle, StartError> {
    Ok(control::start(ControlParts {
        app: Arc::clone(app),
        host: Arc::clone(host),
        runtime: runtime(options, app, engines).await?,
        queues: Arc::clone(&stores.queues),
        leases: Arc::clone(&stores.leases),
        blobs: files.clone(),
        feeds: Arc::clone(&stores.feeds),
        repositories: Some(repositories(options)?),
        holder: app.settings.server_name.clone(),
        settings: crate::control::Settings {
            container_api_url: options.containers.api_url.clone(),
            is_shared: stores.is_shared(),
            ..options.control.clone()
        },
    }))
}

/// Services run as processes of this program, each in a sandbox as far as the machine has one, or as containers; or all
/// of them as pods of a cluster.
async fn runtime(
    options: &Options,
    app: &App,
    engines: &Arc<Engines>,
) -> Result<Arc<dyn Runtime>, StartError> {
    if options.fake_runtime {
        tracing::warn!("no service is started: the server runs with --fake-runtime");
        return Ok(Arc::new(FakeRuntime::forgetful(Arc::clone(&app.clock))));
    }
    if let Some(pods) = &options.pods {
        let runtime = super::pods::runtime(options, pods, app).await?;
        tracing::info!(runtime = runtime.describe(), "services run");
        return Ok(Arc::new(runtime));
    }
    let program = program(options)?;
    let settings =
        ProcessSettings { data_dir: options.data_dir.clone(), program, confine: true, readable: vec![] };
    let runtime = ProcessRuntime::open(settings, Arc::clone(&app.clock), Arc::clone(&app.ids))
        .map_err(|source| data_dir_error(&options.data_dir, source))?;
    let volume = volume(options);
    let containers = ContainerRuntime::new(Arc::clone(engines), volume, Arc::clone(&app.ids));
    let runtime = ChosenRuntime::new(Arc::new(runtime), Arc::new(containers));
    tracing::info!(runtime = runtime.describe(), "services run");
    Ok(Arc::new(runtime))
}

fn program(options: &Options) -> Result<std::path::PathBuf, StartError> {
    options
        .program
        .clone()
        .map_or_else(std::env::current_exe, Ok)
        .map_err(|error| StartError::Option(format!("cannot find this program's own file: {error}")))
}

/// The repositories of git sources.
fn repositories(options: &Options) -> Result<Arc<Repositories>, StartError> {
    let settings = crate::git::Settings {
        folder: options.data_dir.join("git"),
        program: program(options)?,
        roots: options.git_roots.clone(),
        allowed: options.control.outward.allowed.clone(),
        pack_bytes_max: options.git_pack_mib.saturating_mul(1024 * 1024),
    };
    let opened = Repositories::open(settings);
    opened.map(Arc::new).map_err(|source| data_dir_error(&options.data_dir, source))
}

fn serve(listener: Both, router: axum::Router, stop: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = served.await {
            tracing::error!(%error, "the server stopped listening");
        }
    })
}

fn make_data_dir(path: &Path) -> Result<(), StartError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(DATA_DIR_MODE).create(path);
    made.and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(DATA_DIR_MODE)))
        .map_err(|source| data_dir_error(path, source))
}

pub(super) fn data_dir_error(path: &Path, source: std::io::Error) -> StartError {
    StartError::DataDir { path: path.display().to_string(), source }
}

/// The files of all rooms, without what an earlier run left unfinished.
async fn blobs(options: &Options, ids: &Arc<dyn IdSource>) -> Result<Blobs, BlobError> {
    let files = match &options.storage_url {
        Some(url) => Blobs::from_url(url, options.storage_options.clone())?,
        None => Blobs::local(options.shared_dir(), Arc::clone(ids)),
    };
    // On a shared folder the unfinished uploads may be another server's.
    if options.shared_dir.is_none() {
        files.sweep().await?;
    }
    Ok(files)
}

/// This server among the others, who keeps the sessions, and those that are live here.
async fn sessions(
    app: &Arc<App>,
    stores: &Stores,
    telemetry: &Telemetry,
) -> Result<(Arc<Servers>, Arc<LeasedSessions>, Arc<Hub>), StartError> {
    let (leases, ttl) = (&stores.leases, stores.lease_ttl);
    let servers = Arc::new(Servers::new(Arc::clone(app), Arc::clone(leases), ttl));
    servers.enter().await?;
    let keeper = LeasedSessions::new(Arc::clone(app), Arc::clone(leases), ttl, Arc::clone(&servers));
    let keeper = Arc::new(keeper);
    let hub = Arc::new(Hub::new(keeper.clone(), Arc::clone(&app.clock), Arc::clone(&app.ids)));
    let (datasets, memories) = (Arc::clone(&stores.datasets), Arc::clone(&stores.memories));
    keeper.closes(move |room| {
        let (datasets, memories) = (Arc::clone(&datasets), Arc::clone(&memories));
        Box::pin(async move {
            datasets.close_room(room).await;
            memories.close_room(room).await;
        })
    });
    let databases = Arc::clone(&stores.databases);
    keeper.closes(move |room| {
        let databases = Arc::clone(&databases);
        Box::pin(async move { databases.close_room(room).await })
    });
    let memories = Arc::clone(&stores.memories);
    keeper.closes(move |room| {
        let memories = Arc::clone(&memories);
        Box::pin(async move { memories.close_room(room).await })
    });
    keeper.attach(&hub);
    hub.keep_lines(Arc::new(KeptLines { telemetry: telemetry.clone(), clock: Arc::clone(&app.clock) }));
    hub.keep_spans(Arc::new(KeptSpans(telemetry.clone())));
    Ok((servers, keeper, hub))
}

/// The documents of all rooms; a room's are let go of when its session ends here.
fn documents(options: &Options, files: &Blobs, keeper: &LeasedSessions, app: &App) -> Arc<Documents> {
    let volume = Volume::new(options.shared_dir());
    let (clock, ids) = (Arc::clone(&app.clock), Arc::clone(&app.ids));
    let documents = Arc::new(Documents::new(volume, files.clone(), clock, ids));
    let open = Arc::clone(&documents);
    keeper.closes(move |room| {
        let documents = Arc::clone(&open);
        Box::pin(async move { documents.close_room(room).await })
    });
    documents
}

/// The given name; alone on an embedded store always the same; else one made once and kept.
fn server_name(options: &Options) -> Result<String, StartError> {
    const FILE: &str = "server-name";
    if let Some(name) = &options.server_name {
        return Ok(name.clone());
    }
    let path = options.data_dir.join(FILE);
    let io = |source| data_dir_error(&path, source);
    match std::fs::read_to_string(&path) {
        Ok(name) if !name.trim().is_empty() => Ok(name.trim().to_owned()),
        Ok(_) => {
            Err(StartError::Option(format!("{} is empty; delete it or give `--server-name`", path.display())))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let name = format!("server-{}", System.fresh().simple());
            std::fs::write(&path, &name).map_err(io)?;
            Ok(name)
        }
        Err(error) => Err(io(error)),
    }
}

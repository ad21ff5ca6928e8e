//! `meshagent operator`: keeps a server as the custom resources of a Kubernetes cluster say.

use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::Ctx;
use crate::cli::resolve::Globals;
use crate::clock::{IdSource as _, System};
use crate::crd::definition as crd;
use crate::operator::{self, Health, KeySource, Options, RestMesh};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Longest wait for what is being worked on when the operator is to stop.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Keep a server as the custom resources of a Kubernetes cluster say.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "The cluster is that of --kubeconfig, of KUBECONFIG or ~/.kube/config, or the one it runs in.\n\
                  The server and the key are those of --api-url and MESHAGENT_API_KEY, or of --api-key-file.\n\n\
                  Examples:\n  meshagent operator crds | kubectl apply --server-side -f -\n  \
                  meshagent operator --namespace shop --cluster production"
)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Namespace whose objects are applied (repeatable) [default: all]
    #[arg(
        short = 'n',
        long = "namespace",
        value_name = "NAME",
        env = "MESHAGENT_OPERATOR_NAMESPACES",
        value_delimiter = ','
    )]
    namespaces: Vec<String>,
    /// Name of this cluster among those that one server serves; part of the names of sources
    #[arg(long, value_name = "NAME", default_value = "cluster", value_parser = cluster_name)]
    cluster: String,
    /// File with the API key, such as that of a mounted Secret; it is read again when it changes
    #[arg(long, value_name = "FILE", env = "MESHAGENT_API_KEY_FILE")]
    api_key_file: Option<PathBuf>,
    /// File that says how to reach the cluster
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of that file
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Have one of several operators do the work, by this Lease
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = lease_name)]
    lease: Option<(String, String)>,
    /// Name of this operator among those [default: the name of the host, and a random part]
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    identity: Option<String>,
    /// Answer /healthz, /readyz and /metrics here
    #[arg(long, value_name = "ADDRESS")]
    health_address: Option<SocketAddr>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the definitions of the custom resources
    Crds(CrdsArgs),
}

/// Print the definitions of the custom resources, made from the kinds that can be applied.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  meshagent operator crds | kubectl apply --server-side -f -")]
struct CrdsArgs {
    /// Leave validation rules (CEL) out, for clusters before 1.25
    #[arg(long)]
    without_rules: bool,
}

pub async fn run(globals: Globals, args: Args) -> Result<(), CliError> {
    match args.command {
        Some(Command::Crds(args)) => print_definitions(&args),
        None => operate(globals, args).await,
    }
}

fn print_definitions(args: &CrdsArgs) -> Result<(), CliError> {
    let mut text = String::new();
    for definition in crd::definitions(!args.without_rules) {
        let yaml = crd::to_yaml(&definition)
            .map_err(|error| CliError::internal(format!("cannot write this as YAML: {error}")))?;
        text.push_str("---\n");
        text.push_str(&yaml);
    }
    output::data(&text)
}

async fn operate(globals: Globals, args: Args) -> Result<(), CliError> {
    crate::cli::telemetry::init();
    let stop = stop_signal()?;
    let mesh = mesh(globals, args.api_key_file)?;
    let client = cluster(args.kubeconfig, args.context).await?;
    let health = Arc::new(Health::default());
    if let Some(address) = args.health_address {
        let taken = |error| CliError::user(format!("cannot listen on {address}: {error}"));
        let listener = TcpListener::bind(address).await.map_err(taken)?;
        tokio::spawn(Arc::clone(&health).serve(listener, stop.clone().cancelled_owned()));
    }
    let identity = match args.identity {
        Some(identity) => identity,
        // Two of one host are two.
        None => {
            let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
            format!("{host}_{}", System.fresh().simple())
        }
    };
    let options = Options {
        client,
        mesh: Arc::new(mesh),
        cluster: args.cluster,
        namespaces: args.namespaces,
        identity,
        lease: args.lease,
        clock: Arc::new(System),
        health,
    };
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(STOP_LIMIT).await;
    };
    tokio::select! {
        ended = operator::run(options, stop.clone()) => ended.map_err(|error| CliError::user(error.to_string())),
        () = late => Err(CliError::user("the work did not end in time")),
    }
}

fn mesh(globals: Globals, key_file: Option<PathBuf>) -> Result<RestMesh, CliError> {
    let project = globals.project_id.clone();
    let ctx = Ctx::load(globals)?;
    let url = ctx.api_url()?;
    Ok(match key_file {
        Some(file) => RestMesh::new(url, project, KeySource::File(file)),
        None => RestMesh::new(url, Some(ctx.project_id()?), KeySource::Fixed(ctx.bearer()?)),
    })
}

async fn cluster(kubeconfig: Option<PathBuf>, context: Option<String>) -> Result<kube::Client, CliError> {
    let made = crate::runtime::kubernetes::client(kubeconfig, context).await;
    made.map(|(client, _)| client).map_err(|error| {
        CliError::user(error)
            .hint("name a kubeconfig with --kubeconfig FILE or KUBECONFIG, or run this in a cluster")
    })
}

/// Cancelled by SIGINT and SIGTERM.
fn stop_signal() -> Result<CancellationToken, CliError> {
    let listen =
        |kind| signal(kind).map_err(|error| CliError::internal(format!("cannot wait for signals: {error}")));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
    });
    Ok(stop)
}

fn cluster_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    if text.is_empty() || text.len() > 40 || !text.chars().all(plain) {
        return Err("want up to 40 small letters, digits, dashes and dots".to_owned());
    }
    Ok(text.to_owned())
}

fn lease_name(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('/').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
    parts
        .map(|(namespace, name)| (namespace.to_owned(), name.to_owned()))
        .ok_or_else(|| "want NAMESPACE/NAME, such as meshagent/operator".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!(lease_name("a/b"), Ok(("a".into(), "b".into())));
        assert!(lease_name("a").is_err() && lease_name("/b").is_err());
        assert!(cluster_name("prod-1").is_ok());
        assert!(cluster_name("Prod/1").is_err() && cluster_name("").is_err());
    }
}

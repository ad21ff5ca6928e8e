//! How a cluster is reached: the way the operator named, or the usual ones.

use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use std::path::PathBuf;

/// A client of the cluster that a kubeconfig file and one of its contexts name; without them of that of `KUBECONFIG` or
/// `~/.kube/config`, or of the one that this program runs in. With it the namespace that is meant where none is named.
///
/// Errors: why none can be told, for people.
pub async fn client(file: Option<PathBuf>, context: Option<String>) -> Result<(Client, String), String> {
    let unusable = |error: &dyn std::fmt::Display| format!("cannot tell how to reach a cluster: {error}");
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    let config = match (file, &options.context) {
        (Some(file), _) => {
            let read = Kubeconfig::read_from(file).map_err(|error| unusable(&error))?;
            Config::from_custom_kubeconfig(read, &options).await.map_err(|error| unusable(&error))?
        }
        (None, Some(_)) => Config::from_kubeconfig(&options).await.map_err(|error| unusable(&error))?,
        (None, None) => Config::infer().await.map_err(|error| unusable(&error))?,
    };
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config).map_err(|error| unusable(&error))?;
    Ok((client, namespace))
}

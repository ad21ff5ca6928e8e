//! Pods as the compute: what the operator chose, and the runtime made of it.

use super::options::Options;
use super::start::{StartError, data_dir_error};
use crate::app::App;
use crate::runtime::KubernetesRuntime;
use crate::runtime::kubernetes::{Claim, PodSettings, PodTemplate, client};
use std::path::PathBuf;
use std::sync::Arc;

/// Choices about pods.
#[derive(Debug, Clone)]
pub struct PodOptions {
    /// File and context that say how to reach the cluster; the usual ones, or the one this runs in, without them.
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
    /// Where pods run; the namespace of the context, or of this server, without it.
    pub namespace: Option<String>,
    /// What `meshagent/cli` stands for.
    pub image: String,
    /// The claim that has the shared folder, or the data directory.
    pub claim: Option<String>,
    pub template: PodTemplate,
}

/// Services run as pods, those of our own image too.
pub(super) async fn runtime(
    options: &Options,
    pods: &PodOptions,
    app: &App,
) -> Result<KubernetesRuntime, StartError> {
    let unusable = |why: String| StartError::Option(format!("--runtime kubernetes: {why}"));
    let (client, namespace) = client(pods.kubeconfig.clone(), pods.context.clone()).await.map_err(|why| {
        unusable(format!(
            "{why}; name a kubeconfig with --kubeconfig FILE or KUBECONFIG, or run this in a cluster"
        ))
    })?;
    if pods.claim.is_some() && options.storage_url.is_some() {
        let why = "--kubernetes-claim and --storage-url exclude each other: room files are in one place";
        return Err(unusable(why.to_owned()));
    }
    let root = options.shared_dir();
    let claim = match &pods.claim {
        Some(name) => {
            let root = root.canonicalize().map_err(|source| data_dir_error(root, source))?;
            Some(Claim { name: name.clone(), root })
        }
        None => None,
    };
    let mut settings = PodSettings {
        namespace: pods.namespace.clone().unwrap_or(namespace),
        image: pods.image.clone(),
        claim,
        template: pods.template.clone(),
        limits: options.containers.limits,
        installation: String::new(),
        server: String::new(),
        server_name: String::new(),
    };
    let secret = app.server_secret().await?;
    settings.mark(secret.expose(), &app.settings.server_name);
    Ok(KubernetesRuntime::start_with(client, settings, Arc::clone(&app.ids)))
}

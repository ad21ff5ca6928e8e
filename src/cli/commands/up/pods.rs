//! Flags of `meshagent up` about pods of a Kubernetes cluster.

use crate::cli::error::CliError;
use crate::runtime::kubernetes::PodTemplate;
use crate::server::PodOptions;
use std::path::PathBuf;

/// Where services run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Compute {
    /// Processes and containers of this machine
    Local,
    /// Pods of a Kubernetes cluster
    Kubernetes,
}

#[derive(Debug, clap::Args)]
pub(super) struct PodArgs {
    /// Where services run
    #[arg(
        long,
        value_enum,
        value_name = "RUNTIME",
        env = "MESHAGENT_RUNTIME",
        default_value = "local",
        conflicts_with = "fake_runtime"
    )]
    runtime: Compute,
    /// Image that `meshagent/cli` stands for in pods: that of this server
    #[arg(
        long,
        value_name = "IMAGE",
        env = "MESHAGENT_KUBERNETES_IMAGE",
        required_if_eq("runtime", "kubernetes")
    )]
    kubernetes_image: Option<String>,
    /// Namespace of the pods, and of the Secrets that go with them [default: that of the context, or of this pod]
    #[arg(long, value_name = "NAME", env = "MESHAGENT_KUBERNETES_NAMESPACE")]
    kubernetes_namespace: Option<String>,
    /// PersistentVolumeClaim of that namespace that has the shared directory, or else the data directory: services mount
    /// the files of their room from it
    #[arg(long, value_name = "NAME", env = "MESHAGENT_KUBERNETES_CLAIM")]
    kubernetes_claim: Option<String>,
    /// File with what all pods have: nodeSelector, tolerations, affinity, resources, runtimeClassName, …
    #[arg(long, value_name = "FILE", env = "MESHAGENT_KUBERNETES_POD_TEMPLATE")]
    kubernetes_pod_template: Option<PathBuf>,
    /// File that says how to reach the cluster [default: KUBECONFIG, ~/.kube/config, or the cluster this runs in]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of that file
    #[arg(long, value_name = "NAME")]
    kubernetes_context: Option<String>,
}

impl PodArgs {
    pub fn options(self) -> Result<Option<PodOptions>, CliError> {
        let Some(image) = self.kubernetes_image.filter(|_| self.runtime == Compute::Kubernetes) else {
            return Ok(None);
        };
        let template = match &self.kubernetes_pod_template {
            Some(path) => {
                let failed = |why: String| {
                    CliError::user(format!("--kubernetes-pod-template {}: {why}", path.display()))
                        .hint("docs/kubernetes.md says what stands in it")
                };
                let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
                PodTemplate::parse(&text).map_err(failed)?
            }
            None => PodTemplate::default(),
        };
        Ok(Some(PodOptions {
            kubeconfig: self.kubeconfig,
            context: self.kubernetes_context,
            namespace: self.kubernetes_namespace,
            image,
            claim: self.kubernetes_claim,
            template,
        }))
    }
}

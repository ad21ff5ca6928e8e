//! Services as pods: the runtime, and a whole server with it, against a real API server and a stand-in for a node.

mod conformance;
mod server;

use crate::operator::cluster::{Cluster, programs};
use crate::operator::root;
use crate::support::node::Node;
use meshagent::clock::System;
use meshagent::containers::Limits;
use meshagent::runtime::KubernetesRuntime;
use meshagent::runtime::kubernetes::{PodSettings, PodTemplate, client};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// A cluster with one node, where the account of the server may what the manifests say.
struct Rig {
    cluster: Cluster,
    node: Node,
    home: TempDir,
}

impl Rig {
    /// `None`, said aloud, where the programs are missing.
    fn start() -> Option<Self> {
        let cluster = Cluster::start(programs()?);
        let home = tempfile::tempdir().unwrap();
        let file = root().join("deploy/kubernetes/pods/rights.yaml");
        cluster.kubectl(&["create", "namespace", "meshagent"]);
        cluster.kubectl(&["apply", "-f", &file.display().to_string()]);
        let node = Node::start(cluster.kubeconfig("admin"), &home.path().join("node"));
        Some(Self { cluster, node, home })
    }

    fn kubeconfig(&self) -> PathBuf {
        self.cluster.kubeconfig("server")
    }

    /// The runtime of one server of an installation.
    async fn runtime(&self, server: &str, template: &str) -> KubernetesRuntime {
        let (client, _) = client(Some(self.kubeconfig()), None).await.unwrap();
        let mut settings = PodSettings {
            namespace: "meshagent".into(),
            image: "registry.example/meshagent:1".into(),
            claim: None,
            template: PodTemplate::parse(template).unwrap(),
            limits: Limits::default(),
            installation: String::new(),
            server: String::new(),
            server_name: String::new(),
        };
        settings.mark(b"shared", server);
        KubernetesRuntime::start_with(client, settings, Arc::new(System))
    }

    /// Names of objects of a kind in the namespace.
    fn names(&self, kind: &str) -> Vec<String> {
        let said = self.cluster.kubectl(&["get", kind, "-n", "meshagent", "-o", "name"]);
        said.lines().map(str::to_owned).collect()
    }
}

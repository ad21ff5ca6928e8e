//! What an operator may say of all pods: where they run, as whom, and with how much. Everything else is ours.

use k8s_openapi::api::core::v1::{
    Affinity, HostAlias, LocalObjectReference, PodDNSConfig, ResourceRequirements, Toleration,
    TopologySpreadConstraint,
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A part of a pod, spelled as Kubernetes spells it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodTemplate {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub node_selector: Option<BTreeMap<String, String>>,
    pub tolerations: Option<Vec<Toleration>>,
    pub affinity: Option<Affinity>,
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
    pub priority_class_name: Option<String>,
    pub runtime_class_name: Option<String>,
    pub scheduler_name: Option<String>,
    pub host_users: Option<bool>,
    pub host_aliases: Option<Vec<HostAlias>>,
    pub dns_policy: Option<String>,
    pub dns_config: Option<PodDNSConfig>,
    /// The account that the pod runs as; its token is not put into the pod.
    pub service_account_name: Option<String>,
    pub image_pull_secrets: Option<Vec<LocalObjectReference>>,
    pub security_context: Identity,
    /// Of the container; without them those of the server's own limits.
    pub resources: Option<ResourceRequirements>,
}

/// As whom the processes run. Nobody is root.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Identity {
    pub run_as_user: Option<i64>,
    pub run_as_group: Option<i64>,
    pub fs_group: Option<i64>,
    pub supplemental_groups: Option<Vec<i64>>,
}

impl PodTemplate {
    /// Reads the text of a template: YAML or JSON. An empty one changes nothing.
    ///
    /// Errors: what is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let read: Option<Self> = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        let template = read.unwrap_or_default();
        if template.security_context.run_as_user == Some(0) {
            return Err(
                "securityContext.runAsUser is 0; pods never run as root, write another number".to_owned()
            );
        }
        let ours =
            |name: &&String| name.starts_with("meshagent.dev/") || name.starts_with("app.kubernetes.io/");
        match template.labels.keys().chain(template.annotations.keys()).find(ours) {
            Some(name) => Err(format!("`{name}` is set by the server; leave it out")),
            None => Ok(template),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_says_where_pods_run_and_nothing_about_rights() {
        let template = PodTemplate::parse(
            "nodeSelector: {pool: agents}\ntolerations: [{key: agents, operator: Exists}]\n\
             securityContext: {runAsUser: 1000}\nresources: {limits: {memory: 1Gi}}\n",
        )
        .unwrap();
        assert_eq!(template.node_selector.unwrap()["pool"], "agents");
        assert_eq!(template.tolerations.unwrap().len(), 1);
        assert!(PodTemplate::parse("").unwrap().node_selector.is_none());
        for (bad, part) in [
            ("hostNetwork: true", "hostNetwork"),
            ("containers: []", "containers"),
            ("securityContext: {privileged: true}", "privileged"),
            ("securityContext: {runAsUser: 0}", "never run as root"),
            ("labels: {meshagent.dev/room: x}", "set by the server"),
            ("[]", "invalid"),
        ] {
            let error = PodTemplate::parse(bad).unwrap_err();
            assert!(error.contains(part), "{bad}: {error}");
        }
    }
}

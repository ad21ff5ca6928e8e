//! From what to start to the pod that does it, and the Secrets that go with it. Pure.
//!
//! Every pod is confined as the Pod Security Standard `restricted` wants it, whatever is asked for. The values of variables
//! stand in the Secrets alone, never in the pod.

use super::mounts::Mounted;
use super::names::{self, labels, pod_name};
use super::template::PodTemplate;
use super::{CONTAINER_NAME, K8sPod, PodSettings};
use crate::containers::Credential;
use crate::runtime::process::command::{is_own_image, split};
use crate::runtime::{EnvValue, RuntimeError, StartRequest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, EnvVarSource, LocalObjectReference, PodSecurityContext, PodSpec,
    ResourceRequirements, SeccompProfile, Secret, SecretKeySelector, SecurityContext, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::json;
use std::collections::BTreeMap;

/// User and group of the processes, where the operator's template says no other: those of our own image.
const NOBODY: i64 = 65_532;
/// Word of a command that means this program.
const OWN_PROGRAM: &str = "meshagent";
/// The folder that is always writable.
const TMP: &str = "/tmp";
/// What a pod asks a node to keep free for it, at most what it may use.
const REQUESTED_MILLI_CPUS: i64 = 50;
const REQUESTED_BYTES: i64 = 128 * 1024 * 1024;
/// What a pod may write beside the files of its room, its output included; one that writes more is evicted.
const DISK_BYTES: i64 = 8 * 1024 * 1024 * 1024;
/// Most bytes of all values in one Secret; the API server takes 1 MiB.
const SECRET_BYTES_MAX: usize = 1024 * 1024;
/// Where credentials of Docker Hub stand.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// What is created: the pod, and then its Secrets.
pub(super) struct Made {
    pub pod: K8sPod,
    pub secrets: Vec<Secret>,
}

/// The pod of a request. `suffix` makes the names of its Secrets its own.
pub(super) fn make(
    request: &StartRequest,
    mounted: Mounted,
    settings: &PodSettings,
    suffix: &str,
) -> Result<Made, RuntimeError> {
    let name = pod_name(&request.key);
    let values = format!("{name}-{suffix}");
    let mut kept = mounted.texts;
    let env = environment(request, &values, &mut kept)?;
    let size: usize = kept.iter().map(|(key, value)| key.len() + value.0.len()).sum();
    if size > SECRET_BYTES_MAX {
        let detail = format!(
            "its secrets and files have {size} bytes, at most {SECRET_BYTES_MAX} are allowed; put files into room storage"
        );
        return Err(RuntimeError::RequestTooLarge { key: request.key.clone(), detail });
    }
    let mut secrets = Vec::new();
    if !kept.is_empty() {
        secrets.push(secret(&values, request, settings, "Opaque", kept));
    }
    let image = if is_own_image(&request.image) { &settings.image } else { &request.image };
    let mut pulls = settings.template.image_pull_secrets.clone().unwrap_or_default();
    for (index, credential) in request.container.credentials.iter().enumerate() {
        let own = format!("{values}-pull-{index}");
        let data = BTreeMap::from([(".dockerconfigjson".to_owned(), docker_config(image, credential))]);
        secrets.push(secret(&own, request, settings, "kubernetes.io/dockerconfigjson", data));
        pulls.push(LocalObjectReference { name: own });
    }
    let (command, args) = words(request)?;
    let container = Container {
        name: CONTAINER_NAME.to_owned(),
        image: Some(image.clone()),
        command,
        args,
        env: Some(env),
        working_dir: working_dir(request),
        resources: Some(settings.template.resources.clone().unwrap_or_else(|| resources(settings))),
        security_context: Some(confined(request.container.writable_root)),
        volume_mounts: Some(mounted.mounts).filter(|all: &Vec<VolumeMount>| !all.is_empty()),
        ..Container::default()
    };
    let spec = PodSpec {
        containers: vec![container],
        volumes: Some(mounted.volumes),
        image_pull_secrets: Some(pulls).filter(|all| !all.is_empty()),
        ..spec(&settings.template)
    };
    let names: Vec<String> = secrets.iter().filter_map(|one| one.metadata.name.clone()).collect();
    let metadata = metadata(name, request, settings, &names);
    Ok(Made { pod: K8sPod { metadata, spec: Some(spec), status: None }, secrets })
}

/// The pod's own part of the specification: what the operator chose, and what nobody can choose.
fn spec(template: &PodTemplate) -> PodSpec {
    let chosen = template.clone();
    let identity = chosen.security_context;
    PodSpec {
        node_selector: chosen.node_selector,
        tolerations: chosen.tolerations,
        affinity: chosen.affinity,
        topology_spread_constraints: chosen.topology_spread_constraints,
        priority_class_name: chosen.priority_class_name,
        runtime_class_name: chosen.runtime_class_name,
        scheduler_name: chosen.scheduler_name,
        service_account_name: chosen.service_account_name,
        host_aliases: chosen.host_aliases,
        host_users: chosen.host_users,
        dns_policy: chosen.dns_policy,
        dns_config: chosen.dns_config,
        restart_policy: Some("Never".to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        // The first process of the pod buries the dead and passes signals on, as programs expect it.
        share_process_namespace: Some(true),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(identity.run_as_user.unwrap_or(NOBODY)),
            run_as_group: Some(identity.run_as_group.unwrap_or(NOBODY)),
            fs_group: Some(identity.fs_group.unwrap_or(NOBODY)),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            supplemental_groups: identity.supplemental_groups,
            seccomp_profile: Some(runtime_default()),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    }
}

fn runtime_default() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }
}

fn confined(writable_root: bool) -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        privileged: Some(false),
        run_as_non_root: Some(true),
        read_only_root_filesystem: Some(!writable_root),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
        seccomp_profile: Some(runtime_default()),
        ..SecurityContext::default()
    }
}

fn resources(settings: &PodSettings) -> ResourceRequirements {
    let all = |bytes: i64, milli: i64, disk: i64| {
        let each = [
            ("memory", bytes.to_string()),
            ("cpu", format!("{milli}m")),
            ("ephemeral-storage", disk.to_string()),
        ];
        Some(each.into_iter().map(|(name, value)| (name.to_owned(), Quantity(value))).collect())
    };
    let limits = settings.limits;
    let requested = (REQUESTED_BYTES.min(limits.memory_bytes), REQUESTED_MILLI_CPUS.min(limits.milli_cpus));
    ResourceRequirements {
        limits: all(limits.memory_bytes, limits.milli_cpus, DISK_BYTES),
        requests: all(requested.0, requested.1, REQUESTED_BYTES),
        claims: None,
    }
}

fn metadata(name: String, request: &StartRequest, settings: &PodSettings, secrets: &[String]) -> ObjectMeta {
    let template = &settings.template;
    let mut all = template.labels.clone();
    all.extend(labels(&request.key, &settings.installation, &settings.server));
    let mut notes = template.annotations.clone();
    notes.insert(names::SERVICE_NAME.to_owned(), request.container.name.clone());
    notes.insert(names::SERVER_NAME.to_owned(), settings.server_name.clone());
    notes.insert(names::SECRETS.to_owned(), secrets.join(","));
    ObjectMeta {
        name: Some(name),
        namespace: Some(settings.namespace.clone()),
        labels: Some(all),
        annotations: Some(notes),
        ..ObjectMeta::default()
    }
}

/// A Secret of the pod. It gets its owner when the pod is there.
fn secret(
    name: &str,
    request: &StartRequest,
    settings: &PodSettings,
    type_: &str,
    data: BTreeMap<String, ByteString>,
) -> Secret {
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(settings.namespace.clone()),
        labels: Some(labels(&request.key, &settings.installation, &settings.server)),
        ..ObjectMeta::default()
    };
    Secret {
        metadata,
        type_: Some(type_.to_owned()),
        immutable: Some(true),
        data: Some(data),
        string_data: None,
    }
}

/// Makes a Secret go with its pod.
pub(super) fn own(secret: &mut Secret, name: &str, uid: &str) {
    secret.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        controller: None,
        block_owner_deletion: None,
    }]);
}

/// Kubernetes replaces `$(NAME)` in words; doubled, a dollar stands for itself.
fn literally(text: &str) -> String {
    text.replace('$', "$$")
}

/// Program and arguments. The image's own program stays where the command is empty, or means this program.
fn words(request: &StartRequest) -> Result<(Option<Vec<String>>, Option<Vec<String>>), RuntimeError> {
    let words: Vec<String> =
        split(&request.key, &request.command)?.iter().map(|word| literally(word)).collect();
    if !is_own_image(&request.image) {
        // As container engines take it: what the image starts with, with these words.
        return Ok((None, Some(words).filter(|words| !words.is_empty())));
    }
    match words.split_first() {
        None => Err(RuntimeError::CommandEmpty { key: request.key.clone() }),
        Some((first, rest)) if first == OWN_PROGRAM => Ok((None, Some(rest.to_vec()))),
        Some(_) => Ok((Some(words), None)),
    }
}

fn working_dir(request: &StartRequest) -> Option<String> {
    let chosen = request.working_dir.as_ref().map(|dir| dir.display().to_string());
    chosen.or_else(|| is_own_image(&request.image).then(|| TMP.to_owned()))
}

/// The variables in order. Their values are put into `kept` and named.
fn environment(
    request: &StartRequest,
    secret: &str,
    kept: &mut BTreeMap<String, ByteString>,
) -> Result<Vec<EnvVar>, RuntimeError> {
    crate::runtime::process::command::check_env(request)?;
    let mut all = Vec::with_capacity(request.env.len() + 2);
    let given = |name: &str| request.env.iter().any(|(known, _)| known == name);
    if !request.container.writable_root {
        // Whoever the image thinks it is, it can write there.
        for name in ["HOME", "TMPDIR"].iter().filter(|name| !given(name)) {
            all.push(EnvVar { name: (*name).to_owned(), value: Some(TMP.to_owned()), value_from: None });
        }
    }
    // All of them: also an address may be one that nobody else is to know.
    for (index, (name, value)) in request.env.iter().enumerate() {
        let value = match value {
            EnvValue::Plain(text) => text.clone().into_bytes(),
            EnvValue::Secret(value) => value.expose().to_vec(),
        };
        let key = format!("env-{index}");
        kept.insert(key.clone(), ByteString(value));
        let from = SecretKeySelector { name: secret.to_owned(), key, optional: None };
        let value_from = EnvVarSource { secret_key_ref: Some(from), ..EnvVarSource::default() };
        all.push(EnvVar { name: name.clone(), value: None, value_from: Some(value_from) });
    }
    Ok(all)
}

/// The registry that a reference names, as credentials name it.
fn registry_of(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => DOCKER_HUB,
    }
}

fn docker_config(image: &str, credential: &Credential) -> ByteString {
    let registry = match credential.registry.as_deref() {
        Some("docker.io" | "index.docker.io" | "registry-1.docker.io") => DOCKER_HUB,
        Some(registry) => registry,
        None => registry_of(image),
    };
    let password = credential.password.expose_str().unwrap_or_default();
    let auth = STANDARD.encode(format!("{}:{password}", credential.username));
    let entry = json!({"username": credential.username, "password": password, "auth": auth});
    ByteString(json!({"auths": {registry: entry}}).to_string().into_bytes())
}

#[cfg(test)]
#[path = "pod_tests.rs"]
pub(super) mod tests;

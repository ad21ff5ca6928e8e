//! What a pod of ours is called, and how one is known again.

use super::K8sPod;
use crate::id::{ProjectId, RoomId, ServiceId};
use crate::runtime::InstanceKey;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Label: the database whose servers made it. Pods of others are never touched.
pub(super) const INSTALLATION: &str = "meshagent.dev/installation";
/// Label: which of those servers made it.
pub(super) const SERVER: &str = "meshagent.dev/server";
pub(super) const PROJECT: &str = "meshagent.dev/project";
pub(super) const ROOM: &str = "meshagent.dev/room";
pub(super) const SERVICE: &str = "meshagent.dev/service";
/// Label: which of the service's containers, from 0.
pub(super) const CONTAINER: &str = "meshagent.dev/container";
/// Annotation: name of the service, for people.
pub(super) const SERVICE_NAME: &str = "meshagent.dev/service-name";
/// Annotation: name of the server, for people.
pub(super) const SERVER_NAME: &str = "meshagent.dev/server-name";
/// Annotation: names of the Secrets that go with the pod, separated by commas.
pub(super) const SECRETS: &str = "meshagent.dev/secrets";
/// Labels by which network policies, and people, find pods of services.
const COMMON: [(&str, &str); 3] = [
    ("app.kubernetes.io/name", "meshagent-pod"),
    ("app.kubernetes.io/component", "pod"),
    ("app.kubernetes.io/managed-by", "meshagent"),
];

/// Hex digits of a hash in a name.
const NAME_DIGITS: usize = 32;
/// Hex digits of a hash in a label.
const LABEL_DIGITS: usize = 16;

fn digest(text: &str, digits: usize) -> String {
    let mut hex = hex::encode(Sha256::digest(text.as_bytes()));
    hex.truncate(digits);
    hex
}

/// The one name that the pod of an instance has: a second one of the same is refused by the API server.
pub(super) fn pod_name(key: &InstanceKey) -> String {
    format!("ma-{}", digest(&format!("{}/{key}", key.room.project()), NAME_DIGITS))
}

/// Value of the label [`SERVER`].
pub(super) fn server_label(installation: &str, server_name: &str) -> String {
    digest(&format!("{installation}/{server_name}"), LABEL_DIGITS)
}

/// All labels of the pod of an instance.
pub(super) fn labels(key: &InstanceKey, installation: &str, server: &str) -> BTreeMap<String, String> {
    let own = [
        (INSTALLATION, installation.to_owned()),
        (SERVER, server.to_owned()),
        (PROJECT, key.room.project().to_string()),
        (ROOM, key.room.uuid().to_string()),
        (SERVICE, key.service.uuid().to_string()),
        (CONTAINER, key.container.to_string()),
    ];
    let common = COMMON.map(|(name, value)| (name, value.to_owned()));
    common.into_iter().chain(own).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Whose pod it is. `None` for one that we did not make: its name does not fit its labels.
pub(super) fn key_of(pod: &K8sPod) -> Option<InstanceKey> {
    let project = ProjectId::new(uuid(pod, PROJECT)?);
    let key = InstanceKey {
        room: RoomId::new(project, uuid(pod, ROOM)?),
        service: ServiceId::new(project, uuid(pod, SERVICE)?),
        container: label(pod, CONTAINER)?.parse().ok()?,
    };
    (pod.metadata.name.as_deref() == Some(pod_name(&key).as_str())).then_some(key)
}

fn uuid(pod: &K8sPod, name: &str) -> Option<Uuid> {
    label(pod, name)?.parse().ok()
}

pub(super) fn label<'a>(pod: &'a K8sPod, name: &str) -> Option<&'a str> {
    pod.metadata.labels.as_ref()?.get(name).map(String::as_str)
}

/// The Secrets that go with a pod.
pub(super) fn secrets_of(pod: &K8sPod) -> Vec<String> {
    let listed = pod.metadata.annotations.as_ref().and_then(|all| all.get(SECRETS));
    let names = listed.map(String::as_str).unwrap_or_default().split(',');
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u128) -> InstanceKey {
        let project = ProjectId::new(Uuid::from_u128(1));
        let service = ServiceId::new(project, Uuid::from_u128(3));
        InstanceKey { room: RoomId::new(project, Uuid::from_u128(n)), service, container: 7 }
    }

    #[test]
    fn a_pod_is_known_again_and_one_that_lies_is_not() {
        let mut pod = K8sPod::default();
        pod.metadata.name = Some(pod_name(&key(2)));
        pod.metadata.labels = Some(labels(&key(2), "i", "s"));
        assert_eq!(key_of(&pod), Some(key(2)));
        assert_ne!(pod_name(&key(2)), pod_name(&key(4)));
        assert!(pod_name(&key(2)).len() <= 63, "it is a host name too");
        pod.metadata.labels = Some(labels(&key(4), "i", "s"));
        assert_eq!(key_of(&pod), None, "its labels are another's");
        pod.metadata.labels = None;
        assert_eq!(key_of(&pod), None);
    }

    #[test]
    fn labels_are_what_labels_may_be() {
        for (name, value) in labels(&key(2), "i", &server_label("i", "a server_named %&/ oddly")) {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
            assert!(value.len() <= 63 && value.chars().all(plain), "{name}: {value}");
        }
        assert_ne!(server_label("i", "a"), server_label("j", "a"));
    }
}

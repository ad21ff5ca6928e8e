//! From the mounts of a spec (specs reference §1.2) to volumes of a pod. Pure.

use super::PodSettings;
use crate::id::RoomId;
use crate::runtime::{RuntimeError, StartRequest};
use crate::spec::Mounts;
use crate::volume::Volume;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    EmptyDirVolumeSource, ImageVolumeSource, KeyToPath, PersistentVolumeClaimVolumeSource,
    SecretVolumeSource, Volume as K8sVolume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Most mounts of one pod.
const MOUNTS_MAX: usize = 64;
/// Largest an empty folder gets; a pod that writes more is evicted.
const EMPTY_SIZE: &str = "1Gi";
/// Folders that are writable in a pod whose root is not.
const SCRATCH: [&str; 2] = ["/tmp", "/run"];
/// Files of a spec: everybody in the pod may read them.
const FILE_MODE: i32 = 0o444;
/// Name of the volume with the files of rooms.
const ROOMS: &str = "rooms";
/// Name of the volume with the files of the spec.
const TEXTS: &str = "texts";

/// The claim that has the folder of all rooms.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Name of the PersistentVolumeClaim, in the namespace of the pods.
    pub name: String,
    /// What is at its root: the folder that servers share, or the data directory.
    pub root: PathBuf,
}

/// Volumes, where they are mounted, and what goes into the Secret for them.
#[derive(Debug, Default)]
pub(super) struct Mounted {
    pub volumes: Vec<K8sVolume>,
    pub mounts: Vec<VolumeMount>,
    pub texts: BTreeMap<String, ByteString>,
    /// Folder of this host that must be there before the pod is.
    pub folder: Option<PathBuf>,
    /// What of the spec is not done, for people.
    pub notes: Vec<String>,
}

fn refused(what: &str, why: &str) -> RuntimeError {
    RuntimeError::NotMounted { what: format!("cannot mount {what}: {why}") }
}

/// All mounts. `secret` is the name of the Secret that will have the texts; `has_image_volumes`: whether the cluster
/// mounts images.
pub(super) fn prepare(
    request: &StartRequest,
    settings: &PodSettings,
    secret: &str,
    has_image_volumes: bool,
) -> Result<Mounted, RuntimeError> {
    let mut all = Mounted::default();
    let extras = &request.container;
    let mounts = &extras.mounts;
    rooms(request, settings, &mut all)?;
    if let Some(volume) = mounts.volumes.iter().flatten().next() {
        let what = format!("the volume `{}`", volume.name);
        return Err(refused(&what, "this server has no volumes besides room storage; use `room`"));
    }
    images(mounts, has_image_volumes, &mut all)?;
    for (index, mount) in mounts.empty_dirs.iter().flatten().enumerate() {
        let volume = all.empty(&format!("empty-{index}"));
        all.mount("an empty folder", volume, &mount.path, None, mount.read_only)?;
    }
    texts(mounts, &extras.configs, secret, &mut all)?;
    if !extras.writable_root {
        for path in SCRATCH {
            if !all.mounts.iter().any(|mount| mount.mount_path.trim_end_matches('/') == path) {
                let volume = all.empty(&format!("scratch{}", path.replace('/', "-")));
                all.mount("a scratch folder", volume, path, None, false)?;
            }
        }
    }
    if !extras.ports.is_empty() {
        all.notes.push("`host_port` is not used: a pod has an address of its own".to_owned());
    }
    Ok(all)
}

/// The room's files, by the claim that has them.
fn rooms(request: &StartRequest, settings: &PodSettings, all: &mut Mounted) -> Result<(), RuntimeError> {
    let extras = &request.container;
    let asked = extras.mounts.room.iter().flatten();
    let implied = extras.room_files.iter().filter(|_| settings.claim.is_some());
    if settings.claim.is_none() && extras.room_files.is_some() {
        all.notes.push(
            "the room's files are not mounted: the server runs without --kubernetes-claim; use the storage API"
                .to_owned(),
        );
    }
    for mount in asked.chain(implied) {
        let what = format!("room storage at `{}`", mount.path);
        let Some(claim) = &settings.claim else {
            let why = "the server does not know which claim has the files of rooms; start it with \
                       `--kubernetes-claim NAME`, or use the room's storage API";
            return Err(refused(&what, why));
        };
        if mount.subpath.as_deref().is_some_and(|path| !path.trim_matches('/').is_empty()) {
            // Whoever writes the room's files could plant a link there that leads to another room's.
            let why =
                "Kubernetes follows links in a `subpath`; leave it out, and find the folder below the mount";
            return Err(refused(&what, why));
        }
        let (folder, sub_path) = folder(claim, request.key.room).ok_or_else(|| {
            refused(&what, "the files of rooms are not below the folder that the claim has")
        })?;
        all.folder = Some(folder);
        if !all.volumes.iter().any(|volume| volume.name == ROOMS) {
            let claim = PersistentVolumeClaimVolumeSource { claim_name: claim.name.clone(), read_only: None };
            let volume = K8sVolume { name: ROOMS.to_owned(), ..K8sVolume::default() };
            all.volumes.push(K8sVolume { persistent_volume_claim: Some(claim), ..volume });
        }
        all.mount(&what, ROOMS.to_owned(), &mount.path, Some(sub_path), mount.read_only)?;
    }
    Ok(())
}

/// The folder of a room's files, on this host and within the claim.
fn folder(claim: &Claim, room: RoomId) -> Option<(PathBuf, String)> {
    let folder = Volume::new(&claim.root).folder(room, "files");
    let within = folder.strip_prefix(&claim.root).ok()?.to_str()?.to_owned();
    Some((folder, within))
}

fn images(mounts: &Mounts, has_image_volumes: bool, all: &mut Mounted) -> Result<(), RuntimeError> {
    for (index, mount) in mounts.images.iter().flatten().enumerate() {
        let what = format!("the image `{}`", mount.image);
        if !has_image_volumes {
            return Err(refused(&what, "the cluster mounts no images; Kubernetes does from 1.33 on"));
        }
        if !mount.read_only {
            let why = "images are mounted read-only; leave `read_only` out, or mount an empty folder";
            return Err(refused(&what, why));
        }
        let name = format!("image-{index}");
        let image = ImageVolumeSource { reference: Some(mount.image.clone()), pull_policy: None };
        all.volumes.push(K8sVolume { name: name.clone(), image: Some(image), ..K8sVolume::default() });
        all.mount(&what, name, &mount.path, mount.subpath.clone(), true)?;
    }
    Ok(())
}

/// Files of the spec and of the platform: keys of one Secret, each mounted where it belongs.
fn texts(
    mounts: &Mounts,
    configs: &[(&'static str, String)],
    secret: &str,
    all: &mut Mounted,
) -> Result<(), RuntimeError> {
    let mut items: Vec<KeyToPath> = Vec::new();
    let mut keep = |all: &mut Mounted, key: String, text: &str| {
        all.texts.insert(key.clone(), ByteString(text.as_bytes().to_vec()));
        items.push(KeyToPath { path: key.clone(), key, mode: None });
    };
    for (index, file) in mounts.files.iter().flatten().enumerate() {
        let what = format!("the file `{}`", file.path);
        if !file.read_only {
            let why =
                "files of a pod are read-only; leave `read_only` out, or put the file into room storage";
            return Err(refused(&what, why));
        }
        let key = format!("file-{index}");
        keep(all, key.clone(), &file.text);
        all.mount(&what, TEXTS.to_owned(), &file.path, Some(key), true)?;
    }
    for mount in mounts.configs.iter().flatten() {
        let what = format!("the configuration at `{}`", mount.path);
        for (name, text) in configs {
            let key = format!("config-{name}");
            if !all.texts.contains_key(&key) {
                keep(all, key.clone(), text);
            }
            let path = format!("{}/{name}", mount.path.trim_end_matches('/'));
            all.mount(&what, TEXTS.to_owned(), &path, Some(key), true)?;
        }
    }
    if !items.is_empty() {
        let source = SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            items: Some(items),
            default_mode: Some(FILE_MODE),
            optional: None,
        };
        let volume = K8sVolume { name: TEXTS.to_owned(), ..K8sVolume::default() };
        all.volumes.push(K8sVolume { secret: Some(source), ..volume });
    }
    Ok(())
}

impl Mounted {
    /// An empty folder that goes with the pod.
    fn empty(&mut self, name: &str) -> String {
        let source = EmptyDirVolumeSource { medium: None, size_limit: Some(Quantity(EMPTY_SIZE.to_owned())) };
        let volume = K8sVolume { name: name.to_owned(), ..K8sVolume::default() };
        self.volumes.push(K8sVolume { empty_dir: Some(source), ..volume });
        name.to_owned()
    }

    fn mount(
        &mut self,
        what: &str,
        volume: String,
        target: &str,
        sub_path: Option<String>,
        read_only: bool,
    ) -> Result<(), RuntimeError> {
        if self.mounts.len() >= MOUNTS_MAX {
            return Err(refused(what, &format!("a pod has at most {MOUNTS_MAX} mounts")));
        }
        let parts = Path::new(target).components().skip(1);
        let plain =
            parts.clone().count() > 0 && parts.clone().all(|part| matches!(part, Component::Normal(_)));
        if !target.starts_with('/') || !plain || target.contains([':', '\0', '\n']) {
            let why = format!("`{target}` is not a place for it; write an absolute path such as `/data`");
            return Err(refused(what, &why));
        }
        let clean = target.trim_end_matches('/');
        if self.mounts.iter().any(|known| known.mount_path == clean) {
            return Err(refused(what, &format!("something else is mounted at `{clean}`")));
        }
        self.mounts.push(VolumeMount {
            name: volume,
            mount_path: clean.to_owned(),
            sub_path,
            read_only: read_only.then_some(true),
            ..VolumeMount::default()
        });
        Ok(())
    }
}

#[cfg(test)]
#[path = "mounts_tests.rs"]
mod tests;

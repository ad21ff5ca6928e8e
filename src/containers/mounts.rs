//! From the mounts of a spec (specs reference §1.2) to folders on this host that a container may see.
//!
//! A container can plant symbolic links in a folder that it writes. The engine follows links in the path of a mount,
//! so a path below a room's folder is only mounted when it has none, and while nobody could plant one.

use super::create::{Bind, Source};
use crate::domain::access::StoragePath;
use crate::id::RoomId;
use crate::spec::Mounts;
use crate::volume::Volume;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Component, Path, PathBuf};

/// Most mounts of one container.
const MOUNTS_MAX: usize = 64;
/// Most text of the files in one spec, bytes together.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// Why something is not mounted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot mount {what}: {why}")]
pub struct MountError {
    pub what: String,
    pub why: String,
}

/// What a container gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mounted {
    pub binds: Vec<Bind>,
    /// It can write into the room's files.
    pub writes_files: bool,
    /// Paths below the room's folder that must be free of links when the engine mounts them.
    pub guarded: Vec<PathBuf>,
}

/// Where the files that mounts show are.
#[derive(Debug, Clone)]
pub struct Files {
    /// Folders of rooms; `None` where room files are not on a disk of this host.
    pub volume: Option<Volume>,
    /// This container's own folder, made when it is needed.
    pub own: PathBuf,
}

impl Files {
    /// Prepares all mounts; writes the files of the spec. `configs`: names and texts of the platform's files.
    pub fn prepare(
        &self,
        room: RoomId,
        mounts: &Mounts,
        configs: &[(&str, String)],
    ) -> Result<Mounted, MountError> {
        let mut all = Mounted::default();
        for mount in mounts.room.iter().flatten() {
            let what = format!("room storage at `{}`", mount.path);
            let host = self.room_folder(room, mount.subpath.as_deref(), &what, &mut all)?;
            all.writes_files |= !mount.read_only;
            all.add(&what, &mount.path, Source::Host(host), mount.read_only)?;
        }
        if let Some(volume) = mounts.volumes.iter().flatten().next() {
            return Err(MountError {
                what: format!("the volume `{}`", volume.name),
                why: "this server has no volumes besides room storage; use `room` with a `subpath`"
                    .to_owned(),
            });
        }
        for mount in mounts.images.iter().flatten() {
            let what = format!("the image `{}`", mount.image);
            if !mount.read_only {
                let why = "images are mounted read-only; leave `read_only` out, or mount an empty folder";
                return Err(MountError { what, why: why.to_owned() });
            }
            let source = Source::Image { image: mount.image.clone(), subpath: mount.subpath.clone() };
            all.add(&what, &mount.path, source, true)?;
        }
        for mount in mounts.empty_dirs.iter().flatten() {
            all.add("an empty folder", &mount.path, Source::Empty, mount.read_only)?;
        }
        self.texts(mounts, configs, &mut all)?;
        Ok(all)
    }

    fn texts(
        &self,
        mounts: &Mounts,
        configs: &[(&str, String)],
        all: &mut Mounted,
    ) -> Result<(), MountError> {
        let texts: usize = mounts.files.iter().flatten().map(|file| file.text.len()).sum();
        if texts > TEXT_BYTES_MAX {
            let why = format!(
                "they have {texts} bytes, at most {TEXT_BYTES_MAX} are allowed; put them into room storage"
            );
            return Err(MountError { what: "the files of the spec".to_owned(), why });
        }
        for (index, file) in mounts.files.iter().flatten().enumerate() {
            let what = format!("the file `{}`", file.path);
            let host = self.own.join(format!("file-{index}"));
            write(&host, &file.text)
                .map_err(|error| MountError { what: what.clone(), why: error.to_string() })?;
            all.add(&what, &file.path, Source::Host(host), file.read_only)?;
        }
        for (index, mount) in mounts.configs.iter().flatten().enumerate() {
            let what = format!("the configuration at `{}`", mount.path);
            let host = self.own.join(format!("config-{index}"));
            for (name, text) in configs {
                write(&host.join(name), text)
                    .map_err(|error| MountError { what: what.clone(), why: error.to_string() })?;
            }
            all.add(&what, &mount.path, Source::Host(host), true)?;
        }
        Ok(())
    }

    /// The room's folder or one below it, made when it is missing.
    fn room_folder(
        &self,
        room: RoomId,
        subpath: Option<&str>,
        what: &str,
        all: &mut Mounted,
    ) -> Result<PathBuf, MountError> {
        let refuse = |why: String| MountError { what: what.to_owned(), why };
        let Some(volume) = &self.volume else {
            let why = "the files of rooms are in object storage, which is not mounted; use the room's storage API, \
                       or a server without `--storage-url`";
            return Err(refuse(why.to_owned()));
        };
        let mut folder = volume.folder(room, "files");
        make(&folder).map_err(|error| refuse(error.to_string()))?;
        // The way to the room is the operator's own; links in it are his.
        folder = folder.canonicalize().map_err(|error| refuse(error.to_string()))?;
        let path =
            StoragePath::parse(subpath.unwrap_or_default()).map_err(|error| refuse(error.to_string()))?;
        if path.is_root() {
            return Ok(folder);
        }
        for segment in path.as_str().split('/') {
            folder.push(segment);
            match fs::symlink_metadata(&folder) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => return Err(refuse(format!("`{}` is not a folder", path.as_str()))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir(&folder).map_err(|error| refuse(error.to_string()))?;
                }
                Err(error) => return Err(refuse(error.to_string())),
            }
        }
        all.guarded.push(folder.clone());
        Ok(folder)
    }
}

impl Mounted {
    fn add(&mut self, what: &str, target: &str, source: Source, read_only: bool) -> Result<(), MountError> {
        let refuse = |why: String| Err(MountError { what: what.to_owned(), why });
        if self.binds.len() >= MOUNTS_MAX {
            return refuse(format!("a container has at most {MOUNTS_MAX} mounts"));
        }
        let clean = target.trim_end_matches('/');
        let parts = Path::new(target).components().skip(1);
        let plain =
            parts.clone().count() > 0 && parts.clone().all(|part| matches!(part, Component::Normal(_)));
        if !target.starts_with('/') || !plain || target.contains([',', ':', '\0', '\n', '"']) {
            return refuse(format!(
                "`{target}` is not a place for it; write an absolute path such as `/data`"
            ));
        }
        if self.binds.iter().any(|bind| bind.target == clean) {
            return refuse(format!("something else is mounted at `{clean}`; choose another path"));
        }
        self.binds.push(Bind { target: clean.to_owned(), source, read_only });
        Ok(())
    }

    /// Whether the guarded paths still lead where they led.
    pub fn check_guarded(&self) -> Result<(), MountError> {
        for path in &self.guarded {
            if path.canonicalize().ok().as_ref() != Some(path) {
                return Err(MountError {
                    what: "room storage".to_owned(),
                    why: "its folders were changed while the container started; try again".to_owned(),
                });
            }
        }
        Ok(())
    }
}

fn make(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        make(folder)?;
    }
    fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ProjectId;
    use serde_json::json;
    use uuid::Uuid;

    fn room() -> RoomId {
        RoomId::new(ProjectId::new(Uuid::from_u128(1)), Uuid::from_u128(2))
    }

    fn prepare(files: &Files, mounts: serde_json::Value) -> Result<Mounted, MountError> {
        files.prepare(room(), &serde_json::from_value(mounts).unwrap(), &[("spec.json", "{}".to_owned())])
    }

    #[test]
    fn mounts_become_folders_and_files_of_this_host() {
        let root = tempfile::tempdir().unwrap();
        let files = Files { volume: Some(Volume::new(root.path())), own: root.path().join("own") };
        let mounted = prepare(
            &files,
            json!({
                "room": [{"path": "/data"}, {"path": "/docs/", "subpath": "a/b", "read_only": true}],
                "files": [{"path": "/etc/x.conf", "text": "hello"}],
                "empty_dirs": [{"path": "/scratch"}],
                "images": [{"image": "tools:1", "path": "/tools"}],
                "configs": [{}],
            }),
        );
        let mounted = mounted.unwrap();
        assert!(mounted.writes_files);
        assert_eq!(mounted.guarded.len(), 1);
        mounted.check_guarded().unwrap();
        let host = |target: &str| {
            let bind = mounted.binds.iter().find(|bind| bind.target == target).unwrap();
            match &bind.source {
                Source::Host(path) => path.clone(),
                other => panic!("{other:?}"),
            }
        };
        assert!(host("/docs").ends_with("files/a/b") && host("/docs").is_dir());
        assert_eq!(fs::read_to_string(host("/etc/x.conf")).unwrap(), "hello");
        assert_eq!(fs::read_to_string(host("/var/run/meshagent").join("spec.json")).unwrap(), "{}");
    }

    #[test]
    fn what_leads_out_of_the_room_is_not_mounted() {
        let root = tempfile::tempdir().unwrap();
        let files = Files { volume: Some(Volume::new(root.path())), own: root.path().join("own") };
        let at = |subpath: &str| prepare(&files, json!({"room": [{"path": "/d", "subpath": subpath}]}));
        at("real").unwrap();
        let folder = files.volume.as_ref().unwrap().folder(room(), "files");
        std::os::unix::fs::symlink("/etc", folder.join("link")).unwrap();
        for bad in ["link", "link/ssl", "../other", "real/../../x"] {
            assert!(at(bad).is_err(), "{bad}");
        }
        let mounted = at("real/deep").unwrap();
        fs::remove_dir_all(folder.join("real")).unwrap();
        fs::create_dir_all(folder.join("away/deep")).unwrap();
        std::os::unix::fs::symlink(folder.join("away"), folder.join("real")).unwrap();
        mounted.check_guarded().unwrap_err();
    }

    #[test]
    fn what_cannot_be_mounted_is_refused_with_a_reason() {
        let root = tempfile::tempdir().unwrap();
        let without = Files { volume: None, own: root.path().join("own") };
        for (mounts, part) in [
            (json!({"room": [{"path": "/data"}]}), "object storage"),
            (json!({"volumes": [{"name": "v", "path": "/v"}]}), "no volumes"),
            (json!({"images": [{"image": "i", "path": "/i", "read_only": false}]}), "read-only"),
            (json!({"empty_dirs": [{"path": "relative"}]}), "absolute path"),
            (json!({"empty_dirs": [{"path": "/"}]}), "absolute path"),
            (json!({"empty_dirs": [{"path": "/a/../b"}]}), "absolute path"),
            (json!({"empty_dirs": [{"path": "/a,ro"}]}), "absolute path"),
            (json!({"empty_dirs": [{"path": "/a"}, {"path": "/a/"}]}), "something else"),
            (json!({"files": [{"path": "/f", "text": "x".repeat(TEXT_BYTES_MAX + 1)}]}), "at most"),
        ] {
            let error = prepare(&without, mounts).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}

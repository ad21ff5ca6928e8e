use super::super::pod::tests::{request, settings};
use super::*;
use crate::spec::RoomMount;
use serde_json::{Value, json};

fn prepared(
    mounts: Value,
    change: impl Fn(&mut StartRequest, &mut PodSettings),
) -> Result<Mounted, RuntimeError> {
    let (mut request, mut settings) = (request("x", ""), settings());
    request.container.mounts = serde_json::from_value(mounts).unwrap();
    change(&mut request, &mut settings);
    prepare(&request, &settings, "secret", false)
}

fn nothing(_: &mut StartRequest, _: &mut PodSettings) {}

fn at<'a>(mounted: &'a Mounted, path: &str) -> &'a VolumeMount {
    mounted.mounts.iter().find(|mount| mount.mount_path == path).unwrap()
}

#[test]
fn the_room_s_own_folder_of_the_claim_is_mounted_and_no_other() {
    let all =
        prepared(json!({"room": [{"path": "/data/"}, {"path": "/ro", "read_only": true}]}), nothing).unwrap();
    let folder = "rooms/00000000-0000-0000-0000-000000000001/00000000-0000-0000-0000-000000000002/files";
    assert_eq!(at(&all, "/data").sub_path.as_deref(), Some(folder));
    assert_eq!(at(&all, "/ro").read_only, Some(true));
    assert_eq!(all.folder, Some(PathBuf::from("/shared").join(folder)));
    let claims = all.volumes.iter().filter_map(|volume| volume.persistent_volume_claim.as_ref());
    assert_eq!(claims.map(|claim| claim.claim_name.as_str()).collect::<Vec<_>>(), ["shared"]);
}

#[test]
fn what_cannot_be_mounted_says_what_to_do() {
    let no_claim = |_: &mut StartRequest, settings: &mut PodSettings| settings.claim = None;
    for (mounts, part) in [
        (json!({"room": [{"path": "/x", "subpath": "a"}]}), "leave it out"),
        (json!({"volumes": [{"name": "v", "path": "/v"}]}), "no volumes"),
        (json!({"images": [{"image": "i", "path": "/i"}]}), "1.33"),
        (json!({"files": [{"path": "/f", "text": "", "read_only": false}]}), "read-only"),
        (json!({"empty_dirs": [{"path": "x"}]}), "absolute path"),
        (json!({"empty_dirs": [{"path": "/../x"}]}), "absolute path"),
        (json!({"empty_dirs": [{"path": "/"}]}), "absolute path"),
        (json!({"empty_dirs": [{"path": "/x"}, {"path": "/x/"}]}), "something else"),
    ] {
        let error = prepared(mounts.clone(), nothing).unwrap_err().to_string();
        assert!(error.contains(part), "{mounts}: {error}");
    }
    let error = prepared(json!({"room": [{"path": "/x"}]}), no_claim).unwrap_err().to_string();
    assert!(error.contains("--kubernetes-claim NAME"), "{error}");
    let many: Vec<Value> = (0..=MOUNTS_MAX).map(|n| json!({"path": format!("/m{n}")})).collect();
    assert!(prepared(json!({"empty_dirs": many}), nothing).unwrap_err().to_string().contains("at most"));
}

#[test]
fn the_mount_that_nobody_wrote_is_left_out_without_a_claim() {
    let data = || Some(RoomMount { path: "/data".into(), subpath: None, read_only: false });
    let with = prepared(json!({}), |request, _| request.container.room_files = data()).unwrap();
    assert!(at(&with, "/data").sub_path.is_some() && with.notes.is_empty());
    let without = prepared(json!({}), |request, settings| {
        request.container.room_files = data();
        settings.claim = None;
    });
    let without = without.unwrap();
    assert!(without.volumes.iter().all(|volume| volume.persistent_volume_claim.is_none()));
    assert!(without.notes[0].contains("--kubernetes-claim"), "{:?}", without.notes);
}

#[test]
fn texts_go_into_the_secret_and_scratch_is_writable() {
    let mounts = json!({"files": [{"path": "/etc/a.conf", "text": "one"}], "configs": [{"path": "/var/run/meshagent"}]});
    let all =
        prepared(mounts, |request, _| request.container.configs = vec![("spec.json", "{}".into())]).unwrap();
    assert_eq!(at(&all, "/etc/a.conf").sub_path.as_deref(), Some("file-0"));
    assert_eq!(at(&all, "/var/run/meshagent/spec.json").sub_path.as_deref(), Some("config-spec.json"));
    assert_eq!(all.texts["file-0"].0, b"one");
    assert_eq!(all.texts["config-spec.json"].0, b"{}");
    let volume = all.volumes.iter().find_map(|volume| volume.secret.as_ref()).unwrap();
    assert_eq!(volume.items.as_ref().unwrap().len(), 2);
    for path in SCRATCH {
        assert!(at(&all, path).read_only.is_none(), "{path}");
    }
    let writable = prepared(json!({}), |request, _| request.container.writable_root = true).unwrap();
    assert!(writable.mounts.is_empty());
    let own = prepared(json!({"empty_dirs": [{"path": "/tmp/"}]}), nothing).unwrap();
    assert_eq!(own.mounts.iter().filter(|mount| mount.mount_path == "/tmp").count(), 1);
}

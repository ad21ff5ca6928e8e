use super::*;
use crate::client::room::fake::FakeRoom;
use crate::client::room::{Options, Token};

async fn files(room: &FakeRoom, mounts: &[MountConfig]) -> Files {
    let options = Options::new(room.url.clone(), Token::new("good"));
    Files::new(&RoomClient::connect(options).await.unwrap(), mounts)
}

async fn patched(files: &Files, operation: Value) -> Result<String, String> {
    let call = CallContext::new("t", "u", "i");
    let done = apply_patch(files.clone()).run(operation, &call).await;
    done.map(|output| output.text).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_patch_creates_changes_and_deletes_a_file_of_the_room() {
    let room = FakeRoom::start().await;
    let files = files(&room, &[]).await;
    let create = json!({"type": "create_file", "path": "src/a.py", "diff": "+x = 1\n+y = 2\n+"});
    assert_eq!(patched(&files, create.clone()).await.unwrap(), "Created file: src/a.py (12 bytes)");
    assert!(patched(&files, create).await.unwrap_err().contains("exists; update it"));
    let update = json!({"type": "update_file", "path": "src/a.py", "diff": " x = 1\n-y = 2\n+y = 3"});
    assert_eq!(patched(&files, update.clone()).await.unwrap(), "Updated file: src/a.py (12 bytes)");
    assert_eq!(room.with(|w| w.files["src/a.py"].clone()), "x = 1\ny = 3\n");
    assert!(patched(&files, update).await.unwrap_err().contains("not in the file"));
    let delete = json!({"type": "delete_file", "path": "src/a.py", "diff": null});
    assert_eq!(patched(&files, delete).await.unwrap(), "Deleted file: src/a.py");
    for bad in [
        json!({"type": "create_file", "path": "../x", "diff": "+x"}),
        json!({"type": "update_file", "path": "x", "diff": null}),
        json!({"type": "zap", "path": "x"}),
    ] {
        assert!(patched(&files, bad.clone()).await.is_err(), "{bad}");
    }
}

#[tokio::test]
async fn folders_of_this_machine_and_of_the_room_have_places_of_their_own() {
    let room = FakeRoom::start().await;
    room.with(|w| w.files.insert("team/plan.md".into(), Bytes::from_static(b"plan")));
    let (work, secret) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(secret.path().join("key"), "s3cret").unwrap();
    std::os::unix::fs::symlink(secret.path(), work.path().join("out")).unwrap();
    let local = MountPlace::Local(work.path().to_owned());
    let mounts = [
        MountConfig { path: "work".into(), place: local.clone(), read_only: false },
        MountConfig { path: "fixed".into(), place: local, read_only: true },
        MountConfig { path: "plans".into(), place: MountPlace::Room("team".into()), read_only: false },
    ];
    let files = files(&room, &mounts).await;
    let create = json!({"type": "create_file", "path": "/work/a/b.txt", "diff": "+hi"});
    assert_eq!(patched(&files, create).await.unwrap(), "Created file: /work/a/b.txt (2 bytes)");
    assert_eq!(std::fs::read_to_string(work.path().join("a/b.txt")).unwrap(), "hi");
    assert_eq!(files.text("fixed/a/b.txt").await.unwrap(), "hi");
    assert_eq!(files.text("plans/plan.md").await.unwrap(), "plan");
    let names = |entries: Vec<Entry>| entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>();
    let mut top = names(files.list("/").await.unwrap());
    top.sort();
    assert_eq!(top, ["fixed", "plans", "work"]);
    assert_eq!(names(files.list("work/a").await.unwrap()), ["b.txt"]);
    for (path, why) in [
        ("fixed/x", "can only be read"),
        ("work/out/key", "leads out"),
        ("elsewhere/x", "the folders are"),
        ("work/../x", "no path"),
    ] {
        let error = files.write(path, b"x".to_vec(), true).await.unwrap_err().to_string();
        assert!(error.contains(why), "{path}: {error}");
    }
    assert!(files.text("work/out/key").await.unwrap_err().to_string().contains("leads out"));
    assert!(files.text("work/a").await.unwrap_err().to_string().contains("is no file"));
    let again = files.write("work/a/b.txt", b"x".to_vec(), false).await.unwrap_err().to_string();
    assert!(again.contains("overwrite: true"), "{again}");
}

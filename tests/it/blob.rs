//! The files of rooms over every store, and what the local directory must stand up to.

use bytes::Bytes;
use meshagent::blob::{BlobError, Blobs, RoomFiles};
use meshagent::clock::System;
use meshagent::id::{ProjectId, RoomId};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

const PART: usize = 3 * 1024 * 1024;

fn room(n: u128) -> RoomId {
    RoomId::new(ProjectId::new(Uuid::from_u128(1)), Uuid::from_u128(n))
}

struct Store {
    blobs: Blobs,
    directory: Option<tempfile::TempDir>,
}

fn local() -> Store {
    let directory = tempfile::tempdir().unwrap();
    Store { blobs: Blobs::local(directory.path(), Arc::new(System)), directory: Some(directory) }
}

fn objects() -> Store {
    let store = object_store::memory::InMemory::new();
    Store { blobs: Blobs::from_object_store(Arc::new(store)), directory: None }
}

async fn put(files: &RoomFiles, path: &str, text: &'static str) {
    files.write(path, Bytes::from_static(text.as_bytes()), false).await.unwrap();
}

async fn get(files: &RoomFiles, path: &str) -> String {
    let mut download = files.open_read(path, None).await.unwrap();
    let mut data = Vec::new();
    while download.left() > 0 {
        data.extend_from_slice(&download.read(7).await.unwrap());
    }
    assert!(download.read(7).await.unwrap().is_empty());
    String::from_utf8(data).unwrap()
}

async fn names(files: &RoomFiles, path: &str) -> Vec<String> {
    let mark = |folder| if folder { "/" } else { "" };
    let list = files.list(path).await.unwrap();
    list.into_iter().map(|file| format!("{}{}", file.name, mark(file.is_folder))).collect()
}

macro_rules! on_every_store {
    ($($test:ident,)*) => {
        mod on_local { $(#[tokio::test] async fn $test() { super::$test(super::local()).await; })* }
        mod on_objects { $(#[tokio::test] async fn $test() { super::$test(super::objects()).await; })* }
    };
}

on_every_store! {
    files_are_written_whole_and_read_back,
    a_large_file_streams_in_and_out,
    folders_are_where_files_are,
    deleting,
    moving,
    overwriting_must_be_asked_for,
    an_unfinished_upload_leaves_nothing,
    rooms_do_not_see_each_other,
    paths_never_lead_out,
}

async fn files_are_written_whole_and_read_back(store: Store) {
    let files = store.blobs.room(room(1));
    assert!(!files.exists("report.txt").await.unwrap());
    assert_eq!(files.stat("report.txt").await.unwrap(), None);
    assert!(files.list("").await.unwrap().is_empty());
    put(&files, "report.txt", "hello world").await;
    put(&files, "empty", "").await;
    let odd = "späß & 100% [a]~#.txt";
    put(&files, odd, "odd").await;
    assert_eq!(get(&files, "./report.txt").await, "hello world");
    assert_eq!(get(&files, "empty").await, "");
    assert_eq!(get(&files, odd).await, "odd");
    let info = files.stat("/report.txt").await.unwrap().unwrap();
    assert_eq!((info.name.as_str(), info.is_folder, info.size), ("report.txt", false, Some(11)));
    assert!(info.updated_at.is_some());
    assert_eq!(names(&files, "").await, ["empty", "report.txt", odd]);
    let mut part = files.open_read("report.txt", Some(6..100)).await.unwrap();
    assert_eq!((part.left(), part.info().size), (5, Some(11)));
    assert_eq!(part.read(100).await.unwrap(), "world");
    assert!(matches!(files.open_read("none", None).await, Err(BlobError::NotFound { .. })));
}

async fn a_large_file_streams_in_and_out(store: Store) {
    let files = store.blobs.room(room(1));
    let mut upload = files.open_write("big.bin", false).await.unwrap();
    for n in 0..6_u8 {
        upload.write(Bytes::from(vec![n; PART])).await.unwrap();
        assert!(!files.exists("big.bin").await.unwrap(), "seen before it was whole");
    }
    assert_eq!(upload.commit().await.unwrap().size, Some(6 * PART as u64));
    let mut download = files.open_read("big.bin", None).await.unwrap();
    let mut read = 0;
    while download.left() > 0 {
        let data = download.read(64 * 1024).await.unwrap();
        let expected = u8::try_from(read / PART).unwrap();
        assert_eq!(data[0], expected);
        read += data.len();
    }
    assert_eq!(read, 6 * PART);
}

async fn folders_are_where_files_are(store: Store) {
    let files = store.blobs.room(room(1));
    put(&files, "a/b/one", "1").await;
    put(&files, "a/two", "2").await;
    assert_eq!(names(&files, "").await, ["a/"]);
    assert_eq!(names(&files, "a").await, ["b/", "two"]);
    let folder = files.stat("a/b").await.unwrap().unwrap();
    assert_eq!((folder.name.as_str(), folder.is_folder, folder.size), ("b", true, None));
    assert!(files.stat("").await.unwrap().unwrap().is_folder);
    assert!(matches!(files.list("nowhere").await, Err(BlobError::NotFound { .. })));
    assert!(matches!(files.list("a/two").await, Err(BlobError::InvalidPath { .. })));
    assert!(matches!(files.open_read("a", None).await, Err(BlobError::InvalidPath { .. })));
    let below_a_file = files.write("a/two/three", Bytes::new(), true).await.unwrap_err();
    assert!(matches!(below_a_file, BlobError::InvalidPath { .. }), "{below_a_file}");
    let over_a_folder = files.write("a/b", Bytes::new(), true).await.unwrap_err();
    assert!(matches!(over_a_folder, BlobError::AlreadyExists { .. }), "{over_a_folder}");
    files.delete("a/b/one", false).await.unwrap();
    assert_eq!(names(&files, "a").await, ["two"], "an empty folder is no folder");
}

async fn deleting(store: Store) {
    let files = store.blobs.room(room(1));
    put(&files, "a/b/one", "1").await;
    put(&files, "a/two", "2").await;
    put(&files, "ab", "3").await;
    assert!(matches!(files.delete("none", true).await, Err(BlobError::NotFound { .. })));
    assert!(matches!(files.delete("a", false).await, Err(BlobError::RecursiveRequired { .. })));
    assert!(matches!(files.delete("", true).await, Err(BlobError::InvalidPath { .. })));
    assert_eq!(get(&files, "a/b/one").await, "1");
    files.delete("a", true).await.unwrap();
    assert_eq!(names(&files, "").await, ["ab"]);
    files.delete("ab", true).await.unwrap();
    assert!(files.list("").await.unwrap().is_empty());
    put(&files, "a/again", "4").await;
    files.delete_all().await.unwrap();
    assert!(files.list("").await.unwrap().is_empty());
    put(&files, "new", "5").await;
}

async fn moving(store: Store) {
    let files = store.blobs.room(room(1));
    put(&files, "a/b/one", "1").await;
    put(&files, "two", "2").await;
    files.rename("a/b/one", "c/d/uno", false).await.unwrap();
    assert_eq!(names(&files, "").await, ["c/", "two"]);
    assert_eq!(get(&files, "c/d/uno").await, "1");
    assert!(matches!(files.rename("two", "c/d/uno", false).await, Err(BlobError::AlreadyExists { .. })));
    assert_eq!(get(&files, "c/d/uno").await, "1");
    files.rename("two", "c/d/uno", true).await.unwrap();
    assert_eq!(get(&files, "c/d/uno").await, "2");
    put(&files, "c/three", "3").await;
    files.rename("c", "moved", false).await.unwrap();
    assert_eq!(
        (get(&files, "moved/d/uno").await, get(&files, "moved/three").await),
        ("2".into(), "3".into())
    );
    assert!(!files.exists("c").await.unwrap());
    put(&files, "x/y", "4").await;
    assert!(matches!(files.rename("x", "moved", true).await, Err(BlobError::AlreadyExists { .. })));
    assert!(matches!(files.rename("x/y", "moved/d", true).await, Err(BlobError::AlreadyExists { .. })));
    assert!(matches!(files.rename("x", "x/below", false).await, Err(BlobError::InvalidPath { .. })));
    assert!(matches!(files.rename("none", "other", false).await, Err(BlobError::NotFound { .. })));
    files.rename("x/y", "x/y", false).await.unwrap();
    assert_eq!(get(&files, "x/y").await, "4");
}

async fn overwriting_must_be_asked_for(store: Store) {
    let files = store.blobs.room(room(1));
    put(&files, "f", "old").await;
    let refused = files.open_write("f", false).await.unwrap_err();
    assert!(matches!(refused, BlobError::AlreadyExists { .. }));
    assert!(refused.to_string().contains("`f`"));
    let mut late = files.open_write("g", false).await.unwrap();
    late.write(Bytes::from_static(b"late")).await.unwrap();
    put(&files, "g", "first").await;
    assert!(
        matches!(late.commit().await, Err(BlobError::AlreadyExists { .. })),
        "it came while this was written"
    );
    assert_eq!(get(&files, "g").await, "first");

    let mut reader = files.open_read("f", None).await.unwrap();
    files.write("f", Bytes::from_static(b"newer text"), true).await.unwrap();
    assert_eq!(reader.read(100).await.unwrap(), "old", "a reader keeps what it opened");
    assert_eq!(get(&files, "f").await, "newer text");
}

async fn an_unfinished_upload_leaves_nothing(store: Store) {
    let files = store.blobs.room(room(1));
    let mut upload = files.open_write("a/f", false).await.unwrap();
    upload.write(Bytes::from_static(b"half")).await.unwrap();
    drop(upload);
    assert!(files.list("").await.unwrap().is_empty());
    assert_eq!(store.blobs.sweep().await.unwrap(), 0, "nothing was left to sweep");
}

async fn rooms_do_not_see_each_other(store: Store) {
    put(&store.blobs.room(room(1)), "f", "1").await;
    let other = RoomId::new(ProjectId::new(Uuid::from_u128(2)), room(1).uuid());
    for stranger in [room(2), other] {
        let files = store.blobs.room(stranger);
        assert!(files.list("").await.unwrap().is_empty());
        assert!(!files.exists("f").await.unwrap());
        files.delete_all().await.unwrap();
    }
    assert_eq!(get(&store.blobs.room(room(1)), "f").await, "1");
}

async fn paths_never_lead_out(store: Store) {
    let files = store.blobs.room(room(1));
    for path in ["../x", "a/../../x", "/../x", "a\\..\\x", "..", ".meshagent-upload-1", "a\0b"] {
        assert!(matches!(files.stat(path).await, Err(BlobError::InvalidPath { .. })), "{path:?}");
        assert!(matches!(files.open_write(path, true).await, Err(BlobError::InvalidPath { .. })), "{path:?}");
        assert!(matches!(files.delete(path, true).await, Err(BlobError::InvalidPath { .. })), "{path:?}");
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn links_in_the_directory_lead_nowhere() {
    let store = local();
    let data = store.directory.as_ref().unwrap().path();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let files = store.blobs.room(room(1));
    put(&files, "inside", "1").await;
    let inside = files_below(data).remove(0);
    let root = inside.parent().unwrap();
    std::os::unix::fs::symlink(outside.path(), root.join("folder")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), root.join("file")).unwrap();
    for path in ["file", "folder/secret"] {
        assert!(matches!(files.open_read(path, None).await, Err(BlobError::InvalidPath { .. })), "{path}");
        assert!(
            matches!(files.write(path, Bytes::new(), true).await, Err(BlobError::InvalidPath { .. })),
            "{path}"
        );
        assert!(matches!(files.delete(path, true).await, Err(BlobError::InvalidPath { .. })), "{path}");
        assert!(
            matches!(files.rename(path, "mine", true).await, Err(BlobError::InvalidPath { .. })),
            "{path}"
        );
    }
    assert!(matches!(files.rename("inside", "folder/x", true).await, Err(BlobError::InvalidPath { .. })));
    assert_eq!(names(&files, "").await, ["inside"]);
    assert_eq!(std::fs::read_to_string(outside.path().join("secret")).unwrap(), "secret");
}

#[tokio::test]
async fn what_a_killed_server_left_is_swept_and_never_listed() {
    let store = local();
    let data = store.directory.as_ref().unwrap().path();
    let files = store.blobs.room(room(1));
    put(&files, "kept", "1").await;
    let mut upload = files.open_write("lost", false).await.unwrap();
    upload.write(Bytes::from_static(b"half")).await.unwrap();
    std::mem::forget(upload);
    assert_eq!(files_below(data).len(), 2);
    assert_eq!(names(&files, "").await, ["kept"]);
    assert_eq!(store.blobs.sweep().await.unwrap(), 1);
    assert_eq!(files_below(data).len(), 1);
    assert_eq!(get(&files, "kept").await, "1");
}

#[tokio::test]
async fn many_writers_of_one_new_file_make_one_file() {
    let store = local();
    let files = store.blobs.room(room(1));
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..16 {
        let files = files.clone();
        writers.spawn(async move {
            let path = if n % 2 == 0 { "d/one".to_owned() } else { format!("d/{n}") };
            let written = files.write(&path, Bytes::from(n.to_string()), false).await.is_ok();
            // Folders come and go beside the others' writes.
            if n % 2 == 1 {
                files.delete(&path, false).await.unwrap();
            }
            written && n % 2 == 0
        });
    }
    assert_eq!(writers.join_all().await.into_iter().filter(|won| *won).count(), 1);
    assert_eq!(names(&files, "d").await, ["one"]);
}

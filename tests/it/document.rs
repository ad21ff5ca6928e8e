//! The documents engine on a disk: what is acknowledged is there again, whatever happens in between.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use meshagent::blob::Blobs;
use meshagent::clock::System;
use meshagent::document::{Change, DocumentError, Documents, Handle, Listener, NewDocument, SchemaSource};
use meshagent::id::{ProjectId, RoomId};
use meshagent::volume::Volume;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use uuid::Uuid;
use yrs::updates::decoder::Decode;
use yrs::{Doc, GetString, Text, Transact, Update, XmlElementPrelim, XmlFragment, XmlTextPrelim, XmlTextRef};

const PATH: &str = "notes/a.note";

struct Disk {
    folder: TempDir,
}

impl Disk {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A server's view of it, as after a start.
    fn open(&self) -> Documents {
        let blobs = Blobs::local(self.folder.path(), Arc::new(System));
        Documents::new(Volume::new(self.folder.path()), blobs, Arc::new(System), Arc::new(System))
    }

    fn database(&self) -> PathBuf {
        Volume::new(self.folder.path()).folder(room(), "documents").join("documents.db")
    }

    fn sql(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.database()).unwrap()
    }
}

fn room() -> RoomId {
    RoomId::new(ProjectId::new(Uuid::from_u128(1)), Uuid::from_u128(2))
}

fn new() -> NewDocument {
    let text = json!({"type": "object", "properties": {"text": {"type": "object", "properties": {}}}});
    let texts = json!({"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/text"}]}});
    let root =
        json!({"type": "object", "properties": {"root": {"type": "object", "properties": {"texts": texts}}}});
    let schema = json!({"$root_tag_ref": "#/$defs/root", "$defs": {"root": root, "text": text}});
    NewDocument { schema: SchemaSource::Given(schema), json: None }
}

/// Somebody who types.
struct Typist {
    doc: Doc,
    text: Option<XmlTextRef>,
}

impl Typist {
    fn new(client: u64) -> Self {
        Self { doc: Doc::with_client_id(client), text: None }
    }

    fn update(&mut self, letters: &str) -> Bytes {
        let fragment = self.doc.get_or_insert_xml_fragment("xml");
        let mut txn = self.doc.transact_mut();
        let text = if let Some(text) = &self.text {
            text.clone()
        } else {
            let element = fragment.push_back(&mut txn, XmlElementPrelim::empty("text"));
            let text = element.push_back(&mut txn, XmlTextPrelim::new(""));
            self.text = Some(text.clone());
            text
        };
        let length = text.len(&txn);
        text.insert(&mut txn, length, letters);
        txn.encode_update_v1().into()
    }
}

/// Keeps what it is told.
#[derive(Default)]
struct Ears {
    state: Mutex<Option<Bytes>>,
    changes: Mutex<Vec<Bytes>>,
    ended: Mutex<Option<String>>,
}

impl Listener for Ears {
    fn opened(&self, state: Bytes) {
        assert!(self.state.lock().unwrap().replace(state).is_none(), "told the state twice");
    }
    fn changed(&self, change: &Change) {
        assert!(self.state.lock().unwrap().is_some(), "told a change before the state");
        self.changes.lock().unwrap().push(change.update.clone());
    }
    fn ended(&self, error: &DocumentError) {
        self.ended.lock().unwrap().replace(error.to_string());
    }
}

async fn listen(handle: &mut Handle) -> Arc<Ears> {
    let ears = Arc::new(Ears::default());
    handle.listen(None, Arc::clone(&ears) as _).await.unwrap();
    handle.settled().await.unwrap();
    ears
}

/// Takes an update and waits for its acknowledgement.
async fn acknowledged(handle: &Handle, update: Bytes) -> Result<bool, DocumentError> {
    let (done, acknowledged) = tokio::sync::oneshot::channel();
    let changed = handle.apply(update, Box::new(move |outcome| drop(done.send(outcome)))).await?;
    acknowledged.await.unwrap().map(|()| changed)
}

async fn state(documents: &Documents) -> Bytes {
    let mut handle = documents.open(room(), PATH, None).await.unwrap();
    let ears = listen(&mut handle).await;
    let state = ears.state.lock().unwrap().clone();
    state.unwrap()
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_start_byte_by_byte() {
    let disk = Disk::new();
    let documents = disk.open();
    let mut one = documents.open(room(), PATH, Some(&new())).await.unwrap();
    let mut two = documents.open(room(), PATH, Some(&new())).await.unwrap();
    let (first, second) = (listen(&mut one).await, listen(&mut two).await);
    let (mut here, mut there) = (Typist::new(1), Typist::new(2));
    for _ in 0..50 {
        assert!(acknowledged(&one, here.update("a")).await.unwrap());
        assert!(acknowledged(&two, there.update("b")).await.unwrap());
    }
    assert_eq!((first.changes.lock().unwrap().len(), second.changes.lock().unwrap().len()), (50, 50));
    let before = state(&documents).await;
    // As after a kill: nothing is closed.
    let again = disk.open();
    assert_eq!(state(&again).await, before);
    assert_eq!(documents.loaded(), 1);
    drop((one, two));
}

#[tokio::test]
async fn many_updates_at_once_come_in_one_order_and_late_comers_miss_nothing() {
    let disk = Disk::new();
    let documents = Arc::new(disk.open());
    let mut watcher = documents.open(room(), PATH, Some(&new())).await.unwrap();
    let ears = listen(&mut watcher).await;
    let mut writers = tokio::task::JoinSet::new();
    for client in 1..=8 {
        let documents = Arc::clone(&documents);
        writers.spawn(async move {
            let mut typist = Typist::new(client);
            for round in 0..40 {
                let mut handle = documents.open(room(), PATH, None).await.unwrap();
                let ears = Arc::new(Ears::default());
                handle.listen(None, Arc::clone(&ears) as _).await.unwrap();
                for _ in 0..3 {
                    handle.apply(typist.update("x"), Box::new(|_| {})).await.unwrap();
                }
                if round % 2 == 0 {
                    handle.settled().await.unwrap();
                    assert!(ears.state.lock().unwrap().is_some());
                }
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    watcher.settled().await.unwrap();
    let follower = Doc::new();
    follower.get_or_insert_xml_fragment("xml");
    for change in ears.changes.lock().unwrap().iter() {
        follower.transact_mut().apply_update(Update::decode_v1(change).unwrap()).unwrap();
    }
    assert_eq!(ears.changes.lock().unwrap().len(), 8 * 40 * 3);
    let whole = Doc::new();
    whole.get_or_insert_xml_fragment("xml");
    whole.transact_mut().apply_update(Update::decode_v1(&state(&disk.open()).await).unwrap()).unwrap();
    let text = |doc: &Doc| {
        let fragment = doc.get_or_insert_xml_fragment("xml");
        fragment.get_string(&doc.transact())
    };
    assert_eq!(text(&follower), text(&whole));
}

#[tokio::test]
async fn the_log_is_folded_and_nothing_changes() {
    let disk = Disk::new();
    let documents = disk.open();
    let handle = documents.open(room(), PATH, Some(&new())).await.unwrap();
    let mut typist = Typist::new(1);
    let long = "x".repeat(4096);
    for _ in 0..100 {
        assert!(acknowledged(&handle, typist.update(&long)).await.unwrap());
    }
    handle.settled().await.unwrap();
    let count = |sql: &str| disk.sql().query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
    assert!(count("SELECT count(*) FROM updates") < 100, "some were folded");
    assert!(count("SELECT folded FROM documents") > 0);
    assert!(count("SELECT length(snapshot) FROM documents") > 200_000);
    let before = state(&documents).await;
    assert_eq!(state(&disk.open()).await, before);
}

#[tokio::test]
async fn damage_on_disk_is_found_and_named() {
    let disk = Disk::new();
    let documents = disk.open();
    let handle = documents.open(room(), PATH, Some(&new())).await.unwrap();
    let mut typist = Typist::new(1);
    for _ in 0..3 {
        acknowledged(&handle, typist.update("x")).await.unwrap();
    }
    drop(handle);
    disk.sql()
        .execute("UPDATE updates SET data = CAST(x'00' || substr(data, 2) AS BLOB) WHERE seq = 2", ())
        .unwrap();
    let error = disk.open().open(room(), PATH, None).await.unwrap_err().to_string();
    assert!(error.contains("record 2") && error.contains("damaged"), "{error}");
    disk.sql().execute("DELETE FROM updates", ()).unwrap();
    disk.sql().execute("UPDATE documents SET snapshot = x'01'", ()).unwrap();
    let error = disk.open().open(room(), PATH, None).await.unwrap_err().to_string();
    assert!(error.contains("record 0"), "{error}");
}

#[tokio::test]
async fn a_torn_tail_of_the_log_is_dropped_and_the_rest_kept() {
    let disk = Disk::new();
    let documents = disk.open();
    let handle = documents.open(room(), PATH, Some(&new())).await.unwrap();
    let mut typist = Typist::new(1);
    for _ in 0..20 {
        acknowledged(&handle, typist.update("x")).await.unwrap();
    }
    // The disk as a power cut would leave it: the last bytes of the write-ahead log never got there.
    let after = tempfile::tempdir().unwrap();
    let from = Volume::new(disk.folder.path()).room(room());
    let to = Volume::new(after.path()).room(room());
    copy(&from, &to);
    let log = to.join("documents/documents.db-wal");
    let length = std::fs::metadata(&log).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(length - 1000).unwrap();
    let torn = Disk { folder: after };
    let short = torn.open().open(room(), PATH, None).await.unwrap();
    assert!(acknowledged(&short, Typist::new(2).update("y")).await.unwrap(), "it goes on from there");
    drop(short);
    let doc = Doc::new();
    let fragment = doc.get_or_insert_xml_fragment("xml");
    doc.transact_mut().apply_update(Update::decode_v1(&state(&torn.open()).await).unwrap()).unwrap();
    assert_eq!(fragment.len(&doc.transact()), 2);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn hostile_updates_leave_the_document_and_the_others_alone() {
    let disk = Disk::new();
    let documents = disk.open();
    let handle = documents.open(room(), PATH, Some(&new())).await.unwrap();
    acknowledged(&handle, Typist::new(1).update("x")).await.unwrap();
    let before = state(&documents).await;
    // A chain of 300 elements, each in the one before.
    let mut deep = vec![1, 0xac, 2, 9, 0];
    for n in 0_u8..=255 {
        deep.push(7);
        match n.checked_sub(1) {
            None => deep.extend_from_slice(&[1, 3, b'x', b'm', b'l']),
            Some(before) if before < 128 => deep.extend_from_slice(&[0, 9, before]),
            Some(before) => deep.extend_from_slice(&[0, 9, before, 1]),
        }
        deep.extend_from_slice(&[3, 1, b'e']);
    }
    for hostile in [
        Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f]),
        Bytes::from_static(b"\x01\xff\xff\xff\xff\x0f\x01\x00"),
        Bytes::from(vec![0; 9 * 1024 * 1024]),
        Bytes::from(deep),
        STANDARD.decode("AQEBAAEBAWEBAQ==").unwrap().into(),
    ] {
        let error = acknowledged(&handle, hostile).await.unwrap_err();
        assert_eq!(error.code().number(), 1002, "{error}");
    }
    assert_eq!(state(&documents).await, before);
    assert!(acknowledged(&handle, Typist::new(3).update("z")).await.unwrap());
}

#[tokio::test]
async fn a_room_that_is_let_go_ends_its_documents_and_can_be_opened_again() {
    let disk = Disk::new();
    let documents = disk.open();
    let mut handle = documents.open(room(), PATH, Some(&new())).await.unwrap();
    let ears = listen(&mut handle).await;
    let mut typist = Typist::new(1);
    acknowledged(&handle, typist.update("x")).await.unwrap();
    documents.close_room(room()).await;
    assert!(ears.ended.lock().unwrap().as_ref().unwrap().contains("open it again"));
    let refused = acknowledged(&handle, typist.update("y")).await.unwrap_err();
    assert!(matches!(refused, DocumentError::Closed { .. }), "{refused}");
    drop(handle);
    let again = documents.open(room(), PATH, None).await.unwrap();
    assert!(acknowledged(&again, Typist::new(2).update("z")).await.unwrap());
    drop(again);
    documents.delete_room(room()).await.unwrap();
    assert!(!disk.database().exists());
}

#[tokio::test]
async fn copies_are_their_own_and_the_deleted_go() {
    let disk = Disk::new();
    let documents = disk.open();
    let files = Blobs::local(disk.folder.path(), Arc::new(System)).room(room());
    let handle = documents.open(room(), PATH, Some(&new())).await.unwrap();
    acknowledged(&handle, Typist::new(1).update("x")).await.unwrap();
    drop(handle);
    let mut card = files.open_read(PATH, None).await.unwrap();
    let card = card.read(4096).await.unwrap();
    files.write("copy.note", card, false).await.unwrap();
    let copy = documents.open(room(), "copy.note", None).await.unwrap();
    assert!(acknowledged(&copy, Typist::new(2).update("only here")).await.unwrap());
    drop(copy);
    let texts = |json: Value| json["root"]["texts"].as_array().unwrap().len();
    assert_eq!(texts(documents.describe(room(), PATH).await.unwrap()), 1);
    assert_eq!(texts(documents.describe(room(), "copy.note").await.unwrap()), 2);
    // Moved without being opened, and deleted: the moved one stays whatever is tidied up.
    files.rename(PATH, "elsewhere/moved.note", false).await.unwrap();
    files.delete("copy.note", false).await.unwrap();
    let there =
        || disk.sql().query_row("SELECT count(*) FROM documents", (), |row| row.get::<_, i64>(0)).unwrap();
    for left in [2, 1, 1] {
        assert!(documents.open(room(), "nothing.note", None).await.is_err());
        documents.close_room(room()).await;
        assert_eq!(there(), left);
    }
    assert_eq!(texts(documents.describe(room(), "elsewhere/moved.note").await.unwrap()), 1);
    files.write("plain.txt", Bytes::from_static(b"text"), false).await.unwrap();
    let refused = documents.open(room(), "plain.txt", Some(&new())).await.unwrap_err();
    assert!(matches!(refused, DocumentError::NotADocument { .. }), "{refused}");
}

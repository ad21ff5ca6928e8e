//! The `sync` toolkit over the wire.

use super::client::{Client, error, json_of};
use super::harness::Edge;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use meshagent::wire::{Content, Control};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{Doc, ReadTxn, Transact, Update, Xml, XmlElementPrelim, XmlFragment, XmlOut};

fn schema() -> Value {
    let item = json!({"type": "object", "properties": {"item": {"type": "object", "properties": {
        "v": {"type": ["string", "null"]}}}}});
    json!({"$root_tag_ref": "#/$defs/root", "$defs": {"item": item, "root": {"type": "object", "properties": {
        "root": {"type": "object", "properties": {
            "children": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/item"}]}}}}}}}})
}

/// A client's side of an open document.
struct Open {
    call: String,
    doc: Doc,
}

impl Open {
    async fn start(client: &mut Client, call: &str, headers: Value) -> Result<Self, (u16, String)> {
        let id = client.open("sync", "open", call).await;
        client.item(call, Content::binary(headers, Bytes::new())).await;
        match client.answer(id).await {
            Content::Control(Control::Open) => {}
            other => return Err(error(other)),
        }
        let doc = Doc::new();
        let Content::Binary { headers, data } = client.chunk(call).await else { panic!("no state") };
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["kind", "path", "schema"]);
        assert_eq!((&headers["kind"], &headers["schema"]), (&json!("state"), &schema()));
        let open = Self { call: call.to_owned(), doc };
        open.take(&data);
        Ok(open)
    }

    fn take(&self, data: &[u8]) {
        let update = Update::decode_v1(&STANDARD.decode(data).unwrap()).unwrap();
        self.doc.transact_mut().apply_update(update).unwrap();
    }

    /// Appends an element; gives the update.
    fn append(&self, value: &str) -> String {
        let fragment = self.doc.get_or_insert_xml_fragment("xml");
        let mut txn = self.doc.transact_mut();
        let element = fragment.push_back(&mut txn, XmlElementPrelim::empty("item"));
        element.insert_attribute(&mut txn, "$id", format!("id-{value}"));
        element.insert_attribute(&mut txn, "v", value);
        STANDARD.encode(txn.encode_update_v1())
    }

    async fn send(&self, client: &mut Client, text: &str) {
        let item = Content::binary(json!({"kind": "sync"}), Bytes::copy_from_slice(text.as_bytes()));
        client.item(&self.call, item).await;
    }

    /// Takes the next relayed change.
    async fn relayed(&self, client: &mut Client) {
        let Content::Binary { headers, data } = client.chunk(&self.call).await else { panic!("no change") };
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["kind", "path"]);
        assert_eq!(headers["kind"], "sync");
        self.take(&data);
    }

    /// The values of the elements, in order.
    fn text(&self) -> String {
        let fragment = self.doc.get_or_insert_xml_fragment("xml");
        let txn = self.doc.transact();
        let value =
            |node: XmlOut| node.into_xml_element()?.get_attribute(&txn, "v").map(|v| v.to_string(&txn));
        fragment.children(&txn).filter_map(value).collect::<Vec<_>>().join(",")
    }

    fn vector(&self) -> String {
        STANDARD.encode(self.doc.transact().state_vector().encode_v1())
    }
}

fn start(path: &str, create: bool) -> Value {
    json!({"kind": "start", "path": path, "create": create, "vector": null, "schema": schema(),
        "schema_path": null, "initial_json": null})
}

async fn close(client: &mut Client, open: &Open) {
    client.end(&open.call).await;
    assert_eq!(client.chunk(&open.call).await, Content::Control(Control::END));
}

/// Waits until no document is in memory.
async fn leaves_memory(edge: &Edge) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while edge.documents.loaded() > 0 {
        assert!(Instant::now() < deadline, "a document that nobody has open stays in memory");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_opens_a_new_document_at_the_same_moment_gets_the_same_one() {
    const DOCUMENTS: usize = 60;
    let edge = Edge::start().await;
    let mut all = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let mut client = edge.join(name).await;
        all.push(tokio::spawn(async move {
            for n in 0..DOCUMENTS {
                let path = format!("many/{n}.doc");
                let opened = Open::start(&mut client, &format!("open{n}"), start(&path, true)).await;
                opened.unwrap_or_else(|error| panic!("{path}: {error:?}"));
            }
        }));
    }
    for client in all {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn two_edit_one_document_and_only_changes_are_relayed() {
    let edge = Edge::start().await;
    let (mut a, mut b) = (edge.join("a").await, edge.join("b").await);
    let mine = Open::start(&mut a, "one", start("docs/a.doc", true)).await.unwrap();
    let theirs = Open::start(&mut b, "one", start("./docs/a.doc", true)).await.unwrap();
    let update = mine.append("x");
    mine.send(&mut a, &update).await;
    theirs.relayed(&mut b).await;
    // An echo changes nothing and goes nowhere; what follows it is the next thing the others see.
    theirs.send(&mut b, &update).await;
    let update = theirs.append("y");
    theirs.send(&mut b, &update).await;
    mine.relayed(&mut a).await;
    assert_eq!(mine.text(), theirs.text());
    assert_eq!(
        json_of(a.invoke("sync", "describe", json!({"path": "docs/a.doc", "schema_path": null})).await),
        json!({"root": {"children": [{"item": {"v": "x"}}, {"item": {"v": "y"}}]}})
    );
    close(&mut a, &mine).await;
    close(&mut b, &theirs).await;
    leaves_memory(&edge).await;
    // What was acknowledged is there for who comes later, and for who comes back only what it lacks.
    let again = Open::start(&mut a, "two", start("docs/a.doc", false)).await.unwrap();
    assert_eq!(again.text(), mine.text());
    let mut back = start("docs/a.doc", false);
    back["vector"] = again.vector().into();
    let back = Open::start(&mut b, "two", back).await.unwrap();
    assert_eq!(back.text(), "", "the difference to the same state holds no element");
}

#[tokio::test]
async fn a_document_is_a_file_of_the_room_and_tells_of_its_changes() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let open = Open::start(&mut a, "one", start("docs/a.doc", true)).await.unwrap();
    let exists = json_of(a.invoke("storage", "exists", json!({"path": "docs/a.doc"})).await);
    assert_eq!(exists, json!({"exists": true}));
    let update = open.append("x");
    open.send(&mut a, &update).await;
    let (event, _) = a.push("storage.file.updated").await;
    assert_eq!(event, json!({"path": "docs/a.doc", "participant_id": a.id}));
    close(&mut a, &open).await;
    let moved = json!({"source_path": "docs/a.doc", "destination_path": "docs/b.doc", "overwrite": false});
    assert_eq!(a.invoke("storage", "move", moved).await, Content::Empty);
    let moved = Open::start(&mut a, "two", start("docs/b.doc", false)).await.unwrap();
    assert_eq!(moved.text(), open.text());
    close(&mut a, &moved).await;
    a.invoke("storage", "delete", json!({"path": "docs/b.doc"})).await;
    let (code, _) = Open::start(&mut a, "three", start("docs/b.doc", false)).await.err().unwrap();
    assert_eq!(code, 1003);
    let fresh = Open::start(&mut a, "four", start("docs/b.doc", true)).await.unwrap();
    assert_eq!(fresh.text(), "", "a deleted document does not come back");
}

#[tokio::test]
async fn reading_grants_read_and_change_nothing() {
    let edge = Edge::start().await;
    let mut writer = edge.join("w").await;
    let api = json!({"sync": {"paths": [{"path": "docs/*", "read_only": true}]}});
    let mut reader = edge.join_as(&json!({"name": "r", "api": api})).await;
    let (code, text) = Open::start(&mut reader, "none", start("docs/a.doc", true)).await.err().unwrap();
    assert_eq!(code, 1001, "{text}");
    let written = Open::start(&mut writer, "w", start("docs/a.doc", true)).await.unwrap();
    let read = Open::start(&mut reader, "r", start("docs/a.doc", true)).await.unwrap();
    let update = written.append("x");
    written.send(&mut writer, &update).await;
    read.relayed(&mut reader).await;
    // What the Python client echoes is no change of its own.
    read.send(&mut reader, &update).await;
    let forbidden = read.append("mine");
    read.send(&mut reader, &forbidden).await;
    let (code, text) = error(reader.chunk("r").await);
    assert_eq!(code, 1001, "{text}");
    let described = writer.invoke("sync", "describe", json!({"path": "docs/a.doc"})).await;
    assert_eq!(json_of(described), json!({"root": {"children": [{"item": {"v": "x"}}]}}));
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_and_the_rest_goes_on() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let open = Open::start(&mut a, "one", start("a.doc", true)).await.unwrap();
    for (text, why) in [("!!", "base64"), ("AAAAAA==", "no Yjs v1 update"), ("/////w8=", "no Yjs v1 update")]
    {
        open.send(&mut a, text).await;
        let (code, said) = error(a.chunk("one").await);
        assert_eq!(code, 1002, "{said}");
        assert!(said.contains(why), "{said}");
    }
    let update = open.append("x");
    open.send(&mut a, &update).await;
    close(&mut a, &open).await;
    let again = Open::start(&mut a, "two", start("a.doc", false)).await.unwrap();
    assert_eq!(again.text(), open.text());
    let mut wrong = start("a.doc", false);
    wrong["vector"] = "AQ==".into();
    let id = a.open("sync", "open", "three").await;
    a.item("three", Content::binary(wrong, Bytes::new())).await;
    assert_eq!(a.answer(id).await, Content::Control(Control::Open));
    let Content::Control(Control::Close { status: 1007, .. }) = a.chunk("three").await else {
        panic!("a broken vector is not taken")
    };
}

#[tokio::test]
async fn a_document_is_made_from_json_and_a_schema_of_the_room() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let create =
        |json: Value| json!({"path": "notes/n.note", "json": json, "schema": null, "schema_path": null});
    let content = json!({"root": {"children": [{"item": {"v": "x"}}]}});
    let (code, text) = a.fails("sync", "create", create(content.clone())).await;
    assert_eq!(code, 1003, "{text}");
    assert!(text.contains(".schemas/note.json"), "{text}");
    let wrong =
        json!({"path": "n.note", "json": {"root": {"children": [{"other": {}}]}}, "schema": schema()});
    let (code, text) = a.fails("sync", "create", wrong).await;
    assert_eq!(code, 1002);
    assert!(text.contains("/root/children/0"), "{text}");
    let mut made = create(content.clone());
    made["schema"] = schema();
    assert_eq!(a.invoke("sync", "create", made.clone()).await, Content::Empty);
    assert_eq!(json_of(a.invoke("sync", "describe", json!({"path": "notes/n.note"})).await), content);
    assert_eq!(a.fails("sync", "create", made).await.0, 1004);
    assert_eq!(a.fails("sync", "describe", json!({"path": "nothing"})).await.0, 1003);
    // The same document to many at once: one of them makes it.
    let mut openers = vec![];
    for n in 0..8 {
        openers.push(edge.join(&format!("c{n}")).await);
    }
    let opens = openers.iter_mut().map(|client| Open::start(client, "one", start("new.doc", true)));
    let opened: Vec<Open> =
        futures_util::future::join_all(opens).await.into_iter().map(Result::unwrap).collect();
    let update = opened[0].append("first");
    opened[0].send(&mut openers[0], &update).await;
    for (open, client) in opened.iter().zip(&mut openers).skip(1) {
        open.relayed(client).await;
        assert_eq!(open.text(), opened[0].text());
    }
}

#[tokio::test]
async fn a_connection_that_is_lost_leaves_nothing_open() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let mut b = edge.join("b").await;
    let mine = Open::start(&mut a, "one", start("a.doc", true)).await.unwrap();
    let theirs = Open::start(&mut b, "one", start("a.doc", true)).await.unwrap();
    drop(a);
    let update = theirs.append("x");
    theirs.send(&mut b, &update).await;
    close(&mut b, &theirs).await;
    leaves_memory(&edge).await;
    drop(mine);
}

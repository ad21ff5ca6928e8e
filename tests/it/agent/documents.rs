//! Documents that an agent writes while others have them open.

use super::ROOM;
use super::joined::client;
use super::tools::Desk;
use crate::support::server::Server;
use meshagent::client::room::{LiveDocument, NewDocument};
use meshagent::yjs::MeshSchema;
use serde_json::{Value, json};

/// Notes, with a text, a number and notes in them.
fn notes() -> Value {
    let note = json!({"type": "object", "properties": {"note": {"type": "object", "properties": {
        "v": {"type": ["string", "null"]}, "n": {"type": ["number", "null"]},
        "notes": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/note"}]}}}}}});
    let root = json!({"type": "object", "properties": {"notes": {"type": "object", "properties": {
        "children": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/note"}]}}}}}});
    json!({"$root_tag_ref": "#/$defs/notes", "$defs": {"notes": root, "note": note}})
}

/// The values of the notes at the top.
async fn values(document: &LiveDocument) -> Vec<String> {
    let json = document.look(meshagent::yjs::Replica::render).await.unwrap().unwrap();
    let notes = json["notes"]["children"].as_array().unwrap();
    notes.iter().map(|note| note["note"]["v"].as_str().unwrap_or("-").to_owned()).collect()
}

async fn add(document: &LiveDocument, value: &str) -> String {
    let (note, id) = (json!({"note": {"v": value}}), value.to_owned());
    let add = move |replica: &mut meshagent::yjs::Replica, schema: &MeshSchema| {
        let (id, update) = replica.append(schema, None, &note, &|| id.clone())?;
        Ok((id, Some(update)))
    };
    document.edit(add).await.unwrap()
}

const WAIT: std::time::Duration = std::time::Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_and_a_person_edit_one_document() {
    let server = Server::start(&[]);
    let person = client(&server, "person", ROOM).await;
    person.storage().write(".schemas/note.json", true, notes().to_string().as_bytes()).await.unwrap();
    let desk = Desk::on(server, &["--document-authoring", "--schema", "note"], &[]).await;
    let new = NewDocument::default();
    let mine = person.documents().live("team/plan.note", Some(&new), 7 << 40).await.unwrap();
    add(&mine, "by a person").await;

    assert!(desk.call("get_document", json!({"path": "team/plan.note"})).await.contains("is not open"));
    desk.call("meshagent.document.open", json!({"path": "team/plan.note"})).await;
    let again = desk.call("meshagent.document.open", json!({"path": "/team/plan.note"})).await;
    assert!(again.contains("open already"), "{again}");
    // Both write at the same time.
    let theirs = async {
        for n in 0..5 {
            let note = json!({"path": "team/plan.note", "parent_element_id": "root",
                "note": {"v": format!("agent {n}"), "n": null}});
            desk.json("note_insert_note", note).await;
        }
    };
    let ours = async {
        for n in 0..20 {
            add(&mine, &format!("person {n}")).await;
        }
    };
    tokio::join!(theirs, ours);
    let seen = desk.json("get_document", json!({"path": "team/plan.note"})).await;
    assert_eq!(seen["notes"]["children"].as_array().unwrap().len(), 26, "{seen}");
    let all_there = async {
        while values(&mine).await.len() < 26 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WAIT, all_there).await.unwrap();
    let rendered: Vec<Value> = seen["notes"]["children"].as_array().unwrap().clone();
    let at_agent: Vec<_> =
        rendered.iter().map(|note| note["note"]["v"].as_str().unwrap().to_owned()).collect();
    assert_eq!(values(&mine).await, at_agent, "the same order for both");

    let set = |name: &str, value: Value| json!({"path": "team/plan.note", "id": "by a person", "attribute_name": name, "attribute_value": value});
    desk.call("set_attribute", set("n", json!("42"))).await;
    desk.call("set_attribute", set("v", json!("by both"))).await;
    desk.call("remove_element_by_id", json!({"path": "team/plan.note", "id": "person 0"})).await;
    desk.call("meshagent.document.close", json!({"path": "team/plan.note"})).await;
    let kept = person.documents().describe("team/plan.note").await.unwrap();
    assert_eq!(kept["notes"]["children"][0]["note"], json!({"v": "by both", "n": 42, "notes": []}));
    assert_eq!(kept["notes"]["children"].as_array().unwrap().len(), 25);
    mine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_documents_do_not_take_is_told_and_changes_nothing() {
    let server = Server::start(&[]);
    let person = client(&server, "person", ROOM).await;
    person.storage().write("plain.widget", true, b"no document").await.unwrap();
    let desk = Desk::on(server, &["--document-authoring", "--schema", "missing"], &[]).await;
    for (path, why) in [
        ("plain.widget", "is a file and no document"),
        ("a.unknown", "has no schema"),
        ("../up.widget", "no path of a file"),
        ("", "no path of a file"),
    ] {
        let said = desk.call("meshagent.document.open", json!({"path": path})).await;
        assert!(said.contains(why), "{path}: {said}");
    }
    desk.call("meshagent.document.open", json!({"path": "ui.widget"})).await;
    let into = |parent: &str, tag: &str, fields: Value| json!({"path": "ui.widget", "parent_element_id": parent, tag: fields});
    let page = desk.json("widget_insert_widgets", into("root", "widgets", json!({}))).await;
    let page = page["id"].as_str().unwrap();
    desk.json("widget_insert_text", into(page, "text", json!({"text": "hello", "size": 12, "color": null})))
        .await;
    let before = desk.json("get_document", json!({"path": "ui.widget"})).await;
    let shown = &before["widget"]["children"][0]["widgets"]["children"][0]["text"];
    assert_eq!(
        (&shown["text"], &shown["size"], &shown["color"]),
        (&json!("hello"), &json!(12), &Value::Null)
    );
    let id = shown["$id"].as_str().unwrap();
    let set = |id: &str, name: &str, value: Value| json!({"path": "ui.widget", "id": id, "attribute_name": name, "attribute_value": value});
    let deep = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
    for (tool, given, why) in [
        ("widget_insert_text", into("root", "text", json!({})), "is not among the children"),
        ("widget_insert_text", into(id, "text", json!({})), "is not among the children"),
        ("widget_insert_text", into("nobody", "text", json!({})), "no element with the id `nobody`"),
        ("widget_insert_text", into(page, "text", json!({"size": "large"})), "not of the type"),
        ("widget_insert_text", into(page, "text", json!({"weight": "heavy"})), "not of the type"),
        ("widget_insert_text", into(page, "text", json!({"$where": 1})), "no property `$where`"),
        (
            "widget_insert_text",
            json!({"path": "other.widget", "parent_element_id": "root", "text": {}}),
            "is not open",
        ),
        ("set_attribute", set(id, "$id", json!("x")), "cannot be set"),
        ("set_attribute", set(id, "zap", json!("x")), "no property `zap`"),
        ("set_attribute", set("root", "name", json!("x")), "no element with the id `root`"),
        ("set_attribute", set(id, "text", json!({"deep": deep})), "not of the type"),
        ("remove_element_by_id", json!({"path": "ui.widget", "id": "' OR 1=1"}), "no element with the id"),
    ] {
        let said = desk.call(tool, given.clone()).await;
        assert!(said.contains(why), "{tool} {given}: {said}");
    }
    let after = desk.json("get_document", json!({"path": "ui.widget"})).await;
    assert_eq!(after, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_only_read_documents_is_told_so() {
    let server = Server::start(&[]);
    let person = client(&server, "person", ROOM).await;
    let new = NewDocument { schema: Some(notes()), json: None };
    person.documents().create("read.note", &new).await.unwrap();
    let token = super::joined::token(
        &server,
        "support-agent",
        ROOM,
        json!({"sync": {"paths": [{"path": "*", "read_only": true}]}}),
    );
    let env = [("AGENT_TOKEN", token.as_str())];
    let flags = ["--document-authoring", "--token-from-env", "AGENT_TOKEN"];
    let desk = Desk::on(server, &flags, &env).await;
    desk.call("meshagent.document.open", json!({"path": "read.note"})).await;
    desk.json("get_document", json!({"path": "read.note"})).await;
    let said = desk
        .call(
            "set_attribute",
            json!({"path": "read.note", "id": "x", "attribute_name": "v", "attribute_value": "1"}),
        )
        .await;
    assert!(said.contains("no element"), "{said}");
    let mine = person.documents().live("read.note", None, 9 << 40).await.unwrap();
    let id = add(&mine, "fixed").await;
    let sees =
        async { while !desk.call("get_document", json!({"path": "read.note"})).await.contains("fixed") {} };
    tokio::time::timeout(WAIT, sees).await.unwrap();
    let set = json!({"path": "read.note", "id": id, "attribute_name": "v", "attribute_value": "changed"});
    let said = desk.call("set_attribute", set).await;
    assert!(said.contains("read") && said.contains("unable to complete"), "{said}");
    let again = desk.json("get_document", json!({"path": "read.note"})).await;
    assert_eq!(again["notes"]["children"][0]["note"]["v"], "fixed", "its own copy too is as it was: {again}");
    let kept = person.documents().describe("read.note").await.unwrap();
    assert_eq!(kept["notes"]["children"][0]["note"]["v"], "fixed");
}

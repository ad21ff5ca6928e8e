//! The forms of thread documents and of the index that lists them, as the platform's other clients read and write them.

use super::claude::{Authors, Conversation};
use serde_json::{Map, Value, json};

/// Elements of a thread: the tag, its texts, its numbers, and its children by the property that holds them.
type Form = (&'static str, &'static [&'static str], &'static [&'static str], Option<Children>);

#[derive(Clone, Copy)]
enum Children {
    /// Any of these, in any number.
    Any(&'static str, &'static [&'static str]),
    /// One of each, in this order.
    Each(&'static str, &'static [&'static str]),
}

const EVENT: [&str; 17] = [
    "turn_id",
    "id",
    "source",
    "name",
    "kind",
    "state",
    "method",
    "item_id",
    "item_type",
    "path",
    "summary",
    "headline",
    "details",
    "preview",
    "data",
    "created_at",
    "updated_at",
];

const THREAD: [Form; 13] = [
    ("thread", &["name"], &[], Some(Children::Each("properties", &["members", "messages"]))),
    ("members", &[], &[], Some(Children::Any("items", &["member"]))),
    (
        "messages",
        &["external_thread_id"],
        &[],
        Some(Children::Any("items", &["message", "exec", "ui", "reasoning", "event"])),
    ),
    ("member", &["name"], &[], None),
    ("file", &["path"], &[], None),
    ("image", &["status", "id", "mime_type", "created_at", "created_by"], &["width", "height"], None),
    ("reasoning", &["turn_id", "summary", "created_at"], &[], None),
    (
        "exec",
        &["turn_id", "command", "result", "outcome", "stderr", "stdout", "pwd", "created_at"],
        &["exit_code"],
        None,
    ),
    ("ui", &["turn_id", "data", "renderer", "widget", "created_at"], &["width", "height"], None),
    ("event", &EVENT, &[], Some(Children::Any("logs", &["log"]))),
    ("log", &["source", "text", "created_at"], &[], None),
    ("reaction", &["user_name", "value", "target", "attachment_ref", "created_at"], &[], None),
    (
        "message",
        &["id", "turn_id", "text", "created_at", "author_name", "role", "author_ref"],
        &[],
        Some(Children::Any("attachments", &["file", "image", "reaction"])),
    ),
];

const INDEX: [Form; 2] = [
    ("thread_list", &[], &[], Some(Children::Any("threads", &["thread"]))),
    ("thread", &["name", "path", "created_at", "modified_at"], &[], None),
];

/// MeshSchema of a thread.
pub fn schema() -> Value {
    mesh(&THREAD)
}

/// MeshSchema of the index.
pub fn index_schema() -> Value {
    mesh(&INDEX)
}

/// The first form is the root's.
fn mesh(forms: &[Form]) -> Value {
    let definitions: Map<String, Value> =
        forms.iter().map(|form| (form.0.to_owned(), element(form))).collect();
    let mut schema = match forms.first() {
        Some(root) => element(root),
        None => json!({}),
    };
    schema["$root_tag_ref"] = json!(format!("#/$defs/{}", forms.first().map_or("", |root| root.0)));
    schema["$defs"] = Value::Object(definitions);
    schema
}

fn element(&(tag, texts, numbers, children): &Form) -> Value {
    let mut properties = Map::new();
    let mut add = |name: &str, of: Value| drop(properties.insert(name.to_owned(), of));
    texts.iter().for_each(|name| add(name, json!({"type": ["string", "null"]})));
    numbers.iter().for_each(|name| add(name, json!({"type": ["number", "null"]})));
    let refs = |tags: &[&str]| {
        tags.iter().map(|tag| json!({"$ref": format!("#/$defs/{tag}")})).collect::<Vec<Value>>()
    };
    match children {
        Some(Children::Any(name, tags)) => {
            add(name, json!({"type": "array", "items": {"anyOf": refs(tags)}}));
        }
        Some(Children::Each(name, tags)) => {
            add(name, json!({"type": "array", "prefixItems": refs(tags), "items": false}));
        }
        None => {}
    }
    let required: Vec<&String> = properties.keys().collect();
    let inner = json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties});
    json!({"type": "object", "additionalProperties": false, "required": [tag], "properties": {tag: inner}})
}

/// The document of a conversation.
pub fn document(conversation: &Conversation, name: &str, authors: &Authors<'_>) -> Value {
    let mut members: Vec<&str> = Vec::new();
    for message in &conversation.messages {
        let author = message.author.trim();
        if !author.is_empty() && !members.contains(&author) {
            members.push(author);
        }
    }
    if members.is_empty() {
        members = vec![authors.human, authors.assistant];
    }
    let members: Vec<Value> = members.into_iter().map(|name| json!({"member": {"name": name}})).collect();
    let messages = conversation.messages.iter().map(|message| {
        json!({"message": {
            "id": message.id, "text": message.text, "created_at": message.created_at,
            "author_name": message.author,
        }})
    });
    let messages: Vec<Value> = messages.collect();
    json!({"thread": {"name": name, "properties": [
        {"members": {"items": members}},
        {"messages": {"external_thread_id": conversation.id, "items": messages}},
    ]}})
}

/// A line of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub path: String,
    pub created_at: String,
    pub modified_at: String,
    /// The thread was there before: what the index says of it stays.
    pub is_old: bool,
}

/// Puts entries into the index's JSON: a path that is listed is changed, another added.
pub fn list(index: &mut Value, entries: Vec<Entry>) {
    let Some(threads) = index.pointer_mut("/thread_list/threads").and_then(Value::as_array_mut) else {
        return;
    };
    for Entry { name, path, created_at, modified_at, is_old } in entries {
        let there = threads.iter_mut().find(|thread| thread["thread"]["path"] == path);
        let line = json!({"thread": {
            "name": name, "path": path, "created_at": created_at, "modified_at": modified_at,
        }});
        match there {
            Some(_) if is_old => {}
            Some(thread) => *thread = line,
            None => threads.push(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yjs::{MeshSchema, Replica};

    #[test]
    fn a_conversation_is_a_document_of_the_schema() {
        let authors = Authors { human: "ann", assistant: "claude", with_empty: false };
        let raw =
            json!({"uuid": "c", "chat_messages": [{"sender": "human", "text": "hi", "created_at": "t"}]});
        let conversation = super::super::claude::conversation(&raw, &authors).unwrap();
        let schema = MeshSchema::parse(schema()).unwrap();
        let mut replica = Replica::empty(7);
        let ids = || "id".to_owned();
        let json = document(&conversation, "n", &authors);
        assert!(replica.rewrite(&schema, &json, &ids).unwrap().is_some());
        let read = replica.render(&schema).unwrap();
        assert_eq!(read.pointer("/thread/properties/0/members/items/0/member/name"), Some(&json!("ann")));
        let message = read.pointer("/thread/properties/1/messages/items/0/message").unwrap();
        assert_eq!((&message["text"], &message["author_name"]), (&json!("hi"), &json!("ann")));
    }

    #[test]
    fn the_index_has_each_path_once() {
        assert!(MeshSchema::parse(index_schema()).is_ok());
        let mut index = json!({"thread_list": {"threads": []}});
        let entry = |name: &str, is_old| Entry {
            name: name.into(),
            path: "p".into(),
            created_at: String::new(),
            modified_at: String::new(),
            is_old,
        };
        list(&mut index, vec![entry("a", true), entry("b", false), entry("c", true)]);
        let names: Vec<&Value> = index["thread_list"]["threads"].as_array().unwrap().iter().collect();
        assert_eq!(names.len(), 1);
        assert_eq!(names[0]["thread"]["name"], "b");
    }
}

//! What a Claude data export says of a conversation: `uuid`, `name`, times, and `chat_messages` with a `sender`, a
//! `text` or blocks of `content`, and names of files.

use serde_json::Value;

/// How authors are called, and which messages count.
#[derive(Debug, Clone, Copy)]
pub struct Authors<'a> {
    pub human: &'a str,
    pub assistant: &'a str,
    pub with_empty: bool,
}

/// Author of a message that names none.
const UNKNOWN: &str = "participant";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    pub id: String,
    pub name: Option<String>,
    pub created_at: Option<String>,
    pub updated_at: Option<String>,
    pub messages: Vec<Message>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub id: String,
    pub author: String,
    pub created_at: String,
    pub text: String,
}

fn text(value: &Value) -> Option<String> {
    let text = value.as_str()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Reads one conversation; the error says why it is none.
pub fn conversation(raw: &Value, authors: &Authors<'_>) -> Result<Conversation, &'static str> {
    if !raw.is_object() {
        return Err("it is no object");
    }
    let id = text(&raw["uuid"]).ok_or("it has no `uuid`")?;
    let all = raw["chat_messages"].as_array().ok_or("its `chat_messages` are no list")?;
    let created_at = text(&raw["created_at"]);
    let updated_at = text(&raw["updated_at"]).or_else(|| created_at.clone());
    let late = updated_at.clone().unwrap_or_default();
    let messages = all.iter().enumerate().filter(|(_, raw)| raw.is_object());
    let messages = messages.map(|(number, raw)| Message {
        id: text(&raw["uuid"]).unwrap_or_else(|| format!("{id}:message:{number}")),
        author: author(&raw["sender"], authors),
        created_at: time(raw).unwrap_or_else(|| late.clone()),
        text: words(raw),
    });
    let messages = messages.filter(|message| authors.with_empty || !message.text.is_empty()).collect();
    Ok(Conversation { name: text(&raw["name"]), id, created_at, updated_at, messages })
}

fn author(sender: &Value, authors: &Authors<'_>) -> String {
    let sender = text(sender);
    match sender.as_deref().map(str::to_ascii_lowercase).as_deref() {
        Some("human") => authors.human.to_owned(),
        Some("assistant") => authors.assistant.to_owned(),
        _ => sender.unwrap_or_else(|| UNKNOWN.to_owned()),
    }
}

fn blocks(raw: &Value) -> impl Iterator<Item = &Value> {
    raw["content"].as_array().into_iter().flatten().filter(|block| block.is_object())
}

fn time(raw: &Value) -> Option<String> {
    let of_block = |block: &Value| text(&block["start_timestamp"]).or_else(|| text(&block["stop_timestamp"]));
    text(&raw["created_at"]).or_else(|| blocks(raw).find_map(of_block))
}

/// The texts of the blocks, without blocks the message's own, without either the names of its files.
fn words(raw: &Value) -> String {
    let of_blocks = blocks(raw).filter(|block| block["type"] == "text");
    let said: String = of_blocks.filter_map(|block| block["text"].as_str()).collect();
    let said = said.trim();
    if !said.is_empty() {
        return said.to_owned();
    }
    if blocks(raw).next().is_none()
        && let Some(own) = text(&raw["text"])
    {
        return own;
    }
    let lists = [&raw["attachments"], &raw["files"]];
    let files = lists.into_iter().filter_map(Value::as_array).flatten();
    let mut names: Vec<String> = Vec::new();
    for name in files.filter_map(|file| text(&file["file_name"])) {
        if !names.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
            names.push(name);
        }
    }
    match &names[..] {
        [] => String::new(),
        [name] => format!("attached file {name}"),
        names => format!("attached files {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const AUTHORS: Authors<'_> = Authors { human: "ann", assistant: "claude", with_empty: false };

    #[test]
    fn messages_have_their_text_author_and_time_wherever_the_export_keeps_them() {
        let raw = json!({"uuid": " c ", "name": "", "created_at": "t0", "updated_at": "t9", "chat_messages": [
            {"uuid": "m0", "sender": "Human", "created_at": "t1", "text": " hello "},
            {"sender": "assistant", "text": "unused", "content": [
                {"type": "thinking", "thinking": "hm", "start_timestamp": "t2"},
                {"type": "text", "text": "a"}, {"type": "text", "text": "b "}]},
            {"sender": "robot", "content": [], "files": [{"file_name": "a.txt"}, {"file_name": "A.TXT"}]},
            {"text": "", "attachments": [{"file_name": "x"}], "files": [{"file_name": "y"}]},
            {"sender": "human", "text": " "},
            7,
        ]});
        let read = conversation(&raw, &AUTHORS).unwrap();
        assert_eq!((read.id.as_str(), read.name.as_deref()), ("c", None));
        let said: Vec<_> = read
            .messages
            .iter()
            .map(|m| (m.id.as_str(), m.author.as_str(), m.created_at.as_str(), m.text.as_str()))
            .collect();
        assert_eq!(
            said,
            [
                ("m0", "ann", "t1", "hello"),
                ("c:message:1", "claude", "t2", "ab"),
                ("c:message:2", "robot", "t9", "attached file a.txt"),
                ("c:message:3", "participant", "t9", "attached files x, y"),
            ]
        );
        let all = Authors { with_empty: true, ..AUTHORS };
        assert_eq!(conversation(&raw, &all).unwrap().messages.len(), 5);
    }

    #[test]
    fn what_is_no_conversation_is_refused_with_the_reason() {
        for (raw, why) in [
            (json!([]), "no object"),
            (json!({"chat_messages": []}), "`uuid`"),
            (json!({"uuid": "c", "chat_messages": {}}), "`chat_messages`"),
        ] {
            assert!(conversation(&raw, &AUTHORS).unwrap_err().contains(why));
        }
    }
}

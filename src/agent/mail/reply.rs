//! What an agent writes: answers, and mail that begins a conversation. Pure.

use super::letter::Letter;
use mail_builder::MessageBuilder;
use mail_builder::headers::raw::Raw;
use pulldown_cmark::{Event, Options, Parser, html};
use serde_json::{Value, json};
use std::io;

/// Longest `References` that is passed on, bytes: the oldest fall out.
const REFERENCES_BYTES_MAX: usize = 8 * 1024;

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// `<…>`.
    pub id: String,
    pub from: String,
    pub to: Vec<String>,
    pub cc: Vec<String>,
    pub subject: String,
    pub in_reply_to: Option<String>,
    pub references: Option<String>,
    pub correlation_id: Option<String>,
    /// Markdown.
    pub body: String,
    /// Name, kind and bytes.
    pub attachments: Vec<(String, String, Vec<u8>)>,
    /// Seconds since 1970.
    pub date: i64,
}

impl Outgoing {
    /// The answer to a letter, from this mailbox. `id` names it: the same answer sent twice is one.
    #[must_use]
    pub fn answer(letter: &Letter, address: &str, reply_all: bool, id: &str, body: &str, date: i64) -> Self {
        let back = parsed(letter.reply_to.as_ref().unwrap_or(&letter.from));
        let others =
            letter.recipients.iter().filter(|one| !one.eq_ignore_ascii_case(address) && !back.contains(one));
        let cc = if reply_all { others.cloned().collect() } else { Vec::new() };
        let subject = if letter.subject.to_lowercase().starts_with("re:") {
            letter.subject.clone()
        } else {
            format!("RE: {}", letter.subject)
        };
        let before = letter.references.as_deref().unwrap_or_default();
        let references = format!("{before} {}", letter.id);
        Self {
            id: named(id, address),
            from: address.to_owned(),
            to: back,
            cc,
            subject,
            in_reply_to: Some(letter.id.clone()),
            references: Some(newest(&references)),
            correlation_id: letter.correlation_id.clone(),
            body: body.to_owned(),
            attachments: Vec::new(),
            date,
        }
    }

    /// All who get it.
    #[must_use]
    pub fn recipients(&self) -> Vec<&str> {
        self.to.iter().chain(&self.cc).map(String::as_str).collect()
    }

    /// As it goes out: text, and the same as HTML.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut message = MessageBuilder::new()
            .message_id(bare(&self.id))
            .from(self.from.as_str())
            .to(self.to.iter().map(String::as_str).collect::<Vec<_>>())
            .subject(self.subject.as_str())
            .date(self.date)
            .text_body(self.body.as_str())
            .html_body(rendered(&self.body));
        if !self.cc.is_empty() {
            message = message.cc(self.cc.iter().map(String::as_str).collect::<Vec<_>>());
        }
        if let Some(id) = &self.in_reply_to {
            // Whoever gets an answer of a program must not answer it on its own account.
            message = message.header("In-Reply-To", Raw::new(id.as_str()));
            message = message.header("Auto-Submitted", Raw::new("auto-replied"));
        }
        if let Some(references) = &self.references {
            message = message.header("References", Raw::new(references.as_str()));
        }
        if let Some(id) = &self.correlation_id {
            message = message.header("Meshagent-Correlation-ID", Raw::new(id.as_str()));
        }
        for (name, kind, bytes) in &self.attachments {
            message = message.attachment(kind.as_str(), name.as_str(), bytes.as_slice());
        }
        message.write_to_vec()
    }

    /// `message.json`.
    #[must_use]
    pub fn record(&self, thread: &str, path: &str, attachments: &[String]) -> Value {
        json!({
            "id": self.id, "in_reply_to": self.in_reply_to, "reply_to": self.from, "references": self.references,
            "from": self.from, "to": self.to, "cc": self.cc, "subject": self.subject, "body": self.body,
            "attachments": attachments, "role": "agent", "correlation_id": self.correlation_id,
            "meta": {
                "delivered_to": null, "return_path": null, "to": self.to, "cc": self.cc, "auto_submitted": null,
                "precedence": null, "list_id": null, "content_type": "multipart/alternative", "is_multipart": true,
                "body_content_type": "text/plain",
                "dsn": {"is_dsn": false, "status": null, "action": null, "diagnostic_code": null,
                    "final_recipient": null},
            },
            "thread_id": thread, "path": path,
        })
    }
}

/// `<id@domain of the address>`.
#[must_use]
pub fn named(id: &str, address: &str) -> String {
    let domain = address.rsplit_once('@').map_or("local", |(_, domain)| domain);
    format!("<{id}@{}>", domain.to_ascii_lowercase())
}

fn bare(id: &str) -> &str {
    id.trim_matches(['<', '>'])
}

/// Addresses of a header's value.
fn parsed(value: &str) -> Vec<String> {
    let header = format!("To: {value}\r\n\r\n");
    let found = mail_parser::MessageParser::new().parse_headers(&header).map(|message| {
        message
            .to()
            .into_iter()
            .flat_map(|all| all.iter())
            .filter_map(|one| one.address().map(str::to_ascii_lowercase))
            .collect()
    });
    found.unwrap_or_default()
}

fn newest(references: &str) -> String {
    let mut kept = Vec::new();
    let mut bytes = 0;
    for one in references.split_whitespace().rev() {
        bytes += one.len() + 1;
        if bytes > REFERENCES_BYTES_MAX {
            break;
        }
        kept.push(one);
    }
    kept.reverse();
    kept.join(" ")
}

/// Markdown as HTML. What looks like HTML in it stays text.
fn rendered(markdown: &str) -> String {
    let events = Parser::new_ext(markdown, Options::ENABLE_TABLES).map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        other => other,
    });
    let mut out = String::with_capacity(markdown.len() * 2);
    html::push_html(&mut out, events);
    out
}

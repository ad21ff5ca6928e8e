//! One message out of a mailbox's queue. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_parser::{HeaderName, Message, MessageParser, MimeHeaders as _, PartType};
use serde_json::{Value, json};

/// Attachments of one message that are kept.
pub const ATTACHMENTS_MAX: usize = 100;
/// Longest text that a turn is given, bytes; the whole is in the file.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Longest name of a file, characters.
const NAME_CHARS_MAX: usize = 120;
/// Parts of a message beyond which nobody looks.
const PARTS_MAX: usize = 1_000;

/// Why an item of the queue is no mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the item has no `base64` with a message")]
    NoBase64,
    #[error("the item's `base64` is not base64")]
    NotBase64,
    #[error("the message has no header that can be read")]
    NoHeader,
    #[error("the message has more than {PARTS_MAX} parts")]
    TooManyParts,
}

/// A file that came with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// No folder in it.
    pub name: String,
    pub bytes: Vec<u8>,
}

/// A message. Header values are as they were written, unfolded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    pub raw: Vec<u8>,
    /// `<…>`, as in the header; made from the bytes where there is none.
    pub id: String,
    pub in_reply_to: Option<String>,
    pub references: Option<String>,
    pub reply_to: Option<String>,
    pub from: String,
    /// Address and display name of the sender.
    pub sender: (String, Option<String>),
    pub to: Vec<String>,
    pub cc: Vec<String>,
    /// All addresses of To and Cc, in lower case.
    pub recipients: Vec<String>,
    pub subject: String,
    pub body: String,
    pub is_html: bool,
    pub attachments: Vec<Attachment>,
    pub correlation_id: Option<String>,
    pub delivered_to: Option<String>,
    pub return_path: Option<String>,
    pub auto_submitted: Option<String>,
    pub precedence: Option<String>,
    pub list_id: Option<String>,
    pub content_type: String,
    pub is_multipart: bool,
    pub is_report: bool,
}

impl Letter {
    /// Reads an item of a mailbox's queue.
    pub fn read(item: &Value) -> Result<Self, Unreadable> {
        let text = item.get("base64").and_then(Value::as_str).ok_or(Unreadable::NoBase64)?;
        let raw = STANDARD.decode(text.trim()).map_err(|_| Unreadable::NotBase64)?;
        Self::of(raw)
    }

    fn of(raw: Vec<u8>) -> Result<Self, Unreadable> {
        let message = MessageParser::new().parse(&raw).ok_or(Unreadable::NoHeader)?;
        if message.parts.len() > PARTS_MAX {
            return Err(Unreadable::TooManyParts);
        }
        let all = |name: &str| -> Vec<String> {
            message
                .headers_raw()
                .filter(|(header, _)| header.eq_ignore_ascii_case(name))
                .map(|(_, value)| unfolded(value))
                .filter(|value| !value.is_empty())
                .collect()
        };
        let one = |name: &str| all(name).into_iter().next();
        let from = one("From").ok_or(Unreadable::NoHeader)?;
        let (body, is_html) = body(&message);
        let mut recipients = addresses(&message, HeaderName::To);
        recipients.extend(addresses(&message, HeaderName::Cc));
        let content_type = message
            .content_type()
            .map_or_else(
                || "text/plain".to_owned(),
                |kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default()),
            )
            .to_ascii_lowercase();
        let sender = message.from().and_then(|from| from.first());
        let sender = (
            sender.and_then(|one| one.address()).unwrap_or_default().to_owned(),
            sender.and_then(|one| one.name()).map(str::to_owned),
        );
        let is_report = content_type == "multipart/report"
            || message.parts.iter().any(|part| part.is_content_type("message", "delivery-status"));
        Ok(Self {
            id: one("Message-ID").unwrap_or_else(|| made_up(&raw, &sender.0)),
            in_reply_to: one("In-Reply-To"),
            references: one("References"),
            reply_to: one("Reply-To"),
            to: all("To"),
            cc: all("Cc"),
            subject: message.subject().unwrap_or_default().to_owned(),
            attachments: attachments(&message),
            correlation_id: one("Meshagent-Correlation-ID"),
            delivered_to: one("Delivered-To"),
            return_path: one("Return-Path"),
            auto_submitted: one("Auto-Submitted"),
            precedence: one("Precedence"),
            list_id: one("List-Id"),
            is_multipart: content_type.starts_with("multipart/"),
            content_type,
            is_report,
            from,
            sender,
            recipients,
            body,
            is_html,
            raw: Vec::new(),
        }
        .with(raw))
    }

    fn with(self, raw: Vec<u8>) -> Self {
        Self { raw, ..self }
    }

    /// Why nobody answers this message; `None`: it is work.
    #[must_use]
    pub fn ignored_by(&self, address: &str) -> Option<&'static str> {
        let own = address.to_ascii_lowercase();
        let delivered = self.delivered_to.as_ref().is_some_and(|to| to.eq_ignore_ascii_case(&own));
        if !self.recipients.contains(&own) && !delivered {
            return Some("it is not addressed to this mailbox");
        }
        let is = |value: &Option<String>, words: &[&str]| {
            value.as_ref().is_some_and(|value| words.iter().any(|word| value.eq_ignore_ascii_case(word)))
        };
        let from = self.sender.0.to_ascii_lowercase();
        let subject = self.subject.to_lowercase();
        let bounce = [
            "delivery status notification",
            "undelivered mail",
            "returned to sender",
            "mail delivery subsystem",
            "failure notice",
        ];
        if self.is_report {
            Some("it is a delivery report")
        } else if self.auto_submitted.is_some() && !is(&self.auto_submitted, &["no"]) {
            Some("a program sent it on its own account")
        } else if is(&self.precedence, &["bulk", "junk", "list", "auto_reply", "auto-reply"]) {
            Some("it is bulk mail")
        } else if self.return_path.as_deref() == Some("<>") {
            Some("it is from nobody")
        } else if from.contains("mailer-daemon") || from.starts_with("postmaster@") {
            Some("it is from a mail server")
        } else if from == own {
            Some("it is from this mailbox")
        } else if bounce.iter().any(|words| subject.contains(words)) {
            Some("its subject is a bounce's")
        } else {
            None
        }
    }

    /// What a turn is told.
    #[must_use]
    pub fn prompt(&self) -> String {
        let mut lines = vec!["Incoming email message:".to_owned(), format!("From: {}", self.from)];
        if !self.to.is_empty() {
            lines.push(format!("To: {}", self.to.join(", ")));
        }
        if !self.cc.is_empty() {
            lines.push(format!("Cc: {}", self.cc.join(", ")));
        }
        lines.push(format!("Subject: {}", self.subject));
        lines.push(String::new());
        lines.push(cut(&self.body, BODY_BYTES_MAX));
        lines.join("\n")
    }

    /// What a new thread is named after.
    #[must_use]
    pub fn topic(&self) -> &str {
        let first = self.body.lines().map(str::trim).find(|line| !line.is_empty());
        [Some(self.subject.trim()), first, Some(self.sender.0.as_str())]
            .into_iter()
            .flatten()
            .find(|text| !text.is_empty())
            .unwrap_or("New Mail")
    }

    /// `message.json`, with the room paths of the attachments.
    #[must_use]
    pub fn record(&self, thread: &str, path: &str, attachments: &[String]) -> Value {
        let body_type = if self.is_html { "text/html" } else { "text/plain" };
        json!({
            "id": self.id, "in_reply_to": self.in_reply_to,
            "reply_to": self.reply_to.as_ref().unwrap_or(&self.from), "references": self.references,
            "from": self.from, "to": self.to, "cc": self.cc, "subject": self.subject, "body": self.body,
            "attachments": attachments, "role": "user", "correlation_id": self.correlation_id,
            "meta": {
                "delivered_to": self.delivered_to, "return_path": self.return_path, "to": self.to, "cc": self.cc,
                "auto_submitted": self.auto_submitted, "precedence": self.precedence, "list_id": self.list_id,
                "content_type": self.content_type, "is_multipart": self.is_multipart,
                "body_content_type": body_type,
                "dsn": {"is_dsn": self.is_report, "status": null, "action": null, "diagnostic_code": null,
                    "final_recipient": null},
            },
            "thread_id": thread, "path": path,
        })
    }
}

fn body(message: &Message<'_>) -> (String, bool) {
    // `body_text` makes text of HTML where that is all there is.
    let only_html = message
        .text_part(0)
        .or_else(|| message.html_part(0))
        .is_some_and(|part| matches!(part.body, PartType::Html(_)));
    let text = message.body_text(0).or_else(|| message.body_html(0)).unwrap_or_default();
    (text.into_owned(), only_html)
}

fn attachments(message: &Message<'_>) -> Vec<Attachment> {
    let mut taken: Vec<Attachment> = Vec::new();
    for part in message.attachments().take(ATTACHMENTS_MAX) {
        let name = file_name(part.attachment_name().unwrap_or("attachment.bin"));
        let clash = taken.iter().filter(|other| other.name == name).count();
        let name = if clash == 0 { name } else { format!("{}-{name}", taken.len() + 1) };
        let bytes = match part.message() {
            Some(inner) => inner.raw_message().to_vec(),
            None => part.contents().to_vec(),
        };
        taken.push(Attachment { name, bytes });
    }
    taken
}

/// A name that stays in its folder.
fn file_name(text: &str) -> String {
    let last = text.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String =
        last.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect::<String>().trim().to_owned();
    if plain.trim_matches('.').is_empty() { "attachment.bin".to_owned() } else { plain }
}

fn addresses(message: &Message<'_>, name: HeaderName<'static>) -> Vec<String> {
    message
        .header_values(name)
        .filter_map(|value| value.as_address())
        .flat_map(|all| all.iter())
        .filter_map(|one| one.address().map(str::to_ascii_lowercase))
        .collect()
}

fn unfolded(value: &str) -> String {
    value.split(['\r', '\n']).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The same message gets the same name every time.
fn made_up(raw: &[u8], sender: &str) -> String {
    let domain = sender.rsplit_once('@').map_or("local", |(_, domain)| domain);
    format!("<{}@{}>", uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, raw), domain.to_ascii_lowercase())
}

fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}\n[the message is longer; the rest is left out]", &text[..end])
}

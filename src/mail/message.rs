//! What the server reads of a message, and the lines it puts before it. Bodies are not looked at: whoever gets the
//! mail reads its parts. Pure.

use super::Address;
use chrono::{DateTime, Utc};
use mail_parser::{HeaderName, MessageParser};
use std::net::IpAddr;

/// Longest header section, bytes.
pub const HEADER_BYTES_MAX: usize = 256 * 1024;
/// Servers that a message may have passed; one that saw more goes round in circles.
pub const HOPS_MAX: usize = 30;
/// Longest name that a client may have given itself, as it is written down.
const HELLO_BYTES_MAX: usize = 255;

/// What of a message's header matters for taking and delivering it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Who it says it is from, one or more.
    pub from: Vec<Address>,
    pub message_id: Option<String>,
    pub subject: String,
    pub has_date: bool,
    /// `Received:` lines, one per server it passed.
    pub hops: usize,
    /// Mailboxes that it was put into already.
    pub delivered_to: Vec<String>,
    /// A delivery report (`multipart/report`).
    pub is_report: bool,
    /// Sent by a program on its own account.
    pub is_automatic: bool,
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the message has no header")]
    NoHeader,
    #[error("the header of the message is longer than {HEADER_BYTES_MAX} bytes")]
    HeaderTooLong,
    #[error("the message has no From header with an address")]
    NoFrom,
    #[error("the message has more than one From header")]
    SeveralFrom,
    #[error("an address in the From header cannot be read; write each as name@domain")]
    BadFrom,
}

/// Reads the header. The message has CRLF line ends.
pub fn read(message: &[u8]) -> Result<Facts, Unreadable> {
    let header = header(message)?;
    let parsed = MessageParser::new().parse_headers(header).ok_or(Unreadable::NoHeader)?;
    let text = |name: &'static str| parsed.header_raw(name).map(str::trim).unwrap_or_default();
    if parsed.header_values(HeaderName::From).count() > 1 {
        return Err(Unreadable::SeveralFrom);
    }
    let listed: Vec<Option<Address>> = parsed
        .from()
        .into_iter()
        .flat_map(|all| all.iter())
        .map(|one| one.address().and_then(|text| text.parse().ok()))
        .collect();
    let from: Vec<Address> = listed.iter().flatten().cloned().collect();
    // None may be left out: whoever looks at the message sees it, and nobody would have checked it.
    if !from.is_empty() && from.len() < listed.len() {
        return Err(Unreadable::BadFrom);
    }
    if from.is_empty() {
        return Err(Unreadable::NoFrom);
    }
    let delivered_to = parsed
        .headers_raw()
        .filter(|(name, _)| name.eq_ignore_ascii_case("Delivered-To"))
        .map(|(_, value)| value.trim().to_ascii_lowercase())
        .collect();
    let submitted = text("Auto-Submitted");
    Ok(Facts {
        message_id: parsed.message_id().map(str::to_owned),
        subject: parsed.subject().unwrap_or_default().to_owned(),
        has_date: parsed.date().is_some(),
        hops: parsed.header_values(HeaderName::Received).count(),
        delivered_to,
        is_report: text("Content-Type").to_ascii_lowercase().starts_with("multipart/report"),
        is_automatic: !submitted.is_empty() && !submitted.eq_ignore_ascii_case("no"),
        from,
    })
}

/// The header section, with the empty line that ends it.
pub(super) fn header(message: &[u8]) -> Result<&[u8], Unreadable> {
    const END: &[u8] = b"\r\n\r\n";
    let within = &message[..message.len().min(HEADER_BYTES_MAX)];
    match within.windows(END.len()).position(|window| window == END) {
        Some(at) => Ok(&within[..at + END.len()]),
        None if message.len() > HEADER_BYTES_MAX => Err(Unreadable::HeaderTooLong),
        None if message.is_empty() => Err(Unreadable::NoHeader),
        None => Ok(within),
    }
}

/// How a message came in: what its `Received:` line says.
#[derive(Clone, Debug)]
pub struct Trace {
    /// What the client called itself.
    pub hello: String,
    /// `None`: from within this server.
    pub peer: Option<IpAddr>,
    /// This server's name.
    pub host: String,
    /// `SMTP`, `ESMTP`, `ESMTPS`, `ESMTPSA`, …
    pub with: &'static str,
    pub id: String,
    pub at: DateTime<Utc>,
}

impl Trace {
    /// The `Received:` line, with its end.
    #[must_use]
    pub fn line(&self, recipient: Option<&str>) -> String {
        let from = match self.peer {
            Some(peer) => format!("from {} ([{peer}])\r\n\t", printable(&self.hello)),
            None => String::new(),
        };
        let to = recipient.map(|to| format!("\r\n\tfor <{to}>")).unwrap_or_default();
        let (host, with, id, at) = (printable(&self.host), self.with, &self.id, self.at.to_rfc2822());
        format!("Received: {from}by {host} (meshagent) with {with} id {id}{to};\r\n\t{at}\r\n")
    }
}

/// The message as a mailbox gets it: who sent it, where it was put and how it came, then the message.
#[must_use]
pub fn delivered(trace: &Trace, from: Option<&Address>, mailbox: &str, message: &[u8]) -> Vec<u8> {
    let from = from.map(Address::to_string).unwrap_or_default();
    let lines = format!("Return-Path: <{from}>\r\nDelivered-To: {mailbox}\r\n{}", trace.line(Some(mailbox)));
    [lines.as_bytes(), message].concat()
}

/// What a client said, without what would break a header.
fn printable(text: &str) -> String {
    let plain: String = text
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || ".-:[]_".contains(*c))
        .take(HELLO_BYTES_MAX)
        .collect();
    if plain.is_empty() { "unknown".to_owned() } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_of_the_header_goes_unread() {
        for from in [
            "\"ceo\"@corp.test, agent@corp.test",
            "agent@corp.test, \u{e4}@corp.test",
            "a@b@c.test, x@y.test",
        ] {
            let text = format!("From: {from}\r\nSubject: x\r\n\r\nhi\r\n");
            assert_eq!(read(text.as_bytes()).map(|facts| facts.from), Err(Unreadable::BadFrom), "{from}");
        }
        let text = b"From: A <a@x.test>, b@x.test\r\n\r\n";
        assert_eq!(read(text).unwrap().from.len(), 2);
    }

    #[test]
    fn the_header_says_who_and_how_often() {
        let facts = read(
            b"Received: from a\r\nReceived: from b\r\nDelivered-To: Help@X.test\r\nFrom: Ann <ann@y.test>\r\n\
              Message-ID: <1@y.test>\r\nAuto-Submitted: auto-replied\r\n\
              Content-Type: Multipart/Report; report-type=delivery-status\r\nSubject: hi\r\n\r\nbody\r\n",
        )
        .unwrap();
        assert_eq!(facts.from, ["ann@y.test".parse().unwrap()]);
        assert_eq!(facts.message_id.as_deref(), Some("1@y.test"));
        assert_eq!((facts.hops, facts.subject.as_str()), (2, "hi"));
        assert_eq!(facts.delivered_to, ["help@x.test"]);
        assert!(facts.is_report && facts.is_automatic);
        let plain = read(b"From: ann@y.test\r\nAuto-Submitted: no\r\n\r\n").unwrap();
        assert!(!plain.is_report && !plain.is_automatic && plain.message_id.is_none());
    }

    #[test]
    fn headers_that_could_mean_two_things_are_refused() {
        assert_eq!(read(b""), Err(Unreadable::NoHeader));
        assert_eq!(read(b"Subject: x\r\n\r\n"), Err(Unreadable::NoFrom));
        assert_eq!(read(b"From: nobody\r\n\r\n"), Err(Unreadable::NoFrom));
        assert_eq!(read(b"From: a@b.c\r\nFrom: d@e.f\r\n\r\n"), Err(Unreadable::SeveralFrom));
        let long = format!("X: {}\r\n", "y".repeat(HEADER_BYTES_MAX));
        assert_eq!(read(format!("{long}From: a@b.c\r\n\r\n").as_bytes()), Err(Unreadable::HeaderTooLong));
    }

    #[test]
    fn a_tree_of_a_thousand_parts_is_taken_for_what_its_header_says() {
        let mut text = "From: a@b.c\r\nContent-Type: multipart/mixed; boundary=0\r\n\r\n".to_owned();
        for n in 0..1000 {
            text += &format!("--{n}\r\nContent-Type: multipart/mixed; boundary={}\r\n\r\n", n + 1);
        }
        assert_eq!(read(text.as_bytes()).unwrap().from.len(), 1);
    }

    #[test]
    fn a_mailbox_gets_the_message_with_how_it_came() {
        let trace = Trace {
            hello: "evil\r\nX-Injected: 1".to_owned(),
            peer: Some("192.0.2.1".parse().unwrap()),
            host: "mail.test".to_owned(),
            with: "ESMTP",
            id: "7".to_owned(),
            at: DateTime::UNIX_EPOCH,
        };
        let from = "ann@y.test".parse().unwrap();
        let text = delivered(&trace, Some(&from), "help@x.test", b"From: ann@y.test\r\n\r\nhi\r\n");
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "Return-Path: <ann@y.test>\r\nDelivered-To: help@x.test\r\n\
             Received: from evilX-Injected:1 ([192.0.2.1])\r\n\tby mail.test (meshagent) with ESMTP id 7\r\n\t\
             for <help@x.test>;\r\n\tThu, 1 Jan 1970 00:00:00 +0000\r\nFrom: ann@y.test\r\n\r\nhi\r\n"
        );
        assert!(delivered(&trace, None, "h@x", b"").starts_with(b"Return-Path: <>\r\n"));
    }
}

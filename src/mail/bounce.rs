//! The report that a sender gets about mail that could not be delivered (RFC 3464). Pure.

use super::outbox::{Claimed, Report};
use chrono::{DateTime, Utc};
use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address as Mailbox;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::MimePart;
use std::io;

/// Bytes of the original's header that go back.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// The report, from this server's postmaster to the sender.
pub fn report(claimed: &Claimed, why: &Report, host: &str, now: DateTime<Utc>) -> io::Result<Vec<u8>> {
    let said = why.description.clone().unwrap_or_else(|| "no reason was given".to_owned());
    let said: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let status = why.enhanced_smtp_code.clone().unwrap_or_else(|| "5.0.0".to_owned());
    let text = format!(
        "This message could not be delivered to {}:\r\n\r\n    {said}\r\n\r\nIt was tried {} times. Nothing more is done.\r\n",
        claimed.recipient, claimed.attempt
    );
    let remote = why.mx_host.as_ref().map(|host| format!("Remote-MTA: dns; {host}\r\n")).unwrap_or_default();
    let machine = format!(
        "Reporting-MTA: dns; {host}\r\nArrival-Date: {}\r\n\r\nFinal-Recipient: rfc822; {}\r\nAction: failed\r\n\
         Status: {status}\r\n{remote}Diagnostic-Code: smtp; {said}\r\n",
        claimed.submitted_at.to_rfc2822(),
        claimed.recipient
    );
    let parts = vec![
        MimePart::new("text/plain; charset=utf-8", text),
        MimePart::new("message/delivery-status", machine.into_bytes()).transfer_encoding("7bit"),
        MimePart::new("text/rfc822-headers", header(&claimed.message)),
    ];
    MessageBuilder::new()
        .from(Mailbox::new_address(Some("Mail Delivery"), format!("mailer-daemon@{host}")))
        .to(claimed.sender.to_string())
        .subject("Undelivered mail")
        .date(now.timestamp())
        .message_id(format!("bounce.{}@{host}", claimed.id.simple()))
        .in_reply_to(claimed.message_id.clone())
        .header("Auto-Submitted", Raw::new("auto-replied"))
        .body(MimePart::new("multipart/report; report-type=delivery-status", parts))
        .write_to_vec()
}

fn header(message: &[u8]) -> Vec<u8> {
    let end = message.windows(4).position(|window| window == b"\r\n\r\n").map_or(message.len(), |at| at + 2);
    message[..end.min(HEADER_BYTES_MAX)].to_vec()
}

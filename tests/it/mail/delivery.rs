//! Mail goes out.

use super::Office;
use crate::support::mail::{PATIENCE, Post, certificate, free_port, openssl, programs, swaks};
use serde_json::Value;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Instant;

const BOT: &str = "bot@desk.test";
const LIST: &str = "list@desk.test";

/// A server with a submission service, and a token of an agent in its room.
fn office(arguments: &[&str]) -> (Office, String) {
    let mut all = vec!["--smtp-submission", "127.0.0.1:0", "--mail-domain", "desk.test", "--smtp-retry", "1"];
    all.extend(arguments);
    let office = Office::open(&all);
    office.mailbox(BOT, &[]);
    let token = token(&office, "desk");
    (office, token)
}

fn token(office: &Office, room: &str) -> String {
    let text = format!(
        "version: v1\nkind: ParticipantToken\nroom: {room}\nidentity: bot\nrole: agent\napi: {{llm: {{}}, messaging: {{}}}}\n"
    );
    let file = office.person.file(&format!("{room}.yaml"), &text);
    office.person.run(&["token", "--input", &file]).ok().stdout.trim().to_owned()
}

impl Office {
    fn submission(&self) -> SocketAddr {
        self.port("smtp_submission")
    }

    fn deliveries(&self, more: &[&str]) -> Vec<Value> {
        let mut all = vec!["mailbox", "deliveries", BOT, "-o", "json"];
        all.extend(more);
        self.person.run(&all).json()["deliveries"].as_array().unwrap().clone()
    }

    /// Waits until the newest delivery stands so.
    fn wait_for(&self, status: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let newest = self.deliveries(&[]).into_iter().next().unwrap_or_default();
            if newest["status"] == status {
                return newest;
            }
            assert!(Instant::now() < deadline, "want {status}: {newest}");
        }
    }
}

fn send<'a>(from: &'a str, to: &'a str, token: &'a str) -> Vec<&'a str> {
    vec!["--from", from, "--to", to, "--auth-user", "bot", "--auth-password", token, "--auth", "PLAIN"]
}

fn relay(address: SocketAddr) -> String {
    format!("smtp://{address}")
}

#[test]
fn a_real_server_gets_what_an_agent_sends_signed_and_once() {
    if !programs() {
        return;
    }
    let post = Post::start();
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("dkim.pem").display().to_string();
    openssl(Command::new("openssl").args(["genrsa", "-out", &key, "2048"]));
    let (office, token) = office(&["--smtp-relay", &relay(post.address), "--dkim-key", &key]);
    for mechanism in ["PLAIN", "LOGIN"] {
        let mut all = send(BOT, "ann@far.test", &token);
        *all.last_mut().unwrap() = mechanism;
        all.extend([
            "--h-Subject",
            "Grüße",
            "--body",
            "Hello.\n.\nBye.\n",
            "--add-header",
            "In-Reply-To: <q@far.test>",
        ]);
        let said = swaks(office.submission(), &all).ok().said;
        assert!(said.contains("250-AUTH PLAIN LOGIN") || said.contains("250 AUTH PLAIN LOGIN"), "{said}");
    }
    let received = post.wait_for(2);
    let text = &received[0];
    assert!(text.contains("X-MailFrom: bot@desk.test") && text.contains("X-RcptTo: ann@far.test"), "{text}");
    assert!(text.contains("In-Reply-To: <q@far.test>") && text.contains("with ESMTPA id"), "{text}");
    assert_eq!(verify(text, &key), "True", "{text}");
    let delivery = office.wait_for("delivered");
    assert_eq!((&delivery["recipient"], &delivery["attempt_count"]), (&"ann@far.test".into(), &1.into()));
    assert_eq!((&delivery["smtp_code"], &delivery["mx_host"]), (&250.into(), &"127.0.0.1".into()));
    assert_eq!(office.deliveries(&["--status", "delivered"]).len(), 2);
    assert_eq!(office.deliveries(&["--status", "failed"]).len(), 0);
    let id = delivery["id"].as_str().unwrap();
    let events = office.person.run(&["mailbox", "delivery-events", BOT, id, "-o", "json"]).json();
    let kinds: Vec<&str> =
        events["events"].as_array().unwrap().iter().map(|one| one["event_type"].as_str().unwrap()).collect();
    assert_eq!((kinds, &events["total"]), (vec!["accepted", "delivered"], &2.into()));
    let one = office.person.run(&["mailbox", "delivery", BOT, id]).json();
    assert_eq!(one, delivery);
    office.person.run(&["mailbox", "delivery", BOT, "none"]).fails(1, &["has no delivery `none`"]);
    assert_eq!(post.messages().len(), 2);
}

/// What Debian's DKIM verifier says of a message.
fn verify(message: &str, key: &str) -> String {
    let der = openssl(Command::new("openssl").args(["rsa", "-in", key, "-pubout", "-outform", "DER"]));
    let public = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
    let script = "import dkim, sys\n\
        record = ('v=DKIM1; k=rsa; p=' + sys.argv[1]).encode()\n\
        text = sys.stdin.buffer.read().replace(b'\\r\\n', b'\\n').replace(b'\\n', b'\\r\\n')\n\
        names = {b'meshagent._domainkey.desk.test.': record}\n\
        print(dkim.DKIM(text).verify(dnsfunc=lambda name, timeout=5: names[name]))";
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", script, &public])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(message.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

#[test]
fn only_participants_send_and_only_as_mailboxes_of_theirs() {
    if !programs() {
        return;
    }
    let (office, token) = office(&["--smtp-relay", "smtp://127.0.0.1:1"]);
    office.person.run(&["rooms", "create", "other"]).ok();
    let try_send = |from: &str, to: &str, token: &str, more: &[&str]| {
        let mut all = send(from, to, token);
        all.extend(more);
        swaks(office.submission(), &all)
    };
    try_send(BOT, "a@far.test", "no token", &[]).refused("535 5.7.8");
    try_send(BOT, "a@far.test", &format!("{token}x"), &[]).refused("535 5.7.8");
    try_send("eve@far.test", "a@far.test", &token, &[]).refused("550 5.7.1");
    try_send(BOT, "a@far.test", &token, &["--h-From", "boss@corp.test"]).refused("550 5.7.1");
    try_send(BOT, "a@far.test", &self::token(&office, "other"), &[]).refused("550 5.7.1");
    try_send(BOT, "nobody@desk.test", &token, &[]).refused("550 5.1.1");
    swaks(office.submission(), &["--from", BOT, "--to", "a@far.test"]).refused("530 5.7.0");
    assert_eq!(office.deliveries(&[]).len(), 0);
}

#[test]
fn mailboxes_here_get_mail_without_a_way_out() {
    if !programs() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(dir.path());
    let (office, token) = office(&["--smtp-tls-cert", &cert, "--smtp-tls-key", &key]);
    office.mailbox(LIST, &[]);
    let mut all = send(BOT, LIST, &token);
    all.extend(["--tls", "--tls-verify", "--tls-ca-path", &cert, "--h-Message-Id", "<one@desk.test>"]);
    // An agent that did not hear the answer sends its message again.
    for _ in 0..2 {
        swaks(office.submission(), &all).ok();
    }
    office.wait_for("delivered");
    let text = office.receive(LIST);
    assert!(text.starts_with(&format!("Return-Path: <{BOT}>\r\nDelivered-To: {LIST}\r\n")), "{text}");
    assert!(text.contains(" with ESMTPSA id "), "{text}");
    assert_eq!((office.size(LIST), office.deliveries(&[]).len()), (0, 1));
    swaks(office.submission(), &send(BOT, "a@far.test", &token)).refused("550 5.7.1");
}

#[test]
fn what_cannot_be_delivered_comes_back_to_its_mailbox() {
    if !programs() {
        return;
    }
    // Another server of ours, which knows no such mailbox.
    let far = Office::open(&[]);
    let (office, token) = office(&["--smtp-relay", &relay(far.smtp())]);
    let mut all = send(BOT, "ann@far.test", &token);
    all.extend(["--h-Message-Id", "<lost@desk.test>"]);
    swaks(office.submission(), &all).ok();
    let failed = office.wait_for("failed");
    assert_eq!((&failed["smtp_code"], &failed["enhanced_smtp_code"]), (&550.into(), &"5.1.1".into()));
    let report = office.receive(BOT);
    assert!(report.starts_with("Return-Path: <>\r\n"), "{report}");
    for part in [
        "multipart/report",
        "message/delivery-status",
        "Auto-Submitted: auto-replied",
        "Final-Recipient: rfc822; ann@far.test",
        "Status: 5.1.1",
        "<lost@desk.test>",
    ] {
        assert!(report.contains(part), "want {part} in {report}");
    }
    assert_eq!(office.size(BOT), 0);
}

#[test]
fn mail_waits_for_a_server_that_is_away_through_kill_9_and_arrives_once() {
    if !programs() {
        return;
    }
    let address = free_port();
    let (mut office, token) = office(&["--smtp-relay", &relay(address)]);
    for n in 0..5 {
        swaks(office.submission(), &send(BOT, &format!("ann{n}@far.test"), &token)).ok();
    }
    let waiting = office.wait_for("deferred");
    assert_eq!(waiting["reason"], "unreachable");
    office.server.kill_9();
    office.server.restart();
    assert_eq!(office.deliveries(&[]).len(), 5, "what was acknowledged is there");
    let post = Post::start_at(address);
    let received = post.wait_for(5);
    let deadline = Instant::now() + PATIENCE;
    while office.deliveries(&["--status", "delivered"]).len() < 5 {
        assert!(Instant::now() < deadline, "{:#?}", office.deliveries(&[]));
    }
    for n in 0..5 {
        let to = format!("X-RcptTo: ann{n}@far.test");
        assert_eq!(received.iter().filter(|text| text.contains(&to)).count(), 1, "{to}");
    }
    assert_eq!(post.messages().len(), 5);
}

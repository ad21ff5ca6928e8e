//! Mail comes in.

use super::Office;
use crate::support::mail::{certificate, programs, swaks};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const OPEN: &str = "open@desk.test";
const CLOSED: &str = "closed@desk.test";
const LISTED: &str = r#"{"meshagent.mail.senders": "boss@corp.test, @friends.test"}"#;

fn office(arguments: &[&str]) -> Office {
    let office = Office::open(arguments);
    office.mailbox(OPEN, &["--public"]);
    office.mailbox(CLOSED, &["-n", LISTED]);
    office
}

#[test]
fn an_address_belongs_to_one_mailbox_of_the_servers_domain() {
    let office = Office::open(&["--mail-domain", "desk.test"]);
    office.mailbox("help@desk.test", &[]);
    let create = |address: &str| {
        let all = ["mailbox", "create", "--address", address, "--room", "desk", "--queue", "q"];
        office.person.run(&all)
    };
    for (address, why) in [
        ("Help@desk.test", "already in use"),
        ("help+orders@desk.test", "has a tag"),
        ("ceo@bank.test", "name@desk.test"),
        ("\"a b\"@desk.test", "not a mail address"),
    ] {
        let refused = create(address);
        assert_ne!(refused.code, 0, "{address}");
        assert!(refused.stderr.contains(why), "{address}: {}", refused.stderr);
    }
    create("Other@Desk.Test").ok();
}

#[test]
fn a_message_becomes_an_item_with_all_its_bytes() {
    if !programs() {
        return;
    }
    let office = office(&[]);
    let sent = swaks(
        office.smtp(),
        &[
            "--from",
            "ann@far.test",
            "--to",
            "Open+orders@DESK.test",
            "--header",
            "Subject: Grüße",
            "--body",
            "Hi.\n.\nBye.",
        ],
    );
    let said = sent.ok().said;
    assert!(said.contains("PIPELINING") && !said.contains("AUTH") && !said.contains("STARTTLS"), "{said}");
    let text = office.receive(OPEN);
    let (added, message) = text.split_at(text.find("Date:").unwrap());
    assert!(
        added.starts_with(&format!(
            "Return-Path: <ann@far.test>\r\nDelivered-To: {OPEN}\r\nReceived: from client.test ([127.0.0.1])\r\n"
        )),
        "{added}"
    );
    assert!(
        message.contains("\r\nSubject: Grüße\r\n") && message.contains("\r\n\r\nHi.\r\n.\r\nBye."),
        "{message}"
    );
    assert_eq!(office.size(OPEN), 0);
}

#[test]
fn who_may_not_write_is_told_so_before_the_message() {
    if !programs() {
        return;
    }
    let office = office(&[]);
    let send = |from: &str, to: &str, more: &[&str]| {
        let mut all = vec!["--from", from, "--to", to];
        all.extend(more);
        swaks(office.smtp(), &all)
    };
    send("boss@corp.test", CLOSED, &[]).ok();
    send("who@friends.test", CLOSED, &[]).ok();
    send("ann@far.test", CLOSED, &[]).refused("550 5.7.1");
    send("ann@far.test", "nobody@desk.test", &[]).refused("550 5.1.1");
    send("ann@far.test", "someone@elsewhere.test", &[]).refused("550 5.1.1");
    // The envelope is one that may write, the message says something else.
    send("boss@corp.test", CLOSED, &["--h-From", "Eve <eve@far.test>"]).refused("550 5.7.1");
    // Nobody from outside is one of our own mailboxes.
    send(OPEN, CLOSED, &[]).refused("550 5.7.1");
    send("boss@corp.test", CLOSED, &["--h-From", OPEN]).refused("550 5.7.1");
    send("<>", CLOSED, &["--h-From", "boss@corp.test"]).refused("550 5.7.1");
    assert_eq!((office.size(CLOSED), office.size(OPEN)), (2, 0));
    // One of two recipients is known.
    send("ann@far.test", &format!("{OPEN},nobody@desk.test"), &[]);
    assert_eq!(office.size(OPEN), 1);
}

#[test]
fn a_message_that_is_too_large_is_refused_whether_announced_or_not() {
    if !programs() {
        return;
    }
    let office = office(&["--smtp-message-mib", "2"]);
    let body = office.person.file("large.txt", &"0123456789abcdef0123456789abcdef\n".repeat(50_000));
    let fits = ["--from", "a@far.test", "--to", OPEN, "--body", &format!("@{body}")];
    swaks(office.smtp(), &fits).ok();
    assert_eq!(office.receive(OPEN).len() / 1_000_000, 1);
    // 50 MB.
    let body = office.person.file("huge.txt", &"0123456789abcdef0123456789abcdef\n".repeat(1_500_000));
    let large = ["--from", "a@far.test", "--to", OPEN, "--body", &format!("@{body}")];
    swaks(office.smtp(), &large).refused("552 5.3.4");
    let mut talk = Talk::with(office.smtp());
    talk.say("EHLO c.test", "250");
    talk.say(&format!("MAIL FROM:<a@far.test> SIZE={}", 3 * 1024 * 1024), "552 5.3.4");
    assert_eq!(office.size(OPEN), 0);
}

#[test]
fn loops_and_messages_that_mean_two_things_are_refused() {
    if !programs() {
        return;
    }
    let office = office(&[]);
    let send = |headers: &str| {
        let mut talk = Talk::with(office.smtp());
        for (line, answer) in [
            ("EHLO c.test", "250"),
            ("MAIL FROM:<boss@corp.test>", "250"),
            (&format!("RCPT TO:<{CLOSED}>"), "250"),
            ("DATA", "354"),
        ] {
            talk.say(line, answer);
        }
        talk.ask(&format!("{headers}\r\nbody\r\n."))
    };
    let hops = "Received: from a by b; Thu, 1 Jan 1970 00:00:00 +0000\r\n".repeat(31);
    for (headers, answer) in [
        (format!("{hops}From: boss@corp.test\r\n"), "554 5.4.6"),
        (format!("Delivered-To: {CLOSED}\r\nFrom: boss@corp.test\r\n"), "554 5.4.6"),
        ("Subject: nobody\r\n".to_owned(), "554 5.6.0"),
        ("From: boss@corp.test\r\nFrom: eve@far.test\r\n".to_owned(), "554 5.6.0"),
        ("From: boss@corp.test, eve@far.test\r\n".to_owned(), "550 5.7.1"),
        ("From: boss@corp.test\r\n\r\nbare\nline\r\n".to_owned(), "550 5.6.11"),
        ("From: boss@corp.test\r\n\r\n\0\r\n".to_owned(), "550 5.6.0"),
    ] {
        let said = send(&headers);
        assert!(said.starts_with(answer), "{headers}: {said}");
    }
    // A tree of parts that never ends is still one message; its reader decides.
    let mut tree =
        "From: boss@corp.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=0\r\n\r\n"
            .to_owned();
    for n in 0..500 {
        tree += &format!("--{n}\r\nContent-Type: multipart/mixed; boundary={}\r\n\r\n", n + 1);
    }
    assert!(send(&tree).starts_with("250 "));
    assert_eq!(office.size(CLOSED), 1);
}

#[test]
fn a_connection_can_be_encrypted() {
    if !programs() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(dir.path());
    let office = office(&["--smtp-tls-cert", &cert, "--smtp-tls-key", &key]);
    swaks(
        office.smtp(),
        &["--from", "a@far.test", "--to", OPEN, "--tls", "--tls-verify", "--tls-ca-path", &cert],
    )
    .ok();
    assert!(office.receive(OPEN).contains(" with ESMTPS id "));
    swaks(office.smtp(), &["--from", "a@far.test", "--to", OPEN]).ok();
    // What somebody put behind STARTTLS before it was encrypted is not obeyed afterwards.
    let mut talk = Talk::with(office.smtp());
    talk.say("EHLO c.test", "250");
    talk.say("STARTTLS\r\nMAIL FROM:<evil@far.test>", "501");
}

#[test]
fn what_was_acknowledged_survives_kill_9_and_is_there_once() {
    if !programs() {
        return;
    }
    let mut office = office(&[]);
    let id = "Message-ID: <the-one@far.test>";
    let send = |office: &Office| {
        let all = [
            "--from",
            "a@far.test",
            "--to",
            OPEN,
            "--add-header",
            id,
            "--h-Date",
            "Thu, 1 Jan 1970 00:00:00 +0000",
        ];
        swaks(office.smtp(), &all).ok()
    };
    let said = send(&office).said;
    office.server.kill_9();
    office.server.restart();
    assert_eq!(office.size(OPEN), 1, "{said}");
    // The sender did not hear the answer and sends it again.
    let mut talk = Talk::with(office.smtp());
    for _ in 0..2 {
        for (line, answer) in [
            ("EHLO c.test", "250"),
            ("MAIL FROM:<a@far.test>", "250"),
            (&format!("RCPT TO:<{OPEN}>"), "250"),
            ("DATA", "354"),
            ("From: a@far.test\r\nMessage-ID: <again@far.test>\r\n\r\nx\r\n.", "250"),
        ] {
            talk.say(line, answer);
        }
    }
    assert_eq!(office.size(OPEN), 2);
}

#[test]
fn pipelined_commands_are_answered_in_order_and_lines_have_an_end() {
    let office = office(&[]);
    let mut talk = Talk::with(office.smtp());
    talk.say("EHLO c.test", "250");
    talk.send(&format!("MAIL FROM:<a@far.test>\r\nRCPT TO:<nobody@desk.test>\r\nRCPT TO:<{OPEN}>\r\nDATA"));
    let codes: Vec<String> = (0..4).map(|_| talk.answer()[..3].to_owned()).collect();
    assert_eq!(codes, ["250", "550", "250", "354"]);
    talk.say("From: a@far.test\r\n\r\nx\r\n.\r\nQUIT", "250");
    assert_eq!(&talk.answer()[..3], "221");
    let mut long = Talk::with(office.smtp());
    long.say(&"x".repeat(10_000), "500 5.5.2");
    assert_eq!(long.answer(), "", "the connection is closed");
}

/// A conversation by hand.
struct Talk {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Talk {
    fn with(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut talk = Self { lines: BufReader::new(stream.try_clone().unwrap()), stream };
        assert!(talk.answer().starts_with("220 "));
        talk
    }

    fn send(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    }

    /// The last line of the next answer; nothing when there is none.
    fn answer(&mut self) -> String {
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).unwrap_or(0);
            if read == 0 || line.as_bytes().get(3) == Some(&b' ') {
                return line;
            }
        }
    }

    fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.answer()
    }

    #[track_caller]
    fn say(&mut self, line: &str, answer: &str) {
        let said = self.ask(line);
        assert!(said.starts_with(answer), "want `{answer}` after `{line}`: {said}");
    }
}

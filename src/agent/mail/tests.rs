//! Letters and answers.

use super::letter::{Letter, Unreadable};
use super::reply::Outgoing;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

const OWN: &str = "bot@desk.test";

fn letter(text: &str) -> Letter {
    let text = text.replace('\n', "\r\n");
    Letter::read(&json!({"base64": STANDARD.encode(text)})).unwrap()
}

fn plain(headers: &str) -> Letter {
    letter(&format!("From: Ann Smith <Ann@far.test>\nTo: Bot <bot@desk.test>\n{headers}\nHello bot.\n"))
}

#[test]
fn a_letter_says_who_what_and_with_which_files() {
    let letter = letter(
        "Return-Path: <ann@far.test>\nDelivered-To: bot@desk.test\nMessage-ID: <1@far.test>\nIn-Reply-To:\n <0@desk.test>\n\
         From: =?utf-8?q?Ann_M=C3=BCller?= <Ann@far.test>\nTo: bot@desk.test, \"C, D\" <cd@far.test>\nCc: e@far.test\n\
         Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n\
         --b\nContent-Type: multipart/alternative; boundary=a\n\n--a\nContent-Type: text/plain; charset=utf-8\n\nHällo\n\
         --a\nContent-Type: text/html\n\n<b>no</b>\n--a--\n\
         --b\nContent-Type: application/pdf\nContent-Disposition: attachment; filename=\"../../etc/x.pdf\"\n\
         Content-Transfer-Encoding: base64\n\nAAEC\n\
         --b\nContent-Type: text/csv\nContent-Disposition: attachment; filename=x.pdf\n\n1,2\n--b--\n",
    );
    assert_eq!((letter.id.as_str(), letter.in_reply_to.as_deref()), ("<1@far.test>", Some("<0@desk.test>")));
    assert_eq!(letter.sender, ("Ann@far.test".to_owned(), Some("Ann Müller".to_owned())));
    assert_eq!(letter.subject, "Grüße");
    assert_eq!((letter.body.trim(), letter.is_html), ("Hällo", false));
    assert_eq!(letter.recipients, ["bot@desk.test", "cd@far.test", "e@far.test"]);
    let files: Vec<(&str, &[u8])> =
        letter.attachments.iter().map(|file| (file.name.as_str(), file.bytes.as_slice())).collect();
    assert_eq!(files[0], ("x.pdf", &[0, 1, 2][..]));
    assert_eq!(files[1].0, "2-x.pdf");
    assert_eq!(letter.ignored_by(OWN), None);
    let prompt = letter.prompt();
    assert!(
        prompt.starts_with("Incoming email message:\nFrom: ") && prompt.contains("\nSubject: Grüße\n\n"),
        "{prompt}"
    );
}

#[test]
fn html_alone_becomes_text_and_no_id_is_always_the_same_one() {
    let text = "From: a@far.test\nTo: bot@desk.test\nContent-Type: text/html\n\n<p>Hello <b>bot</b></p>\n";
    let (one, two) = (letter(text), letter(text));
    assert!(one.is_html && one.body.contains("Hello bot") && !one.body.contains('<'), "{}", one.body);
    assert_eq!(one.id, two.id);
    assert!(one.id.ends_with("@far.test>"));
    assert_eq!(one.topic(), "Hello bot");
}

#[test]
fn machines_and_strangers_mail_is_not_answered() {
    assert_eq!(plain("").ignored_by("BOT@desk.test"), None);
    assert_eq!(plain("Auto-Submitted: no\n").ignored_by(OWN), None);
    for headers in [
        "Auto-Submitted: auto-replied\n",
        "Auto-Submitted: auto-generated\n",
        "Precedence: bulk\n",
        "Precedence: List\n",
        "Return-Path: <>\n",
        "Subject: Undelivered Mail Returned to Sender\n",
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n",
    ] {
        assert!(plain(headers).ignored_by(OWN).is_some(), "{headers}");
    }
    for from in ["MAILER-DAEMON@far.test", "postmaster@far.test", "Bot <BOT@desk.test>"] {
        assert!(
            letter(&format!("From: {from}\nTo: bot@desk.test\n\nx\n")).ignored_by(OWN).is_some(),
            "{from}"
        );
    }
    let other = letter("From: a@far.test\nTo: c@far.test\n\nx\n");
    assert!(other.ignored_by(OWN).is_some());
    let blind = letter("Delivered-To: bot@desk.test\nFrom: a@far.test\nTo: c@far.test\n\nx\n");
    assert_eq!(blind.ignored_by(OWN), None);
}

#[test]
fn what_is_no_mail_is_said_to_be_none() {
    let read = |item| Letter::read(&item).unwrap_err();
    assert_eq!(read(json!({"prompt": "x"})), Unreadable::NoBase64);
    assert_eq!(read(json!("x")), Unreadable::NoBase64);
    assert_eq!(read(json!({"base64": "***"})), Unreadable::NotBase64);
    assert_eq!(read(json!({"base64": STANDARD.encode("")})), Unreadable::NoHeader);
    assert_eq!(read(json!({"base64": STANDARD.encode("Subject: x\r\n\r\ny")})), Unreadable::NoHeader);
}

#[test]
fn a_malformed_tree_of_parts_ends() {
    let mut text = "From: a@b.c\nTo: bot@desk.test\nContent-Type: multipart/mixed; boundary=0\n\n".to_owned();
    for n in 0..900 {
        text += &format!("--{n}\nContent-Type: multipart/mixed; boundary={}\n\n", n + 1);
    }
    let deep = Letter::read(&json!({"base64": STANDARD.encode(text.replace('\n', "\r\n"))}));
    assert!(deep.is_ok_and(|letter| letter.attachments.len() <= super::letter::ATTACHMENTS_MAX));
    let mut wide = "From: a@b.c\nTo: bot@desk.test\nContent-Type: multipart/mixed; boundary=b\n\n".to_owned();
    wide += &"--b\nContent-Type: text/plain\n\nx\n".repeat(2000);
    let wide = Letter::read(&json!({"base64": STANDARD.encode(wide.replace('\n', "\r\n"))}));
    assert_eq!(wide.unwrap_err(), Unreadable::TooManyParts);
}

#[test]
fn an_answer_goes_back_with_the_right_headers() {
    let letter = plain(
        "Message-ID: <2@far.test>\nReferences: <0@far.test>\n <1@desk.test>\nCc: c@far.test, bot@desk.test\nSubject: Help\n\
         Reply-To: Helpers <help@far.test>\nMeshagent-Correlation-ID: 77\n",
    );
    let body = "Yes:\n\n| a | b |\n|---|---|\n| 1 | <script>x</script> |\n";
    let answer = Outgoing::answer(&letter, OWN, true, "7", body, 0);
    assert_eq!(
        (answer.to.clone(), answer.cc.clone()),
        (vec!["help@far.test".to_owned()], vec!["c@far.test".to_owned()])
    );
    assert_eq!((answer.subject.as_str(), answer.id.as_str()), ("RE: Help", "<7@desk.test>"));
    let text = String::from_utf8(answer.bytes().unwrap()).unwrap();
    for part in [
        "Message-ID: <7@desk.test>",
        "In-Reply-To: <2@far.test>",
        "References: <0@far.test> <1@desk.test> <2@far.test>",
        "Meshagent-Correlation-ID: 77",
        "Auto-Submitted: auto-replied",
        "multipart/alternative",
        "<table>",
    ] {
        assert!(text.contains(part), "want {part} in {text}");
    }
    assert!(!text.contains("<td><script>"), "{text}");
    let alone = Outgoing::answer(&plain("Subject: re: Help\n"), OWN, false, "8", "x", 0);
    assert_eq!(
        (alone.subject.as_str(), alone.to, alone.cc),
        ("re: Help", vec!["ann@far.test".to_owned()], vec![])
    );
}

#[test]
fn an_answer_is_not_answered_by_another_agent() {
    let answer =
        Outgoing::answer(&plain("Message-ID: <2@far.test>\n"), OWN, false, "7", "x", 0).bytes().unwrap();
    let back = Letter::read(&json!({"base64": STANDARD.encode(answer)})).unwrap();
    assert!(back.ignored_by("ann@far.test").is_some());
}

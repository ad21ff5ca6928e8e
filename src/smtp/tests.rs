//! Conversations, line by line.

use super::desk::{Destination, Door, Offer, Submitter};
use super::reply::Reply;
use super::session::{RECIPIENTS_MAX, Session, Step};
use crate::id::{MailboxId, ProjectId};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

fn offer(door: Door) -> Offer {
    Offer { door, host: "mx.test".to_owned(), size_max: 1000, starttls: true, plain_login: false }
}

/// Plays a client's lines against a desk that knows `known@here.test`, any sender but `bad@…`, and the password `good`.
fn talk(session: &mut Session, lines: &[&str]) -> Vec<u16> {
    lines.iter().map(|line| say(session, line).1).collect()
}

fn say(session: &mut Session, line: &str) -> (Reply, u16) {
    let mut step = session.line(line.as_bytes());
    loop {
        step = match step {
            Step::Say(reply) | Step::Close(reply) | Step::StartTls(reply) | Step::Read(reply) => {
                let code = reply.code();
                return (reply, code);
            }
            Step::Sender(from) => {
                let bad = from.as_ref().is_some_and(|from| from.local() == "bad");
                let decided = if bad { Err(Reply::new(550, "5.7.1 no")) } else { Ok(()) };
                session.from_decided(from, decided)
            }
            Step::Recipient(to) => {
                let id = MailboxId::new(ProjectId::PLATFORM, Uuid::nil());
                let known = to.local().starts_with("known");
                let decided =
                    if known { Ok(Destination::Mailbox(id)) } else { Err(Reply::new(550, "5.1.1 no")) };
                session.to_decided(to, decided)
            }
            Step::Login(credentials) => {
                let good = credentials.password.expose() == b"good";
                let name = credentials.user;
                session.logged_in(if good {
                    Ok(Submitter { project: ProjectId::PLATFORM, name, room: None })
                } else {
                    Err(Reply::new(535, "5.7.8 no"))
                })
            }
        }
    }
}

#[test]
fn a_message_is_taken_in_order() {
    let mut session = Session::new(offer(Door::Receiver));
    let codes = talk(
        &mut session,
        &["EHLO c.test", "MAIL FROM:<a@b.test> SIZE=10 BODY=8BITMIME", "RCPT TO:<known@here.test>", "DATA"],
    );
    assert_eq!(codes, [250, 250, 250, 354]);
    let envelope = session.envelope();
    assert_eq!(envelope.from, Some("a@b.test".parse().unwrap()));
    assert_eq!(envelope.recipients.len(), 1);
    assert!(matches!(session.taken(Reply::new(250, "2.0.0 kept")), Step::Say(_)));
    assert_eq!(talk(&mut session, &["DATA", "MAIL FROM:<>", "NOOP", "QUIT"]), [503, 250, 250, 221]);
    assert_eq!(session.protocol(), "ESMTP");
}

#[test]
fn what_comes_in_the_wrong_order_or_cannot_be_read_is_refused() {
    let mut session = Session::new(offer(Door::Receiver));
    let codes = talk(
        &mut session,
        &[
            "MAIL FROM:<a@b.test>",
            "HELO c.test",
            "RCPT TO:<known@here.test>",
            "MAIL FROM:<a@b.test> SIZE=1001",
            "MAIL FROM:<bad@b.test>",
            "MAIL FROM:<not an address>",
            "MAIL FROM:<a@[127.0.0.1]>",
            "MAIL FROM:<a@b.test>",
            "MAIL FROM:<a@b.test>",
            "RCPT TO:<who@here.test>",
            "RCPT TO:<known@here.test",
            "DATA",
            "FOO",
            "EXPN staff",
            "VRFY known",
            "AUTH PLAIN AGEAZ29vZA==",
            "BDAT 10 LAST",
        ],
    );
    assert_eq!(codes, [503, 250, 503, 552, 550, 501, 501, 250, 503, 550, 501, 554, 500, 502, 252, 502, 502]);
}

#[test]
fn recipients_and_faults_are_bounded() {
    let mut session = Session::new(offer(Door::Receiver));
    talk(&mut session, &["EHLO c", "MAIL FROM:<>"]);
    for n in 0..RECIPIENTS_MAX {
        assert_eq!(say(&mut session, &format!("RCPT TO:<known{n}@here.test>")).1, 250);
        assert_eq!(say(&mut session, "NOOP").1, 250);
    }
    assert_eq!(say(&mut session, "RCPT TO:<known@here.test>").1, 452);
    let codes: Vec<u16> = (0..40).map(|_| say(&mut session, "FOO").1).collect();
    assert_eq!(codes.iter().position(|code| *code == 421), Some(29));
}

#[test]
fn a_recipient_named_twice_gets_one_message() {
    let mut session = Session::new(offer(Door::Receiver));
    talk(&mut session, &["EHLO c", "MAIL FROM:<>", "RCPT TO:<known@here.test>", "RCPT TO:<KNOWN@HERE.test>"]);
    assert_eq!(session.envelope().recipients.len(), 1);
}

#[test]
fn a_password_goes_over_tls_only_unless_the_operator_allows_it() {
    let mut session = Session::new(offer(Door::Submission));
    let (hello, _) = say(&mut session, "EHLO c");
    let text = String::from_utf8(hello.bytes()).unwrap();
    assert!(text.contains("STARTTLS") && !text.contains("AUTH"), "{text}");
    assert_eq!(
        talk(&mut session, &["AUTH PLAIN AGEAZ29vZA==", "MAIL FROM:<a@b.test>", "STARTTLS"]),
        [538, 530, 220]
    );
    session.secured();
    assert_eq!(talk(&mut session, &["MAIL FROM:<a@b.test>"]), [503], "what was said before TLS is forgotten");
    let (hello, _) = say(&mut session, "EHLO c");
    let text = String::from_utf8(hello.bytes()).unwrap();
    assert!(!text.contains("STARTTLS") && text.contains("AUTH PLAIN LOGIN"), "{text}");
    assert_eq!(talk(&mut session, &["AUTH PLAIN AGEAZ29vZA==", "MAIL FROM:<a@b.test>"]), [235, 250]);
    assert_eq!((session.login().unwrap().name.as_str(), session.protocol()), ("a", "ESMTPSA"));

    let mut plain = Session::new(Offer { plain_login: true, starttls: false, ..offer(Door::Submission) });
    let (hello, _) = say(&mut plain, "EHLO c");
    assert!(String::from_utf8(hello.bytes()).unwrap().contains("AUTH PLAIN LOGIN"));
}

#[test]
fn both_logins_work_in_one_line_and_in_several_and_three_failures_are_enough() {
    let open = || {
        let mut session = Session::new(Offer { plain_login: true, ..offer(Door::Submission) });
        say(&mut session, "EHLO c");
        session
    };
    let (user, good, bad) = (STANDARD.encode("agent"), STANDARD.encode("good"), STANDARD.encode("evil"));
    assert_eq!(talk(&mut open(), &["AUTH PLAIN", "AGFnZW50AGdvb2Q="]), [334, 235]);
    assert_eq!(talk(&mut open(), &["AUTH LOGIN", &user, &good]), [334, 334, 235]);
    assert_eq!(talk(&mut open(), &[&format!("AUTH LOGIN {user}"), &good]), [334, 235]);
    assert_eq!(talk(&mut open(), &["AUTH LOGIN", "*", "NOOP"]), [334, 501, 250]);
    assert_eq!(talk(&mut open(), &["AUTH CRAM-MD5", "AUTH PLAIN !!!", "AUTH PLAIN QUJD"]), [504, 501, 501]);
    let mut session = open();
    let failed = talk(&mut session, &["AUTH LOGIN", &user, &bad, "AUTH PLAIN AGEAYg=="]);
    assert_eq!(failed, [334, 334, 535, 535]);
    let last = session.line(b"AUTH PLAIN AGEAYg==");
    let Step::Login(_) = last else { panic!("{last:?}") };
    assert!(matches!(session.logged_in(Err(Reply::new(535, "no"))), Step::Close(_)));
    assert!(!format!("{session:?}").contains("good"));
}

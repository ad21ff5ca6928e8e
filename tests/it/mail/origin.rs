//! Who mail is from: what its domains say in the DNS, and what forgers say.

use super::Office;
use crate::support::dns::{self, DOWN};
use crate::support::mail::{openssl, programs, swaks};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io::Write as _;
use std::process::{Command, Stdio};

const OPEN: &str = "open@desk.test";
const CLOSED: &str = "closed@desk.test";
const LISTED: &str = r#"{"meshagent.mail.senders": "@corp.test @stolen.test @doubted.test @signed.test @far.test @down.test"}"#;
const HERE: &str = "v=spf1 ip4:127.0.0.1 -all";
const NOT_HERE: &str = "v=spf1 ip4:192.0.2.1 -all";

/// An office that trusts no server in front, with what the DNS says about a few domains.
fn office(signed: &str) -> Office {
    let names = dns::serve(&[
        ("corp.test", HERE),
        ("_dmarc.corp.test", "v=DMARC1; p=reject"),
        ("stolen.test", NOT_HERE),
        ("_dmarc.stolen.test", "v=DMARC1; p=reject"),
        ("doubted.test", NOT_HERE),
        ("_dmarc.doubted.test", "v=DMARC1; p=quarantine"),
        ("mail._domainkey.signed.test", signed),
        ("down.test", DOWN),
        ("_dmarc.down.test", DOWN),
    ]);
    let names = names.to_string();
    let office =
        Office::open(&["--mail-domain", "desk.test", "--smtp-trust", "192.0.2.9", "--mail-dns", &names]);
    office.mailbox(OPEN, &["--public"]);
    office.mailbox(CLOSED, &["-n", LISTED]);
    office
}

#[test]
fn a_sender_is_believed_as_far_as_its_domain_vouches_for_it() {
    if !programs() {
        return;
    }
    let office = office("v=DKIM1; p=");
    let send = |from: &str, to: &str, more: &[&str]| {
        let mut all = vec!["--from", from, "--to", to];
        all.extend(more);
        swaks(office.smtp(), &all)
    };
    send("boss@corp.test", CLOSED, &[]).ok();
    let text = office.receive(CLOSED);
    let results = text.split("Authentication-Results: ").nth(1).unwrap();
    assert!(results.starts_with("desk.test;"), "{text}");
    for said in ["spf=pass", "dmarc=pass", "smtp.mailfrom=boss@corp.test", "header.from=corp.test"] {
        assert!(results.contains(said), "{said}: {results}");
    }
    // Its domain says that it sends from elsewhere only.
    for (from, to) in [("ceo@stolen.test", CLOSED), ("ceo@stolen.test", OPEN), ("ceo@doubted.test", OPEN)] {
        send(from, to, &[]).refused("550 5.7.26");
    }
    // The envelope is true, the author is not.
    send("boss@corp.test", CLOSED, &["--h-From", "ceo@stolen.test"]).refused("550 5.7.26");
    send("boss@corp.test", CLOSED, &["--h-From", "pal@far.test"]).refused("550 5.7.26");
    // Nobody can speak for authors of two domains.
    for to in [CLOSED, OPEN] {
        send("boss@corp.test", to, &["--h-From", "boss@corp.test, pal@far.test"]).refused("554 5.6.0");
    }
    // Headers that one reader takes for the end, and another one reads on.
    for (n, (text, answer)) in [
        ("junk\r\nFrom: ceo@stolen.test\r\n\r\nhi\r\n", "554 5.6.0"),
        ("X: y\r\njunk\r\nFrom: ceo@stolen.test\r\n\r\nhi\r\n", "554 5.6.0"),
        ("Fr om: ceo@stolen.test\r\n\r\nhi\r\n", "550 5.7.26"),
    ]
    .into_iter()
    .enumerate()
    {
        let data = format!("@{}", office.person.file(&format!("{n}.eml"), text));
        send("boss@corp.test", OPEN, &["--data", &data]).refused(answer);
    }
    // Nobody says anything about it: enough for those who take mail of all, not for a list.
    send("pal@far.test", CLOSED, &[]).refused("550 5.7.26");
    send("pal@far.test", OPEN, &["--add-header", "Authentication-Results: desk.test; dmarc=pass"]).ok();
    let text = office.receive(OPEN);
    assert!(text.contains("spf=none") && !text.contains("dmarc=pass"), "{text}");
    assert_eq!(text.matches("Authentication-Results").count(), 1, "{text}");
    send("ann@down.test", CLOSED, &[]).refused("451 4.4.3");
    assert_eq!((office.size(CLOSED), office.size(OPEN)), (0, 0));
}

#[test]
fn a_signature_of_the_authors_domain_is_proof_while_the_message_is_whole() {
    if !programs() {
        return;
    }
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("dkim.pem").display().to_string();
    openssl(Command::new("openssl").args(["genrsa", "-out", &key, "2048"]));
    let der = openssl(Command::new("openssl").args(["rsa", "-in", &key, "-pubout", "-outform", "DER"]));
    let office = office(&format!("v=DKIM1; k=rsa; p={}", STANDARD.encode(der)));
    let message = format!(
        "From: ann@signed.test\r\nTo: {CLOSED}\r\nSubject: hi\r\nMessage-ID: <1@signed.test>\r\n\r\nPay 10.\r\n"
    );
    let signed = sign(&message, &key);
    let send = |name: &str, text: &str| {
        let file = office.person.file(name, text);
        let data = format!("@{file}");
        // By way of a server that nobody vouches for.
        swaks(office.smtp(), &["--from", "list@far.test", "--to", CLOSED, "--data", &data])
    };
    send("changed.eml", &signed.replace("Pay 10", "Pay 1000")).refused("550 5.7.26");
    send("plain.eml", &message).refused("550 5.7.26");
    send("signed.eml", &signed).ok();
    let text = office.receive(CLOSED);
    assert!(text.contains("dkim=pass") && text.contains("header.i=@signed.test"), "{text}");
    assert_eq!(office.size(CLOSED), 0);
}

/// Signs with Debian's DKIM library.
fn sign(message: &str, key: &str) -> String {
    let script = "import dkim, sys\n\
        text = sys.stdin.buffer.read()\n\
        key = open(sys.argv[1], 'rb').read()\n\
        sys.stdout.buffer.write(dkim.sign(text, b'mail', b'signed.test', key) + text)";
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", script, key])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(message.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

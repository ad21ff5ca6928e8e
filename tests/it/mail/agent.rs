//! An agent that answers mail: from a real client, to a real server.

use super::Office;
use crate::support::mail::{PATIENCE, Post, header, programs, swaks};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

const BOT: &str = "bot@desk.test";

/// `meshagent process join` with a mail channel; ended when dropped.
struct Bot(Child);

impl Bot {
    fn start(office: &Office, more: &[&str]) -> Self {
        let channel = format!("mail:{BOT}");
        let mut all =
            vec!["process", "join", "--room", "desk", "--agent-name", "bot", "--model", "builtin/echo"];
        all.extend(["--channel", &channel, "--thread-dir", ".threads/bot"]);
        all.extend(more);
        let submission = office.port("smtp_submission");
        let mut command: Command = office.person.command(&all);
        command
            .env("SMTP_HOSTNAME", submission.ip().to_string())
            .env("SMTP_PORT", submission.port().to_string());
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn office(post: &Post) -> Office {
    let relay = format!("smtp://{}", post.address);
    let office = Office::open(&[
        "--smtp-submission",
        "127.0.0.1:0",
        "--mail-domain",
        "desk.test",
        "--smtp-relay",
        &relay,
        "--smtp-retry",
        "1",
    ]);
    office.mailbox(BOT, &["--public"]);
    office
}

fn threads(office: &Office) -> usize {
    let listed = office
        .person
        .run(&[
            "process",
            "threads",
            "--room",
            "desk",
            "--agent-name",
            "bot",
            "--thread-dir",
            ".threads/bot",
            "-o",
            "json",
        ])
        .json();
    listed.as_array().unwrap().len()
}

#[test]
fn mail_gets_a_threaded_answer_at_a_real_server() {
    if !programs() {
        return;
    }
    let post = Post::start();
    let office = office(&post);
    let _bot = Bot::start(&office, &[]);
    let send = |id: &str, more: &[&str]| {
        let mut all =
            vec!["--from", "ann@far.test", "--to", BOT, "--h-Message-Id", id, "--h-Subject", "Help"];
        all.extend(more);
        swaks(office.smtp(), &all).ok();
    };
    let file = office.person.file("note.txt", "a note");
    send("<1@far.test>", &["--body", "Where is my order?", "--attach", &format!("@{file}")]);
    let answer = post.wait_for(1).remove(0);
    assert!(answer.contains("Where is my order?"), "{answer}");
    assert_eq!(header(&answer, "X-RcptTo"), "ann@far.test");
    assert_eq!(
        (header(&answer, "From"), header(&answer, "To")),
        (format!("<{BOT}>"), "<ann@far.test>".to_owned())
    );
    assert_eq!(
        (header(&answer, "Subject").as_str(), header(&answer, "In-Reply-To").as_str()),
        ("RE: Help", "<1@far.test>")
    );
    assert_eq!(header(&answer, "References"), "<1@far.test>");
    assert_eq!(header(&answer, "Auto-Submitted"), "auto-replied");
    let id = header(&answer, "Message-ID");
    assert!(id.ends_with("@desk.test>"), "{id}");
    // Its answer continues the thread; another letter begins one.
    send("<2@far.test>", &["--body", "And now?", "--add-header", &format!("In-Reply-To: {id}")]);
    send("<3@far.test>", &["--body", "Something else."]);
    let all = post.wait_for(3);
    assert_eq!(all.iter().filter(|text| header(text, "In-Reply-To") == "<2@far.test>").count(), 1);
    let deadline = Instant::now() + PATIENCE;
    while threads(&office) != 2 {
        assert!(Instant::now() < deadline, "{} threads", threads(&office));
    }
    // Machines are not answered, and what is no mail is put aside.
    send("<4@far.test>", &["--add-header", "Auto-Submitted: auto-replied"]);
    office
        .person
        .run(&["room", "queue", "send", "--room", "desk", "--queue", BOT, "--json", r#"{"prompt": "x"}"#])
        .ok();
    send("<5@far.test>", &["--body", "Last."]);
    let all = post.wait_for(4);
    assert!(!all.iter().any(|text| header(text, "In-Reply-To") == "<4@far.test>"));
    let kept = office.person.run(&["room", "storage", "ls", "--room", "desk", ".emails"]).ok().stdout;
    assert!(kept.lines().count() >= 8, "a folder for each letter and answer: {kept}");
}

#[test]
fn an_agent_killed_at_any_moment_answers_each_letter_once() {
    if !programs() {
        return;
    }
    let post = Post::start();
    let office = office(&post);
    const LETTERS: usize = 12;
    for n in 0..LETTERS {
        let id = format!("<{n}@far.test>");
        swaks(
            office.smtp(),
            &["--from", "ann@far.test", "--to", BOT, "--h-Message-Id", &id, "--body", "Hello"],
        )
        .ok();
    }
    let mut answered = 0;
    let deadline = Instant::now() + PATIENCE * 6;
    while answered < LETTERS {
        assert!(Instant::now() < deadline, "{answered} of {LETTERS} answered");
        // Killed as soon as it has answered a few more: a letter may be tried five times.
        let bot = Bot::start(&office, &[]);
        let began = Instant::now();
        let enough = LETTERS.min(answered + 4);
        while post.messages().len() < enough && Instant::now() < deadline && began.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
        drop(bot);
        answered = post.messages().len();
    }
    let mut ids: Vec<String> = post.messages().iter().map(|text| header(text, "In-Reply-To")).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), post.messages().len()), (LETTERS, LETTERS));
}

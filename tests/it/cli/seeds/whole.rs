//! The agent with all four channels, from its mailbox to its deploy, word for word: models by way of the server, mail from `swaks`
//! and to Exim.

use super::super::Person;
use super::{CREATE_MAILBOX, DEPLOY, INVOKE, JOIN, LIST_TOOLKITS};
use crate::conformance::agents::stand_in;
use crate::support::clients::{self, NodeClients};
use crate::support::mail::{PATIENCE, Post, header, programs, recipient, swaks};
use crate::support::script::Script;
use crate::support::server::Server;
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::Instant;

const ADDRESS: &str = "support-agent@mail.meshagent.com";

const SEND_BACKLOG: &str = r#"meshagent room queue send \
  --room quickstart \
  --queue support-jobs \
  --json '{"prompt":"Summarize the latest support backlog and save a report."}'"#;

struct Scene {
    server: Server,
    person: Person,
    post: Post,
    _model: Script,
}

impl Scene {
    fn open(models: &NodeClients) -> Self {
        let post = Post::exim();
        let relay = format!("smtp://{}", post.address);
        let server = Server::start(&[
            "--allow-host",
            "127.0.0.1",
            "--smtp",
            "127.0.0.1:0",
            "--smtp-submission",
            "127.0.0.1:0",
            "--mail-domain",
            "mail.meshagent.com",
            "--smtp-relay",
            &relay,
        ]);
        let (model, url) = stand_in(models);
        let person = Person::of(&server);
        person
            .run(&["llm", "provider", "set", "openai", "--no-key", "--base-url", &format!("{url}/v1")])
            .ok();
        person.shell("meshagent rooms create quickstart").ok();
        Self { server, person, post, _model: model }
    }

    fn port(&self, name: &str) -> SocketAddr {
        let text = std::fs::read_to_string(self.server.data_dir().join("connection.json")).unwrap();
        let connection: serde_json::Value = serde_json::from_str(&text).unwrap();
        connection[name].as_str().unwrap().parse().unwrap()
    }

    /// Starts a line that goes on until it is stopped.
    fn start(&self, line: &str) -> Agent {
        let words = shlex::split(&line.replace("\\\n", " ")).unwrap();
        let mut command = self.person.command(&words[1..].iter().map(String::as_str).collect::<Vec<_>>());
        let at = self.port("smtp_submission");
        command.env("SMTP_HOSTNAME", at.ip().to_string()).env("SMTP_PORT", at.port().to_string());
        Agent(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Steps 3 to 6 of the document; so many letters were answered before.
    fn works(&self, answered: usize) {
        let said = self.person.shell(
            "meshagent process use --room quickstart --agent-name support-agent --message 'Are you there?'",
        );
        assert!(said.ok().stdout.contains("Are you there?"));

        let (first, second) = (format!("<{answered}.1@far.test>"), format!("<{answered}.2@far.test>"));
        self.write(&first, &["--body", "Where is my order?"]);
        let answer = self.post.wait_for(answered + 1).remove(answered);
        let about = |name: &str| header(&answer, name);
        assert_eq!(recipient(&answer), "ann@far.test");
        assert_eq!((about("From"), about("To")), (format!("<{ADDRESS}>"), "<ann@far.test>".to_owned()));
        assert_eq!((about("Subject"), about("In-Reply-To")), ("RE: Help".to_owned(), first.clone()));
        assert_eq!(about("References"), first);
        let id = about("Message-ID");
        let thread = format!("{first} {id}");
        self.write(&second, &["--body", "And now?", "--h-In-Reply-To", &id, "--h-References", &thread]);
        let answer = self.post.wait_for(answered + 2).remove(answered + 1);
        assert_eq!(header(&answer, "In-Reply-To"), second);
        assert_eq!(header(&answer, "References"), format!("{thread} {second}"));
        assert!(answer.contains("Where is my order?") && answer.contains("And now?"), "{answer}");

        let _not_there_the_first_time =
            self.person.run(&["room", "storage", "rm", "--room", "quickstart", "report.md"]);
        self.person.shell(SEND_BACKLOG).ok();
        let deadline = Instant::now() + PATIENCE;
        while !self.person.shell("meshagent room storage ls --room quickstart").stdout.contains("report.md") {
            assert!(Instant::now() < deadline, "the report was not saved");
        }

        let toolkits = self.person.shell(LIST_TOOLKITS).json();
        let own =
            toolkits.as_array().unwrap().iter().find(|toolkit| toolkit["name"] == "support-agent").unwrap();
        assert!(own.to_string().contains("run_support_agent_task"), "{own}");
        let answer = self.person.shell(INVOKE).ok().stdout;
        assert!(answer.contains("refund policy"), "{answer}");
    }

    fn write(&self, id: &str, more: &[&str]) {
        let mut all = vec!["--from", "ann@far.test", "--to", ADDRESS, "--h-Message-Id", id];
        all.extend(["--h-Subject", "Help"]);
        all.extend(more);
        swaks(self.port("smtp"), &all).ok();
    }
}

/// A running command; ended when dropped.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn the_agent_with_four_channels_is_joined_and_then_deployed() {
    let (Some(models), true) = (clients::models(), programs()) else { return };
    let scene = Scene::open(models);
    let person = &scene.person;
    person.shell(CREATE_MAILBOX).ok();
    // The mailbox is not public: who may write to it is listed.
    let senders = r#"{"meshagent.mail.senders": "@far.test"}"#;
    person.run(&["mailbox", "update", ADDRESS, "--annotations", senders]).ok();
    let joined = scene.start(JOIN);
    scene.works(0);
    drop(joined);

    let spec =
        person.shell(&DEPLOY.replace("process deploy", "process spec").replace("--room quickstart", ""));
    let spec: serde_json::Value = serde_yaml::from_str(&spec.ok().stdout).unwrap();
    person.shell(DEPLOY).ok();
    let service = person.run(&["service", "get", "support-agent", "--room", "quickstart"]).json();
    assert_eq!((&service["container"], &service["agents"]), (&spec["container"], &spec["agents"]));
    person.run(&["wait", "service/support-agent", "--room", "quickstart", "--timeout", "60s"]).ok();
    scene.works(2);
}

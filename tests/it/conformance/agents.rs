//! The official agent on our server: four channels, its models through our proxy, and threads that it shares with our agent.
//!
//! What it is given to do is in `tests/conformance/agents.py`; its model is played by `agents-stand-in.cjs`.

use super::command_line::Tool;
use super::llm::{node, script};
use super::room_client::environment;
use crate::agent::joined::Joined;
use crate::mail::Office;
use crate::support::clients::{self, NodeClients, PythonClients};
use crate::support::mail::{Post, header, programs, swaks};
use crate::support::script::Script;
use crate::support::server::Server;
use std::collections::BTreeSet;
use std::process::Command;

const ROOM: &str = "desk";
const ADDRESS: &str = "support-agent@mail.test";
const JOIN: [&str; 6] = ["process", "join", "--room", ROOM, "--agent-name", "support-agent"];
const FLAGS: [&str; 14] = [
    "--channel",
    "chat",
    "--channel",
    "mail:support-agent@mail.test",
    "--channel",
    "queue:support-jobs",
    "--channel",
    "toolkit:support-agent",
    "--threading-mode",
    "default-new",
    "--web-search",
    "--require-storage",
    "--rule",
    "You are a helpful support agent.",
];

/// A server with mail and a model, and the clients.
struct Stage {
    office: Office,
    post: Post,
    python: &'static PythonClients,
    model: String,
    _stand_in: Script,
}

impl Stage {
    fn open(python: &'static PythonClients, models: &NodeClients) -> Self {
        let post = Post::start();
        let relay = format!("smtp://{}", post.address);
        let office = Office::open(&[
            "--allow-host",
            "127.0.0.1",
            "--smtp-submission",
            "127.0.0.1:0",
            "--mail-domain",
            "mail.test",
            "--smtp-relay",
            &relay,
        ]);
        let (stand_in, model) = stand_in(models);
        let base = format!("{model}/v1");
        office.person.run(&["llm", "provider", "set", "openai", "--no-key", "--base-url", &base]).ok();
        office.mailbox(ADDRESS, &["--public"]);
        Self { office, post, python, model, _stand_in: stand_in }
    }

    fn submission(&self) -> [(&'static str, String); 2] {
        let at = self.office.port("smtp_submission");
        [("SMTP_HOSTNAME", at.ip().to_string()), ("SMTP_PORT", at.port().to_string())]
    }

    /// The official agent.
    fn official(&self, dir: &[&str]) -> Running<'_> {
        let tool = Tool::new(self.python, &self.office.server);
        let mut command = tool.command(&self.python.meshagent, &[&JOIN[..], &FLAGS, dir].concat());
        command.envs(self.submission());
        Running::Official { _agent: Script::start(command), _tool: tool }
    }

    fn ours(&self, dir: &[&str]) -> Running<'_> {
        let submission = self.submission();
        let env: Vec<(&str, &str)> = submission.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Running::Ours { _agent: Joined::start(&self.office.server, ROOM, &[&FLAGS[..], dir].concat(), &env) }
    }

    /// Gives the agent something to do; the thread that it was done in.
    fn works(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new(&self.python.python);
        command.arg(script("agents.py")).args(arguments);
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("STAND_IN", &self.model);
        environment(&mut command, &self.office.server);
        command.env("MESHAGENT_ROOM", ROOM);
        let mut run = Script::start(command);
        let began = matches!(arguments[0], "chats" | "tasks" | "jobs");
        let thread = began.then(|| run.must_tell("thread "));
        run.must_say("done");
        thread
    }

    /// Sends a letter from outside.
    fn writes(&self, id: &str, more: &[&str]) {
        let mut all = vec!["--from", "ann@far.test", "--to", ADDRESS, "--h-Message-Id", id];
        all.extend(["--h-Subject", "Help"]);
        all.extend(more);
        swaks(self.office.smtp(), &all).ok();
    }

    /// How many threads all mail is in.
    fn mail_threads(&self, folder: &str) -> usize {
        let mut all = vec!["room", "dataset", "search", "--room", ROOM, "--table", "emails"];
        // The official agent splits the folder as it was given: its own has a scheme.
        let given =
            if folder.contains("://agents/") { folder } else { folder.trim_start_matches("dataset://") };
        all.extend(given.split('/').filter(|part| !part.is_empty()).flat_map(|part| ["--namespace", part]));
        let rows = self.office.person.run(&all).json();
        let rows = rows.as_array().unwrap();
        assert_eq!(rows.len(), 4, "{rows:?}");
        rows.iter().map(|row| row["thread_id"].as_str().unwrap()).collect::<BTreeSet<_>>().len()
    }

    /// What the receiving server has got so far, once it is so many letters: the last one.
    fn answer(&self, count: usize) -> Letter {
        Letter(self.post.wait_for(count).remove(count - 1))
    }
}

/// A model that agents use, and where it is.
pub fn stand_in(models: &NodeClients) -> (Script, String) {
    let mut stand_in = Script::start(node(models, "agents-stand-in.cjs"));
    let url = stand_in.must_tell("listens on ");
    (stand_in, url)
}

struct Letter(String);

impl Letter {
    fn header(&self, name: &str) -> String {
        header(&self.0, name)
    }

    /// Says it, however its lines are folded.
    #[track_caller]
    fn says(&self, words: &str) {
        let text = self.0.replace("=\r\n", "").replace("=\n", "");
        assert!(text.contains(words), "want `{words}` in {}", self.0);
    }
}

/// A running agent, ended when dropped.
enum Running<'a> {
    Official { _agent: Script, _tool: Tool<'a> },
    Ours { _agent: Joined },
}

type Start = for<'a> fn(&'a Stage, &[&str]) -> Running<'a>;

/// One agent works through every channel, then the other goes on with each thread; what it answers to the last letter.
/// (The official agent reads a thread in the background: what comes first by mail may be answered without the past.)
fn passes_on(dir: &[&str], first: Start, second: Start, also: &[&str]) -> Option<Letter> {
    let (Some(python), Some(models), true) = (clients::python(), clients::models(), programs()) else {
        return None;
    };
    let stage = Stage::open(python, models);
    let agent = first(&stage, dir);
    let folder = format!("dataset://{}", dir.last().unwrap_or(&"agents/support-agent/threads"));
    let began = [&["chats"][..], &["tasks", &folder], &["jobs"]];
    let threads: Vec<String> = began.iter().filter_map(|case| stage.works(case)).collect();
    stage.writes("<2@far.test>", &["--body", "Please write notes/mail.md", "--h-References", "<1@far.test>"]);
    let answer = stage.answer(1);
    assert_eq!(
        (answer.header("Subject").as_str(), answer.header("In-Reply-To").as_str()),
        ("RE: Help", "<2@far.test>")
    );
    assert!(answer.header("References").starts_with("<1@far.test>"), "{}", answer.0);
    answer.says("(1 tools used)");
    for case in also {
        stage.works(&[case]);
    }
    drop(agent);
    let _agent = second(&stage, dir);
    for thread in &threads {
        stage.works(&["continues", thread]);
    }
    let id = answer.header("Message-ID");
    stage.writes("<3@far.test>", &["--body", "And now?", "--h-In-Reply-To", &id]);
    let answer = stage.answer(2);
    assert_eq!(answer.header("In-Reply-To"), "<3@far.test>");
    answer.says("And now?");
    assert_eq!(stage.mail_threads(&folder), 1, "the second letter is in the thread of the first");
    Some(answer)
}

#[test]
fn the_official_agent_serves_four_channels_and_ours_goes_on() {
    // In its own folder it doubles the prefix of the threads that queues and mail begin.
    let answer = passes_on(&[], Stage::official, Stage::ours, &["asked"]);
    answer.inspect(|answer| answer.says("Please write notes/mail.md"));
}

#[test]
fn the_official_tool_deploys_our_agent() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    let tool = Tool::new(python, &server);
    tool.run(&["rooms", "create", ROOM, "--no-owner"], ROOM);
    let deploy = ["process", "deploy", "--service-name", "support-agent"];
    let deploy = [&deploy, &JOIN[2..], &FLAGS, &["--model", "builtin/echo"]].concat();
    let first = tool.run(&deploy, "Deployed service: ");
    assert_eq!(tool.run(&deploy, "Deployed service: "), first, "it is replaced");
    let task =
        r#"{"prompt": "forty-two", "path": null, "thread_id": null, "model": null, "instructions": null}"#;
    let name = ["--toolkit", "support-agent", "--tool", "run_support-agent_task"];
    let call =
        [&["room", "agents", "invoke-tool", "--room", ROOM], &name[..], &["--arguments", task]].concat();
    tool.run(&call, "> forty-two");
}

#[test]
fn our_agent_serves_four_channels_and_the_official_one_goes_on() {
    passes_on(&["--thread-dir", ".threads/support-agent"], Stage::ours, Stage::official, &[]);
}

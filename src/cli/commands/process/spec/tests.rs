use super::*;
use crate::cli::commands::process::rewrite;
use clap::Parser;
use std::ffi::OsString;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: SpecArgs,
}

fn argv(line: &str) -> Vec<String> {
    ["meshagent", "process", "spec"]
        .into_iter()
        .map(str::to_owned)
        .chain(shlex::split(line).unwrap())
        .collect()
}

fn document(line: &str) -> String {
    let argv = argv(line);
    let parsed = rewrite(argv.iter().map(OsString::from)).into_iter().enumerate();
    // Without `process spec`, which the whole program's parser takes.
    let line = Line::try_parse_from(parsed.filter(|(n, _)| !(1..=2).contains(n)).map(|(_, a)| a)).unwrap();
    yaml(&line.args.service, &line.args.process, &argv).unwrap()
}

fn part<'a>(document: &'a str, from: &str, to: &str) -> &'a str {
    let start = document.find(from).unwrap();
    &document[start..document[start..].find(to).map_or(document.len(), |n| start + n)]
}

const SEED: &str = "--service-name support-agent --agent-name support-agent --channel chat \
    --channel mail:support-agent@mail.meshagent.com --channel queue:support-jobs --channel toolkit:support-agent \
    --threading-mode default-new --thread-dir .threads/support-agent --web-search --require-storage \
    --rule \"You are a helpful support agent.\"";

#[test]
fn the_seed_s_agent_gives_the_document_of_the_official_tool() {
    assert_eq!(format!("{}\n", document(SEED)), include_str!("seed.yaml"));
}

#[test]
fn an_agent_without_chat_has_no_annotations() {
    for channel in ["queue:q", "toolkit:t", "mail:a@b", "websocket:80"] {
        let document = document(&format!("--agent-name bob --channel {channel}"));
        assert_eq!(
            part(&document, "agents:", "container:"),
            "agents:\n- name: bob\n  annotations: {}\nports: []\n"
        );
    }
}

#[test]
fn threads_are_announced_as_the_flags_say() {
    let annotations = |flags: &str| {
        let document = document(&format!("--agent-name bob --channel chat {flags}"));
        part(&document, "    meshagent.agent.type", "ports:").to_owned()
    };
    let default = "    meshagent.agent.type: ChatBot\n    meshagent.chatbot.threading: default-new\n    \
        meshagent.chatbot.thread-dir: dataset://agents/bob/threads\n    \
        meshagent.chatbot.thread-list: dataset://agents/bob/threads/index\n";
    assert_eq!(annotations(""), default);
    assert_eq!(
        annotations("--threading-mode none"),
        "    meshagent.agent.type: ChatBot\n    meshagent.chatbot.thread-path: dataset://agents/bob/threads/main\n"
    );
    assert!(annotations("--thread-dir /x").contains("thread-dir: dataset://x\n"));
    assert!(annotations("--thread-dir /x").contains("thread-list: dataset://x/index\n"));
    let none = annotations("--thread-storage none");
    assert!(none.contains("thread-dir: tmp://agents/bob/threads\n"), "{none}");
    assert!(none.contains("thread-list: tmp://agents/bob/threads/index.threadl\n"), "{none}");
}

#[test]
fn the_service_s_own_flags_shape_the_document_and_not_the_command() {
    let document = document(
        "--agent-name bob --channel queue:q --service-name=svc --service-title T --service-description 'a: b' \
         --rule \"it's\" --rule ''",
    );
    assert_eq!(
        part(&document, "metadata:", "agents:"),
        "metadata:\n  name: svc\n  description: 'a: b'\n  annotations:\n    meshagent.service.id: svc\n"
    );
    assert_eq!(
        part(&document, "  command:", "  environment:"),
        "  command: \"meshagent process join --agent-name bob --channel queue:q --rule 'it'\\\"'\\\"'s' --rule ''\"\n"
    );
}

#[test]
fn a_long_command_stays_one_line_that_join_understands() {
    let rules: String = (0..50).map(|n| format!(" --rule 'rule number {n} says: do \"this\"'")).collect();
    let document =
        document(&format!("--agent-name bob --channel queue:q --require-web-search --no-time{rules}"));
    let parsed: serde_yaml::Value = serde_yaml::from_str(&document).unwrap();
    let command = parsed["container"]["command"].as_str().unwrap();
    let words = rewrite(shlex::split(command).unwrap().into_iter().map(OsString::from));
    let crate::cli::commands::Command::Process(super::super::Command::Join(join)) =
        crate::cli::parse(words).unwrap().command
    else {
        panic!("not join")
    };
    assert_eq!(join.process.rules.rules.len(), 50);
    assert_eq!(join.process.rules.rules[7], "rule number 7 says: do \"this\"");
    assert_eq!(join.process.tools.time.as_deref(), Some("false"));
}

#[test]
fn the_document_is_a_valid_service() {
    let parsed = crate::spec::parse("spec.yaml", &document(SEED));
    assert!(parsed.is_ok(), "{parsed:?}");
}

#[test]
fn scalars_that_would_read_as_something_else_are_quoted() {
    for (text, want) in [
        ("plain text", "plain text"),
        ("true", "'true'"),
        ("12", "'12'"),
        ("", "''"),
        ("a: b", "'a: b'"),
        ("a #b", "'a #b'"),
        ("it's: x", "'it''s: x'"),
        ("- x", "'- x'"),
        ("two\nlines", "\"two\\nlines\""),
    ] {
        assert_eq!(scalar(text), want, "{text:?}");
        let read: serde_yaml::Value = serde_yaml::from_str(&format!("k: {}", scalar(text))).unwrap();
        assert_eq!(read["k"].as_str(), Some(text));
    }
}

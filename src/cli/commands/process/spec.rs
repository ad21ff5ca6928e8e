//! `meshagent process spec`: the Service document of an agent, as the official tool writes it (specs reference §11), but
//! never wrapped: the command stays on one line. No network.

use super::args::{ProcessArgs, ServiceArgs, ServiceNameArgs};
use crate::agent::AgentChannel;
use crate::agent::path::thread_dir;
use crate::cli::error::CliError;
use crate::cli::output;
use std::fmt::Write;

/// `process spec`.
#[derive(clap::Args, Debug, Clone)]
#[command(args_override_self = true)]
pub struct SpecArgs {
    #[command(flatten)]
    pub service: ServiceArgs,

    #[command(flatten)]
    pub process: ProcessArgs,
}

/// Options that speak of the service, not of the agent, and take a value.
const NOT_THE_AGENTS: [&str; 8] = [
    "--service-name",
    "--service-title",
    "--service-description",
    "--project-id",
    "--api-url",
    "--room",
    "--host",
    "--path",
];

/// Prints the document.
pub fn run(args: &SpecArgs, argv: &[String]) -> Result<(), CliError> {
    output::data(&format!("{}\n", yaml(&args.service, &args.process, argv)?))
}

/// The document of an agent that was described by the command line `argv`.
///
/// Errors: there is no channel.
pub fn yaml(service: &ServiceArgs, process: &ProcessArgs, argv: &[String]) -> Result<String, CliError> {
    if process.channels.is_empty() {
        return Err(super::no_channel());
    }
    let annotations = annotations(&service.named.agent_name, process);
    Ok(document(&service.named, annotations, &command("process", argv)))
}

/// The document of an agent with these annotations that is run by `command`.
pub fn document(
    service: &ServiceNameArgs,
    annotations: Vec<(&'static str, String)>,
    command: &str,
) -> String {
    let agent = &service.agent_name;
    let name = scalar(service.service_name.as_ref().unwrap_or(agent));
    let mut out = format!("version: v1\nkind: Service\nenabled: true\nmetadata:\n  name: {name}\n");
    // Writing to a text cannot fail.
    if let Some(description) = &service.service_description {
        let _ = writeln!(out, "  description: {}", scalar(description));
    }
    let _ = writeln!(out, "  annotations:\n    meshagent.service.id: {name}");
    let _ = writeln!(out, "agents:\n- name: {}", scalar(agent));
    if annotations.is_empty() {
        out.push_str("  annotations: {}\n");
    } else {
        out.push_str("  annotations:\n");
        for (key, value) in annotations {
            let _ = writeln!(out, "    {key}: {}", scalar(&value));
        }
    }
    let command = double_quoted(command);
    let _ = write!(
        out,
        "ports: []\ncontainer:\n  image: meshagent/cli:default\n  template: agent\n  command: {command}\n  \
         environment:\n  - name: MESHAGENT_TOKEN\n    token:\n      identity: {}\n{AGENT_DEFAULT_SCOPE}      role: agent\n  \
         private: true\n",
        scalar(agent)
    );
    out
}

/// What the agent's token may do: everything an agent may by default, spelled out.
const AGENT_DEFAULT_SCOPE: &str = "      api:
        livekit: {}
        queues:
          list: true
        messaging:
          broadcast: true
          list: true
          send: true
        dataset:
          list_tables: true
        sqlite:
          create_database: true
          list_databases: true
        memory:
          list: true
        sync: {}
        storage: {}
        containers:
          logs: true
          use_containers: true
        developer:
          logs: true
        agents:
          register_agent: true
          register_public_toolkit: true
          register_private_toolkit: true
          call: true
          use_agents: true
          use_tools: true
        llm: {}
        services:
          list: true
";

/// Only an agent that can be talked to is announced to chat clients.
fn annotations(agent: &str, process: &ProcessArgs) -> Vec<(&'static str, String)> {
    if !process.channels.contains(&AgentChannel::Chat) {
        return Vec::new();
    }
    let threads = &process.threads;
    let mut dir = thread_dir(agent, threads.thread_dir.as_deref());
    let mut list = format!("{dir}/index");
    if threads.without_storage() {
        dir = dir.replacen("dataset://", "tmp://", 1);
        list = format!("{dir}/index.threadl");
    }
    let mut all = vec![("meshagent.agent.type", "ChatBot".to_owned())];
    if threads.single() {
        all.push(("meshagent.chatbot.thread-path", format!("{dir}/main")));
    } else {
        all.push(("meshagent.chatbot.threading", "default-new".to_owned()));
        all.push(("meshagent.chatbot.thread-dir", dir));
        all.push(("meshagent.chatbot.thread-list", list));
    }
    all
}

/// The command that runs the agent: the given arguments as they were typed, without those about the service.
pub fn command(noun: &str, argv: &[String]) -> String {
    let verb = argv.iter().position(|arg| arg == noun).map_or(0, |at| at + 2);
    let mut words = vec!["meshagent".to_owned(), noun.to_owned(), "join".to_owned()];
    let mut args = argv.iter().skip(verb);
    while let Some(arg) = args.next() {
        let option = arg.split_once('=').map_or(arg.as_str(), |(option, _)| option);
        if option == "--global" {
            continue;
        }
        if !NOT_THE_AGENTS.contains(&option) {
            words.push(shell_quoted(arg));
        } else if option == arg {
            args.next();
        }
    }
    words.join(" ")
}

/// As Python's shlex quotes: bare where nothing is special, else in single quotes.
fn shell_quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\"'\"'"))
}

/// A YAML scalar: plain where that reads back as the same text, else quoted.
fn scalar(text: &str) -> String {
    if text.chars().any(char::is_control) {
        return double_quoted(text);
    }
    let reads_back =
        serde_yaml::from_str::<serde_yaml::Value>(text).is_ok_and(|value| value.as_str() == Some(text));
    // What reads back alone may still end early inside a mapping.
    if reads_back && !text.contains(": ") && !text.contains(" #") && !text.ends_with(':') {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

fn double_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests;

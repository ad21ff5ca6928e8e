//! Programs of others by way of the server, and the proxy on this machine. Codex and Claude Code are scripts that tell
//! how they were started.

use super::Person;
use crate::support::server::Server;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};

const SCRIPT: &str =
    "#!/bin/sh\nfor word in \"$@\"; do echo \"argument $word\"; done\n/usr/bin/env | sort\nexit 7\n";

fn install(person: &Person, name: &str) -> String {
    let path = person.file(&format!("bin/{name}"), SCRIPT);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.rsplit_once('/').unwrap().0.to_owned()
}

fn person() -> Person {
    Person::new()
        .with("MESHAGENT_API_URL", "http://127.0.0.1:9")
        .with("MESHAGENT_API_KEY", "ma-needle")
        .with("MESHAGENT_PROJECT_ID", "p1")
        .with("ANTHROPIC_API_KEY", "sk-theirs")
        .with("EDITOR", "vi")
}

#[test]
fn programs_are_started_with_the_server_and_without_keys_in_arguments() {
    let person = person();
    let bin = install(&person, "codex");
    install(&person, "claude");
    let person = person.with("PATH", &format!("{bin}:/usr/bin:/bin"));
    let codex = person.run(&["launch", "codex", "exec", "-m", "gpt-5"]);
    assert_eq!(codex.code, 7, "{codex:#?}");
    let arguments: Vec<&str> = codex.stdout.lines().filter(|line| line.starts_with("argument ")).collect();
    assert!(
        arguments.contains(&r#"argument model_providers.meshagent.base_url="http://127.0.0.1:9/openai/v1""#),
        "{codex:#?}"
    );
    assert!(arguments.ends_with(&["argument exec", "argument -m", "argument gpt-5"]), "{codex:#?}");
    assert!(!arguments.join("\n").contains("needle"), "{codex:#?}");
    assert!(
        codex.stdout.contains("\nMESHAGENT_LLM_TOKEN=ma-needle\n") && codex.stdout.contains("\nEDITOR=vi\n"),
        "{codex:#?}"
    );
    let claude = person.run(&["launch", "claude", "--", "-p", "hello"]);
    assert_eq!(claude.code, 7, "{claude:#?}");
    for line in [
        "argument -p",
        "ANTHROPIC_BASE_URL=http://127.0.0.1:9/anthropic",
        "ANTHROPIC_CUSTOM_HEADERS=Meshagent-Project-Id: p1",
        "ANTHROPIC_AUTH_TOKEN=ma-needle",
    ] {
        assert!(claude.stdout.lines().any(|one| one == line), "want `{line}` in {claude:#?}");
    }
    assert!(
        !claude.stdout.contains("sk-theirs") && !claude.stdout.contains("MESHAGENT_API_KEY"),
        "{claude:#?}"
    );
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let person = person().with("PATH", "/nowhere");
    person.run(&["launch", "codex"]).fails(1, &["Codex is not installed", "PATH"]);
    person.run(&["launch", "claude"]).fails(1, &["Claude Code is not installed"]);
    person.run(&["launch", "codex", "--profile", "x"]).fails(2, &["--profile"]);
}

/// A proxy that runs, and what it printed.
struct Proxy {
    child: Child,
    address: String,
    key: String,
}

impl Proxy {
    fn start(person: &Person, arguments: &[&str]) -> Self {
        let words = [&["llm", "proxy", "--port", "0"], arguments].concat();
        let mut child = person.command(&words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut printed = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut value = |name: &str| {
            let line = printed.find(|line| line.as_ref().unwrap().contains(name)).unwrap().unwrap();
            line.split_once('=').unwrap().1.to_owned()
        };
        let base = value("OPENAI_BASE_URL");
        let key = value("OPENAI_API_KEY");
        // It prints to its end before nobody listens any more.
        value("XAI_API_KEY");
        let address = base.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
        Self { child, address, key }
    }

    /// Status line and the rest of an answer.
    fn ask(&self, path: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let host = &self.address;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_proxy_adds_the_servers_credential_for_those_with_its_own_key() {
    let server = Server::start(&[]);
    let proxy = Proxy::start(&Person::of(&server), &[]);
    let bearer = format!("Authorization: Bearer {}\r\n", proxy.key);
    assert!(!server.api_key.contains(&proxy.key));
    for path in ["/openai/v1/models", "/v1/models", "/anthropic/v1/models", "/grok/v1/models"] {
        let answer = proxy.ask(path, &bearer);
        assert!(
            answer.starts_with("HTTP/1.1 404") && answer.contains("provider-not-configured"),
            "{path}: {answer}"
        );
    }
    assert!(
        proxy.ask("/v1/models", &format!("x-api-key: {}\r\n", proxy.key)).contains("provider-not-configured")
    );
    for headers in ["", "Authorization: Bearer wrong\r\n"] {
        assert!(proxy.ask("/v1/models", headers).starts_with("HTTP/1.1 401"), "{headers}");
    }
    assert!(proxy.ask("/healthz", "").starts_with("HTTP/1.1 200"));
    for path in
        ["/accounts/projects", "/openai/v1/../../accounts/projects", "/anthropic/%2e%2e/accounts/projects"]
    {
        let answer = proxy.ask(path, &bearer);
        assert!(answer.starts_with("HTTP/1.1 404") && !answer.contains("projects\":"), "{path}: {answer}");
    }
}

#[test]
fn a_proxy_without_a_key_is_for_this_machine_only() {
    let server = Server::start(&[]);
    let person = Person::of(&server).with("OTHER", &server.api_key);
    person.run(&["llm", "proxy", "--insecure", "--host", "0.0.0.0"]).fails(2, &["this machine only"]);
    person.run(&["llm", "proxy", "--token-from-env", "NOTHING"]).fails(1, &["NOTHING is not set"]);
    let proxy = Proxy::start(&person, &["--insecure", "--token-from-env", "OTHER"]);
    assert!(proxy.ask("/v1/models", "").contains("provider-not-configured"));
    let page = proxy.ask("/v1/models", "Origin: https://evil.example\r\n");
    assert!(page.starts_with("HTTP/1.1 401"), "{page}");
}

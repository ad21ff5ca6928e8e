//! Repositories that the server follows: a real git behind HTTP, the real server, and people who push.

mod agent;
pub mod forge;
mod hook;
mod hostile;
mod sources;

use crate::cli::Person;
use crate::support::server::Server;
use forge::Forge;
use serde_json::Value;
use std::time::{Duration, Instant};

/// How long something may take on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);

/// A server that may reach forges of this machine.
fn server() -> (Server, Person) {
    let server = Server::start(&["--allow-host", "127.0.0.1"]);
    let person = Person::of(&server);
    (server, person)
}

/// The document of a source that follows a forge, with more lines.
fn source(name: &str, url: &str, more: &str) -> String {
    format!(
        "version: v1\nkind: GitSource\nmetadata: {{name: {name}}}\nurl: {url}\ninterval_seconds: 3600\nprune: true\n{more}\n"
    )
}

fn room(name: &str, team: &str) -> String {
    format!("version: v1\nkind: Room\nmetadata: {{name: {name}, annotations: {{team: {team}}}}}\n")
}

fn apply(person: &Person, text: &str) {
    let file = person.file("source.yaml", text);
    person.run(&["apply", "-f", &file]).ok();
}

/// Has a source looked at; what it says when it was applied.
#[track_caller]
fn reconcile(person: &Person, name: &str) -> String {
    person.run(&["source", "reconcile", name, "--timeout", "60s"]).ok().stdout
}

/// Has a source looked at; what it says when it was not applied.
#[track_caller]
fn refused(person: &Person, name: &str, words: &[&str]) {
    person.run(&["source", "reconcile", name, "--timeout", "60s"]).fails(1, words);
}

fn status(person: &Person, name: &str) -> Value {
    person.run(&["source", "get", name, "-o", "json"]).json()["status"].clone()
}

fn rooms(person: &Person) -> Vec<String> {
    let all = person.run(&["get", "rooms", "-o", "json"]).json();
    let names = all["rooms"].as_array().unwrap().iter().map(|room| room["name"].as_str().unwrap().to_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[track_caller]
fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !is() {
        assert!(Instant::now() < end, "never: {what}");
    }
}

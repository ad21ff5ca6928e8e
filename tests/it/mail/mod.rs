//! Mail, with programs that others wrote on the other side.

mod agent;
mod delivery;
mod origin;
mod outbox;
mod receiver;

use crate::cli::Person;
use crate::support::server::Server;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::net::SocketAddr;

/// A server with mail, and its operator.
pub struct Office {
    pub server: Server,
    pub person: Person,
}

impl Office {
    pub fn open(arguments: &[&str]) -> Self {
        let mut all = vec!["--smtp", "127.0.0.1:0"];
        all.extend(arguments);
        let server = Server::start(&all);
        let person = Person::of(&server);
        person.run(&["rooms", "create", "desk"]).ok();
        Self { server, person }
    }

    /// An address of the file that says how to connect.
    pub fn port(&self, name: &str) -> SocketAddr {
        let text = std::fs::read_to_string(self.server.data_dir().join("connection.json")).unwrap();
        let connection: Value = serde_json::from_str(&text).unwrap();
        connection[name].as_str().unwrap().parse().unwrap()
    }

    pub fn smtp(&self) -> SocketAddr {
        self.port("smtp")
    }

    /// Makes a mailbox whose queue is named like it.
    pub fn mailbox(&self, address: &str, more: &[&str]) {
        let mut all = vec!["mailbox", "create", "--address", address, "--room", "desk", "--queue", address];
        all.extend(more);
        self.person.run(&all).ok();
    }

    pub fn size(&self, queue: &str) -> usize {
        let listed = self.person.run(&["room", "queue", "list", "--room", "desk", "-o", "json"]).json();
        let queues = listed["queues"].as_array().or(listed.as_array()).cloned().unwrap_or_default();
        queues
            .iter()
            .find(|one| one["name"] == queue)
            .and_then(|one| one["size"].as_u64())
            .map_or(0, |size| usize::try_from(size).unwrap())
    }

    /// Takes the next message out of the queue.
    pub fn receive(&self, queue: &str) -> String {
        let item = self.person.run(&["room", "queue", "receive", "--room", "desk", "--queue", queue]).json();
        let keys: Vec<&String> = item.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["base64"], "the item has the one key that agents read");
        String::from_utf8(STANDARD.decode(item["base64"].as_str().unwrap()).unwrap()).unwrap()
    }
}

//! How tools were described when they were first used. A server that describes a tool otherwise later is not trusted
//! with it until a person has said so. What is remembered lasts with the room's tables. Knows no server and no protocol.

mod table;

use crate::client::room::RoomClient;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use table::Table;
use tokio::sync::OnceCell;

/// Tools that are remembered.
pub const PINS_MAX: usize = 8192;

/// What is known of a tool as it is described now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Described as before, or never seen before and remembered now.
    Known,
    /// Described otherwise than what is remembered, or new where no more can be remembered.
    Changed,
}

/// The pins of an agent, shared by its tools.
#[derive(Clone, Debug)]
pub struct SharedPins(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pins: Mutex<Pins>,
    table: Table,
    loaded: OnceCell<()>,
}

impl SharedPins {
    #[must_use]
    pub fn new(client: RoomClient, agent_name: &str) -> Self {
        let table = Table::new(client, agent_name);
        Self(Arc::new(Shared { pins: Mutex::default(), table, loaded: OnceCell::new() }))
    }

    fn pins(&self) -> MutexGuard<'_, Pins> {
        self.0.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what was remembered before this agent started. Where that fails it is tried again the next time.
    pub async fn load(&self) {
        let read = || async {
            let rows = self.0.table.load(PINS_MAX).await?;
            self.pins().add(rows);
            Ok::<_, crate::client::room::RoomError>(())
        };
        if let Err(error) = self.0.loaded.get_or_try_init(read).await {
            tracing::warn!(%error, "how tools were described before cannot be read");
        }
    }

    pub fn standing(&self, server: &str, tool: &str, digest: [u8; 32]) -> Standing {
        self.pins().standing(&key(server, tool), digest)
    }

    /// A person let the tool be called as it is described now.
    pub async fn accept(&self, server: &str, tool: &str, digest: [u8; 32]) {
        self.pins().accept(&key(server, tool), digest);
        self.save().await;
    }

    /// Writes what is new.
    pub async fn save(&self) {
        let rows = self.pins().unsaved();
        if rows.is_empty() {
            return;
        }
        let keys: Vec<String> = rows.iter().map(|(key, _)| key.clone()).collect();
        if let Err(error) = self.0.table.save(rows).await {
            tracing::warn!(%error, "how tools are described cannot be kept; it is remembered while this agent runs");
            self.pins().not_saved(keys);
        }
    }
}

/// Tells two descriptions of a tool apart, whatever the order of their members.
pub fn digest(description: Value) -> [u8; 32] {
    Sha256::digest(sorted(description).to_string()).into()
}

/// The same with the members of every object in order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let ordered: BTreeMap<_, _> =
                members.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            Value::Object(ordered.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// What a tool is remembered under: a server's address may hold a secret, so it is not readable.
fn key(server: &str, tool: &str) -> String {
    hex(&Sha256::digest(format!("{}:{server}{tool}", server.len())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Digests by key, as hexadecimal digits. Pure.
#[derive(Debug, Default)]
struct Pins {
    known: HashMap<String, String>,
    unsaved: HashSet<String>,
}

impl Pins {
    /// What was remembered goes before what was seen since.
    fn add(&mut self, rows: Vec<table::Row>) {
        self.known.extend(rows);
    }

    /// Looks a tool up; remembers one that is new.
    fn standing(&mut self, key: &str, digest: [u8; 32]) -> Standing {
        match self.known.get(key) {
            Some(known) if *known == hex(&digest) => Standing::Known,
            Some(_) => Standing::Changed,
            None if self.known.len() >= PINS_MAX => Standing::Changed,
            None => {
                self.set(key, digest);
                Standing::Known
            }
        }
    }

    fn accept(&mut self, key: &str, digest: [u8; 32]) {
        if self.known.contains_key(key) {
            self.set(key, digest);
        }
    }

    fn set(&mut self, key: &str, digest: [u8; 32]) {
        self.known.insert(key.to_owned(), hex(&digest));
        self.unsaved.insert(key.to_owned());
    }

    fn unsaved(&mut self) -> Vec<table::Row> {
        let keys = std::mem::take(&mut self.unsaved);
        keys.into_iter().filter_map(|key| Some((key.clone(), self.known.get(&key)?.clone()))).collect()
    }

    fn not_saved(&mut self, keys: Vec<String>) {
        self.unsaved.extend(keys);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_is_described_otherwise_has_changed_until_it_is_accepted() {
        let mut pins = Pins::default();
        assert_eq!(pins.standing("t", [1; 32]), Standing::Known);
        assert_eq!(pins.standing("t", [1; 32]), Standing::Known);
        assert_eq!(pins.standing("t", [2; 32]), Standing::Changed);
        assert_eq!(pins.standing("t", [2; 32]), Standing::Changed, "looking does not accept");
        assert_eq!(pins.standing("u", [2; 32]), Standing::Known, "another tool");
        pins.accept("t", [2; 32]);
        assert_eq!(pins.standing("t", [2; 32]), Standing::Known);
        assert_eq!(pins.standing("t", [1; 32]), Standing::Changed, "the way back is a change too");
        pins.accept("v", [1; 32]);
        assert_eq!(pins.known.len(), 2, "what was never seen is not accepted");
    }

    #[test]
    fn what_was_remembered_before_goes_first_and_what_is_new_is_written_once() {
        let mut pins = Pins::default();
        pins.add(vec![("t".into(), hex(&[1; 32]))]);
        assert_eq!(pins.standing("t", [2; 32]), Standing::Changed);
        assert_eq!(pins.unsaved(), []);
        pins.accept("t", [2; 32]);
        assert_eq!(pins.unsaved(), [("t".to_owned(), hex(&[2; 32]))]);
        assert_eq!(pins.unsaved(), []);
        pins.not_saved(vec!["t".into()]);
        assert_eq!(pins.unsaved().len(), 1);
    }

    #[test]
    fn what_cannot_be_remembered_is_asked_about() {
        let mut pins = Pins::default();
        for n in 0..PINS_MAX {
            assert_eq!(pins.standing(&n.to_string(), [0; 32]), Standing::Known);
        }
        assert_eq!(pins.standing("one more", [0; 32]), Standing::Changed);
    }

    #[test]
    fn keys_and_digests_are_no_texts() {
        assert_ne!(key("a", "bc"), key("ab", "c"));
        assert!(!key("https://x.test?key=s3cret", "t").contains("s3cret"));
        let one: Value = serde_json::from_str(r#"{"a": 1, "b": {"c": 2, "d": 3}}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"b": {"d": 3, "c": 2}, "a": 1}"#).unwrap();
        assert_eq!(digest(one.clone()), digest(other));
        assert_ne!(digest(one), digest(Value::Null));
    }
}

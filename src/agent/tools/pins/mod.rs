//! How tools were described when they were first used. A server that describes a tool otherwise later is not trusted
//! with it until a person has said so. What is remembered lasts with the room's tables. Knows no server and no protocol.

mod table;

use crate::client::room::RoomClient;
use crate::error_code::RoomCode;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use table::Table;
use tokio::sync::OnceCell;

/// Tools that are remembered.
pub const PINS_MAX: usize = 8192;

/// What is known of a tool as it is described now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Never called before.
    New,
    /// Described as when it was first called.
    Known,
    /// Described otherwise, or new where no more can be remembered, or what is remembered cannot be read.
    Changed,
}

/// Whether what was remembered before this agent started is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    Yes,
    /// The agent's token does not give the table, so this agent never remembered anything.
    Denied,
    No,
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

    /// Reads what was remembered before this agent started. Where that fails it is tried again the next time; until it
    /// has been read, every tool counts as changed and nothing is written.
    pub async fn load(&self) -> Loaded {
        let read = || async {
            let rows = self.0.table.load(PINS_MAX).await?;
            self.pins().add(rows);
            Ok::<_, crate::client::room::RoomError>(())
        };
        match self.0.loaded.get_or_try_init(read).await {
            Ok(()) => Loaded::Yes,
            Err(error) => {
                tracing::warn!(%error, "how tools were described before cannot be read");
                let denied = error.code() == Some(RoomCode::PermissionDenied.number());
                if denied { Loaded::Denied } else { Loaded::No }
            }
        }
    }

    fn is_loaded(&self) -> bool {
        self.0.loaded.initialized()
    }

    pub fn standing(&self, server: &str, tool: &str, digest: [u8; 32]) -> Standing {
        self.look(&key(server, tool), digest)
    }

    /// How a toolkit of the room says that people are asked, against what it said when it was first used.
    pub fn mode(&self, toolkit: &str, mode: Option<&Value>) -> Standing {
        self.look(&mode_key(toolkit), mode_digest(mode))
    }

    fn look(&self, key: &str, digest: [u8; 32]) -> Standing {
        if self.is_loaded() { self.pins().standing(key, digest) } else { Standing::Changed }
    }

    /// Why a tool counts as changed, for people.
    pub fn why(&self) -> &'static str {
        if self.is_loaded() {
            "is described otherwise than when it was first used"
        } else {
            "cannot be compared with what it was when it was first used"
        }
    }

    /// The tool is about to be called, `approved` by a person or not. Who approved the call approved of the tool as it is described;
    /// one that is new is remembered. Error, for the model: it is not what it was when it was first called, and nobody was asked.
    pub async fn admit(
        &self,
        server: &str,
        tool: &str,
        digest: [u8; 32],
        approved: bool,
    ) -> Result<(), String> {
        if approved {
            self.accept(server, tool, digest).await;
            return Ok(());
        }
        if self.first(&key(server, tool), digest).await {
            return Ok(());
        }
        Err("this tool is described otherwise than when it was first used, so it was not called; from the next turn on a \
             person is asked"
            .to_owned())
    }

    async fn accept(&self, server: &str, tool: &str, digest: [u8; 32]) {
        if self.is_loaded() {
            self.pins().accept(&key(server, tool), digest);
            self.save().await;
        }
    }

    /// Remembers how a toolkit says that people are asked, where that is new.
    pub async fn keep_mode(&self, toolkit: &str, mode: Option<&Value>) {
        self.first(&mode_key(toolkit), mode_digest(mode)).await;
    }

    async fn first(&self, key: &str, digest: [u8; 32]) -> bool {
        if !self.is_loaded() {
            return false;
        }
        let same = self.pins().first(key, digest);
        self.save().await;
        same
    }

    /// Counts as read, with nothing in it.
    #[must_use]
    pub fn begun(self) -> Self {
        let _ = self.0.loaded.set(());
        self
    }

    /// Writes what is new.
    async fn save(&self) {
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
    hex::encode(Sha256::digest(format!("{}:{server}{tool}", server.len())))
}

/// Like no key of a tool, which begins with a number before it is hashed.
fn mode_key(toolkit: &str) -> String {
    hex::encode(Sha256::digest(format!("mode:{toolkit}")))
}

fn mode_digest(mode: Option<&Value>) -> [u8; 32] {
    digest(mode.cloned().unwrap_or_default())
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

    fn standing(&self, key: &str, digest: [u8; 32]) -> Standing {
        match self.known.get(key) {
            Some(known) if *known == hex::encode(digest) => Standing::Known,
            Some(_) => Standing::Changed,
            None if self.known.len() >= PINS_MAX => Standing::Changed,
            None => Standing::New,
        }
    }

    /// Remembers what is new; false where it is not what is remembered.
    fn first(&mut self, key: &str, digest: [u8; 32]) -> bool {
        let standing = self.standing(key, digest);
        if standing == Standing::New {
            self.set(key, digest);
        }
        standing != Standing::Changed
    }

    fn accept(&mut self, key: &str, digest: [u8; 32]) {
        if self.known.contains_key(key) || self.known.len() < PINS_MAX {
            self.set(key, digest);
        }
    }

    fn set(&mut self, key: &str, digest: [u8; 32]) {
        self.known.insert(key.to_owned(), hex::encode(digest));
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
        assert_eq!(pins.standing("t", [1; 32]), Standing::New);
        assert_eq!(pins.standing("t", [2; 32]), Standing::New, "looking remembers nothing");
        assert!(pins.first("t", [1; 32]) && pins.first("t", [1; 32]));
        assert_eq!(pins.standing("t", [1; 32]), Standing::Known);
        assert_eq!(pins.standing("t", [2; 32]), Standing::Changed);
        assert!(!pins.first("t", [2; 32]), "nobody was asked");
        assert_eq!(pins.standing("t", [2; 32]), Standing::Changed, "a call does not accept");
        assert_eq!(pins.standing("u", [2; 32]), Standing::New, "another tool");
        pins.accept("t", [2; 32]);
        assert_eq!(pins.standing("t", [2; 32]), Standing::Known);
        assert_eq!(pins.standing("t", [1; 32]), Standing::Changed, "the way back is a change too");
        pins.accept("v", [1; 32]);
        assert_eq!(pins.standing("v", [1; 32]), Standing::Known, "what is accepted first is remembered");
    }

    #[test]
    fn what_was_remembered_before_goes_first_and_what_is_new_is_written_once() {
        let mut pins = Pins::default();
        pins.add(vec![("t".into(), hex::encode([1; 32]))]);
        assert_eq!(pins.standing("t", [2; 32]), Standing::Changed);
        assert!(pins.first("t", [1; 32]));
        assert_eq!(pins.unsaved(), []);
        pins.accept("t", [2; 32]);
        assert_eq!(pins.unsaved(), [("t".to_owned(), hex::encode([2; 32]))]);
        assert_eq!(pins.unsaved(), []);
        pins.not_saved(vec!["t".into()]);
        assert_eq!(pins.unsaved().len(), 1);
    }

    #[test]
    fn looking_at_many_tools_leaves_room_and_what_cannot_be_remembered_is_asked_about() {
        let mut pins = Pins::default();
        for n in 0..=PINS_MAX {
            assert_eq!(pins.standing(&n.to_string(), [0; 32]), Standing::New);
        }
        for n in 0..PINS_MAX {
            assert!(pins.first(&n.to_string(), [0; 32]));
        }
        assert_eq!(pins.standing("one more", [0; 32]), Standing::Changed);
        assert!(!pins.first("one more", [0; 32]));
        pins.accept("one more", [0; 32]);
        assert_eq!(pins.known.len(), PINS_MAX);
    }

    #[tokio::test]
    async fn until_what_was_remembered_is_read_every_tool_has_changed_and_nothing_is_written() {
        use crate::client::room::{Options, Token, fake::FakeRoom};
        // This room has no tables.
        let room = FakeRoom::start().await;
        let client = RoomClient::connect(Options::new(room.url.clone(), Token::new("good"))).await.unwrap();
        let pins = SharedPins::new(client.clone(), "bob");
        assert_ne!(pins.load().await, Loaded::Yes);
        assert_eq!(pins.standing("s", "t", [1; 32]), Standing::Changed);
        assert!(pins.admit("s", "t", [1; 32], true).await.is_ok());
        assert!(pins.admit("s", "t", [1; 32], false).await.is_err());
        assert_eq!(pins.mode("s", None), Standing::Changed);
        assert!(pins.pins().known.is_empty());
        assert!(pins.pins().unsaved().is_empty());
        let pins = SharedPins::new(client, "bob").begun();
        assert_eq!(pins.standing("s", "t", [1; 32]), Standing::New);
        assert!(pins.admit("s", "t", [1; 32], false).await.is_ok());
        assert!(pins.admit("s", "t", [2; 32], false).await.is_err());
        assert!(pins.admit("s", "t", [2; 32], true).await.is_ok());
        assert!(pins.admit("s", "t", [2; 32], false).await.is_ok());
        let row = (key("s", "t"), hex::encode([2; 32]));
        assert_eq!(pins.pins().unsaved(), [row], "what could not be written is written later");
    }

    #[test]
    fn keys_and_digests_are_no_texts() {
        assert_ne!(key("a", "bc"), key("ab", "c"));
        assert_ne!(mode_key("a"), key("mode:a", ""));
        assert!(!key("https://x.test?key=s3cret", "t").contains("s3cret"));
        let one: Value = serde_json::from_str(r#"{"a": 1, "b": {"c": 2, "d": 3}}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"b": {"d": 3, "c": 2}, "a": 1}"#).unwrap();
        assert_eq!(digest(one.clone()), digest(other));
        assert_ne!(digest(one), digest(Value::Null));
    }
}

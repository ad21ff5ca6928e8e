//! A secret of somebody: what it is called, its versions, who may use it. Its values are in the vault, never here.

use super::event::Nothing;
use super::{Entity, Event, Refusal, Rejection};
use crate::name::NAME_BYTES_MAX;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Most versions of one secret that are kept at once.
pub const VERSIONS_MAX: usize = 100;
/// Most service accounts that one secret is granted to.
pub const GRANTS_MAX: usize = 1_000;
/// Most bytes of a secret's metadata and annotations together, as JSON.
pub const NOTES_BYTES_MAX: usize = 64 * 1024;

/// Whose a secret is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "id")]
pub enum Owner {
    /// A caller's own; only that caller manages and reads it. Others use it through the proxy, where granted.
    User(Uuid),
    /// A service account's; who manages the account manages it.
    ServiceAccount(Uuid),
}

/// What is said of a secret beside its value.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct About {
    pub name: String,
    /// `opaque`, or a word that says what the value is.
    #[serde(rename = "type")]
    pub kind: String,
    /// The value is given to nobody; the proxy alone uses it.
    #[serde(default)]
    pub http_only: bool,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub annotations: Map<String, Value>,
}

/// Fact: a secret exists, without a value yet.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Created {
    pub owner: Owner,
    /// The identity that made it.
    pub by: Uuid,
    #[serde(flatten)]
    pub about: About,
}

/// Fact: a value was put into the vault as this version.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VersionAdded {
    pub id: Uuid,
    pub number: u64,
    /// SHA-256 of the value, lower-case hexadecimal.
    pub sha256: String,
    /// It is the one that is used from now on.
    pub current: bool,
    pub by: Uuid,
}

/// Fact about one version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VersionDeleted {
    pub id: Uuid,
}

/// Fact about one service account and a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ForAccount {
    pub account: Uuid,
}

/// One version of a secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Version {
    pub id: Uuid,
    pub number: u64,
    pub sha256: String,
    pub by: Uuid,
    /// It was added while the secret was `http_only`, and stays unreadable whatever the secret becomes.
    pub sealed: bool,
    pub created_at: DateTime<Utc>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Secret {
    pub owner: Owner,
    pub by: Uuid,
    pub about: About,
    pub versions: Vec<Version>,
    pub current: Option<Uuid>,
    /// Numbers are never given twice.
    pub last_number: u64,
    /// Service accounts that may use it through the proxy.
    pub proxy: BTreeSet<Uuid>,
    /// Service accounts that pull images with it.
    pub pull: BTreeSet<Uuid>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Secret {
    #[must_use]
    pub fn version(&self, id: Uuid) -> Option<&Version> {
        self.versions.iter().find(|version| version.id == id)
    }

    #[must_use]
    pub fn current_version(&self) -> Option<&Version> {
        self.version(self.current?)
    }

    /// Whether a version's value may be given out.
    #[must_use]
    pub fn readable(&self, version: &Version) -> bool {
        !self.about.http_only && !version.sealed
    }

    /// Whether it may be used in requests made for a service account. `itself`: by that account, not in its name.
    #[must_use]
    pub fn usable_by(&self, account: Uuid, itself: bool) -> bool {
        match self.owner {
            Owner::User(owner) => (itself && owner == account) || self.proxy.contains(&account),
            Owner::ServiceAccount(owner) => owner == account,
        }
    }
}

#[derive(Clone, Debug)]
pub enum Command {
    Create(Created),
    Update(About),
    Delete,
    /// The number in it is chosen here.
    AddVersion(VersionAdded),
    DeleteVersion(Uuid),
    GrantProxy(Uuid),
    RevokeProxy(Uuid),
    UseForPulls(Uuid),
    StopUseForPulls(Uuid),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the secret exists already; update it, or add a version")]
    Exists,
    #[error("the secret does not exist; `meshagent secret list` shows those that do")]
    NotFound,
    #[error("the secret has no version {0}; `meshagent secret versions` shows those it has")]
    NoVersion(Uuid),
    #[error("{0}")]
    Invalid(&'static str),
    #[error(
        "the secret has {VERSIONS_MAX} versions, the most that are kept; delete one with `meshagent secret delete-version` first"
    )]
    TooManyVersions,
    #[error(
        "the secret is granted to {GRANTS_MAX} service accounts, the most there may be; revoke one first"
    )]
    TooManyGrants,
    #[error("a service account's own secret needs no grant; grant a user's secret")]
    NotAUsers,
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Exists => Refusal::Exists,
            Self::NotFound | Self::NoVersion(_) => Refusal::NotFound,
            Self::Invalid(_) | Self::NotAUsers => Refusal::Invalid,
            Self::TooManyVersions | Self::TooManyGrants => Refusal::State,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "secret-exists",
            Self::NotFound | Self::NoVersion(_) => "secret-not-found",
            Self::Invalid(_) | Self::NotAUsers => "secret-invalid",
            Self::TooManyVersions | Self::TooManyGrants => "secret-full",
        }
    }
}

fn check(about: &About) -> Result<(), Refused> {
    let text = |text: &str| {
        !text.trim().is_empty() && text.len() <= NAME_BYTES_MAX && !text.contains(char::is_control)
    };
    if !text(&about.name) {
        return Err(Refused::Invalid("a secret's name is 1 to 255 bytes of text; choose another"));
    }
    if !text(&about.kind) {
        return Err(Refused::Invalid("a secret's type is a short word, such as `opaque`"));
    }
    let bytes = |map: &Map<String, Value>| serde_json::to_string(map).map_or(usize::MAX, |json| json.len());
    if bytes(&about.metadata).saturating_add(bytes(&about.annotations)) > NOTES_BYTES_MAX {
        return Err(Refused::Invalid("a secret's metadata and annotations are at most 64 KiB together"));
    }
    Ok(())
}

impl Secret {
    fn change(&self, command: Command) -> Result<Vec<Event>, Refused> {
        let once = |wanted: bool, event: Event| Ok(if wanted { vec![event] } else { vec![] });
        let full = |set: &BTreeSet<Uuid>, account: &Uuid| set.len() >= GRANTS_MAX && !set.contains(account);
        match command {
            Command::Create(_) => Err(Refused::Exists),
            Command::Update(about) => {
                check(&about)?;
                once(about != self.about, Event::SecretUpdated(about))
            }
            Command::Delete => Ok(vec![Event::SecretDeleted(Nothing {})]),
            Command::AddVersion(_) if self.versions.len() >= VERSIONS_MAX => Err(Refused::TooManyVersions),
            Command::AddVersion(version) => {
                let number = self.last_number + 1;
                Ok(vec![Event::SecretVersionAdded(VersionAdded { number, ..version })])
            }
            Command::DeleteVersion(id) => match self.version(id) {
                Some(_) => Ok(vec![Event::SecretVersionDeleted(VersionDeleted { id })]),
                None => Err(Refused::NoVersion(id)),
            },
            Command::GrantProxy(_) if !matches!(self.owner, Owner::User(_)) => Err(Refused::NotAUsers),
            Command::GrantProxy(account) if full(&self.proxy, &account) => Err(Refused::TooManyGrants),
            Command::GrantProxy(account) => {
                once(!self.proxy.contains(&account), Event::SecretProxyGranted(ForAccount { account }))
            }
            Command::RevokeProxy(account) => {
                once(self.proxy.contains(&account), Event::SecretProxyRevoked(ForAccount { account }))
            }
            Command::UseForPulls(account) if full(&self.pull, &account) => Err(Refused::TooManyGrants),
            Command::UseForPulls(account) => {
                once(!self.pull.contains(&account), Event::SecretPullAdded(ForAccount { account }))
            }
            Command::StopUseForPulls(account) => {
                once(self.pull.contains(&account), Event::SecretPullRemoved(ForAccount { account }))
            }
        }
    }

    fn after(&mut self, event: &Event, at: DateTime<Utc>) {
        match event {
            Event::SecretUpdated(about) => self.about = about.clone(),
            Event::SecretVersionAdded(added) => {
                self.last_number = self.last_number.max(added.number);
                self.versions.push(Version {
                    id: added.id,
                    number: added.number,
                    sha256: added.sha256.clone(),
                    by: added.by,
                    sealed: self.about.http_only,
                    created_at: at,
                });
                if added.current {
                    self.current = Some(added.id);
                }
            }
            Event::SecretVersionDeleted(deleted) => {
                self.versions.retain(|version| version.id != deleted.id);
                if self.current == Some(deleted.id) {
                    self.current = None;
                }
            }
            Event::SecretProxyGranted(grant) => {
                self.proxy.insert(grant.account);
            }
            Event::SecretProxyRevoked(grant) => {
                self.proxy.remove(&grant.account);
            }
            Event::SecretPullAdded(pull) => {
                self.pull.insert(pull.account);
            }
            Event::SecretPullRemoved(pull) => {
                self.pull.remove(&pull.account);
            }
            _ => return,
        }
        self.updated_at = at;
    }
}

impl Entity for Secret {
    type Command = Command;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, command: Command) -> Result<Vec<Event>, Refused> {
        match (state, command) {
            (None, Command::Create(created)) => {
                check(&created.about)?;
                Ok(vec![Event::SecretCreated(created)])
            }
            (None, _) => Err(Refused::NotFound),
            (Some(secret), command) => secret.change(command),
        }
    }

    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self> {
        match (state, event) {
            (_, Event::SecretCreated(created)) => Some(Self {
                owner: created.owner,
                by: created.by,
                about: created.about.clone(),
                versions: vec![],
                current: None,
                last_number: 0,
                proxy: BTreeSet::new(),
                pull: BTreeSet::new(),
                created_at: at,
                updated_at: at,
            }),
            (_, Event::SecretDeleted(_)) => None,
            (Some(mut secret), event) => {
                secret.after(event, at);
                Some(secret)
            }
            (None, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn about(http_only: bool) -> About {
        About {
            name: "key".into(),
            kind: "opaque".into(),
            http_only,
            metadata: Map::new(),
            annotations: Map::new(),
        }
    }

    fn run(secret: &mut Option<Secret>, command: Command) -> Result<usize, Refused> {
        let events = Secret::decide(secret.as_ref(), command)?;
        for event in &events {
            *secret = Secret::evolve(secret.take(), event, DateTime::UNIX_EPOCH);
        }
        Ok(events.len())
    }

    fn version(n: u128, current: bool) -> Command {
        Command::AddVersion(VersionAdded { id: id(n), number: 0, sha256: "00".into(), current, by: id(1) })
    }

    #[test]
    fn versions_are_numbered_for_ever_and_one_is_current() {
        let mut secret = None;
        let created = Created { owner: Owner::User(id(1)), by: id(1), about: about(false) };
        assert_eq!(run(&mut secret, version(9, true)), Err(Refused::NotFound));
        run(&mut secret, Command::Create(created.clone())).unwrap();
        assert_eq!(run(&mut secret, Command::Create(created)), Err(Refused::Exists));
        run(&mut secret, version(10, true)).unwrap();
        run(&mut secret, version(11, false)).unwrap();
        assert_eq!(secret.as_ref().unwrap().current, Some(id(10)));
        run(&mut secret, Command::DeleteVersion(id(11))).unwrap();
        assert_eq!(run(&mut secret, Command::DeleteVersion(id(11))), Err(Refused::NoVersion(id(11))));
        run(&mut secret, version(12, true)).unwrap();
        let state = secret.as_ref().unwrap();
        assert_eq!(state.current_version().unwrap().number, 3, "a number is not given twice");
        let json = serde_json::to_string(state).unwrap();
        assert_eq!(&serde_json::from_str::<Secret>(&json).unwrap(), state);
        run(&mut secret, Command::DeleteVersion(id(12))).unwrap();
        assert_eq!(secret.unwrap().current, None);
    }

    #[test]
    fn a_value_added_for_the_proxy_alone_is_never_readable() {
        let mut secret = None;
        let owner = Owner::User(id(1));
        run(&mut secret, Command::Create(Created { owner, by: id(1), about: about(true) })).unwrap();
        run(&mut secret, version(10, true)).unwrap();
        run(&mut secret, Command::Update(about(false))).unwrap();
        run(&mut secret, version(11, true)).unwrap();
        let state = secret.unwrap();
        let readable: Vec<bool> = state.versions.iter().map(|v| state.readable(v)).collect();
        assert_eq!(readable, [false, true]);
    }

    #[test]
    fn grants_are_for_users_secrets() {
        let mut secret = None;
        let owner = Owner::User(id(1));
        run(&mut secret, Command::Create(Created { owner, by: id(1), about: about(true) })).unwrap();
        assert!(!secret.as_ref().unwrap().usable_by(id(2), true));
        assert_eq!(run(&mut secret, Command::GrantProxy(id(2))), Ok(1));
        assert_eq!(run(&mut secret, Command::GrantProxy(id(2))), Ok(0), "granting twice is no news");
        assert!(secret.as_ref().unwrap().usable_by(id(2), true));
        assert!(!secret.as_ref().unwrap().usable_by(id(1), false), "not in the name of its owner's account");
        run(&mut secret, Command::RevokeProxy(id(2))).unwrap();
        assert!(
            !secret.as_ref().unwrap().usable_by(id(2), true)
                && secret.as_ref().unwrap().usable_by(id(1), true)
        );
        let mut own = None;
        let owner = Owner::ServiceAccount(id(1));
        run(&mut own, Command::Create(Created { owner, by: id(1), about: about(true) })).unwrap();
        assert_eq!(run(&mut own, Command::GrantProxy(id(2))), Err(Refused::NotAUsers));
        let nameless = About { name: " ".into(), ..about(false) };
        assert!(matches!(run(&mut own, Command::Update(nameless)), Err(Refused::Invalid(_))));
    }
}

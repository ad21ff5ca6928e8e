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
/// Versions of a secret that are kept when a document gives it another value.
pub const DECLARED_KEPT_MAX: usize = 10;
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

/// Fact: a document says what a secret is; it exists from then on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Declared {
    pub owner: Owner,
    /// The identity that made it, where it was not there.
    pub by: Uuid,
    #[serde(flatten)]
    pub about: About,
    /// A value that was put into the vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added: Option<Added>,
    /// The version that is used from now on, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Uuid>,
    /// Versions that are kept no longer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<Uuid>,
}

/// A version that a document gave. Its value is known by a digest under a key of the project's: nothing of it can be found
/// by trying values.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Added {
    pub id: Uuid,
    pub number: u64,
    pub fingerprint: String,
}

/// What a document wants of a secret.
#[derive(Clone, PartialEq, Debug)]
pub struct Declaration {
    pub owner: Owner,
    pub by: Uuid,
    pub about: About,
    pub value: DeclaredValue,
}

/// What becomes of the value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeclaredValue {
    /// It stays what it is.
    Kept,
    /// This version is used from now on.
    Version(Uuid),
    /// A new one, which the vault has under this id.
    New { id: Uuid, fingerprint: String },
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
    /// Empty where a document gave the value.
    pub sha256: String,
    /// Keyed digest of a value that a document gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
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
    /// Counts the changes of what it is and of its value, from 1.
    #[serde(default)]
    pub generation: u64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Secret {
    fn fresh(owner: Owner, by: Uuid, about: About, at: DateTime<Utc>) -> Self {
        Self {
            owner,
            by,
            about,
            versions: vec![],
            current: None,
            last_number: 0,
            proxy: BTreeSet::new(),
            pull: BTreeSet::new(),
            generation: 1,
            created_at: at,
            updated_at: at,
        }
    }

    #[must_use]
    pub fn version(&self, id: Uuid) -> Option<&Version> {
        self.versions.iter().find(|version| version.id == id)
    }

    #[must_use]
    pub fn current_version(&self) -> Option<&Version> {
        self.version(self.current?)
    }

    /// Keyed digest of the value that is used, where a document gave it.
    #[must_use]
    pub fn fingerprint(&self) -> Option<&str> {
        self.current_version()?.fingerprint.as_deref()
    }

    /// A version with the value of this fingerprint, which can be read as the secret is to be.
    #[must_use]
    pub fn version_of(&self, fingerprint: &str, http_only: bool) -> Option<&Version> {
        let is = |version: &&Version| version.fingerprint.as_deref() == Some(fingerprint);
        self.versions.iter().rev().filter(is).find(|version| http_only || !version.sealed)
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
    Declare(Declaration),
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

/// What is wrong with what is said of a secret.
pub fn check(about: &About) -> Result<(), Refused> {
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
            Command::Declare(declaration) => self.declare(declaration),
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

    /// What a document says; nothing where all of it is so already.
    fn declare(&self, wanted: Declaration) -> Result<Vec<Event>, Refused> {
        let Declaration { owner, by, about, value } = wanted;
        check(&about)?;
        if owner != self.owner {
            return Err(Refused::Invalid("a secret stays its service account's; make another one"));
        }
        let mut declared = Declared { owner, by, about, added: None, current: None, dropped: vec![] };
        match value {
            DeclaredValue::Kept => {}
            DeclaredValue::Version(id) if self.version(id).is_none() => return Err(Refused::NoVersion(id)),
            DeclaredValue::Version(id) => declared.current = Some(id).filter(|id| self.current != Some(*id)),
            DeclaredValue::New { id, fingerprint } => {
                declared.added = Some(Added { id, number: self.last_number + 1, fingerprint });
                declared.current = Some(id);
                // Of those that documents gave; what others added is theirs.
                let given = self.versions.iter().filter(|version| version.fingerprint.is_some());
                let given: Vec<Uuid> = given.map(|version| version.id).collect();
                let over = (given.len() + 1).saturating_sub(DECLARED_KEPT_MAX);
                declared.dropped = given.into_iter().take(over).collect();
                if self.versions.len() + 1 > VERSIONS_MAX + declared.dropped.len() {
                    return Err(Refused::TooManyVersions);
                }
            }
        }
        let same = declared.about == self.about && declared.current.is_none();
        Ok(if same { vec![] } else { vec![Event::SecretDeclared(declared)] })
    }

    fn add(&mut self, version: Version, current: bool) {
        self.last_number = self.last_number.max(version.number);
        if current {
            self.current = Some(version.id);
        }
        self.versions.push(version);
    }

    fn declared(&mut self, declared: &Declared, at: DateTime<Utc>) {
        self.about = declared.about.clone();
        if let Some(added) = &declared.added {
            let version = Version {
                id: added.id,
                number: added.number,
                sha256: String::new(),
                fingerprint: Some(added.fingerprint.clone()),
                by: declared.by,
                sealed: self.about.http_only,
                created_at: at,
            };
            self.add(version, false);
        }
        self.current = declared.current.or(self.current);
        self.versions.retain(|version| !declared.dropped.contains(&version.id));
    }

    fn after(&mut self, event: &Event, at: DateTime<Utc>) {
        let of_itself = matches!(
            event,
            Event::SecretUpdated(_)
                | Event::SecretDeclared(_)
                | Event::SecretVersionAdded(_)
                | Event::SecretVersionDeleted(_)
        );
        self.generation += u64::from(of_itself);
        match event {
            Event::SecretUpdated(about) => self.about = about.clone(),
            Event::SecretDeclared(declared) => self.declared(declared, at),
            Event::SecretVersionAdded(added) => {
                let version = Version {
                    id: added.id,
                    number: added.number,
                    sha256: added.sha256.clone(),
                    fingerprint: None,
                    by: added.by,
                    sealed: self.about.http_only,
                    created_at: at,
                };
                self.add(version, added.current);
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
            (None, Command::Declare(Declaration { owner, by, about, value })) => {
                check(&about)?;
                let added = match value {
                    DeclaredValue::Kept => None,
                    DeclaredValue::Version(id) => return Err(Refused::NoVersion(id)),
                    DeclaredValue::New { id, fingerprint } => Some(Added { id, number: 1, fingerprint }),
                };
                let current = added.as_ref().map(|added| added.id);
                let declared = Declared { owner, by, about, added, current, dropped: vec![] };
                Ok(vec![Event::SecretDeclared(declared)])
            }
            (None, _) => Err(Refused::NotFound),
            (Some(secret), command) => secret.change(command),
        }
    }

    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self> {
        match (state, event) {
            (_, Event::SecretCreated(created)) => {
                Some(Self::fresh(created.owner, created.by, created.about.clone(), at))
            }
            (None, Event::SecretDeclared(declared)) => {
                let mut secret = Self::fresh(declared.owner, declared.by, declared.about.clone(), at);
                secret.declared(declared, at);
                Some(secret)
            }
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
#[path = "secret_tests.rs"]
mod tests;

//! A project: the tenant that everything else belongs to.

use super::project_member::{self, Granted, MEMBERS_MAX, MemberChanges, Members};
use super::{Entity, Event, Refusal, Rejection, member};
use crate::id::{ProjectId, StreamId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Most bytes of one settings document, as JSON.
pub const SETTINGS_BYTES_MAX: usize = 256 * 1024;
/// Name of the settings document that says what each role of a user may do in rooms.
pub const ROOM_ROLES: &str = "room-roles";

/// Fact: the project exists. `key` is its short name, unique on the platform.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Created {
    pub name: String,
    pub key: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Project {
    pub name: String,
    pub key: String,
    pub created_at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Settings documents by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, Settings>,
    /// Roles of people by address.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub members: Members,
    /// Counts the changes of what is wanted; 1 at creation.
    #[serde(default)]
    pub generation: u64,
    /// The settings [`ROOM_ROLES`] as something of its own. None where there are none, or where the project's own document
    /// says them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_roles: Option<RoomRolesMark>,
}

/// What is known of the settings [`ROOM_ROLES`] beside their document.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RoomRolesMark {
    /// The revision by which they came to be.
    pub id: Uuid,
    /// Counts their changes from 1.
    pub generation: u64,
    pub created_at: DateTime<Utc>,
}

/// Fact: a settings document is now this. What is secret of it is in the vault under the revision.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SettingsSet {
    pub name: String,
    #[serde(flatten)]
    pub settings: Settings,
}

/// Fact: a settings document is gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SettingsRemoved {
    pub name: String,
}

/// Fact: the project is now as a document says. What is not here was left alone.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Updated {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Members that have other roles now, or none any more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub members: MemberChanges,
    /// Settings documents that are others now.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, Settings>,
}

/// What a document wants of a project.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    pub annotations: BTreeMap<String, String>,
    /// All members there are to be, as [`project_member::plain`] has them; none leaves them alone.
    pub members: Option<Members>,
    /// Settings documents that are to be these; others are left alone.
    pub settings: BTreeMap<String, Settings>,
}

/// One settings document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Made anew with every change.
    pub revision: Uuid,
    #[serde(default)]
    pub document: Map<String, Value>,
    /// Whether the vault has a secret of this revision.
    #[serde(default)]
    pub has_secret: bool,
    /// Notes of those who keep it as a resource of its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Create(Created),
    SetSettings(SettingsSet),
    RemoveSettings(SettingsRemoved),
    /// `forced`: also where nobody who can manage the project is left.
    Grant {
        granted: Granted,
        forced: bool,
    },
    Revoke {
        user: String,
        forced: bool,
    },
    Update(Wanted),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("this project exists already; use it as it is")]
    Exists,
    #[error("a project's name may not be empty; give one")]
    NoName,
    #[error("the project does not exist; `meshagent project list` shows those that do")]
    NotFound,
    #[error("the settings `{0}` are not set; nothing is to be removed")]
    NoSettings(String),
    #[error("the settings `{name}` have {bytes} bytes; at most {SETTINGS_BYTES_MAX} are kept")]
    TooLong { name: String, bytes: usize },
    #[error("a member is named by an address of 1 to {} bytes; give one", member::USER_BYTES_MAX)]
    NoUser,
    #[error("no role was named; a member has at least one, such as member, developer or admin")]
    NoRoles,
    #[error("`{0}` is no member of the project; `meshagent project users list` shows those who are")]
    NoMember(String),
    #[error("a project has at most {MEMBERS_MAX} members; remove some")]
    TooManyMembers,
    #[error(
        "nobody who can manage the project would be left; give the role admin to somebody else first, or use the key of the server's operator"
    )]
    LastManager,
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Exists => Refusal::Exists,
            Self::NoName | Self::TooLong { .. } | Self::NoUser | Self::NoRoles => Refusal::Invalid,
            Self::NotFound | Self::NoSettings(_) | Self::NoMember(_) => Refusal::NotFound,
            Self::TooManyMembers | Self::LastManager => Refusal::State,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "project-exists",
            Self::NoName => "name-invalid",
            Self::NotFound | Self::NoSettings(_) => "not-found",
            Self::TooLong { .. } => "settings-invalid",
            Self::NoUser | Self::NoRoles => "member-invalid",
            Self::NoMember(_) => "member-not-found",
            Self::TooManyMembers => "project-members-limit",
            Self::LastManager => "project-last-manager",
        }
    }
}

impl Project {
    pub const CATEGORY: &'static str = "project";

    #[must_use]
    pub fn stream(id: ProjectId) -> StreamId {
        StreamId::new(Self::CATEGORY, id)
    }

    fn update(&self, wanted: Wanted) -> Result<Vec<Event>, Refused> {
        let Wanted { annotations, members, mut settings } = wanted;
        let members = members.map(|wanted| project_member::changes(&self.members, &wanted)).transpose()?;
        let same = |name: &String, new: &Settings| {
            self.settings.get(name).is_some_and(|old| old.document == new.document)
        };
        settings.retain(|name, new| !same(name, new));
        settings.iter().try_for_each(|(name, new)| check_size(name, new))?;
        let annotations = Some(annotations).filter(|notes| *notes != self.annotations);
        let updated = Updated { annotations, members: members.unwrap_or_default(), settings };
        Ok(if updated == Updated::default() { vec![] } else { vec![Event::ProjectUpdated(updated)] })
    }

    fn set_settings(mut self, set: &SettingsSet, at: DateTime<Utc>) -> Self {
        let was_there = self.settings.insert(set.name.clone(), set.settings.clone()).is_some();
        if set.name == ROOM_ROLES && (self.room_roles.is_some() || !was_there) {
            let mark = self.room_roles.map(|mark| RoomRolesMark { generation: mark.generation + 1, ..mark });
            self.room_roles =
                mark.or(Some(RoomRolesMark { id: set.settings.revision, generation: 1, created_at: at }));
        } else {
            self.generation += 1;
        }
        self
    }

    fn remove_settings(mut self, name: &str) -> Self {
        self.settings.remove(name);
        if name != ROOM_ROLES || self.room_roles.take().is_none() {
            self.generation += 1;
        }
        self
    }

    fn updated(mut self, updated: &Updated) -> Self {
        self.generation += 1;
        if let Some(annotations) = &updated.annotations {
            self.annotations.clone_from(annotations);
        }
        for (user, roles) in &updated.members {
            match roles {
                Some(roles) => self.members.insert(user.clone(), roles.clone()),
                None => self.members.remove(user),
            };
        }
        self.settings.extend(updated.settings.iter().map(|(name, set)| (name.clone(), set.clone())));
        self
    }
}

fn check_size(name: &str, settings: &Settings) -> Result<(), Refused> {
    let bytes = Value::Object(settings.document.clone()).to_string().len();
    if bytes > SETTINGS_BYTES_MAX { Err(Refused::TooLong { name: name.to_owned(), bytes }) } else { Ok(()) }
}

impl Entity for Project {
    type Command = Command;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, command: Command) -> Result<Vec<Event>, Refused> {
        match (state, command) {
            (Some(_), Command::Create(_)) => Err(Refused::Exists),
            (None, Command::Create(created)) if created.name.trim().is_empty() => Err(Refused::NoName),
            (None, Command::Create(created)) => Ok(vec![Event::ProjectCreated(created)]),
            (None, _) => Err(Refused::NotFound),
            (Some(_), Command::SetSettings(set)) => {
                check_size(&set.name, &set.settings)?;
                Ok(vec![Event::ProjectSettingsSet(set)])
            }
            (Some(old), Command::RemoveSettings(removed)) => {
                if !old.settings.contains_key(&removed.name) {
                    return Err(Refused::NoSettings(removed.name));
                }
                Ok(vec![Event::ProjectSettingsRemoved(removed)])
            }
            (Some(old), Command::Grant { granted, forced }) => {
                project_member::grant(&old.members, &granted, forced)
            }
            (Some(old), Command::Revoke { user, forced }) => {
                project_member::revoke(&old.members, &user, forced)
            }
            (Some(old), Command::Update(wanted)) => old.update(wanted),
        }
    }

    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self> {
        match event {
            Event::ProjectCreated(c) => Some(Self {
                name: c.name.clone(),
                key: c.key.clone(),
                created_at: at,
                annotations: BTreeMap::new(),
                settings: BTreeMap::new(),
                members: Members::new(),
                generation: 1,
                room_roles: None,
            }),
            Event::ProjectSettingsSet(set) => state.map(|project| project.set_settings(set, at)),
            Event::ProjectSettingsRemoved(removed) => {
                state.map(|project| project.remove_settings(&removed.name))
            }
            Event::ProjectMemberGranted(granted) | Event::ProjectMemberChanged(granted) => {
                state.map(|mut project| {
                    project.generation += 1;
                    project.members.insert(granted.user.clone(), granted.roles.clone());
                    project
                })
            }
            Event::ProjectMemberRevoked(revoked) => state.map(|mut project| {
                project.generation += 1;
                project.members.remove(&revoked.user);
                project
            }),
            Event::ProjectUpdated(updated) => state.map(|project| project.updated(updated)),
            _ => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn project() -> Project {
        let created = Event::ProjectCreated(Created { name: "one".into(), key: "one".into() });
        Project::evolve(None, &created, DateTime::UNIX_EPOCH).unwrap()
    }

    fn set(text: &str) -> SettingsSet {
        let document = json!({"text": text}).as_object().unwrap().clone();
        let settings = Settings {
            revision: Uuid::from_u128(1),
            document,
            has_secret: false,
            annotations: BTreeMap::new(),
        };
        SettingsSet { name: "router".into(), settings }
    }

    #[test]
    fn settings_are_set_replaced_and_removed() {
        let mut state = project();
        for text in ["first", "second"] {
            let events = Project::decide(Some(&state), Command::SetSettings(set(text))).unwrap();
            state = Project::evolve(Some(state), &events[0], DateTime::UNIX_EPOCH).unwrap();
            assert_eq!(state.settings["router"].document["text"], text);
        }
        let remove = || Command::RemoveSettings(SettingsRemoved { name: "router".into() });
        let events = Project::decide(Some(&state), remove()).unwrap();
        state = Project::evolve(Some(state), &events[0], DateTime::UNIX_EPOCH).unwrap();
        assert_eq!(state, Project { generation: 4, ..project() });
        assert_eq!(Project::decide(Some(&state), remove()), Err(Refused::NoSettings("router".into())));
        assert_eq!(Project::decide(None, remove()), Err(Refused::NotFound));
        let long = set(&"x".repeat(SETTINGS_BYTES_MAX));
        assert!(matches!(
            Project::decide(Some(&state), Command::SetSettings(long)),
            Err(Refused::TooLong { .. })
        ));
    }

    fn roles(roles: &[crate::spec::ProjectRole]) -> crate::spec::ProjectRoles {
        roles.iter().copied().collect()
    }

    /// Carries a command out; the kinds of its facts.
    fn run(state: &mut Project, command: Command) -> Result<Vec<&'static str>, Refused> {
        let events = Project::decide(Some(state), command)?;
        for event in &events {
            *state = Project::evolve(Some(state.clone()), event, DateTime::UNIX_EPOCH).unwrap();
        }
        Ok(events.iter().map(Event::kind).collect())
    }

    #[test]
    fn members_have_the_roles_that_were_granted_last() {
        use crate::spec::ProjectRole::{Admin, Developer, Member, RoomCreator};
        let mut state = project();
        let grant = |user: &str, named: &[_], forced| {
            let granted = Granted { user: user.to_owned(), roles: roles(named) };
            Command::Grant { granted, forced }
        };
        let revoke = |user: &str, forced| Command::Revoke { user: user.to_owned(), forced };
        let mut run = |command| run(&mut state, command);
        assert_eq!(
            run(grant(" Ann@x ", &[Member, Admin, RoomCreator], false)),
            Ok(vec!["project.member-granted"])
        );
        assert_eq!(run(grant("ann@x", &[Admin], false)), Ok(vec![]), "the same, in fewer words");
        assert_eq!(run(grant("bob@x", &[Developer], false)), Ok(vec!["project.member-granted"]));
        assert_eq!(run(grant("ann@x", &[Developer], false)), Err(Refused::LastManager));
        assert_eq!(run(revoke("ANN@x", false)), Err(Refused::LastManager));
        assert_eq!(run(grant("bob@x", &[Admin], false)), Ok(vec!["project.member-changed"]));
        assert_eq!(run(revoke("ANN@x", false)), Ok(vec!["project.member-revoked"]));
        assert_eq!(run(revoke("ann@x", false)), Err(Refused::NoMember("ann@x".into())));
        assert_eq!(run(revoke("bob@x", true)), Ok(vec!["project.member-revoked"]));
        assert_eq!(run(grant("eve@x", &[], false)), Err(Refused::NoRoles));
        assert_eq!(run(grant(" ", &[Admin], false)), Err(Refused::NoUser));
        assert_eq!(run(grant("a\nb", &[Admin], false)), Err(Refused::NoUser));
        assert_eq!((state.generation, state.members.len()), (6, 0));
    }

    #[test]
    fn no_more_members_are_taken_than_there_may_be() {
        use crate::spec::ProjectRole::Member;
        let mut state = project();
        state.members = (0..MEMBERS_MAX).map(|n| (format!("u{n}@x"), roles(&[Member]))).collect();
        let granted = Granted { user: "one@x".into(), roles: roles(&[Member]) };
        let command = Command::Grant { granted, forced: true };
        assert_eq!(Project::decide(Some(&state), command), Err(Refused::TooManyMembers));
        let all = (0..=MEMBERS_MAX).map(|n| (format!("u{n}@x"), roles(&[Member])));
        assert_eq!(project_member::plain(all), Err(Refused::TooManyMembers));
    }

    #[test]
    fn a_document_sets_members_and_settings_at_once() {
        use crate::spec::ProjectRole::{Admin, Developer, Member};
        let mut state = project();
        let wanted = |members: Option<&[(&str, &[_])]>, settings: &[&str]| {
            let members = members.map(|all| {
                let all = all.iter().map(|(user, named)| ((*user).to_owned(), roles(named)));
                project_member::plain(all).unwrap()
            });
            let settings = settings.iter().map(|text| ("router".to_owned(), set(text).settings)).collect();
            Command::Update(Wanted { members, settings, ..Wanted::default() })
        };
        let both = || wanted(Some(&[("Ann@x", &[Admin, Member]), ("bob@x", &[Developer])]), &["one"]);
        assert_eq!(run(&mut state, both()), Ok(vec!["project.updated"]));
        assert_eq!(run(&mut state, both()), Ok(vec![]), "the revision of settings alone is no change");
        assert_eq!((state.generation, state.members.len()), (2, 2));
        assert_eq!(run(&mut state, wanted(None, &[])), Ok(vec![]), "left alone");
        assert_eq!(run(&mut state, wanted(Some(&[]), &[])), Err(Refused::LastManager));
        assert_eq!(run(&mut state, wanted(Some(&[("bob@x", &[Developer])]), &[])), Err(Refused::LastManager));
        assert_eq!(
            run(&mut state, wanted(Some(&[("bob@x", &[Admin])]), &["two"])),
            Ok(vec!["project.updated"])
        );
        assert_eq!(state.settings["router"].document["text"], "two");
        assert_eq!(state.members, project_member::plain([("bob@x".to_owned(), roles(&[Admin]))]).unwrap());
    }

    #[test]
    fn roles_in_rooms_are_counted_by_themselves() {
        let mut state = project();
        let set = |revision| {
            let settings = Settings { revision: Uuid::from_u128(revision), ..set("x").settings };
            SettingsSet { name: ROOM_ROLES.into(), settings }
        };
        let remove = || Command::RemoveSettings(SettingsRemoved { name: ROOM_ROLES.into() });
        for revision in [5, 6] {
            run(&mut state, Command::SetSettings(set(revision))).unwrap();
        }
        let created_at = DateTime::UNIX_EPOCH;
        let mark = RoomRolesMark { id: Uuid::from_u128(5), generation: 2, created_at };
        assert_eq!((state.room_roles, state.generation), (Some(mark), 1));
        run(&mut state, remove()).unwrap();
        assert_eq!((state.room_roles, state.generation), (None, 1));
        let settings = [(ROOM_ROLES.to_owned(), set(7).settings)].into();
        run(&mut state, Command::Update(Wanted { settings, ..Wanted::default() })).unwrap();
        assert_eq!((state.room_roles, state.generation), (None, 2), "the project's document says them");
        run(&mut state, Command::SetSettings(set(8))).unwrap();
        run(&mut state, remove()).unwrap();
        assert_eq!((state.room_roles, state.generation), (None, 4));
    }
}

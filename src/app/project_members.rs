//! People of a project and their roles in it.

use super::{Actor, App, Change, Decision, Error};
use crate::domain::Entity;
use crate::domain::project::{Command, Project, Refused};
use crate::domain::project_member::{self, Granted};
use crate::id::ProjectId;
use crate::projection::World;
use crate::spec::{ProjectRole, ProjectRoles};

/// How a member is to be set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// Whether or not there is one.
    Set,
    /// Only one that is there.
    Change,
}

impl App {
    /// Gives somebody these roles in a project, in place of those they had. `forced`: also where nobody who can manage
    /// the project is left.
    pub async fn set_member(
        &self,
        actor: &Actor,
        project: ProjectId,
        user: &str,
        roles: impl IntoIterator<Item = ProjectRole>,
        (how, forced): (How, bool),
    ) -> Result<(), Error> {
        let granted = Granted { user: user.to_owned(), roles: roles.into_iter().collect() };
        self.on_members(actor, project, Command::Grant { granted, forced }, how).await
    }

    /// Takes all roles in a project from somebody.
    pub async fn remove_member(
        &self,
        actor: &Actor,
        project: ProjectId,
        user: &str,
        forced: bool,
    ) -> Result<(), Error> {
        self.on_members(actor, project, Command::Revoke { user: user.to_owned(), forced }, How::Set).await
    }

    async fn on_members(
        &self,
        actor: &Actor,
        project: ProjectId,
        command: Command,
        how: How,
    ) -> Result<(), Error> {
        self.transact(actor, |world| {
            let state = state(world, project);
            if let (How::Change, Command::Grant { granted, .. }, Some(state)) = (how, &command, state)
                && project_member::roles(&state.members, &granted.user).is_none()
            {
                return Err(Error::rejected(Refused::NoMember(granted.user.clone())));
            }
            let events = Project::decide(state, command.clone()).map_err(Error::rejected)?;
            Ok(Decision { changes: vec![Change::new(project, Project::stream(project), events)], answer: () })
        })
        .await
    }
}

/// A project as it is.
#[must_use]
pub fn state(world: &World, project: ProjectId) -> Option<&Project> {
    world.project(project).and_then(|view| view.project.as_ref()).map(|slot| &slot.state)
}

/// The roles that somebody was given in a project; none for those who are no members.
#[must_use]
pub fn roles(world: &World, project: ProjectId, user: &str) -> ProjectRoles {
    let found = state(world, project).and_then(|state| project_member::roles(&state.members, user));
    found.cloned().unwrap_or_default()
}

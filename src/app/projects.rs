//! Projects.

use super::{Actor, App, Change, Decision, Error};
use crate::domain::Entity;
use crate::domain::account::{self, ServiceAccount};
use crate::domain::names::{self, Kind, Names};
use crate::domain::project::{self, Project};
use crate::id::{ProjectId, ServiceAccountId};
use crate::projection::World;

/// Every project has a service account of this name.
pub const DEFAULT_ACCOUNT: &str = "default";

/// A project to make. `id` is given when a key already names it.
#[derive(Clone, Debug)]
pub struct NewProject {
    pub id: Option<ProjectId>,
    pub name: String,
    pub key: Option<String>,
}

impl App {
    /// Makes a project with its `default` service account.
    pub async fn create_project(
        &self,
        actor: &Actor,
        new: NewProject,
    ) -> Result<(ProjectId, ServiceAccountId), Error> {
        let id = new.id.unwrap_or_else(|| ProjectId::new(self.ids.fresh()));
        let account = ServiceAccountId::new(id, self.ids.fresh());
        let key = new.key.unwrap_or_else(|| key_of(&new.name, id));
        self.transact(actor, |world| decide(world, id, account, &new.name, &key)).await
    }
}

fn decide(
    world: &World,
    id: ProjectId,
    account: ServiceAccountId,
    name: &str,
    key: &str,
) -> Result<Decision<(ProjectId, ServiceAccountId)>, Error> {
    let project = world.project(id).and_then(|v| v.project.as_ref()).map(|s| &s.state);
    let created = project::Created { name: name.to_owned(), key: key.to_owned() };
    let made = Project::decide(project, project::Command::Create(created)).map_err(Error::rejected)?;
    let platform = world.project(ProjectId::PLATFORM).and_then(|v| v.names.as_ref()).map(|s| &s.state);
    let claim = names::Command::Claim {
        key: names::Key { kind: Kind::Project, scope: None, name: key.to_owned() },
        id: id.uuid(),
    };
    let claimed = Names::decide(platform, claim).map_err(Error::rejected)?;
    let profile = account::Profile {
        name: DEFAULT_ACCOUNT.to_owned(),
        key: DEFAULT_ACCOUNT.to_owned(),
        ..account::Profile::default()
    };
    let account_made =
        ServiceAccount::decide(None, account::Command::Create(profile)).map_err(Error::rejected)?;
    let account_name = names::Command::Claim {
        key: names::Key { kind: Kind::ServiceAccount, scope: None, name: DEFAULT_ACCOUNT.to_owned() },
        id: account.uuid(),
    };
    let account_claimed = Names::decide(None, account_name).map_err(Error::rejected)?;
    Ok(Decision {
        changes: vec![
            Change::new(ProjectId::PLATFORM, Names::stream(ProjectId::PLATFORM), claimed),
            Change::new(id, Project::stream(id), made),
            Change::new(id, account.stream(), account_made),
            Change::new(id, Names::stream(id), account_claimed),
        ],
        answer: (id, account),
    })
}

/// A short platform-wide name: the given one in small letters, and the end of the identifier.
fn key_of(name: &str, id: ProjectId) -> String {
    let plain: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(24)
        .collect();
    let id = id.uuid().simple().to_string();
    let tail = id.get(id.len() - 6..).unwrap_or(&id);
    let plain = plain.trim_matches('-');
    if plain.is_empty() { format!("p-{tail}") } else { format!("{plain}-{tail}") }
}

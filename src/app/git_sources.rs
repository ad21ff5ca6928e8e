//! Git sources: what they apply, by which commit, and what became of it.

use super::plan::kinds::git_source::let_go;
use super::plan::{Plan, Request};
use super::rooms::release;
use super::{Actor, App, Change, Decision, Error};
use crate::domain::git_source::{Applied, Command, Commit, Failed, GitSource, Refused};
use crate::domain::inventory::Inventory;
use crate::domain::names::Kind;
use crate::domain::secret::Owner;
use crate::domain::{Entity, Event};
use crate::id::{GitSourceId, OwnedSecretId, ProjectId};
use crate::projection::World;
use crate::spec::NamedSecret;
use crate::vault;
use std::sync::Arc;

/// What of a repository is to be applied.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Generation of the source when it was read.
    pub generation: u64,
    /// Requests that this answers.
    pub request_number: u64,
    pub commit: Commit,
    pub request: Arc<Request>,
    pub left_out: Vec<String>,
}

impl App {
    /// A project's git source by its name.
    pub fn git_source_named(
        &self,
        project: ProjectId,
        name: &str,
    ) -> Result<(GitSourceId, GitSource), Error> {
        let world = self.world();
        let uuid = world.named(project, Kind::GitSource, None, name);
        let id =
            uuid.map(|uuid| GitSourceId::new(project, uuid)).ok_or_else(|| Error::no_git_source(name))?;
        let source = world.git_source(id).cloned().ok_or_else(|| Error::no_git_source(name))?;
        Ok((id, source))
    }

    /// Has a source looked at now. Once is enough until that was done.
    pub async fn request_git_source(&self, actor: &Actor, id: GitSourceId) -> Result<(), Error> {
        self.on_git_source(actor, id, |_| Command::Request).await
    }

    /// Suspends a source, or lets it go on.
    pub async fn suspend_git_source(
        &self,
        actor: &Actor,
        id: GitSourceId,
        suspend: bool,
    ) -> Result<(), Error> {
        self.on_git_source(actor, id, |source| {
            let mut spec = source.spec.clone();
            spec.suspend = suspend;
            Command::Update(spec)
        })
        .await
    }

    /// Deletes a source. What it applied stays, and is held by it no more.
    pub async fn delete_git_source(&self, actor: &Actor, id: GitSourceId) -> Result<(), Error> {
        let project = id.project();
        self.transact(actor, |world| {
            let source = world.git_source(id).ok_or_else(|| Error::rejected(Refused::NotFound))?;
            let gone = GitSource::decide(Some(source), Command::Delete).map_err(Error::rejected)?;
            let name = &source.spec.metadata.name;
            let released = release(world, project, Kind::GitSource, None, name)?;
            let let_go = let_go(world, project, &source.source());
            let changes = vec![
                Change::new(project, id.stream(), gone),
                released,
                Change::new(project, Inventory::stream(project), let_go),
            ];
            Ok(Decision { changes, answer: () })
        })
        .await
    }

    /// Records why a source was not applied; nothing where that is known.
    pub async fn git_source_failed(
        &self,
        actor: &Actor,
        id: GitSourceId,
        failed: Failed,
    ) -> Result<(), Error> {
        self.on_git_source(actor, id, |_| Command::Failed(failed.clone())).await
    }

    /// Applies what a source fetched, and records that with it: all of it or nothing. Nothing is recorded where everything
    /// is as it was. Says whether anything was changed. Refused when the source changed since it was read.
    pub async fn apply_git_source(
        self: &Arc<Self>,
        actor: &Actor,
        id: GitSourceId,
        fetched: &Fetched,
    ) -> Result<Applied, Error> {
        let noted = fetched.clone();
        let revision = Some(fetched.commit.revision.clone());
        let note = move |world: &World, plan: &Plan, changed: bool| {
            let source = world.git_source(id).ok_or_else(|| Error::rejected(Refused::NotFound))?;
            if source.generation != noted.generation || source.spec.suspend {
                return Err(Error::Busy("the git source".to_owned()));
            }
            let command = Command::Applied { applied: applied(&noted, plan), changed };
            let events = GitSource::decide(Some(source), command).map_err(Error::rejected)?;
            Ok(vec![Change::new(id.project(), id.stream(), events)])
        };
        let request = Arc::clone(&fetched.request);
        let plan = self.apply_noting(actor, id.project(), request, None, revision, note).await?;
        Ok(applied(fetched, &plan))
    }

    /// The value of a secret that a source names. It must be a service account's, and one that may be read: whoever can
    /// make a source could read it as well.
    pub async fn git_source_secret(
        &self,
        project: ProjectId,
        named: &NamedSecret,
    ) -> Result<vault::Secret, Error> {
        let world = self.world();
        let refused = |text: String| Error::Invalid { code: "git-source-secret", text };
        let account = super::secrets::use_of::find_account(&world, project, &named.account)
            .ok_or_else(|| Error::no_account(&named.account))?;
        let own =
            |secret: &crate::domain::secret::Secret| secret.owner == Owner::ServiceAccount(account.uuid());
        let is_it = |id: OwnedSecretId, name: &str| name == named.secret || id.to_string() == named.secret;
        let found = world.secrets(project).find(|(id, secret)| own(secret) && is_it(*id, &secret.about.name));
        let Some((id, secret)) = found else {
            return Err(refused(format!(
                "service account `{}` has no secret `{}`; make it with `meshagent secret create`",
                named.account, named.secret
            )));
        };
        let version = secret.current_version().map(|version| version.id);
        let version =
            version.ok_or_else(|| refused(format!("secret `{}` has no current version", named.secret)))?;
        self.read_secret(id, version).await.map_err(|error| refused(error.to_string()))
    }

    async fn on_git_source(
        &self,
        actor: &Actor,
        id: GitSourceId,
        command: impl Fn(&GitSource) -> Command + Send + Sync,
    ) -> Result<(), Error> {
        self.transact(actor, |world| {
            let source = world.git_source(id).ok_or_else(|| Error::rejected(Refused::NotFound))?;
            let events: Vec<Event> =
                GitSource::decide(Some(source), command(source)).map_err(Error::rejected)?;
            Ok(Decision { changes: vec![Change::new(id.project(), id.stream(), events)], answer: () })
        })
        .await
    }
}

fn applied(fetched: &Fetched, plan: &Plan) -> Applied {
    Applied {
        generation: fetched.generation,
        request: fetched.request_number,
        commit: fetched.commit.clone(),
        documents: fetched.request.documents.len(),
        created: plan.summary.create,
        updated: plan.summary.update,
        replaced: plan.summary.replace,
        deleted: plan.summary.delete,
        left_out: fetched.left_out.clone(),
    }
}

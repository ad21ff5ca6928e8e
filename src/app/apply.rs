//! Documents made to be: each is created, changed, or found to be as wanted already.

use super::{Actor, App, Error};
use crate::domain::account::Profile;
use crate::domain::mailbox::Mailbox;
use crate::domain::names::Kind as NameKind;
use crate::domain::room::{Created, Updated};
use crate::id::{ProjectId, RoomId, ServiceAccountId, ServiceId};
use crate::name::{QueueName, RoomName};
use crate::spec::{self, Document, Kind};

/// What became of one document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Created,
    Configured,
    Unchanged,
}

impl Outcome {
    fn changed(yes: bool) -> Self {
        if yes { Self::Configured } else { Self::Unchanged }
    }
}

/// One document with its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub kind: Kind,
    pub name: String,
    pub outcome: Outcome,
}

impl std::fmt::Display for Applied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = self.kind.as_str().to_lowercase();
        let outcome = match self.outcome {
            Outcome::Created => "created",
            Outcome::Configured => "configured",
            Outcome::Unchanged => "unchanged",
        };
        write!(f, "{kind}/{} {outcome}", self.name)
    }
}

impl App {
    /// Applies documents in the order in which their kinds depend on each other. `room` is for those that do not say
    /// theirs. Stops at the first that cannot be; what was applied before stays.
    pub async fn apply(
        &self,
        actor: &Actor,
        project: ProjectId,
        documents: &[Document],
        room: Option<&str>,
    ) -> Result<Vec<Applied>, Error> {
        let mut ordered: Vec<&Document> = documents.iter().collect();
        ordered.sort_by_key(|d| d.kind());
        let mut done = vec![];
        for document in ordered {
            let outcome = self.apply_one(actor, project, document, room).await?;
            done.push(Applied { kind: document.kind(), name: document.name().to_owned(), outcome });
        }
        Ok(done)
    }

    async fn apply_one(
        &self,
        actor: &Actor,
        project: ProjectId,
        document: &Document,
        room: Option<&str>,
    ) -> Result<Outcome, Error> {
        match document {
            Document::Room(room) => self.apply_room(actor, project, room).await,
            Document::ServiceAccount(account) => self.apply_account(actor, project, account).await,
            Document::Service(service) => {
                let room = match document.room().or(room) {
                    Some(name) => Some(self.room_id(project, name)?),
                    None => None,
                };
                self.apply_service(actor, project, room, service).await
            }
            Document::ScheduledTask(task) => {
                let name = document.room().or(room).ok_or_else(|| no_room_said(document))?;
                self.apply_task(actor, self.room_id(project, name)?, task).await
            }
            Document::Mailbox(mailbox) => self.apply_mailbox(actor, project, mailbox).await,
            Document::Project(_) => {
                Err(refused(document, "projects are made with `meshagent project create`"))
            }
            Document::ServiceTemplate(_) => Err(refused(
                document,
                "a template needs values: use `meshagent service create-template --value name=value`",
            )),
            Document::Route(_) => {
                Err(refused(document, "this version validates routes but does not serve them yet"))
            }
        }
    }

    fn room_id(&self, project: ProjectId, name: &str) -> Result<RoomId, Error> {
        self.world().find_room(project, name).map(|(id, _)| id).ok_or_else(|| Error::no_room(name))
    }

    async fn apply_room(
        &self,
        actor: &Actor,
        project: ProjectId,
        room: &spec::Room,
    ) -> Result<Outcome, Error> {
        let name = RoomName::new(room.metadata.name.clone())
            .map_err(|error| Error::Invalid { code: "name-invalid", text: error.to_string() })?;
        let found = self.world().room_named(project, name.as_str()).map(|(id, _)| id);
        let (metadata, annotations) = (room.properties.clone(), room.metadata.annotations.clone());
        if let Some(id) = found {
            let update = Updated {
                name: None,
                metadata: Some(metadata),
                annotations: Some(annotations),
                enabled: Some(room.enabled),
            };
            self.update_room(actor, id, update).await.map(Outcome::changed)
        } else {
            let created = Created { name, metadata, annotations, enabled: room.enabled };
            self.create_room(actor, project, created, false).await.map(|_| Outcome::Created)
        }
    }

    async fn apply_account(
        &self,
        actor: &Actor,
        project: ProjectId,
        account: &spec::ServiceAccount,
    ) -> Result<Outcome, Error> {
        let name = &account.metadata.name;
        let mut profile = Profile {
            name: name.clone(),
            key: name.clone(),
            display_name: account.display_name.clone(),
            description: account.description.clone().unwrap_or_default(),
            annotations: account.metadata.annotations.clone(),
            ..Profile::default()
        };
        let world = self.world();
        match world.named(project, NameKind::ServiceAccount, None, name) {
            Some(uuid) => {
                let id = ServiceAccountId::new(project, uuid);
                if let Some(old) = world.account(id) {
                    profile.metadata = old.profile.metadata.clone();
                }
                self.update_account(actor, id, profile).await.map(Outcome::changed)
            }
            None => self.create_account(actor, project, profile).await.map(|_| Outcome::Created),
        }
    }

    async fn apply_service(
        &self,
        actor: &Actor,
        project: ProjectId,
        room: Option<RoomId>,
        service: &spec::Service,
    ) -> Result<Outcome, Error> {
        let found = self.world().named(project, NameKind::Service, room, &service.metadata.name);
        match found {
            Some(uuid) => {
                let id = ServiceId::new(project, uuid);
                self.update_service(actor, id, service.clone()).await.map(Outcome::changed)
            }
            None => {
                self.create_service(actor, project, room, service.clone()).await.map(|_| Outcome::Created)
            }
        }
    }

    async fn apply_task(
        &self,
        actor: &Actor,
        room: RoomId,
        task: &spec::ScheduledTask,
    ) -> Result<Outcome, Error> {
        let Some(name) = task.metadata.name.as_deref().filter(|n| !n.is_empty()) else {
            return Err(Error::Invalid {
                code: "spec-invalid",
                text:
                    "a scheduled task that is applied needs `metadata.name`, or each apply would make another"
                        .to_owned(),
            });
        };
        let world = self.world();
        let same = world
            .tasks(room.project())
            .find(|(_, t)| t.room == room && t.spec.metadata.name.as_deref() == Some(name));
        match same {
            Some((id, _)) => self.update_task(actor, id, task.clone()).await.map(Outcome::changed),
            None => self.create_task(actor, room, task.clone()).await.map(|_| Outcome::Created),
        }
    }

    async fn apply_mailbox(
        &self,
        actor: &Actor,
        project: ProjectId,
        mailbox: &spec::Mailbox,
    ) -> Result<Outcome, Error> {
        let queue = QueueName::new(mailbox.queue.clone())
            .map_err(|error| Error::Invalid { code: "name-invalid", text: error.to_string() })?;
        let wanted = Mailbox {
            address: mailbox.address.clone(),
            room: self.room_id(project, &mailbox.room)?,
            queue,
            public: mailbox.public,
            annotations: mailbox.annotations.clone(),
        };
        match self.mailbox_named(project, &mailbox.address) {
            Ok((id, _)) => self.update_mailbox(actor, id, wanted).await.map(Outcome::changed),
            Err(_) => self.create_mailbox(actor, project, wanted).await.map(|_| Outcome::Created),
        }
    }
}

fn refused(document: &Document, why: &str) -> Error {
    Error::Invalid {
        code: "kind-not-applied",
        text: format!("{} `{}` cannot be applied: {why}", document.kind(), document.name()),
    }
}

fn no_room_said(document: &Document) -> Error {
    refused(document, "it does not say its room; add the annotation `meshagent.room` or give `--room`")
}

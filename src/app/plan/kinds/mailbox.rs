//! `kind: Mailbox`. Its address is its name, whatever the case, and unique on the whole platform.

use super::{Change, Found, Home, Key, Reference, Resource, differing, document_of, typed};
use crate::app::Error;
use crate::app::mailboxes::{check_address, held};
use crate::app::plan::Ground;
use crate::app::plan::draft::Draft;
use crate::app::plan::problem::{Code, Problem};
use crate::domain::mailbox::{Command, Mailbox};
use crate::domain::names;
use crate::id::{MailboxId, ProjectId, StreamId};
use crate::name::QueueName;
use crate::projection::{ProjectView, World};
use crate::spec::{self, Kind, MailboxKind, Version};
use serde_json::Value;
use uuid::Uuid;

pub struct Mailboxes;

impl Resource for Mailboxes {
    fn kind(&self) -> Kind {
        Kind::Mailbox
    }

    fn home(&self) -> Home {
        Home::Project
    }

    fn name_at(&self) -> &'static str {
        "/address"
    }

    fn canonical(&self, name: &str) -> String {
        held(name)
    }

    fn all(&self, world: &World, project: ProjectId) -> Vec<(Uuid, Key)> {
        let key = |mailbox: &Mailbox| Key::new(Kind::Mailbox, None, held(&mailbox.address));
        world.mailboxes(project).map(|(id, mailbox)| (id.uuid(), key(mailbox))).collect()
    }

    fn read(&self, world: &World, project: ProjectId, id: Uuid) -> Option<Found> {
        let mailbox = world.mailbox(MailboxId::new(project, id))?;
        let document = spec::Mailbox {
            version: Version::V1,
            kind: MailboxKind::Mark,
            address: mailbox.address.clone(),
            room: world.room(mailbox.room).map(|room| room.name.to_string()).unwrap_or_default(),
            queue: mailbox.queue.to_string(),
            public: mailbox.public,
            annotations: mailbox.annotations.clone(),
        };
        Some(Found {
            key: Key::new(Kind::Mailbox, None, held(&mailbox.address)),
            document: document_of(&document),
            generation: world.version(project, &self.stream(project, id)),
            created_at: None,
        })
    }

    fn generation(&self, world: &World, project: ProjectId, id: Uuid) -> Option<u64> {
        Some(world.version(project, &self.stream(project, id))).filter(|version| *version > 0)
    }

    fn stream(&self, project: ProjectId, id: Uuid) -> StreamId {
        MailboxId::new(project, id).stream()
    }

    fn references(&self, document: &Value) -> Vec<Reference> {
        let room = document.get("room").and_then(Value::as_str).unwrap_or_default();
        vec![Reference { path: "room".to_owned(), key: Key::new(Kind::Room, None, room) }]
    }

    fn check(&self, ground: &Ground<'_>, key: &Key, document: &Value, old: Option<Uuid>) -> Vec<Problem> {
        let mut problems = vec![];
        if old.is_none() {
            if let Err(error) = check_address(&key.name, ground.settings.mail_domain.as_deref()) {
                problems.push(Problem::of(Code::Invalid, None, key, error.to_string()).at("address"));
            }
            let platform = ProjectId::PLATFORM;
            if ground.world.named(platform, names::Kind::MailboxAddress, None, &key.name).is_some() {
                let text = "the address belongs to another project of this server";
                let problem = Problem::of(Code::Invalid, None, key, text).at("address");
                problems.push(problem.hint("choose another"));
            }
        }
        let queue = document.get("queue").and_then(Value::as_str).unwrap_or_default();
        if let Err(error) = QueueName::new(queue) {
            problems.push(Problem::of(Code::Invalid, None, key, error.to_string()).at("queue"));
        }
        problems
    }

    fn changed(&self, old: &ProjectView, new: &ProjectView) -> Vec<Uuid> {
        differing(&old.mailboxes, &new.mailboxes)
    }

    fn change(&self, draft: &mut Draft<'_>, change: Change<'_>) -> Result<(), Error> {
        let (project, platform) = (draft.project(), ProjectId::PLATFORM);
        match change {
            Change::Create { id, key, document } => {
                let mailbox = read(draft, key, document)?;
                draft.claim(platform, names::Kind::MailboxAddress, None, &key.name, id)?;
                draft.decide::<Mailbox>(
                    MailboxId::new(project, id).stream(),
                    None,
                    Command::Create(mailbox),
                )?;
            }
            Change::Update { id, key, document } => {
                let mailbox = read(draft, key, document)?;
                let id = MailboxId::new(project, id);
                draft.decide(id.stream(), draft.world().mailbox(id), Command::Update(mailbox))?;
            }
            Change::Delete { id } => {
                let id = MailboxId::new(project, id);
                let old = draft.world().mailbox(id).ok_or_else(|| Error::no_mailbox(&id.to_string()))?;
                draft.release(platform, names::Kind::MailboxAddress, None, &held(&old.address))?;
                draft.decide(id.stream(), Some(old), Command::Delete)?;
            }
        }
        Ok(())
    }
}

fn read(draft: &Draft<'_>, key: &Key, document: &Value) -> Result<Mailbox, Error> {
    let spec: spec::Mailbox = typed(key, document)?;
    Ok(Mailbox {
        address: spec.address,
        room: draft.room(&spec.room)?,
        queue: QueueName::new(spec.queue)
            .map_err(|error| Error::Invalid { code: "name-invalid", text: error.to_string() })?,
        public: spec.public,
        annotations: spec.annotations,
    })
}

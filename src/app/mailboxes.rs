//! Mailboxes. An address is unique on the whole platform.

use super::rooms::{claim, release};
use super::{Actor, App, Change, Decision, Error};
use crate::domain::Entity;
use crate::domain::mailbox::{Command, Mailbox};
use crate::domain::names::Kind;
use crate::id::{MailboxId, ProjectId};
use crate::projection::World;

impl App {
    pub async fn create_mailbox(
        &self,
        actor: &Actor,
        project: ProjectId,
        mailbox: Mailbox,
    ) -> Result<MailboxId, Error> {
        let id = MailboxId::new(project, self.ids.fresh());
        self.transact(actor, |world| {
            world.room(mailbox.room).ok_or_else(|| Error::no_room(&mailbox.room.to_string()))?;
            let made = Mailbox::decide(None, Command::Create(mailbox.clone())).map_err(Error::rejected)?;
            let claimed =
                claim(world, ProjectId::PLATFORM, Kind::MailboxAddress, None, &mailbox.address, id.uuid())?;
            Ok(Decision { changes: vec![claimed, Change::new(project, id.stream(), made)], answer: id })
        })
        .await
    }

    /// Replaces all but the address. Says whether anything changed.
    pub async fn update_mailbox(&self, actor: &Actor, id: MailboxId, new: Mailbox) -> Result<bool, Error> {
        self.transact(actor, |world| {
            world.room(new.room).ok_or_else(|| Error::no_room(&new.room.to_string()))?;
            let old = find(world, id)?;
            let events = Mailbox::decide(Some(old), Command::Update(new.clone())).map_err(Error::rejected)?;
            let changed = !events.is_empty();
            Ok(Decision { changes: vec![Change::new(id.project(), id.stream(), events)], answer: changed })
        })
        .await
    }

    pub async fn delete_mailbox(&self, actor: &Actor, id: MailboxId) -> Result<(), Error> {
        self.transact(actor, |world| {
            let old = find(world, id)?;
            let events = Mailbox::decide(Some(old), Command::Delete).map_err(Error::rejected)?;
            let released = release(world, ProjectId::PLATFORM, Kind::MailboxAddress, None, &old.address)?;
            let changes = vec![Change::new(id.project(), id.stream(), events), released];
            Ok(Decision { changes, answer: () })
        })
        .await
    }
}

/// A project's mailbox by its address.
pub(crate) fn by_address<'w>(
    world: &'w World,
    project: ProjectId,
    address: &str,
) -> Option<(MailboxId, &'w Mailbox)> {
    let uuid = world.named(ProjectId::PLATFORM, Kind::MailboxAddress, None, address)?;
    let id = MailboxId::new(project, uuid);
    Some((id, world.mailbox(id)?))
}

fn find(world: &World, id: MailboxId) -> Result<&Mailbox, Error> {
    world.mailbox(id).ok_or_else(|| Error::no_mailbox(&id.to_string()))
}

impl App {
    /// A project's mailbox by its address, or why not.
    pub fn mailbox_named(&self, project: ProjectId, address: &str) -> Result<(MailboxId, Mailbox), Error> {
        let world = self.world();
        let found = by_address(&world, project, address).map(|(id, m)| (id, m.clone()));
        found.ok_or_else(|| Error::no_mailbox(address))
    }
}

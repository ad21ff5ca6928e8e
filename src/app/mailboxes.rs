//! Mailboxes. An address is unique on the whole platform.

use super::rooms::{claim, release};
use super::{Actor, App, Change, Decision, Error};
use crate::domain::Entity;
use crate::domain::mailbox::{Command, Mailbox};
use crate::domain::names::Kind;
use crate::id::{MailboxId, ProjectId};
use crate::mail::{Address, InvalidAddress};
use crate::projection::World;

impl App {
    pub async fn create_mailbox(
        &self,
        actor: &Actor,
        project: ProjectId,
        mailbox: Mailbox,
    ) -> Result<MailboxId, Error> {
        let id = MailboxId::new(project, self.ids.fresh());
        check_address(&mailbox.address, self.settings.mail_domain.as_deref())?;
        self.transact(actor, |world| {
            world.room(mailbox.room).ok_or_else(|| Error::no_room(&mailbox.room.to_string()))?;
            let made = Mailbox::decide(None, Command::Create(mailbox.clone())).map_err(Error::rejected)?;
            let claimed = claim(
                world,
                ProjectId::PLATFORM,
                Kind::MailboxAddress,
                None,
                &held(&mailbox.address),
                id.uuid(),
            )?;
            let stands = Change::stands(project, mailbox.room.stream());
            Ok(Decision {
                changes: vec![stands, claimed, Change::new(project, id.stream(), made)],
                answer: id,
            })
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
            let stands = Change::stands(id.project(), new.room.stream());
            Ok(Decision {
                changes: vec![stands, Change::new(id.project(), id.stream(), events)],
                answer: changed,
            })
        })
        .await
    }

    pub async fn delete_mailbox(&self, actor: &Actor, id: MailboxId) -> Result<(), Error> {
        self.transact(actor, |world| {
            let old = find(world, id)?;
            let events = Mailbox::decide(Some(old), Command::Delete).map_err(Error::rejected)?;
            let released =
                release(world, ProjectId::PLATFORM, Kind::MailboxAddress, None, &held(&old.address))?;
            let changes = vec![Change::new(id.project(), id.stream(), events), released];
            Ok(Decision { changes, answer: () })
        })
        .await
    }
}

/// How the address of a mailbox is held, so that case makes no second one.
pub(super) fn held(address: &str) -> String {
    address.to_ascii_lowercase()
}

/// Mail goes to an address as servers write it, and a mailbox takes the mail of its tags: an address with a tag, or
/// of a domain that is not this server's, would take what is another's.
pub(super) fn check_address(address: &str, mail_domain: Option<&str>) -> Result<(), Error> {
    let invalid = |text: String| Error::Invalid { code: "mailbox-address-invalid", text };
    let read: Address = address.parse().map_err(|error: InvalidAddress| invalid(error.to_string()))?;
    if read.without_tag().is_some() {
        return Err(invalid(format!(
            "`{address}` has a tag, and mail with a tag goes to the mailbox without it; leave out what is behind `+`"
        )));
    }
    match mail_domain {
        Some(domain) if !read.domain().eq_ignore_ascii_case(domain) => Err(invalid(format!(
            "`{address}` is not of this server's mail domain; mailboxes here are name@{domain}"
        ))),
        _ => Ok(()),
    }
}

/// A project's mailbox by its address.
pub(crate) fn by_address<'w>(
    world: &'w World,
    project: ProjectId,
    address: &str,
) -> Option<(MailboxId, &'w Mailbox)> {
    let uuid = world.named(ProjectId::PLATFORM, Kind::MailboxAddress, None, &held(address))?;
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

//! Which mailbox an address means, and who may write to it.

use crate::domain::mailbox::Mailbox;
use crate::domain::names::Kind;
use crate::id::{MailboxId, ProjectId};
use crate::mail::Address;
use crate::projection::World;

/// Annotation of a mailbox, or of its room, that lists who may write though it is not public: addresses and
/// `@domain`s, separated by commas or spaces.
pub const SENDERS: &str = "meshagent.mail.senders";

/// The mailbox of an address. A tag after `+` and the case of the name do not matter.
pub(crate) fn mailbox<'w>(world: &'w World, address: &Address) -> Option<(MailboxId, &'w Mailbox)> {
    exact(world, address).or_else(|| exact(world, &address.without_tag()?))
}

fn exact<'w>(world: &'w World, address: &Address) -> Option<(MailboxId, &'w Mailbox)> {
    let uuid = world.named(ProjectId::PLATFORM, Kind::MailboxAddress, None, &address.lower())?;
    world.projects().find_map(|(project, _)| {
        let id = MailboxId::new(project, uuid);
        world.mailbox(id).map(|mailbox| (id, mailbox))
    })
}

/// Whether this sender may write to the mailbox. `within`: the project whose participant it is known to be.
pub(crate) fn may_write(
    world: &World,
    id: MailboxId,
    mailbox: &Mailbox,
    from: &Address,
    within: Option<ProjectId>,
) -> bool {
    let room = world.room(mailbox.room).and_then(|room| room.annotations.get(SENDERS));
    let listed = |list: Option<&String>| list.is_some_and(|list| names(list, from));
    mailbox.public || within == Some(id.project()) || listed(mailbox.annotations.get(SENDERS)) || listed(room)
}

fn names(list: &str, address: &Address) -> bool {
    list.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty()).any(|entry| {
        match entry.strip_prefix('@') {
            Some(domain) => domain.eq_ignore_ascii_case(address.domain()),
            None => entry.parse().is_ok_and(|listed: Address| listed == *address),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_addresses_and_whole_domains() {
        let list = "boss@corp.test, @friends.test\nAnn@x.test";
        let named = |text: &str| names(list, &text.parse().unwrap());
        assert!(named("Boss@Corp.test") && named("who@friends.test") && named("ann@x.test"));
        assert!(!named("b@corp.test") && !named("who@not-friends.test") && !named("who@a.friends.test"));
        assert!(!names("", &"a@b.test".parse().unwrap()));
    }
}

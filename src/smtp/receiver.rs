//! The receiver: mail from other servers, for mailboxes here. A message is answered with 250 when it is in the
//! queues of all its mailboxes.

use super::desk::{Credentials, Desk, Destination, Envelope, Offer, Submitter};
use super::directory;
use super::intake::{Intake, IntakeError, Parcel};
use super::reply::Reply;
use super::trust::Gate;
use crate::domain::mailbox::Mailbox;
use crate::id::MailboxId;
use crate::mail::message::{self, HOPS_MAX};
use crate::mail::proof::{self, Standing};
use crate::mail::{Address, Facts, Trace};
use crate::projection::World;
use async_trait::async_trait;
use std::sync::Arc;
use uuid::Uuid;

/// Takes mail for mailboxes.
#[derive(Debug)]
pub struct Receiver {
    offer: Offer,
    intake: Arc<Intake>,
    gate: Gate,
}

impl Receiver {
    #[must_use]
    pub fn new(offer: Offer, intake: Arc<Intake>, gate: Gate) -> Self {
        Self { offer, intake, gate }
    }

    fn world(&self) -> Arc<World> {
        self.intake.app().world()
    }

    /// Whether every mailbox may have this message.
    fn admit(&self, envelope: &Envelope, facts: &Facts, standing: Option<Standing>) -> Result<(), Reply> {
        let world = self.world();
        if facts.hops > HOPS_MAX {
            return Err(Reply::new(
                554,
                "5.4.6 the message has passed too many servers; it goes round in circles",
            ));
        }
        if facts.from.iter().any(|from| directory::mailbox(&world, from).is_some()) {
            return Err(forged());
        }
        for (_, destination) in &envelope.recipients {
            let Destination::Mailbox(id) = *destination else { continue };
            let mailbox = world.mailbox(id).ok_or_else(unknown)?;
            if facts.delivered_to.contains(&mailbox.address.to_ascii_lowercase()) {
                return Err(Reply::new(
                    554,
                    "5.4.6 the message was in this mailbox already; it goes round in circles",
                ));
            }
            admit_one(&world, id, mailbox, envelope, facts)?;
            believe(mailbox, facts, standing)?;
        }
        Ok(())
    }
}

/// Whether a message is believed to be from whom it says. `None`: a server that is trusted brought it.
fn believe(mailbox: &Mailbox, facts: &Facts, standing: Option<Standing>) -> Result<(), Reply> {
    let by_list = !mailbox.public && !facts.is_report;
    match standing {
        None | Some(Standing::Proven) => Ok(()),
        Some(Standing::Unproven) if !by_list => Ok(()),
        Some(Standing::Unproven) => Err(unproven()),
        Some(Standing::Forged) => {
            Err(Reply::new(550, "5.7.26 the sender's domain says that this message is not from it (DMARC)"))
        }
        Some(Standing::Ambiguous) => Err(Reply::new(
            554,
            "5.6.0 the header says in more than one way who the message is from, or names authors of several domains",
        )),
        Some(Standing::Unknown) => Err(Reply::new(
            451,
            "4.4.3 whether the message is from its sender cannot be looked up now; try again later",
        )),
    }
}

/// To a mailbox that is not public, all who the message says it is from may write; a report is from nobody.
fn admit_one(
    world: &World,
    id: MailboxId,
    mailbox: &Mailbox,
    envelope: &Envelope,
    facts: &Facts,
) -> Result<(), Reply> {
    let report = envelope.from.is_none() && facts.is_report;
    let known = || facts.from.iter().all(|from| directory::may_write(world, id, mailbox, from, None));
    let accepted = mailbox.public || report || (envelope.from.is_some() && known());
    if accepted { Ok(()) } else { Err(not_listed()) }
}

fn unknown() -> Reply {
    Reply::new(550, "5.1.1 there is no such mailbox here")
}

fn not_listed() -> Reply {
    Reply::new(550, "5.7.1 this mailbox takes mail from those its owner listed only")
}

fn unproven() -> Reply {
    Reply::new(
        550,
        "5.7.26 nothing proves who wrote this: the sender's domain has to say so by SPF or DKIM, for its own addresses",
    )
}

fn forged() -> Reply {
    Reply::new(
        550,
        "5.7.1 the sender is a mailbox of this server; its mail comes through the submission service",
    )
}

#[async_trait]
impl Desk for Receiver {
    fn offer(&self) -> &Offer {
        &self.offer
    }

    async fn login(&self, _credentials: Credentials) -> Result<Submitter, Reply> {
        Err(Reply::new(502, "5.5.1 AUTH is not offered"))
    }

    fn sender(&self, _login: Option<&Submitter>, from: Option<&Address>) -> Result<(), Reply> {
        let own = from.is_some_and(|from| directory::mailbox(&self.world(), from).is_some());
        if own { Err(forged()) } else { Ok(()) }
    }

    fn recipient(
        &self,
        _login: Option<&Submitter>,
        from: Option<&Address>,
        to: &Address,
    ) -> Result<Destination, Reply> {
        let world = self.world();
        let (id, mailbox) = directory::mailbox(&world, to).ok_or_else(unknown)?;
        match from {
            Some(from) if !directory::may_write(&world, id, mailbox, from, None) => Err(not_listed()),
            // Whether mail from nobody is a report shows only its header.
            _ => Ok(Destination::Mailbox(id)),
        }
    }

    async fn take(&self, envelope: Envelope, trace: Trace, message: Vec<u8>) -> Reply {
        let facts = match message::read(&message) {
            Ok(facts) => facts,
            Err(error) => return Reply::new(554, format!("5.6.0 {error}")),
        };
        let message: Arc<[u8]> = message.into();
        // What is not for this mailbox anyway costs no look-ups.
        if let Err(refusal) = self.admit(&envelope, &facts, None) {
            return refusal;
        }
        let proof = self.gate.proof(&envelope, &trace, &facts, &message).await;
        if let Err(refusal) = self.admit(&envelope, &facts, proof.as_ref().map(|proof| proof.standing)) {
            return refusal;
        }
        let kept: Arc<[u8]> = match &proof {
            Some(proof) => proof::stamped(&proof.line, &message).into(),
            None => Arc::clone(&message),
        };
        for (_, destination) in &envelope.recipients {
            let Destination::Mailbox(mailbox) = *destination else { continue };
            // A sender that did not hear the answer sends the very same again.
            let once = facts.message_id.is_some().then(|| Uuid::new_v5(&mailbox.uuid(), &message));
            let parcel = Parcel {
                mailbox,
                from: envelope.from.clone(),
                trace: trace.clone(),
                message: Arc::clone(&kept),
                once,
            };
            if let Err(error) = self.intake.put(parcel).await {
                tracing::warn!(%error, "mail could not be kept");
                return refused(&error);
            }
        }
        Reply::new(250, format!("2.0.0 kept as {}", trace.id))
    }
}

fn refused(error: &IntakeError) -> Reply {
    match error {
        IntakeError::Gone => unknown(),
        _ => Reply::new(451, "4.3.0 the message cannot be kept now; try again later"),
    }
}

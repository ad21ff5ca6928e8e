//! The submission service: participants log in with their token and send as a mailbox of their project. A message is
//! answered with 250 when it is in the outbox.

use super::desk::{Credentials, Desk, Destination, Envelope, Offer, Submitter};
use super::directory;
use super::intake::Intake;
use super::reply::Reply;
use crate::app::token::TokenError;
use crate::domain::mailbox::Mailbox;
use crate::id::MailboxId;
use crate::mail::dkim::Signer;
use crate::mail::message::{self, HOPS_MAX};
use crate::mail::outbox::{self, Outbox, OutboxError};
use crate::mail::{Address, Facts, Trace};
use crate::projection::World;
use async_trait::async_trait;
use std::sync::Arc;
use tokio::sync::Notify;
use uuid::Uuid;

/// What submission is made of.
#[derive(Debug)]
pub struct SubmissionParts {
    pub intake: Arc<Intake>,
    pub outbox: Arc<dyn Outbox>,
    /// Called when there is something in the outbox.
    pub wake: Arc<Notify>,
    pub signer: Option<Signer>,
    /// Domain of the mailboxes: what is no mailbox there does not exist.
    pub domain: Option<String>,
    /// Whether mail for other servers has a way out.
    pub outward: bool,
}

/// Takes mail of participants.
#[derive(Debug)]
pub struct Submission {
    offer: Offer,
    parts: Arc<SubmissionParts>,
}

impl Submission {
    #[must_use]
    pub fn new(offer: Offer, parts: SubmissionParts) -> Self {
        Self { offer, parts: Arc::new(parts) }
    }

    fn world(&self) -> Arc<World> {
        self.parts.intake.app().world()
    }
}

/// A mailbox that the participant may send as: of its project and, where its token is for one room, of that room.
fn own<'w>(world: &'w World, login: &Submitter, from: &Address) -> Result<(MailboxId, &'w Mailbox), Reply> {
    let mailbox = directory::mailbox(world, from);
    let mailbox = mailbox.filter(|(id, _)| id.project() == login.project);
    let (id, mailbox) = mailbox.ok_or_else(|| {
        Reply::new(
            550,
            format!("5.7.1 {from} is no mailbox of this project; make it with `meshagent mailbox create`"),
        )
    })?;
    let room = world.room(mailbox.room).map(|room| room.name.to_string());
    match &login.room {
        Some(name) if room.as_ref() != Some(name) => {
            Err(Reply::new(550, format!("5.7.1 {from} is the mailbox of another room than the token is for")))
        }
        _ => Ok((id, mailbox)),
    }
}

fn not_logged_in() -> Reply {
    Reply::new(530, "5.7.0 log in first")
}

#[async_trait]
impl Desk for Submission {
    fn offer(&self) -> &Offer {
        &self.offer
    }

    async fn login(&self, credentials: Credentials) -> Result<Submitter, Reply> {
        let token = credentials.password.expose_str().unwrap_or_default().trim();
        match self.parts.intake.app().verify(token).await {
            // Mail goes out from rooms; which of them a person may speak for is not said anywhere.
            Ok(bearer) if bearer.user.is_some() => Err(Reply::new(
                535,
                "5.7.8 this is a person's token for the project; use a participant token of the mailbox's room",
            )),
            Ok(bearer) => Ok(Submitter { project: bearer.project, name: bearer.name, room: bearer.room }),
            Err(TokenError::Unavailable) => {
                Err(Reply::new(454, "4.7.0 tokens cannot be checked now; try again"))
            }
            Err(error) => {
                tracing::info!(user = %credentials.user, %error, "a participant could not log in to send mail");
                Err(Reply::new(535, format!("5.7.8 the password must be a participant token: {error}")))
            }
        }
    }

    fn sender(&self, login: Option<&Submitter>, from: Option<&Address>) -> Result<(), Reply> {
        let login = login.ok_or_else(not_logged_in)?;
        let from =
            from.ok_or_else(|| Reply::new(550, "5.7.1 send as a mailbox; `<>` is for reports of servers"))?;
        own(&self.world(), login, from).map(drop)
    }

    fn recipient(
        &self,
        login: Option<&Submitter>,
        from: Option<&Address>,
        to: &Address,
    ) -> Result<Destination, Reply> {
        let login = login.ok_or_else(not_logged_in)?;
        let world = self.world();
        if let Some((id, mailbox)) = directory::mailbox(&world, to) {
            let may =
                from.is_some_and(|from| directory::may_write(&world, id, mailbox, from, Some(login.project)));
            let refusal =
                || Reply::new(550, "5.7.1 this mailbox takes mail from those its owner listed only");
            return if may { Ok(Destination::Mailbox(id)) } else { Err(refusal()) };
        }
        if self.parts.domain.as_deref().is_some_and(|domain| domain.eq_ignore_ascii_case(to.domain())) {
            return Err(Reply::new(550, "5.1.1 there is no such mailbox here"));
        }
        if self.parts.outward {
            return Ok(Destination::Elsewhere);
        }
        Err(Reply::new(
            550,
            "5.7.1 mail goes to mailboxes here only; the operator opens the way out with --smtp-relay or --smtp-direct",
        ))
    }

    async fn take(&self, envelope: Envelope, trace: Trace, message: Vec<u8>) -> Reply {
        let facts = match message::read(&message) {
            Ok(facts) => facts,
            Err(error) => return Reply::new(554, format!("5.6.0 {error}")),
        };
        let (mailbox, sender) = match admit(&self.world(), &envelope, &facts) {
            Ok(admitted) => admitted,
            Err(refusal) => return refusal,
        };
        let (parts, id) = (Arc::clone(&self.parts), trace.id.clone());
        let recipients: Vec<Address> = envelope.recipients.into_iter().map(|(to, _)| to).collect();
        let prepared = tokio::task::spawn_blocking(move || {
            let ids = &parts.intake.app().ids;
            let message_id = facts
                .message_id
                .clone()
                .unwrap_or_else(|| format!("{}@{}", ids.fresh().simple(), sender.domain()));
            outbox::Submission {
                id: submission_id(mailbox, facts.message_id.as_deref(), &recipients)
                    .unwrap_or_else(|| ids.fresh()),
                mailbox,
                submitted_at: trace.at,
                message: outgoing(&parts, &trace, &facts, &message_id, &message).into(),
                message_id,
                recipients: recipients.into_iter().map(|to| (ids.fresh(), ids.fresh(), to)).collect(),
                sender,
            }
        });
        let Ok(submission) = prepared.await else {
            return Reply::new(451, "4.3.0 the message cannot be prepared now; try again later");
        };
        match self.parts.outbox.submit(submission).await {
            Ok(()) => {
                self.parts.wake.notify_one();
                Reply::new(250, format!("2.0.0 queued as {id}"))
            }
            Err(error @ OutboxError::Full { .. }) => Reply::new(452, format!("4.3.1 {error}")),
            Err(error) => {
                tracing::warn!(%error, "mail could not be put into the outbox");
                Reply::new(451, "4.3.0 the message cannot be kept now; try again later")
            }
        }
    }
}

/// A sender that did not hear the answer sends the same message to the same recipients again.
fn submission_id(mailbox: MailboxId, message_id: Option<&str>, recipients: &[Address]) -> Option<Uuid> {
    let mut all: Vec<String> = recipients.iter().map(Address::lower).collect();
    all.sort();
    Some(Uuid::new_v5(&mailbox.uuid(), format!("{}\n{}", message_id?, all.join("\n")).as_bytes()))
}

/// Whose message it is. All that it says it is from must be the participant's to use.
fn admit(world: &World, envelope: &Envelope, facts: &Facts) -> Result<(MailboxId, Address), Reply> {
    let login = envelope.login.as_ref().ok_or_else(not_logged_in)?;
    let sender = envelope.from.clone().ok_or_else(|| Reply::new(550, "5.7.1 send as a mailbox"))?;
    if facts.hops > HOPS_MAX {
        return Err(Reply::new(
            554,
            "5.4.6 the message has passed too many servers; it goes round in circles",
        ));
    }
    for from in &facts.from {
        own(world, login, from)?;
    }
    let (id, _) = own(world, login, &sender)?;
    Ok((id, sender))
}

/// The message as it leaves: signed, with what it lacked and how it came.
fn outgoing(
    parts: &SubmissionParts,
    trace: &Trace,
    facts: &Facts,
    message_id: &str,
    message: &[u8],
) -> Vec<u8> {
    let mut added = String::new();
    if facts.message_id.is_none() {
        added.push_str(&format!("Message-ID: <{message_id}>\r\n"));
    }
    if !facts.has_date {
        added.push_str(&format!("Date: {}\r\n", trace.at.to_rfc2822()));
    }
    let mut whole = [added.as_bytes(), message].concat();
    if let Some(signer) =
        parts.signer.as_ref().filter(|signer| facts.from.iter().all(|from| signer.signs(from)))
    {
        match signer.sign(&whole) {
            Ok(signed) => whole = signed,
            Err(error) => tracing::warn!(%error, "mail leaves without a signature"),
        }
    }
    [trace.line(None).as_bytes(), &whole].concat()
}

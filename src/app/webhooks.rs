//! Webhooks of projects and what became of their calls.

use super::{Actor, App, Change, Decision, Error};
use crate::domain::Entity;
use crate::domain::webhook::{Command, Refused, WEBHOOKS_MAX, Wanted, Webhook};
use crate::id::{ProjectId, WebhookId};
use crate::projection::World;
use url::Url;
use uuid::Uuid;

impl App {
    pub async fn create_webhook(
        &self,
        actor: &Actor,
        project: ProjectId,
        wanted: Wanted,
    ) -> Result<WebhookId, Error> {
        callable(&wanted.url)?;
        let id = WebhookId::new(project, self.ids.fresh());
        self.transact(actor, |world| {
            if world.webhooks(project).count() >= WEBHOOKS_MAX {
                return Err(Error::rejected(Refused::TooMany));
            }
            let events = Webhook::decide(None, Command::Create(wanted.clone())).map_err(Error::rejected)?;
            Ok(Decision { changes: vec![Change::new(project, id.stream(), events)], answer: id })
        })
        .await
    }

    /// Replaces what is wanted; what waits is tried again at once.
    pub async fn update_webhook(&self, actor: &Actor, id: WebhookId, wanted: Wanted) -> Result<(), Error> {
        callable(&wanted.url)?;
        self.on_webhook(actor, id, Command::Update(wanted)).await.map(drop)
    }

    pub async fn delete_webhook(&self, actor: &Actor, id: WebhookId) -> Result<(), Error> {
        self.on_webhook(actor, id, Command::Delete).await.map(drop)
    }

    /// Puts dead letters back, all of them where none are named. Says how many.
    pub async fn replay_webhook(
        &self,
        actor: &Actor,
        id: WebhookId,
        deliveries: Vec<Uuid>,
    ) -> Result<usize, Error> {
        let events = self.on_webhook(actor, id, Command::Replay(deliveries)).await?;
        Ok(events.iter().map(replayed).sum())
    }

    /// Records that the receiver took a call; nothing where that is known.
    pub async fn webhook_delivered(&self, actor: &Actor, id: WebhookId, delivery: Uuid) -> Result<(), Error> {
        self.on_webhook(actor, id, Command::Deliver(delivery)).await.map(drop)
    }

    /// Records that a try failed, and whether another one may help.
    pub async fn webhook_failed(
        &self,
        actor: &Actor,
        id: WebhookId,
        delivery: Uuid,
        reason: String,
        again: bool,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        self.on_webhook(actor, id, Command::Fail { delivery, reason, again, now }).await.map(drop)
    }

    async fn on_webhook(
        &self,
        actor: &Actor,
        id: WebhookId,
        command: Command,
    ) -> Result<Vec<crate::domain::Event>, Error> {
        self.transact(actor, |world| {
            let events = Webhook::decide(find(world, id), command.clone()).map_err(Error::rejected)?;
            let change = Change::new(id.project(), id.stream(), events.clone());
            Ok(Decision { changes: vec![change], answer: events })
        })
        .await
    }
}

fn replayed(event: &crate::domain::Event) -> usize {
    match event {
        crate::domain::Event::WebhookReplayed(fact) => fact.deliveries.len(),
        _ => 0,
    }
}

fn find(world: &World, id: WebhookId) -> Option<&Webhook> {
    world.webhook(id)
}

/// Whether an address has the form of one to call. Where it leads is looked at when it is called.
fn callable(url: &str) -> Result<(), Error> {
    let invalid = |text: String| Err(Error::Invalid { code: "webhook-invalid", text });
    match Url::parse(url) {
        Err(error) => invalid(format!("the webhook's url is no URL: {error}; begin it with https://")),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            invalid(format!("the webhook's url begins with http or https, not {}", url.scheme()))
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => invalid(
            "the webhook's url has a user or a password in it; receivers know us by the signature".to_owned(),
        ),
        Ok(url) if url.host_str().is_none_or(str::is_empty) => {
            invalid("the webhook's url names no host".to_owned())
        }
        Ok(_) => Ok(()),
    }
}

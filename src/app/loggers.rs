//! Loggers of requests to models.

use super::rooms::{claim, release};
use super::{Actor, App, Change, Decision, Error};
use crate::domain::llm_logger::{Command, LOGGERS_MAX, LlmLogger, Refused, Wanted};
use crate::domain::names::Kind;
use crate::domain::{Entity, feed};
use crate::id::{LlmLoggerId, ProjectId};
use crate::llm::record;
use crate::projection::World;

impl App {
    pub async fn create_llm_logger(
        &self,
        actor: &Actor,
        project: ProjectId,
        wanted: Wanted,
    ) -> Result<LlmLoggerId, Error> {
        let id = LlmLoggerId::new(project, self.ids.fresh());
        readable(&wanted).await?;
        self.transact(actor, |world| {
            reaches(world, project, &wanted)?;
            if world.llm_loggers(project).count() >= LOGGERS_MAX {
                return Err(Error::rejected(Refused::TooMany));
            }
            let made = LlmLogger::decide(None, Command::Create(wanted.clone())).map_err(Error::rejected)?;
            let change = Change::new(project, id.stream(), made);
            Ok(Decision { changes: vec![holds(world, id)?, change], answer: id })
        })
        .await
    }

    /// Replaces what is wanted.
    pub async fn update_llm_logger(
        &self,
        actor: &Actor,
        id: LlmLoggerId,
        wanted: Wanted,
    ) -> Result<(), Error> {
        readable(&wanted).await?;
        self.transact(actor, |world| {
            reaches(world, id.project(), &wanted)?;
            decided(world, id, Command::Update(wanted.clone()))
        })
        .await
    }

    pub async fn delete_llm_logger(&self, actor: &Actor, id: LlmLoggerId) -> Result<(), Error> {
        self.transact(actor, |world| {
            let mut decision = decided(world, id, Command::Delete)?;
            let name = id.uuid().to_string();
            decision.changes.push(release(world, id.project(), Kind::LlmLogger, None, &name)?);
            Ok(decision)
        })
        .await
    }
}

/// Whoever ends the feed at the same time writes to the stream of names too, and one of the two looks again.
fn holds(world: &World, id: LlmLoggerId) -> Result<Change, Error> {
    claim(world, id.project(), Kind::LlmLogger, None, &id.uuid().to_string(), id.uuid())
}

fn decided(world: &World, id: LlmLoggerId, command: Command) -> Result<Decision<()>, Error> {
    let events = LlmLogger::decide(world.llm_logger(id), command).map_err(Error::rejected)?;
    Ok(Decision { changes: vec![Change::new(id.project(), id.stream(), events)], answer: () })
}

/// The feed must be there, in the same project.
fn reaches(world: &World, project: ProjectId, wanted: &Wanted) -> Result<(), Error> {
    let feed = wanted.destination_feed;
    if feed.project() != project || world.feed(feed).is_none() {
        return Err(Error::rejected(feed::Refused::NotFound));
    }
    Ok(())
}

async fn readable(wanted: &Wanted) -> Result<(), Error> {
    let text = wanted.filter_expression.clone();
    let read = tokio::task::spawn_blocking(move || record::Filter::compile(&text).map(drop)).await;
    let read = read.unwrap_or_else(|_| Err("the check broke off".to_owned()));
    read.map_err(|why| Error::Invalid {
        code: "llm-logger-invalid",
        text: format!("the filter is no JMESPath expression that loggers take: {why}"),
    })
}

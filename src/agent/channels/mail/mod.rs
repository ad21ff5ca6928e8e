//! Channel `mail:ADDRESS`: letters of a mailbox (process agents §9). Its queue is named like the address; a letter becomes a
//! turn on the thread of its conversation, and the turn's text goes back as the answer.
//!
//! A letter is done when its answer was handed over. Whoever takes it again finds its turn done, and the answer has the name
//! it had before, by which the submission service knows it.

mod store;
mod tool;

use super::queue::{Taken, Work, consume, earlier};
use crate::agent::channel::{Agent, Channel, TurnRequest};
use crate::agent::mail::reply::Outgoing;
use crate::agent::mail::{Letter, MailConfig, SendError, submit};
use crate::agent::message::InputContent;
use crate::agent::naming;
use crate::agent::thread::Earlier;
use crate::agent::tools::{Tool, lost};
use crate::agent::turn::Failure;
use crate::client::room::RoomError;
use std::sync::Arc;
use store::Mails;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// The channel.
#[derive(Debug)]
pub struct Mail {
    address: String,
    reply_all: bool,
}

impl Mail {
    #[must_use]
    pub fn new(address: &str, reply_all: bool) -> Self {
        Self { address: address.to_owned(), reply_all }
    }
}

#[async_trait::async_trait]
impl Channel for Mail {
    fn name(&self) -> String {
        format!("mail:{}", self.address)
    }

    fn is_threaded(&self) -> bool {
        true
    }

    fn tools(&self, agent: &Agent, _thread: &str) -> Vec<Arc<dyn Tool>> {
        vec![Arc::new(tool::NewThread::new(agent.clone(), &self.address))]
    }

    async fn serve(self: Arc<Self>, agent: Agent, stop: CancellationToken, abort: CancellationToken) {
        let under_way = TaskTracker::new();
        let address = self.address.clone();
        consume(&agent, &address, self, &under_way, &stop, &abort).await;
        under_way.close();
        under_way.wait().await;
    }
}

fn failed(error: RoomError) -> Failure {
    if error.is_lost() { lost(&error) } else { Failure { message: error.to_string(), code: "mail_not_kept" } }
}

fn not_sent(error: &SendError) -> Failure {
    Failure { message: error.to_string(), code: "mail_not_sent" }
}

fn unreadable(error: &impl ToString) -> Failure {
    Failure { message: error.to_string(), code: "invalid_mail" }
}

/// The name of something of an item, the same whoever takes it.
fn named(taken: &Taken, letter: &Letter, what: &str) -> Uuid {
    let item = taken.item_id().unwrap_or(&letter.id);
    Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("mail/{item}/{what}").as_bytes())
}

#[async_trait::async_trait]
impl Work for Mail {
    async fn prepare(&self, agent: &Agent, taken: &Taken) -> Result<Option<TurnRequest>, Failure> {
        let letter = Letter::read(taken.message()).map_err(|error| unreadable(&error))?;
        if let Some(why) = letter.ignored_by(&self.address) {
            tracing::info!(mailbox = self.address, from = letter.sender.0, why, "a letter is not answered");
            return Ok(None);
        }
        let mails = Mails::of(agent);
        let known = mails.thread_of(&letter).await.map_err(failed)?;
        let is_new = known.is_none();
        let thread = known.unwrap_or_else(|| {
            let threads = &agent.engine.config.threads;
            let name =
                if threads.single { "main".to_owned() } else { named(taken, &letter, "thread").to_string() };
            format!("{}/{name}", threads.dir)
        });
        let files = mails.keep_letter(&letter, &thread).await.map_err(failed)?;
        let mut content = vec![InputContent::Text { text: letter.prompt() }];
        content.extend(
            files.into_iter().map(|path| InputContent::File { url: format!("room:///{path}"), name: None }),
        );
        let turn = |attempt: u32| named(taken, &letter, &format!("turn/{attempt}")).to_string();
        let attempt = taken.attempt();
        Ok(Some(TurnRequest {
            thread: Some(thread),
            new_thread: is_new && !agent.engine.config.threads.single,
            thread_name: Some(naming::sanitize(letter.topic())),
            content,
            sender_name: Some(letter.sender.1.clone().unwrap_or_else(|| letter.sender.0.clone())),
            participant_id: Some(format!("mail:{}:{}", self.address, letter.id)),
            unattended: true,
            turn_id: Some(turn(attempt)),
            // Elsewhere a letter is known by the name that its sender gave it: it proves nothing.
            earlier: if taken.item_id().is_some() { earlier(attempt, turn) } else { Earlier::default() },
            ..TurnRequest::default()
        }))
    }

    async fn finish(&self, agent: &Agent, taken: &Taken, thread: &str, text: &str) -> Result<(), Failure> {
        if text.trim().is_empty() {
            return Ok(());
        }
        let letter = Letter::read(taken.message()).map_err(|error| unreadable(&error))?;
        let date = agent.engine.clock.now().timestamp();
        let id = named(taken, &letter, "answer").to_string();
        let answer = Outgoing::answer(&letter, &self.address, self.reply_all, &id, text, date);
        post(agent, &answer, thread).await
    }
}

/// Keeps a message of the agent and sends it.
async fn post(agent: &Agent, message: &Outgoing, thread: &str) -> Result<(), Failure> {
    let bytes = message.bytes().map_err(|error| unreadable(&error))?;
    Mails::of(agent).keep_own(message, &bytes, thread).await.map_err(failed)?;
    let config: &MailConfig = &agent.engine.config.mail;
    submit(config, &message.from, &message.recipients(), &bytes).await.map_err(|error| not_sent(&error))?;
    tracing::info!(from = message.from, to = message.to.len() + message.cc.len(), "mail sent");
    Ok(())
}

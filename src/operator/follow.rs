//! Hears what changes at the server, so that status is told at once and what somebody else changed is made right again.

use super::mesh::{Changes, Mesh};
use crate::client::rest::{Change, RestError};
use crate::spec::Kind;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// First wait after a watch broke; the next is twice as long.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// Longest wait after watches broke.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Whose turn it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// Everything of the kind: nobody knows what was missed.
    All,
    /// The objects of one resource.
    One(Touched),
}

/// A resource that changed at the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Touched {
    pub room: Option<String>,
    pub name: String,
    /// The sources that hold it.
    pub sources: Vec<String>,
    pub is_gone: bool,
}

/// Follows one kind until it is to stop.
pub struct Follower {
    pub mesh: Arc<dyn Mesh>,
    pub kind: Kind,
    pub triggers: mpsc::Sender<Trigger>,
    /// Counts what came to be at the server: others may have waited for it.
    pub news: watch::Sender<u64>,
}

impl Follower {
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&self) {
        let mut since = None;
        let mut wait = BACKOFF_FIRST;
        loop {
            match self.once(&mut since).await {
                Ok(heard) => {
                    if heard {
                        wait = BACKOFF_FIRST;
                    }
                }
                Err(error) => {
                    // Too far behind: from the beginning.
                    if error.status().is_some() {
                        since = None;
                    }
                    tracing::debug!(%error, kind = %self.kind, "the server's changes are not heard");
                }
            }
            if self.triggers.is_closed() {
                return;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(BACKOFF_MAX);
        }
    }

    /// One watch, until it ends; whether anything was heard.
    async fn once(&self, since: &mut Option<u64>) -> Result<bool, RestError> {
        let mut changes: Box<dyn Changes> = self.mesh.watch(self.kind.slug(), *since).await?;
        // Without a position it begins with everything, and everything is looked at.
        let mut listing = since.is_none();
        if listing {
            self.send(Trigger::All).await;
            self.news.send_modify(|count| *count += 1);
        }
        let mut heard = false;
        while let Some(change) = changes.next().await {
            let change = change?;
            heard = true;
            if change.what == "BOOKMARK" {
                listing = false;
                *since = change.position().or(*since);
            } else if !listing {
                *since = change.position().or(*since);
                if change.what == "ADDED" {
                    self.news.send_modify(|count| *count += 1);
                }
                self.send(Trigger::One(touched(&change))).await;
            }
        }
        Ok(heard)
    }

    async fn send(&self, trigger: Trigger) {
        // Nobody listens any more when the work is over.
        let _over = self.triggers.send(trigger).await;
    }
}

fn touched(change: &Change) -> Touched {
    let object = &change.object;
    let sources = object["sources"].as_object().map(|all| all.keys().cloned().collect());
    Touched {
        room: object["room"].as_str().map(str::to_owned),
        name: object["name"].as_str().map(str::to_owned).unwrap_or_default(),
        sources: sources.unwrap_or_default(),
        is_gone: change.what == "DELETED" || object["document"] == Value::Null,
    }
}

//! The list of threads, as participants hear of it, and how threads get their names.

use super::{Hub, Listed, ToHub};
use crate::agent::message::{self, Body, InputContent, ThreadDeleted, ThreadEntry, ThreadNotice};
use crate::agent::naming;
use std::sync::Arc;

impl Hub {
    pub(super) fn entry(&self, path: String, name: String) -> ThreadEntry {
        let now = message::timestamp(self.engine.clock.now());
        ThreadEntry { path, name, created_at: now.clone(), modified_at: now }
    }

    /// Tells those who watch the list in which the thread of `path` is.
    pub(super) fn announce(&mut self, path: &str, body: Body, by: Option<&str>) {
        let message = Arc::new(message::live(&self.message(body).full()));
        let threads = &self.engine.config.threads;
        let mut to = self.watching.clone();
        if threads.by_participant {
            let name = |id: &String| self.participants.get(id).map(|p| p.name.as_str());
            to.retain(|id| name(id).is_some_and(|name| threads.is_theirs(path, name)));
        }
        to.extend(by.map(str::to_owned));
        for id in to {
            self.send(&id, message.clone());
        }
    }

    pub(super) fn listed(&mut self, listed: Listed) {
        match listed {
            Listed::Created(thread) => {
                self.announce(&thread.path.clone(), Body::ThreadCreated(ThreadNotice { thread }), None);
            }
            Listed::Updated { thread, by } => {
                let path = thread.path.clone();
                self.announce(&path, Body::ThreadUpdated(ThreadNotice { thread }), by.as_deref());
            }
            Listed::Deleted { path, by } => {
                if let Some(process) = self.threads.remove(&path).and_then(|thread| thread.process) {
                    self.ending.insert(path.clone(), process.end());
                }
                self.announce(&path.clone(), Body::ThreadDeleted(ThreadDeleted { path }), Some(&by));
            }
            Listed::Admitted { by, message, listed: true } => self.route(&by, *message),
            Listed::Admitted { by, message, listed: false } => self.not_ours(&by, &message),
            Listed::Page { to, message_id, threads, total, offset, limit } => {
                let source_message_id = message_id;
                self.tell(
                    &to,
                    Body::ThreadListed(message::Listed { source_message_id, threads, total, offset, limit }),
                );
            }
        }
    }

    /// Has a model name a thread, beside everything else.
    pub(super) fn name_by_model(&self, path: &str, content: &[InputContent]) {
        let Some(model) = self.engine.config.decision_model.clone() else { return };
        let (engine, own) = (self.engine.clone(), self.own.downgrade());
        let (path, content) = (path.to_owned(), content.to_vec());
        tokio::spawn(async move {
            if let Some(name) = naming::by_model(&engine, &model, &content).await
                && let Some(own) = own.upgrade()
            {
                let _ = own.send(ToHub::Named { path, name }).await;
            }
        });
    }
}

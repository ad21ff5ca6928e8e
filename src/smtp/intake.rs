//! Puts mail into the queue of a mailbox's room, in the form that agents read: `{"base64": "<the message>"}`.

use crate::app::App;
use crate::app::host::RoomHost;
use crate::app::wake::Wake;
use crate::id::MailboxId;
use crate::mail::{Address, Trace, message};
use crate::queue::{ItemId, NewItem, QueueError, QueueKey, QueueStore, Sent};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::sync::Arc;
use uuid::Uuid;

/// Why mail is not in its mailbox.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntakeError {
    #[error("the mailbox does not exist any more")]
    Gone,
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error("the message could not be prepared: {0}")]
    Worker(#[from] tokio::task::JoinError),
}

/// The way into mailboxes.
pub struct Intake {
    app: Arc<App>,
    host: Arc<dyn RoomHost>,
    queues: Arc<dyn QueueStore>,
    wake: Arc<Wake>,
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake").finish_non_exhaustive()
    }
}

/// One message for one mailbox.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub mailbox: MailboxId,
    pub from: Option<Address>,
    pub trace: Trace,
    pub message: Arc<[u8]>,
    /// `Some`: putting it in again changes nothing.
    pub once: Option<Uuid>,
}

impl Intake {
    #[must_use]
    pub fn new(app: Arc<App>, host: Arc<dyn RoomHost>, queues: Arc<dyn QueueStore>) -> Self {
        let wake = Wake::new(Arc::clone(&app), Arc::clone(&host));
        Self { app, host, queues, wake }
    }

    pub(crate) fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Stores a message; on return it is on disk.
    pub(crate) async fn put(&self, parcel: Parcel) -> Result<(), IntakeError> {
        let mailbox = self.app.world().mailbox(parcel.mailbox).cloned().ok_or(IntakeError::Gone)?;
        let (key, address) = (QueueKey::new(mailbox.room, mailbox.queue), mailbox.address);
        let bytes = parcel.message.len();
        let item = tokio::task::spawn_blocking(move || item(&parcel, &address)).await?;
        let sent = self.queues.send(&key, item, true).await?;
        if matches!(sent, Sent::Stored(_)) {
            self.host.log_line(mailbox.room, "mail.received", json!({"queue": key.name, "bytes": bytes}));
            self.wake.wake(mailbox.room);
        }
        Ok(())
    }
}

fn item(parcel: &Parcel, address: &str) -> NewItem {
    let text = message::delivered(&parcel.trace, parcel.from.as_ref(), address, &parcel.message);
    let body = format!("{{\"base64\":\"{}\"}}", STANDARD.encode(text));
    NewItem::large(parcel.once.map(ItemId), body)
}

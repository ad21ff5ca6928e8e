//! What the operator chose about services and schedules.

use crate::app::outward::Outward;
use crate::vault::Secret;
use std::sync::Arc;

/// A provider of models that the operator has a key for.
#[derive(Clone, Debug)]
pub struct Provider {
    /// `None`: the provider's own address.
    pub base_url: Option<String>,
    pub api_key: Secret,
}

/// Options of the controllers.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Asked for agents, which get this server's address as `OPENAI_BASE_URL` and their participant token as the key.
    pub openai: Option<Provider>,
    /// Likewise, by `ANTHROPIC_BASE_URL`.
    pub anthropic: Option<Provider>,
    /// Where calls to services elsewhere may go, and who signs them.
    pub outward: Arc<Outward>,
    /// Where agents send mail; `None`: no `SMTP_*` and `MESHAGENT_MAIL_DOMAIN` variables.
    pub mail: Option<Mail>,
    /// Makes the addresses that services send telemetry to; `None`: they get none.
    pub telemetry: Option<std::sync::Arc<crate::app::ingest::Ingest>>,
    /// Seconds without anybody in a room before its session ends, where the room does not say.
    pub empty_room_seconds: Option<u64>,
    /// Longest time that a message of a feed waits for others; [`super::feed::BATCH_WAIT`] without it.
    pub feed_wait: Option<std::time::Duration>,
    /// Whether other servers use the same database.
    pub is_shared: bool,
    /// URL by which containers reach this server; its public URL without it.
    pub container_api_url: Option<String>,
}

/// Where agents send mail.
#[derive(Clone, Debug)]
pub struct Mail {
    pub domain: String,
    pub host: String,
    pub port: u16,
}

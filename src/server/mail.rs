//! Mail: the listeners that the operator asked for.

use super::stores::Stores;
use crate::app::App;
use crate::app::host::RoomHost;
use crate::smtp::{self, Door, Intake, LARGE_AT_ONCE, Offer, Parts, Receiver, SmtpError, TlsError};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Longest message unless told, MiB.
pub const DEFAULT_MESSAGE_MIB: usize = 25;
/// What the server calls itself without a domain.
const NO_DOMAIN: &str = "localhost";

/// What the operator chose about mail.
#[derive(Debug, Clone)]
pub struct MailOptions {
    /// Where other servers bring mail.
    pub receiver: Option<SocketAddr>,
    /// Certificate chain and key for `STARTTLS`, PEM files.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Domain of the mailboxes, and this server's name among mail servers.
    pub domain: Option<String>,
    /// Longest message, bytes.
    pub message_bytes: usize,
}

impl Default for MailOptions {
    fn default() -> Self {
        Self { receiver: None, tls: None, domain: None, message_bytes: DEFAULT_MESSAGE_MIB * 1024 * 1024 }
    }
}

/// Why mail does not start.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    #[error(transparent)]
    Listen(#[from] SmtpError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What runs.
#[derive(Debug, Default)]
pub(super) struct Mail {
    pub receiver: Option<SocketAddr>,
    pub submission: Option<SocketAddr>,
    pub tasks: Vec<JoinHandle<()>>,
}

/// Starts what was asked for.
pub(super) async fn start(
    options: &MailOptions,
    app: &Arc<App>,
    host: &Arc<dyn RoomHost>,
    stores: &Stores,
    stop: &CancellationToken,
) -> Result<Mail, MailError> {
    let tls = options.tls.as_ref().map(|(certificate, key)| smtp::acceptor(certificate, key)).transpose()?;
    let intake = Arc::new(Intake::new(Arc::clone(app), Arc::clone(host), Arc::clone(&stores.queues)));
    let large = Arc::new(Semaphore::new(LARGE_AT_ONCE));
    let mut mail = Mail::default();
    if let Some(addr) = options.receiver {
        let desk = Arc::new(Receiver::new(offer(options, Door::Receiver, tls.as_ref()), intake));
        let listening = smtp::listen(Parts {
            flag: "smtp",
            addr,
            desk,
            tls,
            large,
            clock: Arc::clone(&app.clock),
            ids: Arc::clone(&app.ids),
            stop: stop.clone(),
        })
        .await?;
        mail.receiver = Some(listening.address);
        mail.tasks.push(listening.task);
    }
    Ok(mail)
}

fn offer(options: &MailOptions, door: Door, tls: Option<&TlsAcceptor>) -> Offer {
    Offer {
        door,
        host: options.domain.clone().unwrap_or_else(|| NO_DOMAIN.to_owned()),
        size_max: options.message_bytes,
        starttls: tls.is_some(),
        plain_login: false,
    }
}

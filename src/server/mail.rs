//! Mail: the listeners that the operator asked for, and the postman who empties the outbox.

use super::options::Options;
use super::stores::Stores;
use crate::app::App;
use crate::app::host::RoomHost;
use crate::control;
use crate::mail::carrier::{Carrier, Dns, Relay, RelayError, Resolver, Route, SMTP_PORT};
use crate::mail::dkim::{KeyError, Signer};
use crate::mail::proof::Prover;
use crate::net::guard::Allowed;
use crate::smtp::{
    self, Desk, Door, Gate, Intake, LARGE_AT_ONCE, Offer, Parts, Postman, Receiver, SmtpError, Submission,
    SubmissionParts, TlsError,
};
use crate::vault::Secret;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Longest message unless told, MiB.
pub const DEFAULT_MESSAGE_MIB: usize = 25;
/// Wait before the second try of a delivery unless told, seconds.
pub const DEFAULT_RETRY_SECONDS: u32 = 60;
/// What the server calls itself without a domain.
const NO_DOMAIN: &str = "localhost";

/// How mail leaves this server.
#[derive(Debug, Clone, Default)]
pub enum Outgoing {
    /// Not at all.
    #[default]
    Nowhere,
    /// Through a relay: its URL, and the password of the user in it.
    Relay { url: String, password: Option<Secret> },
    /// To the servers of each recipient's domain.
    Direct,
}

/// What the operator chose about mail.
#[derive(Debug, Clone)]
pub struct MailOptions {
    /// Where other servers bring mail.
    pub receiver: Option<SocketAddr>,
    /// Where participants bring mail.
    pub submission: Option<SocketAddr>,
    /// Whether a token may come over a connection that is not encrypted, from other machines too.
    pub plain_login: bool,
    /// Certificate chain and key for `STARTTLS`, PEM files.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Domain of the mailboxes, and this server's name among mail servers.
    pub domain: Option<String>,
    /// Host by which agents reach the submission service; its address without it.
    pub submission_host: Option<String>,
    /// Longest message, bytes.
    pub message_bytes: usize,
    pub outgoing: Outgoing,
    /// Key (PEM) and selector of DKIM signatures.
    pub dkim: Option<(PathBuf, String)>,
    /// Wait before the second try of a delivery, seconds; it doubles from there.
    pub retry_seconds: u32,
    /// Who is believed about where a message is from.
    pub trusted: Vec<IpNet>,
    /// Who is asked for names; the system's name server without it.
    pub dns: Option<SocketAddr>,
}

impl Default for MailOptions {
    fn default() -> Self {
        Self {
            receiver: None,
            submission: None,
            plain_login: false,
            tls: None,
            domain: None,
            submission_host: None,
            message_bytes: DEFAULT_MESSAGE_MIB * 1024 * 1024,
            outgoing: Outgoing::Nowhere,
            dkim: None,
            retry_seconds: DEFAULT_RETRY_SECONDS,
            trusted: Vec::new(),
            dns: None,
        }
    }
}

/// Why mail does not start.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    #[error(transparent)]
    Listen(#[from] SmtpError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Relay(#[from] RelayError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("a DKIM key signs for a domain; give it with --mail-domain")]
    NoDomain,
    #[error("mail servers cannot be looked up: {0}; check /etc/resolv.conf, or send through --smtp-relay")]
    Dns(String),
}

/// What runs.
#[derive(Debug, Default)]
pub(super) struct Mail {
    pub receiver: Option<SocketAddr>,
    pub submission: Option<SocketAddr>,
    pub tasks: Vec<JoinHandle<()>>,
}

/// What the listeners share.
struct Office<'a> {
    options: &'a MailOptions,
    app: &'a Arc<App>,
    tls: Option<TlsAcceptor>,
    large: Arc<Semaphore>,
    stop: &'a CancellationToken,
}

/// Starts what was asked for. Agents are told where to send.
pub(super) async fn start(
    options: &mut Options,
    app: &Arc<App>,
    host: &Arc<dyn RoomHost>,
    stores: &Stores,
    stop: &CancellationToken,
) -> Result<Mail, MailError> {
    let own = options.mail.clone();
    let tls = own.tls.as_ref().map(|(certificate, key)| smtp::acceptor(certificate, key)).transpose()?;
    let office = Office { options: &own, app, tls, large: Arc::new(Semaphore::new(LARGE_AT_ONCE)), stop };
    let intake = Arc::new(Intake::new(Arc::clone(app), Arc::clone(host), Arc::clone(&stores.queues)));
    let mut mail = Mail::default();
    if let Some(addr) = own.receiver {
        let desk = Receiver::new(office.offer(Door::Receiver), Arc::clone(&intake), gate(&own));
        let listening = office.listen("smtp", addr, Arc::new(desk)).await?;
        mail.receiver = Some(listening.address);
        mail.tasks.push(listening.task);
    }
    if let Some(addr) = own.submission {
        let wake = Arc::new(Notify::new());
        let carrier = carrier(&own, Allowed::new(options.allowed_hosts.iter().cloned()))?;
        let parts = SubmissionParts {
            intake: Arc::clone(&intake),
            outbox: Arc::clone(&stores.outbox),
            wake: Arc::clone(&wake),
            signer: signer(&own)?,
            domain: own.domain.clone(),
            outward: carrier.is_some(),
        };
        let desk = Submission::new(office.offer(Door::Submission), parts);
        let listening = office.listen("smtp-submission", addr, Arc::new(desk)).await?;
        let postman = Arc::new(Postman {
            intake,
            outbox: Arc::clone(&stores.outbox),
            wake,
            carrier,
            host: name(&own),
            holder: app.settings.server_name.clone(),
            shared: stores.is_shared(),
            first_retry: chrono::Duration::seconds(own.retry_seconds.into()),
        });
        options.control.mail = Some(control::Mail {
            host: own.submission_host.clone().unwrap_or_else(|| listening.address.ip().to_string()),
            port: listening.address.port(),
            domain: name(&own),
        });
        mail.submission = Some(listening.address);
        mail.tasks.extend([listening.task, tokio::spawn(postman.run(stop.clone()))]);
    }
    Ok(mail)
}

fn name(options: &MailOptions) -> String {
    options.domain.clone().unwrap_or_else(|| NO_DOMAIN.to_owned())
}

fn carrier(options: &MailOptions, allowed: Allowed) -> Result<Option<Carrier>, MailError> {
    let route = match &options.outgoing {
        Outgoing::Nowhere => return Ok(None),
        Outgoing::Relay { url, password } => Route::Relay(Relay::new(url, password.clone())?),
        Outgoing::Direct => {
            let lookup = Arc::new(Resolver::new(options.dns).and_then(Dns::new).map_err(MailError::Dns)?);
            Route::Direct { lookup, allowed, port: SMTP_PORT }
        }
    };
    Ok(Some(Carrier { hello: name(options), route }))
}

/// A machine without a name server may still get mail from those it trusts.
fn gate(options: &MailOptions) -> Gate {
    let prover = Resolver::new(options.dns).and_then(|resolver| Prover::new(name(options), resolver));
    if let Err(error) = &prover {
        tracing::warn!(%error, "who mail is from cannot be looked up: only mail of --smtp-trust is taken");
    }
    Gate::new(options.trusted.clone(), prover.ok())
}

fn signer(options: &MailOptions) -> Result<Option<Signer>, MailError> {
    let Some((key, selector)) = &options.dkim else { return Ok(None) };
    let domain = options.domain.as_deref().ok_or(MailError::NoDomain)?;
    Ok(Some(Signer::open(key, domain, selector)?))
}

impl Office<'_> {
    fn offer(&self, door: Door) -> Offer {
        Offer {
            door,
            host: name(self.options),
            size_max: self.options.message_bytes,
            starttls: self.tls.is_some(),
            plain_login: self.options.plain_login,
        }
    }

    async fn listen(
        &self,
        flag: &'static str,
        addr: SocketAddr,
        desk: Arc<dyn Desk>,
    ) -> Result<smtp::Listening, MailError> {
        let listening = smtp::listen(Parts {
            flag,
            addr,
            desk,
            tls: self.tls.clone(),
            large: Arc::clone(&self.large),
            clock: Arc::clone(&self.app.clock),
            ids: Arc::clone(&self.app.ids),
            stop: self.stop.clone(),
        });
        Ok(listening.await?)
    }
}

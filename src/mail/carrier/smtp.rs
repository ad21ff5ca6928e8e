//! One conversation with another mail server.

use super::Carried;
use super::bounded::Bounded;
use crate::mail::Address;
use crate::mail::outbox::Report;
use crate::vault::Secret;
use lettre::address::Envelope;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

/// How long a connection and each answer may take.
const ANSWER_WAIT: Duration = Duration::from_mins(2);
/// How long one attempt may take in all.
pub(in crate::mail) const ATTEMPT_WAIT: Duration = Duration::from_mins(6);
/// How long a name of the relay may take to resolve.
const RESOLVE_WAIT: Duration = Duration::from_secs(10);
/// Longest text of another server that is kept, characters.
const SAID_CHARS_MAX: usize = 500;

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    /// From the start, with a certificate that holds.
    Always,
    /// By STARTTLS where it is offered, with a certificate that holds.
    Verified,
    /// By STARTTLS where it is offered, whatever the certificate: better than nothing, as servers do among each other.
    IfOffered,
}

/// The operator's relay, through which everything goes.
#[derive(Debug)]
pub struct Relay {
    host: String,
    port: u16,
    tls: Tls,
    login: Option<(String, Secret)>,
}

/// Why a relay cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    #[error("a relay is written smtp://[user@]host[:port] or smtps://[user@]host[:port]")]
    Url,
    #[error(
        "the relay's password does not belong in its URL; put it in MESHAGENT_SMTP_RELAY_PASSWORD or a file"
    )]
    PasswordInUrl,
    #[error(
        "the relay's URL names a user, but there is no password; set MESHAGENT_SMTP_RELAY_PASSWORD or give a file"
    )]
    NoPassword,
}

impl Relay {
    /// Reads the URL.
    pub fn new(url: &str, password: Option<Secret>) -> Result<Self, RelayError> {
        let url = Url::parse(url).map_err(|_| RelayError::Url)?;
        let (tls, port) = match url.scheme() {
            "smtp" => (Tls::Verified, 25),
            "smtps" => (Tls::Always, 465),
            _ => return Err(RelayError::Url),
        };
        if url.password().is_some() {
            return Err(RelayError::PasswordInUrl);
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(RelayError::Url)?;
        let user = percent_decoded(url.username());
        let login = match (user.is_empty(), password) {
            (true, _) => None,
            (false, Some(password)) => Some((user, password)),
            (false, None) => return Err(RelayError::NoPassword),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port: url.port().unwrap_or(port), tls, login })
    }

    pub(super) async fn send(
        &self,
        hello: &str,
        from: Option<&Address>,
        to: &Address,
        message: &[u8],
    ) -> Carried {
        let found =
            tokio::time::timeout(RESOLVE_WAIT, tokio::net::lookup_host((self.host.as_str(), self.port)));
        let address = match found.await {
            Ok(Ok(mut found)) => found.next(),
            Ok(Err(_)) | Err(_) => None,
        };
        let Some(address) = address else {
            return Carried::Later(Report {
                enhanced_smtp_code: Some("4.4.3".to_owned()),
                reason: Some("dns".to_owned()),
                description: Some(format!("the relay {} has no address", self.host)),
                ..Report::default()
            });
        };
        let hop = Hop {
            address,
            name: self.host.clone(),
            hello: hello.to_owned(),
            tls: self.tls,
            login: self.login.as_ref(),
        };
        hop.send(from, to, message).await
    }
}

/// `%40` is an `@` in a user name.
fn percent_decoded(text: &str) -> String {
    url::form_urlencoded::parse(format!("u={}", text.replace('+', "%2B")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// One server to speak to.
pub(super) struct Hop<'a> {
    pub address: SocketAddr,
    pub name: String,
    pub hello: String,
    pub tls: Tls,
    pub login: Option<&'a (String, Secret)>,
}

/// Why an attempt ended.
enum End {
    Smtp(Error),
    /// A text, and whether it may work later.
    Own(&'static str, String),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Smtp(error)
    }
}

impl Hop<'_> {
    pub async fn send(&self, from: Option<&Address>, to: &Address, message: &[u8]) -> Carried {
        let mut report = Report { mx_host: Some(self.name.clone()), ..Report::default() };
        let attempt = self.speak(from, to, message, &mut report);
        match tokio::time::timeout(ATTEMPT_WAIT, attempt).await {
            Ok(Ok(())) => Carried::Delivered(report),
            Ok(Err(End::Smtp(error))) => refused(&error, report),
            Ok(Err(End::Own(reason, text))) => {
                (report.reason, report.description) = (Some(reason.to_owned()), Some(text));
                Carried::Later(report)
            }
            Err(_) => {
                report.reason = Some("timeout".to_owned());
                report.description = Some(format!("{} took too long", self.name));
                Carried::Later(report)
            }
        }
    }

    async fn speak(
        &self,
        from: Option<&Address>,
        to: &Address,
        message: &[u8],
        report: &mut Report,
    ) -> Result<(), End> {
        let parsed = |address: &Address| {
            address
                .to_string()
                .parse::<lettre::Address>()
                .map_err(|error| End::Own("address", error.to_string()))
        };
        let from = from.map(parsed).transpose()?;
        let envelope =
            Envelope::new(from, vec![parsed(to)?]).map_err(|error| End::Own("address", error.to_string()))?;
        let hello = ClientId::Domain(self.hello.clone());
        let mut connection = self.connect(&hello).await?;
        if self.tls != Tls::Always && connection.can_starttls() {
            connection.starttls(self.tls()?, &hello).await?;
        }
        report.tls = Some(connection.is_encrypted());
        if connection.is_encrypted() {
            report.certificate_verified = Some(self.tls != Tls::IfOffered);
        }
        if let Some((user, password)) = self.login {
            if !connection.is_encrypted() && !self.address.ip().is_loopback() {
                let text = format!("{} offers no encryption, and a password is not sent without", self.name);
                connection.abort().await;
                return Err(End::Own("not-encrypted", text));
            }
            let password = password.expose_str().unwrap_or_default().to_owned();
            let credentials = Credentials::new(user.clone(), password);
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await?;
        }
        let response = connection.send(&envelope, message).await?;
        report.smtp_code = response.code().to_string().parse().ok();
        let said: Vec<&str> = response.message().collect();
        note(report, &said.join(" "));
        // The message is theirs; how the connection ends changes nothing.
        let _goodbye = connection.quit().await;
        Ok(())
    }

    async fn connect(&self, hello: &ClientId) -> Result<AsyncSmtpConnection, End> {
        if self.tls == Tls::Always {
            // The operator's own relay.
            let tls = Some(self.tls()?);
            return Ok(AsyncSmtpConnection::connect_tokio1(
                self.address,
                Some(ANSWER_WAIT),
                hello,
                tls,
                None,
            )
            .await?);
        }
        let unreachable =
            |why: String| End::Own("unreachable", format!("{} cannot be reached: {why}", self.name));
        let stream = match timeout(ANSWER_WAIT, TcpStream::connect(self.address)).await {
            Ok(connected) => connected.map_err(|error| unreachable(error.to_string()))?,
            Err(_) => return Err(unreachable("it does not answer".to_owned())),
        };
        let stream = Box::new(Bounded::new(stream));
        match timeout(ANSWER_WAIT, AsyncSmtpConnection::connect_with_transport(stream, hello)).await {
            Ok(connected) => Ok(connected?),
            Err(_) => Err(unreachable("it says nothing".to_owned())),
        }
    }

    fn tls(&self) -> Result<TlsParameters, Error> {
        TlsParameters::builder(self.name.clone())
            .dangerous_accept_invalid_certs(self.tls == Tls::IfOffered)
            .dangerous_accept_invalid_hostnames(self.tls == Tls::IfOffered)
            .build()
    }
}

/// What an error means for the message.
fn refused(error: &Error, mut report: Report) -> Carried {
    let mut text = error.to_string();
    if let Some(cause) = std::error::Error::source(error) {
        text = cause.to_string();
    }
    report.smtp_code = error.status().and_then(|code| code.to_string().parse().ok());
    note(&mut report, &text);
    if error.is_permanent() {
        report.reason = Some("refused".to_owned());
        return Carried::Never(report);
    }
    if error.is_client() {
        report.reason = Some("not-transferable".to_owned());
        report.enhanced_smtp_code = Some("5.6.3".to_owned());
        return Carried::Never(report);
    }
    let reason = if error.is_transient() {
        "put-off"
    } else if error.is_tls() {
        "tls"
    } else {
        "unreachable"
    };
    report.reason = Some(reason.to_owned());
    Carried::Later(report)
}

fn note(report: &mut Report, said: &str) {
    report.enhanced_smtp_code = enhanced(said);
    report.description = Some(said.chars().take(SAID_CHARS_MAX).collect());
}

/// `5.1.1` of `5.1.1 no such user`.
fn enhanced(said: &str) -> Option<String> {
    let word = said.split_whitespace().next()?;
    let parts: Vec<&str> = word.split('.').collect();
    let number = |part: &&str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    (parts.len() == 3 && ["2", "4", "5"].contains(&parts[0]) && parts.iter().all(number))
        .then(|| word.to_owned())
}

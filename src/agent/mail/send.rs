//! Hands a message to the submission service, as the agent's participant.

use crate::client::room::Token;
use lettre::address::Envelope;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use std::net::IpAddr;
use std::time::Duration;

/// How long a connection and each answer may take.
const ANSWER_WAIT: Duration = Duration::from_mins(1);
/// How long sending one message may take in all.
const SEND_WAIT: Duration = Duration::from_mins(5);
/// Host of the hosted platform, for agents that are told no other.
pub const DEFAULT_HOST: &str = "mail.meshagent.com";
/// Port of submission services.
pub const DEFAULT_PORT: u16 = 587;

/// Where an agent sends mail.
#[derive(Clone, Debug)]
pub struct MailConfig {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Token,
    /// What the agent calls itself.
    pub hello: String,
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It will not be taken later either.
    #[error("{host} refused the mail: {said}")]
    Refused { host: String, said: String },
    /// It may be taken later.
    #[error(
        "the mail could not be sent through {host}: {said}; set SMTP_HOSTNAME and SMTP_PORT if another server is meant"
    )]
    Later { host: String, said: String },
}

/// Sends; on return the service has the message on disk.
pub async fn submit(config: &MailConfig, from: &str, to: &[&str], message: &[u8]) -> Result<(), SendError> {
    match tokio::time::timeout(SEND_WAIT, speak(config, from, to, message)).await {
        Ok(done) => done,
        Err(_) => Err(SendError::Later { host: config.host.clone(), said: "it took too long".to_owned() }),
    }
}

async fn speak(config: &MailConfig, from: &str, to: &[&str], message: &[u8]) -> Result<(), SendError> {
    let refused = |said: String| SendError::Refused { host: config.host.clone(), said };
    let failed = |error: lettre::transport::smtp::Error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let said = cause.unwrap_or_else(|| error.to_string());
        if error.is_permanent() || error.is_client() {
            return SendError::Refused { host: config.host.clone(), said };
        }
        SendError::Later { host: config.host.clone(), said }
    };
    let address =
        |text: &str| text.parse::<lettre::Address>().map_err(|error| refused(format!("{text}: {error}")));
    let to = to.iter().map(|one| address(one)).collect::<Result<Vec<_>, _>>()?;
    let envelope = Envelope::new(Some(address(from)?), to).map_err(|error| refused(error.to_string()))?;
    let hello = ClientId::Domain(config.hello.clone());
    let server = (config.host.as_str(), config.port);
    let mut connection = AsyncSmtpConnection::connect_tokio1(server, Some(ANSWER_WAIT), &hello, None, None)
        .await
        .map_err(failed)?;
    if connection.can_starttls() {
        let tls = TlsParameters::new(config.host.clone()).map_err(failed)?;
        connection.starttls(tls, &hello).await.map_err(failed)?;
    } else if !is_near(&config.host) {
        tracing::warn!(host = config.host, "mail and token go to the submission service unencrypted");
    }
    let credentials = Credentials::new(config.user.clone(), config.password.reveal().to_owned());
    connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await.map_err(failed)?;
    connection.send(&envelope, message).await.map_err(failed)?;
    // The message is theirs; how the connection ends changes nothing.
    let _goodbye = connection.quit().await;
    Ok(())
}

fn is_near(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

//! Flags of `meshagent up` about mail.

use super::secret;
use crate::cli::args;
use crate::cli::error::CliError;
use crate::server::{DEFAULT_MESSAGE_MIB, DEFAULT_RETRY_SECONDS, MailOptions, Outgoing};
use crate::vault::Secret;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

const MIB: usize = 1024 * 1024;
/// Longest message that may be allowed, MiB.
const MESSAGE_MIB_MAX: u64 = 256;
/// Password of the relay's user.
const RELAY_PASSWORD: &str = "MESHAGENT_SMTP_RELAY_PASSWORD";

#[derive(Debug, clap::Args)]
pub(super) struct MailArgs {
    /// Receive mail for mailboxes here, such as 127.0.0.1:2525; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    smtp: Option<SocketAddr>,
    /// Take mail from agents here, who log in with their participant token, such as 127.0.0.1:2587
    #[arg(long, value_name = "ADDRESS")]
    smtp_submission: Option<SocketAddr>,
    /// Host by which agents reach the submission service [default: its address]
    #[arg(long, value_name = "HOST", requires = "smtp_submission")]
    smtp_submission_host: Option<String>,
    /// Let tokens come over connections that are not encrypted; on loopback they may anyway
    #[arg(long, requires = "smtp_submission")]
    smtp_plain_login: bool,
    /// Certificate chain (PEM) with which mail connections can be encrypted
    #[arg(long, value_name = "FILE", requires = "smtp_tls_key")]
    smtp_tls_cert: Option<PathBuf>,
    /// Key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "smtp_tls_cert")]
    smtp_tls_key: Option<PathBuf>,
    /// Longest message that is taken, MiB
    #[arg(long, value_name = "MIB", default_value_t = DEFAULT_MESSAGE_MIB as u64, value_parser = clap::value_parser!(u64).range(1..=MESSAGE_MIB_MAX))]
    smtp_message_mib: u64,
    /// Address or network of a mail server in front, whose word is taken for who a message is from; may be repeated.
    /// Of others SPF, DKIM and DMARC are looked up
    #[arg(long, value_name = "NETWORK", requires = "smtp", value_parser = network, default_values = ["127.0.0.0/8", "::1"])]
    smtp_trust: Vec<IpNet>,
    /// Name server that mail asks [default: the system's]
    #[arg(long, value_name = "ADDRESS:PORT")]
    mail_dns: Option<SocketAddr>,
    /// Domain of the mailboxes, and this server's name among mail servers
    #[arg(long, value_name = "DOMAIN", env = "MESHAGENT_MAIL_DOMAIN")]
    mail_domain: Option<String>,
    /// Send through this relay: smtp://[user@]host[:port] or smtps://…; MESHAGENT_SMTP_RELAY_PASSWORD is the password
    #[arg(long, value_name = "URL", requires = "smtp_submission", conflicts_with = "smtp_direct")]
    smtp_relay: Option<String>,
    /// File with the password of the relay's user
    #[arg(long, value_name = "FILE", requires = "smtp_relay")]
    smtp_relay_password_file: Option<PathBuf>,
    /// Send to the servers of each recipient's domain
    #[arg(long, requires = "smtp_submission")]
    smtp_direct: bool,
    /// Wait before the second try of a delivery, seconds; it doubles from there
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_RETRY_SECONDS, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    smtp_retry: u32,
    /// Key (PEM, RSA or Ed25519) that signs mail of the mail domain by DKIM
    #[arg(long, value_name = "FILE", requires = "mail_domain")]
    dkim_key: Option<PathBuf>,
    /// Selector of the DKIM key: its public half is in the DNS at SELECTOR._domainkey.DOMAIN
    #[arg(long, value_name = "NAME", default_value = "meshagent")]
    dkim_selector: String,
}

fn network(text: &str) -> Result<IpNet, String> {
    let one = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse()
        .ok()
        .or_else(one)
        .ok_or_else(|| "give an address or a network, such as 10.0.0.0/8".to_owned())
}

impl MailArgs {
    pub fn options(self) -> Result<MailOptions, CliError> {
        let mib = usize::try_from(self.smtp_message_mib).unwrap_or(DEFAULT_MESSAGE_MIB);
        let password = match &self.smtp_relay_password_file {
            Some(file) => {
                Some(Secret::from(args::read_text(file)?.trim_end_matches(['\r', '\n']).to_owned()))
            }
            None => secret(RELAY_PASSWORD),
        };
        let outgoing = match self.smtp_relay {
            Some(url) => Outgoing::Relay { url, password },
            None if self.smtp_direct => Outgoing::Direct,
            None => Outgoing::Nowhere,
        };
        Ok(MailOptions {
            receiver: self.smtp,
            submission: self.smtp_submission,
            plain_login: self.smtp_plain_login,
            tls: self.smtp_tls_cert.zip(self.smtp_tls_key),
            domain: self.mail_domain.map(|domain| domain.to_ascii_lowercase()),
            submission_host: self.smtp_submission_host,
            message_bytes: mib * MIB,
            outgoing,
            dkim: self.dkim_key.map(|key| (key, self.dkim_selector)),
            retry_seconds: self.smtp_retry,
            trusted: self.smtp_trust,
            dns: self.mail_dns,
        })
    }
}

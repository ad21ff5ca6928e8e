//! Flags of `meshagent up` about mail.

use crate::cli::error::CliError;
use crate::server::{DEFAULT_MESSAGE_MIB, MailOptions};
use std::net::SocketAddr;
use std::path::PathBuf;

const MIB: usize = 1024 * 1024;
/// Longest message that may be allowed, MiB.
const MESSAGE_MIB_MAX: u64 = 256;

#[derive(Debug, clap::Args)]
pub(super) struct MailArgs {
    /// Receive mail for mailboxes here, such as 127.0.0.1:2525; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    smtp: Option<SocketAddr>,
    /// Certificate chain (PEM) with which mail connections can be encrypted
    #[arg(long, value_name = "FILE", requires = "smtp_tls_key")]
    smtp_tls_cert: Option<PathBuf>,
    /// Key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "smtp_tls_cert")]
    smtp_tls_key: Option<PathBuf>,
    /// Longest message that is taken, MiB
    #[arg(long, value_name = "MIB", default_value_t = DEFAULT_MESSAGE_MIB as u64, value_parser = clap::value_parser!(u64).range(1..=MESSAGE_MIB_MAX))]
    smtp_message_mib: u64,
    /// Domain of the mailboxes, and this server's name among mail servers
    #[arg(long, value_name = "DOMAIN", env = "MESHAGENT_MAIL_DOMAIN")]
    mail_domain: Option<String>,
}

impl MailArgs {
    pub fn options(self) -> Result<MailOptions, CliError> {
        let mib = usize::try_from(self.smtp_message_mib).unwrap_or(DEFAULT_MESSAGE_MIB);
        Ok(MailOptions {
            receiver: self.smtp,
            tls: self.smtp_tls_cert.zip(self.smtp_tls_key),
            domain: self.mail_domain,
            message_bytes: mib * MIB,
        })
    }
}

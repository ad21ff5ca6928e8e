//! Brings one message to one recipient's server: through the operator's relay, or to the servers that the
//! recipient's domain names. Says what came of it; retries and reports are others' business.

mod bounded;
mod dns;
mod smtp;

pub use dns::{Dns, DnsError, Found, MxLookup, Resolver};
pub use smtp::{Relay, RelayError};

use super::Address;
use super::outbox::Report;
use crate::net::guard::{Allowed, is_public};
use smtp::{Hop, Tls};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Port of mail servers.
pub const SMTP_PORT: u16 = 25;
/// Servers of a domain that one attempt tries.
const SERVERS_MAX: usize = 4;
/// Addresses of a server that one attempt tries.
const ADDRESSES_MAX: usize = 3;

/// The way out.
#[derive(Debug)]
pub enum Route {
    /// All through the operator's relay.
    Relay(Relay),
    /// To the recipient's own servers. Only public addresses, and hosts that the operator allowed.
    Direct { lookup: Arc<dyn MxLookup>, allowed: Allowed, port: u16 },
}

/// Brings mail to other servers.
#[derive(Debug)]
pub struct Carrier {
    /// What this server calls itself.
    pub hello: String,
    pub route: Route,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    Delivered(Report),
    /// May work later.
    Later(Report),
    /// Will not work.
    Never(Report),
}

fn never(code: &str, reason: &str, description: String) -> Carried {
    Carried::Never(Report {
        enhanced_smtp_code: Some(code.to_owned()),
        reason: Some(reason.to_owned()),
        description: Some(description),
        ..Report::default()
    })
}

impl Carrier {
    /// One attempt.
    pub async fn carry(&self, from: Option<&Address>, to: &Address, message: &[u8]) -> Carried {
        match &self.route {
            Route::Relay(relay) => relay.send(&self.hello, from, to, message).await,
            Route::Direct { lookup, allowed, port } => {
                let found = match lookup.servers(to.domain()).await {
                    Ok(found) => found,
                    Err(DnsError::NoDomain(text)) => return never("5.1.2", "unknown-domain", text),
                    Err(DnsError::NoMail(text)) => return never("5.1.10", "takes-no-mail", text),
                    Err(DnsError::Later(text)) => {
                        let report = Report {
                            enhanced_smtp_code: Some("4.4.3".to_owned()),
                            reason: Some("dns".to_owned()),
                            description: Some(text),
                            ..Report::default()
                        };
                        return Carried::Later(report);
                    }
                };
                self.deliver(&found, allowed, *port, (from, to, message)).await
            }
        }
    }

    /// Tries the servers in their order until one answers.
    async fn deliver(
        &self,
        found: &[Found],
        allowed: &Allowed,
        port: u16,
        (from, to, message): (Option<&Address>, &Address, &[u8]),
    ) -> Carried {
        let mut last = None;
        for server in found.iter().take(SERVERS_MAX) {
            let open = |ip: &IpAddr| is_public(*ip) || allowed.names(&server.host, port);
            for ip in server.addresses.iter().filter(|ip| open(ip)).take(ADDRESSES_MAX) {
                let hop = Hop {
                    address: SocketAddr::new(*ip, port),
                    name: server.host.clone(),
                    hello: self.hello.clone(),
                    tls: Tls::IfOffered,
                    login: None,
                };
                match hop.send(from, to, message).await {
                    Carried::Later(report) => last = Some(report),
                    done => return done,
                }
            }
        }
        match last {
            Some(report) => Carried::Later(report),
            None => never(
                "5.4.4",
                "not-public",
                format!(
                    "no server of {} has a public address; the operator can allow it (`meshagent up --allow-host`)",
                    to.domain()
                ),
            ),
        }
    }
}

#[cfg(test)]
mod tests;

//! Which servers take the mail of a domain (RFC 5321 §5.1, RFC 7505).

use async_trait::async_trait;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::system_conf::read_system_conf;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A server of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub host: String,
    pub addresses: Vec<IpAddr>,
}

/// Why there is no server to speak to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// The domain does not exist, or has no server.
    #[error("{0}")]
    NoDomain(String),
    /// The domain says that it takes no mail.
    #[error("{0}")]
    NoMail(String),
    #[error("{0}")]
    Later(String),
}

/// Looks up the servers of a domain, in the order in which they are to be tried.
#[async_trait]
pub trait MxLookup: Send + Sync + fmt::Debug + 'static {
    async fn servers(&self, domain: &str) -> Result<Vec<Found>, DnsError>;
}

/// Who is asked for names, and how.
#[derive(Clone, Debug)]
pub struct Resolver {
    pub(in crate::mail) config: ResolverConfig,
    pub(in crate::mail) options: ResolverOpts,
}

impl Resolver {
    /// The name server given, or without it the system's; the reason when the system has none.
    pub fn new(server: Option<SocketAddr>) -> Result<Self, String> {
        let (config, options) = match server {
            None => read_system_conf().map_err(|error| error.to_string())?,
            Some(at) => {
                let mut server = NameServerConfig::udp_and_tcp(at.ip());
                for connection in &mut server.connections {
                    connection.port = at.port();
                }
                (ResolverConfig::from_name_servers(vec![server]), ResolverOpts::default())
            }
        };
        Ok(Self { config, options })
    }
}

/// Looks names up by a resolver.
pub struct Dns(TokioResolver);

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dns")
    }
}

impl Dns {
    pub fn new(resolver: Resolver) -> Result<Self, String> {
        let builder = TokioResolver::builder_with_config(resolver.config, TokioRuntimeProvider::default());
        builder.with_options(resolver.options).build().map(Self).map_err(|error| error.to_string())
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        match self.0.lookup_ip(format!("{host}.")).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(error) if error.is_nx_domain() || error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(DnsError::Later(format!("the name {host} could not be looked up: {error}"))),
        }
    }
}

#[async_trait]
impl MxLookup for Dns {
    async fn servers(&self, domain: &str) -> Result<Vec<Found>, DnsError> {
        let mut hosts: Vec<(u16, String)> = match self.0.mx_lookup(format!("{domain}.")).await {
            Ok(found) => found
                .answers()
                .iter()
                .filter_map(|record| match &record.data {
                    RData::MX(mx) => {
                        Some((mx.preference, mx.exchange.to_ascii().trim_end_matches('.').to_owned()))
                    }
                    _ => None,
                })
                .collect(),
            Err(error) if error.is_nx_domain() => {
                return Err(DnsError::NoDomain(format!("the domain {domain} does not exist")));
            }
            Err(error) if error.is_no_records_found() => Vec::new(),
            Err(error) => {
                return Err(DnsError::Later(format!(
                    "the mail servers of {domain} could not be looked up: {error}"
                )));
            }
        };
        if hosts.iter().any(|(_, host)| host.is_empty()) {
            return Err(DnsError::NoMail(format!("the domain {domain} takes no mail")));
        }
        if hosts.is_empty() {
            hosts.push((0, domain.to_owned()));
        }
        hosts.sort();
        let (mut found, mut later) = (Vec::new(), None);
        for (_, host) in hosts.into_iter().take(super::SERVERS_MAX) {
            match self.addresses(&host).await {
                Ok(addresses) if addresses.is_empty() => {}
                Ok(addresses) => found.push(Found { host, addresses }),
                Err(error) => later = Some(error),
            }
        }
        match later {
            Some(error) if found.is_empty() => Err(error),
            _ if found.is_empty() => {
                Err(DnsError::NoDomain(format!("the domain {domain} has no mail server")))
            }
            _ => Ok(found),
        }
    }
}

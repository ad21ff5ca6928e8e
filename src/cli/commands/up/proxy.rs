//! Flags of `meshagent up` about routes.

use crate::domain::route;
use crate::server::ProxyOptions;
use std::net::SocketAddr;

#[derive(Debug, clap::Args)]
pub(super) struct ProxyArgs {
    /// Answer for routes here, by the host that is asked for, such as 127.0.0.1:8080; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    proxy: Option<SocketAddr>,
    /// A server that speaks HTTPS stands before --proxy: cookies are for HTTPS only, and it is believed about who asks
    #[arg(long, requires = "proxy")]
    proxy_https: bool,
    /// Routes are for names below this one only, such as apps.example.com: projects cannot take each other's or anybody's names
    #[arg(long, value_name = "DOMAIN", value_parser = domain)]
    proxy_domain: Option<String>,
}

fn domain(text: &str) -> Result<String, String> {
    let name = route::canonical(text);
    if route::is_domain(&name) { Ok(name) } else { Err("want a name such as apps.example.com".to_owned()) }
}

impl ProxyArgs {
    pub fn options(self) -> ProxyOptions {
        ProxyOptions { listen: self.proxy, https: self.proxy_https, domain: self.proxy_domain }
    }
}

//! Where requests for others may go: public addresses, and hosts that the operator named. The addresses that were
//! checked are the ones connected to, so that a name cannot change its meaning in between, and redirects are not
//! followed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use url::Url;

/// How long a name may take to resolve.
const RESOLVE_WAIT: Duration = Duration::from_secs(5);
/// How long a connection may take to be made.
pub const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// Most addresses of a name that are tried.
const ADDRESSES_MAX: usize = 8;
/// Ports of services that speak something else than HTTP and could be made to misread it.
const NOT_WEB_PORTS: [u16; 31] = [
    0, 1, 7, 9, 11, 13, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 79, 110, 111, 119, 135, 139, 143,
    179, 389, 465, 587, 993, 995,
];

/// Why a request does not go out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The URL itself is not one to call.
    #[error("{0}")]
    Invalid(String),
    #[error(
        "`{0}` is not a public address, and requests within the server's own network are refused; have the operator allow this host (`meshagent up --allow-host`)"
    )]
    NotPublic(String),
    #[error("`{host}` could not be resolved: {why}; check the URL")]
    NotResolved { host: String, why: String },
    #[error("no request could be prepared: {0}")]
    Client(String),
}

/// Hosts, beyond public addresses, that may be called: `host` or `host:port`.
#[derive(Debug, Clone, Default)]
pub struct Allowed(Vec<String>);

impl Allowed {
    pub fn new(hosts: impl IntoIterator<Item = String>) -> Self {
        Self(hosts.into_iter().map(|host| host.trim().to_ascii_lowercase()).collect())
    }

    /// Whether this host may be called on this port though its address is not public.
    #[must_use]
    pub fn names(&self, host: &str, port: u16) -> bool {
        let bare = bare(host);
        let with_port = format!("{host}:{port}");
        self.0.iter().any(|entry| entry == host || entry == bare || *entry == with_port)
    }
}

/// A URL whose host was looked up, with addresses that may be connected to.
#[derive(Debug, Clone)]
pub struct Target {
    pub url: Url,
    pub addresses: Vec<SocketAddr>,
}

impl Target {
    /// The host, for texts.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// A client that connects to the checked addresses only, follows no redirect and knows no proxy.
    pub fn client(&self) -> Result<reqwest::ClientBuilder, Refused> {
        Ok(reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_WAIT)
            .resolve_to_addrs(self.host(), &self.addresses))
    }
}

/// Reads a URL, looks its host up and holds every address against what is allowed.
pub async fn check(url: &str, allowed: &Allowed) -> Result<Target, Refused> {
    // What is behind the host may be a secret.
    let url = Url::parse(url).map_err(|error| Refused::Invalid(format!("the target is no URL: {error}")))?;
    check_url(url, allowed).await
}

/// As [`check`], of a URL that was read already.
pub async fn check_url(url: Url, allowed: &Allowed) -> Result<Target, Refused> {
    if !matches!(url.scheme(), "http" | "https" | "ws" | "wss") {
        let text = format!("a URL to call begins with http or https, not {}", url.scheme());
        return Err(Refused::Invalid(text));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused::Invalid("the URL has a user or a password in it; leave them out".to_owned()));
    }
    let (Some(host), Some(port)) = (url.host_str().map(str::to_owned), url.port_or_known_default()) else {
        return Err(Refused::Invalid("the URL names no host".to_owned()));
    };
    let addresses = look_up(&host, port).await?;
    if allowed.names(&host, port) {
        return Ok(Target { url, addresses });
    }
    if !addresses.iter().all(|address| is_public(address.ip())) {
        return Err(Refused::NotPublic(host));
    }
    if NOT_WEB_PORTS.contains(&port) {
        return Err(Refused::Invalid(format!("port {port} is not one of the web; check the URL")));
    }
    Ok(Target { url, addresses })
}

/// As [`check`], of a host and a port that are not asked by HTTP.
pub async fn check_host(host: &str, port: u16, allowed: &Allowed) -> Result<Vec<SocketAddr>, Refused> {
    let addresses = look_up(host, port).await?;
    if allowed.names(host, port) || addresses.iter().all(|address| is_public(address.ip())) {
        return Ok(addresses);
    }
    Err(Refused::NotPublic(host.to_owned()))
}

async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, Refused> {
    let failed = |why: &str| Refused::NotResolved { host: host.to_owned(), why: why.to_owned() };
    let found = tokio::time::timeout(RESOLVE_WAIT, tokio::net::lookup_host((bare(host), port))).await;
    let found =
        found.map_err(|_| failed("no answer in time"))?.map_err(|error| failed(&error.to_string()))?;
    let addresses: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
    if addresses.is_empty() { Err(failed("it has no address")) } else { Ok(addresses) }
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Whether an address belongs to the internet at large.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match embedded_v4(v6) {
            Some(v4) => is_public_v4(v4),
            None => is_public_v6(v6),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast();
    let reserved = a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (b == 18 || b == 19))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99);
    !special && !reserved
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Global unicast is 2000::/3; of it, 2001:db8::/32 and 3fff::/20 are documentation and 2001::/23 is for protocols
    // (Teredo among them).
    let [first, second, ..] = address.segments();
    let global = first & 0xe000 == 0x2000;
    let special =
        (first == 0x2001 && (second == 0x0db8 || second < 0x0200)) || (first == 0x3fff && second < 0x1000);
    // The interface identifier of ISATAP has an IPv4 address in it.
    let isatap = matches!(address.segments()[4..6], [0 | 0x0200, 0x5efe]);
    global && !special && !isatap
}

/// The IPv4 address that an IPv6 one leads to: mapped, NAT64, or 6to4.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match s {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(join(high, low)),
        _ => address.to_ipv4_mapped(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for public in ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for own in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.0.8",
            "192.88.99.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::7f00:1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::a00:1",
            "2002:7f00:1::",
            "2001:0:7f00:1::",
            "2001:db8::1",
            "3fff::1",
            "2606:4700::5efe:7f00:1",
            "::ffff:169.254.169.254",
        ] {
            assert!(!is_public(own.parse().unwrap()), "{own}");
        }
    }

    #[tokio::test]
    async fn a_host_within_is_refused_however_it_is_written_unless_the_operator_allows_it() {
        let none = Allowed::default();
        for url in [
            "http://127.0.0.1:9080/webhook",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]:80/",
            "https://localhost/",
            "http://0/",
            "ws://169.254.169.254/latest",
            "http://①②⑦.0.0.1/",
        ] {
            let error = check(url, &none).await.unwrap_err();
            assert!(matches!(error, Refused::NotPublic(_)), "{url}: {error}");
        }
        for allowed in ["127.0.0.1", "127.0.0.1:9080", " 127.0.0.1 "] {
            let allowed = Allowed::new([allowed.to_owned()]);
            let target = check("http://127.0.0.1:9080/webhook", &allowed).await.unwrap();
            assert_eq!(target.addresses, ["127.0.0.1:9080".parse().unwrap()]);
        }
        let other_port = Allowed::new(["127.0.0.1:10".to_owned()]);
        assert!(check("http://127.0.0.1:9080/", &other_port).await.is_err());
        let v6 = Allowed::new(["::1".to_owned()]);
        assert!(check("http://[::1]:9080/", &v6).await.is_ok());
    }

    #[tokio::test]
    async fn urls_that_are_no_web_addresses_are_refused() {
        let none = Allowed::default();
        for (url, why) in [
            ("no url", "is no URL"),
            ("file:///etc/passwd", "not file"),
            ("gopher://8.8.8.8/", "not gopher"),
            ("http://user:word@8.8.8.8/", "a user or a password"),
            ("http://8.8.8.8:25/", "port 25"),
            ("http://8.8.8.8:0/", "port 0"),
        ] {
            let error = check(url, &none).await.unwrap_err();
            assert!(matches!(error, Refused::Invalid(_)), "{url}: {error}");
            assert!(
                error.to_string().contains(why) && !error.to_string().contains("word@"),
                "{url}: {error}"
            );
        }
        let unknown = check("http://no-such-host.invalid/", &none).await.unwrap_err();
        assert!(matches!(unknown, Refused::NotResolved { .. }), "{unknown}");
    }
}

//! Where calls out may go: public addresses, and hosts that the operator named. The addresses that were checked are
//! the ones connected to, so that a name cannot change its meaning in between.

use crate::error_code::RoomCode;
use crate::room::toolkit::ToolError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use url::Url;

/// How long a name may take to resolve.
const RESOLVE_WAIT: Duration = Duration::from_secs(5);
/// Most addresses of a name that are tried.
const ADDRESSES_MAX: usize = 8;

/// The addresses of a URL's host, all of them allowed.
pub async fn resolve(url: &Url, allowed: &[String]) -> Result<Vec<SocketAddr>, ToolError> {
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(ToolError::invalid(format!("`{url}` names no host")));
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let failed =
        |why: &str| ToolError::failed(format!("`{host}` could not be resolved: {why}; check the URL"));
    let found = tokio::time::timeout(RESOLVE_WAIT, tokio::net::lookup_host((bare, port))).await;
    let found =
        found.map_err(|_| failed("no answer in time"))?.map_err(|error| failed(&error.to_string()))?;
    let addresses: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
    if addresses.is_empty() {
        return Err(failed("it has no address"));
    }
    let named = allowed.iter().any(|entry| entry == host || *entry == format!("{host}:{port}"));
    if named || addresses.iter().all(|address| is_public(address.ip())) {
        return Ok(addresses);
    }
    let text = format!(
        "`{host}` is not a public address, and calls within the server's own network are refused; have the operator allow this host"
    );
    Err(ToolError::new(RoomCode::PermissionDenied, text))
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
        || (a == 192 && b == 0 && c == 0);
    !special && !reserved
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Global unicast is 2000::/3; of it, 2001:db8::/32 is documentation and 2001::/23 is for protocols.
    let [first, second, ..] = address.segments();
    let global = first & 0xe000 == 0x2000;
    let special = first == 0x2001 && (second == 0x0db8 || second < 0x0200);
    global && !special
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
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fc00::1",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "::ffff:169.254.169.254",
        ] {
            assert!(!is_public(own.parse().unwrap()), "{own}");
        }
    }

    #[tokio::test]
    async fn a_host_within_is_refused_unless_the_operator_allows_it() {
        let url = Url::parse("http://127.0.0.1:9/webhook").unwrap();
        let error = resolve(&url, &[]).await.unwrap_err();
        assert_eq!(error.code, RoomCode::PermissionDenied);
        assert!(error.text.contains("`127.0.0.1` is not a public address"), "{error}");
        for allowed in ["127.0.0.1", "127.0.0.1:9"] {
            assert_eq!(resolve(&url, &[allowed.to_owned()]).await.unwrap().len(), 1);
        }
        assert!(resolve(&url, &["127.0.0.1:10".to_owned()]).await.is_err());
    }
}

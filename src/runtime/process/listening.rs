//! Whose a port of this host is. All children share its loopback: without this, a service could name a port of the
//! host's own, or of another project's service, and have requests and tokens sent there.

use super::reaper;
use std::collections::HashSet;
use std::fs;

/// State of a socket that listens, in `/proc/net/tcp`.
const LISTENS: &str = "0A";
/// Addresses at which a connection to the loopback of IPv4 may arrive: itself, any, any of IPv6, itself in IPv6.
const AT_LOOPBACK: [&str; 4] =
    ["0100007F", "00000000", "00000000000000000000000000000000", "0000000000000000FFFF00000100007F"];

/// Who listens where connections to a port of the loopback arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Nobodys,
    /// The session's, and nobody else's.
    Own,
    Foreign,
}

/// Whose a port is, for a session. Reads `/proc`: not for an async thread.
pub(super) fn whose(session: u32, port: u16) -> Whose {
    let mut listeners = listeners(port);
    if listeners.is_empty() {
        return Whose::Nobodys;
    }
    for pid in reaper::of_session(session) {
        for socket in sockets(pid) {
            listeners.remove(&socket);
        }
    }
    if listeners.is_empty() { Whose::Own } else { Whose::Foreign }
}

/// The inodes of sockets that listen on a port.
fn listeners(port: u16) -> HashSet<u64> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(|line| listener(line, port)).collect()
}

fn listener(line: &str, port: u16) -> Option<u64> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (address, number) = fields.get(1)?.split_once(':')?;
    let is_it = u16::from_str_radix(number, 16) == Ok(port)
        && AT_LOOPBACK.contains(&address)
        && fields.get(3) == Some(&LISTENS);
    fields.get(9).filter(|_| is_it)?.parse().ok()
}

/// The inodes of a process's sockets; none where it may not be looked at.
fn sockets(pid: u32) -> Vec<u64> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let socket = |file: fs::DirEntry| {
        let link = fs::read_link(file.path()).ok()?;
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    files.filter_map(socket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_port_is_foreign_to_all_but_who_listens() {
        let own = reaper::session_of(std::process::id()).unwrap();
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let port = listener.local_addr().unwrap().port();
            assert_eq!(whose(own, port), Whose::Own, "{address}");
            assert_eq!(whose(u32::MAX, port), Whose::Foreign, "{address}");
            drop(listener);
            assert_eq!(whose(own, port), Whose::Nobodys, "{address}");
        }
    }
}

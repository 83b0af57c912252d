//! Who listens at an address, as far as this process may see: `/proc` says which socket it is, and
//! whose. A socket whose process is dead, or is dying, is nobody's.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// A process that lives, and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) pid: u32,
    pub(super) name: String,
}

/// State of a listening socket in `/proc/net/tcp` (`TCP_LISTEN`).
const LISTEN: &str = "0A";
/// `PF_EXITING` of `<linux/sched.h>`.
const EXITING: u64 = 4;

/// Who listens at `address`; `None` where nobody is seen to.
pub(super) fn holder_of(address: SocketAddr) -> Option<Holder> {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(fs::read_to_string);
    let sockets: Vec<String> = tables
        .iter()
        .flatten()
        .flat_map(|table| listening(table, address))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if sockets.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find_map(|pid| owner(pid, &sockets))
}

/// The process, if one of these sockets is its and it lives.
fn owner(pid: u32, sockets: &[String]) -> Option<Holder> {
    let directory = Path::new("/proc").join(pid.to_string());
    let mut descriptors = fs::read_dir(directory.join("fd")).ok()?.flatten();
    let is_theirs = |link: &Path| sockets.iter().any(|socket| link == Path::new(socket));
    descriptors.find(|entry| fs::read_link(entry.path()).is_ok_and(|link| is_theirs(&link)))?;
    let stat = fs::read_to_string(directory.join("stat")).ok()?;
    let name = living(&stat)?;
    Some(Holder { pid, name })
}

/// The name in a process's `stat`, unless it is exiting.
fn living(stat: &str) -> Option<String> {
    let (head, rest) = stat.rsplit_once(") ")?;
    let name = head.split_once('(')?.1;
    // Fields from the third on: the state, and five later the flags.
    let mut fields = rest.split_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X");
    let flags: u64 = fields.nth(5)?.parse().ok()?;
    (!is_dead && flags & EXITING == 0).then(|| name.to_owned())
}

/// The inodes of the listeners that are in the way of `address`, from `/proc/net/tcp` or `tcp6`.
fn listening(table: &str, address: SocketAddr) -> impl Iterator<Item = &str> {
    // The system lists listeners first, and there may be a million others.
    let fields = table.lines().skip(1).map(|line| line.split_whitespace());
    fields
        .map_while(move |mut fields| {
            let local = fields.nth(1)?;
            let is_listener = fields.nth(1)? == LISTEN;
            is_listener.then(|| (parsed(local), fields.nth(5)))
        })
        .filter(move |(local, _)| local.is_some_and(|local| collide(local, address)))
        .filter_map(|(_, inode)| inode)
}

fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() == other.port() && (a == b || a.is_unspecified() || b.is_unspecified())
}

/// An address as the kernel prints it: words of the host's byte order in hexadecimal.
fn parsed(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match ip.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let octets: [u8; 16] = words.concat().try_into().ok()?;
            IpAddr::from(Ipv6Addr::from(octets))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a little-endian machine prints it.
    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:075B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0
   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1 0
   2: 0100007F:075B 0100007F:A000 01 00000000:00000000 00:00000000 00000000     0        0 333 1 0
";

    #[cfg(target_endian = "little")]
    #[test]
    fn listeners_in_the_way_are_found_and_connections_are_not() {
        let found = |address: &str| -> Vec<&str> {
            listening(TABLE, address.parse().expect("address")).collect()
        };
        assert_eq!(found("127.0.0.1:1883"), ["111"]);
        assert_eq!(found("0.0.0.0:1883"), ["111"]);
        assert_eq!(found("192.0.2.1:8080"), ["222"]);
        assert!(found("192.0.2.1:1883").is_empty());
        assert!(found("127.0.0.1:1884").is_empty());
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn addresses_of_both_families_are_read() {
        assert_eq!(parsed("0100007F:075B"), Some("127.0.0.1:1883".parse().expect("address")));
        let v6 = parsed("00000000000000000000000001000000:075B");
        assert_eq!(v6, Some("[::1]:1883".parse().expect("address")));
        assert_eq!(parsed("0100:075B"), None);
    }

    #[test]
    fn a_process_that_is_dead_or_exiting_holds_nothing() {
        let stat = |state, flags| format!("7 (a (b) c) {state} 1 7 7 0 -1 {flags} 0 0 0 0 1 2");
        assert_eq!(living(&stat("S", 4_194_560)), Some("a (b) c".to_owned()));
        assert_eq!(living(&stat("R", 4_194_564)), None);
        assert_eq!(living(&stat("Z", 4_194_560)), None);
        assert_eq!(living("nonsense"), None);
    }
}

//! Finds the process that holds an address or a directory which a start needs, by what `/proc` shows to
//! this process. A dead or dying process does not count as an occupant.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A process that lives, and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupant {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

impl Occupant {
    /// Whether it is a server of this kind, by its name.
    pub(super) fn is_push_server(&self) -> bool {
        self.name == env!("CARGO_PKG_NAME")
    }
}

impl fmt::Display for Occupant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (process {})", self.name, self.pid)
    }
}

/// State of a listening socket in `/proc/net/tcp` (`TCP_LISTEN`).
const LISTEN: &str = "0A";
/// `PF_EXITING` of `<linux/sched.h>`.
const EXITING: u64 = 4;

/// The process that listens at `address`; `None` if `/proc` shows none.
pub(super) fn listener_at(address: SocketAddr) -> Option<Occupant> {
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

/// The process that has locked `dir` (`flock`); `None` if `/proc` shows none.
pub(super) fn locker_of(dir: &Path) -> Option<Occupant> {
    let inode = fs::metadata(dir).ok()?.ino();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    lockers(&locks, inode).find_map(process)
}

/// The process, if one of these sockets is its and it lives.
fn owner(pid: u32, sockets: &[String]) -> Option<Occupant> {
    let directory = Path::new("/proc").join(pid.to_string());
    let mut descriptors = fs::read_dir(directory.join("fd")).ok()?.flatten();
    let is_theirs = |link: &Path| sockets.iter().any(|socket| link == Path::new(socket));
    descriptors.find(|entry| fs::read_link(entry.path()).is_ok_and(|link| is_theirs(&link)))?;
    process(pid)
}

/// The process, if it lives.
fn process(pid: u32) -> Option<Occupant> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    let name = living(&stat)?;
    Some(Occupant { pid, name })
}

/// The processes that have locked the file of this inode, from `/proc/locks`. The device there is not
/// always the one that `stat` tells (btrfs), so the inode alone counts: it only names a process.
fn lockers(locks: &str, inode: u64) -> impl Iterator<Item = u32> {
    // `1: FLOCK  ADVISORY  WRITE 712 00:1f:4711 0 EOF`; who waits for a lock has `->` after the number.
    locks.lines().filter_map(move |line| {
        let mut fields = line.split_whitespace().skip(1);
        let is_lock = fields.next() == Some("FLOCK");
        let pid = fields.nth(2)?.parse().ok()?;
        let found: u64 = fields.next()?.rsplit(':').next()?.parse().ok()?;
        (is_lock && found == inode).then_some(pid)
    })
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

    const LOCKS: &str = "\
1: FLOCK  ADVISORY  WRITE 712 00:1f:4711 0 EOF
1: -> FLOCK  ADVISORY  WRITE 713 00:1f:4711 0 EOF
2: POSIX  ADVISORY  READ 714 fe:00:4711 128 128
3: FLOCK  ADVISORY  WRITE 715 fe:00:14711 0 EOF
4: FLOCK  ADVISORY  WRITE nonsense
";

    #[test]
    fn who_has_locked_a_file_is_found_and_who_waits_is_not() {
        assert_eq!(lockers(LOCKS, 4711).collect::<Vec<_>>(), [712]);
        assert_eq!(lockers(LOCKS, 1).count(), 0);
    }

    #[test]
    fn a_lock_of_this_process_is_found_to_be_its_own() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(locker_of(dir.path()), None);
        let locked = fs::File::open(dir.path()).expect("open it");
        locked.lock().expect("lock it");
        assert_eq!(locker_of(dir.path()).map(|occupant| occupant.pid), Some(std::process::id()));
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

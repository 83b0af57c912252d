//! Finds the process that holds an address or a directory that a start needs, as far as `/proc`
//! shows it. A dead or dying process does not count.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A living process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupant {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

impl Occupant {
    /// Whether its name is this server's.
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
/// Flags of a listening socket in `/proc/net/unix` (`__SO_ACCEPTCON`).
const ACCEPTS: &str = "00010000";
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
    owner_of_any(&sockets)
}

/// The process that listens at a Unix socket; `None` if `/proc` shows none.
pub(super) fn listener_at_path(path: &Path) -> Option<Occupant> {
    let table = fs::read_to_string("/proc/self/net/unix").ok()?;
    let inodes = listening_at(&table, path.to_str()?);
    owner_of_any(&inodes.map(|inode| format!("socket:[{inode}]")).collect::<Vec<_>>())
}

fn owner_of_any(sockets: &[String]) -> Option<Occupant> {
    if sockets.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find_map(|pid| owner(pid, sockets))
}

/// The process that has locked `dir` (`flock`); `None` if `/proc` shows none.
pub(super) fn locker_of(dir: &Path) -> Option<Occupant> {
    let inode = fs::metadata(dir).ok()?.ino();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    lockers(&locks, inode).find_map(process)
}

/// The process, if it lives and one of these sockets belongs to it.
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

/// The processes that have locked the file with this inode, from `/proc/locks`. The device there
/// may differ from `stat`'s (btrfs), so only the inode counts: the result only names a process.
fn lockers(locks: &str, inode: u64) -> impl Iterator<Item = u32> {
    // `1: FLOCK  ADVISORY  WRITE 712 00:1f:4711 0 EOF`; a process that waits has `->` after the
    // number.
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

/// The inodes of listeners that keep `address` busy, from `/proc/net/tcp` or `tcp6`.
fn listening(table: &str, address: SocketAddr) -> impl Iterator<Item = &str> {
    // The system lists listeners first, and there may be a million other sockets.
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

/// The inodes of sockets that listen at `path`, from `/proc/net/unix`.
fn listening_at<'a>(table: &'a str, path: &'a str) -> impl Iterator<Item = &'a str> {
    // Number, references, protocol, flags, type, state, inode, path, which may have blanks.
    table.lines().skip(1).filter_map(move |line| {
        let mut fields = line.split_whitespace();
        let accepts = fields.nth(3)? == ACCEPTS;
        let inode = fields.nth(2)?;
        (accepts && line.split_once(inode)?.1.trim_start() == path).then_some(inode)
    })
}

fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() == other.port() && (a == b || a.is_unspecified() || b.is_unspecified())
}

/// Parses an address as the kernel prints it: words in the host's byte order, in hexadecimal.
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
mod tests;

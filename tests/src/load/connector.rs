//! Makes connections: from which address, how many at a time, how many a second, and with which
//! timeout.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use socket2::{Domain, Protocol, Socket, Type};

/// How long a connection may take, from SYN to CONNACK: thousands of handshakes at once have to wait for
/// each other.
pub(super) const CONNECT_NS_MAX: u64 = 60_000_000_000;
/// Clients on one loopback address before the next one is used; it has 28,232 ports by default.
const CLIENTS_PER_LOOPBACK_ADDRESS: usize = 20_000;
/// Addresses of 127.0.0.0/24 that are used without being asked to.
const LOOPBACK_ADDRESSES_MAX: usize = 250;

/// Decides which client may begin to connect, and which one takes too long.
#[derive(Debug)]
pub(super) struct Connector {
    /// Clients that wait to connect, each with its earliest time.
    queue: VecDeque<(u64, usize)>,
    /// Clients by when they began to connect; some have long finished.
    begun: VecDeque<(u64, usize)>,
    in_flight: usize,
    in_flight_max: usize,
    /// The least time between two beginnings.
    spacing_ns: u64,
    next_start_ns: u64,
}

impl Connector {
    /// At most `rate` a second, and `in_flight_max` at a time.
    pub(super) fn new(rate: f64, in_flight_max: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            begun: VecDeque::new(),
            in_flight: 0,
            in_flight_max,
            spacing_ns: (1e9 / rate) as u64,
            next_start_ns: 0,
        }
    }

    /// `client` waits to connect, not before `not_before_ns`.
    pub(super) fn enqueue(&mut self, client: usize, not_before_ns: u64) {
        self.queue.push_back((not_before_ns, client));
    }

    /// The next client to begin now. Call `ended` when it is up, or down again.
    pub(super) fn begin(&mut self, now_ns: u64) -> Option<usize> {
        if self.next_wake_ns()? > now_ns || self.in_flight == self.in_flight_max {
            return None;
        }
        let (_, client) = self.queue.pop_front()?;
        // Makes up for a late wake, by at most as much as a wake may be late.
        let behind_max_ns = 10_000_000;
        self.next_start_ns =
            self.next_start_ns.max(now_ns.saturating_sub(behind_max_ns)) + self.spacing_ns;
        self.in_flight += 1;
        self.begun.push_back((now_ns, client));
        Some(client)
    }

    /// An attempt has succeeded or failed.
    pub(super) fn ended(&mut self) {
        self.in_flight -= 1;
    }

    /// A client that began longer than `CONNECT_NS_MAX` ago, and when; call it until `None`. It may
    /// have ended since: compare.
    pub(super) fn overdue(&mut self, now_ns: u64) -> Option<(u64, usize)> {
        let &(since_ns, _) = self.begun.front()?;
        if since_ns + CONNECT_NS_MAX > now_ns {
            return None;
        }
        self.begun.pop_front()
    }

    /// When to call `begin` or `overdue` again.
    pub(super) fn next_wake_ns(&self) -> Option<u64> {
        let overdue =
            self.begun.front().filter(|_| self.in_flight > 0).map(|begun| begun.0 + CONNECT_NS_MAX);
        let room = self.in_flight < self.in_flight_max;
        let begin = self.queue.front().filter(|_| room).map(|next| next.0.max(self.next_start_ns));
        begin.into_iter().chain(overdue).min()
    }

    /// Whether no client waits to connect or is connecting.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight == 0
    }

    /// Forgets the clients that wait to connect.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }
}

/// The address that the client with this number connects from; `None`: the system chooses.
pub(super) fn source_of(number: usize, sources: &[IpAddr], target: SocketAddr) -> Option<IpAddr> {
    if !sources.is_empty() {
        return Some(sources[number % sources.len()]);
    }
    let address = number / CLIENTS_PER_LOOPBACK_ADDRESS % LOOPBACK_ADDRESSES_MAX;
    let loopback = matches!(target.ip(), IpAddr::V4(ip) if ip.is_loopback());
    (loopback && address > 0).then(|| IpAddr::from(Ipv4Addr::new(127, 0, 0, address as u8 + 1)))
}

/// Begins a connection; it is up when the socket becomes writable without error.
pub(super) fn connect(target: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(target), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot connect from {source}: {error}"))
        };
        socket.bind(&SocketAddr::new(source, 0).into()).map_err(named)?;
    }
    match socket.connect(&target.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(in_progress()) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

fn in_progress() -> i32 {
    rustix::io::Errno::INPROGRESS.raw_os_error()
}

#[cfg(test)]
mod tests;

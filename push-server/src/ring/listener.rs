//! Listening sockets. Every shard has its own on the same address (`SO_REUSEPORT`), so the kernel
//! spreads connections over shards without a lock between them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// When TCP asks whether a peer is still there (`SO_KEEPALIVE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keepalive {
    /// Time after the peer's last segment, in whole seconds.
    pub idle: Duration,
    /// Time between two probes, in whole seconds.
    pub interval: Duration,
    /// Unanswered probes after which the peer counts as gone.
    pub probes: u32,
}

/// Opens a listening TCP socket with `SO_REUSEPORT` and `TCP_NODELAY` (accepted sockets inherit
/// it), close-on-exec, and, if `v6_only`, `IPV6_V6ONLY` for IPv6 addresses, so that `0.0.0.0` and
/// `[::]` can be used together. It stays blocking: the ring polls before it would block, and a non-blocking
/// socket would fail with `EAGAIN` instead.
///
/// Accepted sockets inherit `keepalive` as well. `TCP_USER_TIMEOUT` stays unset: it would replace
/// `keepalive`'s probes, and unacknowledged data has a timeout of its own (`net.ipv4.tcp_retries2`,
/// some 15 minutes).
pub(crate) fn listen(
    address: SocketAddr,
    v6_only: bool,
    backlog: i32,
    keepalive: Option<Keepalive>,
) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(Keepalive { idle, interval, probes }) = keepalive {
        let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval);
        socket.set_tcp_keepalive(&keepalive.with_retries(probes))?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;

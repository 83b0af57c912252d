//! Listening sockets. Every shard has its own on the same address (`SO_REUSEPORT`), so the kernel
//! spreads connections over shards without a lock between them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, Socket, Type};

/// A listening TCP socket with `SO_REUSEPORT` and `TCP_NODELAY` (accepted sockets inherit it),
/// close-on-exec, and for IPv6 addresses `IPV6_V6ONLY`, so that `0.0.0.0` and `[::]` can both be
/// listened on. It is left blocking: the ring polls before it would block, and a non-blocking
/// socket would fail with `EAGAIN` instead.
pub fn listen(address: SocketAddr, backlog: i32) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const BACKLOG: i32 = 16;

    fn bound_to(listener: OwnedFd) -> SocketAddr {
        let address = Socket::from(listener).local_addr().expect("a bound socket");
        address.as_socket().expect("an internet address")
    }

    #[test]
    fn port_zero_is_filled_in_on_v4_and_v6() {
        for ip in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
            let listener = listen(SocketAddr::new(ip, 0), BACKLOG).expect("loopback listens");
            let address = bound_to(listener);
            assert_eq!(address.ip(), ip);
            assert_ne!(address.port(), 0);
        }
    }

    #[test]
    fn two_listeners_share_one_port() {
        let first = listen((Ipv4Addr::LOCALHOST, 0).into(), BACKLOG).expect("first listens");
        let address = bound_to(first.try_clone().expect("a descriptor to spare"));
        let second = listen(address, BACKLOG).expect("second listens beside it");
        assert_eq!(bound_to(second), address);
    }

    #[test]
    fn v4_and_v6_wildcards_share_one_port() {
        let v6 = listen((Ipv6Addr::UNSPECIFIED, 0).into(), BACKLOG).expect("v6 listens");
        let port = bound_to(v6.try_clone().expect("a descriptor to spare")).port();
        listen((Ipv4Addr::UNSPECIFIED, port).into(), BACKLOG).expect("v6 has not taken v4's port");
    }

    #[test]
    fn options_are_set() {
        let listener = listen((Ipv6Addr::LOCALHOST, 0).into(), BACKLOG).expect("v6 listens");
        let socket = Socket::from(listener);
        assert!(socket.tcp_nodelay().expect("readable option"));
        assert!(socket.reuse_port().expect("readable option"));
        assert!(socket.only_v6().expect("readable option"));
        let flags = rustix::io::fcntl_getfd(&socket).expect("readable flags");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
}

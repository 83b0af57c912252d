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
        let listener =
            listen(SocketAddr::new(ip, 0), true, BACKLOG, None).expect("loopback listens");
        let address = bound_to(listener);
        assert_eq!(address.ip(), ip);
        assert_ne!(address.port(), 0);
    }
}

#[test]
fn two_listeners_share_one_port() {
    let first =
        listen((Ipv4Addr::LOCALHOST, 0).into(), true, BACKLOG, None).expect("first listens");
    let address = bound_to(first.try_clone().expect("a descriptor to spare"));
    let second = listen(address, true, BACKLOG, None).expect("second listens beside it");
    assert_eq!(bound_to(second), address);
}

#[test]
fn v4_and_v6_wildcards_share_one_port() {
    let v6 = listen((Ipv6Addr::UNSPECIFIED, 0).into(), true, BACKLOG, None).expect("v6 listens");
    let port = bound_to(v6.try_clone().expect("a descriptor to spare")).port();
    listen((Ipv4Addr::UNSPECIFIED, port).into(), true, BACKLOG, None)
        .expect("v6 has not taken v4's port");
}

const KEEPALIVE: Keepalive =
    Keepalive { idle: Duration::from_secs(77), interval: Duration::from_secs(7), probes: 3 };

#[test]
fn accepted_sockets_inherit_the_keepalive() {
    let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), true, BACKLOG, Some(KEEPALIVE));
    let listener = Socket::from(listener.expect("loopback listens"));
    let address = listener.local_addr().expect("bound").as_socket().expect("internet");
    let _peer = std::net::TcpStream::connect(address).expect("connected");
    let (accepted, _) = listener.accept().expect("accepted");
    assert!(accepted.keepalive().expect("readable option"));
    assert_eq!(accepted.tcp_keepalive_time().expect("readable option"), KEEPALIVE.idle);
    assert_eq!(accepted.tcp_keepalive_interval().expect("readable"), KEEPALIVE.interval);
    assert_eq!(accepted.tcp_keepalive_retries().expect("readable"), KEEPALIVE.probes);
}

#[test]
fn options_are_set() {
    let listener =
        listen((Ipv6Addr::LOCALHOST, 0).into(), true, BACKLOG, None).expect("v6 listens");
    let socket = Socket::from(listener);
    assert!(!socket.keepalive().expect("readable option"));
    assert!(socket.tcp_nodelay().expect("readable option"));
    assert!(socket.reuse_port().expect("readable option"));
    assert!(socket.only_v6().expect("readable option"));
    let flags = rustix::io::fcntl_getfd(&socket).expect("readable flags");
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}

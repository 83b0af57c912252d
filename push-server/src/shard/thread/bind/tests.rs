//! Tests of `bind`.

use std::net::{TcpListener, TcpStream};

use super::*;

#[test]
fn an_address_that_another_listens_at_is_not_shared() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("address");
    let error = bind_each(address, false, 1, None).expect_err("in use");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn the_ipv6_wildcard_serves_ipv4_only_if_asked() {
    for dual in [false, true] {
        let any = "[::]:0".parse().expect("an address");
        let (address, sockets) = bind_each(any, dual, 2, None).expect("a free port");
        let by_v4 = TcpStream::connect(("127.0.0.1", address.port()));
        assert_eq!(by_v4.is_ok(), dual);
        TcpStream::connect(("::1", address.port())).expect("IPv6");
        drop(sockets);
    }
}

#[test]
fn a_port_of_ipv4_is_in_the_way_of_both_families() {
    let listener = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let port = listener.local_addr().expect("address").port();
    let any = format!("[::]:{port}").parse().expect("an address");
    probe_bind(any, false).expect("IPv6 alone");
    assert_eq!(probe_bind(any, true).expect_err("taken").kind(), io::ErrorKind::AddrInUse);
}

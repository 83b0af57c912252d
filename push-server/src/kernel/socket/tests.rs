use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Instant;

use super::*;

#[test]
fn loopback_connections_came_by_lo_and_can_be_bound_to_it() {
    const LO: u32 = 1;
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let local = listener.local_addr().unwrap();
        let _client = TcpStream::connect(local).unwrap();
        let (socket, _) = listener.accept().unwrap();
        assert_eq!(arrival_interface(socket.as_fd(), local.is_ipv6()).unwrap(), LO);
        bind_to_interface(socket.as_fd(), LO).unwrap();
        assert_eq!(out_of_order_packets(socket.as_fd()).unwrap(), 0);
    }
}

#[test]
fn a_socket_is_heard_out_when_its_fin_is_acknowledged() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    let is_heard_out = || is_heard_out(socket.as_fd()).unwrap();
    assert!(!is_heard_out(), "it has not ended");
    socket.shutdown(Shutdown::Write).unwrap();
    // The peer may put its acknowledgement off, by some 40 ms.
    let begun = Instant::now();
    while !is_heard_out() {
        assert!(begun.elapsed() < Duration::from_secs(10), "nothing was acknowledged");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(client);
    assert!(is_heard_out(), "its own FIN changes nothing");
}

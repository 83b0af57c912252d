use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::*;

fn state_becomes(diag: &SocketDiag, key: &FlowKey, wanted: SocketState) {
    let begun = Instant::now();
    loop {
        let state = diag.state(key, 0).expect("an answer");
        if state == wanted {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{state:?}, not {wanted:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_socket_is_known_from_its_connection_to_its_end() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let diag = SocketDiag::open().expect("sock_diag is there");
        let listener = TcpListener::bind(address).expect("loopback");
        let local = listener.local_addr().expect("address");
        let client = TcpStream::connect(local).expect("connect");
        let key = key_of(local, client.local_addr().expect("address")).expect("a key");
        let (socket, _) = listener.accept().expect("accept");
        assert_eq!(diag.state(&key, 0), Some(SocketState::Sends));
        drop(socket);
        state_becomes(&diag, &key, SocketState::HeardOut);
        let other = FlowKey { peer_port: [0, 1], ..key };
        assert_eq!(diag.state(&other, 0), Some(SocketState::Gone), "the listener is no such");
    }
}

#[test]
fn a_socket_with_a_bound_interface_is_found_by_it() {
    const LO: u32 = 1;
    let diag = SocketDiag::open().expect("sock_diag is there");
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let local = listener.local_addr().expect("address");
    let client = TcpStream::connect(local).expect("connect");
    let key = key_of(local, client.local_addr().expect("address")).expect("a key");
    let (socket, _) = listener.accept().expect("accept");
    super::super::socket::bind_to_interface(std::os::fd::AsFd::as_fd(&socket), LO)
        .expect("bind to lo");
    assert_eq!(diag.state(&key, LO), Some(SocketState::Sends));
}

#[test]
fn answers_to_other_questions_and_nonsense_tell_nothing() {
    let mut bytes = [0; 40];
    bytes[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    bytes[8..12].copy_from_slice(&7_u32.to_ne_bytes());
    bytes[17] = tcp::FIN_WAIT2;
    assert_eq!(reply(&bytes, 7), Some(Reply::State(tcp::FIN_WAIT2)));
    assert_eq!(reply(&bytes, 8), None);
    assert_eq!(reply(&bytes[..10], 7), None);
    bytes[4..6].copy_from_slice(&ERROR.to_ne_bytes());
    bytes[16..20].copy_from_slice(&(-2_i32).to_ne_bytes());
    assert_eq!(reply(&bytes, 7), Some(Reply::NotFound));
    bytes[16..20].copy_from_slice(&(-22_i32).to_ne_bytes());
    assert_eq!(reply(&bytes, 7), Some(Reply::Failed));
}

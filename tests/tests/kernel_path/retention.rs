//! Flows outlive their sockets by two minutes (rule 10): what TCP still has to say is translated.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use push_server::kernel::{KernelPath, ShardPath};
use push_tests::expectations::wait_for;

use super::path::{PATIENCE, counter, load_on_private_lo, now};
use super::served::{Order, PINGREQ, Served, frame};

/// States of TCP as `/proc/net/tcp` has them.
const TIME_WAIT: &str = "06";
const LAST_ACK: &str = "09";

#[test]
fn client_that_closes_after_the_server_comes_to_its_end() {
    let test = "client_that_closes_after_the_server_comes_to_its_end";
    let Some(mut path) = load_on_private_lo(test) else { return };
    let shard = path.shard(0);
    let (mut shard, client) = closed_by_server(&path, shard);
    // Nearly two minutes later by the sweeper's clock.
    shard.sweep(now().after_millis(1_500));
    shard.sweep(now().after_millis(119_000));
    assert_eq!(shard.flows_leaving(), 1);
    let port = client.local_addr().expect("address").port();
    let translated = counter(&path, "translated");
    client.shutdown(Shutdown::Write).expect("FIN");
    // An acknowledgement that is not translated would leave the client in LAST-ACK.
    let begun = Instant::now();
    while states(port).iter().any(|state| state == LAST_ACK) {
        assert!(begun.elapsed() < PATIENCE, "{:?}", states(port));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(states(port), [TIME_WAIT], "the server's");
    assert!(counter(&path, "translated") >= translated + 2, "its FIN, and the ACK of that");
    // What still moves has two minutes more.
    for minutes in [2, 4, 6] {
        shard.sweep(now().after_millis(minutes * 60_000 + 10_000));
    }
    assert_eq!(shard.flows_leaving(), 0);
}

#[test]
fn client_that_talks_on_after_the_server_has_closed_is_reset() {
    let test = "client_that_talks_on_after_the_server_has_closed_is_reset";
    let Some(mut path) = load_on_private_lo(test) else { return };
    let shard = path.shard(0);
    let (mut shard, mut client) = closed_by_server(&path, shard);
    shard.sweep(now().after_millis(1_500));
    shard.sweep(now().after_millis(119_000));
    client.write_all(&PINGREQ).expect("PINGREQ");
    // It takes a RST with the right number only.
    let begun = Instant::now();
    loop {
        match client.write(&PINGREQ) {
            Err(error) => {
                let kind = error.kind();
                assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe));
                return;
            }
            Ok(_) => assert!(begun.elapsed() < PATIENCE, "nobody has reset it"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// It says nothing new, for as long as its client does not read; each time it must be translated.
#[test]
fn socket_that_probes_a_closed_window_keeps_its_flow() {
    let test = "socket_that_probes_a_closed_window_keeps_its_flow";
    let Some(mut path) = load_on_private_lo(test) else { return };
    let shard = path.shard(0);
    let mut served = Served::open(shard, "127.0.0.1".parse().expect("address"), |address| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.set_recv_buffer_size(4 << 10)?;
        socket.connect(&address.into())?;
        Ok(socket.into())
    });
    for _ in 0..3 {
        served.ping_until_kernel_answers(&path);
    }
    for order in [Order::Send(frame(300_000)), Order::Close] {
        served.orders.send(order).expect("stand-in lives");
    }
    let (mut shard, _) = served.server.join().expect("stand-in");
    // What fits into the window has left by now.
    std::thread::sleep(Duration::from_millis(500));
    shard.sweep(now().after_millis(1_500));
    let probed = counter(&path, "translated");
    wait_for("two probes of the window, with their answers", || {
        (counter(&path, "translated") >= probed + 4).then_some(())
    });
    shard.sweep(now().after_millis(130_000));
    assert_eq!(shard.flows_leaving(), 1);
    // The socket has bytes to send, however long nobody takes them.
    shard.sweep(now().after_millis(260_000));
    assert_eq!(shard.flows_leaving(), 1);
    // Not longer than it lives: the client's end resets it.
    drop(served.client);
    wait_for("the flow to go with its socket", || {
        shard.sweep(now().after_millis(390_000));
        (shard.flows_leaving() == 0).then_some(())
    });
}

/// A connection with answered pings whose server has closed and forgotten it, and the client not.
fn closed_by_server(path: &KernelPath, shard: ShardPath) -> (ShardPath, TcpStream) {
    let address = "127.0.0.1".parse().expect("address");
    let mut served = Served::open(shard, address, TcpStream::connect);
    for _ in 0..3 {
        served.ping_until_kernel_answers(path);
    }
    served.orders.send(Order::Close).expect("stand-in lives");
    let mut rest = Vec::new();
    served.client.read_to_end(&mut rest).expect("orderly end");
    assert!(rest.is_empty(), "{rest:?}");
    let (shard, _) = served.server.join().expect("stand-in");
    (shard, served.client)
}

/// The states of this namespace's connections that have the port at either end.
fn states(port: u16) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp").expect("TCP's sockets");
    let port = format!(":{port:04X}");
    let state = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, peer, state, ..] = fields[..] else { return None };
        (local.ends_with(&port) || peer.ends_with(&port)).then(|| state.to_owned())
    };
    table.lines().skip(1).filter_map(state).collect()
}

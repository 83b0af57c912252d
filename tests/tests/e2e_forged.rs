//! Somebody who guesses a connection's addresses and ports, and not its numbers: what he sends from
//! the client's own address changes nothing that either end sees.

use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;

use etherparse::PacketBuilder;
use push_tests::both_paths;
use push_tests::clients::{Client, Connect};
use push_tests::metrics::Metrics;
use push_tests::server::{PingPath, Place, Server};
use push_tests::skip::{TestResult, need_root};
use push_tests::wire::{PINGREQ, Version};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use socket2::{Domain, Protocol, Socket, Type};

/// Forged segments of each kind.
const SEGMENTS: usize = 500;

/// Longer than a client's kernel puts off an acknowledgement.
const CALM: Duration = Duration::from_millis(100);

/// Decides the numbers.
const SEED: u64 = 11;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Ping,
    Data,
    Ack,
    Fin,
    Reset,
    Syn,
}

both_paths! {
    blind_segments_change_neither_stream,
}

fn blind_segments_change_neither_stream(path: PingPath) -> TestResult {
    need_root()?;
    let server = Server::with(path).place(Place::VethV4).start()?;
    let mut rng = StdRng::seed_from_u64(SEED);
    for kind in [Kind::Ping, Kind::Data, Kind::Ack, Kind::Fin, Kind::Reset, Kind::Syn] {
        // The old connection's numbers, and what was done to them, are behind us.
        let connect = Connect::new(Version::V5, "client").keep_alive(600);
        let mut client = Client::connect(server.target(), &connect);
        client.subscribe(&[("own", 1)]);
        let (SocketAddr::V4(from), SocketAddr::V4(to)) =
            (client.stream().local_addr().expect("an address"), server.target().address)
        else {
            panic!("not IPv4");
        };
        let begun = server.metrics();
        talk(&mut client);
        let before = server.metrics();
        if path == PingPath::Kernel {
            assert!(before.kernel_pings() > begun.kernel_pings(), "{kind:?}: {}", before.text());
        }
        let packets: Vec<_> = (0..SEGMENTS).map(|_| forge(&mut rng, kind, from, to)).collect();
        server.target().run_at_client(|| send(&packets, to));
        talk(&mut client);
        // The talk's two pings, by whomever, and none of the forged ones.
        let after = server.metrics();
        let pings = |metrics: &Metrics| metrics.kernel_pings() + metrics.user_pings();
        assert_eq!(pings(&after), pings(&before) + 2, "{kind:?}");
        client.disconnect();
    }
    server.finish();
    Ok(())
}

/// Two pings and a message, there and back.
fn talk(client: &mut Client) {
    client.publish("own", &[7; 2_000], 1);
    assert_eq!(client.message().payload, [7; 2_000]);
    for _ in 0..2 {
        std::thread::sleep(CALM);
        client.ping();
    }
}

/// A segment with numbers out of the air.
fn forge(rng: &mut StdRng, kind: Kind, from: SocketAddrV4, to: SocketAddrV4) -> Vec<u8> {
    let (seq, ack, window) = (rng.random(), rng.random(), rng.random());
    let segment = PacketBuilder::ipv4(from.ip().octets(), to.ip().octets(), 64).tcp(
        from.port(),
        to.port(),
        seq,
        window,
    );
    let (segment, payload): (_, &[u8]) = match kind {
        Kind::Ping => (segment.ack(ack).psh(), &PINGREQ),
        Kind::Data => (segment.ack(ack).psh(), &[0x30; 300]),
        Kind::Ack => (segment.ack(ack), &[]),
        Kind::Fin => (segment.ack(ack).fin(), &[]),
        Kind::Reset => (segment.rst(), &[]),
        Kind::Syn => (segment.syn(), &[]),
    };
    let mut packet = Vec::with_capacity(segment.size(payload.len()));
    segment.write(&mut packet, payload).expect("writes to memory");
    packet
}

fn send(packets: &[Vec<u8>], to: SocketAddrV4) {
    /// IPPROTO_RAW: the packets bring their own IP header.
    const RAW: i32 = 255;
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW)));
    let socket = socket.expect("a raw socket");
    for packet in packets {
        socket.send_to(packet, &SocketAddr::V4(to).into()).expect("send");
    }
}

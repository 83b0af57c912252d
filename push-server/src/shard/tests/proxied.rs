//! Claims about connections that come through a proxy: whose they are, and who is let in.

use super::*;
use crate::access::{Identity, Verdict};

const CLIENT: &str = "203.0.113.7:40000";
const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 10.0.0.9 40000 1883\r\n";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// CONNECT with a user name, so that the world's answerer is asked.
fn connect_as(client_id: &str) -> Vec<u8> {
    let flags = [4, 0x82, 0, KEEP_ALIVE_SECS];
    packet(0x10, &[&string("MQTT"), &flags, &string(client_id), &string("ada")])
}

#[test]
fn the_client_is_whom_the_proxy_names_and_the_kernel_counts_from_behind_the_header() {
    for shards in [1, 2] {
        let mut world = world(shards);
        for (number, cut) in [0, 1, 20, HEADER.len(), HEADER.len() + 5].into_iter().enumerate() {
            let peer = world.connect_proxied(0, true);
            let connect = connect_as(&format!("proxied-{number}"));
            let bytes = [HEADER, &connect].concat();
            peer.send(&bytes[..cut]);
            world.settle();
            peer.send(&bytes[cut..]);
            world.settle();
            let question = world.answerer().take().remove(0);
            let credentials = question.credentials();
            assert_eq!(credentials.peer, Some(CLIENT.parse().expect("an address")));
            assert_eq!(credentials.listener.as_deref(), Some("proxied"));
            question.answer(Verdict::Allowed(Identity::of_user("ada".into()), None));
            world.settle();
            assert_eq!(peer.take(), CONNACK, "cut at {cut}");
            assert_eq!(world.rx_of(&peer), Some(bytes.len() as u64), "cut at {cut}");
            assert!(world.answer_ping(&peer), "the kernel answers for it, by its proxy's address");
            peer.send(&PINGREQ);
            world.settle();
            assert_eq!(peer.take(), PINGRESP);
            assert_eq!(world.rx_of(&peer), Some(bytes.len() as u64 + 2));
        }
        let told: u64 = (0..shards).map(|shard| world.counters(shard).proxied_told.value()).sum();
        assert_eq!(told, 5);
    }
}

#[test]
fn a_proxy_that_speaks_for_itself_has_its_own_address() {
    let mut world = world(1);
    let peer = world.connect_proxied(0, true);
    peer.send(&[LOCAL, &connect_as("check")].concat());
    world.settle();
    let question = world.answerer().take().remove(0);
    assert_eq!(question.credentials().peer, Some(peer.address()));
    assert_eq!(world.counters(0).proxied_local.value(), 1);
}

#[test]
fn who_is_no_proxy_is_closed_before_it_is_read() {
    let mut world = world(1);
    let peer = world.connect_proxied(0, false);
    peer.send(&[HEADER, &connect("forged")].concat());
    world.settle();
    assert!(peer.is_closed() && peer.take().is_empty());
    assert_eq!(peer.unread(), HEADER.len() + connect("forged").len());
    assert_eq!(world.counters(0).proxied_untrusted.value(), 1);
    assert_eq!(world.counters(0).connections.value(), 0);
    assert_eq!(world.leftovers(), Vec::new());
}

#[test]
fn a_proxy_without_a_header_is_closed_and_no_bytes_behind_a_wrong_one_are_read() {
    let wrong: [&[u8]; 4] = [
        &connect("bare"),
        b"PROXY TCP4 x\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\xFF",
    ];
    for (count, begin) in (1..).zip(wrong) {
        let mut world = world(1);
        let peer = world.connect_proxied(0, true);
        peer.send(&[begin, &connect("behind")].concat());
        world.settle();
        assert!(peer.is_ended() && peer.take().is_empty(), "case {count}");
        peer.end();
        world.settle();
        assert!(peer.is_closed());
        assert_eq!(world.counters(0).proxied_faulty.value(), 1, "case {count}");
        assert_eq!(world.counters(0).connects_malformed.value(), 0, "case {count}");
        assert_eq!(world.leftovers(), Vec::new());
    }
}

#[test]
fn a_header_has_the_time_of_the_connect() {
    let mut world = world(1);
    let timeout = Duration::from_secs(Config::default().connect_timeout_secs.into());
    let peer = world.connect_proxied(0, true);
    peer.send(&HEADER[..10]);
    world.settle();
    world.advance(timeout - Duration::from_millis(1));
    assert!(!peer.is_ended());
    world.advance(Duration::from_millis(17));
    assert!(peer.is_closed());
    let counters = world.counters(0);
    assert_eq!([&counters.proxied_faulty, &counters.connects_timeout].map(|c| c.value()), [1, 0]);
    // One that has sent its header is a client that is late.
    let peer = world.connect_proxied(0, true);
    peer.send(HEADER);
    world.settle();
    world.advance(timeout + Duration::from_millis(16));
    assert!(peer.is_closed());
    let counters = world.counters(0);
    assert_eq!([&counters.proxied_faulty, &counters.connects_timeout].map(|c| c.value()), [1, 1]);
}

#[test]
fn a_header_where_none_is_expected_is_known_as_one() {
    for header in [HEADER, LOCAL] {
        let mut world = world(1);
        let peer = world.connect(0);
        peer.send(header);
        world.settle();
        assert!(peer.is_ended() && peer.take().is_empty());
        assert_eq!(world.counters(0).strangers_proxy.value(), 1);
    }
}

/// A request for WebSocket by a chain of proxies.
fn upgrade(forwarded_for: &str) -> Vec<u8> {
    let request = format!(
        "GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: mqtt\r\nX-Forwarded-For: {forwarded_for}\r\n\r\n"
    );
    request.into_bytes()
}

/// A frame of a client, by a mask of zeros.
fn frame(payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).ok().filter(|len| *len < 126).expect("short");
    [&[0x82, 0x80 | len, 0, 0, 0, 0], payload].concat()
}

#[test]
fn a_request_for_websocket_says_whom_it_is_for_only_if_a_proxy_sends_it() {
    for (is_trusted, chain, client) in [
        (true, "203.0.113.7", Some("203.0.113.7:0")),
        (true, "198.51.100.1, 203.0.113.7, 10.0.0.2", Some("203.0.113.7:0")),
        (true, "nonsense", None),
        (false, "203.0.113.7", None),
    ] {
        let mut world = world(2);
        let peer = world.connect_forwarded(1, is_trusted);
        let bytes = [upgrade(chain), frame(&connect_as("page"))].concat();
        for piece in bytes.chunks(50) {
            peer.send(piece);
            world.settle();
        }
        let question = world.answerer().take().remove(0);
        let client = client.map(|client| client.parse().expect("an address"));
        assert_eq!(question.credentials().peer, client.or(Some(peer.address())), "{chain}");
        question.answer(Verdict::Allowed(Identity::of_user("ada".into()), None));
        world.settle();
        assert!(peer.take().ends_with(&CONNACK));
        assert_eq!(world.rx_of(&peer), Some(bytes.len() as u64), "{chain}");
        assert!(world.answer_ping(&peer), "{chain}");
        peer.send(&frame(&PINGREQ));
        world.settle();
        assert_eq!(peer.take(), [&[0x82, 2][..], &PINGRESP].concat());
    }
}

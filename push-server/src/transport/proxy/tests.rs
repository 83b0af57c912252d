//! Headers as their specification has them, in every cut, and what is none.

use ppp::v2::Builder;
use proptest::prelude::*;

use super::*;

/// What follows a header.
const CONNECT: &[u8] = b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02id";

fn address(text: &str) -> Option<SocketAddr> {
    Some(text.parse().expect("an address"))
}

/// A header of version 2.
fn v2(
    command: v2::Command,
    protocol: v2::Protocol,
    addresses: impl Into<v2::Addresses>,
) -> Vec<u8> {
    let first = v2::Version::Two | command;
    Builder::with_addresses(first, protocol, addresses).build().expect("short")
}

fn proxied(addresses: impl Into<v2::Addresses>) -> Vec<u8> {
    v2(v2::Command::Proxy, v2::Protocol::Stream, addresses)
}

const V4: ([u8; 4], [u8; 4], u16, u16) = ([203, 0, 113, 7], [10, 0, 0, 1], 40_000, 1_883);

fn v4() -> v2::IPv4 {
    let (source, destination, source_port, destination_port) = V4;
    v2::IPv4::new(source, destination, source_port, destination_port)
}

fn v6(source: &str) -> v2::IPv6 {
    let source: Ipv6Addr = source.parse().expect("an address");
    v2::IPv6::new(source.octets(), [1; 16], 40_000, 1_883)
}

/// Headers that are right, and the clients that they name.
fn right() -> Vec<(Vec<u8>, Option<SocketAddr>)> {
    let mut long = proxied(v4());
    // A TLV of a length that brings the whole to the longest header.
    let len = PROXY_HEADER_BYTES_MAX - long.len() - 3;
    long.push(0xEA);
    long.extend(u16::try_from(len).expect("short").to_be_bytes());
    long.resize(PROXY_HEADER_BYTES_MAX, 7);
    let length = u16::try_from(PROXY_HEADER_BYTES_MAX - V2_FIXED_BYTES).expect("short");
    long[14..16].copy_from_slice(&length.to_be_bytes());
    let unix = v2::Unix::new([b'a'; 108], [b'b'; 108]);
    let local = v2(v2::Command::Local, v2::Protocol::Unspecified, v2::Addresses::Unspecified);
    vec![
        (b"PROXY TCP4 203.0.113.7 10.0.0.1 40000 1883\r\n".into(), address("203.0.113.7:40000")),
        (b"PROXY TCP6 2001:db8::7 ::1 40000 1883\r\n".into(), address("[2001:db8::7]:40000")),
        (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 1 2\r\n".into(), address("203.0.113.7:1")),
        (b"PROXY UNKNOWN\r\n".into(), None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535 and more\r\n".into(), None),
        (proxied(v4()), address("203.0.113.7:40000")),
        (proxied(v6("2001:db8::7")), address("[2001:db8::7]:40000")),
        (proxied(v6("::ffff:203.0.113.7")), address("203.0.113.7:40000")),
        (proxied(unix), None),
        (proxied(v2::Addresses::Unspecified), None),
        (local, None),
        (v2(v2::Command::Local, v2::Protocol::Stream, v4()), None),
        (long, address("203.0.113.7:40000")),
    ]
}

/// What a connection makes of bytes that come in pieces.
fn fed(pieces: &[&[u8]]) -> (Proxy, Vec<u8>) {
    let (mut proxy, mut behind) = (Proxy::new(), Vec::new());
    for piece in pieces {
        behind.extend_from_slice(proxy.take(piece));
    }
    (proxy, behind)
}

#[test]
fn a_header_names_its_client_wherever_it_is_cut() {
    for (header, client) in right() {
        let bytes = [&header, CONNECT].concat();
        for cut in (0..=bytes.len()).filter(|cut| *cut < 300 || *cut > header.len() - 3) {
            let (front, back) = bytes.split_at(cut);
            let (proxy, behind) = fed(&[front, back]);
            assert_eq!(proxy.ended(), None, "{header:?} cut at {cut}");
            assert_eq!(proxy.client(), client, "{header:?} cut at {cut}");
            assert_eq!(behind, CONNECT, "{header:?} cut at {cut}");
            let said = if client.is_some() { ProxyHeader::Told } else { ProxyHeader::Local };
            assert_eq!((proxy.header(), proxy.held_bytes()), (said, 0));
        }
        let bytewise: Vec<_> = bytes.chunks(1).collect();
        let (proxy, behind) = fed(&bytewise);
        assert_eq!((proxy.client(), behind), (client, CONNECT.to_vec()), "{header:?}");
    }
}

#[test]
fn before_its_end_a_header_says_nothing_and_is_kept() {
    for (header, _) in right() {
        let (proxy, behind) = fed(&[&header[..header.len() - 1]]);
        assert_eq!(proxy.header(), ProxyHeader::Awaited);
        assert_eq!((proxy.client(), proxy.ended(), behind), (None, None, Vec::new()));
        assert_eq!(proxy.held_bytes(), header.len() - 1);
        assert!(!proxy.is_open());
    }
}

#[test]
fn what_is_no_header_is_told_from_one_that_is_wrong() {
    let datagram = v2(v2::Command::Proxy, v2::Protocol::Datagram, v4());
    let with = |at: usize, byte: u8| {
        let mut header = proxied(v4());
        header[at] = byte;
        header
    };
    let mut too_long = proxied(v4());
    too_long[14..16].copy_from_slice(&4_081u16.to_be_bytes());
    let missing: [&[u8]; 4] = [CONNECT, b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"PROXX"];
    let malformed: [&[u8]; 15] = [
        b"PROXY\r\n",
        b"PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n",
        b"PROXY TCP4 1.1.1.256 1.1.1.1 1 1\r\n",
        b"PROXY TCP4 ::1 ::1 1 1\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n",
        b"PROXY TCP4 1.1.1.1\r1.1.1.1 1 1\r\n",
        b"PROXY UNKNOWN\n",
        b"PROXY UNKNOWNS\r\n",
        &[&b"PROXY TCP4 "[..], &[b' '; 100]].concat(),
        &datagram,
        // Version 1 in binary, and a command that there is not.
        &with(12, 0x11),
        &with(12, 0x22),
    ];
    for (fault, cases) in [
        (ProxyFault::Missing, &missing[..]),
        (ProxyFault::Malformed, &malformed),
        (ProxyFault::TooLong, &[&too_long]),
    ] {
        for bytes in cases {
            let (mut proxy, behind) = fed(&[bytes]);
            assert_eq!(proxy.ended(), Some(Ended::Proxy(fault)), "{bytes:?}");
            assert!(behind.is_empty() && proxy.take(CONNECT).is_empty(), "nothing more is read");
            assert_eq!((proxy.held_bytes(), proxy.client()), (0, None));
            let (proxy, _) = fed(&bytes.chunks(1).collect::<Vec<_>>());
            assert_eq!(proxy.ended(), Some(Ended::Proxy(fault)), "{bytes:?}, byte by byte");
        }
    }
}

#[test]
fn addresses_that_do_not_fit_their_length_are_malformed() {
    for (header, _) in right().into_iter().filter(|(header, _)| header[0] == b'\r') {
        let is_named = header[13] & 0xF0 != 0;
        let mut short = header;
        short[14..16].copy_from_slice(&3u16.to_be_bytes());
        short.truncate(V2_FIXED_BYTES + 3);
        let (proxy, _) = fed(&[&short]);
        let fault = is_named.then_some(Ended::Proxy(ProxyFault::Malformed));
        assert_eq!(proxy.ended(), fault, "{short:?}");
    }
}

#[test]
fn a_client_may_be_told_otherwise_later() {
    let (mut proxy, _) = fed(&[b"PROXY UNKNOWN\r\n"]);
    let client = "[2001:db8::7]:0".parse().expect("an address");
    proxy.set_client(client);
    assert_eq!(proxy.client(), Some(client));
    assert_eq!(Proxy::open(client).client(), Some(client));
    proxy.close();
    assert_eq!(proxy.client(), Some(client), "the log may still ask");
    assert!(proxy.take(CONNECT).is_empty());
}

#[test]
fn a_stack_is_no_larger_for_it() {
    assert!(size_of::<Proxy>() <= 32, "{} bytes", size_of::<Proxy>());
}

proptest! {
    /// Bytes of no meaning end the connection, or wait for more within the limit; they never panic.
    #[test]
    fn any_bytes_are_survived(
        begin in prop_oneof![
            Just(&b""[..]),
            Just(&b"PROXY "[..]),
            Just(&b"PROXY TCP4 "[..]),
            Just(v2::PROTOCOL_PREFIX),
            Just(&b"\r\n\r\n\0\r\nQUIT\n\x21\x11"[..]),
        ],
        bytes in prop::collection::vec(any::<u8>(), 0..5_000),
        pieces in 1usize..600,
    ) {
        let bytes = [begin, &bytes].concat();
        let mut proxy = Proxy::new();
        for piece in bytes.chunks(pieces) {
            let behind = proxy.take(piece).len();
            prop_assert!(behind <= piece.len());
            prop_assert!(proxy.held_bytes() < PROXY_HEADER_BYTES_MAX);
        }
    }
}

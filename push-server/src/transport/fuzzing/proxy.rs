//! The header of a proxy.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use push_common::rate::Pace;

use super::START;
use crate::fuzzing::outcome::Outcome;
use crate::transport::{
    Ended, Kind, Opening, PROXY_HEADER_BYTES_MAX, ProxyHeader, Scratch, Transport,
};

/// Bytes that headers are made of: an address, a port and a length.
const ADDRESS_BYTES: usize = 19;

/// What a header led to.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    header: Option<ProxyHeader>,
    client: Option<SocketAddr>,
    /// What came behind it.
    inside: Vec<u8>,
    ended: Option<Ended>,
}

/// The first byte of the input chooses how the rest, a connection's first bytes, is cut.
///
/// - What comes behind the header is handed on as it is, from its first byte on.
/// - An address that is written as a header is read from it, in both versions.
pub(crate) fn proxy(input: &[u8]) -> Outcome {
    let Some((&choice, bytes)) = input.split_first() else { return Outcome::Partial };
    let whole = take(bytes, bytes.len().max(1));
    let cut = 1 + usize::from(choice % 32);
    assert_eq!(take(bytes, cut), whole, "in pieces of {cut} bytes");
    if let Some(seed) = bytes.first_chunk() {
        check_written(seed);
    }
    match (whole.header, whole.ended) {
        (_, Some(_)) => Outcome::Refused,
        (Some(ProxyHeader::Awaited), None) => Outcome::Partial,
        _ => Outcome::Taken,
    }
}

fn take(bytes: &[u8], cut: usize) -> Told {
    let opening = Opening { is_proxied: true, ..Opening::of(Kind::Plain, None) };
    let mut transport = Transport::new(opening, START).expect("no TLS");
    let mut scratch = Scratch::default();
    let mut inside = Vec::new();
    for piece in bytes.chunks(cut) {
        inside.extend_from_slice(transport.take(piece, Pace::OFF, START, &mut scratch));
        assert!(transport.held_bytes() <= PROXY_HEADER_BYTES_MAX);
    }
    if let Some(header_bytes) = transport.whole_wire_bytes(0, 0) {
        assert!(header_bytes as usize <= PROXY_HEADER_BYTES_MAX);
        assert_eq!(&bytes[header_bytes as usize..], inside, "all that is behind it");
        assert_eq!(transport.held_bytes(), 0);
    } else {
        assert!(inside.is_empty(), "nothing before the header is whole");
    }
    let (header, client, ended) = (transport.proxy_header(), transport.client(), transport.ended());
    assert!(super::farewell(&mut transport).is_empty(), "a proxy is told nothing");
    Told { header, client, inside, ended }
}

/// Writes an address as a header, and reads it.
fn check_written(seed: &[u8; ADDRESS_BYTES]) {
    let [octets @ .., high, low, extra] = *seed;
    let ip = match high & 1 {
        0 => IpAddr::V6(Ipv6Addr::from(octets)),
        _ => IpAddr::V4(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3])),
    };
    let client = SocketAddr::new(ip, u16::from_be_bytes([high, low]));
    for mut bytes in [version_1(client), version_2(client, extra)] {
        bytes.extend(b"inside");
        for cut in [1, 7, bytes.len()] {
            let Told { header, client: read, inside, ended } = take(&bytes, cut);
            assert_eq!((header, ended), (Some(ProxyHeader::Told), None), "{client}");
            // An address of IPv4 inside of IPv6 is that of IPv4.
            let canonical = SocketAddr::new(client.ip().to_canonical(), client.port());
            assert_eq!((read, &inside[..]), (Some(canonical), &b"inside"[..]));
        }
    }
}

fn version_1(client: SocketAddr) -> Vec<u8> {
    let (kind, server) = match client {
        SocketAddr::V4(_) => ("TCP4", "192.0.2.1"),
        SocketAddr::V6(_) => ("TCP6", "2001:db8::1"),
    };
    format!("PROXY {kind} {} {server} {} 443\r\n", client.ip(), client.port()).into_bytes()
}

/// With `extra` bytes that nobody knows: one value of a type of one's own.
fn version_2(client: SocketAddr, extra: u8) -> Vec<u8> {
    let mut addresses = Vec::new();
    let kind = match client.ip() {
        IpAddr::V4(ip) => {
            addresses.extend(ip.octets());
            addresses.extend([192, 0, 2, 1]);
            0x11
        }
        IpAddr::V6(ip) => {
            addresses.extend(ip.octets());
            addresses.extend(ip.octets());
            0x21
        }
    };
    addresses.extend(client.port().to_be_bytes());
    addresses.extend([1, 187]);
    if extra > 0 {
        addresses.extend([0xE0, 0, extra]);
        addresses.extend(vec![0; usize::from(extra)]);
    }
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([0x21, kind]);
    bytes.extend((addresses.len() as u16).to_be_bytes());
    bytes.extend(addresses);
    bytes
}

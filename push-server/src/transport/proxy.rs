//! The header of the PROXY protocol, version 1 or 2, in front of all other layers: a proxy says by it for whom it
//! connects (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>). Nothing is around the bytes behind it, so
//! nothing is copied. Whether the peer may say so is its user's to know.

mod fault;

// It has addresses and, unlike `std::net`, no sockets.
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use ppp::{PartialResult as _, v1, v2};

use super::end::Ended;
pub(crate) use fault::ProxyFault;

/// Bytes of the longest header that is accepted. 4 KiB: room for what a proxy may add of its client's TLS.
pub(crate) const PROXY_HEADER_BYTES_MAX: usize = 4 << 10;

/// Bytes of the longest header of version 1 (its section 2.1).
const V1_BYTES_MAX: usize = 107;

/// What a header of version 2 begins with, up to its length (section 2.2).
const V2_FIXED_BYTES: usize = 16;

/// One connection, from its first byte on. Small: connections without a proxy have as large a layer.
#[derive(Debug)]
pub(super) struct Proxy {
    /// The beginning of the header, if it has come in part.
    head: Option<Box<Head>>,
    client: Client,
    /// Of the header, at most [`PROXY_HEADER_BYTES_MAX`].
    header_bytes: u16,
    stage: Stage,
}

#[derive(Debug)]
struct Head(Vec<u8>);

/// The client's address, in as few bytes as it takes.
#[derive(Clone, Copy, Debug)]
struct Client {
    ip: Ipv6Addr,
    port: u16,
    is_told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The header has not come whole.
    Header,
    Open,
    Ended(ProxyFault),
    /// The server ended it.
    Closed,
}

/// How far a header has come, and what it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyHeader {
    /// It has not come whole.
    Awaited,
    /// It named the client.
    Told,
    /// The proxy speaks for itself, as in a health check, or does not know its client's address.
    Local,
}

/// What a parser found at the front of bytes.
enum Parsed {
    /// More bytes are needed.
    More,
    /// A header of so many bytes, with the client's address if it has one.
    Header(usize, Option<SocketAddr>),
}

impl Proxy {
    /// A new connection, which has to begin with a header.
    pub(super) fn new() -> Self {
        Self { head: None, client: Client::UNKNOWN, header_bytes: 0, stage: Stage::Header }
    }

    /// A connection whose client was told otherwise.
    pub(super) fn open(client: SocketAddr) -> Self {
        Self { head: None, client: client.into(), header_bytes: 0, stage: Stage::Open }
    }

    /// Takes received bytes, and returns those behind the header.
    pub(super) fn take<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match self.stage {
            Stage::Header => self.take_header(bytes),
            Stage::Open => bytes,
            Stage::Ended(_) | Stage::Closed => &[],
        }
    }

    fn take_header<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let begun = self.head.as_ref().map_or(0, |head| head.0.len());
        let parsed = match &mut self.head {
            // Mostly it comes whole.
            None => parse(bytes),
            Some(head) => {
                let room = PROXY_HEADER_BYTES_MAX - begun;
                head.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
                parse(&head.0)
            }
        };
        match parsed {
            Ok(Parsed::More) => {
                self.head.get_or_insert_with(|| Box::new(Head(bytes.to_vec())));
                &[]
            }
            Ok(Parsed::Header(len, client)) => {
                self.head = None;
                self.client = client.map_or(Client::UNKNOWN, Client::from);
                self.header_bytes = len as u16;
                self.stage = Stage::Open;
                // What had come before was no whole header.
                &bytes[len.saturating_sub(begun)..]
            }
            Err(fault) => {
                self.head = None;
                self.stage = Stage::Ended(fault);
                &[]
            }
        }
    }

    /// How far the header has come.
    pub(super) fn header(&self) -> ProxyHeader {
        match self.stage {
            Stage::Header | Stage::Ended(_) => ProxyHeader::Awaited,
            _ if self.client.is_told => ProxyHeader::Told,
            _ => ProxyHeader::Local,
        }
    }

    /// The client's address, if it was told.
    pub(super) fn client(&self) -> Option<SocketAddr> {
        let Client { ip, port, is_told } = self.client;
        is_told.then(|| SocketAddr::new(IpAddr::from(ip).to_canonical(), port))
    }

    /// The client's address was told otherwise.
    pub(super) fn set_client(&mut self, client: SocketAddr) {
        self.client = client.into();
    }

    /// Takes no more input.
    pub(super) fn close(&mut self) {
        self.head = None;
        self.stage = Stage::Closed;
    }

    /// Why it takes no more input from the peer.
    pub(super) fn ended(&self) -> Option<Ended> {
        match self.stage {
            Stage::Ended(fault) => Some(Ended::Proxy(fault)),
            Stage::Header | Stage::Open | Stage::Closed => None,
        }
    }

    /// Whether the header is there, so that others' bytes come.
    pub(super) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Bytes on the wire up to the end of what is inside, of which so many have come; `None`: the header has not come
    /// whole.
    pub(super) fn wire_bytes(&self, inside: u64) -> Option<u64> {
        self.is_open().then_some(u64::from(self.header_bytes) + inside)
    }

    /// Bytes of the header that have come and wait for others.
    pub(super) fn held_bytes(&self) -> usize {
        self.head.as_ref().map_or(0, |head| head.0.len())
    }
}

impl Client {
    const UNKNOWN: Self = Self { ip: Ipv6Addr::UNSPECIFIED, port: 0, is_told: false };
}

impl From<SocketAddr> for Client {
    fn from(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Self { ip, port: address.port(), is_told: true }
    }
}

/// Parses a header at the front of `head`.
fn parse(head: &[u8]) -> Result<Parsed, ProxyFault> {
    let may_be = |prefix: &[u8]| prefix.starts_with(&head[..head.len().min(prefix.len())]);
    if may_be(v2::PROTOCOL_PREFIX) {
        parse_v2(head)
    } else if may_be(v1::PROTOCOL_PREFIX.as_bytes()) {
        parse_v1(head)
    } else {
        Err(ProxyFault::Missing)
    }
}

/// A line. The parser is not asked before its end: it takes a line that ends behind a blank for a wrong one.
fn parse_v1(head: &[u8]) -> Result<Parsed, ProxyFault> {
    let within = &head[..head.len().min(V1_BYTES_MAX)];
    let Some(end) = within.iter().position(|byte| *byte == b'\n') else {
        let is_too_long = head.len() >= V1_BYTES_MAX;
        return if is_too_long { Err(ProxyFault::Malformed) } else { Ok(Parsed::More) };
    };
    let line = &head[..=end];
    if is_unknown_v1(line) {
        return Ok(Parsed::Header(line.len(), None));
    }
    let header = v1::Header::try_from(line).map_err(|_| ProxyFault::Malformed)?;
    let client = match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(of) => Some((of.source_address, of.source_port).into()),
        v1::Addresses::Tcp6(of) => Some((of.source_address, of.source_port).into()),
    };
    Ok(Parsed::Header(line.len(), client))
}

/// Whether the proxy does not know its client's address: what else the line says has no meaning then.
fn is_unknown_v1(line: &[u8]) -> bool {
    let rest = line.strip_prefix(b"PROXY UNKNOWN").and_then(|rest| rest.strip_suffix(b"\r\n"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b' ')))
}

/// Binary. Its length is known ahead.
fn parse_v2(head: &[u8]) -> Result<Parsed, ProxyFault> {
    if let Some([.., high, low]) = head.get(..V2_FIXED_BYTES) {
        let len = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([*high, *low]));
        if len > PROXY_HEADER_BYTES_MAX {
            return Err(ProxyFault::TooLong);
        }
    }
    let header = match v2::Header::try_from(head) {
        Ok(header) => header,
        Err(error) if error.is_incomplete() => return Ok(Parsed::More),
        Err(_) => return Err(ProxyFault::Malformed),
    };
    // TCP is a stream; a datagram's client does not speak MQTT.
    let is_stream = header.protocol != v2::Protocol::Datagram;
    let client = match (header.command, &header.addresses) {
        (v2::Command::Local, _) => None,
        (v2::Command::Proxy, _) if !is_stream => return Err(ProxyFault::Malformed),
        (v2::Command::Proxy, v2::Addresses::IPv4(of)) => {
            Some((of.source_address, of.source_port).into())
        }
        (v2::Command::Proxy, v2::Addresses::IPv6(of)) => {
            Some((of.source_address, of.source_port).into())
        }
        (v2::Command::Proxy, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
    };
    Ok(Parsed::Header(header.len(), client))
}

#[cfg(test)]
mod tests;

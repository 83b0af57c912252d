//! Packets as bytes: built field by field, so that a test can get any of them wrong, and read back
//! by etherparse, which shares no code with the programs.

use etherparse::checksum::Sum16BitWords;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use push_common::flow::FlowKey;
use push_common::segment::flags;

use crate::rig::Way;

const SERVER: [u8; 16] = *b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01";
const CLIENT: [u8; 16] = *b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02";
const SERVER_V4: [u8; 4] = [192, 0, 2, 1];
const CLIENT_V4: [u8; 4] = [192, 0, 2, 2];
const SERVER_PORT: u16 = 1883;
const CLIENT_PORT: u16 = 40_000;
/// The device of a test run has the address 0: what is for this host is sent there.
const HOST_MAC: [u8; 6] = [0; 6];
pub(crate) const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// Flags of the IPv4 header, where it says the place of a fragment.
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
/// The IPv6 extension header that tells it.
const FRAGMENT_HEADER: u8 = 44;

/// Where the IP header begins.
pub(crate) const L3: usize = 14;

/// One packet of the connection.
#[derive(Clone, Debug)]
pub(crate) struct Bytes {
    pub(crate) way: Way,
    /// The neighbour's address on the link.
    pub(crate) neighbour: [u8; 6],
    pub(crate) ipv6: bool,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    /// TCP options; a multiple of four.
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    /// Congestion bits of the IP header.
    pub(crate) ecn: u8,
    /// IPv4 options, a multiple of four.
    pub(crate) ip_options: Vec<u8>,
    /// IPv6 extension headers: kind and bytes; the first byte of each is filled in.
    pub(crate) extensions: Vec<(u8, Vec<u8>)>,
    /// What the link layer has added behind.
    pub(crate) padding: usize,
}

/// The key of the connection.
pub(crate) fn key(ipv6: bool) -> FlowKey {
    let mapped = |v4: [u8; 4]| {
        let mut address = [0; 16];
        (address[10], address[11]) = (0xFF, 0xFF);
        address[12..].copy_from_slice(&v4);
        address
    };
    FlowKey {
        local: if ipv6 { SERVER } else { mapped(SERVER_V4) },
        peer: if ipv6 { CLIENT } else { mapped(CLIENT_V4) },
        local_port: SERVER_PORT.to_be_bytes(),
        peer_port: CLIENT_PORT.to_be_bytes(),
    }
}

impl Bytes {
    pub(crate) fn new(way: Way, ipv6: bool, seq: u32, ack: u32) -> Self {
        Self {
            way,
            neighbour: PEER_MAC,
            ipv6,
            seq,
            ack,
            flags: flags::ACK,
            window: 500,
            options: Vec::new(),
            payload: Vec::new(),
            ecn: 0,
            ip_options: Vec::new(),
            extensions: Vec::new(),
            padding: 0,
        }
    }

    fn ports(&self) -> [u16; 2] {
        match self.way {
            Way::Ingress => [CLIENT_PORT, SERVER_PORT],
            Way::Egress => [SERVER_PORT, CLIENT_PORT],
        }
    }

    /// TCP header and payload, with the right checksum.
    fn tcp(&self) -> Vec<u8> {
        let [source, destination] = self.ports();
        let mut tcp = Vec::new();
        tcp.extend(source.to_be_bytes());
        tcp.extend(destination.to_be_bytes());
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        tcp.push((((20 + self.options.len()) / 4) << 4) as u8);
        tcp.push(self.flags);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0; 4]);
        tcp.extend(&self.options);
        tcp.extend(&self.payload);
        let sum = Sum16BitWords::new().add_2bytes([0, 6]);
        let mut sum = sum.add_2bytes((tcp.len() as u16).to_be_bytes());
        let sum = if self.ipv6 {
            sum.add_16bytes(SERVER).add_16bytes(CLIENT)
        } else {
            sum.add_4bytes(SERVER_V4).add_4bytes(CLIENT_V4)
        };
        let sum = sum.add_slice(&tcp).ones_complement();
        tcp[16..18].copy_from_slice(&sum.to_ne_bytes());
        tcp
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        self.build_around(&self.tcp(), DONT_FRAGMENT)
    }

    /// The two fragments of it, cut behind `cut` bytes of TCP, a multiple of eight.
    pub(crate) fn fragments(&self, cut: usize) -> [Vec<u8>; 2] {
        let tcp = self.tcp();
        let (first, last) = tcp.split_at(cut);
        let place = (cut / 8) as u16;
        if !self.ipv6 {
            return [self.build_around(first, MORE_FRAGMENTS), self.build_around(last, place)];
        }
        let with_header = |bytes, place: u16| {
            let [high, low] = place.to_be_bytes();
            let header = (FRAGMENT_HEADER, vec![0, 0, high, low, 1, 2, 3, 4]);
            Self { extensions: vec![header], ..self.clone() }.build_around(bytes, 0)
        };
        [with_header(first, 1), with_header(last, place << 3)]
    }

    /// `fragment`: flags and place in the IPv4 header.
    fn build_around(&self, tcp: &[u8], fragment: u16) -> Vec<u8> {
        let mut packet = Vec::new();
        let (to, from) = match self.way {
            Way::Ingress => (HOST_MAC, self.neighbour),
            Way::Egress => (self.neighbour, HOST_MAC),
        };
        packet.extend(to);
        packet.extend(from);
        if self.ipv6 {
            packet.extend([0x86, 0xDD]);
            self.push_ipv6(&mut packet, tcp.len());
        } else {
            packet.extend([0x08, 0x00]);
            self.push_ipv4(&mut packet, tcp.len(), fragment);
        }
        packet.extend(tcp);
        packet.extend(vec![0; self.padding]);
        packet
    }

    fn push_ipv4(&self, packet: &mut Vec<u8>, tcp_bytes: usize, fragment: u16) {
        let header_bytes = 20 + self.ip_options.len();
        let mut ip = vec![0x40 | (header_bytes / 4) as u8, self.ecn];
        ip.extend(((header_bytes + tcp_bytes) as u16).to_be_bytes());
        ip.extend([0x12, 0x34]);
        ip.extend(fragment.to_be_bytes());
        ip.extend([57, 6, 0, 0]);
        match self.way {
            Way::Ingress => ip.extend([CLIENT_V4, SERVER_V4].concat()),
            Way::Egress => ip.extend([SERVER_V4, CLIENT_V4].concat()),
        }
        ip.extend(&self.ip_options);
        let sum = Sum16BitWords::new().add_slice(&ip).ones_complement();
        ip[10..12].copy_from_slice(&sum.to_ne_bytes());
        packet.extend(ip);
    }

    fn push_ipv6(&self, packet: &mut Vec<u8>, tcp_bytes: usize) {
        let extension_bytes: usize = self.extensions.iter().map(|(_, bytes)| bytes.len()).sum();
        packet.extend([0x60, self.ecn << 4, 0, 0]);
        packet.extend(((extension_bytes + tcp_bytes) as u16).to_be_bytes());
        packet.push(self.extensions.first().map_or(6, |(kind, _)| *kind));
        packet.push(57);
        match self.way {
            Way::Ingress => packet.extend([CLIENT, SERVER].concat()),
            Way::Egress => packet.extend([SERVER, CLIENT].concat()),
        }
        for (index, (_, bytes)) in self.extensions.iter().enumerate() {
            packet.push(self.extensions.get(index + 1).map_or(6, |(kind, _)| *kind));
            packet.extend(&bytes[1..]);
        }
    }

    /// Where the TCP header begins in `build`'s bytes.
    pub(crate) fn l4(&self) -> usize {
        let extensions: usize = self.extensions.iter().map(|(_, bytes)| bytes.len()).sum();
        L3 + if self.ipv6 { 40 + extensions } else { 20 + self.ip_options.len() }
    }
}

/// The datagram of two fragments, without IP options, as the host that gets them puts it together.
pub(crate) fn put_together(first: &[u8], last: &[u8]) -> Vec<u8> {
    let mut packet = first.to_vec();
    if first[L3] >> 4 == 6 {
        packet.drain(L3 + 40..L3 + 48);
        packet[L3 + 6] = 6;
        packet.extend(&last[L3 + 48..]);
        let payload_bytes = (packet.len() - L3 - 40) as u16;
        packet[L3 + 4..L3 + 6].copy_from_slice(&payload_bytes.to_be_bytes());
        return packet;
    }
    packet.extend(&last[L3 + 20..]);
    let total_bytes = (packet.len() - L3) as u16;
    packet[L3 + 2..L3 + 4].copy_from_slice(&total_bytes.to_be_bytes());
    packet[L3 + 6..L3 + 8].fill(0);
    packet[L3 + 10..L3 + 12].fill(0);
    let sum = Sum16BitWords::new().add_slice(&packet[L3..L3 + 20]).ones_complement();
    packet[L3 + 10..L3 + 12].copy_from_slice(&sum.to_ne_bytes());
    packet
}

/// A packet as etherparse reads it.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) source_port: u16,
    pub(crate) ttl: u8,
    /// IP and TCP checksums are right.
    pub(crate) sums_right: bool,
    /// No options, extension headers, fragments or congestion mark.
    pub(crate) ip_plain: bool,
    /// The connection's addresses and ports, the client or the server sending.
    pub(crate) from_client: bool,
    pub(crate) from_server: bool,
}

/// Reads a packet strictly; `None` where it is not whole TCP over IP.
pub(crate) fn read(packet: &[u8]) -> Option<Read> {
    let sliced = SlicedPacket::from_ethernet(packet).ok()?;
    let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else { return None };
    if !sliced.link_exts.is_empty() {
        return None;
    }
    let header = tcp.to_header();
    let (ip_sum, tcp_sum, ttl, ip_plain, [client, server]) = match sliced.net.as_ref()? {
        NetSlice::Ipv4(ip) => {
            let ip_header = ip.header().to_header();
            let plain = ip_header.options.is_empty()
                && ip.extensions().is_empty()
                && !ip_header.more_fragments
                && ip_header.fragment_offset.value() == 0
                && ip_header.ecn.value() != 3;
            let sum = header.calc_checksum_ipv4(&ip_header, tcp.payload()).ok()?;
            // Over the bytes: etherparse's header knows no reserved bit.
            let ip_sum = Sum16BitWords::new().add_slice(ip.header().slice()).ones_complement() == 0;
            let ends = [ip_header.source, ip_header.destination];
            let from = [ends == [CLIENT_V4, SERVER_V4], ends == [SERVER_V4, CLIENT_V4]];
            (ip_sum, sum, ip_header.time_to_live, plain, from)
        }
        NetSlice::Ipv6(ip) => {
            let ip_header = ip.header().to_header();
            let plain = ip.extensions().slice().is_empty() && ip_header.traffic_class & 3 != 3;
            let sum = header.calc_checksum_ipv6(&ip_header, tcp.payload()).ok()?;
            let ends = [ip_header.source, ip_header.destination];
            let from = [ends == [CLIENT, SERVER], ends == [SERVER, CLIENT]];
            (true, sum, ip_header.hop_limit, plain, from)
        }
        NetSlice::Arp(_) => return None,
    };
    let ports = [header.source_port, header.destination_port];
    Some(Read {
        seq: header.sequence_number,
        ack: header.acknowledgment_number,
        flags: tcp.slice()[13],
        window: header.window_size,
        options: tcp.options().to_vec(),
        payload: tcp.payload().to_vec(),
        source_port: header.source_port,
        ttl,
        sums_right: ip_sum && tcp_sum == header.checksum,
        ip_plain,
        from_client: client && ports == [CLIENT_PORT, SERVER_PORT],
        from_server: server && ports == [SERVER_PORT, CLIENT_PORT],
    })
}

/// The same, of a packet that a program has made: it must be whole and its checksums right.
#[track_caller]
pub(crate) fn read_right(packet: &[u8]) -> Read {
    let read = read(packet).unwrap_or_else(|| panic!("not TCP: {packet:02x?}"));
    assert!(read.sums_right, "a checksum is wrong: {packet:02x?}");
    read
}

/// Timestamps as every stack writes them.
pub(crate) fn timestamps(value: u32, echo: u32) -> Vec<u8> {
    let mut option = vec![1, 1, 8, 10];
    option.extend(value.to_be_bytes());
    option.extend(echo.to_be_bytes());
    option
}

/// SACK blocks as every stack writes them.
pub(crate) fn sack(blocks: &[(u32, u32)]) -> Vec<u8> {
    let mut option = vec![1, 1, 5, (2 + blocks.len() * 8) as u8];
    for (first, end) in blocks {
        option.extend(first.to_be_bytes());
        option.extend(end.to_be_bytes());
    }
    option
}

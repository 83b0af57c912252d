//! Reads the facts of one TCP segment from a packet, by helpers, so that it does not matter where a
//! device has put the bytes. It never fails loudly: it reports what it cannot follow. Whether a record
//! of TLS is a PINGREQ is not its question ([`sealed`](crate::sealed)).

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::helpers::generated::{bpf_csum_diff, bpf_skb_load_bytes};
use push_common::answer_table::Record;
use push_common::flow::FlowKey;
use push_common::heartbeat::{Heartbeat, REQUEST_BYTES_MAX};
use push_common::mac::Mac;
use push_common::segment::Segment;
use push_common::splice::Sealed;

use crate::packet::{L2_BYTES, Packet, RECORD_BYTES_MAX, bounded_by};

/// An IPv4 header without options.
pub(crate) const IPV4_BYTES: usize = 20;
/// The fixed IPv6 header.
pub(crate) const IPV6_BYTES: u32 = 40;
/// A TCP header without options.
const TCP_BYTES: usize = 20;
/// A TCP header with all the options it can hold, rounded up.
pub(crate) const TCP_BYTES_MAX: usize = 64;
/// Most IPv6 extension headers that are skipped; a packet with more is ignored.
const EXTENSIONS_MAX: usize = 6;

pub(crate) const ETH_P_IP: u32 = 0x0800_u16.to_be() as u32;
pub(crate) const ETH_P_IPV6: u32 = 0x86DD_u16.to_be() as u32;
pub(crate) const IPPROTO_TCP: u8 = 6;
const CONGESTION_EXPERIENCED: u8 = 3;

/// Most groups of options that are read: timestamps, SACK, and words of padding.
const OPTION_GROUPS_MAX: usize = 4;

/// TCP option kinds (IANA).
pub(crate) mod option {
    pub(crate) const END: u8 = 0;
    pub(crate) const NOP: u8 = 1;
    pub(crate) const SACK: u8 = 5;
    pub(crate) const TIMESTAMPS: u8 = 8;
    pub(crate) const TIMESTAMPS_BYTES: u8 = 10;
}

/// The direction of a packet, which tells the server's end from the client's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    /// What numbers that are `delta` apart are shifted by: down at ingress, up at egress.
    #[inline(always)]
    pub(crate) const fn shift(self, delta: u32) -> u32 {
        match self {
            Self::Ingress => delta.wrapping_neg(),
            Self::Egress => delta,
        }
    }
}

/// Facts of the IP header.
pub(crate) struct Headers {
    pub(crate) ipv6: bool,
    /// Offset of the TCP header.
    pub(crate) l4: u32,
    /// TCP header and payload, in bytes.
    pub(crate) tcp_bytes: u32,
    /// The checksum of the IP header is right, or there is none; not checked if there are options.
    checked: bool,
    /// No IP options or extension headers, no congestion mark, not a fragment.
    plain: bool,
    /// The first fragment of a datagram.
    pub(crate) fragment: bool,
}

/// A parsed TCP segment. One record with a flag, and no `Option` of a record: on the way to
/// the splice the compiler would copy the fields that a `None` leaves undefined, and the verifier
/// refuses to read those.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tcp {
    /// Whether the rest is filled in; false if headers are cut off, or contradict each other.
    pub(crate) followed: bool,
    pub(crate) segment: Segment,
    /// Length of the header with its options: 20 to 60.
    pub(crate) header_bytes: u32,
    /// The offset of the timestamps option in the header; 0: none.
    pub(crate) timestamps: u32,
    /// The offset of the SACK option in the header; 0: none.
    pub(crate) sack: u32,
    /// How many blocks it has.
    pub(crate) sack_blocks: u32,
}

/// Memory that the stack of a program (512 bytes) does not have.
#[repr(C, align(8))]
pub(crate) struct Scratch {
    /// The TCP header with its options, zeros behind.
    pub(crate) header: [u8; TCP_BYTES_MAX],
    /// The header after the rewrite.
    pub(crate) changed: [u8; TCP_BYTES_MAX],
    /// The payload at ingress, where it is no longer than a PINGREQ of the flow; zeros behind it. In clear
    /// its first word has all of it.
    pub(crate) payload: Record,
    /// Both addresses of the Ethernet header: whom it goes to, and whom it comes from.
    pub(crate) link: [Mac; 2],
    /// The flow's key.
    pub(crate) key: FlowKey,
    /// The facts of the packet's TCP header; see [`tcp`].
    pub(crate) tcp: Tcp,
    /// What the program knows of the flow's records, and the one that leaves.
    pub(crate) sealed: Sealed,
    /// See [`sealed::is_request`](crate::sealed::is_request).
    pub(crate) is_request: bool,
}

/// Reads up to the flow's key. `None`: not TCP over IP, or tagged for a VLAN, whose own device sees
/// the packet again without the tag.
#[inline(always)]
pub(crate) fn headers(packet: Packet, direction: Direction, key: &mut FlowKey) -> Option<Headers> {
    if packet.has_vlan_tag() {
        return None;
    }
    let headers = match packet.protocol() {
        ETH_P_IP => ipv4(packet, direction, key)?,
        ETH_P_IPV6 => ipv6(packet, direction, key)?,
        _ => return None,
    };
    let [s0, s1, d0, d1]: [u8; 4] = packet.load(headers.l4)?;
    (key.local_port, key.peer_port) = match direction {
        Direction::Ingress => ([d0, d1], [s0, s1]),
        Direction::Egress => ([s0, s1], [d0, d1]),
    };
    Some(headers)
}

#[inline(always)]
fn ipv4(packet: Packet, direction: Direction, key: &mut FlowKey) -> Option<Headers> {
    let ip: [u8; IPV4_BYTES] = packet.load(L2_BYTES)?;
    let header_bytes = u32::from(ip[0] & 0x0F) * 4;
    let fragment = u16::from_be_bytes([ip[6], ip[7]]);
    let has_options = header_bytes != IPV4_BYTES as u32;
    // A packet that the stack drops at once tells it nothing, so it must tell the splice nothing.
    let is_spoiled = direction == Direction::Ingress && !has_options && fold(sum(&ip, 0)) != 0xFFFF;
    if ip[0] >> 4 != 4 || is_spoiled {
        return None;
    }
    // A fragment that is not the first has no ports, and TCP cannot use it without the first, which
    // the splice follows.
    if ip[9] != IPPROTO_TCP || header_bytes < IPV4_BYTES as u32 || fragment & 0x1FFF != 0 {
        return None;
    }
    let fragment = fragment & 0x2000 != 0;
    let l4 = L2_BYTES + header_bytes;
    let total_bytes = match u32::from(u16::from_be_bytes([ip[2], ip[3]])) {
        // A super-packet of more than 64 KB (BIG TCP) has no length of its own.
        0 => packet.len().wrapping_sub(L2_BYTES),
        bytes => bytes,
    };
    let source = mapped([ip[12], ip[13], ip[14], ip[15]]);
    let destination = mapped([ip[16], ip[17], ip[18], ip[19]]);
    (key.local, key.peer) = match direction {
        Direction::Ingress => (destination, source),
        Direction::Egress => (source, destination),
    };
    Some(Headers {
        ipv6: false,
        l4,
        tcp_bytes: total_bytes.wrapping_sub(header_bytes),
        checked: !has_options,
        plain: !has_options && !fragment && ip[1] & 3 != CONGESTION_EXPERIENCED,
        fragment,
    })
}

/// The header after an IPv6 header and its extension headers.
pub(crate) struct Upper {
    pub(crate) protocol: u8,
    /// Where it begins.
    pub(crate) at: u32,
    /// It is in the first fragment of a datagram.
    pub(crate) fragment: bool,
}

/// Skips extension headers, the first of which is a `next` at offset `at`, as the stack does
/// (Linux: `ipv6_skip_exthdr`), up to `EXTENSIONS_MAX`. `None`: they are cut off, or belong to a
/// fragment that is not the first.
#[inline(always)]
pub(crate) fn skip_extensions(packet: Packet, mut next: u8, mut at: u32) -> Option<Upper> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION: u8 = 60;

    let mut fragment = false;
    for _ in 0..EXTENSIONS_MAX {
        if !matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION) {
            break;
        }
        let extension: [u8; 4] = packet.load(at)?;
        at += match next {
            AUTHENTICATION => u32::from(extension[1]) * 4 + 8,
            FRAGMENT => {
                let place = u16::from_be_bytes([extension[2], extension[3]]);
                if place & 0xFFF8 != 0 {
                    return None;
                }
                // A fragment without more to come is a whole datagram (RFC 6946); but it may itself
                // be inside another fragment.
                fragment |= place & 1 != 0;
                8
            }
            _ => u32::from(extension[1]) * 8 + 8,
        };
        next = extension[0];
    }
    Some(Upper { protocol: next, at, fragment })
}

#[inline(always)]
fn ipv6(packet: Packet, direction: Direction, key: &mut FlowKey) -> Option<Headers> {
    let ip: [u8; 8] = packet.load(L2_BYTES)?;
    if ip[0] >> 4 != 6 {
        return None;
    }
    let upper = skip_extensions(packet, ip[6], L2_BYTES + IPV6_BYTES)?;
    if upper.protocol != IPPROTO_TCP {
        return None;
    }
    let (l4, fragment) = (upper.at, upper.fragment);
    let extension_bytes = l4 - L2_BYTES - IPV6_BYTES;
    let payload_bytes = match u32::from(u16::from_be_bytes([ip[4], ip[5]])) {
        // A jumbogram; here only a super-packet of more than 64 KB (BIG TCP).
        0 => packet.len().wrapping_sub(L2_BYTES + IPV6_BYTES),
        bytes => bytes,
    };
    let source: [u8; 16] = packet.load(L2_BYTES + 8)?;
    let destination = packet.load(L2_BYTES + 24)?;
    // Mapped addresses mean IPv4 flows; on the wire they mean nothing (RFC 4942, section 2.2).
    let [a @ .., _, _, _, _] = source;
    if a == MAPPED_PREFIX {
        return None;
    }
    (key.local, key.peer) = match direction {
        Direction::Ingress => (destination, source),
        Direction::Egress => (source, destination),
    };
    Some(Headers {
        ipv6: true,
        l4,
        checked: true,
        tcp_bytes: payload_bytes.wrapping_sub(extension_bytes),
        plain: extension_bytes == 0 && (ip[1] >> 4) & 3 != CONGESTION_EXPERIENCED,
        fragment,
    })
}

/// The prefix of IPv4 addresses mapped into IPv6 (RFC 4291, section 2.5.5.2).
pub(crate) const MAPPED_PREFIX: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF];

#[inline(always)]
pub(crate) const fn mapped(address: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = address;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, a, b, c, d]
}

/// Reads the TCP header and its options, and at ingress a payload that is no longer than a PINGREQ
/// of the flow; of such a small segment it checks the sum.
#[inline(always)]
pub(crate) fn tcp(
    packet: Packet,
    headers: &Headers,
    direction: Direction,
    heartbeat: Heartbeat,
    scratch: &mut Scratch,
) -> Tcp {
    let mut tcp = Tcp::default();
    tcp.followed = fill(&mut tcp, packet, headers, direction, heartbeat, scratch).is_some();
    forgotten(tcp, &mut scratch.tcp)
}

/// The same value, by way of a map. The verifier does not track values in maps, so it checks the
/// code after this once, rather than once for every way in which the value may arise. Without this
/// the programs exceed its million of instructions.
#[inline(always)]
pub(crate) fn forgotten<T: Copy>(value: T, place: &mut T) -> T {
    // SAFETY: a reference is valid for writes.
    unsafe { ptr::write_volatile(place, value) };
    // SAFETY: and for reads; it has just been written.
    unsafe { ptr::read_volatile(place) }
}

#[inline(always)]
fn fill(
    tcp: &mut Tcp,
    packet: Packet,
    headers: &Headers,
    direction: Direction,
    heartbeat: Heartbeat,
    scratch: &mut Scratch,
) -> Option<()> {
    let [offset]: [u8; 1] = packet.load(headers.l4 + 12)?;
    let header_bytes = u32::from(offset & 0xF0) >> 2;
    if header_bytes < TCP_BYTES as u32
        || header_bytes > headers.tcp_bytes
        || headers.tcp_bytes > packet.len().wrapping_sub(headers.l4)
    {
        return None;
    }
    scratch.header = [0; TCP_BYTES_MAX];
    load_header(packet, headers.l4, header_bytes, &mut scratch.header)?;
    tcp.header_bytes = header_bytes;
    let header = &scratch.header;
    let options_known = options(tcp, header);

    let payload_bytes = headers.tcp_bytes - header_bytes;
    let segment = &mut tcp.segment;
    segment.seq = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    segment.ack = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    segment.payload_bytes = payload_bytes;
    segment.window = u16::from_be_bytes([header[14], header[15]]);
    segment.flags = header[13];
    segment.timestamped = tcp.timestamps != 0;
    if segment.timestamped {
        segment.ts_val = header_word(header, tcp.timestamps as usize + 2);
        segment.ts_ecr = header_word(header, tcp.timestamps as usize + 6);
    }
    segment.options_known = options_known;
    segment.plain_or_sack = headers.plain && options_known;
    segment.plain = segment.plain_or_sack && tcp.sack == 0;
    segment.fragment = headers.fragment;
    segment.iface = packet.iface();
    packet.load_link(&mut scratch.link)?;
    segment.neighbour = match direction {
        Direction::Ingress => scratch.link[1],
        Direction::Egress => scratch.link[0],
    };
    if direction == Direction::Ingress
        && !headers.fragment
        && payload_bytes <= heartbeat.request_bytes()
    {
        scratch.payload = Record::default();
        if payload_bytes > 0 {
            load_payload(packet, headers.l4 + header_bytes, payload_bytes, &mut scratch.payload)?;
            let clear = clear_payload(&scratch.payload).to_ne_bytes();
            segment.pingreq = !heartbeat.is_sealed() && heartbeat.is_request(&clear, payload_bytes);
        }
        segment.verified = headers.checked && sum_is_right(headers.tcp_bytes, heartbeat, scratch);
    }
    Some(())
}

/// Reads `bytes`, at least one and at most all that the buffer holds.
#[inline(always)]
fn load_payload(packet: Packet, at: u32, bytes: u32, payload: &mut Record) -> Option<()> {
    let to = ptr::from_mut(payload).cast::<c_void>();
    let bytes = bounded_by::<RECORD_BYTES_MAX>(bytes);
    // SAFETY: the buffer holds `RECORD_BYTES_MAX` bytes.
    let failed = unsafe { bpf_skb_load_bytes(packet.skb.cast(), at, to, bytes) };
    if failed == 0 { Some(()) } else { None }
}

/// The bytes of a payload in clear, as they lie in memory.
#[inline(always)]
pub(crate) const fn clear_payload(payload: &Record) -> &u64 {
    const { assert!(REQUEST_BYTES_MAX == size_of::<u64>()) };
    let [clear, ..] = &payload.0;
    clear
}

/// Four bytes of the header; the mask is for the verifier.
#[inline(always)]
pub(crate) fn header_word(header: &[u8; TCP_BYTES_MAX], at: usize) -> u32 {
    let byte = |index: usize| header[(at + index) & (TCP_BYTES_MAX - 1)];
    u32::from_be_bytes([byte(0), byte(1), byte(2), byte(3)])
}

#[inline(always)]
fn load_header(
    packet: Packet,
    l4: u32,
    header_bytes: u32,
    header: &mut [u8; TCP_BYTES_MAX],
) -> Option<()> {
    let to = header.as_mut_ptr().cast::<c_void>();
    // SAFETY: the buffer holds `TCP_BYTES_MAX` bytes.
    let failed = unsafe { bpf_skb_load_bytes(packet.skb.cast(), l4, to, bounded(header_bytes)) };
    if failed == 0 { Some(()) } else { None }
}

/// The same number of header bytes, in a form that proves to the verifier that it lies in
/// `1..=TCP_BYTES_MAX`.
#[inline(always)]
pub(crate) fn bounded(header_bytes: u32) -> u32 {
    bounded_by::<TCP_BYTES_MAX>(header_bytes)
}

/// Finds timestamps and SACK blocks among the options (RFC 7323, RFC 2018), and tells whether it
/// could read all of them. It knows them as every stack in use lays them out: in words of four
/// bytes, two NOPs first. Free walking would cost the verifier a million steps.
#[inline(always)]
fn options(tcp: &mut Tcp, header: &[u8; TCP_BYTES_MAX]) -> bool {
    let mut at = TCP_BYTES;
    for _ in 0..OPTION_GROUPS_MAX {
        if at as u32 == tcp.header_bytes {
            return true;
        }
        // The mask is for the verifier: `at` is below 60 here.
        let word = |index: usize| header[(at + index) & (TCP_BYTES_MAX - 1)];
        if word(0) == option::END {
            return true;
        }
        if word(0) != option::NOP || word(1) != option::NOP {
            return false;
        }
        let bytes = match (word(2), word(3)) {
            (option::NOP, option::NOP) => 0,
            (option::TIMESTAMPS, option::TIMESTAMPS_BYTES) => 8,
            (option::SACK, 10) => 8,
            (option::SACK, 18) => 16,
            (option::SACK, 26) => 24,
            (option::SACK, 34) => 32,
            _ => return false,
        };
        let found = (at + 2) as u32;
        match word(2) {
            option::TIMESTAMPS => tcp.timestamps = found,
            option::SACK => {
                tcp.sack = found;
                tcp.sack_blocks = bytes / 8;
            }
            _ => {}
        }
        at += 4 + bytes as usize;
        if at as u32 > tcp.header_bytes {
            return false;
        }
    }
    at as u32 == tcp.header_bytes
}

/// Whether the checksum is right: in full, or equal to the pseudo-header's sum, where a device is
/// to complete it (`CHECKSUM_PARTIAL`). The mapped form of IPv4 addresses adds `FFFF` twice, which
/// is zero in this arithmetic.
#[inline(always)]
fn sum_is_right(tcp_bytes: u32, heartbeat: Heartbeat, scratch: &Scratch) -> bool {
    let header = &scratch.header;
    let length = (tcp_bytes as u16).to_be();
    let protocol = u16::from(IPPROTO_TCP).to_be();
    let seed = u32::from(length) + u32::from(protocol);
    let pseudo = sum(&scratch.key.peer, sum(&scratch.key.local, seed));
    if fold(pseudo) == u16::from_ne_bytes([header[16], header[17]]) {
        return true;
    }
    let payload = if heartbeat.is_sealed() {
        sum(&scratch.payload, pseudo)
    } else {
        sum(clear_payload(&scratch.payload), pseudo)
    };
    fold(sum(header, payload)) == 0xFFFF
}

/// Adds the bytes of `value`, whose size is a multiple of four, to a checksum.
#[inline(always)]
fn sum<T>(value: &T, seed: u32) -> u32 {
    const { assert!(size_of::<T>().is_multiple_of(4)) };
    let bytes = ptr::from_ref(value).cast::<u32>().cast_mut();
    // SAFETY: the helper reads `size_of::<T>()` bytes there and writes nothing.
    unsafe { bpf_csum_diff(ptr::null_mut(), 0, bytes, size_of::<T>() as u32, seed) as u32 }
}

#[inline(always)]
const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xFFFF) + (sum >> 16);
    ((sum & 0xFFFF) + (sum >> 16)) as u16
}

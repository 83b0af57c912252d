//! ICMP errors about segments of a flow (rule 15): finds the flow by what the error quotes, and
//! shifts the quoted numbers. An error that quotes less than the first eight bytes of a TCP header, or a
//! fragment that is not the first, goes on as it is.

use push_common::flow::FlowKey;
use push_common::splice::Decision;

use crate::packet::{L2_BYTES, Packet};
use crate::parse::{
    Direction, ETH_P_IP, ETH_P_IPV6, IPPROTO_TCP, IPV4_BYTES, IPV6_BYTES, MAPPED_PREFIX, mapped,
    skip_extensions,
};
use crate::rewrite::{difference, shifted};

const IPPROTO_ICMP: u8 = 1;
const IPPROTO_ICMPV6: u8 = 58;

/// Bytes of type, code, checksum, and four whose meaning differs; the quote follows.
const ICMP_BYTES: u32 = 8;
/// The offset of its checksum.
const CHECKSUM: u32 = 2;
/// The offset of the sequence number in a TCP header.
const SEQ: u32 = 4;

/// The types that TCP acts on (Linux: `tcp_v4_err`): destination unreachable, fragmentation needed
/// among it, redirect, time exceeded, parameter problem.
const fn is_error(kind: u8) -> bool {
    matches!(kind, 3 | 5 | 11 | 12)
}

/// The same of ICMPv6 (`tcp_v6_err`): destination unreachable, packet too big, time exceeded, parameter
/// problem. The other one is the redirect.
const fn is_error_v6(kind: u8) -> bool {
    matches!(kind, 1..=4)
}
const REDIRECT_V6: u8 = 137;

/// Most options of a redirect that are read: the new neighbour's address usually comes before the
/// quote, and no other option exists today.
const REDIRECT_OPTIONS_MAX: usize = 4;

/// The offsets of an error and of its quote in the packet.
pub(crate) struct Quote {
    /// Offset of the ICMP header.
    icmp: u32,
    /// Offset of the TCP header in the quote.
    tcp: u32,
    /// Where the IP packet ends: what the link layer padded behind it is in no checksum.
    end: u32,
}

/// Finds the quote of an ICMP error, and the key of the flow that it concerns. `None`: this is not
/// such an error, or it does not quote a TCP segment.
#[inline(always)]
pub(crate) fn quote(packet: Packet, direction: Direction, key: &mut FlowKey) -> Option<Quote> {
    if packet.has_vlan_tag() {
        return None;
    }
    let quote = match packet.protocol() {
        ETH_P_IP => quote_v4(packet, direction, key)?,
        ETH_P_IPV6 => quote_v6(packet, direction, key)?,
        _ => return None,
    };
    let [s0, s1, d0, d1, _, _, _, _]: [u8; 8] = packet.load(quote.tcp)?;
    if quote.tcp + SEQ + 4 > quote.end {
        return None;
    }
    // An error that came in concerns a segment that went out: its source is the server's end.
    (key.local_port, key.peer_port) = match direction {
        Direction::Ingress => ([s0, s1], [d0, d1]),
        Direction::Egress => ([d0, d1], [s0, s1]),
    };
    Some(quote)
}

#[inline(always)]
fn quote_v4(packet: Packet, direction: Direction, key: &mut FlowKey) -> Option<Quote> {
    let outer: [u8; IPV4_BYTES] = packet.load(L2_BYTES)?;
    if outer[9] != IPPROTO_ICMP {
        return None;
    }
    let icmp = L2_BYTES + header_v4_bytes(&outer)?;
    let [kind]: [u8; 1] = packet.load(icmp)?;
    if !is_error(kind) {
        return None;
    }
    let inner: [u8; IPV4_BYTES] = packet.load(icmp + ICMP_BYTES)?;
    if inner[9] != IPPROTO_TCP {
        return None;
    }
    let tcp = icmp + ICMP_BYTES + header_v4_bytes(&inner)?;
    let end = L2_BYTES + u32::from(u16::from_be_bytes([outer[2], outer[3]]));
    let source = mapped([inner[12], inner[13], inner[14], inner[15]]);
    let destination = mapped([inner[16], inner[17], inner[18], inner[19]]);
    set_addresses(key, direction, source, destination);
    Some(Quote { icmp, tcp, end })
}

/// Length of an IPv4 header; `None`: no transport header follows, because this is not IPv4, or a
/// fragment that is not the first.
#[inline(always)]
fn header_v4_bytes(header: &[u8; IPV4_BYTES]) -> Option<u32> {
    let bytes = u32::from(header[0] & 0x0F) * 4;
    let fragment_offset = u16::from_be_bytes([header[6], header[7]]) & 0x1FFF;
    let is_usable = header[0] >> 4 == 4 && bytes >= IPV4_BYTES as u32 && fragment_offset == 0;
    if is_usable { Some(bytes) } else { None }
}

#[inline(always)]
fn quote_v6(packet: Packet, direction: Direction, key: &mut FlowKey) -> Option<Quote> {
    const NEXT_HEADER: usize = 6;
    let outer: [u8; 8] = packet.load(L2_BYTES)?;
    let upper = skip_extensions(packet, outer[NEXT_HEADER], L2_BYTES + IPV6_BYTES)?;
    if upper.protocol != IPPROTO_ICMPV6 {
        return None;
    }
    let icmp = upper.at;
    let [kind]: [u8; 1] = packet.load(icmp)?;
    let quoted = match kind {
        REDIRECT_V6 => quoted_by_redirect(packet, icmp)?,
        _ if is_error_v6(kind) => icmp + ICMP_BYTES,
        _ => return None,
    };
    let end = L2_BYTES + IPV6_BYTES + u32::from(u16::from_be_bytes([outer[4], outer[5]]));
    let inner: [u8; 8] = packet.load(quoted)?;
    if inner[0] >> 4 != 6 {
        return None;
    }
    let upper = skip_extensions(packet, inner[NEXT_HEADER], quoted + IPV6_BYTES)?;
    if upper.protocol != IPPROTO_TCP {
        return None;
    }
    let source: [u8; 16] = packet.load(quoted + 8)?;
    let destination: [u8; 16] = packet.load(quoted + 24)?;
    // These mean IPv4 flows, and nothing on the wire (RFC 4942, section 2.2). A key with one mapped
    // address is nobody's.
    let [a @ .., _, _, _, _] = source;
    if a == MAPPED_PREFIX {
        return None;
    }
    set_addresses(key, direction, source, destination);
    Some(Quote { icmp, tcp: upper.at, end })
}

/// The offset of a redirect's quote, which is one of its options (RFC 4861, section 4.6.3). The
/// stack uses the first of its kind (Linux: `ndisc_parse_options`).
#[inline(always)]
fn quoted_by_redirect(packet: Packet, icmp: u32) -> Option<u32> {
    /// The two addresses that it is about come first.
    const OPTIONS: u32 = ICMP_BYTES + 32;
    const REDIRECTED_HEADER: u8 = 4;
    let mut at = icmp + OPTIONS;
    for _ in 0..REDIRECT_OPTIONS_MAX {
        let [kind, words]: [u8; 2] = packet.load(at)?;
        if words == 0 {
            return None;
        }
        if kind == REDIRECTED_HEADER {
            return Some(at + 8);
        }
        at += u32::from(words) * 8;
    }
    None
}

#[inline(always)]
fn set_addresses(key: &mut FlowKey, direction: Direction, source: [u8; 16], destination: [u8; 16]) {
    (key.local, key.peer) = match direction {
        Direction::Ingress => (source, destination),
        Direction::Egress => (destination, source),
    };
}

/// Shifts the quoted sequence number, and the acknowledgement if the quote includes it (no stack
/// reads it, but people who dump packets do). They lie at an even offset, as the checksum needs.
/// The quoted segment's own checksum stays, since nobody can verify it.
#[inline(always)]
pub(crate) fn translate(
    packet: Packet,
    quote: &Quote,
    direction: Direction,
    decision: &Decision,
) -> Option<()> {
    let seq_shift = direction.shift(decision.seq_delta);
    let ack_shift = direction.shift(decision.ack_delta);
    let at = quote.tcp + SEQ;
    let change = if at + 8 <= quote.end {
        let [a, b, c, d, e, f, g, h]: [u8; 8] = packet.load(at)?;
        let old = [[a, b, c, d], [e, f, g, h]];
        let new = [shifted(old[0], seq_shift), shifted(old[1], ack_shift)];
        packet.store(at, &new)?;
        difference(&old, &new, 0)
    } else {
        let old: [u8; 4] = packet.load(at)?;
        let new = shifted(old, seq_shift);
        packet.store(at, &new)?;
        difference(&old, &new, 0)
    };
    packet.fix_sum(quote.icmp + CHECKSUM, change)
}

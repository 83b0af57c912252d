//! Changes packets as the splice has decided: shifts numbers, turns a segment around, makes a bare
//! ACK a PINGRESP. Writes by helpers only.
//!
//! Checksums change by difference. `bpf_l4_csum_replace` leaves a partial sum (`CHECKSUM_PARTIAL`:
//! lo, veth, all of egress) alone, unless the change concerns the pseudo-header, which contains a
//! length. The sum over a segment together with its checksum field stays the same, so a device's
//! sum of the whole packet (`CHECKSUM_COMPLETE`) holds as well. If a function returns `None`, it
//! may have left half a packet: its caller drops it.

use core::ptr;

use aya_ebpf::bindings::BPF_F_PSEUDO_HDR;
use aya_ebpf::helpers::generated::{
    bpf_csum_diff, bpf_l3_csum_replace, bpf_l4_csum_replace, bpf_skb_store_bytes,
};
use push_common::answer_table::Record;
use push_common::flow::FlowKey;
use push_common::heartbeat::{Heartbeat, form};
use push_common::segment::flags;
use push_common::splice::Decision;

use crate::packet::{L2_BYTES, Packet, done};
use crate::parse::{
    Direction, Headers, IPV4_BYTES, Scratch, TCP_BYTES_MAX, Tcp, bounded, clear_payload,
    header_word, option,
};

/// Offsets in the TCP header.
const SEQ: usize = 4;
const ACK: usize = 8;
const CHECKSUM: u32 = 16;
/// Keeps an index below the buffer's size; for the verifier, the indices here are below 60 anyway.
const MASK: usize = TCP_BYTES_MAX - 1;

/// Most SACK blocks that 40 bytes of options hold.
const SACK_BLOCKS_MAX: u32 = 4;

/// Hop limit of a PINGRESP.
const TTL: u8 = 64;

/// Shifts sequence number, acknowledgement and SACK blocks as was decided: down at ingress, up at
/// egress.
#[inline(always)]
pub(crate) fn translate(
    packet: Packet,
    headers: &Headers,
    tcp: &Tcp,
    scratch: &mut Scratch,
    direction: Direction,
    decision: &Decision,
) -> Option<()> {
    let seq = tcp.segment.seq.wrapping_add(direction.shift(decision.seq_delta));
    let ack_shift = direction.shift(decision.ack_delta);
    let ack = shifted_ack(tcp, ack_shift);
    let echoes = matches!(direction, Direction::Egress) && has_another_echo(tcp, decision);
    if tcp.sack == 0 && !echoes {
        let old = [tcp.segment.seq.to_be(), tcp.segment.ack.to_be()];
        let new = [seq.to_be(), ack.to_be()];
        packet.store(headers.l4 + SEQ as u32, &new)?;
        return fix_tcp_sum(packet, headers, difference(&old, &new, 0));
    }
    scratch.changed = scratch.header;
    put_u32(&mut scratch.changed, SEQ, seq);
    put_u32(&mut scratch.changed, ACK, ack);
    shift_sack(scratch, tcp, ack_shift);
    if echoes {
        put_echo(scratch, tcp, decision.ts_ecr);
    }
    store_tcp_header(packet, headers, tcp, scratch, 0)
}

/// Makes the client's PINGREQ, or its bare ACK (rule 7), the PINGRESP to it.
#[inline(always)]
pub(crate) fn turn_around(
    packet: Packet,
    headers: &Headers,
    tcp: &Tcp,
    scratch: &mut Scratch,
    heartbeat: Heartbeat,
    decision: &Decision,
) -> Option<()> {
    scratch.changed = scratch.header;
    let header = &mut scratch.changed;
    let [s0, s1, d0, d1] = [header[0], header[1], header[2], header[3]];
    [header[0], header[1], header[2], header[3]] = [d0, d1, s0, s1];
    put_u32(header, SEQ, decision.seq);
    put_u32(header, ACK, decision.ack);
    header[13] = flags::ACK | flags::PSH;
    [header[14], header[15]] = decision.window.to_be_bytes();
    answer_timestamps(scratch, tcp, decision.ts_val);
    blank_sack(scratch, tcp);

    let grown = heartbeat.response_bytes().wrapping_sub(tcp.segment.payload_bytes);
    // Also cuts off padding of the link layer.
    packet.set_len(headers.l4 + tcp.header_bytes + heartbeat.response_bytes())?;
    turn_link(packet, scratch, decision)?;
    turn_network(packet, headers, &scratch.key, grown)?;
    put_pingresp(packet, headers, tcp, scratch, heartbeat)?;
    lengthen_pseudo_header(packet, headers, grown)
}

/// Makes a segment of the server the pending PINGRESP: a bare ACK (rule 6), or stale bytes, which
/// are removed (rule 8). Their part of the checksum is not undone, since it is always partial here.
#[inline(always)]
pub(crate) fn resend(
    packet: Packet,
    headers: &Headers,
    tcp: &Tcp,
    scratch: &mut Scratch,
    heartbeat: Heartbeat,
    decision: &Decision,
) -> Option<()> {
    scratch.changed = scratch.header;
    put_u32(&mut scratch.changed, SEQ, decision.seq);
    put_u32(&mut scratch.changed, ACK, shifted_ack(tcp, decision.ack_delta));
    scratch.changed[13] = (scratch.changed[13] & !flags::FIN) | flags::PSH;
    shift_sack(scratch, tcp, decision.ack_delta);
    if has_another_echo(tcp, decision) {
        put_echo(scratch, tcp, decision.ts_ecr);
    }

    packet.set_len(headers.l4 + tcp.header_bytes + heartbeat.response_bytes())?;
    let grown = heartbeat.response_bytes().wrapping_sub(tcp.segment.payload_bytes);
    lengthen_network(packet, headers, grown)?;
    scratch.payload = Record::default();
    put_pingresp(packet, headers, tcp, scratch, heartbeat)?;
    lengthen_pseudo_header(packet, headers, grown)
}

/// Writes the PINGRESP: that of the heartbeat's form, or the record in `scratch.sealed`.
/// `scratch.payload` is the old payload, as far as it is in the checksum. Both have zeros behind them, so
/// that a record of an odd length counts as TCP counts it.
#[inline(always)]
fn put_pingresp(
    packet: Packet,
    headers: &Headers,
    tcp: &Tcp,
    scratch: &Scratch,
    heartbeat: Heartbeat,
) -> Option<()> {
    let at = headers.l4 + tcp.header_bytes;
    let more = if heartbeat.is_sealed() {
        let record = scratch.sealed.record();
        packet.store_record(at, record, heartbeat.response_bytes())?;
        difference(&scratch.payload, record, 0)
    } else {
        let [a, b, c, d] = heartbeat.response();
        if heartbeat.form() == form::WEBSOCKET {
            packet.store(at, &[a, b, c, d])?;
        } else {
            packet.store(at, &[a, b])?;
        }
        let payload = u64::from_ne_bytes([a, b, c, d, 0, 0, 0, 0]);
        difference(clear_payload(&scratch.payload), &payload, 0)
    };
    store_tcp_header(packet, headers, tcp, scratch, more)
}

/// Replaces the TCP header and its options, and corrects the checksum by the difference and by
/// `more`, that of the payload. The checksum field still has the old value.
#[inline(always)]
fn store_tcp_header(
    packet: Packet,
    headers: &Headers,
    tcp: &Tcp,
    scratch: &Scratch,
    more: u32,
) -> Option<()> {
    let from = scratch.changed.as_ptr().cast();
    let bytes = bounded(tcp.header_bytes);
    // SAFETY: the helper reads at most `TCP_BYTES_MAX` bytes, which the buffer has.
    done(unsafe { bpf_skb_store_bytes(packet.skb, headers.l4, from, bytes, 0) })?;
    fix_tcp_sum(packet, headers, difference(&scratch.header, &scratch.changed, more))
}

#[inline(always)]
fn fix_tcp_sum(packet: Packet, headers: &Headers, difference: u32) -> Option<()> {
    packet.fix_sum(headers.l4 + CHECKSUM, difference)
}

#[inline(always)]
fn lengthen_pseudo_header(packet: Packet, headers: &Headers, grown: u32) -> Option<()> {
    if grown == 0 {
        return Some(());
    }
    let from = u64::from((headers.tcp_bytes as u16).to_be());
    let to = u64::from((headers.tcp_bytes.wrapping_add(grown) as u16).to_be());
    let flags = u64::from(BPF_F_PSEUDO_HDR) | 2;
    // SAFETY: the helper takes no pointer but the context.
    done(unsafe { bpf_l4_csum_replace(packet.skb, headers.l4 + CHECKSUM, from, to, flags) })
}

/// From this host to the neighbour that the splice names.
#[inline(always)]
fn turn_link(packet: Packet, scratch: &mut Scratch, decision: &Decision) -> Option<()> {
    scratch.link = [decision.next_hop, scratch.link[0]];
    packet.store(0, &scratch.link)
}

/// Swaps the addresses, sets a new TTL and no congestion bits, and adds `grown` bytes.
#[inline(always)]
fn turn_network(packet: Packet, headers: &Headers, key: &FlowKey, grown: u32) -> Option<()> {
    if headers.ipv6 {
        let mut ip: [u8; 8] = packet.load(L2_BYTES)?;
        ip[1] &= !0x30;
        ip[7] = TTL;
        add_u16(&mut ip, 4, grown);
        packet.store(L2_BYTES, &ip)?;
        packet.store(L2_BYTES + 8, &key.local)?;
        return packet.store(L2_BYTES + 24, &key.peer);
    }
    let old: [u8; IPV4_BYTES] = packet.load(L2_BYTES)?;
    let mut ip = old;
    ip[1] &= !3;
    ip[8] = TTL;
    ip[12..16].copy_from_slice(&old[16..20]);
    ip[16..20].copy_from_slice(&old[12..16]);
    add_u16(&mut ip, 2, grown);
    store_ipv4(packet, &old, &ip)
}

/// Adds `grown` bytes to the IP header's length, modulo 2^16.
#[inline(always)]
fn lengthen_network(packet: Packet, headers: &Headers, grown: u32) -> Option<()> {
    if headers.ipv6 {
        let mut ip: [u8; 8] = packet.load(L2_BYTES)?;
        add_u16(&mut ip, 4, grown);
        return packet.store(L2_BYTES, &ip);
    }
    let old: [u8; IPV4_BYTES] = packet.load(L2_BYTES)?;
    let mut ip = old;
    add_u16(&mut ip, 2, grown);
    store_ipv4(packet, &old, &ip)
}

#[inline(always)]
fn store_ipv4(packet: Packet, old: &[u8; IPV4_BYTES], new: &[u8; IPV4_BYTES]) -> Option<()> {
    packet.store(L2_BYTES, new)?;
    let to = u64::from(difference(old, new, 0));
    // SAFETY: the helper takes no pointer but the context.
    done(unsafe { bpf_l3_csum_replace(packet.skb, L2_BYTES + 10, 0, to, 0) })
}

/// How a checksum changes when `old` becomes `new`; their size is a multiple of four.
#[inline(always)]
pub(crate) fn difference<T>(old: &T, new: &T, seed: u32) -> u32 {
    const { assert!(size_of::<T>().is_multiple_of(4)) };
    let bytes = size_of::<T>() as u32;
    let old = ptr::from_ref(old).cast::<u32>().cast_mut();
    let new = ptr::from_ref(new).cast::<u32>().cast_mut();
    // SAFETY: the helper reads so many bytes at both places and writes nothing.
    unsafe { bpf_csum_diff(old, bytes, new, bytes, seed) as u32 }
}

/// A number in wire order, shifted.
#[inline(always)]
pub(crate) const fn shifted(number: [u8; 4], shift: u32) -> [u8; 4] {
    u32::from_be_bytes(number).wrapping_add(shift).to_be_bytes()
}

#[inline(always)]
fn shifted_ack(tcp: &Tcp, shift: u32) -> u32 {
    if tcp.segment.any(flags::ACK) { tcp.segment.ack.wrapping_add(shift) } else { tcp.segment.ack }
}

#[inline(always)]
fn shift_sack(scratch: &mut Scratch, tcp: &Tcp, shift: u32) {
    for edge in 0..2 * SACK_BLOCKS_MAX {
        if edge >= 2 * tcp.sack_blocks {
            break;
        }
        let at = (tcp.sack + 2 + edge * 4) as usize;
        put_u32(&mut scratch.changed, at, header_word(&scratch.header, at).wrapping_add(shift));
    }
}

/// SACK blocks say which of the server's bytes the client has; to the client they mean nothing.
#[inline(always)]
fn blank_sack(scratch: &mut Scratch, tcp: &Tcp) {
    if tcp.sack == 0 {
        return;
    }
    let nops = u32::from_be_bytes([option::NOP; 4]);
    // The option begins two bytes into a word, behind two NOPs.
    for word in 0..2 * SACK_BLOCKS_MAX + 1 {
        if word > 2 * tcp.sack_blocks {
            break;
        }
        put_u32(&mut scratch.changed, (tcp.sack - 2 + word * 4) as usize, nops);
    }
}

/// Echoes the client's TSval; `ts_val` is ours.
#[inline(always)]
fn answer_timestamps(scratch: &mut Scratch, tcp: &Tcp, ts_val: u32) {
    if tcp.timestamps == 0 {
        return;
    }
    let at = tcp.timestamps as usize;
    put_u32(&mut scratch.changed, at + 2, ts_val);
    put_u32(&mut scratch.changed, at + 6, header_word(&scratch.header, at + 2));
}

/// Rule 23.
#[inline(always)]
fn has_another_echo(tcp: &Tcp, decision: &Decision) -> bool {
    tcp.timestamps != 0 && decision.ts_ecr != tcp.segment.ts_ecr
}

#[inline(always)]
fn put_echo(scratch: &mut Scratch, tcp: &Tcp, ts_ecr: u32) {
    put_u32(&mut scratch.changed, tcp.timestamps as usize + 6, ts_ecr);
}

#[inline(always)]
fn put_u32(header: &mut [u8; TCP_BYTES_MAX], at: usize, value: u32) {
    let [a, b, c, d] = value.to_be_bytes();
    header[at & MASK] = a;
    header[(at + 1) & MASK] = b;
    header[(at + 2) & MASK] = c;
    header[(at + 3) & MASK] = d;
}

#[inline(always)]
fn add_u16<const N: usize>(bytes: &mut [u8; N], at: usize, more: u32) {
    let value = u16::from_be_bytes([bytes[at], bytes[at + 1]]).wrapping_add(more as u16);
    [bytes[at], bytes[at + 1]] = value.to_be_bytes();
}

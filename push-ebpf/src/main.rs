//! TC programs that answer MQTT PINGREQ in the kernel. Entry points only: parse, take the flow's
//! lock, ask the splice, rewrite, count. Attached by TCX to both directions of an interface;
//! minimum kernel 6.6.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(
    internal_features,
    reason = "the atomic operations that `AtomicU64` lacks on this target"
)]
#![expect(unsafe_code, reason = "packets, maps and locks of the kernel are reached by raw helpers")]
#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a field's address and the access to it share their invariant"
)]
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "a key passed by value is copied to a stack of 512 bytes"
)]
#![expect(clippy::needless_pass_by_value, reason = "the classifier macro's signature")]

mod icmp;
mod maps;
mod packet;
mod parse;
mod rewrite;
mod sealed;
mod word;

use core::ptr;

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::helpers::generated::{
    bpf_ktime_get_ns, bpf_redirect, bpf_sk_fullsock, bpf_spin_lock, bpf_spin_unlock, bpf_tcp_sock,
};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use aya_log_ebpf::warn;
use push_common::clock::Monotonic;
use push_common::counter::Counter;
use push_common::flow::bits;
use push_common::heartbeat::Heartbeat;
use push_common::rate::Pace;
use push_common::segment::SocketFacts;
use push_common::slot::{Slot, SlotView};
use push_common::splice::{self, Decision, Verdict};

use maps::{FLOWS, FlowCell, HEARTBEATS, PING_BURST, SLOTS, count, note_early_fragment, scratch};
use packet::Packet;
use parse::{Direction, Headers, Scratch, Tcp};

/// Passes to the next program of the interface, or to the stack (`TCX_NEXT`).
const NEXT: i32 = TC_ACT_UNSPEC;
/// Drops (`TCX_DROP`).
const DROP: i32 = TC_ACT_SHOT;

/// `skb->pkt_type` of a packet for this host (`<linux/if_packet.h>`).
const PACKET_HOST: u32 = 0;

/// Value of `skb->tc_index` that marks a PINGRESP from its turn at ingress on: egress programs
/// leave it alone. The mark stays, because several servers may have programs on one interface, and
/// each of them must see it. Nothing on the wire and no socket option can set it.
const TURNED: u32 = 0x5B10;

/// Segments from clients.
#[classifier]
fn push_ingress(ctx: TcContext) -> i32 {
    ingress(Packet { skb: ctx.skb.skb })
}

/// Segments from the server's stack.
#[classifier]
fn push_egress(ctx: TcContext) -> i32 {
    egress(Packet { skb: ctx.skb.skb })
}

#[inline(always)]
fn ingress(packet: Packet) -> i32 {
    // What is not for this host is dropped further up: it must not be answered before.
    // SAFETY: `skb` is the context of the running program.
    if unsafe { (*packet.skb).pkt_type } != PACKET_HOST {
        return NEXT;
    }
    let Some(scratch) = scratch() else { return NEXT };
    let Some(headers) = parse::headers(packet, Direction::Ingress, &mut scratch.key) else {
        return icmp_error(packet, scratch, Direction::Ingress);
    };
    let mut cell = FLOWS.get_ptr_mut(&scratch.key);
    if cell.is_none() && headers.fragment {
        // SAFETY: the helper has no arguments.
        note_early_fragment(&scratch.key, Monotonic(unsafe { bpf_ktime_get_ns() }));
        // User space may have looked before that note, and have inserted the flow just now; then the
        // flow sees the fragment.
        cell = FLOWS.get_ptr_mut(&scratch.key);
    }
    let Some(cell) = cell else { return NEXT };
    // Everything that needs a helper comes before the lock: the verifier allows none under it.
    let heartbeat = heartbeat_of(cell);
    let mut tcp = parse::tcp(packet, &headers, Direction::Ingress, heartbeat, scratch);
    let slot = slot_of(cell);
    let mut view = match slot {
        Some(slot) => view_of(slot),
        None => SlotView::NONE,
    };
    if heartbeat.is_sealed() {
        tcp.segment.pingreq = sealed::is_request(cell, slot, &mut view, heartbeat, &tcp, scratch);
    }
    // SAFETY: the helper has no arguments.
    let now = Monotonic(unsafe { bpf_ktime_get_ns() });
    let pace = Pace { interval_ns: view.ping_interval_ns, burst: PING_BURST.load() };
    let table = sealed::table_of(cell);

    lock(cell);
    // SAFETY: the lock is held, and the element lives as long as the program.
    let flow = unsafe { &mut (*cell).flow };
    let decision = if tcp.followed {
        scratch.sealed.on_ingress(table, flow, &view, &tcp.segment, pace, now)
    } else {
        splice::on_unexpected(flow)
    };
    if let (Some(Counter::Answered), Some(slot)) = (decision.counter, slot) {
        stamp(slot, now, pace.charged(view.ping_due, now));
    }
    unlock(cell);

    counted(&decision);
    if heartbeat.is_sealed()
        && scratch.sealed.runs_low()
        && let (Some(Counter::Answered), Some(slot)) = (decision.counter, slot)
    {
        sealed::note_low(cell, slot);
    }
    apply_ingress(packet, &headers, &tcp, scratch, heartbeat, &decision)
}

#[inline(always)]
fn apply_ingress(
    packet: Packet,
    headers: &Headers,
    tcp: &Tcp,
    scratch: &mut Scratch,
    heartbeat: Heartbeat,
    decision: &Decision,
) -> i32 {
    match decision.verdict {
        Verdict::Pass => NEXT,
        Verdict::Translate => {
            let way = Direction::Ingress;
            written(packet, rewrite::translate(packet, headers, tcp, scratch, way, decision))
        }
        Verdict::TurnAround => {
            let turned = rewrite::turn_around(packet, headers, tcp, scratch, heartbeat, decision);
            wipe(scratch, heartbeat);
            if written(packet, turned) == DROP {
                return DROP;
            }
            // SAFETY: `skb` is the context of the running program.
            unsafe { (*packet.skb).tc_index = TURNED };
            // SAFETY: the helper takes no pointer.
            unsafe { bpf_redirect(packet.iface(), 0) as i32 }
        }
        Verdict::Absorb | Verdict::Drop | Verdict::Resend | Verdict::Forget => DROP,
    }
}

#[inline(always)]
fn egress(packet: Packet) -> i32 {
    // SAFETY: `skb` is the context of the running program.
    if unsafe { (*packet.skb).tc_index } == TURNED {
        return NEXT;
    }
    // Forwarded or bridged: not the word of this host's stack, whatever addresses it bears.
    // SAFETY: as above.
    if unsafe { (*packet.skb).ingress_ifindex } != 0 {
        return NEXT;
    }
    let Some(scratch) = scratch() else { return NEXT };
    let Some(headers) = parse::headers(packet, Direction::Egress, &mut scratch.key) else {
        return icmp_error(packet, scratch, Direction::Egress);
    };
    let Some(cell) = FLOWS.get_ptr_mut(&scratch.key) else { return NEXT };
    let heartbeat = heartbeat_of(cell);
    let tcp = parse::tcp(packet, &headers, Direction::Egress, heartbeat, scratch);
    // A flow never loses its anchor, so a stale look at the bit costs a question at most.
    // SAFETY: the element lives as long as the program; an aligned word is read whole.
    let seen = unsafe { ptr::read_volatile(&raw const (*cell).flow.bits) };
    let mut facts = SocketFacts::default();
    let asked = seen & bits::ANCHORED == 0 && ask_socket(packet, &mut facts).is_some();
    let socket = if asked { Some(&facts) } else { None };
    // SAFETY: the helper has no arguments.
    let now = Monotonic(unsafe { bpf_ktime_get_ns() });
    let table = sealed::table_of(cell);

    lock(cell);
    // SAFETY: the lock is held, and the element lives as long as the program.
    let flow = unsafe { &mut (*cell).flow };
    let decision = if tcp.followed {
        scratch.sealed.on_egress(table, flow, &tcp.segment, socket, now)
    } else {
        splice::on_unexpected(flow)
    };
    unlock(cell);

    counted(&decision);
    apply_egress(packet, &headers, &tcp, scratch, heartbeat, &decision)
}

#[inline(always)]
fn apply_egress(
    packet: Packet,
    headers: &Headers,
    tcp: &Tcp,
    scratch: &mut Scratch,
    heartbeat: Heartbeat,
    decision: &Decision,
) -> i32 {
    match decision.verdict {
        Verdict::Pass => NEXT,
        Verdict::Translate => {
            let way = Direction::Egress;
            written(packet, rewrite::translate(packet, headers, tcp, scratch, way, decision))
        }
        Verdict::Resend => {
            let resent = rewrite::resend(packet, headers, tcp, scratch, heartbeat, decision);
            wipe(scratch, heartbeat);
            written(packet, resent)
        }
        Verdict::Forget => {
            // It may be gone already, which is as good.
            let _ = FLOWS.remove(&scratch.key);
            NEXT
        }
        Verdict::Drop | Verdict::TurnAround | Verdict::Absorb => DROP,
    }
}

/// A record that has left is in no memory of this program any more.
#[inline(always)]
fn wipe(scratch: &mut Scratch, heartbeat: Heartbeat) {
    if heartbeat.is_sealed() {
        scratch.sealed.wipe();
    }
}

/// A packet that is not TCP may be an ICMP error about a segment of ours (rule 15).
#[inline(always)]
fn icmp_error(packet: Packet, scratch: &mut Scratch, direction: Direction) -> i32 {
    let Some(quote) = icmp::quote(packet, direction, &mut scratch.key) else { return NEXT };
    let Some(cell) = FLOWS.get_ptr_mut(&scratch.key) else { return NEXT };
    lock(cell);
    // SAFETY: the lock is held, and the element lives as long as the program.
    let flow = unsafe { &(*cell).flow };
    let decision = splice::on_icmp_error(flow, direction == Direction::Ingress);
    unlock(cell);
    if decision.verdict != Verdict::Translate {
        return NEXT;
    }
    if let Some(counter) = decision.counter {
        count(counter);
    }
    written(packet, icmp::translate(packet, &quote, direction, &decision))
}

/// Rule 11: half a rewrite never leaves. It is not known to happen, so it is worth a line in the
/// log.
#[inline(always)]
fn written(packet: Packet, done: Option<()>) -> i32 {
    if done.is_some() {
        return NEXT;
    }
    count(Counter::RewriteFailed);
    warn!(TcContext::new(packet.skb), "a segment could not be rewritten, and was dropped");
    DROP
}

#[inline(always)]
fn counted(decision: &Decision) {
    if let Some(counter) = decision.counter {
        count(counter);
    }
    if decision.verdict == Verdict::Translate {
        count(Counter::Translated);
    }
}

#[inline(always)]
fn lock(cell: *mut FlowCell) {
    // SAFETY: `cell` is a live map element with its lock at this field; every path from here
    // unlocks it, which the verifier proves.
    unsafe { bpf_spin_lock(&raw mut (*cell).lock) };
}

#[inline(always)]
fn unlock(cell: *mut FlowCell) {
    // SAFETY: taken by `lock` on every path to here, which the verifier proves.
    unsafe { bpf_spin_unlock(&raw mut (*cell).lock) };
}

#[inline(always)]
fn slot_of(cell: *mut FlowCell) -> Option<*mut Slot> {
    // SAFETY: the element lives as long as the program; the field never changes.
    let index = unsafe { ptr::read_volatile(&raw const (*cell).flow.slot) };
    SLOTS.get_ptr_mut(index)
}

#[inline(always)]
fn heartbeat_of(cell: *mut FlowCell) -> Heartbeat {
    // SAFETY: the element lives as long as the program; the field never changes.
    unsafe { ptr::read_volatile(&raw const (*cell).flow.heartbeat) }
}

/// Copies the words of a slot that the splice needs. User space changes the generation before it
/// gives the other words to another connection, so equal generations before and after the copy
/// prove that they belong together.
#[inline(always)]
fn view_of(slot: *mut Slot) -> SlotView {
    macro_rules! word {
        ($field:ident) => {
            // SAFETY: the element lives as long as the program, and the word is aligned.
            unsafe { ptr::read_volatile(&raw const (*slot).$field) }
        };
    }
    let generation = word!(generation);
    let (rx, tx, state, shard) = (word!(rx), word!(tx), word!(state), word!(shard));
    let ping_interval_ns = word!(ping_interval_ns);
    let ping_due = Monotonic(word!(ping_due));
    let (mut heartbeat_ns, mut silence_secs_max) = (0, 0);
    if let Some(line) = HEARTBEATS.get_ptr(u32::from(shard)) {
        // SAFETY: the element lives as long as the program, and the word is aligned.
        heartbeat_ns = unsafe { ptr::read_volatile(&raw const (*line).heartbeat) };
        // SAFETY: as above.
        silence_secs_max =
            unsafe { ptr::read_volatile(&raw const (*line).silence_secs_max) } as u32;
    }
    if word!(generation) != generation {
        return SlotView::NONE;
    }
    let (rx, tx) = (rx as u32, tx as u32);
    SlotView {
        rx,
        tx,
        generation,
        state,
        ping_interval_ns,
        ping_due,
        heartbeat_ns,
        silence_secs_max,
    }
}

/// Rule 13: a new ping was answered. Under the flow's lock, so the count loses nothing.
#[inline(always)]
fn stamp(slot: *mut Slot, now: Monotonic, ping_due: Monotonic) {
    // SAFETY: the element lives as long as the program, and the word is aligned.
    unsafe { ptr::write_volatile(&raw mut (*slot).last_seen, now.0) };
    // SAFETY: as above.
    unsafe { ptr::write_volatile(&raw mut (*slot).ping_due, ping_due.0) };
    // SAFETY: as above.
    let pings = unsafe { ptr::read_volatile(&raw const (*slot).pings) };
    // SAFETY: as above.
    unsafe { ptr::write_volatile(&raw mut (*slot).pings, pings.wrapping_add(1)) };
}

/// Reads the sending socket's numbers, which anchor a flow; `None`: the segment has no socket, or a
/// small one (SYN-ACK, TIME_WAIT). Fills a record instead of returning an `Option` of one, for the
/// reason told at [`Tcp`].
#[inline(always)]
fn ask_socket(packet: Packet, facts: &mut SocketFacts) -> Option<()> {
    // SAFETY: `skb` is the context of the running program.
    let sk = unsafe { (*packet.skb).__bindgen_anon_2.sk };
    if sk.is_null() {
        return None;
    }
    // SAFETY: not null, and the helper accepts any socket of the context.
    let full = unsafe { bpf_sk_fullsock(sk) };
    if full.is_null() {
        return None;
    }
    // SAFETY: a full socket, not null.
    let tcp = unsafe { bpf_tcp_sock(full) };
    if tcp.is_null() {
        return None;
    }
    macro_rules! word {
        ($field:ident) => {
            // SAFETY: not null; the verifier knows the extent of the record.
            unsafe { ptr::read_volatile(&raw const (*tcp).$field) }
        };
    }
    // `rcv_nxt` first, as `SocketFacts` wants it.
    facts.rcv_nxt = word!(rcv_nxt);
    facts.bytes_received = word!(bytes_received) as u32;
    facts.snd_una = word!(snd_una);
    facts.bytes_acked = word!(bytes_acked) as u32;
    Some(())
}

/// The kernel reads it to tell which helpers may be used.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

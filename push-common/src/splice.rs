//! The heartbeat splice: whether a segment passes, is translated, is answered in place of the
//! server, or must not pass. Pure functions: flow, slot and segment facts in, a verdict and the
//! changed flow out. No packet access, no clock, no counters are touched here.
//!
//! The rules, by whose numbers comments refer to them, are in the docs of this crate. In short: a
//! PINGREQ is turned around into its PINGRESP only while every byte that either side has sent was
//! received, acknowledged and parsed up to a packet boundary. The server's TCP never learns of
//! their bytes, so every later segment is translated by [`Flow::delta_in`] and [`Flow::delta_out`].
//!
//! The caller holds the flow's lock over a call. The functions are inlined everywhere, because the
//! verifier allows no calls under a spin lock. What it guards is one run of these functions, some
//! hundred instructions without a loop.

use crate::clock::Monotonic;
use crate::counter::Counter;
use crate::flow::{Flow, bits};
use crate::mutant::{Part, is_left_out};
use crate::rate::Pace;
use crate::segment::{Segment, SocketFacts, flags};
use crate::slot::{HEARTBEAT_AGE_NS_MAX, SlotView, state};

use numbers::{WINDOW_BYTES_MAX, is_before, is_near};

/// Pings that are answered in a row before one is left to user space (rule 12: every 256th).
pub const IN_A_ROW_MAX: u16 = 255;

/// Seconds of the stack's silence after which the next ping is left to user space (rule 12); user
/// space may want it earlier ([`SlotView::silence_secs_max`]). A day, because each answer carries
/// the stack's last timestamp and makes it the newest for the client's PAWS: once the stack's clock
/// has gone half around from there, its segments would count as old and be dropped for good. With
/// milliseconds that takes 24 days; connections whose timestamps are microseconds are not armed.
pub const SILENCE_SECS_MAX: u32 = 24 * 3_600;

/// Decides about a segment from the client (C-space). After [`Counter::Answered`] the caller also
/// charges the ping to the slot ([`Pace::charged`]).
#[inline(always)]
pub fn on_ingress(
    flow: &mut Flow,
    slot: &SlotView,
    segment: &Segment,
    pace: Pace,
    now: Monotonic,
) -> Decision {
    ingress(flow, slot, segment, pace, now, || None)
}

/// `last_word` is asked when a ping could be answered: why it is left to user space all the same. If it
/// says `None`, the ping is answered.
#[inline(always)]
fn ingress(
    flow: &mut Flow,
    slot: &SlotView,
    segment: &Segment,
    pace: Pace,
    now: Monotonic,
    last_word: impl FnOnce() -> Option<Counter>,
) -> Decision {
    // Rule 10: an ingress SYN proves nothing. The stack answers it with a challenge ACK.
    if segment.any(flags::SYN) {
        return Decision::pass();
    }
    if !flow.has(bits::ANCHORED) {
        // `n` is 0 here. Rule 3 needs to know later whether bytes are ahead of the anchor.
        raise_ingress_before_anchor(flow, segment);
        let followed = fragment(flow, segment);
        let counter = if segment.pingreq { Some(Counter::NotAnchored) } else { followed };
        return Decision::new(Verdict::Pass, counter);
    }

    if hides_numbers(flow, segment) {
        return Decision::counted(Verdict::Drop, Counter::Unexpected);
    }
    // PAWS. The stack may not know that the segment is old, once newer ones were taken in its
    // place. A RST needs no timestamp.
    let old = timestamps::is_old(flow, segment, now);
    if old && flow.n > 0 && !segment.any(flags::RST) {
        return Decision::counted(Verdict::Drop, Counter::OldTimestamp);
    }
    let believed = segment.verified && !old;
    if believed && acknowledges_pingresp(flow, segment) {
        flow.clear(bits::PENDING);
    }

    let mut counter = fragment(flow, segment);
    if segment.pingreq {
        match declines(flow, slot, segment, believed, pace, now).or_else(last_word) {
            None => {
                timestamps::note_taken(flow, segment, now);
                return answer(flow, segment);
            }
            Some(reason) => {
                match reason {
                    Counter::EveryNth | Counter::StackSilent => flow.in_a_row = 0,
                    Counter::NextHop => flow.sender = segment.neighbour,
                    _ => {}
                }
                counter = Some(reason);
            }
        }
    } else if believed && misses_pingresp(flow, segment) {
        return Decision::pingresp(flow, segment, Counter::Refilled);
    } else if believed && tells_nothing_new(flow, slot, segment) {
        timestamps::note_taken(flow, segment, now);
        return Decision::counted(Verdict::Absorb, Counter::Absorbed);
    }

    note_passed_ingress(flow, slot, segment, believed);
    Decision::shifted_in(flow, counter)
}

/// Decides about a segment of the server's stack (S-space). `socket`: the sending socket's numbers;
/// needed until the flow is anchored.
#[inline(always)]
pub fn on_egress(
    flow: &mut Flow,
    segment: &Segment,
    socket: Option<&SocketFacts>,
    now: Monotonic,
) -> Decision {
    let decision = egress(flow, segment, socket, now);
    match decision.verdict {
        Verdict::Translate | Verdict::Resend => {
            Decision { ts_ecr: timestamps::echo(flow, segment, now), ..decision }
        }
        _ => decision,
    }
}

#[inline(always)]
fn egress(
    flow: &mut Flow,
    segment: &Segment,
    socket: Option<&SocketFacts>,
    now: Monotonic,
) -> Decision {
    // Rule 10: only the stack's own SYN-ACK begins a new connection on these addresses. The reset
    // of a refused one has no number of the old one.
    if segment.any(flags::SYN) {
        let replaced = Decision::counted(Verdict::Forget, Counter::Replaced);
        return if segment.any(flags::ACK) { replaced } else { Decision::pass() };
    }
    if segment.any(flags::RST) && segment.any(flags::ACK) && segment.seq == 0 {
        return Decision::pass();
    }
    (flow.iface, flow.next_hop) = (segment.iface, segment.neighbour);
    if !segment.any(flags::RST) {
        flow.stack_window = segment.window;
        flow.set(bits::STACK_WINDOW_KNOWN);
        timestamps::note_stack(flow, segment, now);
    }
    if !flow.has(bits::ANCHORED) {
        return anchor(flow, segment, socket);
    }

    if hides_numbers(flow, segment) {
        return Decision::counted(Verdict::Drop, Counter::Unexpected);
    }
    let counter = fragment(flow, segment);
    note_asked_again(flow, segment);
    if segment.span() == 0 {
        // Rule 6: every segment that tells the client that its PINGREQ arrived brings the answer
        // too.
        if flow.has(bits::PENDING) && !segment.any(flags::RST) && !is_left_out(Part::Resend) {
            return Decision::resent(flow, Counter::Resent);
        }
        return Decision::shifted_out(flow, None);
    }
    // Rule 8. In S-space new bytes begin behind the PINGRESP, less `delta_out`. A segment that
    // begins before is a retransmission of acknowledged bytes, and would land on the PINGRESP's
    // place. Dropping it is not enough: if the acknowledgement of the PINGRESP was lost, no segment
    // would say anything new, and the stack would repeat itself in vain until the next ping. The
    // PINGRESP makes the client acknowledge.
    let behind = flow.resp_pos.wrapping_add(flow.heartbeat.response_bytes());
    let new_bytes = behind.wrapping_sub(flow.delta_out());
    let stale = flow.has(bits::PENDING) && is_before(segment.seq, new_bytes);
    if stale && !is_left_out(Part::StaleBytes) {
        // The rest of its datagram would be appended. TCP has to repeat this one.
        if segment.fragment {
            return Decision::counted(Verdict::Drop, Counter::Unexpected);
        }
        return Decision::resent(flow, Counter::StaleBytes);
    }
    let end = segment.seq.wrapping_add(segment.span());
    if is_before(flow.egress_nxt, end) {
        flow.egress_nxt = end;
    }
    Decision::shifted_out(flow, counter)
}

/// Decides about a segment, in either direction, that belongs to the flow but cannot be followed: a
/// fragment that ends within the TCP header, or headers that contradict each other (rule 11).
/// Before the first answer it passes and bars the flow for good; afterwards it is dropped, which
/// TCP repairs.
#[inline(always)]
pub fn on_unexpected(flow: &mut Flow) -> Decision {
    if flow.n > 0 {
        return Decision::counted(Verdict::Drop, Counter::Unexpected);
    }
    flow.set(bits::BARRED);
    Decision::pass()
}

/// Rules 1 to 5 and 12, and the ping rate: why this PINGREQ is left to user space; `None`: answer
/// it.
#[inline(always)]
fn declines(
    flow: &Flow,
    slot: &SlotView,
    segment: &Segment,
    believed: bool,
    pace: Pace,
    now: Monotonic,
) -> Option<Counter> {
    if flow.has(bits::BARRED) {
        return Some(Counter::Barred);
    }
    // Rule 1. A verified segment that is not believed is old.
    if !segment.plain || segment.flags & !flags::PSH != flags::ACK {
        return Some(Counter::NotPlain);
    }
    if !segment.verified {
        return Some(Counter::Unverified);
    }
    if !believed || timestamps::is_missing(flow, segment) {
        return Some(Counter::Timestamp);
    }
    if u32::from(segment.window) < flow.heartbeat.response_bytes() {
        return Some(Counter::Window);
    }
    // Rule 2.
    if flow.has(bits::PENDING) {
        return Some(Counter::Pending);
    }
    // Rule 5.
    if slot.state != state::ARMED || slot.generation != flow.generation {
        return Some(Counter::NotArmed);
    }
    if segment.iface != flow.iface || !flow.has(bits::STACK_WINDOW_KNOWN) {
        return Some(Counter::Interface);
    }
    if now.0.saturating_sub(slot.heartbeat_ns) > HEARTBEAT_AGE_NS_MAX {
        return Some(Counter::ShardSilent);
    }
    // Rule 3.
    let parsed = flow.rx_base.wrapping_add(slot.rx);
    let in_order = segment.seq.wrapping_sub(flow.delta_in()) == flow.ingress_nxt;
    if !holds(Part::ClientInOrder, in_order)
        || !holds(Part::ClientParsed, flow.ingress_nxt == parsed)
    {
        return Some(busy(flow, Counter::ClientBusy));
    }
    // Rule 4. Its last equality has a price: a client that pings again within its delayed ACK (some
    // 40 ms) after an answer of user space acknowledges that answer with the ping itself, and stays
    // with user space until it pauses.
    let accepted = flow.tx_base.wrapping_add(slot.tx);
    let acknowledged = segment.ack.wrapping_sub(flow.delta_out()) == flow.egress_nxt;
    if !holds(Part::ServerAcknowledged, acknowledged)
        || !holds(Part::ServerWhole, flow.egress_nxt == accepted)
        || !holds(Part::ServerShown, flow.acked_nxt == flow.egress_nxt)
    {
        return Some(busy(flow, Counter::ServerBusy));
    }
    // User space judges pings that exceed the rate. The slot was read before the lock, but rule 2
    // keeps answers so far apart that the last one's charge is visible.
    if !pace.admits(slot.ping_due, now) {
        return Some(Counter::PingRate);
    }
    // Rule 12.
    if flow.in_a_row >= IN_A_ROW_MAX {
        return Some(Counter::EveryNth);
    }
    let is_heard = timestamps::silence_secs(flow, now) <= silence_secs_max(slot);
    if !holds(Part::StackSilent, is_heard) {
        return Some(Counter::StackSilent);
    }
    // Rule 5; last, because the stack must take and answer a ping that is left for this reason.
    let is_known = segment.neighbour.is(flow.next_hop) || segment.neighbour.is(flow.sender);
    if !holds(Part::NextHop, is_known) {
        return Some(Counter::NextHop);
    }
    None
}

/// Rule 12: how long the stack may be silent.
#[inline(always)]
const fn silence_secs_max(slot: &SlotView) -> u32 {
    match slot.silence_secs_max {
        1..SILENCE_SECS_MAX => slot.silence_secs_max,
        _ => SILENCE_SECS_MAX,
    }
}

/// Why a stream is not at rest.
#[inline(always)]
const fn busy(flow: &Flow, reason: Counter) -> Counter {
    if flow.has(bits::FRAGMENTED) { Counter::Fragments } else { reason }
}

/// Rule 16: notes that fragments go by, for [`busy`]. Counts those that are followed.
#[inline(always)]
fn fragment(flow: &mut Flow, segment: &Segment) -> Option<Counter> {
    if !segment.fragment {
        return None;
    }
    flow.set(bits::FRAGMENTED);
    Some(Counter::Fragment)
}

#[inline(always)]
fn holds(part: Part, condition: bool) -> bool {
    condition || is_left_out(part)
}

/// Rule 11: unreadable options may contain SACK blocks, which would pass untranslated. A RST passes
/// all the same, since nothing follows it.
#[inline(always)]
fn hides_numbers(flow: &Flow, segment: &Segment) -> bool {
    flow.n > 0 && !segment.options_known && !segment.any(flags::RST)
}

#[inline(always)]
fn answer(flow: &mut Flow, segment: &Segment) -> Decision {
    flow.n = flow.n.wrapping_add(1);
    flow.in_a_row += 1;
    flow.set(bits::PENDING);
    flow.clear(bits::FRAGMENTED);
    flow.req_pos = segment.seq;
    flow.resp_pos = segment.ack;
    Decision::pingresp(flow, segment, Counter::Answered)
}

/// The stack repeats itself, or probes a closed window: it lacks the acknowledgement that it was
/// shown (a firewall behind us dropped it, say), or wants to see one. The next ones are not
/// absorbed (rule 9), and what the stack lacks does not count as shown (rule 4).
#[inline(always)]
fn note_asked_again(flow: &mut Flow, segment: &Segment) {
    if segment.any(flags::RST) || !is_before(segment.seq, flow.egress_nxt) {
        return;
    }
    flow.clear(bits::PEER_WINDOW_KNOWN);
    if segment.span() != 0 && is_before(segment.seq, flow.acked_nxt) {
        flow.acked_nxt = segment.seq;
    }
}

/// Rule 9, first half. An acknowledgement of bytes that were never sent does not end pending, nor
/// does one from far off. One from ahead of the passed bytes does, because the segments between may
/// be lost, and are only repeated when the client gets ACKs again: a bare ACK that leaves as a
/// PINGRESP which the client has long taken is old to it, and ignored.
///
/// A forger needs the exact acknowledgement, but only half of the sequence number: TCP asks for one
/// within its window. Asking for the same here leads to a standstill, which the model finds: a
/// segment that TCP refuses (its checksum is wrong, say) may have raised `ingress_nxt` by any
/// distance (which makes rule 3 more careful), and then no true one would be within the window
/// again. The forger only achieves that a PINGRESP which is also lost is not repeated, so the
/// connection ends by its keep alive.
#[inline(always)]
fn acknowledges_pingresp(flow: &Flow, segment: &Segment) -> bool {
    flow.has(bits::PENDING)
        && segment.any(flags::ACK)
        && !is_before(segment.ack, flow.resp_pos.wrapping_add(flow.heartbeat.response_bytes()))
        && !is_before(flow.egress_nxt, segment.ack.wrapping_sub(flow.delta_out()))
        && is_near(segment.seq.wrapping_sub(flow.delta_in()), flow.ingress_nxt)
}

/// Rule 7. A client without room for the answer drops it and says so again at once: it waits for
/// its window update, which acknowledges the same position. Duplicate ACKs may have congestion
/// marks.
#[inline(always)]
fn misses_pingresp(flow: &Flow, segment: &Segment) -> bool {
    flow.has(bits::PENDING)
        && segment.plain_or_sack
        && segment.payload_bytes == 0
        && segment.flags & !(flags::ECE | flags::CWR) == flags::ACK
        && u32::from(segment.window) >= flow.heartbeat.response_bytes()
        && segment.ack == flow.resp_pos
        && is_near(segment.seq.wrapping_sub(flow.delta_in()), flow.ingress_nxt)
        && !is_left_out(Part::Refill)
}

/// Rule 9, second half. The sequence number must be the next one: a keep-alive or window probe of
/// the client's stack repeats an old one and wants an answer. And the connection must still be
/// served: if its socket is gone, an ACK must reach the stack, which resets it.
#[inline(always)]
fn tells_nothing_new(flow: &Flow, slot: &SlotView, segment: &Segment) -> bool {
    flow.n > 0
        && slot.state == state::ARMED
        && slot.generation == flow.generation
        && !flow.has(bits::PENDING)
        && segment.plain
        && segment.is_bare_ack()
        && segment.seq.wrapping_sub(flow.delta_in()) == flow.ingress_nxt
        && segment.ack.wrapping_sub(flow.delta_out()) == flow.egress_nxt
        && flow.acked_nxt == flow.egress_nxt
        && flow.has(bits::PEER_WINDOW_KNOWN)
        && segment.window == flow.peer_window
}

/// Records what a segment that goes to the stack tells it. A segment that is not believed, or is
/// not next in order, can only make the rules more cautious.
#[inline(always)]
fn note_passed_ingress(flow: &mut Flow, slot: &SlotView, segment: &Segment, believed: bool) {
    let seq = segment.seq.wrapping_sub(flow.delta_in());
    if believed && segment.any(flags::ACK) && seq == flow.ingress_nxt {
        flow.peer_window = segment.window;
        flow.set(bits::PEER_WINDOW_KNOWN);
        let ack = segment.ack.wrapping_sub(flow.delta_out());
        if is_before(flow.acked_nxt, ack) && !is_before(flow.egress_nxt, ack) {
            flow.acked_nxt = ack;
        }
    } else {
        flow.clear(bits::PEER_WINDOW_KNOWN);
    }

    let span = segment.span();
    if span == 0 || slot.generation != flow.generation {
        // With another generation it never answers again, so it needs to know nothing.
        return;
    }
    // Compared as distances from the parsed boundary, which no peer can move: if they were compared
    // with each other, a few forged segments could lead `ingress_nxt` once around the number
    // circle.
    let parsed = flow.rx_base.wrapping_add(slot.rx);
    let end = seq.wrapping_add(span);
    let reached = end.wrapping_sub(parsed);
    if reached <= WINDOW_BYTES_MAX && reached > flow.ingress_nxt.wrapping_sub(parsed) {
        flow.ingress_nxt = end;
    }
}

#[inline(always)]
fn raise_ingress_before_anchor(flow: &mut Flow, segment: &Segment) {
    let span = segment.span();
    if span == 0 {
        return;
    }
    let end = segment.seq.wrapping_add(span);
    if !flow.has(bits::INGRESS_SEEN) || is_before(flow.ingress_nxt, end) {
        flow.ingress_nxt = end;
        flow.set(bits::INGRESS_SEEN);
    }
}

/// The first byte that leaves after the flow was made anchors it, by the socket's own counts. What
/// lies before that byte was sent before there was a flow, and is only sent again. If the flow has
/// missed a byte behind it, the flow is barred.
#[inline(always)]
fn anchor(flow: &mut Flow, segment: &Segment, socket: Option<&SocketFacts>) -> Decision {
    if segment.span() == 0 || flow.has(bits::BARRED) {
        return Decision::pass();
    }
    let Some(socket) = socket else {
        flow.set(bits::BARRED);
        return Decision::pass();
    };
    let tx_base = socket.snd_una.wrapping_sub(socket.bytes_acked);
    let tx_before = flow.tx_before();
    let first = tx_base.wrapping_add(tx_before);
    let end = segment.seq.wrapping_add(segment.span());
    if !is_before(first, end) && tx_before > 0 {
        return Decision::pass();
    }
    if is_before(first, segment.seq) || is_before(segment.seq, tx_base) {
        flow.set(bits::BARRED);
        return Decision::pass();
    }
    flow.tx_base = tx_base;
    flow.rx_base = socket.rcv_nxt.wrapping_sub(socket.bytes_received);
    flow.egress_nxt = end;
    flow.acked_nxt = tx_base;
    if !flow.has(bits::INGRESS_SEEN) || is_before(flow.ingress_nxt, socket.rcv_nxt) {
        flow.ingress_nxt = socket.rcv_nxt;
        flow.set(bits::INGRESS_SEEN);
    }
    flow.set(bits::ANCHORED);
    Decision::counted(Verdict::Pass, Counter::Anchored)
}

mod decision;
mod icmp;
mod numbers;
mod sealed;
mod timestamps;

pub use decision::{Decision, Verdict};
pub use icmp::on_icmp_error;
pub use sealed::Sealed;

#[cfg(test)]
mod tests;

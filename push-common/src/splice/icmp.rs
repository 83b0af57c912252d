//! ICMP errors: a router or a host reports that a segment did not get through, and quotes its
//! beginning. TCP acts on the error only if the quoted sequence number is outstanding (RFC 5927;
//! Linux: `tcp_v4_err`, `tcp_v6_err`). The quote is of the segment on the wire, so once pings have
//! been answered its number is ahead of the stack's, and Path MTU Discovery would fail: the stack
//! would send large messages for ever, and they would never arrive. Redirects are judged by the
//! same number.
//!
//! Every quoted number is shifted, and the stack judges it, as it did without us. Judging here
//! which numbers are outstanding would help a forger: numbers that passed unshifted could hit the
//! stack's own, so he would have twice as many to guess. Shifting maps each number to one other, so
//! exactly as many are accepted as before. An error about a segment from before the latest answer
//! is shifted too far back and ignored, which is right: the segment was acknowledged, or the ping
//! would not have been answered.

use super::{Decision, Verdict};
use crate::counter::Counter;
use crate::flow::Flow;
use crate::mutant::{Part, is_left_out};

/// Decides about an ICMP error that quotes a segment of this flow. [`Verdict::Translate`]: towards
/// the stack, what is quoted is a segment of the stack's in C-space, and goes back; away from it (a
/// firewall of this host rejects what the client sends) it is one of the client's in S-space, and
/// goes ahead: by `seq_delta` and `ack_delta`. Anything else lets it go.
#[inline(always)]
pub fn on_icmp_error(flow: &Flow, is_to_stack: bool) -> Decision {
    if is_left_out(Part::QuotedNumber) {
        return Decision::pass();
    }
    let counter = Some(Counter::IcmpTranslated);
    let decision = if is_to_stack {
        Decision::shifted_out(flow, counter)
    } else {
        Decision::shifted_in(flow, counter)
    };
    match decision.verdict {
        Verdict::Translate => decision,
        _ => Decision::pass(),
    }
}

//! ICMP errors: a router, or a host, says that a segment did not get through, and quotes how it
//! began. TCP acts on the error only if the sequence number quoted is of what it has outstanding
//! (RFC 5927; Linux: `tcp_v4_err`, `tcp_v6_err`). The quote is of the segment as it was on the wire,
//! so once pings have been answered the number is ahead of what the stack knows, and Path MTU
//! Discovery would fail: large messages would be sent for ever and never arrive. Redirects are judged by the
//! same number.
//!
//! Every quoted number is shifted, and the stack judges it, as it did without us. Judging here which
//! numbers are outstanding would help a forger: what passed unshifted could hit the stack's own
//! numbers, so he had twice as many to guess. Shifting maps each number to one other, hence exactly
//! as many of them are taken as before. An error about a segment from before the latest answer is
//! shifted too far back and ignored, as it should be: it was acknowledged, or the answer would not be.

use super::{Decision, Verdict};
use crate::counter::Counter;
use crate::flow::Flow;
use crate::mutant::{Part, is_left_out};

/// Decides about an ICMP error that quotes a segment of this flow. [`Verdict::Translate`]: towards the
/// stack, the number quoted is C-space, and goes back by `delta`; away from it (a firewall of this
/// host rejects what the client sends) it is S-space, and goes ahead. Anything else lets it go.
#[inline(always)]
pub fn on_icmp_error(flow: &Flow) -> Decision {
    if is_left_out(Part::QuotedNumber) {
        return Decision::pass();
    }
    match Decision::shifted(flow, None) {
        Decision { verdict: Verdict::Translate, delta, .. } => {
            Decision { delta, ..Decision::counted(Verdict::Translate, Counter::IcmpTranslated) }
        }
        passed => passed,
    }
}

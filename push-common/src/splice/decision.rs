//! What is to be done with a segment, and the numbers for it.

use crate::counter::Counter;
use crate::flow::{Flow, bits};
use crate::mac::Mac;
use crate::mutant::{Part, is_left_out};
use crate::segment::Segment;

/// What the program does with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Passes it unchanged.
    Pass,
    /// Shifts its numbers and passes it: the sequence number by `seq_delta`, the acknowledgement
    /// and SACK blocks by `ack_delta`. Ingress subtracts, egress adds, and echoes `ts_ecr`.
    Translate,
    /// Ingress: sends it back by the interface it came from, as a PINGRESP with `seq`, `ack`
    /// (C-space), `window` and `ts_val`. SACK blocks become NOPs, and the client's TSval is echoed.
    TurnAround,
    /// Ingress: swallows it, since the stack need not see it.
    Absorb,
    /// Egress: sends it as the pending PINGRESP, whatever its payload was: with `seq` (C-space),
    /// without FIN, its acknowledgement and SACK blocks shifted by `ack_delta`, and with `ts_ecr`.
    Resend,
    /// Egress: passes it unchanged and deletes the flow; a new connection begins.
    Forget,
    /// Drops it.
    Drop,
}

/// A verdict, its numbers, and what to count for it.
///
/// Flat, with every number always set: in an enum the payload would be undefined in variants
/// without it. The compiler copies such values around, and the verifier refuses to read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// What to do with the segment.
    pub verdict: Verdict,
    /// The counter to raise, if any. With [`Counter::Answered`] the caller also stamps the slot
    /// (rule 13), still under the lock. [`Verdict::Translate`] is counted in addition, as
    /// [`Counter::Translated`].
    pub counter: Option<Counter>,
    /// The sequence number to set; 0 if the verdict needs none.
    pub seq: u32,
    /// The acknowledgement number to set; 0 if the verdict needs none.
    pub ack: u32,
    /// How far to shift the sequence number; 0 if the verdict needs none.
    pub seq_delta: u32,
    /// How far to shift the acknowledgement; 0 if the verdict needs none.
    pub ack_delta: u32,
    /// The TSval to set if the segment has timestamps; 0 if the verdict needs none.
    pub ts_val: u32,
    /// The TSecr to set at egress if the segment has timestamps; 0 if the verdict needs none.
    pub ts_ecr: u32,
    /// The window field to set; 0 if the verdict needs none.
    pub window: u16,
    /// The neighbour to send to, if the verdict turns a segment around.
    pub next_hop: Mac,
}

impl Decision {
    #[inline(always)]
    pub(super) const fn new(verdict: Verdict, counter: Option<Counter>) -> Self {
        Self {
            verdict,
            counter,
            seq: 0,
            ack: 0,
            seq_delta: 0,
            ack_delta: 0,
            ts_val: 0,
            ts_ecr: 0,
            window: 0,
            next_hop: Mac::NONE,
        }
    }

    #[inline(always)]
    pub(super) const fn pass() -> Self {
        Self::new(Verdict::Pass, None)
    }

    #[inline(always)]
    pub(super) const fn counted(verdict: Verdict, counter: Counter) -> Self {
        Self::new(verdict, Some(counter))
    }

    /// The pending PINGRESP of a flow, as the answer to a segment of the client. It carries the
    /// stack's latest timestamp: the one that the client echoes may be older than others that it
    /// has got since, and PAWS would drop it.
    #[inline(always)]
    pub(super) fn pingresp(flow: &Flow, segment: &Segment, counter: Counter) -> Self {
        Self {
            ts_val: if flow.has(bits::STACK_TS_KNOWN) { flow.stack_ts } else { segment.ts_ecr },
            seq: flow.resp_pos,
            ack: flow.req_pos.wrapping_add(flow.heartbeat.request_bytes()),
            window: flow.stack_window,
            next_hop: if is_left_out(Part::NextHop) { segment.neighbour } else { flow.next_hop },
            ..Self::counted(Verdict::TurnAround, counter)
        }
    }

    /// The pending PINGRESP of a flow, in place of a segment of the stack.
    #[inline(always)]
    pub(super) const fn resent(flow: &Flow, counter: Counter) -> Self {
        let shift = Self::counted(Verdict::Resend, counter);
        Self { seq: flow.resp_pos, ack_delta: flow.delta_in(), ..shift }
    }

    /// Passes a segment of the client, shifted if any ping has been answered.
    #[inline(always)]
    pub(super) const fn shifted_in(flow: &Flow, counter: Option<Counter>) -> Self {
        Self::shifted(flow.delta_in(), flow.delta_out(), counter)
    }

    /// The same with a segment of the stack.
    #[inline(always)]
    pub(super) const fn shifted_out(flow: &Flow, counter: Option<Counter>) -> Self {
        Self::shifted(flow.delta_out(), flow.delta_in(), counter)
    }

    #[inline(always)]
    pub(super) const fn shifted(seq_delta: u32, ack_delta: u32, counter: Option<Counter>) -> Self {
        if seq_delta == 0 && ack_delta == 0 {
            return Self::new(Verdict::Pass, counter);
        }
        Self { seq_delta, ack_delta, ..Self::new(Verdict::Translate, counter) }
    }
}

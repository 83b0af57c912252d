//! The two programs as the model runs them: the pure splice, its flow and its slot, and what the
//! rewrite does to a segment. The order of the steps is that of push-ebpf: the slot is looked at
//! before the lock, decision and stamp are one step, the rewrite follows.

use push_common::clock::Monotonic;
use push_common::counter::Counter;
use push_common::early_fragment;
use push_common::flow::{Flow, bits};
use push_common::mac::Mac;
use push_common::rate::Pace;
use push_common::segment::{Segment, SocketFacts};
use push_common::slot::{SlotView, state};
use push_common::splice::{self, Decision, Verdict};

use crate::segment::Seg;
use crate::streams::Pings;

const GENERATION: u32 = 1;

/// Where a segment goes from the ingress hook.
#[derive(Debug)]
pub(crate) enum Ingress {
    ToStack(Seg),
    /// To this neighbour on the link.
    ToClient(Seg, Mac),
    Gone,
}

/// A ping that the splice has just answered: where PINGREQ and PINGRESP lie (C-space).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) request: u32,
    pub(crate) response: u32,
}

/// How often each thing happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) answered: u64,
    pub(crate) declined: u64,
    pub(crate) resent: u64,
    pub(crate) refilled: u64,
    pub(crate) absorbed: u64,
    pub(crate) stale: u64,
    pub(crate) old: u64,
    pub(crate) icmp: u64,
    pub(crate) silent: u64,
    pub(crate) fragments: u64,
    pub(crate) early_fragments: u64,
    pub(crate) next_hops: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.declined += other.declined;
        self.resent += other.resent;
        self.refilled += other.refilled;
        self.absorbed += other.absorbed;
        self.stale += other.stale;
        self.old += other.old;
        self.icmp += other.icmp;
        self.silent += other.silent;
        self.fragments += other.fragments;
        self.early_fragments += other.early_fragments;
        self.next_hops += other.next_hops;
    }
}

/// Flow, slot and hooks of one connection.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    flow: Option<Flow>,
    pings: Pings,
    pub(crate) rx: u64,
    pub(crate) tx: u64,
    silence_secs_max: u32,
    state: u8,
    /// When a first fragment came that had no flow; 0: never.
    early_fragment: u64,
    pub(crate) tally: Tally,
    last: Option<Decision>,
}

impl Hooks {
    pub(crate) fn new(silence_secs_max: u32, pings: Pings) -> Self {
        Self { silence_secs_max, pings, ..Self::default() }
    }

    /// User space has parsed CONNECT and is about to send CONNACK. `tx_before`: what it has sent before, of
    /// a handshake.
    pub(crate) fn register(&mut self, rx: u64, tx_before: u64) {
        self.flow = Some(Flow::new(0, GENERATION, self.pings.heartbeat(), tx_before as u32));
        (self.rx, self.state) = (rx, state::HELD);
    }

    /// CONNACK is on its way: the slot may be armed.
    pub(crate) fn arm(&mut self, now_us: u64, out_of_order: u32) {
        let now = Monotonic(now_us * 1_000);
        let early = early_fragment::may_be_incomplete(self.early_fragment, now);
        let anchored = self.flow.is_some_and(|flow| flow.has(bits::ANCHORED));
        if self.state == state::HELD && anchored && out_of_order == 0 && !early {
            self.state = state::ARMED;
        }
    }

    pub(crate) fn close(&mut self) {
        self.state = state::CLOSING;
    }

    pub(crate) fn is_registered(&self) -> bool {
        self.flow.is_some()
    }

    /// The slot as a program sees it that starts now.
    pub(crate) fn view(&self, now_us: u64) -> SlotView {
        SlotView {
            rx: self.rx as u32,
            tx: self.tx as u32,
            generation: GENERATION,
            state: self.state,
            ping_interval_ns: 0,
            ping_due: Monotonic(0),
            heartbeat_ns: now_us * 1_000,
            silence_secs_max: self.silence_secs_max,
        }
    }

    /// The ingress program from the lock on, with the look at the slot that it has taken before.
    pub(crate) fn ingress(
        &mut self,
        now_us: u64,
        view: &SlotView,
        segment: Seg,
        neighbour: Mac,
    ) -> (Ingress, Option<Answer>) {
        let now = Monotonic(now_us * 1_000);
        let Some(flow) = &mut self.flow else {
            if segment.facts(self.pings).fragment {
                self.early_fragment = now.0;
                self.tally.early_fragments += 1;
            }
            return (Ingress::ToStack(segment), None);
        };
        let facts = Segment { neighbour, ..segment.facts(self.pings) };
        let decision = splice::on_ingress(flow, view, &facts, Pace::OFF, now);
        let answered = decision.counter == Some(Counter::Answered);
        let answer = answered.then_some(Answer { request: flow.req_pos, response: flow.resp_pos });
        self.count(&decision);
        let to = match decision.verdict {
            Verdict::Pass => Ingress::ToStack(segment),
            Verdict::Translate => Ingress::ToStack(
                segment
                    .shifted(decision.seq_delta.wrapping_neg(), decision.ack_delta.wrapping_neg()),
            ),
            Verdict::TurnAround => {
                Ingress::ToClient(turned(&segment, &decision, self.pings), decision.next_hop)
            }
            Verdict::Absorb | Verdict::Drop => Ingress::Gone,
            Verdict::Resend | Verdict::Forget => unreachable!("{decision:?} at ingress"),
        };
        (to, answer)
    }

    /// The egress program; `None`: dropped.
    pub(crate) fn egress(
        &mut self,
        now_us: u64,
        socket: &SocketFacts,
        segment: Seg,
        neighbour: Mac,
    ) -> Option<Seg> {
        let Some(flow) = &mut self.flow else { return Some(segment) };
        let facts = Segment { neighbour, ..segment.facts(self.pings) };
        let decision = splice::on_egress(flow, &facts, Some(socket), Monotonic(now_us * 1_000));
        self.count(&decision);
        match decision.verdict {
            Verdict::Pass => Some(segment),
            Verdict::Translate => {
                let mut shifted = segment.shifted(decision.seq_delta, decision.ack_delta);
                shifted.ts_ecr = decision.ts_ecr;
                Some(shifted)
            }
            Verdict::Resend => {
                let mut resent = segment.shifted(0, decision.ack_delta);
                resent.ts_ecr = decision.ts_ecr;
                resent.seq = decision.seq;
                resent.payload = self.pings.response();
                resent.flags &= !push_common::segment::flags::FIN;
                Some(resent)
            }
            Verdict::Drop => None,
            Verdict::TurnAround | Verdict::Absorb | Verdict::Forget => {
                unreachable!("{decision:?} at egress")
            }
        }
    }

    /// The number that an ICMP error to the stack quotes, as the stack gets it.
    pub(crate) fn quoted(&mut self, seq: u32) -> u32 {
        let Some(flow) = &self.flow else { return seq };
        let decision = splice::on_icmp_error(flow, true);
        self.count(&decision);
        match decision.verdict {
            Verdict::Pass => seq,
            Verdict::Translate => seq.wrapping_sub(decision.seq_delta),
            other => unreachable!("{other:?} of an ICMP error"),
        }
    }

    /// The flow's numbers, for a trace.
    pub(crate) fn flow_in_words(&self) -> String {
        let Some(flow) = &self.flow else { return "no flow".to_owned() };
        let (egress, ingress, acked) = (flow.egress_nxt, flow.ingress_nxt, flow.acked_nxt);
        format!(
            "n {} egress {} ingress {} acked {} resp {} pending {} last {:?}",
            flow.n,
            egress as i32,
            ingress as i32,
            acked as i32,
            flow.resp_pos as i32,
            flow.has(bits::PENDING),
            self.last,
        )
    }

    fn count(&mut self, decision: &Decision) {
        let tally = &mut self.tally;
        self.last = Some(*decision);
        match decision.counter {
            Some(Counter::Answered) => tally.answered += 1,
            Some(Counter::Resent) => tally.resent += 1,
            Some(Counter::Refilled) => tally.refilled += 1,
            Some(Counter::Absorbed) => tally.absorbed += 1,
            Some(Counter::StaleBytes) => tally.stale += 1,
            Some(Counter::OldTimestamp) => tally.old += 1,
            Some(Counter::StackSilent) => {
                tally.silent += 1;
                tally.declined += 1;
            }
            Some(Counter::IcmpTranslated) => tally.icmp += 1,
            Some(Counter::Fragment) => tally.fragments += 1,
            Some(Counter::NextHop) => tally.next_hops += 1,
            Some(Counter::Anchored) | None => {}
            Some(_) => tally.declined += 1,
        }
    }
}

/// The segment turned around into the PINGRESP: its timestamp is echoed, SACK blocks go.
fn turned(segment: &Seg, decision: &Decision, pings: Pings) -> Seg {
    Seg {
        seq: decision.seq,
        ack: decision.ack,
        flags: push_common::segment::flags::ACK | push_common::segment::flags::PSH,
        window: decision.window,
        sack: Vec::new(),
        timestamped: segment.timestamped,
        ts_val: decision.ts_val,
        ts_ecr: segment.ts_val,
        payload: pings.response(),
        corrupt: segment.corrupt,
        fragment: None,
    }
}

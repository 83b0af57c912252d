//! What stands in for the programs: the splice's own functions on a flow in memory. Both networks are in it, too:
//! whatever leaves the server is with the client at once, and acknowledged.

use std::sync::atomic::{AtomicU64, Ordering};

use push_common::answer_table::{Record, RecordShape};
use push_common::clock::Monotonic;
use push_common::counter::Counter;
use push_common::flow::{Flow, bits};
use push_common::rate::Pace;
use push_common::segment::{Segment, flags};
use push_common::slot::{SlotView, state};
use push_common::splice::{Sealed, Verdict};

use crate::transport::Table;

const GENERATION: u32 = 3;
const NOW: Monotonic = Monotonic(100_000_000_000);

/// What user space tells the programs: `rx` and `tx` of the slot.
#[derive(Default)]
pub(super) struct Words {
    pub(super) rx: AtomicU64,
    pub(super) tx: AtomicU64,
}

pub(super) struct Program {
    flow: Flow,
    shape: RecordShape,
    /// Bytes of the server's stack so far.
    sent: u32,
    /// Bytes that the stack was passed.
    passed: u32,
}

impl Program {
    /// Of a connection on which the client has sent so many bytes, and where what the server sends counts from now.
    pub(super) fn new(shape: RecordShape, passed: u32) -> Self {
        let mut flow = Flow::new(1, GENERATION, shape.heartbeat(), 0);
        flow.set(bits::ANCHORED | bits::STACK_WINDOW_KNOWN);
        flow.ingress_nxt = passed;
        Self { flow, shape, sent: 0, passed }
    }

    /// The client sends a segment. `Ok`: it goes to the stack; `Err`: the answer instead.
    pub(super) fn ingress(
        &mut self,
        table: &Table,
        words: &Words,
        payload: &[u8],
    ) -> Result<Option<Counter>, Vec<u8>> {
        let mut view = SlotView {
            rx: words.rx.load(Ordering::Acquire) as u32,
            generation: GENERATION,
            state: state::ARMED,
            heartbeat_ns: NOW.0,
            ..SlotView::NONE
        };
        let mut sealed = Sealed::look(table);
        view.tx = words.tx.load(Ordering::Relaxed) as u32;
        let len = usize::from(self.shape.record_bytes());
        let record = Record::new(payload).filter(|_| payload.len() == len);
        let pingreq = record.is_some_and(|record| sealed.compare(table, self.shape, &record));
        let segment = Segment {
            payload_bytes: payload.len() as u32,
            flags: flags::ACK | flags::PSH,
            pingreq,
            verified: payload.len() <= len,
            ..self.bare_ack()
        };
        let decision =
            sealed.on_ingress(Some(table), &mut self.flow, &view, &segment, Pace::OFF, NOW);
        if decision.verdict == Verdict::TurnAround {
            assert_eq!(decision.counter, Some(Counter::Answered));
            self.acknowledge(table, view);
            return Err(sealed.record().bytes()[..len].to_vec());
        }
        assert!(matches!(decision.verdict, Verdict::Pass | Verdict::Translate), "{decision:?}");
        self.passed = self.passed.wrapping_add(payload.len() as u32);
        Ok(decision.counter)
    }

    /// The server's stack sends bytes.
    pub(super) fn egress(&mut self, table: &Table, payload_bytes: usize) {
        let segment = Segment {
            seq: self.sent,
            ack: self.passed,
            payload_bytes: payload_bytes as u32,
            ..self.bare_ack()
        };
        let decision =
            Sealed::default().on_egress(Some(table), &mut self.flow, &segment, None, NOW);
        assert!(matches!(decision.verdict, Verdict::Pass | Verdict::Translate), "{decision:?}");
        self.sent = self.sent.wrapping_add(payload_bytes as u32);
        self.acknowledge(table, SlotView::NONE);
    }

    fn acknowledge(&mut self, table: &Table, view: SlotView) {
        let segment = self.bare_ack();
        let mut sealed = Sealed::look(table);
        let decision =
            sealed.on_ingress(Some(table), &mut self.flow, &view, &segment, Pace::OFF, NOW);
        assert_ne!(decision.verdict, Verdict::Drop);
        assert!(!self.flow.has(bits::PENDING));
    }

    /// A client that has got all.
    fn bare_ack(&self) -> Segment {
        Segment {
            seq: self.passed.wrapping_add(self.flow.delta_in()),
            ack: self.sent.wrapping_add(self.flow.delta_out()),
            window: 500,
            flags: flags::ACK,
            verified: true,
            options_known: true,
            plain: true,
            plain_or_sack: true,
            ..Segment::default()
        }
    }
}

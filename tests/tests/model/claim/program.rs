//! The ingress program on one CPU, step by step. Others go on between any two.

use push_common::answer_table::Record;
use push_common::clock::Monotonic;
use push_common::flow::{Flow, bits};
use push_common::mac::Mac;
use push_common::rate::Pace;
use push_common::segment::{Segment, SocketFacts, flags};
use push_common::slot::{SlotView, state};
use push_common::splice::{Decision, Sealed};

use super::client::{Down, Up};
use super::message::{Message, SHAPE};
use super::rules::Wrong;
use super::world::Table;

/// Where both streams begin in sequence space, so that both wrap on the way.
const BASE: u32 = u32::MAX - 60;
const GENERATION: u32 = 1;
const WINDOW: u16 = 500;
const NOW: Monotonic = Monotonic(100_000_000_000);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Step {
    #[default]
    Idle,
    Look,
    ReadTx,
    Compare,
    Copy,
    Decide,
    /// The number is taken, and the flow's lock is held.
    Settle(Decision),
}

/// What the program reads from user space's slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    pub(super) rx: u64,
    pub(super) tx: u64,
    pub(super) is_armed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Program {
    pub(super) step: Step,
    pub(super) segment: Up,
    slot: Slot,
    sealed: Sealed,
    is_ping: bool,
}

/// The flow of a connection whose first records have been exchanged, both ways.
pub(super) fn flow() -> Flow {
    Flow {
        rx_base: BASE,
        tx_base: BASE,
        egress_nxt: BASE,
        ingress_nxt: BASE,
        acked_nxt: BASE,
        stack_window: WINDOW,
        peer_window: WINDOW,
        stack_secs: 100,
        bits: bits::ANCHORED
            | bits::INGRESS_SEEN
            | bits::STACK_WINDOW_KNOWN
            | bits::PEER_WINDOW_KNOWN,
        ..Flow::new(0, GENERATION, SHAPE.heartbeat(), 0).with_table(0)
    }
}

/// The place in a stream that a sequence number means.
pub(super) fn place(seq: u32) -> u16 {
    seq.wrapping_sub(BASE) as u16
}

fn seq(place: u16) -> u32 {
    BASE.wrapping_add(place.into())
}

impl Program {
    pub(super) fn is_idle(&self) -> bool {
        self.step == Step::Idle
    }

    pub(super) fn holds_lock(&self) -> bool {
        matches!(self.step, Step::Settle(_))
    }

    /// Tells which step comes next, for sorting.
    pub(super) fn step_number(&self) -> u8 {
        match self.step {
            Step::Idle => 0,
            Step::Look => 1,
            Step::ReadTx => 2,
            Step::Compare => 3,
            Step::Copy => 4,
            Step::Decide => 5,
            Step::Settle(_) => 6,
        }
    }

    /// A segment arrives, and the program looks at the slot.
    pub(super) fn begin(&mut self, segment: Up, slot: Slot) {
        let is_ping_sized = segment.message.is_some_and(Message::is_heartbeat);
        let step = if is_ping_sized { Step::Look } else { Step::Decide };
        *self = Self { step, segment, slot, ..Self::default() };
    }

    /// The next step up to the lock.
    pub(super) fn goes_on(&mut self, slot: Slot, table: &Table, wrong: Option<Wrong>) {
        self.step = match self.step {
            Step::Look => {
                self.sealed = Sealed::look(table);
                if wrong == Some(Wrong::TxFirst) { Step::Compare } else { Step::ReadTx }
            }
            Step::ReadTx => {
                self.slot.tx = slot.tx;
                Step::Compare
            }
            Step::Compare => {
                let payload = self.segment.message.unwrap_or_default().record();
                self.is_ping = self.sealed.is_request(table, SHAPE, &payload);
                if self.is_ping { Step::Copy } else { Step::Decide }
            }
            Step::Copy => {
                self.sealed.copy(table, SHAPE);
                if wrong == Some(Wrong::ReceiveWordFirst) {
                    self.slot.rx = slot.rx;
                }
                Step::Decide
            }
            Step::Idle | Step::Decide | Step::Settle(_) => unreachable!("{:?}", self.step),
        };
    }

    /// The decision, under the lock.
    pub(super) fn decides(&self, table: &Table, flow: &mut Flow) -> Decision {
        let slot = SlotView {
            rx: self.slot.rx as u32,
            tx: self.slot.tx as u32,
            generation: GENERATION,
            state: if self.slot.is_armed { state::ARMED } else { state::CLOSING },
            heartbeat_ns: NOW.0,
            ..SlotView::NONE
        };
        let payload_bytes = self.segment.message.map_or(0, |message| message.bytes().into());
        let segment = Segment {
            seq: seq(self.segment.seq),
            ack: seq(self.segment.ack),
            payload_bytes,
            flags: if payload_bytes == 0 { flags::ACK } else { flags::ACK | flags::PSH },
            pingreq: self.is_ping,
            verified: payload_bytes <= SHAPE.record_bytes().into(),
            ..segment()
        };
        self.sealed.decide(Some(table), flow, &slot, &segment, Pace::OFF, NOW)
    }

    /// What follows the decision under the lock; the record that leaves, if one does.
    pub(super) fn settles(
        &mut self,
        table: &Table,
        decision: &Decision,
        wrong: Option<Wrong>,
    ) -> Record {
        if wrong == Some(Wrong::CopyLate) {
            self.sealed.copy(table, SHAPE);
        }
        self.sealed.settle(Some(table), decision);
        *self.sealed.record()
    }
}

/// The egress program: its decision, and the record that it sends again, if it does.
pub(super) fn egress(table: &Table, flow: &mut Flow, down: &Down) -> (Decision, Record) {
    let segment = Segment {
        seq: seq(down.seq),
        ack: seq(down.ack),
        payload_bytes: down.bytes().into(),
        flags: flags::ACK,
        ..segment()
    };
    let mut sealed = Sealed::default();
    let socket: Option<&SocketFacts> = None;
    let decision = sealed.on_egress(Some(table), flow, &segment, socket, NOW);
    (decision, *sealed.record())
}

fn segment() -> Segment {
    Segment {
        window: WINDOW,
        options_known: true,
        plain: true,
        plain_or_sack: true,
        neighbour: Mac::NONE,
        ..Segment::default()
    }
}
